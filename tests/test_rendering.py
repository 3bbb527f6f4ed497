"""What a recipient reads, whatever the payload and the templates are."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from traceback import format_exception

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hark.catalogue import Calendar, Catalogue, Category, Channel, Frequency, Reason, Templates, Windows
from hark.errors import CatalogueFaults, RenderingFailed
from hark.rendering import LISTED, SUBJECT_LENGTH, Batch, Item, Message, Renderer, template_faults
from hark.templates import VARIABLES
from hark.templates.sandbox import VALUE_LENGTH, clean, text_of

NOON = datetime(2026, 5, 3, 12, 0, tzinfo=UTC)


def reason(name: str = "app_shared", title: str = "Apps shared with you", templates: Templates | None = None) -> Reason:
    windows = Windows(timedelta(minutes=4), None)
    channels = {"Students": (Channel.EMAIL,)}
    words = templates or Templates()
    return Reason(name, title, channels, Frequency.BATCHED, windows, "sharing", Category.ACTIVITY, words)


def catalogue(*reasons: Reason) -> Catalogue:
    return Catalogue({"Students": ""}, {each.name: each for each in reasons}, None, Calendar())


def renderer(*reasons: Reason) -> Renderer:
    return Renderer(catalogue(*reasons), "acme.example")


def with_templates(
    subject: str | None = None, subject_many: str | None = None, text: str | None = None, html: str | None = None
) -> Renderer:
    return renderer(reason(templates=Templates(subject, subject_many, text, html)))


def item(
    number: int = 1,
    reason: str = "app_shared",
    actor: str | None = "alice",
    about: str | None = "app:42",
    payload: Mapping[str, object] | None = None,
    at: datetime | None = None,
) -> Item:
    return Item(reason, number, at or NOON + timedelta(seconds=number), actor, about, payload or {})


def batch(*items: Item, total: int = 0, counts: Mapping[str, int] | None = None) -> Batch:
    return Batch(88, "bob", "bob@mail.example", "Europe/Vienna", "en", items, total, counts or {})


def said(rendering: Renderer, *items: Item) -> Message:
    return rendering.render(batch(*items), NOON)


class Page(HTMLParser):
    """An independent reading of an HTML part: its tags with their attributes' names, its links, its visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str | None] = []
        self.language: dict[str, str | None] = {}
        self.words = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.links += [value for name, value in attrs if name in {"href", "src"}]
        if tag == "html":
            self.language = dict(attrs)

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}", ()))

    def handle_data(self, data: str) -> None:
        self.words += data


def html_of(message: Message) -> Page:
    assert message.html is not None
    return Page(message.html)


class TestBuiltInWords:
    @pytest.mark.parametrize(
        ("actor", "about", "words"),
        [
            ("alice", "app:42", "alice: app:42"),
            ("alice", None, "alice"),
            (None, "app:42", "app:42"),
            (None, None, "Apps shared with you"),
        ],
    )
    def test_a_reason_without_templates_says_who_and_what_as_far_as_known(
        self, actor: str | None, about: str | None, words: str
    ) -> None:
        message = said(renderer(reason()), item(actor=actor, about=about))
        assert message.subject == "Apps shared with you"
        assert message.text.startswith(f"{words}\n")
        assert words in html_of(message).words
        assert "None" not in message.text + html_of(message).words

    def test_many_of_one_reason_are_counted_in_the_subject(self) -> None:
        assert said(renderer(reason()), item(1), item(2), item(3)).subject == "3 new: Apps shared with you"

    def test_html_is_made_of_the_text_when_only_that_is_written(self) -> None:
        message = said(with_templates(text="{{ payload.a }}\nsecond"), item(payload={"a": "<b>"}))
        assert message.html is not None
        assert "&lt;b&gt;<br>\nsecond" in message.html

    def test_text_is_made_of_the_html_when_only_that_is_written_and_keeps_its_links(self) -> None:
        source = '<p>{{ actor }} &amp; you</p><p><a href="https://a.example/?x=1&amp;y=2">open <b>it</b></a></p>'
        message = said(with_templates(html=source), item(actor="<alice>"))
        assert message.text.startswith("<alice> & you\nopen it (https://a.example/?x=1&y=2)\n")

    def test_an_item_or_subject_that_comes_out_empty_says_its_title(self) -> None:
        message = said(
            with_templates(subject="{{ payload.a }}", text="{{ payload.a }}", html="{{ payload.a }}"), item()
        )
        assert message.subject == "Apps shared with you"
        assert message.text.startswith("Apps shared with you\n")
        assert html_of(message).words.count("Apps shared with you") >= 3


class TestManyItems:
    def test_items_stand_oldest_first_whatever_order_they_came_in(self) -> None:
        message = said(renderer(reason()), item(3, about="c"), item(1, about="a"), item(2, about="b"))
        words = html_of(message).words
        body = words[words.rindex("3 new") :]
        assert message.text.index(": a") < message.text.index(": b") < message.text.index(": c")
        assert body.index(": a") < body.index(": b") < body.index(": c")

    def test_subject_many_speaks_of_the_newest_and_knows_all_listed(self) -> None:
        source = "{{ count }}: {{ actor }} after {{ items[0].actor }} of {{ items | length }}"
        rendering = with_templates(subject_many=source)
        assert (
            said(rendering, item(2, actor="newest"), item(1, actor="oldest")).subject == "2: newest after oldest of 2"
        )

    def test_a_huge_batch_lists_the_newest_and_counts_the_others_exactly(self) -> None:
        items = [item(number, about=f"<{number}>") for number in range(1000)]
        message = said(renderer(reason()), *items)
        assert message.subject == "1000 new: Apps shared with you"
        assert message.text.count("alice: ") == LISTED
        assert "<999>" in message.text
        assert "<949>" not in message.text
        assert "and 950 more" in message.text
        assert "and 950 more" in html_of(message).words

    def test_a_batch_of_which_only_the_newest_were_loaded_reads_like_the_whole_one(self) -> None:
        items = [item(number) for number in range(1000)]
        rendering = renderer(reason())
        whole = rendering.render(batch(*items), NOON)
        assert rendering.render(batch(*items[-LISTED:], total=1000), NOON) == whole
        assert rendering.render(batch(*items[-LISTED:], total=1000, counts={"app_shared": 1000}), NOON) == whole

    def test_exactly_as_many_as_are_listed_leave_no_more(self) -> None:
        message = said(renderer(reason()), *[item(number) for number in range(LISTED)])
        assert " more" not in message.text + html_of(message).words

    def test_lines_of_one_item_stay_inside_it(self) -> None:
        message = said(with_templates(text="{{ payload.a }}"), item(1, payload={"a": "x\n- y"}), item(2))
        assert "x\n  - y" in message.text

    def test_a_batch_without_items_is_refused(self) -> None:
        with pytest.raises(ValueError, match="delivery 88 has no items"):
            batch()


class TestMixedReasons:
    apps = reason("app_shared", "Apps shared with you")
    comments = reason("comment", "Comments")

    def test_the_subject_counts_each_and_sections_follow_the_catalogue(self) -> None:
        items = [item(1, "comment"), item(2), item(3), item(4, "comment"), item(5)]
        message = said(renderer(self.apps, self.comments), *items)
        assert message.subject == "5 new: 3 Apps shared with you, 2 Comments"
        assert message.text.index("\nApps shared with you\n") < message.text.index("\nComments\n")
        assert said(renderer(self.comments, self.apps), *items).subject == "5 new: 2 Comments, 3 Apps shared with you"

    def test_counts_by_reason_are_said_only_when_they_are_known(self) -> None:
        rendering = renderer(self.apps, self.comments)
        some = (item(1), item(2, "comment"))
        unknown = rendering.render(batch(*some, total=9), NOON)
        known = rendering.render(batch(*some, total=9, counts={"app_shared": 8, "comment": 1}), NOON)
        assert unknown.subject == "9 new: Apps shared with you, Comments"
        assert known.subject == "9 new: 8 Apps shared with you, 1 Comments"
        assert "and 7 more" in known.text

    def test_a_reason_whose_items_are_all_past_the_listed_ones_is_still_counted(self) -> None:
        items = [item(1, "comment"), *[item(number) for number in range(2, LISTED + 5)]]
        message = said(renderer(self.apps, self.comments), *items)
        assert message.subject == f"{LISTED + 4} new: {LISTED + 3} Apps shared with you, 1 Comments"
        assert "and 4 more" in message.text

    def test_each_item_is_in_the_words_of_its_reason(self) -> None:
        rendering = renderer(
            replace(self.apps, templates=Templates(text="app {{ reason }}")),
            replace(self.comments, templates=Templates(text="comment {{ title }}")),
        )
        message = said(rendering, item(1), item(2, "comment"))
        assert "app app_shared" in message.text
        assert "comment Comments" in message.text


class TestTimeAndPlace:
    @pytest.mark.parametrize(
        ("at", "words"),
        [
            (datetime(2026, 5, 3, 9, 5, tzinfo=UTC), "11:05"),
            (datetime(2026, 5, 2, 22, 30, tzinfo=UTC), "00:30"),
            (datetime(2026, 5, 1, 9, 5, tzinfo=UTC), "1 May, 11:05"),
            (datetime(2025, 12, 31, 22, 30, tzinfo=UTC), "31 December 2025, 23:30"),
            (datetime(2026, 1, 31, 23, 30, tzinfo=UTC), "1 February, 00:30"),
        ],
    )
    def test_times_are_the_recipients_and_no_longer_than_needed(self, at: datetime, words: str) -> None:
        message = said(with_templates(text="said"), item(at=at))
        assert message.text.strip() == f"said\n\n{words}"
        assert words in html_of(message).words

    def test_templates_get_the_local_time(self) -> None:
        message = said(with_templates(text="{{ at }} {{ at.strftime('%H') }} {{ when }}"), item(at=NOON))
        assert message.text.startswith("2026-05-03 14:00 14 14:00\n")

    @pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../../etc/passwd", "America", "a\0b"])
    def test_an_unknown_zone_reads_as_utc_and_holds_nothing_up(self, zone: str) -> None:
        message = renderer(reason()).render(replace(batch(item(at=NOON)), zone=zone), NOON)
        assert "12:00" in message.text

    @pytest.mark.parametrize("at", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
    def test_the_ends_of_the_calendar_can_be_said(self, at: datetime) -> None:
        rendering = renderer(reason())
        for zone in ("America/New_York", "Asia/Tokyo"):
            assert rendering.render(replace(batch(item(at=at)), zone=zone), NOON).text

    @pytest.mark.parametrize(
        ("locale", "language", "direction"),
        [
            ("de-AT", "de-AT", "ltr"),
            ("de_AT.UTF-8", "de-AT", "ltr"),
            ("zh_Hant_TW", "zh-Hant-TW", "ltr"),
            ("ar-EG", "ar-EG", "rtl"),
            ("", "en", "ltr"),
            ('"><script>', "en", "ltr"),
        ],
    )
    def test_html_names_the_recipients_language(self, locale: str, language: str, direction: str) -> None:
        page = html_of(renderer(reason()).render(replace(batch(item()), locale=locale), NOON))
        assert page.language == {"lang": language, "dir": direction}


class TestMessage:
    def test_it_carries_the_delivery_on(self) -> None:
        message = said(renderer(reason()), item())
        assert (message.delivery_id, message.recipient_id, message.address) == (88, "bob", "bob@mail.example")
        assert message.at == NOON

    def test_its_id_is_stable_for_the_delivery_and_differs_between_deliveries(self) -> None:
        rendering = renderer(reason())
        first = batch(item())
        again = rendering.render(batch(item(), item(2)), NOON + timedelta(hours=1)).message_id
        others = [
            replace(first, delivery_id=89),
            replace(first, recipient_id="bo"),
            replace(first, recipient_id="\ud800"),
        ]
        ids = {rendering.render(each, NOON).message_id for each in [first, *others]}
        assert again in ids
        assert again.startswith("hark.88.")
        assert len(ids) == 4
        assert all(name.isascii() and name.endswith("@acme.example") for name in ids)

    def test_the_html_part_asks_for_nothing_remote(self) -> None:
        page = html_of(said(renderer(reason()), item(1), item(2)))
        assert page.links == []
        assert not {"img", "link", "script", "iframe"} & {tag for tag, _ in page.tags}


class TestWhatIsNotThere:
    def test_it_prints_as_nothing_and_is_counted_by_template(self) -> None:
        rendering = with_templates(subject="Hi {{ payload.nick }}", text="a{{ payload.x.y.z }}b{{ payload.x }}c")
        message = said(rendering, item())
        assert message.subject == "Hi"
        assert message.text.startswith("abc\n")
        assert rendering.blanks == {"app_shared.subject": 1, "app_shared.text": 2}

    def test_a_template_that_provides_for_it_is_not_counted(self) -> None:
        source = (
            "{{ payload.x | default('someone') }}{% if payload.y %}y{% endif %}{% for z in payload.z %}z{% endfor %}"
        )
        rendering = with_templates(text=source)
        assert said(rendering, item()).text.startswith("someone\n")
        assert not rendering.blanks

    def test_null_prints_as_nothing_and_was_there(self) -> None:
        rendering = with_templates(text="a{{ payload.x }}b{{ actor }}c")
        assert said(rendering, item(actor=None, payload={"x": None})).text.startswith("abc\n")
        assert not rendering.blanks

    def test_computing_with_it_fails_with_a_way_out(self) -> None:
        with pytest.raises(RenderingFailed, match=r"line 1: it computes with a value that is not there.*default"):
            said(with_templates(text="{{ payload.price * 2 }}"), item())


class TestFailures:
    def test_a_broken_template_is_named_with_its_line_but_not_the_data(self) -> None:
        secret = "-".join(["card", "4711"])
        rendering = with_templates(html="<p>\n\n{{ '%s %d' | format(payload.n, payload.n) }}</p>")
        with pytest.raises(RenderingFailed) as failed:
            said(rendering, item(payload={"n": secret}))
        assert str(failed.value) == "reason app_shared, template html, line 3: TypeError"

    def test_nor_is_the_data_in_what_hangs_on_the_error(self) -> None:
        secret = "-".join(["card", "4711"])
        with pytest.raises(RenderingFailed) as failed:
            said(with_templates(subject="{{ {}[payload.n]() }}"), item(payload={"n": secret}))
        assert secret not in "".join(format_exception(failed.value))
        assert failed.value.__cause__ is failed.value.__context__ is None

    def test_one_bad_delivery_leaves_the_next_one_alone(self) -> None:
        rendering = with_templates(text="{{ 1 // payload.n }}")
        with pytest.raises(RenderingFailed):
            said(rendering, item(payload={"n": 0}))
        assert said(rendering, item(payload={"n": 1})).text.startswith("1\n")

    def test_a_reason_that_left_the_catalogue_is_named(self) -> None:
        with pytest.raises(RenderingFailed, match="reason gone: the catalogue no longer declares it"):
            said(renderer(reason()), item(reason="gone"))

    @pytest.mark.parametrize(
        "source",
        [
            "{{ payload.__class__.__mro__ }}",
            "{{ actor.__class__ }}",
            "{{ payload.update({'a': 1}) }}",
            "{{ items.clear() }}",
            "{{ '{0.__class__}'.format(actor) }}",
            "{{ range(10 ** 9) | list | length }}",
        ],
    )
    def test_a_template_does_not_leave_the_sandbox(self, source: str) -> None:
        payload = {"x": 1}
        try:
            text = said(with_templates(text=source), item(payload=payload)).text
        except RenderingFailed:
            text = ""
        assert "class" not in text
        assert payload == {"x": 1}


class TestTemplateFaults:
    def test_all_faults_are_shown_at_once_each_with_its_place(self) -> None:
        faulty = catalogue(
            reason("a", templates=Templates(subject="{{ actr }}", text="one\n{% if %}")),
            reason("b", templates=Templates(html="{{ actor | shout }}", subject_many="{{ range(3) }} {{ xyzzy }}")),
        )
        faults = {fault.where: fault.what for fault in template_faults(faulty)}
        assert faults.keys() == {f"reasons.{name}" for name in
            ("a.templates.subject", "a.templates.text", "b.templates.html", "b.templates.subject_many")}  # fmt: skip
        assert faults["reasons.a.templates.subject"].endswith("no variable is called actr; did you mean actor?")
        assert faults["reasons.a.templates.text"].startswith("line 2 of the template:")
        assert "shout" in faults["reasons.b.templates.html"]
        assert "a template knows about, actor, at" in faults["reasons.b.templates.subject_many"]

    def test_a_renderer_is_not_built_on_them(self) -> None:
        with pytest.raises(CatalogueFaults, match=r"reasons\.app_shared\.templates\.text +line 1"):
            with_templates(text="{{ actor")

    def test_good_templates_have_none(self) -> None:
        source = "{% set n = payload.n %}{{ n }}{% for each in items %}{{ each.when }}{{ loop.index }}{% endfor %}"
        assert template_faults(catalogue(reason(templates=Templates(text=source)))) == []


class TestSubjects:
    def test_line_ends_and_control_characters_become_spaces_or_nothing(self) -> None:
        payload = {"a": "x\r\nBcc: eve@evil.example\t\x00\x1b[31m\u2028\x85y\u202ez"}
        message = said(with_templates(subject="{{ payload.a }}"), item(payload=payload))
        assert message.subject == "x Bcc: eve@evil.example [31m yz"

    def test_a_long_one_is_cut_with_an_ellipsis(self) -> None:
        subject = said(with_templates(subject="{{ payload.a }}"), item(payload={"a": "word " * 100})).subject
        assert len(subject) <= SUBJECT_LENGTH
        assert subject.endswith("word…")

    def test_it_is_not_html(self) -> None:
        assert said(with_templates(subject="{{ actor }}"), item(actor="R&D <x>")).subject == "R&D <x>"


class TestPrintedValues:
    @pytest.mark.parametrize(
        ("value", "words"),
        [
            (3, "3"),
            (2.5, "2.5"),
            (True, "true"),
            (["a", 1, None, "b"], "a, 1, , b"),
            (["a", ["nested"]], "a,"),
            ({"a": 1}, "Apps shared with you"),
            pytest.param(10**5000, "…", id="huge number"),
            ("{{ actor }}{% raw %}", "{{ actor }}{% raw %}"),
            pytest.param("é" * VALUE_LENGTH, "é" * VALUE_LENGTH, id="longest"),
            pytest.param("é" * (VALUE_LENGTH + 1), "é" * (VALUE_LENGTH - 1) + "…", id="too long"),
            ("a\r\nb\rc", "a\nb\nc"),
        ],
    )
    def test_each_kind_has_its_words(self, value: object, words: str) -> None:
        text = said(with_templates(text="{{ payload.x }}"), item(payload={"x": value})).text
        assert text.rsplit("\n\n", 1)[0].strip() == words

    def test_a_key_comes_before_a_method_of_the_same_name(self) -> None:
        rendering = with_templates(
            text="{{ payload.items }}, {{ payload.keys }}{% for k, v in payload.a.items() %}{{ k }}{% endfor %}"
        )
        assert said(rendering, item(payload={"items": 3, "keys": 4, "a": {"k": 1}})).text.startswith("3, 4k\n")

    def test_a_long_list_is_cut(self) -> None:
        text = said(with_templates(text="{{ payload.x }}"), item(payload={"x": [1] * 10**5})).text
        assert "1, 1, …" in text
        assert len(text) < 400

    @pytest.mark.parametrize(
        ("value", "href"),
        [
            ("https://a.example/?a=1&b=2", "https://a.example/?a=1&b=2"),
            ("mailto:x@a.example", "mailto:x@a.example"),
            ("javascript:alert(1)", ""),
            (" java\nscript:alert(1)", ""),
            ("data:text/html,x", ""),
            ('https://a.example/" onclick="x', 'https://a.example/" onclick="x'),
            (None, ""),
        ],
    )
    def test_the_link_filter_lets_only_web_and_mail_addresses_through(self, value: object, href: str) -> None:
        rendering = with_templates(html='<a href="{{ payload.url | link }}">open</a>')
        page = html_of(said(rendering, item(payload={"url": value})))
        assert page.links == [href]
        assert ("a", ("href",)) in page.tags


TRICKY = st.sampled_from(
    ["<script>alert(1)</script>", '"><img src=x>', "' onload='", "{{ 7*7 }}", "{% raw %}", "</body>", "<!--", "]]>",
     "&lt;", "\u202eevil", "\r\nBcc: x", "\x00", "\ud800", "\u2028", "<style>"]
)  # fmt: skip
WORDS = st.lists(TRICKY | st.text(st.characters()), max_size=4).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
PAYLOADS = st.dictionaries(st.sampled_from(["x", "url", "names", "items"]) | WORDS, VALUES, max_size=5)

EVERYWHERE = with_templates(
    subject="{{ payload.x }} {{ actor }}",
    subject_many="{{ payload.x }} {{ about }}",
    text="{{ payload.x }} {{ payload.x.y }} {{ payload.names }} {{ payload }} {{ payload.items }}",
    html='<p title="{{ payload.x }}"><a href="{{ payload.url | link }}">{{ payload.x }}</a> {{ payload.names }}'
    "{{ actor }} {{ payload }} {{ payload.x.y }} {{ payload.x | upper }}</p>",
)
PLAIN = Renderer(catalogue(reason()), "acme.example")
UNWANTED = {
    *map(chr, range(9)),
    *map(chr, range(11, 32)),
    *map(chr, range(127, 160)),
    *"\u2028\u2029\u202d\u202e\u2066",
}


class TestUntrustedPayloads:
    @settings(max_examples=300)
    @given(PAYLOADS, WORDS | st.none(), WORDS | st.none(), st.integers(1, 3))
    def test_nothing_in_them_changes_the_mail_around_them(
        self, payload: dict[str, object], actor: str | None, about: str | None, count: int
    ) -> None:
        hostile = [item(number, actor=actor, about=about, payload=payload) for number in range(count)]
        harmless = [item(number, payload={"x": "x", "url": "https://a.example"}) for number in range(count)]
        message = said(EVERYWHERE, *hostile)
        assert message.html is not None
        assert html_of(message).tags == html_of(said(EVERYWHERE, *harmless)).tags
        for part in (message.subject, message.text, message.html):
            assert not UNWANTED & set(part)
            part.encode()
        assert "\n" not in message.subject
        assert 0 < len(message.subject) <= SUBJECT_LENGTH

    @given(WORDS, WORDS)
    def test_what_they_say_arrives_as_it_was_said(self, actor: str, about: str) -> None:
        message = said(PLAIN, item(actor=actor, about=about))
        expected = [clean(words).strip() for words in (actor, about)]
        assert all(words in html_of(message).words for words in expected)
        assert all(words in message.text for words in expected)

    @given(PAYLOADS)
    def test_rendering_is_a_function_of_its_input(self, payload: dict[str, object]) -> None:
        first = batch(item(1, payload=payload), item(2, payload=payload))
        assert EVERYWHERE.render(first, NOON) == EVERYWHERE.render(first, NOON)

    @given(WORDS)
    def test_html_made_of_text_reads_as_that_text(self, words: str) -> None:
        message = said(with_text, item(payload={"x": words}))
        lines = [" ".join(line.split()) for line in clean(words).split("\n")]
        assert all(line in " ".join(html_of(message).words.split()) for line in lines)

    def test_values_nested_past_all_reason_do_not_matter(self) -> None:
        deep: object = "bottom"
        for _ in range(50_000):
            deep = [deep]
        rendering = with_templates(text="{{ payload.x }} {{ payload.names }} {{ payload }}")
        assert said(rendering, item(payload={"x": deep, "names": {"a": deep}})).text


with_text = with_templates(text="{{ payload.x }}")


def test_text_of_html_keeps_what_is_not_a_tag() -> None:
    assert text_of("a &lt;b&gt; c<br>d <!-- gone -->e") == "a <b> c\nd e"


class TestGuide:
    guide = (Path(__file__).parents[1] / "docs/how-to/templates.md").read_text()

    def test_its_example_renders(self) -> None:
        example = tomllib.loads(self.guide.split("```toml\n")[1].split("```")[0])
        words = Templates(**example["reasons"]["comment"]["templates"])
        payload = {"text": "yes", "url": "https://a.example/1"}
        message = said(renderer(reason(templates=words)), item(1, payload=payload), item(2, payload=payload))
        assert message.subject == "2 answers, the last by alice"
        assert "alice answered you: yes\n  https://a.example/1" in message.text
        assert html_of(message).links == ["https://a.example/1"] * 2

    @pytest.mark.parametrize("variable", sorted(VARIABLES))
    def test_it_explains_every_variable(self, variable: str) -> None:
        table = self.guide.split("## What a template may name")[1].split("##")[0]
        assert f"`{variable}`" in table


def from_feed(number: int, reason: str = "front_page", payload: Mapping[str, object] | None = None) -> Item:
    """An item of a feed: the smaller its number, the higher it ranks, and the older it is."""
    at = NOON + timedelta(minutes=number)
    return Item(reason, None, at, "alice", f"post:{number}", payload or {}, key=f"post/{number}")


FRONT_PAGE = reason("front_page", "Your front page", Templates(text="{{ key }}: {{ payload.title }} {{ event_id }}"))


class TestFeeds:
    def test_their_items_are_listed_by_rank_and_events_oldest_first_each_reason_in_its_section(self) -> None:
        message = said(
            renderer(FRONT_PAGE, reason()), item(2), item(1), from_feed(1, payload={"title": "Zoë"}), from_feed(2)
        )
        assert message.subject == "4 new: 2 Your front page, 2 Apps shared with you"
        expected = ["Your front page", "post/1: Zoë", "post/2:", "Apps shared with you", "alice: app:42"]
        places = [message.text.index(words, message.text.index("\n")) for words in expected]
        assert places == sorted(places)
        assert message.html is not None
        assert [message.html.index(f"post/{n}") for n in (1, 2)] == sorted(
            message.html.index(f"post/{n}") for n in (1, 2)
        )

    def test_a_message_of_one_feed_speaks_of_what_ranks_first(self) -> None:
        words = Templates(subject_many="{{ key }} and {{ count - 1 }} more", text="{{ key }}")
        message = said(renderer(replace(FRONT_PAGE, templates=words)), *[from_feed(n) for n in range(1, 4)])
        assert message.subject == "post/1 and 2 more"
        assert message.html is not None
        assert ">post/1</div>" in message.html

    def test_what_is_beyond_the_cap_is_a_number(self) -> None:
        rendering = renderer(FRONT_PAGE)
        given = batch(*[from_feed(n) for n in range(10)], total=50, counts={"front_page": 50})
        message = rendering.render(given, NOON)
        assert message.subject == "50 new: Your front page"
        assert message.text.rstrip().endswith("and 40 more")
        assert message.html is not None
        assert "and 40 more" in message.html

    def test_one_item_is_told_by_the_template_for_one(self) -> None:
        words = Templates(subject="Only {{ key }}", subject_many="Many", text="{{ about }}")
        message = said(renderer(replace(FRONT_PAGE, templates=words)), from_feed(7))
        assert message.subject == "Only post/7"
        assert message.text.startswith("post:7\n")

    @pytest.mark.parametrize(("feeds", "events", "listed"), [(10, 100, 40), (60, 100, 25), (60, 3, 3), (0, 100, 50)])
    def test_events_make_room_for_feeds_up_to_half_of_the_list(self, feeds: int, events: int, listed: int) -> None:
        rendering = renderer(FRONT_PAGE, reason(templates=Templates(text="event {{ event_id }}.")))
        message = said(rendering, *[item(n) for n in range(1, events + 1)], *[from_feed(n) for n in range(feeds)])
        assert message.text.count("event ") == listed
        assert message.text.count("post/") == min(feeds, LISTED - listed)
        assert f"event {events}." in message.text
