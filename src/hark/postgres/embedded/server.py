"""One cluster's server: is it running, start it, stop it, clear away what a crash left of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hark.postgres.embedded.layout import Layout
from hark.postgres.embedded.processes import Process, every_process, find_process, send_signal, wait_until

# Nothing of the caller's environment may steer the server; English messages, for the code reads some.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_LOG_LINES = 12
_LOG_LIMIT = 4 * 1024 * 1024
_LOG_MARK = "---- start\n"
# Signals and how long to wait for their effect, seconds.
_AT_ONCE = [(signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)]
_GENTLY = [(signal.SIGINT, 60.0), *_AT_ONCE]


class StartFailed(Exception):
    """The server could not be brought up; the text says why, with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class RunAs:
    """The user that a program runs as; None: as ourselves."""

    uid: int | None
    gid: int | None

    @property
    def groups(self) -> list[int] | None:
        """No further groups when the user is changed."""
        return None if self.uid is None else []


@dataclass(frozen=True, slots=True)
class Postmaster:
    """A live server of a cluster. `status` is its own word: `starting`, `ready`, `stopping`, or empty at first."""

    pid: int
    socket_dir: str
    status: str


def postmaster(cluster: Path) -> Postmaster | None:
    """The server that runs on a cluster, or None.

    A `postmaster.pid` that was left by a crash names a process that is gone, or one that has nothing to do with it.
    """
    lines = _pid_file(cluster)
    if not lines or not lines[0].isdigit():
        return None
    process = find_process(int(lines[0]))
    if process is None or not _serves(process, cluster):
        return None
    lines += [""] * 8
    return Postmaster(process.pid, socket_dir=lines[4], status=lines[7].strip())


def bring_up(layout: Layout, command: list[str], run_as: RunAs, timeout_s: float) -> None:
    """Start the server unless it runs, and wait until it takes connections.

    Args:
        command: the server's program and its arguments.

    Raises:
        StartFailed: it did not come up in time, or gave up; it is not left half started.
    """
    deadline = time.monotonic() + timeout_s
    server = postmaster(layout.cluster)
    if server is not None and server.status == "stopping":
        stop(layout)
    child = None
    if postmaster(layout.cluster) is None:
        child = _launch(layout, command, run_as)
    if not _becomes_ready(layout, child, deadline):
        stop(layout, gently=False)
        raise StartFailed(f"the embedded Postgres in {layout.root} did not start; its log ends:\n{_log_end(layout)}")


def clear_leftovers(layout: Layout, uid: int) -> None:
    """End and remove what a server that was killed left behind; only when none runs, and before there is a new cluster.

    Args:
        uid: the user that runs the server.
    """
    _end(lambda: _strays(layout, uid), _AT_ONCE)
    _end(lambda: _orphans(layout, uid), _AT_ONCE)
    _forget_foreign_pid(layout.cluster)


def stop(layout: Layout, *, gently: bool = True) -> None:
    """Stop the server of a data directory and wait until it is gone.

    Args:
        gently: let it write everything to its tables first; otherwise the next start recovers from its log.
    """
    server = postmaster(layout.cluster)
    if server is None:
        return

    def still_there() -> list[Process]:
        process = find_process(server.pid)
        return [process] if process is not None and _serves(process, layout.cluster) else []

    _end(still_there, _GENTLY if gently else _AT_ONCE)


def last_lines(text: str) -> str:
    """The end of what a program said, indented for quoting."""
    return "\n".join(f"  {line}" for line in text.rstrip().splitlines()[-_LOG_LINES:])


def _launch(layout: Layout, command: list[str], run_as: RunAs) -> subprocess.Popen[bytes]:
    log = _open_log(layout)
    try:
        return subprocess.Popen(  # noqa: S603 - our own program
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,
            umask=0o077,
            user=run_as.uid,
            group=run_as.gid,
            extra_groups=run_as.groups,
        )
    finally:
        os.close(log)


def _becomes_ready(layout: Layout, child: subprocess.Popen[bytes] | None, deadline: float) -> bool:
    def decided() -> bool:
        server = postmaster(layout.cluster)
        if server is not None:
            return server.status == "ready"
        return child is None or child.poll() is not None

    wait_until(decided, deadline - time.monotonic())
    server = postmaster(layout.cluster)
    if server is None and child is not None and child.poll() is None:
        child.kill()
    return server is not None and server.status == "ready"


def _end(find: Callable[[], list[Process]], ways: list[tuple[signal.Signals, float]]) -> None:
    for sign, patience_s in ways:
        for process in find():
            send_signal(process.pid, sign)
        if wait_until(lambda: not find(), patience_s):
            return


def _strays(layout: Layout, uid: int) -> list[Process]:
    """Servers whose data directory was moved or removed under them: they would write into the next one of its name."""
    return [process for process in every_process() if process.uid == uid and _names(process, layout.cluster)]


def _orphans(layout: Layout, uid: int) -> list[Process]:
    """What is left of a server whose main process was killed: as long as it lives, no new one can start."""
    title = f"postgres: {layout.tag}: "
    return [process for process in every_process() if process.uid == uid and process.arguments.startswith(title)]


def _forget_foreign_pid(cluster: Path) -> None:
    """Postgres itself refuses to start while the process named there lives, whatever that process is."""
    lines = _pid_file(cluster)
    if lines and lines[0].isdigit() and find_process(int(lines[0])) is not None:
        (cluster / "postmaster.pid").unlink(missing_ok=True)


def _pid_file(cluster: Path) -> list[str]:
    try:
        return (cluster / "postmaster.pid").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return []


def _serves(process: Process, cluster: Path) -> bool:
    return process.uid == _owner(cluster) and _names(process, cluster)


def _names(process: Process, cluster: Path) -> bool:
    return f" -D {cluster} " in process.arguments + " "


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except FileNotFoundError:
        return None


def _open_log(layout: Layout) -> int:
    with contextlib.suppress(FileNotFoundError):
        if layout.log.lstat().st_size > _LOG_LIMIT:
            layout.log.rename(layout.log.with_suffix(".log.old"))
    log = os.open(layout.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    os.write(log, _LOG_MARK.encode())
    return log


def _log_end(layout: Layout) -> str:
    try:
        said = layout.log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return "  (no log)"
    return last_lines(said.rpartition(_LOG_MARK)[2])
