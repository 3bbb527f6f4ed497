"""Lists of users and of faults, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from hark.errors import BadInput, HarkError, Unreachable


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
    kind = Unreachable if isinstance(error, OSError) and error.errno in (28, 122) else BadInput
    return kind(f"{path} cannot be written: {error.strerror}; nothing of it is left; give another path")
