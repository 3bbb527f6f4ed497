"""Lists of users, and of faults, that are there when they are whole, and not before."""

from __future__ import annotations

import csv
import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

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

    Raises:
        BadInput: it cannot be written there.
        Unreachable: the disk is full.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        with beside.open("w", encoding="utf-8", newline="") as file:
            yield file
        beside.replace(path)
    except OSError as error:
        raise _refused(path, error) from None
    finally:
        beside.unlink(missing_ok=True)


def _refused(path: Path, error: OSError) -> HarkError:
    kind = Unreachable if error.errno in (errno.ENOSPC, errno.EDQUOT) else BadInput
    return kind(f"{path} cannot be written: {error.strerror}; nothing of it is left; give another path")
