"""A CSV file that is there when it is whole, and not before."""

from __future__ import annotations

import csv
import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hark.errors import BadInput, HarkError, Unreachable

Write = Callable[[Sequence[Sequence[object]]], None]


@contextmanager
def written(path: Path, columns: Sequence[str]) -> Iterator[Write]:
    """Rows go to a file beside it, which takes its place at the end; what is left half is removed.

    Args:
        columns: the first row.

    Raises:
        BadInput: the file cannot be written there.
        Unreachable: the disk is full.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        with beside.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(columns)
            yield rows.writerows
        beside.replace(path)
    except OSError as error:
        raise _refused(path, error) from None
    finally:
        beside.unlink(missing_ok=True)


def _refused(path: Path, error: OSError) -> HarkError:
    kind = Unreachable if error.errno in (errno.ENOSPC, errno.EDQUOT) else BadInput
    return kind(f"{path} cannot be written: {error.strerror}; nothing of it is left; give another path")
