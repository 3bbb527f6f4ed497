"""The command line as its users meet it: what it says, where, and how it ends."""

from __future__ import annotations

import mailbox
import shutil
import signal
from email import message_from_bytes
from email.policy import default

import psycopg
import pytest

from hark.doors.cli.exits import ExitCode, as_harks_own, code_of
from tests.doors.commands import Desk
from tests.servers import Postgres, eventually, scratch_folder


def introduced(desk: Desk) -> None:
    assert desk.hark("recipients", "import", "people.csv").code == ExitCode.DONE


# The whole way --------------------------------------------------------------------------------------------------------


def test_from_an_empty_database_to_a_mail(desk: Desk) -> None:
    introduced(desk)
    event = desk.hark(
        "publish", "password_reset", "--to", "bob", "--payload", '{"url": "https://x.example"}'
    ).out.strip()
    worked = desk.hark("worker", "--until-idle", "--maildir", "mails", "--json")
    assert worked.code == ExitCode.DONE
    assert (worked.only["events"], worked.only["accepted"]) == (1, 1)
    (mail,) = mailbox.Maildir(desk.directory / "mails")
    parsed = message_from_bytes(mail.as_bytes(), policy=default)
    assert (parsed["To"], parsed["Subject"]) == ("bob@school.example", "Choose a new password")
    told = desk.hark("explain", "bob", event, "--json").only
    assert told["telling"] == "sent"
    assert [step["what"] for step in told["steps"]][-2:] == ["rechecked", "sent"]
    (line,) = desk.hark("deliveries", "--state", "SENT", "--since", "1h", "--json").objects
    assert (line["recipient_id"], line["outcome"], line["items"]) == ("bob", "accepted", 1)


def test_a_worker_keeps_to_the_limits_that_are_set(desk: Desk) -> None:
    introduced(desk)
    for reason in ("app_shared", "comment_reply", "password_reset", "password_reset"):
        desk.hark("publish", reason, "--to", "bob")
    desk.hark("worker", "--until-idle", "--maildir", "mails")
    desk.ask("update hark.delivery set due_at = now() where state = 'PENDING' returning 1")
    limits = ("--rate-limit", "10/s", "--worker-rate-limit", "20/s", "--recipient-cap", "1/d")
    worked = desk.hark("worker", "--until-idle", "--maildir", "mails", *limits, "--json")
    assert (worked.only["claimed"], worked.only["accepted"], worked.only["given_back"]) == (2, 1, 1)
    (waits,) = desk.hark("deliveries", "--state", "PENDING", "--json").objects
    assert waits["why"] == "the cap of 1 a day is reached"
    assert desk.ask("select tat > now() - interval '1 hour' from hark.rate_limit where name = 'email'")


def test_an_event_that_waits_is_explained_in_words(desk: Desk) -> None:
    introduced(desk)
    event = desk.hark("publish", "app_shared", "--to", "bob", "--actor", "alice").out.strip()
    desk.hark("worker", "--until-idle", "--maildir", "mails")
    said = desk.hark("explain", "bob", event).out.splitlines()
    assert said[0].startswith(f"The e-mail that tells bob of event {event} (app_shared, by alice, ")
    assert [line.split()[1] for line in said[1:]] == ["matched", "decided", "batched", "waits"]


def test_subscribers_are_told(desk: Desk) -> None:
    introduced(desk)
    assert desk.hark("subscribe", "bob", "post:7").out == "1 of 1 new\n"
    assert desk.hark("subscribe", "bob", "post:7").out == "0 of 1 new\n"
    desk.write("pairs.csv", "recipient,entity\ncarol,post:7\ndora,post:8\n")
    assert desk.hark("subscribe", "--file", "pairs.csv", "--json").only == {"pairs": 2, "changed": 2}
    desk.hark("publish", "comment_reply", "--entity", "post:7", "--actor", "carol")
    desk.hark("worker", "--until-idle", "--maildir", "mails")
    assert desk.ask("select array_agg(recipient_id) from hark.notification") == ["bob"]
    assert desk.hark("subscribe", "carol", "post:7", "--mute").out == "1 of 1 muted\n"
    assert desk.hark("subscribe", "carol", "post:7", "--unmute").out == "1 of 1 unmuted\n"
    assert desk.hark("subscribe", "carol", "post:7", "--remove").out == "1 of 1 removed\n"


def test_the_inbox_is_listed_and_read(desk: Desk) -> None:
    introduced(desk)
    events = [desk.hark("publish", "app_shared", "--to", "bob", "--about", f"app:{n}").out.strip() for n in range(3)]
    desk.hark("worker", "--until-idle", "--maildir", "mails")
    listed = desk.hark("inbox", "bob")
    assert [line.split()[0] for line in listed.out.splitlines()] == ["event", *reversed(events)]
    assert listed.err == "3 unread\n"
    assert desk.hark("inbox", "bob", "--read", events[0], "--archive", events[1]).err == "2 marked; 1 unread\n"
    (unread,) = desk.hark("inbox", "bob", "--unread", "--json").objects
    assert (str(unread["event_id"]), unread["about"]) == (events[2], "app:2")
    assert len(desk.hark("inbox", "bob", "--archived", "--json").objects) == 3


def test_recipients_are_put_and_listed_in_pages(desk: Desk) -> None:
    introduced(desk)
    put = desk.hark(
        "recipients", "put", "ada", "--type", "Admins", "--attributes", '{"desk": 4}', "--zone", "Asia/Tokyo"
    )
    assert put.out == "ada written\n"
    page = desk.hark("recipients", "list", "--limit", "2")
    assert [line.split()[0] for line in page.out.splitlines()] == ["id", "ada", "bob"]
    assert page.err == "there may be more: add --after bob\n"
    rest = desk.hark("recipients", "list", "--after", "bob", "--json").objects
    assert [(person["id"], person["reach"]) for person in rest] == [("carol", "ok"), ("dora", "no_address")]
    assert desk.hark("recipients", "list", "--type", "Admins", "--json").only["attributes"] == {"desk": 4}


def test_a_morning_of_ones_own_is_put_and_listed(desk: Desk) -> None:
    desk.hark("recipients", "put", "ada", "--type", "Admins", "--digest-at", "07:30", "--digest-weekday", "friday")
    assert desk.hark("recipients", "list").out.split()[-2:] == ["07:30", "friday"]
    person = desk.hark("recipients", "list", "--json").only
    assert (person["digest_at"], person["digest_weekday"]) == ("07:30:00", 4)


def test_preferences_are_shown_set_and_reset(desk: Desk) -> None:
    introduced(desk)
    shown = {line["reason"]: line for line in desk.hark("preferences", "show", "bob", "--json").objects}
    assert shown["app_shared"]["channels"] == ["email", "in_app"]
    assert (shown["app_shared"]["frequency"], shown["app_shared"]["own_frequency"]) == ("batched", False)
    assert desk.hark("preferences", "set", "bob", "app_shared", "--channels", "email").out == (
        "bob: app_shared is as chosen\n"
    )
    desk.hark("preferences", "set", "bob", "app_shared", "--frequency", "daily")
    (line,) = [each for each in desk.hark("preferences", "show", "bob").out.splitlines() if "app_shared" in each]
    assert "email*" in line
    assert "daily*" in line
    assert line.rstrip().endswith("own channels")
    desk.hark("preferences", "set", "bob", "app_shared", "--channels", "none")
    assert desk.ask("select channels -> 'app_shared' from hark.preference") == []
    desk.hark("preferences", "reset", "bob", "app_shared")
    assert desk.ask("select (channels, frequencies)::text from hark.preference") == "({},{})"


def test_subscriptions_are_listed_and_muted_without_following(desk: Desk) -> None:
    for entity in ("post:7", "post:8", "comment:1"):
        desk.hark("subscribe", "bob", entity)
    assert desk.hark("subscribe", "bob", "post:9", "--mute").out == "1 of 1 muted\n"
    listed = desk.hark("subscribe", "bob", "--list", "--limit", "2")
    assert [line.split()[0] for line in listed.out.splitlines()] == ["entity", "comment:1", "post:7"]
    assert listed.err == "there may be more: add --after post:7\n"
    rest = desk.hark("subscribe", "bob", "--list", "--after", "post:7", "--json").objects
    assert [(each["entity"], each["muted"]) for each in rest] == [("post:8", False), ("post:9", True)]
    assert [each["entity"] for each in desk.hark("subscribe", "bob", "--list", "--muted", "--json").objects] == [
        "post:9"
    ]
    heard = desk.hark("subscribe", "bob", "--list", "--heard", "--kind", "post", "--json").objects
    assert [each["entity"] for each in heard] == ["post:7", "post:8"]


def test_deliveries_come_in_pages(desk: Desk) -> None:
    introduced(desk)
    for _ in range(3):
        desk.hark("publish", "password_reset", "--to", "bob")
    desk.hark("worker", "--until-idle", "--maildir", "mails")
    page = desk.hark("deliveries", "--limit", "2", "--json")
    assert page.err == f"there may be more: add --before {page.objects[-1]['id']}\n"
    rest = desk.hark("deliveries", "--before", str(page.objects[-1]["id"]), "--json").objects
    assert len({line["id"] for line in (*page.objects, *rest)}) == 3
    assert desk.hark("deliveries", "--recipient", "nobody").out == "no such deliveries\n"


def test_alone_it_shows_the_pipeline_and_what_is_next(desk: Desk) -> None:
    introduced(desk)
    said = desk.hark()
    assert said.out.startswith("publish ─▶ event ─▶ audience ─▶")
    assert "3 recipients" in said.out
    assert "next: nothing has happened yet: hark publish REASON --to WHOM" in said.out
    seen = desk.hark("--json").only
    assert seen["pipeline"]["recipients"]["counted"] == 3
    assert len(seen["next"]) == 1


def test_a_replay_compares_policies_and_draws_them(desk: Desk) -> None:
    ran = desk.hark(
        *("replay", "history.csv", "--policy", "immediate", "--policy", "cooldown=4m", "--chart", "c.html", "--json")
    )
    assert [(row["policy"], row["events"], row["messages"]) for row in ran.objects] == [
        ("immediate", 3, 3),
        ("cooldown=4m", 3, 2),
    ]
    assert "cooldown=4m" in (desk.directory / "c.html").read_text()


# Exit codes and streams -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'."),
        (["explain", "bob"], "Missing argument"),
        (["explain", "bob", "soon"], "Invalid value for 'EVENT'"),
        (["explain", "bob", "99"], "there is no event 99"),
        (["deliveries", "--state", "sleeping"], "'sleeping'"),
        (["deliveries", "--since", "yesterday"], '--since: "yesterday" is not a time'),
        (["publish", "nope", "--to", "bob"], 'the catalogue has no reason "nope". Known reasons: app_shared'),
        (["publish", "app_shared"], "to and entities are both empty"),
        (["publish", "app_shared", "--to", "bob", "--payload", "{"], '--payload: "{" is not JSON'),
        (["publish", "app_shared", "--to", "bob", "--payload", "[1]"], "is not a JSON object"),
        (["publish", "app_shared", "--to", "bob", "--at", "noon"], '--at: "noon" is not a time'),
        (["recipients", "import", "gone.csv"], "gone.csv cannot be read: No such file or directory"),
        (["recipients", "put", "bob", "--type", "Wizards"], "no user type 'Wizards'"),
        (["recipients", "put", "bob", "--type", "Students", "--address", "bob"], "not an e-mail address"),
        (["subscribe", "bob"], "name a user and an entity"),
        (["subscribe", "bob", "post:7", "--mute", "--remove"], "exclude each other"),
        (["subscribe", "bob", "x" * 300], "has 300 characters; an id has at most 255"),
        (["subscribe", "bob", "x" * 300, "--unmute"], "has 300 characters; an id has at most 255"),
        (["subscribe", "b" * 300, "post:7"], "recipient 'bbbb"),
        (["recipients", "put", "b" * 300, "--type", "Students"], "has 300 characters"),
        (["subscribe", "bob", "post:7", "--list"], "a list is of one user's subscriptions"),
        (["subscribe", "bob", "post:7", "--muted"], "say what to list; add --list"),
        (["preferences", "show", "bob"], "there is no recipient bob"),
        (["preferences", "set", "bob", "app_shared"], "nothing chosen; give --channels"),
        (["preferences", "set", "bob", "app_shred", "--frequency", "daily"], "no reason 'app_shred'"),
        (["preferences", "set", "bob", "app_shared", "--frequency", "hourly"], "'hourly'"),
        (["preferences", "set", "bob", "app_shared", "--channels", "mail"], "did you mean email?"),
        (["preferences", "reset", "bob", "app_shred"], "no reason 'app_shred'"),
        (["recipients", "put", "bob", "--type", "Students", "--digest-at", "8"], "--digest-at:"),
        (["catalogue", "show", "gone.toml"], "gone.toml is no file"),
        (["replay", "gone.csv"], "gone.csv cannot be read"),
        (["replay", "history.csv", "--policy", "hourly"], "hourly"),
        (["--database-url", "postgresql://x", "doctor"], "--database-url stands before doctor; write it behind"),
        (["worker", "--catalogue", "gone.toml"], "gone.toml"),
        (["doctor", "--database-url", "nowhere"], "is not an address of Postgres"),
        (["publish", "app_shared", "--to", "\udcff"], "half of a surrogate pair"),
        (["explain", "\udcff", "1"], "not UTF-8"),
    ],
)
def test_bad_input_is_one_line_on_stderr_and_changes_nothing(desk: Desk, arguments: list[str], said: str) -> None:
    ran = desk.hark(*arguments)
    assert ran.code == ExitCode.BAD_INPUT
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1
    assert ran.out == ""
    assert desk.ask("select (select count(*) from hark.event) + (select count(*) from hark.recipient)") == 0


def test_a_database_that_cannot_be_reached_is_said_so(desk: Desk) -> None:
    for verb in (["deliveries"], ["publish", "app_shared", "--to", "bob"], ["migrate"], []):
        ran = desk.hark(*verb, "--database-url", "postgresql://hark@localhost:1/none")
        assert ran.code == ExitCode.UNREACHABLE
        assert ran.err.startswith("Postgres cannot be reached: ")
        assert "Traceback" not in ran.err


def test_tables_of_nobody_are_not_made_when_told_not_to(desk: Desk, postgres: Postgres) -> None:
    name = postgres.create_database()
    ran = desk.hark("deliveries", "--database-url", postgres.dsn(name), "--no-migrate")
    assert ran.code == ExitCode.BAD_INPUT
    assert "the tables are not up to date (missing: 0001_core" in ran.err
    assert desk.hark("deliveries", "--database-url", postgres.dsn(name)).out == "no such deliveries\n"
    postgres.drop_database(name)


def test_a_role_that_may_only_read_can_ask(desk: Desk) -> None:
    desk.execute(
        "create role reader login; grant usage on schema hark to reader;"
        " grant select on all tables in schema hark to reader"
    )
    as_reader = desk.dsn.replace("//hark@", "//reader@")
    try:
        assert desk.hark("deliveries", "--database-url", as_reader).code == ExitCode.DONE
        refused = desk.hark("recipients", "put", "bob", "--type", "Students", "--database-url", as_reader)
        assert refused.code == ExitCode.BAD_INPUT
        assert "Postgres does not allow it: permission denied for table" in refused.err
    finally:
        desk.execute("drop owned by reader; drop role reader")


def test_a_faulty_file_tells_all_its_faults_and_brings_nobody(desk: Desk) -> None:
    desk.write("bad.csv", "id,user_type,confirmed\nbob,Students,yes\ncarol,Wizards,maybe\n,Students,yes\n")
    ran = desk.hark("recipients", "import", "bad.csv")
    assert ran.code == ExitCode.BAD_INPUT
    assert [line.split()[:2] for line in ran.err.splitlines()] == [
        ["bad.csv:3", "confirmed"],
        ["bad.csv:4", "id"],
    ]
    assert desk.ask("select count(*) from hark.recipient") == 0


def test_a_faulty_catalogue_is_found_out_by_check(desk: Desk) -> None:
    assert desk.hark("catalogue", "check").out.endswith("no faults; 10 reasons for 6 user types\n")
    desk.write("hark.toml", (desk.directory / "hark.toml").read_text().replace('"4m"', '"4 minutes"'))
    ran = desk.hark("catalogue", "check", "hark.toml")
    assert ran.code == ExitCode.NOT_GOOD
    assert "is not a duration; write 4m" in ran.out
    faults = desk.hark("catalogue", "check", "--json").only["faults"]
    assert all(fault["line"] > 0 for fault in faults)
    assert desk.hark("publish", "app_shared", "--to", "bob").code == ExitCode.BAD_INPUT


def test_the_doctor_says_what_is_in_force_and_what_is_wrong(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_SEND_CHUNK", "20")
    monkeypatch.setenv("HARK_SMPT_URL", "smtp://localhost:1")
    monkeypatch.setenv("HARK_SMTP_URL", "smtp://localhost:1")
    found = desk.hark("doctor", "--json")
    assert found.code == ExitCode.NOT_GOOD
    origins = {each["name"]: (each["value"], each["origin"]) for each in found.only["settings"]}
    assert origins["send_chunk"] == ("20", "HARK_SEND_CHUNK")
    assert origins["claim_chunk"][1] == "default"
    checks = {check["what"]: check for check in found.only["checks"]}
    assert "HARK_SMTP_URL" in checks["environment"]["found"]
    assert not checks["mail server"]["good"]
    assert checks["tables"]["good"]
    assert "BAD  mail server" in desk.hark("doctor").out


def test_the_doctor_tries_what_is_set_of_graph_brokers_and_sources_and_nothing_else(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = {"graph", "brokers", "source purchase", "source shop", "source product", "source category"}
    assert not services & {check["what"] for check in desk.hark("doctor", "--json").only["checks"]}
    monkeypatch.setenv("HARK_GRAPH_URL", "neo4j://neo4j:hunter2@127.0.0.1:1/neo4j")
    monkeypatch.setenv("HARK_SHOP_URL", "http://127.0.0.1:1/")
    monkeypatch.setenv("HARK_HTTP_ALLOW_PRIVATE", "127.0.0.1")
    found = desk.hark("doctor", "--json")
    checks = {check["what"]: check for check in found.only["checks"]}
    assert services & checks.keys() == {"graph", "source shop"}
    assert "the graph cannot be reached" in checks["graph"]["found"] and "HARK_GRAPH_URL" in checks["graph"]["todo"]
    assert not checks["graph"]["good"] and not checks["source shop"]["good"]
    assert "hunter2" not in found.out


def test_flags_come_before_variables(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_DATABASE_URL", "postgresql://hark@localhost:1/none")
    assert desk.hark("deliveries").code == ExitCode.UNREACHABLE
    assert desk.hark("deliveries", "--database-url", desk.dsn).code == ExitCode.DONE


def test_untrusted_words_move_no_cursor(desk: Desk) -> None:
    introduced(desk)
    desk.hark("publish", "app_shared", "--to", "bob", "--actor", "\x1b[31mred\x07")
    desk.hark("worker", "--until-idle", "--maildir", "mails")
    for ran in (desk.hark("inbox", "bob"), desk.hark("explain", "bob", "1")):
        assert "red" in ran.out
        assert not any(character in ran.out for character in "\x1b\x07")


def test_the_worker_logs_nobody(desk: Desk) -> None:
    introduced(desk)
    desk.hark("publish", "password_reset", "--to", "bob", "--payload", '{"url": "secret"}')
    ran = desk.hark("worker", "--until-idle", "--maildir", "mails")
    assert not any(word in ran.err for word in ("bob", "school.example", "secret"))


def test_a_worker_without_a_catalogue_or_a_sender_says_what_it_needs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.write("lone.toml", '[user_types]\nA = ""\n[reasons.r]\ntitle = "R"\nchannels = { A = ["in_app"] }\n')
    assert "the catalogue does not say who sends" in desk.hark("worker", "--catalogue", "lone.toml").err
    monkeypatch.chdir("/")
    assert "this needs a catalogue" in desk.hark("worker").err


def test_version(desk: Desk) -> None:
    assert desk.hark("--version").out.startswith("hark 0.")


# In processes of their own --------------------------------------------------------------------------------------------


def test_streams_and_exit_code_of_the_real_thing(desk: Desk) -> None:
    ran = desk.hark_alone("explain", "bob", "99")
    assert (ran.code, ran.out) == (ExitCode.BAD_INPUT, "")
    assert ran.err == "there is no event 99; publish prints the id of each, inbox lists them\n"


def test_without_a_database_it_brings_its_own_and_lets_go_of_it(desk: Desk) -> None:
    folder = scratch_folder("hark-test-cli-")
    try:
        own = ("--data-dir", str(folder), "--json")
        assert desk.hark_alone("recipients", "import", "people.csv", *own, HARK_DATABASE_URL="").only == {"written": 3}
        listed = desk.hark_alone("recipients", "list", *own, HARK_DATABASE_URL="").objects
        assert [person["id"] for person in listed] == ["bob", "carol", "dora"]
        eventually(lambda: not (folder / "cluster" / "postmaster.pid").exists(), "the server is stopped")
    finally:
        eventually(lambda: not (folder / "cluster" / "postmaster.pid").exists(), "the server is stopped")
        shutil.rmtree(folder)


def test_whoever_stops_listening_is_no_error(desk: Desk) -> None:
    process = desk.spawn("catalogue", "show", "--json")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.wait(60) == ExitCode.DONE
    assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("sign", "code"), [(signal.SIGTERM, ExitCode.DONE), (signal.SIGINT, ExitCode.INTERRUPTED)], ids=["TERM", "INT"]
)
def test_a_worker_ends_with_grace(desk: Desk, sign: signal.Signals, code: ExitCode) -> None:
    introduced(desk)
    process = desk.spawn("worker", "--maildir", "mails", "--json")
    desk.hark("publish", "password_reset", "--to", "bob")
    eventually(lambda: desk.ask("select count(*) from hark.delivery where outcome = 'accepted'"), "the mail is sent")
    process.send_signal(sign)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert '"accepted": 1' in out
    assert "stopping: what is under way is finished first" in err
    assert ("goes on where it was" in err) == (sign is signal.SIGINT)


def test_an_interrupted_import_says_how_to_go_on(desk: Desk) -> None:
    path = desk.write("many.csv", "id,user_type\n" + "".join(f"u{n},Students\n" for n in range(50_000)))
    process = desk.spawn("recipients", "import", str(path))
    eventually(lambda: desk.ask("select count(*) from hark.recipient"), "the first recipients are there")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "interrupted; what was written stays; run it again for the rest" in err
    assert 0 < desk.ask("select count(*) from hark.recipient") < 50_000
    assert desk.hark("recipients", "import", "many.csv").out == "50,000 recipients written\n"
    assert desk.ask("select count(*) from hark.recipient") == 50_000


def test_one_reply_is_to_each_what_they_stand_nearest_to(desk: Desk) -> None:
    """The sample's own example of `narrower` and `auto_subscribe`."""
    desk.write("more.csv", "id,user_type\nalice,Students\ndave,Students\n")
    introduced(desk)
    desk.hark("recipients", "import", "more.csv")
    desk.hark("subscribe", "bob", "comment:31")
    desk.hark("subscribe", "carol", "post:42")
    reply = ("--entity", "comment:31", "--entity", "post:42", "--actor", "alice", "--about", "comment:77")
    desk.hark("publish", "thread_reply", "--to", "dave", *reply)
    desk.hark("worker", "--until-idle", "--maildir", "mails")
    told = "select string_agg(recipient_id || ' ' || coalesce(as_reason, 'thread_reply'), ', ' order by recipient_id)"
    assert desk.ask(f"{told} from hark.notification") == "bob comment_reply, carol thread_reply, dave mention"
    followed = [each["entity"] for each in desk.hark("subscribe", "alice", "--list", "--json").objects]
    assert followed == ["comment:77", "post:42"]


@pytest.mark.parametrize("error", [psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure])
def test_what_postgres_undid_for_anothers_sake_is_to_be_tried_again(error: type[psycopg.Error]) -> None:
    """It did not go away."""
    told = as_harks_own(error("deadlock detected\nDETAIL: process 1 waits for process 2"))
    assert told is not None
    said = "Postgres undid this, as somebody else changed the same meanwhile (deadlock detected); try again"
    assert (str(told), code_of(told)) == (said, ExitCode.UNREACHABLE)
