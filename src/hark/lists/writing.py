"""Lists of users, and of faults, that are there when they are whole, and not before."""

from __future__ import annotations

import csv
import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, TextIO

from hark.errors import BadInput, HarkError, Unreachable

Write = Callable[[Sequence[Sequence[object]]], None]


@contextmanager
def written(path: Path, columns: Sequence[str]) -> Iterator[Write]:
    """A CSV file: what writes its rows.

    Args:
        columns: the first row.

    Raises:
        BadInput: the file cannot be written there.
        Unreachable: the disk is full.
    """
    with written_whole(path) as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        yield rows.writerows


@contextmanager
def written_whole(path: Path) -> Iterator[TextIO]:
    """A text file beside the one that is asked for, which takes its place at the end; what is left half is removed.

    A symbolic link stays, and what it leads to is written. What is no plain file (a device, a pipe, this process's own
    output) is written to as it goes.

    Raises:
        BadInput: it cannot be written there; or whoever read it as it went left before its end.
        BrokenPipeError: that was whoever reads this process's own output.
        Unreachable: the disk is full.
    """
    own = False
    try:
        own = _is_own(path)
        with _beside(path.resolve()) if is_plain(path) else _into(path) as file:
            yield file
    except IsADirectoryError:
        raise BadInput(f"{path} is a directory; name a file in it, as {path / 'users.csv'}") from None
    except BrokenPipeError:
        if own:
            raise
        raise BadInput(f"{path}: whoever read it left before its end; not all of it was written") from None
    except (OSError, RuntimeError) as error:
        raise _refused(path, error) from None


def _is_own(path: Path) -> bool:
    try:
        return _own_output(path.stat()) is not None
    except FileNotFoundError:
        return False


def is_plain(path: Path) -> bool:
    """Whether it is a plain file, or nothing yet, and not where this process's own output goes.

    Raises:
        IsADirectoryError: it is a directory.
        OSError: nobody can say.
    """
    try:
        there = path.stat()
    except FileNotFoundError:
        return True
    if stat.S_ISDIR(there.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return stat.S_ISREG(there.st_mode) and _own_output(there) is None


def _own_output(there: os.stat_result) -> int | None:
    """Which of this process's own outputs it is."""
    for number in (1, 2):
        with suppress(OSError):
            if os.path.samestat(os.fstat(number), there):
                return number
    return None


@contextmanager
def _into(path: Path) -> Iterator[TextIO]:
    """What is no plain file. Of its own output a process keeps the place that it is at."""
    own = _own_output(path.stat())
    if own is not None:
        sys.stdout.flush()
    how: Any = {"mode": "w", "encoding": "utf-8", "newline": ""}
    with path.open(**how) if own is None else os.fdopen(os.dup(own), **how) as file:
        yield file


@contextmanager
def _beside(path: Path) -> Iterator[TextIO]:
    beside = path.with_name(f".{path.name[:100]}.{token_hex(6)}.part")
    file = beside.open("x", encoding="utf-8", newline="")
    try:
        with file:
            yield file
        if path.exists():
            beside.chmod(stat.S_IMODE(path.stat().st_mode))
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _refused(path: Path, error: OSError | RuntimeError) -> HarkError:
    if isinstance(error, RuntimeError):
        return BadInput(f"{path} leads to itself; give another path")
    kind = Unreachable if error.errno in (errno.ENOSPC, errno.EDQUOT) else BadInput
    return kind(f"{path} cannot be written: {error.strerror}; nothing of it is left; give another path")
