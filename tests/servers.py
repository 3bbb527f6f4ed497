"""The real servers and data that tests run against, and children that tests may kill."""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest

from hark.postgres.embedded import EmbeddedServer, start

REPOSITORY = Path(__file__).resolve().parents[1]
_SYSTEM_FOLDERS = ("/usr/sbin", "/usr/lib/postfix/sbin", "/usr/local/sbin")
_numbers = itertools.count(1)


def missing_server(what: str) -> NoReturn:
    """A server that the tests need is not here: a failure where all must be (env CI), a visible skip elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


def find_server_binary(name: str) -> Path:
    """A server's program, from PATH or where Debian puts it; its absence fails in CI and skips elsewhere."""
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(_SYSTEM_FOLDERS))
    return Path(found) if found else missing_server(f"{name} is not installed")


def data_file(name: str) -> Path:
    """A real data set, from the directory in HARK_TEST_DATA or ../shared/data; its absence skips."""
    folder = Path(os.environ.get("HARK_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    path = folder / name
    if not path.is_file():
        pytest.skip(f"no {name}: set HARK_TEST_DATA to the directory that has it")
    return path


def postgres_bin_dir() -> Path | None:
    """The Postgres programs that this run tests with (None: the wheel's).

    HARK_TEST_POSTGRES names the major version, 18 (the wheel) when unset; HARK_TEST_POSTGRES_BIN any directory.
    """
    named = os.environ.get("HARK_TEST_POSTGRES_BIN")
    major = os.environ.get("HARK_TEST_POSTGRES") or "18"
    if not named and major == "18":
        return None
    folder = Path(named or f"/usr/lib/postgresql/{major}/bin")
    return folder if (folder / "initdb").exists() else missing_server(f"Postgres {major} is not installed in {folder}")


def scratch_folder(prefix: str) -> Path:
    """A new directory for what tests throw away, within everyone's reach: in memory where there is room."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=_in_memory()))
    folder.chmod(0o755)
    return folder


def _in_memory() -> str | None:
    memory = "/dev/shm"
    if os.environ.get("TMPDIR") or not os.access(memory, os.W_OK | os.X_OK):
        return None
    status = os.statvfs(memory)
    roomy = status.f_bavail * status.f_frsize > 4 * 1024**3
    return memory if roomy and not status.f_flag & os.ST_NOEXEC else None


@dataclass(frozen=True, slots=True)
class Postgres:
    """The scratch server of this test session."""

    server: EmbeddedServer
    bin_dir: Path | None
    major: int

    def dsn(self, database: str) -> str:
        """The URI of one of its databases."""
        return self.server.dsn_of(database)

    def create_database(self, template: str = "template1") -> str:
        """A fresh database; its name. Its files are copied: that takes a third of writing them to the log."""
        name = f"test_{next(_numbers)}"
        self._copy(template, name)
        return name

    def replace_database(self, name: str, template: str) -> None:
        """Another one in its place."""
        self.drop_database(name)
        self._copy(template, name)

    def drop_database(self, name: str) -> None:
        """Drop it, whoever is still connected."""
        self._execute(f"drop database if exists {name} with (force)")

    def _copy(self, template: str, name: str) -> None:
        self._execute(f"create database {name} template {template} strategy file_copy")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(statement)


@contextlib.contextmanager
def scratch_postgres() -> Iterator[Postgres]:
    """A server for the session. Even when the session is killed, its keeper stops it and removes its data."""
    bin_dir = postgres_bin_dir()
    data_dir = scratch_folder("hark-test-")
    settings = {"max_connections": "200", "shared_buffers": "256MB"}
    with start(data_dir, bin_dir=bin_dir, durable=False, keep=False, settings=settings) as server:
        with psycopg.connect(server.dsn) as connection:
            major = connection.info.server_version // 10000
        yield Postgres(server, bin_dir, major)
    eventually(lambda: not data_dir.exists(), f"the keeper has removed {data_dir}")


def eventually(done: Callable[[], object], what: str, patience_s: float = 60.0) -> None:
    """Wait for something that must become true; the patience is only there to end a broken test."""
    deadline = time.monotonic() + patience_s
    while not done():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


@dataclass(slots=True)
class Child:
    """A Python process that a test talks to by lines and may kill. Also a context manager that kills at the end."""

    process: subprocess.Popen[bytes]
    _said: bytes = field(default=b"", repr=False)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def wait_for(self, label: str, patience_s: float = 60.0) -> str:
        """Read its output up to the line that is `label`, or starts with it and a blank; the rest of that line."""
        deadline = time.monotonic() + patience_s
        passed: list[str] = []
        while True:
            line = self._line(deadline, label, passed)
            head, _, rest = line.partition(" ")
            if head == label:
                return rest
            passed.append(line)

    def tell(self, line: str) -> None:
        """Write a line to its stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.process.kill()
        self._close()

    def freeze(self) -> None:
        """SIGSTOP: it stands still and keeps what it holds."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on."""
        os.kill(self.pid, signal.SIGCONT)

    def finish(self, patience_s: float = 60.0) -> int:
        """Close its stdin and let it end by itself; its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        code = self.process.wait(patience_s)
        self._close()
        return code

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _line(self, deadline: float, label: str, passed: list[str]) -> str:
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._said:
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                more = os.read(self.process.stdout.fileno(), 65536) if ready else b""
                assert more, f"the child never said {label!r}; it said:\n" + "\n".join([*passed, self._said.decode()])
                self._said += more
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()

    def _close(self) -> None:
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def spawn(
    code: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    python: str = sys.executable,
    uid: int | None = None,
) -> Child:
    """Run Python code in a process of its own; `arguments` are its `sys.argv[1:]`. stderr comes with stdout.

    Args:
        env: more environment variables.
        uid: the user to become first (only for root); the interpreter must be within its reach.
    """
    paths = [str(REPOSITORY / "src"), str(REPOSITORY), str(Path(psycopg.__file__).parents[1])]
    every = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", **(env or {})}
    process = subprocess.Popen(
        [python, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=every,
        user=uid,
        group=uid,
        extra_groups=None if uid is None else [],
    )
    return Child(process)
