"""The harness itself: what it promises to the other tests."""

from __future__ import annotations

import signal
from pathlib import Path

import psycopg
import pytest

from hark.postgres.embedded.processes import find_process
from tests.servers import Postgres, data_file, eventually, find_server_binary, postgres_bin_dir, spawn

SESSION = """
import sys
from tests.servers import scratch_postgres
with scratch_postgres() as postgres:
    print("ready", postgres.server.data_dir, flush=True)
    sys.stdin.read()
"""


def test_each_database_is_fresh_and_can_be_dropped_under_its_users(postgres: Postgres) -> None:
    first, second = postgres.create_database(), postgres.create_database()
    with psycopg.connect(postgres.dsn(first)) as connection:
        connection.execute("create table mine ()")
        connection.commit()
        with psycopg.connect(postgres.dsn(second)) as other:
            assert other.execute("select to_regclass('mine')").fetchone() == (None,)
        postgres.drop_database(first)
    postgres.drop_database(second)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(postgres.dsn(first))


def test_a_killed_session_leaves_neither_server_nor_data(postgres: Postgres) -> None:
    with spawn(SESSION) as session:
        data_dir = Path(session.wait_for("ready"))
        assert data_dir.exists()
    eventually(lambda: not data_dir.exists(), "the keeper has removed the data")


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_a_missing_server_fails_in_ci_and_skips_elsewhere(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("HARK_TEST_POSTGRES_BIN", "/nowhere")
    with pytest.raises(outcome, match="no-such-program"):
        find_server_binary("no-such-program")
    with pytest.raises(outcome, match="/nowhere"):
        postgres_bin_dir()


def test_data_is_found_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HARK_TEST_DATA", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match="HARK_TEST_DATA"):
        data_file("messages.txt")
    (tmp_path / "messages.txt").touch()
    assert data_file("messages.txt") == tmp_path / "messages.txt"


def test_a_child_is_heard_frozen_thawed_and_killed() -> None:
    with spawn(
        "import sys\nprint('noise\\nstep one two', flush=True)\nfor line in sys.stdin: print('heard', line)"
    ) as child:
        assert child.wait_for("step") == "one two"
        child.freeze()
        child.tell("hello")
        child.thaw()
        assert child.wait_for("heard") == "hello"
        child.kill()
        assert child.process.returncode == -signal.SIGKILL
        assert find_process(child.pid) is None


def test_a_child_that_ends_early_is_quoted() -> None:
    with spawn("raise SystemExit('out of milk')") as child, pytest.raises(AssertionError, match="out of milk"):
        child.wait_for("ready")


def test_a_child_can_end_by_itself() -> None:
    with spawn("import sys\nsys.stdin.read()\nraise SystemExit(7)") as child:
        assert child.finish() == 7
