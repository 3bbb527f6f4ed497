"""Exit codes, and which error gets which."""

from __future__ import annotations

import errno
from enum import IntEnum

from hark.errors import BadInput, HarkError, Undeliverable, Unreachable

_UNDONE = "40"
"""SQLSTATEs: a deadlock, or what was read has changed."""


class ExitCode(IntEnum):
    """What a command says when it ends."""

    DONE = 0
    NOT_GOOD = 1
    """It ran, and what it found is not good."""
    BAD_INPUT = 2
    UNREACHABLE = 3
    """Something that it needs cannot be reached, or not now: another try may do."""
    INTERRUPTED = 130


def code_of(error: HarkError) -> ExitCode:
    """The exit code of an error that Hark raised on purpose."""
    if isinstance(error, BadInput | Undeliverable):
        return ExitCode.BAD_INPUT
    return ExitCode.UNREACHABLE if isinstance(error, Unreachable) else ExitCode.NOT_GOOD


def as_harks_own(error: Exception) -> HarkError | None:
    """An error of the database as one of Hark's, in one line; None: it is a fault of the program, not of its user."""
    import psycopg

    if not isinstance(error, psycopg.Error):
        return _other(error)
    said = str(error.diag.message_primary or error).strip().splitlines()[0]
    if isinstance(
        error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn | psycopg.errors.InvalidSchemaName
    ):
        return BadInput(f"this database's tables are not those of this Hark ({said}); run hark migrate on it")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return BadInput(f"Postgres does not allow it: {said}; grant it, or connect as another role")
    if (error.sqlstate or "").startswith(_UNDONE):
        return Unreachable(f"Postgres undid this, as somebody else changed the same meanwhile ({said}); try again")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return Unreachable(f"Postgres went away: {said}")
    return BadInput(f"Postgres cannot store that: {said}") if isinstance(error, psycopg.DataError) else None


def _other(error: Exception) -> HarkError | None:
    if isinstance(error, UnicodeEncodeError):
        return BadInput("an argument has bytes that are not UTF-8; write it in UTF-8")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Unreachable(f"what this says does not fit where it goes: {error.strerror}; make room and run it again")
    return None
