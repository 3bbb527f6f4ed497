"""What the verbs of backfills share: their options, who they are done by, and what is said at their end."""

from __future__ import annotations

import getpass
import os
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hark.doors.cli.frame import Call

if TYPE_CHECKING:
    from hark.backfill.control import Stand
    from hark.postgres.database import Database

LARGEST = 2**63 - 1

Id = Annotated[int, typer.Argument(metavar="BACKFILL", min=1, max=LARGEST, help="Its number.")]
Who = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Who does this, for the audit log; else your login.")
]
Detach = Annotated[bool, typer.Option("--detach", help="Leave the work to workers; do not wait for it.")]
Rate = Annotated[
    str | None, typer.Option("--rate", metavar="N", help="Users a second at most; else as the database bears.")
]
Adaptive = Annotated[
    bool, typer.Option("--adaptive/--not-adaptive", help="Give way to live work and to a slow database.")
]
NoRate = Annotated[bool, typer.Option("--no-rate", help="No rate any more: as fast as the database bears.")]
AdaptiveOrAsIs = Annotated[
    bool | None, typer.Option("--adaptive/--not-adaptive", help="Give way to live work and to a slow database.")
]
AnyTime = Annotated[bool, typer.Option("--any-time", help="No hours any more.")]
Hours = Annotated[
    str | None,
    typer.Option("--window", metavar="HOURS", help="Only then: 20:00-06:00, or 20:00-06:00 Europe/Berlin."),
]


def _own_output(path: Path | None) -> Path | None:
    """`-` is this process's own output, as elsewhere, and no file of that name."""
    return Path("/dev/stdout") if path == Path("-") else path


OutFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        callback=_own_output,
        help="Write all of it to this CSV file; whole, or not at all. -: to the output, as it goes.",
    ),
]


@dataclass(frozen=True, slots=True)
class _Exported:
    path: Path
    rows: int
    replaced: bool


@dataclass(frozen=True, slots=True)
class Target:
    """Where rows are written to.

    Attributes:
        plain: it is a file, so that what is said of it has the output for itself; not, of a device or a pipe.
        replaces: a file is there already.
    """

    path: Path
    plain: bool
    replaces: bool

    @classmethod
    def of(cls, path: Path) -> Target:
        """As it is before anything is written. What cannot be written to is found out by who writes."""
        from hark.lists.writing import is_plain

        try:
            plain = is_plain(path)
        except OSError:
            return cls(path, True, False)
        return cls(path, plain, plain and path.exists())

    def said(self, rows: int) -> str:
        """That it is written."""
        return f"{rows:,} written to {self.path}{', which was there before: replaced' if self.replaces else ''}"


async def write_all(call: Call, path: Path, work: Awaitable[int]) -> None:
    """Write rows to a file, and say how many."""
    target = Target.of(path)
    rows = await work
    if target.plain:
        call.output.show(_Exported(path, rows, target.replaces), [target.said(rows)])
    else:
        call.output.note(target.said(rows))


def who_does_it(name: str | None) -> str:
    """Whoever is logged in, unless told otherwise."""
    if name is not None:
        return name
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return f"uid {os.getuid()}"


def names_of(text: str | None) -> list[str]:
    """Names with commas between them."""
    from hark.backfill.request import names

    return list(names(text))


async def say(call: Call, database: Database, backfill: int) -> None:
    """Show one backfill."""
    from hark.backfill.listing import show as look
    from hark.doors.cli import backfill_pages as pages
    from hark.doors.cli.queues import with_queue

    seen = await with_queue(database, await look(database, backfill))
    call.output.show(seen, pages.shown(seen))


def say_stand(call: Call, stand: Stand) -> None:
    """Show how one stands now."""
    call.output.show(stand, [f"backfill {stand.id} is {stand.state}"])
