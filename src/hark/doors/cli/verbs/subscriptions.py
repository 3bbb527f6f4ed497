"""What they asked to hear of: subscriptions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hark.doors.cli.frame import WHO, Call, verb
from hark.errors import BadInput

if TYPE_CHECKING:
    from hark.audience import Subscription
    from hark.doors.cli.session import Session

CHUNK = 5000


@dataclass(frozen=True, slots=True)
class _Changed:
    pairs: int
    changed: int


def add_to(app: typer.Typer) -> None:
    """Hang the verbs into the command."""
    verb(app, "subscribe", panel=WHO, example="hark subscribe bob post:7")(subscribe)


async def subscribe(
    call: Call,
    user: Annotated[str | None, typer.Argument(metavar="USER", help="The recipient's id.", show_default=False)] = None,
    entity: Annotated[
        str | None, typer.Argument(metavar="ENTITY", help="What they want to hear of, as post:7.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="CSV or JSON lines: recipient, entity.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove in place of adding.")] = False,
    mute: Annotated[bool, typer.Option("--mute", help="Keep them, and be silent about them.")] = False,
    unmute: Annotated[bool, typer.Option("--unmute", help="Let muted ones speak again.")] = False,
) -> None:
    """Subscribe a user to an entity, or many at once from a file.

    Or remove, mute or unmute what is there.
    """
    if [remove, mute, unmute].count(True) > 1:
        raise BadInput("--remove, --mute and --unmute exclude each other; give one of them")
    pairs, chunks = _wanted(user, entity, file)
    changed = done = 0
    async with call.session(size=2) as session:
        with call.output.progress("subscriptions", pairs) as told:
            for chunk in chunks:
                changed += await _change(session, chunk, remove=remove, mute=mute, unmute=unmute)
                done += len(chunk)
                told(done)
    verb_done = "removed" if remove else "muted" if mute else "unmuted" if unmute else "new"
    call.output.show(_Changed(pairs, changed), [f"{changed:,} of {pairs:,} {verb_done}"])


def _wanted(user: str | None, entity: str | None, file: Path | None) -> tuple[int, Iterable[Sequence[Subscription]]]:
    from hark.audience import Subscription
    from hark.doors.files import open_subscriptions

    if file is not None and user is None:
        listing = open_subscriptions(file)
        return listing.rows, listing.chunks(CHUNK)
    if not user or not entity or file is not None:
        raise BadInput("name a user and an entity (hark subscribe bob post:7), or a file (--file pairs.csv)")
    return 1, [[Subscription(user, entity)]]


async def _change(session: Session, chunk: Sequence[Subscription], *, remove: bool, mute: bool, unmute: bool) -> int:
    from hark import audience

    if remove:
        return await audience.unsubscribe(session.database, chunk)
    if mute or unmute:
        return await audience.mute(session.database, chunk, await session.database.now(), muted=mute)
    return await audience.subscribe(session.database, chunk, await session.database.now())
