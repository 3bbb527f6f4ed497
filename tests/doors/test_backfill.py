"""`hark backfill` as operators type it."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backfill.cohort.object_servers import environment_of
from tests.backfill.cohort.stores import KEY, Store, gcs_store, s3_store
from tests.doors.commands import Desk
from tests.servers import eventually

FOR_STUDENTS = ("--reason", "app_shared", "--channels", "push,in_app", "--user-types", "Students")
ASKED = ("backfill", "preferences", *FOR_STUDENTS)
PLAN = (*ASKED, "--all")
PLANNED_BY = "hark backfill apply 1 plans it; or wait for a worker, and hark backfill show 1"
PEOPLE = """
insert into hark.recipient (id, user_type, updated_at)
select 'u' || lpad(n::text, 4, '0'), 'Students', now() from generate_series(1, 900) n;
insert into hark.preference select id, '{"app_shared": ["email"]}', '{}', now() from hark.recipient;
"""


@pytest.fixture
def campus(desk: Desk) -> Desk:
    desk.execute(PEOPLE)
    return desk


def having_push(desk: Desk) -> int:
    return int(desk.ask("select count(*) from hark.preference where channels -> 'app_shared' ? 'push'"))


def test_planned_looked_at_applied_verified_and_undone(campus: Desk) -> None:
    planned = campus.hark(*PLAN)
    assert planned.code == 0
    assert "900 to change" in planned.out
    assert 'u0001  {"app_shared": ["email"]} → {"app_shared": ["email", "push", "in_app"]}' in planned.out
    assert "nothing was changed; next: hark backfill apply 1" in planned.out
    assert having_push(campus) == 0

    assert campus.hark("backfill", "apply", "1").code == 0
    assert having_push(campus) == 900
    verified = campus.hark("backfill", "verify", "1")
    assert (verified.code, verified.out.splitlines()[0]) == (0, "900 compared, 900 hold, 0 do not")

    undone = campus.hark("backfill", "undo", "1", "--apply")
    assert (undone.code, having_push(campus)) == (0, 0)
    assert "backfill 2 (preferences, undoes 1) is APPLIED" in undone.out


def test_everything_wrong_is_told_at_once_before_anything_else(campus: Desk) -> None:
    refused = campus.hark(
        *("backfill", "preferences", "--reason", "app_shard", "--channels", "pish", "--user-types", "Student"),
        *("--batch-size", "0", "--window", "8-9", "--file", "", "--rate", "-1"),
    )
    assert refused.code == 2
    lines = refused.err.splitlines()
    assert [line for line in lines if "did you mean" in line] == [
        '--reason: "app_shard": no such reason; did you mean app_shared?',
        '--channels: "pish": no such channel; did you mean push?',
        '--user-types: "Student": no such user type; did you mean Students?',
    ]
    assert any(line.startswith("--batch-size: 0 is not from 1") for line in lines)
    assert any(line.startswith("--rate: -1 is not from") for line in lines)
    assert any("is not a time of day" in line for line in lines)
    assert campus.ask("select count(*) from hark.backfill") == 0
    assert campus.ask("select count(*) from hark.cohort") == 0


def test_what_is_no_number_and_variables_that_cannot_be_read_are_told_with_all_else(
    campus: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {"PREFERENCE_NAME": "app_shard", "CHANNELS": "sms,push,push", "USER_IDS": "", "DRY_RUN": "perhaps"}
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    options = ("--user-types", "students", "--rate", "fast", "--window", "25:00-26:00", "--batch-size", "many")
    refused = campus.hark("backfill", "preferences", *options, "--as", "")
    assert refused.code == 2
    assert [line.partition(" ")[0] for line in refused.err.splitlines()] == [
        *("who", "PREFERENCE_NAME:", "CHANNELS:", "CHANNELS:", "--user-types:"),
        *("USER_IDS", "--rate:", "--window:", "--window:", "--batch-size:", "DRY_RUN:"),
    ]


def test_a_fault_names_the_variable_that_it_came_from(campus: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"USER_TYPES": "students", "BATCH_SIZE": "0", "CSV_PATH": "a\x07b"}.items():
        monkeypatch.setenv(name, value)
    refused = campus.hark("backfill", "preferences", "--channels", "pish")
    assert refused.code == 2
    assert [line.partition(" ")[0] for line in refused.err.splitlines()] == [
        *("--reason:", "--channels:", "USER_TYPES:", "CSV_PATH:", "BATCH_SIZE:")
    ]


def test_what_it_prints_as_json_has_one_shape_whether_it_is_applied_or_not(campus: Desk) -> None:
    planned, shown = campus.hark(*PLAN, "--json").only, campus.hark("backfill", "show", "1", "--json").only
    applied, undone = campus.hark(*PLAN, "--json", "--apply").only, campus.hark("backfill", "undo", "2", "--json").only
    assert planned.keys() == shown.keys() == applied.keys() == undone.keys()
    assert [each["head"]["state"] for each in (planned, applied, undone)] == ["PLANNED", "APPLIED", "PLANNED"]


def test_a_dash_is_the_output_and_who_stops_reading_it_is_no_fault(campus: Desk) -> None:
    campus.hark(*PLAN)
    listing = ("backfill", "show", "1", "--outcome", "append", "-o", "-")
    process = campus.spawn(*listing)
    out, said = process.communicate(timeout=120)
    assert (process.returncode, len(out.splitlines()), said) == (0, 901, "900 written to /dev/stdout\n")
    assert out.splitlines()[:2] == ["user,type,outcomes", "u0001,Students,app_shared: append"]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody:
        process = campus.spawn(*listing, out=nobody)
        _, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (0, "")
    assert not (campus.directory / "-").exists()


def test_user_types_are_required(campus: Desk) -> None:
    refused = campus.hark("backfill", "preferences", "--reason", "app_shared", "--channels", "push", "--all")
    assert (refused.code, refused.err.splitlines()) == (2, ["--user-types: none is given; write Students or Employers"])


def test_the_variables_of_the_task_before_work_as_they_are(campus: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"PREFERENCE_NAME": "app_shared", "CHANNELS": "push", "USER_TYPES": "Students", "BATCH_SIZE": "2"}
    for name, value in {**given, "USER_IDS": "u0001,u0002,u0003"}.items():
        monkeypatch.setenv(name, value)
    assert campus.hark("backfill", "preferences").code == 0
    assert having_push(campus) == 0

    monkeypatch.setenv("DRY_RUN", "false")
    applied = campus.hark("backfill", "preferences", "--json")
    assert applied.code == 0
    assert having_push(campus) == 3
    assert (applied.only["head"]["batch_size"], applied.only["totals"]["batches"]) == (2, 2)


def test_the_tasks_file_works_too(campus: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    campus.write("ids.csv", "id\nu0001\nu0001\nnobody\n")
    monkeypatch.setenv("CSV_PATH", "ids.csv")
    monkeypatch.setenv("DRY_RUN", "false")
    assert campus.hark(*ASKED).code == 0
    assert having_push(campus) == 1


@pytest.mark.parametrize("more", [(), ("--except-ids", "u0001"), ("--column", "user_id")])
def test_nobody_named_is_never_everybody(campus: Desk, more: tuple[str, ...]) -> None:
    refused = campus.hark(*ASKED, *more)
    assert refused.code == 2
    assert refused.err.startswith("say whose: --ids a,b, --file people.csv")
    assert campus.ask("select count(*) from hark.backfill") == 0


def test_whom_a_variable_names_is_whom_the_options_leave_some_out_of(
    campus: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER_IDS", "u0001,u0003")
    planned = campus.hark(*ASKED, "--except-ids", "u0001", "--apply")
    assert "2 named users, except 1 named user" in planned.err
    assert having_push(campus) == 1


def test_the_tasks_file_is_read_as_the_options_say(campus: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    campus.write("ids.csv", "id,user_id\nu0001,u0002\n")
    monkeypatch.setenv("CSV_PATH", "ids.csv")
    assert campus.hark(*ASKED, "--column", "user_id", "--apply").code == 0
    assert campus.ask("select recipient_id from hark.preference where channels -> 'app_shared' ? 'push'") == "u0002"


def test_the_task_before_without_a_cohort_means_all_of_its_types(campus: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PREFERENCE_NAME": "app_shared", "CHANNELS": "push", "USER_TYPES": "Students"}.items():
        monkeypatch.setenv(name, value)
    assert "900 to change" in campus.hark("backfill", "preferences").out
    assert campus.hark("backfill", "preferences", "--reason", "app_shared").code == 2


def test_a_path_is_kept_in_full(campus: Desk) -> None:
    campus.write("ids.csv", "id\nu0001\n")
    assert campus.hark(*ASKED, "--file", "ids.csv").code == 0
    assert campus.ask("select spec ->> 'file' from hark.cohort") == str(campus.directory / "ids.csv")


@pytest.mark.parametrize(("name", "value"), [("DRY_RUN", "perhaps"), ("BATCH_SIZE", "lots"), ("USER_TYPES", "Pupils")])
def test_a_variable_that_cannot_be_read_changes_nothing(
    name: str, value: str, campus: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    own = PLAN if name != "USER_TYPES" else (*PLAN[:-3], "--all")
    assert campus.hark(*own).code == 2
    assert campus.ask("select count(*) from hark.backfill") == 0


def test_a_file_that_changed_since_the_plan_is_refused(campus: Desk) -> None:
    campus.write("ids.csv", "id\nu0001\n")
    assert campus.hark(*ASKED, "--file", "ids.csv").code == 0
    campus.write("ids.csv", "id\nu0001\nu0002\n")
    refused = campus.hark("backfill", "apply", "1")
    assert refused.code == 2
    assert "changed since the plan" in refused.err
    assert having_push(campus) == 0


@pytest.fixture(params=["s3", "gs"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with s3_store() if request.param == "s3" else gcs_store(tmp_path / "gcs") as one:
        for name, value in environment_of(one.scheme).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HARK_OBJECT_STORES", f"{one.scheme}://cohorts/lists")
        monkeypatch.setenv("HARK_OBJECT_ENDPOINTS", f"{one.scheme}={one.server}")
        yield one


def test_an_object_that_changed_since_the_plan_is_refused_until_it_is_put_back(campus: Desk, store: Store) -> None:
    store.put(KEY, b"id\nu0001\n")
    assert campus.hark(*ASKED, "--from", store.url).code == 0
    store.put(KEY, b"id\nu0002\n")
    refused = campus.hark("backfill", "apply", "1")
    assert (refused.code, having_push(campus)) == (2, 0)
    assert f"{store.url} was changed since the plan" in refused.err
    store.put(KEY, b"id\nu0001\n")
    assert (campus.hark("backfill", "apply", "1").code, having_push(campus)) == (0, 1)


def test_a_second_person_approves(campus: Desk) -> None:
    campus.write("hark.toml", (campus.directory / "hark.toml").read_text() + "\n[backfills]\napproval_over = 10\n")
    planned = campus.hark(*PLAN, "--as", "olga")
    assert "another person than olga runs hark backfill approve 1" in planned.out
    assert campus.hark("backfill", "apply", "1", "--as", "olga").code == 2
    assert campus.hark("backfill", "approve", "1", "--as", "olga").code == 2
    assert campus.hark("backfill", "approve", "1", "--as", "paul").code == 0
    assert campus.hark("backfill", "apply", "1", "--as", "olga").code == 0
    assert having_push(campus) == 900


def test_verify_fails_where_something_is_lost(campus: Desk) -> None:
    campus.hark(*PLAN, "--apply")
    campus.execute("update hark.preference set channels = '{}' where recipient_id = 'u0007'")
    verified = campus.hark("backfill", "verify", "1")
    assert verified.code == 1
    assert "u0007  UNEXPLAINED: does not hold, and nothing has changed it since" in verified.out


def test_interrupted_it_says_how_to_go_on_and_does(campus: Desk) -> None:
    campus.hark(*PLAN, "--rate", "100", "--batch-size", "50")
    process = campus.spawn("backfill", "apply", "1")
    eventually(lambda: having_push(campus) > 0, "it has begun")
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "hark backfill apply 1 goes on where it was" in err
    assert campus.ask("select state::text from hark.backfill") == "APPLYING"
    assert campus.ask("select count(*) from hark.backfill_batch where state = 'CLAIMED'") == 0
    assert campus.hark("backfill", "speed", "1").code == 2
    paced = campus.hark("backfill", "speed", "1", "--no-rate")
    assert paced.out == "backfill 1: no rate, adaptive, at any time\n"
    assert campus.hark("backfill", "apply", "1").code == 0
    assert having_push(campus) == 900


def test_that_nothing_goes_on_because_all_are_held_is_said_and_once(campus: Desk) -> None:
    campus.hark("backfill", "stop-all")
    process = campus.spawn(*PLAN)
    assert process.stderr is not None
    held = "all backfills are held; hark backfill stop-all --release lets them go on\n"
    assert process.stderr.readline() == held
    campus.hark("backfill", "stop-all", "--release")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert held not in err
    assert "nothing was changed; next: hark backfill apply 1" in out


def test_one_whose_planner_was_killed_is_planned_by_who_would_apply_it(campus: Desk) -> None:
    campus.hark("backfill", "stop-all")
    process = campus.spawn(*PLAN)
    eventually(lambda: campus.ask("select count(*) from hark.backfill") == 1, "it is asked for")
    process.kill()
    process.communicate(timeout=60)
    held = campus.hark("backfill", "show", "1")
    assert held.out.endswith(f"held with all; next: hark backfill stop-all --release, then {PLANNED_BY}\n")
    campus.hark("backfill", "stop-all", "--release")
    assert campus.ask("select state::text from hark.backfill") == "PLANNING"
    assert campus.hark("backfill", "show", "1").out.endswith(f"next: {PLANNED_BY}\n")

    refused = campus.hark("backfill", "apply", "1", "--hash", "0" * 64)
    assert refused.code == 2
    assert refused.err == (
        "backfill 1 is not planned yet, so it has no hash; leave --hash out: hark backfill apply 1 plans it,"
        " and shows that\n"
    )
    assert campus.ask("select state::text from hark.backfill") == "PLANNING"

    told = campus.hark("backfill", "apply", "1")
    assert (told.code, having_push(campus)) == (1, 0)
    assert "backfill 1 was still to be planned; this is its plan, and nothing is applied" in told.err
    assert told.out.endswith("nothing was changed; next: hark backfill apply 1\n")
    assert (campus.hark("backfill", "apply", "1").code, having_push(campus)) == (0, 900)


@pytest.mark.parametrize("verb", ["preferences", "undo"])
def test_interrupted_while_it_is_planned_it_says_what_show_says(campus: Desk, verb: str) -> None:
    number = 1
    if verb == "undo":
        campus.hark(*PLAN, "--apply")
        number = 2
    campus.hark("backfill", "stop-all")
    process = campus.spawn(*(PLAN if verb == "preferences" else ("backfill", "undo", "1")))
    eventually(lambda: campus.ask("select count(*) from hark.backfill") == number, "it is asked for")
    eventually(lambda: process.poll() is None and _catches_interrupts(process.pid), "it may be told to stop")
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == f"interrupted; {PLANNED_BY.replace('1', str(number))}"


def _catches_interrupts(process: int) -> bool:
    (caught,) = (line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGINT - 1) & 1)


def test_interrupted_while_a_store_hangs_it_ends_and_nothing_is_kept(campus: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        process = campus.spawn(
            *(*ASKED, "--from", "s3://cohorts/people"),
            AWS_SKIP_SIGNATURE="true",
            HARK_OBJECT_STORES="s3://cohorts",
            HARK_OBJECT_ENDPOINTS=f"s3=http://127.0.0.1:{port}",
        )
        silent.settimeout(60)
        asking, _ = silent.accept()
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
        asking.close()
    assert process.returncode == 130
    assert err.splitlines()[-1] == "interrupted; nothing was planned; run the same command again"
    assert campus.ask("select count(*) from hark.cohort") == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("what", [("show", "1", "--json"), ("apply", "1"), ("failures", "1", "--json")])
def test_where_its_output_does_not_fit_it_says_so_in_a_line_and_the_run_is_as_it_was(
    campus: Desk, what: tuple[str, ...]
) -> None:
    assert campus.hark(*PLAN).code == 0
    if what[0] == "failures":
        campus.execute("update hark.preference set channels = '{}'")
        assert campus.hark("backfill", "apply", "1").code == 0
    before = campus.hark("backfill", "show", "1", "--json").only if what[0] != "apply" else None
    with Path("/dev/full").open("w") as full:
        process = campus.spawn("backfill", *what, out=full)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 3
    assert said.splitlines()[-1] == (
        "what this says does not fit where it goes: No space left on device; make room and run it again"
    )
    assert "Traceback" not in said and "Exception ignored" not in said
    if before is None:
        assert having_push(campus) == 900
    else:
        assert campus.hark("backfill", "show", "1", "--json").only == before


def test_a_worker_applies_what_was_left_to_it(campus: Desk) -> None:
    campus.hark(*PLAN)
    assert campus.hark("backfill", "apply", "1", "--detach").code == 0
    process = campus.spawn("worker", "--maildir", "mails")
    eventually(lambda: campus.ask("select state::text from hark.backfill") == "APPLIED", "a worker applied it")
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(60) == 0
    assert having_push(campus) == 900


def rows_of(desk: Desk, name: str) -> list[list[str]]:
    with (desk.directory / name).open(newline="") as file:
        return list(csv.reader(file))


def test_who_approves_sees_whom_it_is_about_and_what_was_asked_for(campus: Desk) -> None:
    campus.write("ids.csv", "id\nu0001\nu0001\nnobody\n\x01\n")
    campus.hark(*ASKED, "--file", "ids.csv")
    shown = campus.hark("backfill", "show", "1").out
    assert f"cohort 1: {campus.directory / 'ids.csv'}\n  1 users, 1 duplicates, 1 unknown, 1 bad lines\n" in shown
    assert "asked for: reasons app_shared; channels push, in_app; user types Students\n" in shown
    said = campus.hark("backfill", "show", "1", "--json").only["cohort"]
    assert (said["cohort"]["file"], said["unknown"]) == (str(campus.directory / "ids.csv"), 1)

    assert "no such user" in campus.hark("backfill", "show", "1", "--faults").out
    assert campus.hark("backfill", "show", "1", "--faults", "-o", "bad.csv").out == "2 written to bad.csv\n"
    assert [row[1:3] for row in rows_of(campus, "bad.csv")[:2]] == [["line", "what"], ["4", "no such user"]]


def test_all_who_failed_and_all_that_does_not_hold_can_be_had_in_a_file(campus: Desk) -> None:
    campus.hark(*PLAN)
    campus.execute("update hark.preference set channels = '{}' where recipient_id <= 'u0060'")
    campus.hark("backfill", "apply", "1")
    assert campus.hark("backfill", "failures", "1", "-o", "failed.csv").out == "60 written to failed.csv\n"
    assert rows_of(campus, "failed.csv")[60][0:3] == ["u0060", "1", "drifted"]
    assert campus.hark("backfill", "verify", "1", "-o", "astray.csv").code == 0
    assert rows_of(campus, "astray.csv")[60] == ["u0060", "yes", "drifted: chose otherwise since the plan"]
    assert len(rows_of(campus, "astray.csv")) == 61
    assert (
        campus.hark("backfill", "show", "1", "--outcome", "append", "-o", "all.csv").out == "900 written to all.csv\n"
    )
    assert campus.hark("backfill", "failures", "1", "-o", "none/x.csv").code == 2
    assert campus.hark("backfill", "show", "1", "-o", "x.csv").code == 2


def test_an_outcome_that_is_none_is_refused_and_the_nearest_suggested(campus: Desk) -> None:
    campus.hark(*PLAN)
    refused = campus.hark("backfill", "show", "1", "--outcome", "malfomed")
    assert (refused.code, refused.err) == (2, '--outcome: "malfomed": no such outcome; did you mean malformed?\n')
    nobody = campus.hark("backfill", "show", "1", "--outcome", "malformed")
    assert (nobody.code, nobody.out) == (0, "no such users\n")
    assert campus.hark("backfill", "show", "7", "--outcome", "malformed").code == 2


def test_a_slip_of_the_pen_is_told_before_a_database_is_looked_for(campus: Desk) -> None:
    nowhere = ("--database-url", "postgresql://nobody@127.0.0.1:1/none")
    refused = campus.hark(*ASKED, "--window", "25:00-06:00", *nowhere)
    assert refused.code == 2
    assert refused.err.splitlines()[0].startswith("say whose: ")
    assert refused.err.splitlines()[1].startswith("--window: ")


def test_all_that_is_wrong_with_a_change_of_pace_is_told_at_once(campus: Desk) -> None:
    told = campus.hark("backfill", "speed", "1", "--rate", "x", "--window", "bad")
    assert told.code == 2
    assert '--rate: "x" is not a number' in told.err and "--window: 'bad' is not a window" in told.err
    opposites = ("--rate", "x", "--no-rate", "--window", "bad", "--any-time")
    told = campus.hark("backfill", "speed", "1", *opposites, "--as", "")
    assert told.code == 2
    assert [line.split()[0] for line in told.err.splitlines()] == ["--rate:", "--window:", "--rate", "--window", "who"]
    told = campus.hark("backfill", "speed", "1", "--as", "")
    assert [line.split()[0] for line in told.err.splitlines()] == ["nothing", "who"]


def test_who_held_all_backfills_and_who_let_them_go_is_audited(campus: Desk) -> None:
    campus.hark("backfill", "stop-all", "--as", "olga")
    campus.hark("backfill", "stop-all", "--release", "--as", "paul")
    log = campus.hark("keys", "audit", "--what", "backfill.stop_all", "--json").objects
    assert [(each["who"], each["detail"]) for each in log] == [
        ("cli:paul", {"stopped": False}),
        ("cli:olga", {"stopped": True}),
    ]


# What operators stumbled over ----------------------------------------------------------------------------------------


def test_the_bucket_that_the_tasks_variables_name_may_be_read_and_no_other(
    campus: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {"USE_BUCKET_CSV": "true", "GOOGLE_CLOUD_STORAGE_BUCKET": "bkt", "GOOGLE_CLOUD_STORAGE_PATH": "a/b.csv"}
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    other = campus.hark(*ASKED, "--from", "gs://bkt/a/c.csv")
    assert (other.code, "gs://bkt/a/c.csv" in other.err, "may not be read" in other.err) == (2, True, True)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("HARK_OBJECT_ENDPOINTS", f"gs=http://127.0.0.1:{port}")
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    tried = campus.hark(*ASKED)
    assert (tried.code, "may not be read" in tried.err) == (3, False)


def test_what_is_written_replaces_a_file_and_says_so_and_leaves_devices(campus: Desk) -> None:
    campus.write("ids.csv", "id\nu0001\nnobody\n")
    campus.hark(*ASKED, "--file", "ids.csv")
    first = campus.hark("backfill", "show", "1", "--faults", "-o", "faults.csv")
    assert first.out == "1 written to faults.csv\n"
    again = campus.hark("backfill", "show", "1", "--faults", "-o", "faults.csv")
    assert again.out == "1 written to faults.csv, which was there before: replaced\n"
    nowhere = campus.hark("backfill", "show", "1", "--faults", "-o", "/dev/null")
    assert (nowhere.code, nowhere.out, nowhere.err) == (0, "", "1 written to /dev/null\n")
    assert campus.hark("backfill", "show", "1", "--faults", "-o", ".").code == 2


def test_what_a_trigger_says_of_each_is_counted_as_one(campus: Desk) -> None:
    campus.execute(
        "create function hark.poison() returns trigger language plpgsql as $$ begin if new.recipient_id <= 'u0030' then"
        " raise exception 'poisoned by %', new.recipient_id; end if; return new; end $$;"
        "create trigger poison before update on hark.preference for each row execute function hark.poison()"
    )
    campus.hark(*PLAN, "--apply")
    verified = campus.hark("backfill", "verify", "1", "--json", "--limit", "2", "-o", "astray.csv").only
    assert verified["whys"] == {"quarantined (P0001)": 30}
    assert [each["why"] for each in verified["astray"]] == [
        f"quarantined: poisoned by u000{number} (P0001)" for number in (1, 2)
    ]


def test_what_was_undone_says_so_and_cannot_be_undone_again(campus: Desk) -> None:
    campus.hark(*PLAN, "--apply")
    planned = campus.hark("backfill", "undo", "1")
    assert "undone by" not in campus.hark("backfill", "show", "1").out
    assert "hark backfill apply 2" in planned.out
    assert campus.hark("backfill", "apply", "2").code == 0
    verified = campus.hark("backfill", "verify", "1")
    assert (verified.code, "undone by 2; hark backfill verify 2" in verified.out) == (0, True)
    shown = campus.hark("backfill", "show", "1").out
    assert "(preferences, undone by 2) is APPLIED" in shown
    assert shown.endswith("undone by 2; hark backfill show 2 says what it did\n")
    again = campus.hark("backfill", "undo", "1")
    assert again.code == 0
    assert again.out.endswith("nothing is left to take back of backfill 1: there is nothing to apply\n")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("id\n", "its list was empty, which means nobody: there is nothing to apply"),
        ("id\nxx\n", "of 1 rows none names a user who is meant: there is nothing to apply"),
    ],
)
def test_a_plan_for_nobody_says_why(rows: str, said: str, campus: Desk) -> None:
    campus.write("ids.csv", rows)
    planned = campus.hark(*ASKED, "--file", "ids.csv")
    assert (planned.code, planned.out.splitlines()[-1]) == (0, said)


def test_that_two_variables_name_users_is_said(campus: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    campus.write("ids.csv", "id\nu0001\n")
    monkeypatch.setenv("CSV_PATH", "ids.csv")
    assert "both" not in campus.hark(*ASKED).err
    monkeypatch.setenv("USER_IDS", "u0002")
    planned = campus.hark(*ASKED)
    assert "USER_IDS and CSV_PATH are both set: the users of both are meant" in planned.err.splitlines()
    assert "2 to change" in planned.out
    assert "both" not in campus.hark(*ASKED, "--ids", "u0003").err


def test_the_name_of_a_column_that_is_read_as_an_id_is_pointed_out(campus: Desk) -> None:
    campus.write("ids.csv", "user\nu0001\n")
    planned = campus.hark(*ASKED, "--file", "ids.csv")
    assert "ids.csv:1  user: no such user; if that is the name of a column, write --column user" in planned.out
    assert "write --column" not in campus.hark(*ASKED, "--file", "ids.csv", "--column", "user").out


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ('{"id": "u0001"}\n{"id": "u0002"}\n', "these rows look like JSON, which is not read"),
        ("'u0001'\n'u0002'\n", "the quotation marks are taken for parts of the ids"),
        ("u0001\n'u0002'\n", ""),
    ],
)
def test_rows_that_look_like_more_than_ids_are_pointed_out(rows: str, said: str, campus: Desk) -> None:
    campus.write("ids", rows)
    planned = campus.hark(*ASKED, "--file", "ids").out
    assert "no such user" in planned
    assert said in planned and ("look like JSON" in planned or "quotation marks" in planned) == bool(said)


def test_whom_a_list_to_leave_out_does_not_leave_out_is_told(campus: Desk) -> None:
    campus.write("no.csv", "id\nU0001\nu0002 \n")
    planned = campus.hark(*ASKED, "--ids", "u0001,u0002", "--except-file", "no.csv").out
    assert "2 users, 2 unknown to leave out" in planned
    assert "warning:" in planned and "no.csv leaves out nobody: none of whom it names is meant" in planned
    assert "no.csv:2  U0001: no such user" in planned and "no.csv:3  u0002 : no such user" in planned
    listed = campus.hark("backfill", "show", "1", "--faults", "--json").out
    assert [json.loads(line)["text"] for line in listed.splitlines()] == ["U0001", "u0002 "]
    cohort = json.loads(campus.hark("backfill", "show", "1", "--json").out)["cohort"]
    assert (cohort["excluded_unknown"], len(cohort["warnings"])) == (2, 1)


def test_an_undo_that_would_be_refused_is_not_advised(campus: Desk) -> None:
    for channel in ("push", "in_app"):
        added = ("--reason", "app_shared", "--channels", channel, "--user-types", "Students", "--all", "--apply")
        assert campus.hark("backfill", "preferences", *added).code == 0
    assert campus.hark("backfill", "show", "1").out.endswith("hark backfill undo 1 takes it back\n")
    campus.hark("backfill", "forget", "2", "--apply")
    shown = campus.hark("backfill", "show", "1").out
    assert shown.endswith("it cannot be undone any more: what backfill 2 changed since is forgotten\n")
    assert campus.hark("backfill", "undo", "1").code == 2


def test_of_what_is_forgotten_or_empty_nothing_more_is_offered(campus: Desk) -> None:
    campus.hark(*PLAN, "--apply")
    assert "hark backfill undo 1 takes it back" in campus.hark("backfill", "show", "1").out
    assert "900 users of its plan" in campus.hark("backfill", "forget", "1", "--apply").out
    shown = campus.hark("backfill", "show", "1").out
    assert "next:" not in shown and "it can be neither verified, undone nor applied again" in shown
    for asked in (
        ("show", "1", "--faults"),
        ("show", "1", "--faults", "-o", "out.csv"),
        ("show", "1", "--outcome", "append"),
        ("show", "1", "--outcome", "append", "-o", "out.csv"),
        ("failures", "1"),
        ("failures", "1", "-o", "out.csv"),
    ):
        told = campus.hark("backfill", *asked)
        assert (told.code, told.out) == (2, "") and "backfill 1 was forgotten (20" in told.err
    assert not (campus.directory / "out.csv").exists()
    again = campus.hark("backfill", "forget", "1")
    assert again.out.strip() == "backfill 1 was forgotten before: nothing is left of who its users were"

    campus.hark(*PLAN)
    applied = campus.hark("backfill", "apply", "2").out
    assert "it changed nothing, so there is nothing to take back" in applied and "takes it back" not in applied
    campus.hark("backfill", "verify", "2")
    assert "backfill undo" not in campus.hark("backfill", "show", "2").out
    refused = campus.hark("backfill", "undo", "2")
    assert (refused.code, "nothing to undo" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--outcome", "append", "--faults"), "--outcome and --faults do not go together"),
        (("--outcome", "append", "--faults", "-o", "out.csv"), "--outcome and --faults do not go together"),
        (("--left", "--faults", "-o", "out.csv"), "--faults and --left do not go together"),
        (("--left", "-o", "out.csv"), "--left: backfill 1 is no load of purchases"),
        (("--after", "u0001"), "--after: is of a page of --outcome"),
        (("--faults", "--after", "u0001"), "--after: is of a page of --outcome"),
        (("--limit", "3"), "--limit: is of a page of --outcome or --faults"),
        (("--outcome", "append", "--limit", "3", "-o", "out.csv"), "-o writes all of it"),
    ],
)
def test_options_of_show_that_contradict_or_mean_nothing_are_refused(
    options: tuple[str, ...], said: str, campus: Desk
) -> None:
    campus.hark(*PLAN)
    refused = campus.hark("backfill", "show", "1", *options)
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err
    assert not (campus.directory / "out.csv").exists()


def test_hark_is_a_module_that_runs(desk: Desk) -> None:
    ran = subprocess.run([sys.executable, "-m", "hark", "--version"], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr, ran.stdout[:4]) == (0, "", "hark")


def test_that_all_are_held_is_said_wherever_it_is_said_what_comes_next(campus: Desk) -> None:
    campus.hark(*PLAN)
    assert "held" not in campus.hark("backfill", "list").err
    campus.hark("backfill", "stop-all")
    held = "held with all; next: hark backfill stop-all --release, then hark backfill"
    assert campus.hark("backfill", "show", "1").out.endswith(f"nothing was changed; {held} apply 1\n")
    assert campus.hark("backfill", "list").err == (
        "all backfills are held; hark backfill stop-all --release lets them go on\n"
    )
    campus.execute("update hark.backfill set state = 'APPLYING'; update hark.backfill set state = 'PAUSED'")
    assert campus.hark("backfill", "show", "1").out.endswith(f"{held} resume 1\n")


def test_an_undo_that_has_nothing_to_do_stands_in_no_way(campus: Desk) -> None:
    campus.hark(*PLAN, "--apply")
    campus.hark("backfill", "undo", "1", "--apply")
    for _ in range(2):
        idle = campus.hark("backfill", "undo", "1")
        assert idle.out.endswith("nothing is left to take back of backfill 1: there is nothing to apply\n")
    applied = campus.hark("backfill", "apply", "3")
    assert applied.code == 0
    assert applied.out.endswith("it changed nothing, so there is nothing to take back\n")
    assert "verify" not in applied.out
    assert campus.hark("backfill", "forget", "1", "--apply").code == 0
    refused = campus.hark("backfill", "apply", "4")
    assert refused.code == 2
    assert refused.err.startswith("backfill 4 takes back backfill 1, which was forgotten")
