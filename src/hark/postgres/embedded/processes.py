"""What runs on this machine, as far as the embedded server must know."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_POLL_S = 0.01
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """A process as anyone may see it; the arguments of a zombie are empty."""

    pid: int
    uid: int
    arguments: str


def every_process() -> Iterator[Process]:
    """All processes that can be seen."""
    if not _has_proc():
        yield from _listed_by_ps("-ax")
        return
    for pid in [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]:
        process = find_process(pid)
        if process is not None:
            yield process


def find_process(pid: int) -> Process | None:
    """The process with this id, or None when there is none."""
    if not _has_proc():
        return next(_listed_by_ps("-p", str(pid)), None)
    try:
        # What everyone may read: other entries here are closed even to root in a usual container.
        arguments = (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ")
        return Process(pid, (_PROC / str(pid)).stat().st_uid, os.fsdecode(arguments).rstrip())
    except OSError:
        return None


def send_signal(pid: int, sign: signal.Signals) -> None:
    """Signal a process that may have ended meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sign)


def wait_until(done: Callable[[], bool], patience_s: float) -> bool:
    """Look again and again until it is done; False when that took longer than `patience_s` seconds."""
    deadline = time.monotonic() + patience_s
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _has_proc() -> bool:
    return Path("/proc/self/cmdline").exists()


def _listed_by_ps(*which: str) -> Iterator[Process]:
    command = ["/bin/ps", *which, "-o", "pid=,uid=,args="]
    listing = subprocess.run(command, stdout=subprocess.PIPE, text=True, errors="surrogateescape", check=False)  # noqa: S603
    for line in listing.stdout.splitlines():
        pid, uid, *arguments = line.split(None, 2)
        yield Process(int(pid), int(uid), " ".join(arguments))
