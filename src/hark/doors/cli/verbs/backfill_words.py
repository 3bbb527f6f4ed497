"""What the verbs of backfills share: their options, who they are done by, and what is said at their end."""

from __future__ import annotations

import getpass
import os
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
    float | None, typer.Option("--rate", metavar="N", help="Users a second at most; else as the database bears.")
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


OutFile = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write all of it to this CSV file; whole, or not at all."),
]


@dataclass(frozen=True, slots=True)
class _Exported:
    path: Path
    rows: int


def say_written(call: Call, path: Path, rows: int) -> None:
    """Show what was written to a file."""
    call.output.show(_Exported(path, rows), [f"{rows:,} written to {path}"])


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

    seen = await look(database, backfill)
    call.output.show(seen, pages.shown(seen))


def say_stand(call: Call, stand: Stand) -> None:
    """Show how one stands now."""
    call.output.show(stand, [f"backfill {stand.id} is {stand.state}"])
