"""Loads as operators run them: at the command line, killed in the middle, over HTTP; the sandbox is their sources."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from urllib.request import Request, urlopen

import boto3
import pytest

from hark.history.live import lag
from hark.history.live.lag import LagReport
from tests.backfill.cohort.object_servers import s3_server as aws_server
from tests.doors.commands import Desk
from tests.doors.test_serve import serving
from tests.doors.test_serve_backfills import Operator
from tests.servers import eventually

QUICK = ("--rate-limit", "200", "--batch-size", "10")


@pytest.fixture
def sandbox(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The sources of thirty users, in a process of their own; where they are, the environment says."""
    child = desk.spawn("sandbox", "--port", "0", "--users", "30", "--receipts", "4", "--json")
    assert child.stdout is not None
    url = json.loads(child.stdout.readline())["url"]
    for name in ("PURCHASE", "SHOP"):
        monkeypatch.setenv(f"HARK_{name}_URL", url)
    monkeypatch.setenv("HARK_HTTP_ALLOW_PRIVATE", "127.0.0.1")
    monkeypatch.setenv("HARK_SOURCE_RATE", "200/s")
    monkeypatch.setenv("HARK_LEASE", "5s")
    users = urlopen(f"{url}/sandbox/users").read()
    (desk.directory / "users.txt").write_bytes(users)
    yield url
    child.kill()
    child.communicate()


def faulty(url: str, **fault: object) -> None:
    urlopen(Request(f"{url}/sandbox/faults", json.dumps(fault).encode(), {"content-type": "application/json"})).read()


def mended(url: str) -> None:
    urlopen(Request(f"{url}/sandbox/faults", method="DELETE")).read()


def test_the_command_line_as_it_was_plans_and_with_apply_loads_and_takes_back(desk: Desk, sandbox: str) -> None:
    old = ("backfill", "history", "--user-file", "users.txt", "--lookback-days", "365", *QUICK)
    plan = desk.hark(*old, "--dry-run")
    assert plan.code == 0, plan.err
    assert "30  are asked for, and what they bought is recorded" in plan.out and "0:00:00" in plan.out
    assert desk.ask("select count(*) from hark.fact") == 0
    done = desk.hark("backfill", "apply", "1")
    assert done.code == 0, done.err
    assert "steps: 60 done, 0 waiting, 0 quarantined" in done.out and "DONE: all is done" in done.out
    brought = desk.ask("select count(*) from hark.fact where runs = array[1::bigint]")
    assert brought == desk.ask("select count(*) from hark.fact") > 0
    assert desk.hark("backfill", "verify", "1").code == 0
    at_sources = desk.hark("backfill", "verify", "1", "--sources", "5", "--json")
    assert at_sources.code == 0 and at_sources.only["sources"]["asked"] == 5 and at_sources.only["compared"] == 30
    assert "ok   source shop" in desk.hark("doctor").out
    left = desk.hark("backfill", "show", "1", "--left", "-o", "left.csv")
    assert left.out == "0 written to left.csv\n"
    again = desk.hark(*old, "--apply")
    assert again.code == 0 and "30  were loaded within 7 days" in again.err
    assert desk.hark("backfill", "undo", "1", "--apply").code == 0
    assert desk.ask("select count(*) from hark.fact where not deleted") == 0
    offered = desk.hark("backfill", "show", "3").out.splitlines()[-1]
    anew = "a new load of the same users brings again what it took back: hark backfill history"
    assert offered == f"next: hark backfill verify 3; {anew}"
    refused = desk.hark("backfill", "undo", "3")
    assert refused.code == 2 and "backfill 3 took back load 1, and that is not undone" in refused.err


def test_what_a_load_waits_for_is_in_its_progress(desk: Desk, sandbox: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a graph that nobody projects to."""
    assert desk.hark("backfill", "history", "--user-file", "users.txt", *QUICK).code == 0
    monkeypatch.setenv("HARK_GRAPH_URL", "neo4j://neo4j:none@127.0.0.1:1/neo4j")
    child = desk.spawn("backfill", "apply", "1")
    assert child.stderr is not None
    try:
        said = next(line for line in child.stderr if "GRAPH" in str(line))
    finally:
        child.kill()
        child.communicate()
    assert "30 of 30, GRAPH: waits until the graph has it, for the projector (hark worker or hark serve" in str(said)


def test_a_load_without_a_flag_is_warned_of_where_the_stream_goes_by_one(
    desk: Desk, sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARK_INGEST_FLAG", "live")
    assert desk.hark("flags", "create", "live").code == 0
    plan = desk.hark("backfill", "history", "--ids", "user-000001", *QUICK)
    assert plan.code == 0 and "WARN no flag is named: whom live does not let in" in plan.out
    seen = desk.hark("backfill", "history", "--ids", "user-000001", *QUICK, "--json").only
    assert seen["warnings"][0].endswith("name it: --flag live")
    for whose in (("--ids", "user-000001", "--flag", "live"), ("--members-of", "live")):
        assert "WARN" not in desk.hark("backfill", "history", *whose, *QUICK).out


def test_a_load_is_verified_against_its_sources(desk: Desk, sandbox: str) -> None:
    assert desk.hark("backfill", "history", "--user-file", "users.txt", *QUICK, "--apply").code == 0
    (key,) = [
        desk.ask(
            "update hark.fact set amount_minor = 9000000 where key = (select min(key) from hark.fact) returning key"
        )
    ]
    seen = desk.hark("backfill", "verify", "1", "--sources", "all")
    assert seen.code == 1
    assert "30 users asked for at the sources" in seen.out
    assert f"{key}: amount_minor is 9000000 in the facts" in seen.out
    assert "hark backfill history" in seen.out and "--force" in seen.out
    assert desk.hark("backfill", "history", "--user-file", "users.txt", *QUICK, "--force", "--apply").code == 0
    assert desk.hark("backfill", "verify", "2", "--sources", "all").code == 0


def test_a_source_is_asked_only_of_a_load_and_only_if_there_is_one(
    desk: Desk, sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desk.hark("backfill", "history", "--ids", "user-000001", "--apply", *QUICK).code == 0
    assert desk.hark("backfill", "undo", "1", "--apply").code == 0
    wrong = desk.hark("backfill", "verify", "2", "--sources", "3")
    assert wrong.code == 2 and "backfill 2 is no load of purchases" in wrong.err
    assert "neither a whole number" in desk.hark("backfill", "verify", "1", "--sources", "few").err
    for name in ("PURCHASE", "SHOP"):
        monkeypatch.delenv(f"HARK_{name}_URL")
    assert "no source is set to be asked" in desk.hark("backfill", "verify", "1", "--sources", "3").err


def test_a_file_of_whom_a_run_left_that_names_nobody_is_refused(desk: Desk) -> None:
    (desk.directory / "left.csv").write_text("id\n")
    refused = desk.hark("backfill", "history", "--resume-from", "left.csv")
    assert refused.code == 2 and "left.csv names nobody, so nobody is loaded" in refused.err
    assert desk.ask("select count(*) from hark.backfill") == 0
    assert desk.hark("backfill", "history", "--user-file", "left.csv").code == 0, "an empty list means nobody"


def test_whom_a_run_left_is_gone_on_with_by_its_command_and_one_option_more(desk: Desk) -> None:
    (desk.directory / "all.csv").write_text("user_id\nann\nbob\ncarol\n")
    (desk.directory / "out.csv").write_text("user_id\ncarol\n")
    (desk.directory / "left.csv").write_text("id\nbob\ncarol\n")
    same = ("backfill", "history", "--user-file", "all.csv", "--except-file", "out.csv", "--column", "user_id")
    assert desk.hark(*same, "--json").only["totals"]["members"] == 2
    left = desk.hark(*same, "--resume-from", "left.csv", "--json")
    assert left.code == 0, left.err
    assert left.only["totals"]["members"] == 1
    assert desk.hark("backfill", "history", "--source", "neo4j", "--resume-from", "left.csv").code == 0


def test_whom_a_load_let_in_that_was_called_off_before_it_loaded_anybody_is_let_out_by_its_undo(
    desk: Desk, sandbox: str
) -> None:
    """A process that never looks at the flag again holds the load where it waits for that."""
    assert desk.hark("flags", "create", "live").code == 0
    acts = "values ('away', 'live', 1, now(), now() + interval '1 hour')"
    desk.ask(f"insert into hark.gate_report (process, flag, version, seen_at, lease_until) {acts} returning 1")
    named = ("--ids", "user-000001,user-000002", "--flag", "live")
    assert desk.hark("backfill", "history", *named, *QUICK).code == 0
    child = desk.spawn("backfill", "apply", "1")
    try:
        there = "select count(*) from hark.history_run where stage = 'EFFECTIVE'"
        eventually(lambda: desk.ask(there), "it waits for the flag to be effective")
        assert desk.hark("backfill", "cancel", "1").code == 0
    finally:
        child.kill()
        child.communicate()
    assert desk.hark("backfill", "show", "1").out.endswith("hark backfill undo 1 takes back what it did\n")
    undo = desk.hark("backfill", "undo", "1")
    assert undo.code == 0
    offered = "backfill 1 loaded nobody, but 2 users are let in by it; next: hark backfill apply 2 lets them out"
    assert undo.out.splitlines()[-1] == offered
    done = desk.hark("backfill", "apply", "2")
    assert done.code == 0, done.err
    assert desk.ask("select count(*) from hark.segment_member") == 0
    again = desk.hark("backfill", "undo", "1")
    assert again.code == 2 and "changed nothing" in again.err


def test_what_is_wrong_is_told_at_once(desk: Desk) -> None:
    wrong = ("backfill", "history", "--user-file", "none.txt", "--lookback-days", "0", "--rate-limit", "0")
    told = desk.hark(*wrong)
    assert told.code == 2 and "--lookback-days: 0" in told.err and "--rate-limit: 0" in told.err
    queue = desk.hark(
        "backfill", "history", "--ids", "bob", "--rate-limit", "0", "--queue-url", "https://sqs.example/q"
    )
    assert queue.code == 2 and "is no queue's URL" in queue.err and "--rate-limit: 0" in queue.err
    every = desk.hark(
        *("backfill", "history", "--resume-from", "none.csv", "--queue-url", "not-a-url", "--dry-run", "--apply")
    )
    assert every.code == 2 and "none.csv cannot be read" in every.err and "'not-a-url' is no queue's" in every.err
    assert "--dry-run and --apply exclude each other" in every.err
    whose = desk.hark("backfill", "history", "--flag", "history-live")
    assert whose.code == 2 and "--members-of history-live, --source neo4j, or --all" in whose.err
    assert desk.hark("backfill", "history", "--ids", "bob").code == 0
    alone = desk.hark("backfill", "apply", "1")
    assert alone.code == 2 and "set HARK_PURCHASE_URL and HARK_SHOP_URL" in alone.err
    assert desk.ask("select state::text from hark.backfill") == "PLANNED"


def test_a_process_that_is_killed_in_the_middle_is_gone_on_from_and_nobody_is_asked_for_twice(
    desk: Desk, sandbox: str
) -> None:
    assert desk.hark("backfill", "history", "--user-file", "users.txt", *QUICK).code == 0
    faulty(sandbox, kind="slow", source="shop", seconds=20)
    child = desk.spawn("backfill", "apply", "1")
    done = "select count(*) from hark.history_step where state = 'DONE'"
    eventually(lambda: desk.ask(done) >= 10, "some are loaded")
    child.send_signal(signal.SIGKILL)
    child.communicate()
    had = desk.ask(done)
    mended(sandbox)
    assert desk.hark("backfill", "apply", "1").code == 0
    assert desk.ask(done) == 60
    came = json.loads(urlopen(f"{sandbox}/sandbox/arrivals?source=purchase").read())["arrivals"]
    assert len(came) <= 30 + (30 - had), "what was recorded is not asked for again"
    assert desk.hark("backfill", "verify", "1").code == 0


def test_a_load_over_http_begins_by_itself_and_can_be_called_off(desk: Desk, sandbox: str) -> None:
    key = desk.hark("keys", "create", "ann", "--scopes", "backfill,flags").out.strip()
    desk.hark("flags", "create", "live")
    with serving(desk) as served:
        ann = Operator(served, key)
        made = ann.call(
            "POST", "", {"user_ids": ["user-000001", "user-000002"], "rate_limit": 10, "lookback_days": 365}
        )
        assert made.status_code == 202, made.text
        job = made.json()["job_id"]
        shown = ann.waits_for(job, "APPLIED")
        assert (shown["totals"]["applied"], shown["more"]["stage"]) == (2, "DONE")
        began = [each["who"] for each in shown["events"] if each["to_state"] == "APPLYING"]
        assert began == ["ann"], "the key that asked for it"
        assert ann.call("POST", f"/{job}/cancel").status_code == 409

        enrolled = served.client.request(
            "POST",
            "/v1/enroll",
            headers={"Authorization": f"Bearer {key}"},
            json={"flag": "live", "user_ids": ["user-000003"]},
        )
        assert enrolled.status_code == 200, enrolled.text
        eventually(lambda: desk.ask("select count(*) from hark.fact where user_id = 'user-000003'"), "it is loaded")

        faulty(sandbox, kind="too_many", retry_after="3600")
        later = ann.call("POST", "", {"source": "neo4j", "force": True}).json()["job_id"]
        ann.waits_for(later, "APPLYING")
        assert ann.call("POST", f"/{later}/cancel").json()["head"]["state"] == "CANCELED"


# Through a queue ------------------------------------------------------------------------------------------------------


def test_a_load_through_a_queue_says_how_full_that_is_and_a_queue_that_is_not_there_stops_it(
    desk: Desk, sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "anything")
    with aws_server() as server:
        client = boto3.client("sqs", endpoint_url=server, region_name="us-east-1")
        url = client.create_queue(QueueName="steps")["QueueUrl"]
        old = ("backfill", "history", "--user-file", "users.txt", *QUICK)
        none = desk.hark(*old, "--queue-url", f"{url}-none")
        assert none.code == 2 and f"there is no queue {url}-none" in none.err
        assert desk.hark(*old, "--queue-url", url).code == 0
        client.send_message(QueueUrl=url, MessageBody="not Hark's")
        assert "queue" not in desk.hark("backfill", "list").err  # nothing is driven through it yet
        assert desk.hark("backfill", "apply", "1", "--detach").code == 0
        assert f"queue {url}: 1 waiting, 0 in flight" in desk.hark("backfill", "show", "1").out
        shown = desk.hark("backfill", "show", "1", "--json").only["more"]["queue"]
        assert shown == {"url": url, "waiting": 1, "in_flight": 0, "why": ""}
        assert f"queue {url}: 1 waiting, 0 in flight" in desk.hark("backfill", "list").err
        faulty(sandbox, kind="slow", seconds=30)
        child = desk.spawn("backfill", "apply", "1")
        assert child.stderr is not None
        try:
            assert any("queue: " in str(line) and "in flight" in str(line) for line in child.stderr)
        finally:
            child.kill()
            child.communicate()
        mended(sandbox)
        done = desk.hark("backfill", "apply", "1")
        assert done.code == 0 and "steps: 60 done, 0 waiting, 0 quarantined" in done.out, done.err
        assert desk.hark("backfill", "verify", "1", "--sources", "3").code == 0


# The stream's lag -----------------------------------------------------------------------------------------------------

WARNING = "unified-worker-factoids: the lag of partition 0 grows; it is 12 in all"
BEHIND = "unified-worker-receipts is 7 behind, and nobody is in it (empty): run hark ingest"


def looked_at(monkeypatch: pytest.MonkeyPatch, *faults: str, unreachable: bool = False) -> None:
    """What a look at the lag finds, beside a warning."""

    async def preflight(_database: object, _settings: object) -> LagReport:
        return LagReport(True, faults=faults, warnings=[WARNING], unreachable=unreachable)

    monkeypatch.setattr(lag, "preflight", preflight)


@pytest.mark.parametrize(("unreachable", "code"), [(False, 1), (True, 3)])
def test_a_lag_that_is_a_fault_stops_a_plan_unless_it_is_to_be_ignored(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, unreachable: bool, code: int
) -> None:
    looked_at(monkeypatch, BEHIND, unreachable=unreachable)
    stopped = desk.hark("backfill", "history", "--ids", "ann")
    assert stopped.code == code
    assert stopped.err.splitlines()[:2] == [f"lag: {WARNING}", BEHIND]
    assert "nothing was planned" in stopped.err and "--ignore-lag" in stopped.err
    assert desk.ask("select count(*) from hark.backfill") == 0
    planned = desk.hark("backfill", "history", "--ids", "ann", "--ignore-lag", "--json")
    assert planned.code == 0 and planned.only["head"]["state"] == "PLANNED"
    assert f"lag: {BEHIND}" in planned.err.splitlines()


def test_a_lag_that_only_grows_is_told_of_and_stops_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at(monkeypatch)
    planned = desk.hark("backfill", "history", "--ids", "ann")
    assert planned.code == 0 and planned.err.splitlines() == [f"lag: {WARNING}"]
    assert desk.ask("select count(*) from hark.backfill") == 1


def test_brokers_that_do_not_answer_stop_a_plan(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("confluent_kafka")
    monkeypatch.setenv("HARK_KAFKA_BROKERS", "127.0.0.1:9")
    stopped = desk.hark("backfill", "history", "--ids", "ann")
    assert stopped.code == 3, stopped.err
    assert "its lag cannot be read" in stopped.err and "nothing was planned" in stopped.err
