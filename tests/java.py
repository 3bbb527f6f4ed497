"""Servers that run on Java (Neo4j, Kafka): their jars, and a process that ends with whoever started it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hark.postgres.embedded.processes import find_process, send_signal
from tests.servers import REPOSITORY, Child, eventually, missing_server, scratch_folder, spawn

FETCH = "tests/jars/fetch.sh"

_KEEPER = """
import os, shutil, signal, subprocess, sys
log, home, *command = sys.argv[1:]
signal.signal(signal.SIGINT, signal.SIG_IGN)
with open(log, "ab") as out:
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("pid", server.pid, flush=True)
last = sys.stdin.readline()
server.kill()
server.wait()
if last != "keep the data\\n":
    shutil.rmtree(home, ignore_errors=True)
"""
"""Waits at the end of a pipe. However the process at its other end ends, kill -9 included, the server ends too; what
ends a whole group of processes does not end the keeper first."""


def find_jars(server: str) -> Path:
    """The folder of a server's jars as tests/jars/fetch.sh leaves it; its absence fails in CI and skips elsewhere."""
    pom = REPOSITORY / "tests" / "jars" / f"{server}.xml"
    folder = jar_cache() / server
    there = folder / "pom.xml"
    if not there.is_file() or there.read_bytes() != pom.read_bytes():
        missing_server(f"the jars of {server} are not in {folder}: run {FETCH} {server}")
    return folder


def jar_cache() -> Path:
    """Where jars are kept: HARK_TEST_JARS, or hark-test-jars in the user's cache."""
    named = os.environ.get("HARK_TEST_JARS")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named) if named else Path(cache) / "hark-test-jars"


def find_java() -> str:
    """The program `java`; its absence fails in CI and skips elsewhere."""
    return shutil.which("java") or missing_server("java is not installed")


def free_ports(count: int) -> list[int]:
    """So many ports of the loopback interface that nobody listens on."""
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


@dataclass(slots=True)
class JavaServer:
    """A server in a folder of its own, that tests may kill, freeze and start again on what it left.

    Attributes:
        command: how it is started.
        started: what it writes into its log when it is ready.
    """

    name: str
    command: Sequence[str]
    home: Path
    started: str
    _keeper: Child | None = field(default=None, repr=False)
    pid: int = 0

    @property
    def log(self) -> Path:
        """All that it said."""
        return self.home / "log.txt"

    def start(self, patience_s: float = 180.0) -> None:
        """Bring it up, and wait until it says that it is ready."""
        begun = self.log.stat().st_size if self.log.exists() else 0
        self._keeper = spawn(_KEEPER, str(self.log), str(self.home), *self.command, python=sys.executable)
        self.pid = int(self._keeper.wait_for("pid"))
        eventually(lambda: self._said(begun), f"{self.name} says {self.started!r}", patience_s)

    def kill(self) -> None:
        """kill -9, and wait until it is gone; its data stays, and `start` goes on from there."""
        self._end("keep the data")

    def stop(self, patience_s: float = 60.0) -> None:
        """Ask it to end, and wait; its data stays."""
        send_signal(self.pid, signal.SIGTERM)
        eventually(lambda: _is_gone(self.pid), f"{self.name} ends", patience_s)
        self.kill()

    def freeze(self) -> None:
        """SIGSTOP: it stands still and keeps its connections."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on."""
        os.kill(self.pid, signal.SIGCONT)

    def remove(self) -> None:
        """Kill it and remove its data."""
        self._end("")
        shutil.rmtree(self.home, ignore_errors=True)

    def _end(self, last_word: str) -> None:
        if self._keeper is None:
            return
        self._keeper.tell(last_word)
        self._keeper.finish()
        self._keeper = None

    def _said(self, begun: int) -> bool:
        with self.log.open("rb") as file:
            file.seek(begun)
            said = file.read().decode(errors="replace")
        assert not _is_gone(self.pid), f"{self.name} ended at once; it said:\n{said[-4000:]}"
        return self.started in said


def new_home(name: str) -> Path:
    """An empty folder for a server."""
    return scratch_folder(f"hark-{name}-")


def _is_gone(pid: int) -> bool:
    """One that has ended has no arguments, nor for a moment has one that only begins: so it is looked at twice."""
    return _seems_gone(pid) and not time.sleep(0.5) and _seems_gone(pid)


def _seems_gone(pid: int) -> bool:
    process = find_process(pid)
    return process is None or not process.arguments
