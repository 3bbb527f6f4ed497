"""hark.toml: what it may say, what it may not, and where each fault is shown."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import time, timedelta
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hark import rendering
from hark.catalogue import (
    Calendar,
    Catalogue,
    Category,
    Channel,
    CypherSource,
    Facet,
    Feed,
    Frequency,
    PythonSource,
    SqlSource,
    UrlSource,
    Windows,
    load_catalogue,
    nearest,
)
from hark.catalogue.mail_settings import mailbox_fault
from hark.catalogue.reading import KEYS
from hark.catalogue.template_sources import LARGEST_FILE
from hark.channels.addresses import parse_mailbox
from hark.errors import CatalogueFaults, Fault

SAMPLE = Path(str(files("hark") / "sample" / "hark.toml"))
EXAMPLES = int(os.environ.get("HARK_FUZZ_CATALOGUES") or 40)
REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "catalogue.md"

BASE = """\
[user_types]
Students = "People who look for a job"
"Career Services" = ""
[channels.email]
from = "Acme <hello@acme.example>"
[reasons.app_shared]
title = "Apps shared with you"
channels = { Students = ["email", "in_app"] }
"""
"""Eight lines that are right; what a test adds begins on line 9, in `reasons.app_shared`."""


def load(folder: Path, text: str, **environment: str) -> Catalogue:
    path = folder / "hark.toml"
    path.write_bytes(text.encode())
    return load_catalogue(path, environment)


def faults(folder: Path, text: str, **environment: str) -> list[Fault]:
    with pytest.raises(CatalogueFaults) as caught:
        load(folder, text, **environment)
    return list(caught.value.faults)


def changed(line: int, text: str) -> str:
    """The base with one of its lines replaced."""
    lines = BASE.splitlines()
    lines[line - 1] = text
    return "\n".join(lines)


class TestWhatIsRead:
    def test_a_reason_that_says_little_gets_the_defaults(self, tmp_path: Path) -> None:
        catalogue = load(tmp_path, BASE)
        reason = catalogue.reasons["app_shared"]
        assert reason.channels == {"Students": (Channel.EMAIL, Channel.IN_APP)}
        assert (reason.frequency, reason.windows) == (
            Frequency.IMMEDIATE,
            Windows(timedelta(minutes=4), timedelta(hours=1)),
        )
        assert (reason.group, reason.category, reason.at_least_once) == ("app_shared", Category.ACTIVITY, False)
        assert catalogue.user_types == {"Students": "People who look for a job", "Career Services": ""}
        assert catalogue.calendar == Calendar(time(8, 0), 0)
        assert catalogue.email is not None
        assert (catalogue.email.sender, catalogue.email.smtp) == ("Acme <hello@acme.example>", None)

    @pytest.mark.parametrize(
        ("batching", "frequency", "cooldown", "max_stale"),
        [
            ('"immediate"', "immediate", "0:04:00", "1:00:00"),
            ('"daily"', "daily", "0:04:00", "1:00:00"),
            ('"weekly"', "weekly", "0:04:00", "1:00:00"),
            ('{ cooldown = "90s" }', "batched", "0:01:30", "None"),
            ('{ cooldown = "90s", max_stale = "90s" }', "batched", "0:01:30", "0:01:30"),
        ],
    )
    def test_batching_says_how_often(
        self, tmp_path: Path, batching: str, frequency: str, cooldown: str, max_stale: str
    ) -> None:
        reason = load(tmp_path, f"{BASE}batching = {batching}").reasons["app_shared"]
        assert (reason.frequency, str(reason.windows.cooldown), str(reason.windows.max_stale)) == (
            frequency,
            cooldown,
            max_stale,
        )

    @pytest.mark.parametrize("batching", ['"daily"', '{ cooldown = "90s" }'])
    def test_a_reason_can_be_off_until_it_is_chosen(self, tmp_path: Path, batching: str) -> None:
        text = f'{BASE}batching = {batching}\nfrequency = "never"'
        assert load(tmp_path, text).reasons["app_shared"].frequency is Frequency.NEVER

    def test_own_windows_stay_beside_another_frequency(self, tmp_path: Path) -> None:
        reason = load(tmp_path, f'{BASE}batching = {{ cooldown = "90s" }}\nfrequency = "daily"').reasons["app_shared"]
        assert (reason.frequency, reason.windows.cooldown) == (Frequency.DAILY, timedelta(seconds=90))

    def test_the_windows_of_those_who_choose_batches_can_be_set(self, tmp_path: Path) -> None:
        text = f'{BASE}[batching]\ncooldown = "10m"\nmax_stale = "2h"'
        assert load(tmp_path, text).reasons["app_shared"].windows == Windows(timedelta(minutes=10), timedelta(hours=2))

    def test_the_calendar_can_be_set(self, tmp_path: Path) -> None:
        text = f'{BASE}[calendar]\nat = "18:30"\nweekday = "Friday"'
        assert load(tmp_path, text).calendar == Calendar(time(18, 30), 4)

    def test_an_offered_reason_may_have_no_default_channel_and_push_is_a_channel(self, tmp_path: Path) -> None:
        channels = '{ Students = [], "Career Services" = ["push"] }'
        reason = load(tmp_path, changed(8, f"channels = {channels}")).reasons["app_shared"]
        assert reason.channels == {"Students": (), "Career Services": (Channel.PUSH,)}

    def test_without_email_there_is_no_need_of_a_sender(self, tmp_path: Path) -> None:
        text = BASE.replace("[channels.email]\n", "").replace('from = "Acme <hello@acme.example>"\n', "")
        assert load(tmp_path, text.replace('["email", "in_app"]', '["in_app"]')).email is None

    def test_templates_come_from_the_file_or_from_files_beside_it(self, tmp_path: Path) -> None:
        (tmp_path / "words").mkdir()
        (tmp_path / "words" / "one.html").write_bytes(b"\xef\xbb\xbf<b>{{ actor }}</b>")
        text = f'{BASE}templates = {{ subject = "Hi", html = {{ file = "words/one.html" }} }}'
        templates = load(tmp_path, text).reasons["app_shared"].templates
        assert (templates.subject, templates.html, templates.text) == ("Hi", "<b>{{ actor }}</b>", None)

    @pytest.mark.parametrize(
        ("query", "overlap", "fine"),
        [
            ("select due.since_at from due", "", False),
            ("select due.SINCE_AT from due -- not since", "", False),
            ("select due.since_at from due", ', overlap = "1h"', True),
            ("select due.since_at, due.since from due", "", True),
            ("select 'since_at' from due", "", True),
        ],
    )
    def test_a_query_that_knows_only_times_needs_an_overlap(
        self, tmp_path: Path, query: str, overlap: str, fine: bool
    ) -> None:
        (tmp_path / "page.sql").write_text(query)
        text = BASE + f'frequency = "never"\nfeed = {{ sql = "page.sql"{overlap} }}'
        if fine:
            assert load(tmp_path, text).reasons["app_shared"].feed is not None
        else:
            with pytest.raises(CatalogueFaults, match=r'knows only since_at.*add overlap = "1d"'):
                load(tmp_path, text)

    def test_a_feed_and_a_recheck_name_whom_to_ask(self, tmp_path: Path) -> None:
        (tmp_path / "page.sql").write_text("-- new\nselect 1")
        text = (
            BASE
            + """batching = "weekly"
            feed = { sql = "page.sql", cap = 3 }
            recheck = { url = "https://shop.example/recheck?${TOKEN}" }"""
        )
        reason = load(tmp_path, text, TOKEN="hunter2").reasons["app_shared"]
        assert reason.feed == Feed(SqlSource("-- new\nselect 1", "page.sql"), cap=3, overlap=timedelta(0))
        assert reason.recheck == UrlSource("https://shop.example/recheck?hunter2")
        assert "hunter2" not in repr(reason)

    def test_what_knows_only_times_is_overlapped_by_a_day_unless_it_says_otherwise(self, tmp_path: Path) -> None:
        for more, overlap in (("", timedelta(days=1)), (', overlap = "2h"', timedelta(hours=2))):
            text = BASE + f'frequency = "never"\nfeed = {{ python = "shop.feeds:front_page"{more} }}'
            feed = load(tmp_path, text).reasons["app_shared"].feed
            assert feed == Feed(PythonSource("shop.feeds:front_page"), cap=10, overlap=overlap)

    def test_a_feed_may_ask_the_graph(self, tmp_path: Path) -> None:
        cypher = "UNWIND $due AS due RETURN due.recipient_id AS recipient_id, 'set' AS key, due.since_at AS at"
        (tmp_path / "new.cypher").write_text(cypher)
        text = BASE + 'batching = "weekly"\nfeed = { cypher = "new.cypher", cap = 3 }'
        feed = load(tmp_path, text).reasons["app_shared"].feed
        assert feed == Feed(CypherSource(cypher, "new.cypher"), cap=3, overlap=timedelta(days=1))

    def test_all_faults_of_a_cypher_query_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "new.cypher").write_text("MATCH (n:User {id: $id}) SET n.seen = true RETURN n.id AS key; // $due")
        with pytest.raises(CatalogueFaults) as found:
            load(tmp_path, BASE + 'batching = "weekly"\nfeed = { cypher = "new.cypher" }')
        assert [fault.what.removeprefix("new.cypher: ") for fault in found.value.faults] == [
            "$id is a parameter that a feed is not given; it is given $due",
            "does not read $due, so it cannot know for whom; begin with UNWIND $due AS due",
            "has a semicolon; it is one statement, so leave the semicolon out",
            "says SET, and a feed only reads",
            "returns no recipient_id; name it: … AS recipient_id",
            "returns no at; name it: … AS at",
        ]

    def test_settings_are_left_to_those_who_know_them(self, tmp_path: Path) -> None:
        assert load(tmp_path, f"{BASE}[settings]\nwhatever = 1").reasons.keys() == {"app_shared"}

    def test_a_feed_that_no_user_type_gets_by_mail_is_a_fault(self, tmp_path: Path) -> None:
        text = changed(8, 'channels = { Students = ["in_app"] }\nfeed = { python = "a:b" }\nbatching = "daily"')
        with pytest.raises(CatalogueFaults, match="no user type gets this reason by it; add email to its channels"):
            load(tmp_path, text)


class TestTheEnvironment:
    @pytest.mark.parametrize(
        ("smtp", "found"),
        [
            ("${URL}", "smtp://mail.acme.example:587"),
            ("${NONE:-smtp://localhost:25}", "smtp://localhost:25"),
            ("${EMPTY:-smtp://localhost:25}", "smtp://localhost:25"),
            ("${NONE:-}", None),
            ("smtps://me:${SECRET}@mail.acme.example", "smtps://me:hunter2@mail.acme.example"),
        ],
    )
    def test_fills_in_what_does_not_belong_in_the_file(self, tmp_path: Path, smtp: str, found: str | None) -> None:
        text = changed(5, f'from = "a@acme.example"\nsmtp = "{smtp}"')
        catalogue = load(tmp_path, text, URL="smtp://mail.acme.example:587", EMPTY="", SECRET="hunter2")
        assert catalogue.email is not None
        assert catalogue.email.smtp == found

    def test_does_not_reach_into_templates_and_titles(self, tmp_path: Path) -> None:
        text = changed(7, 'title = "For ${PRICE}"\ntemplates = { text = "${{ payload.price }} ${PRICE}" }')
        reason = load(tmp_path, text, PRICE="9").reasons["app_shared"]
        assert (reason.title, reason.templates.text) == ("For ${PRICE}", "${{ payload.price }} ${PRICE}")

    @pytest.mark.parametrize(
        "smtp",
        [
            "smtp://me:hunter2@mail.acme.example",
            "${URL:-smtps://me:hunter2@mail.acme.example}",
            "smtp://me:${SECRET:-hunter2}@mail.acme.example",
            "smtp://me:hunter2${SECRET}@mail.acme.example",
            "smtp://me:hunter2#/?@mail.acme.example",
        ],
    )
    def test_is_where_secrets_belong_and_a_fault_does_not_repeat_them(self, tmp_path: Path, smtp: str) -> None:
        (fault,) = faults(tmp_path, changed(5, f'from = "a@acme.example"\nsmtp = "{smtp}"'), SECRET="x")
        assert fault == Fault(
            6,
            "channels.email.smtp",
            'has a password; secrets come from the environment: write "${HARK_SMTP_URL}"',
        )

    def test_a_secret_in_a_faulty_variable_is_not_shown(self, tmp_path: Path) -> None:
        text = changed(5, 'from = "a@acme.example"\nsmtp = "${URL}"')
        (fault,) = faults(tmp_path, text, URL="http://me:hunter2@mail.acme.example")
        assert fault.what == "is not the URL of a mail server; write smtp://HOST:PORT or smtps://HOST:PORT"


NAME_RULE = "write a small letter, then small letters, digits and _, 63 at most"
BATCHING = 'write "immediate", "daily", "weekly" or { cooldown = "4m", max_stale = "1h" }'
CHANNELS = "no such channel; write email, in_app or push"
MAILBOX = "write Name <local@domain> or local@domain"

DAILY = 'batching = "daily"'
SOURCES = 'write sql = "feeds/NAME.sql", python = "package.module:function", url = "https://HOST/PATH"'

ADDED = [
    # What line 9 says in reasons.app_shared, the key in it, and what is wrong with it.
    ("titel = 1", "titel", "no such key; did you mean title?"),
    ("xyzzy = 1", "xyzzy", "no such key; there is title, channels, batching, frequency, group, category, templates, "
     "at_least_once, feed, recheck, narrower, auto_subscribe"),
    ('"odd key" = 1', '"odd key"', None),
    ("narrower = 1", "narrower", "1 is not a table; write [reasons.app_shared.narrower] and its keys below"),
    ('narrower = { app_shared = "named" }', "narrower.app_shared",
     "is the reason itself; leave it out: it applies to all others by itself"),
    ('narrower = { app_shard = "named" }', "narrower.app_shard", "no such reason; there is none"),
    ('auto_subscribe = "post"', "auto_subscribe", '"post" is not a list; write ["about", "post"]'),
    ('auto_subscribe = ["post", "post"]', "auto_subscribe", '"post" is listed twice; once is enough'),
    ('auto_subscribe = ["post:1"]', "auto_subscribe",
     '"post:1" is no kind of entity; write "about", or what stands before the colon, as "post"; '
     "write a small letter, then small letters, digits and _"),
    ("auto_subscribe = [7]", "auto_subscribe",
     '7 is no kind of entity; write "about", or what stands before the colon, as "post"'),
    ('batching = "often"', "batching", f'"often" is not a way of batching; {BATCHING}'),
    ('batching = "never"', "batching", f'"never" is not a way of batching; {BATCHING}'),
    ('batching = "4 min"', "batching", f'"4 min" is not a way of batching; {BATCHING}'),
    ('batching = "4m"', "batching", '"4m" is not a way of batching; write { cooldown = "4m" }'),
    ("batching = 240", "batching", f"240 is not a way of batching; {BATCHING}"),
    ('batching = ["daily"]', "batching", f"a list is not a way of batching; {BATCHING}"),
    ("batching = {}", "batching.cooldown", 'is missing; write cooldown = "4m"'),
    ('batching = { cooldown = "4 minutes" }', "batching.cooldown", '"4 minutes" is not a duration; write 4m'),
    ("batching = { cooldown = 240 }", "batching.cooldown", '240 is not a text; write it in quotes, as "4m"'),
    ('batching = { cooldown = "0s" }', "batching.cooldown",
     '"0s" is no time at all; write 1s or more, or batching = "immediate"'),
    ('batching = { cooldown = "-4m" }', "batching.cooldown", '"-4m" is not a duration; write 4m'),
    ('batching = { cooldown = "91d" }', "batching.cooldown", '"91d" is longer than 90d; write less'),
    ('batching = { cooldown = "4m", max_stale = "3m" }', "batching.max_stale",
     "max_stale is 3m, shorter than the cooldown, 4m; make it at least as long"),
    ('batching = { cooldown = "4m", stale = "3m" }', "batching.stale", "no such key; did you mean max_stale?"),
    ('frequency = "dayly"', "frequency", '"dayly": no such frequency; did you mean daily?'),
    ("frequency = 1", "frequency", "1: no such frequency; write never, immediate, batched, daily or weekly"),
    ('group = "Sharing"', "group", f'"Sharing" is not a name for a group; {NAME_RULE}'),
    ('group = "@daily"', "group", f'"@daily" is not a name for a group; {NAME_RULE}'),
    ('group = ""', "group", f'"" is not a name for a group; {NAME_RULE}'),
    ("group = true", "group", "true is not a text; write it in quotes"),
    ('category = "transaction"', "category", '"transaction": no such category; did you mean transactional?'),
    ('category = "urgent"', "category", '"urgent": no such category; write activity or transactional'),
    ('at_least_once = "yes"', "at_least_once",
     '"yes" is neither true nor false; write true or false, without quotes'),
    ("at_least_once = 1", "at_least_once", "1 is neither true nor false; write true or false, without quotes"),
    ('feed = { sql = "good.sql" }', "feed",
     'a feed is told daily or weekly, and this reason is immediate; write batching = "daily"'),
    (f'feed = "x"\n{DAILY}', "feed", '"x" is not a table; write [reasons.app_shared.feed] and its keys below'),
    (f"feed = {{}}\n{DAILY}", "feed", f'names no source; {SOURCES}, cypher = "feeds/NAME.cypher"'),
    (f'feed = {{ cypher = "no.cypher" }}\n{DAILY}', "feed.cypher", '"no.cypher": no such file beside hark.toml'),
    ('recheck = { cypher = "good.cypher" }', "recheck.cypher", "no such key; there is sql, python, url"),
    (f'feed = {{ sqll = "good.sql" }}\n{DAILY}', "feed.sqll", "no such key; did you mean sql?"),
    (f'feed = {{ sql = "good.sql", python = "a:b" }}\n{DAILY}', "feed.python",
     "is a second source beside sql; leave one of them out"),
    (f'feed = {{ sql = "no.sql" }}\n{DAILY}', "feed.sql", '"no.sql": no such file beside hark.toml'),
    (f'feed = {{ sql = "../up.txt" }}\n{DAILY}', "feed.sql",
     '"../up.txt" is outside of the catalogue\'s folder; move it in, beside hark.toml or below'),
    (f'feed = {{ sql = "huge.txt" }}\n{DAILY}', "feed.sql", '"huge.txt" has more than 256 KiB; is it a query?'),
    (f'feed = {{ sql = "bad.sql" }}\n{DAILY}', "feed.sql",
     "line 2 of bad.sql: has a semicolon; it is part of a larger statement, so leave the semicolon out"),
    (f'feed = {{ python = "shop.feeds" }}\n{DAILY}', "feed.python",
     '"shop.feeds" names no function; write package.module:function'),
    (f'feed = {{ url = "ftp://a/b" }}\n{DAILY}', "feed.url",
     "is not the URL of a web server; write https://HOST/PATH"),
    (f'feed = {{ url = "https://me:hunter2@a/b" }}\n{DAILY}', "feed.url",
     "has a user in it; say what the server needs to know in the path or the query"),
    (f'feed = {{ url = "https://a/${{NO_TOKEN}}" }}\n{DAILY}', "feed.url",
     "the environment has no NO_TOKEN; set it, or write ${NO_TOKEN:-default}"),
    (f'feed = {{ python = "a:b", cap = 51 }}\n{DAILY}', "feed.cap",
     "51 is not a whole number from 1 to 50, without quotes"),
    (f'feed = {{ python = "a:b", cap = true }}\n{DAILY}', "feed.cap",
     "true is not a whole number from 1 to 50, without quotes"),
    (f'feed = {{ python = "a:b", overlap = "1 day" }}\n{DAILY}', "feed.overlap",
     '"1 day" is not a duration; write 1d'),
    (f'feed = {{ python = "a:b", overlap = "31d" }}\n{DAILY}', "feed.overlap",
     '"31d" is longer than 30d; write less'),
    ("recheck = {}", "recheck", f"names no source; {SOURCES}"),
    ('recheck = { url = "https://a", cap = 3 }', "recheck.cap", "no such key; there is sql, python, url"),
    ('templates = "x"', "templates", '"x" is not a table; write [reasons.app_shared.templates] and its keys below'),
    ('templates = { body = "x" }', "templates.body", None),
    ("templates = { text = 1 }", "templates.text",
     'is neither a text nor a file; write it in quotes, or { file = "templates/NAME.html" }'),
    ('templates = { text = "{{ actor" }', "templates.text", None),
    ('templates = { text = "{{ actr }}" }', "templates.text",
     "line 1 of the template: no variable is called actr; did you mean actor?"),
    ('templates = { text = """\n\n{% if %}""" }', "templates.text", None),
    ('templates = { text = "{{ actor | shout }}" }', "templates.text", None),
    ("templates = { text = {} }", "templates.text.file", 'is missing; write file = "templates/NAME.html"'),
    ('templates = { text = { file = "a.txt", mode = "r" } }', "templates.text.mode", None),
    ("templates = { text = { file = 1 } }", "templates.text.file", "1 is not a text; write it in quotes"),
    ('templates = { text = { file = "no.txt" } }', "templates.text.file", '"no.txt": no such file beside hark.toml'),
    ('templates = { text = { file = "." } }', "templates.text.file", '".": is no file beside hark.toml'),
    ('templates = { text = { file = "../up.txt" } }', "templates.text.file",
     '"../up.txt" is outside of the catalogue\'s folder; move it in, beside hark.toml or below'),
    ('templates = { text = { file = "/etc/passwd" } }', "templates.text.file",
     '"/etc/passwd" is outside of the catalogue\'s folder; move it in, beside hark.toml or below'),
    ('templates = { text = { file = "link.txt" } }', "templates.text.file",
     '"link.txt" is outside of the catalogue\'s folder; move it in, beside hark.toml or below'),
    ('templates = { text = { file = "latin.txt" } }', "templates.text.file",
     '"latin.txt" is not UTF-8 text; save it as UTF-8'),
    ('templates = { text = { file = "huge.txt" } }', "templates.text.file",
     '"huge.txt" has more than 256 KiB; is it a template?'),
    ('templates = { text = { file = "a\\u0000b" } }', "templates.text.file",
     "has U+0000, which cannot be printed; write one line of plain text"),
    ('templates = { text = { file = "odd\\\\1.txt" } }', "templates.text",
     "line 1 of odd\\1.txt: no variable is called actr; did you mean actor?"),
    ('templates = { text = { file = "bad.txt" } }', "templates.text",
     "line 3 of bad.txt: no variable is called actr; did you mean actor?"),
]  # fmt: skip

REPLACED = [
    # A line of the base, what it says instead, the line and the key of the fault, and what is wrong.
    (1, "", 0, "user_types", 'is missing; write [user_types] and below it: Students = "People who look for a job"'),
    (2, '" x" = ""', 2, 'user_types." x"', 'the name of a user type " x" begins or ends with a blank; leave it out'),
    (2, '"" = ""', 2, 'user_types.""', "the name of a user type is empty; write at least one word"),
    (2, '"a\\u202eb" = ""', 2, 'user_types."a\\u202Eb"', "the name of a user type has U+202E, which cannot be printed; "
     "write one line of plain text"),
    (2, "Students = 1", 2, "user_types.Students", "1 is not a text; write it in quotes"),
    (4, "[channels]", 5, "channels.from", None),
    (4, "[channels.emial]", 4, "channels.emial", "no such key; did you mean email?"),
    (4, "[chanels.email]", 4, "chanels", "no such key; did you mean channels?"),
    (4, "[chanels.email]", 8, "channels.email.from", 'is missing, and "app_shared" goes by e-mail; '
     'write [channels.email] and from = "…"'),
    (5, "", 4, "channels.email.from", 'is missing; write from = "Acme <hello@acme.example>"'),
    (5, "from = 1", 5, "channels.email.from", "1 is not a text; write it in quotes"),
    (5, 'from = ""', 5, "channels.email.from", "is empty; write at least one word"),
    (5, 'from = "Acme"', 5, "channels.email.from", None),
    (5, 'from = "Acme <hello@>"', 5, "channels.email.from", None),
    (5, 'from = "a@b.example, c@d.example"', 5, "channels.email.from", None),
    (5, 'from = "<a@b.example> x"', 5, "channels.email.from", f'"<a@b.example> x": not an address; {MAILBOX}'),
    (5, 'from = "é@acme.example"', 5, "channels.email.from",
     '"é@acme.example": not an address that can be sent to: only ASCII may stand before the @'),
    (5, 'from = "Acme\\r\\nBcc: e@evil.example <a@b.example>"', 5, "channels.email.from",
     "has U+000D, which cannot be printed; write one line of plain text"),
    (5, 'from = "=?utf-8?q?=0ABcc?= <a@b.example>"', 5, "channels.email.from",
     '"=?utf-8?q?=0ABcc?= <a@b.example>": has an encoded-word; write the name as people read it'),
    (5, 'from = "Acme <${SENDER}>"', 5, "channels.email.from",
     "the environment has no SENDER; set it, or write ${SENDER:-default}"),
    (5, 'from = "a@b.example"\nsmtp = "${A}${B}${A}"', 6, "channels.email.smtp",
     "the environment has no A and no B; set it, or write ${A:-default}"),
    (5, 'from = "a@b.example"\nsmtp = "${1}"', 6, "channels.email.smtp",
     "has a ${ that names no variable; write ${NAME} or ${NAME:-default}"),
    (5, 'from = "a@b.example"\nsmtp = "mail.acme.example"', 6, "channels.email.smtp",
     "is not the URL of a mail server; write smtp://HOST:PORT or smtps://HOST:PORT"),
    (5, 'from = "a@b.example"\nsmtp = "smtp://"', 6, "channels.email.smtp", None),
    (5, 'from = "a@b.example"\nsmtp = "smtp://host:mail"', 6, "channels.email.smtp", None),
    (5, 'from = "a@b.example"\nsmtp = "smtp://a b"', 6, "channels.email.smtp", None),
    (5, 'from = "a@b.example"\nreply_to = "help"', 6, "channels.email.reply_to", None),
    (6, "[reasons]", 8, "reasons.channels.title", 'is missing; write title = "What people call it"'),
    (6, "[reasons.AppShared]", 6, "reasons.AppShared", f'"AppShared" is not a name for a reason; {NAME_RULE}'),
    (6, "[reason.app_shared]", 0, "reasons", 'is missing; write [reasons.NAME] and below it: title = "…"'),
    (6, "[reason.app_shared]", 6, "reason", "no such key; did you mean reasons?"),
    (7, "", 6, "reasons.app_shared.title", 'is missing; write title = "What people call it"'),
    (7, "title = 5", 7, "reasons.app_shared.title", "5 is not a text; write it in quotes"),
    (7, 'title = " "', 7, "reasons.app_shared.title", "is empty; write at least one word"),
    (7, 'title = "a\\nb"', 7, "reasons.app_shared.title",
     "has U+000A, which cannot be printed; write one line of plain text"),
    (7, f'title = "{"x" * 201}"', 7, "reasons.app_shared.title", "has 201 characters; write at most 200"),
    (8, "", 6, "reasons.app_shared.channels", 'is missing; write channels = { USER_TYPE = ["email", "in_app"] }'),
    (8, "channels = {}", 8, "reasons.app_shared.channels", 'is empty; write { USER_TYPE = ["email", "in_app"] }'),
    (8, 'channels = ["email"]', 8, "reasons.app_shared.channels",
     "a list is not a table; write [reasons.app_shared.channels] and its keys below"),
    (8, 'channels = { Student = ["email"] }', 8, "reasons.app_shared.channels.Student",
     "no such user type; did you mean Students?"),
    (8, 'channels = { "career services" = ["email"] }', 8, 'reasons.app_shared.channels."career services"',
     "no such user type; did you mean Career Services?"),
    (8, 'channels = { Wizards = ["email"] }', 8, "reasons.app_shared.channels.Wizards",
     "no such user type; there is Students, Career Services"),
    (8, 'channels = { Students = "email" }', 8, "reasons.app_shared.channels.Students",
     '"email" is not a list; write ["email", "in_app"]'),
    (8, 'channels = { Students = [\n"in_app",\n"emial"] }', 10, "reasons.app_shared.channels.Students",
     '"emial": no such channel; did you mean email?'),
    (8, 'channels = { Students = ["pigeon"] }', 8, "reasons.app_shared.channels.Students", f'"pigeon": {CHANNELS}'),
    (8, "channels = { Students = [[]] }", 8, "reasons.app_shared.channels.Students", f"a list: {CHANNELS}"),
    (8, 'channels = { Students = ["email",\n"email"] }', 9, "reasons.app_shared.channels.Students",
     '"email" is listed twice; once is enough'),
]  # fmt: skip

SECTIONS = [
    # What stands below the base, from line 9 on: the line and the key of the fault, and what is wrong.
    ('batching = "daily"\nfrequency = "weekly"', 10, "reasons.app_shared.frequency",
     '"weekly", but batching says daily; leave one of them out'),
    ("[reasons.x]", 9, "reasons.x.title", None),
    ("[batching]\ncooldown = 4", 10, "batching.cooldown", '4 is not a text; write it in quotes, as "4m"'),
    ('[batching]\ncooldown = "2h"', 10, "batching.cooldown",
     "max_stale is 1h, shorter than the cooldown, 2h; make it at least as long"),
    ('[batching]\ncooldown = "2h"\nmax_stale = "1h"', 11, "batching.max_stale", None),
    ('[batching]\nmax_stale = "1m"', 10, "batching.max_stale", None),
    ("[[batching]]", 9, "batching", "a list is not a table; write [batching] and its keys below"),
    ('[calendar]\nat = "8 am"', 10, "calendar.at", '"8 am" is not a time of day; write 08:00'),
    ("[calendar]\nat = 08:00:00", 10, "calendar.at", '08:00:00 is not a text; write it in quotes, as "08:00"'),
    ('[calendar]\nweekday = "funday"', 10, "calendar.weekday", None),
    ('[calendar]\nzone = "UTC"', 10, "calendar.zone", "no such key; there is at, weekday"),
    ('[channels.push]\nkey = "x"', 9, "channels.push", "no such key; there is email"),
    ("[[settings]]", 9, "settings", "a list is not a table; write [settings] and its keys below"),
    ("[reasons.app_shared]", 9, "syntax", None),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with template files that cannot be used, and one outside of it that may not."""
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "up.txt").write_text("{{ actor }}")
    (home / "link.txt").symlink_to(tmp_path / "up.txt")
    (home / "latin.txt").write_bytes("é".encode("latin-1"))
    (home / "huge.txt").write_bytes(b"x" * (LARGEST_FILE + 1))
    (home / "bad.txt").write_text("\n\n{{ actr }}")
    (home / "odd\\1.txt").write_text("{{ actr }}")
    (home / "a.txt").write_text("{{ actor }}")
    (home / "good.sql").write_text("select 1")
    (home / "bad.sql").write_text("select 1\n; drop table x")
    return home


def assert_shown(found: list[Fault], line: int, where: str, what: str | None) -> None:
    """One of the faults stands on this line and key; `what` None: its words are somebody else's."""
    assert (line, where) in [(fault.line, fault.where) for fault in found]
    if what is not None:
        assert what in [fault.what for fault in found if (fault.line, fault.where) == (line, where)]
    for fault in found:
        assert fault.what.isprintable()
        assert fault.where.isprintable()


class TestFaults:
    @pytest.mark.parametrize(("text", "key", "what"), ADDED)
    def test_in_a_reason(self, folder: Path, text: str, key: str, what: str | None) -> None:
        found = faults(folder, BASE + text)
        assert len(found) == 1
        assert_shown(found, 9, f"reasons.app_shared.{key}", what)

    @pytest.mark.parametrize(("line", "text", "at", "where", "what"), REPLACED)
    def test_in_what_every_file_has(
        self, tmp_path: Path, line: int, text: str, at: int, where: str, what: str | None
    ) -> None:
        assert_shown(faults(tmp_path, changed(line, text)), at, where, what)

    @pytest.mark.parametrize(("text", "line", "where", "what"), SECTIONS)
    def test_in_what_a_file_may_have(self, tmp_path: Path, text: str, line: int, where: str, what: str | None) -> None:
        assert_shown(faults(tmp_path, BASE + text), line, where, what)

    def test_are_all_shown_at_once_each_with_its_line(self, tmp_path: Path) -> None:
        text = """\
[user_types]
Students = ""
Employers = 5

[channels.email]
from = "Acme"
smtp = "${HARK_SMTP_URL}"

[reasons.app_shared]
channels = { Student = ["email"], Employers = ["emial"] }
batching = { cooldown = "4 minutes", max_stale = "1h" }
kategory = "activity"
templates = { text = '''
{{ actr }}''' }
[reasons.Bad]
title = ""
channels = { Students = ["email", "email"] }
"""
        found = faults(tmp_path, text)
        assert [(fault.line, fault.where) for fault in found] == [
            (3, "user_types.Employers"),
            (6, "channels.email.from"),
            (7, "channels.email.smtp"),
            (9, "reasons.app_shared.title"),
            (10, "reasons.app_shared.channels.Student"),
            (10, "reasons.app_shared.channels.Employers"),
            (11, "reasons.app_shared.batching.cooldown"),
            (12, "reasons.app_shared.kategory"),
            (13, "reasons.app_shared.templates.text"),
            (15, "reasons.Bad"),
            (16, "reasons.Bad.title"),
            (17, "reasons.Bad.channels.Students"),
        ]

    def test_read_as_the_interface_says(self, tmp_path: Path) -> None:
        text = changed(8, 'channels = { Student = ["in_app"] }\nbatching.cooldown = "4 minutes"')
        with pytest.raises(CatalogueFaults) as caught:
            load(tmp_path, text)
        assert str(caught.value).replace(f"{tmp_path}/", "") == (
            "hark.toml:8  reasons.app_shared.channels.Student   no such user type; did you mean Students?\n"
            'hark.toml:9  reasons.app_shared.batching.cooldown  "4 minutes" is not a duration; write 4m'
        )

    def test_do_not_follow_from_one_another(self, tmp_path: Path) -> None:
        assert [fault.where for fault in faults(tmp_path, BASE.replace("[user_types]", "[usertypes]"))] == [
            "user_types",
            "usertypes",
        ]
        assert [fault.where for fault in faults(tmp_path, "")] == ["user_types", "reasons"]

    def test_a_file_that_is_not_there_is_one(self, tmp_path: Path) -> None:
        with pytest.raises(CatalogueFaults, match="cannot be read: no such file"):
            load_catalogue(tmp_path / "none.toml", {})

    @pytest.mark.parametrize("ends", ["\n", "\r\n"])
    def test_have_the_same_lines_on_every_system(self, tmp_path: Path, ends: str) -> None:
        text = "\ufeff" + changed(7, "title = 5").replace("\n", ends)
        assert [fault.line for fault in faults(tmp_path, text)] == [7]

    def test_a_template_that_python_cannot_compile_is_one(self, tmp_path: Path) -> None:
        deep = "{% for x in items %}" * 30 + "{% endfor %}" * 30
        text = f"{BASE}templates = {{ text = '{deep}' }}"
        (fault,) = faults(tmp_path, text)
        assert fault.where == "reasons.app_shared.templates.text"
        assert "does not compile" in fault.what


class TestMailboxes:
    @pytest.mark.parametrize(
        "text",
        [
            "hello@acme.example",
            "Acme <hello@acme.example>",
            '"Acme, Inc." <hello@acme.example>',
            "Acme, Inc. <hello@acme.example>",
            "Äcme & Söhne <hello@acme.example>",
            "<hello@acme.example>",
            "hello@äcme.example",
            "o'brien+news@acme.example",
        ],
    )
    def test_that_are_accepted_can_be_sent_from(self, text: str) -> None:
        assert mailbox_fault(text) == ""
        assert parse_mailbox(text, "from").address.endswith(".example")

    @given(
        st.text(alphabet='ab<>@.,"\\ =?é\n-', max_size=20)
        | st.from_regex(r"[^<]{0,5}<[ab]@[a-c.-]{1,8}>", fullmatch=True)
    )
    def test_whatever_is_accepted_can_be_sent_from(self, text: str) -> None:
        if not mailbox_fault(text):
            parse_mailbox(text, "from")


PINNED = "d9e76492fbccae78a63e71e28c140dd78024622d38c85afa58beea713780d893"
"""What the reason of BASE has had from the start: with another, every database takes its reasons for changed."""


class TestFingerprints:
    @pytest.fixture
    def catalogue(self, tmp_path: Path) -> Catalogue:
        return load(tmp_path, BASE)

    def test_do_not_depend_on_the_layout_of_the_file(self, tmp_path: Path, catalogue: Catalogue) -> None:
        text = "# new\n" + BASE.replace(' = ["email", "in_app"]', '=["in_app","email"]')
        assert load(tmp_path, text).fingerprint == catalogue.fingerprint

    @pytest.mark.parametrize(
        "more",
        [
            'batching = "daily"',
            'frequency = "never"',
            'batching = { cooldown = "4m" }',
            'group = "x"',
            'category = "transactional"',
            "at_least_once = true",
            'auto_subscribe = ["post"]',
            'templates = { text = "x" }',
            'templates = { html = "x" }',
            'recheck = { python = "a:b" }',
            'recheck = { url = "https://a" }',
            '[batching]\ncooldown = "5m"',
            '[calendar]\nat = "09:00"',
            '[calendar]\nweekday = "friday"',
        ],
    )
    def test_of_a_reason_change_with_all_that_it_does(self, tmp_path: Path, catalogue: Catalogue, more: str) -> None:
        other = load(tmp_path, BASE + more)
        assert other.reason_fingerprint("app_shared") != catalogue.reason_fingerprint("app_shared")
        assert other.fingerprint != catalogue.fingerprint

    def test_of_a_reason_change_with_the_words_in_its_files(self, tmp_path: Path) -> None:
        words, text = tmp_path / "words.txt", BASE + 'templates = { text = { file = "words.txt" } }'
        words.write_text("one")
        before = load(tmp_path, text).reason_fingerprint("app_shared")
        words.write_text("two")
        assert load(tmp_path, text).reason_fingerprint("app_shared") != before

    def test_of_a_reason_change_with_its_feed_and_the_query_in_its_file(self, tmp_path: Path) -> None:
        prints = set()
        for query, more in (
            ("select 1", ""),
            ("select 2", ""),
            ("select 2", ", cap = 3"),
            ("select 2", ', overlap = "1h"'),
        ):
            (tmp_path / "page.sql").write_text(query)
            text = BASE + f'batching = "daily"\nfeed = {{ sql = "page.sql"{more} }}'
            prints.add(load(tmp_path, text).reason_fingerprint("app_shared"))
        assert len(prints) == 4

    def test_of_the_whole_change_with_user_types_and_senders_and_not_with_secrets(self, catalogue: Catalogue) -> None:
        assert catalogue.email is not None
        others = [
            replace(catalogue, user_types={"Students": "x"}),
            replace(catalogue, email=replace(catalogue.email, sender="b@b.example")),
            replace(catalogue, reasons={}),
        ]
        assert len({each.fingerprint for each in (catalogue, *others)}) == 4
        same = replace(catalogue, email=replace(catalogue.email, smtp="smtp://me:hunter2@mail.acme.example"))
        assert same.fingerprint == catalogue.fingerprint

    def test_are_the_same_on_every_machine(self, catalogue: Catalogue) -> None:
        assert re.fullmatch("[0-9a-f]{64}", catalogue.fingerprint)
        assert catalogue.reason_fingerprint("app_shared") == (
            "d9e76492fbccae78a63e71e28c140dd78024622d38c85afa58beea713780d893"
        )


NEARER = """
[reasons.mention]
title = "Mentions"
channels = { Students = ["in_app"] }
[reasons.comment_reply]
title = "Answers"
channels = { Students = ["in_app"] }
"""


class TestNarrower:
    def test_is_read_in_its_order(self, tmp_path: Path) -> None:
        text = (
            f'{BASE}narrower = {{ mention = "named", comment_reply = "comment" }}\nauto_subscribe = ["about", "post"]'
        )
        reason = load(tmp_path, text + NEARER).reasons["app_shared"]
        assert reason.narrower == (Facet("mention", "named"), Facet("comment_reply", "comment"))
        assert reason.auto_subscribe == ("about", "post")
        turned = (
            f'{BASE}narrower = {{ comment_reply = "comment", mention = "named" }}\nauto_subscribe = ["about", "post"]'
        )
        assert load(tmp_path, turned + NEARER).reason_fingerprint("app_shared") != load(
            tmp_path, text + NEARER
        ).reason_fingerprint("app_shared")

    @pytest.mark.parametrize(
        ("narrower", "where", "what"),
        [
            ('{ menton = "named" }', "menton", "no such reason; did you mean mention?"),
            ('{ mention = "Comment" }', "mention", '"Comment" is neither "named" nor a kind of entity; '
             'write "named", or what stands before the colon of an entity, as "comment"; '
             "write a small letter, then small letters, digits and _"),
            ("{ mention = 7 }", "mention", '7 is neither "named" nor a kind of entity; '
             'write "named", or what stands before the colon of an entity, as "comment"'),
        ],
    )  # fmt: skip
    def test_faults_name_the_reason_and_how_to_mend_it(
        self, tmp_path: Path, narrower: str, where: str, what: str
    ) -> None:
        found = faults(tmp_path, f"{BASE}narrower = {narrower}{NEARER}")
        assert_shown(found, 9, f"reasons.app_shared.narrower.{where}", what)
        assert len(found) == 1

    def test_goes_one_level_only_so_that_it_goes_in_no_circle(self, tmp_path: Path) -> None:
        nested = NEARER.replace('title = "Mentions"', 'title = "Mentions"\nnarrower = { app_shared = "post" }')
        found = faults(tmp_path, f'{BASE}narrower = {{ mention = "named" }}{nested}')
        assert [fault.where for fault in found] == [
            "reasons.app_shared.narrower.mention",
            "reasons.mention.narrower.app_shared",
        ]
        assert found[0].what == (
            '"mention" has narrower reasons of its own; only one level goes; name them here, too, or leave it out'
        )

    def test_are_ten_at_most(self, tmp_path: Path) -> None:
        names = [f"r{number}" for number in range(11)]
        more = "".join(f'\n[reasons.{name}]\ntitle = "T"\nchannels = {{ Students = ["in_app"] }}' for name in names)
        listed = ", ".join(f'{name} = "post"' for name in names)
        found = faults(tmp_path, f"{BASE}narrower = {{ {listed} }}{more}")
        assert_shown(found, 9, "reasons.app_shared.narrower", "has 11 reasons; write at most 10")


class TestTheSample:
    def test_has_no_faults_and_its_words_can_be_rendered(self) -> None:
        catalogue = load_catalogue(SAMPLE, {})
        assert catalogue.user_types.keys() == {
            "Students", "Employers", "Career Services", "Admins", "Mentors", "Prospects"
        }  # fmt: skip
        assert catalogue.reasons["message_received"].windows == Windows(timedelta(minutes=4), timedelta(hours=1))
        assert {reason.frequency for reason in catalogue.reasons.values()} == set(Frequency)
        rendering.Renderer(catalogue, "campus.example")

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=EXAMPLES)
    @given(st.data())
    def test_however_it_is_garbled_it_is_read_or_its_faults_are_shown(
        self, tmp_path: Path, data: st.DataObject
    ) -> None:
        text = SAMPLE.read_text()
        for _ in range(data.draw(st.integers(1, 4))):
            start = data.draw(st.integers(0, len(text)))
            end = start + data.draw(st.integers(0, 40))
            bit = st.sampled_from(['"', "\n", "[", "]", "{", "}", "=", ".", "0", "true", "x", "#", "[[", "{{", "{%"])
            text = text[:start] + data.draw(bit | st.text(max_size=4)) + text[end:]
        try:
            load(tmp_path, "".join(each for each in text if not "\ud800" <= each <= "\udfff"))
        except CatalogueFaults as refusal:
            assert all(0 <= fault.line <= text.count("\n") + 1 for fault in refusal.faults)
            assert all(fault.what.isprintable() and fault.where.isprintable() for fault in refusal.faults)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=EXAMPLES)
    @given(st.data())
    def test_whatever_stands_for_a_value_it_is_read_or_its_faults_are_shown(
        self, tmp_path: Path, data: st.DataObject
    ) -> None:
        lines = [line for line in SAMPLE.read_text().splitlines() if not line.startswith(("text ", "html", "{", "'''"))]
        values = [
            "1",
            "-1.5",
            "nan",
            "true",
            "[]",
            "{}",
            '""',
            "[[1]]",
            "{ a.b = 1 }",
            "1979-05-27",
            "07:32:00",
            "[{}]",
        ]
        for _ in range(data.draw(st.integers(1, 6))):
            number = data.draw(st.sampled_from([n for n, line in enumerate(lines) if " = " in line]))
            lines[number] = f"{lines[number].partition(' = ')[0]} = {data.draw(st.sampled_from(values))}"
        try:
            load(tmp_path, "\n".join(lines))
        except CatalogueFaults as refusal:
            assert "syntax" not in {fault.where for fault in refusal.faults}
            assert all(fault.line for fault in refusal.faults)


class TestNearest:
    @pytest.mark.parametrize(
        ("name", "near"),
        [
            ("Student", "Students"),
            ("STUDENTS", "Students"),
            ("career service", "Career Services"),
            ("", None),
            ("xyzzy", None),
        ],
    )
    def test_is_the_name_that_was_meant_or_none(self, name: str, near: str | None) -> None:
        assert nearest(name, ["Students", "Career Services"]) == near


class TestTheReference:
    def test_has_every_key_and_no_other(self) -> None:
        described = set(re.findall(r"^\| `([^`]+)` \|", REFERENCE.read_text(), re.MULTILINE))
        known = {f"{table}.{key}".lstrip(".") for table, keys in KEYS.items() for key in keys}
        chosen = {"user_types.NAME", "reasons.NAME", "reasons.NAME.channels.USER_TYPE", "settings.NAME"}
        assert described == known | chosen

    def test_its_example_has_no_faults(self, tmp_path: Path) -> None:
        example = re.findall(r"^```toml\n(.*?)^```", REFERENCE.read_text(), re.MULTILINE | re.DOTALL)
        assert load(tmp_path, example[0], HARK_SMTP_URL="smtp://localhost:25").reasons
