"""The locks that the processes around one embedded server share; the kernel frees them however a process ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from hark.errors import Unreachable
from hark.postgres.embedded.layout import Layout
from hark.postgres.embedded.processes import wait_until


@contextlib.contextmanager
def start_lock(layout: Layout, deadline: float) -> Iterator[int]:
    """One start at a time.

    Args:
        deadline: on the monotonic clock, seconds.

    Raises:
        Unreachable: another start took longer than that.
    """
    descriptor = _lock(layout.start_lock, fcntl.LOCK_EX, deadline)
    try:
        yield descriptor
    finally:
        # Not only closed: a process that another thread forked meanwhile must not keep it.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def share_users_lock(layout: Layout, deadline: float) -> int:
    """Be one of the server's users. When a keeper is stopping the server, this waits until it is gone.

    Args:
        deadline: on the monotonic clock, seconds.

    Raises:
        Unreachable: the keeper took longer than that.
    """
    return _lock(layout.users_lock, fcntl.LOCK_SH, deadline)


@contextlib.contextmanager
def new_keeper_lock(layout: Layout) -> Iterator[int | None]:
    """The lock for a new keeper to inherit, or None when one is on duty."""
    descriptor = _open(layout.keeper_lock)
    try:
        yield descriptor if _try(descriptor, fcntl.LOCK_EX) else None
    finally:
        os.close(descriptor)


def _lock(path: Path, how: int, deadline: float) -> int:
    descriptor = _open(path)
    try:
        if wait_until(lambda: _try(descriptor, how), deadline - time.monotonic()):
            return descriptor
        raise Unreachable(f"another process holds {path}; is a start of the embedded Postgres stuck?")
    except BaseException:
        os.close(descriptor)
        raise


def _try(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
