"""What they asked to hear of: subscriptions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hark.doors.cli.frame import WHO, Call, verb
from hark.doors.cli.output import Column, local
from hark.errors import BadInput

if TYPE_CHECKING:
    from hark.audience import KnownSubscription, Subscription
    from hark.doors.cli.session import Session

CHUNK = 5000


@dataclass(frozen=True, slots=True)
class _Changed:
    pairs: int
    changed: int


@dataclass(frozen=True, slots=True)
class _Filter:
    muted: bool | None
    kind: str | None
    after: str
    limit: int


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
    as_list: Annotated[bool, typer.Option("--list", help="List what the user asked to hear of.")] = False,
    muted: Annotated[
        bool | None, typer.Option("--muted/--heard", help="In the list: only those.", show_default=False)
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help="In the list: only such entities, as post.")
    ] = None,
    after: Annotated[
        str, typer.Option("--after", metavar="ENTITY", help="In the list: only those behind this one.")
    ] = "",
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="In the list: at most so many.")
    ] = 50,
) -> None:
    """Subscribe a user to an entity, or many at once from a file.

    Or remove, mute or unmute what is there, or list it. To mute also works for what they do not
    follow; to unmute it leaves nothing behind.
    """
    if [remove, mute, unmute, as_list].count(True) > 1:
        raise BadInput("--remove, --mute, --unmute and --list exclude each other; give one of them")
    if as_list:
        await _list(call, user, entity, file, _Filter(muted, kind, after, limit))
        return
    if muted is not None or kind is not None or after:
        raise BadInput("--muted, --heard, --kind and --after say what to list; add --list")
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


async def _list(call: Call, user: str | None, entity: str | None, file: Path | None, which: _Filter) -> None:
    if not user or entity is not None or file is not None:
        raise BadInput("a list is of one user's subscriptions; write hark subscribe bob --list")
    async with call.session(size=1) as session:
        from hark.audience import subscriptions_of

        page = await subscriptions_of(
            session.database, user, which.after, muted=which.muted, kind=which.kind, limit=which.limit
        )
    call.output.table(page, _columns(), empty="no such subscriptions")
    if len(page) == which.limit:
        call.output.note(f"there may be more: add --after {page[-1].entity}")


def _columns() -> list[Column[KnownSubscription]]:
    return [
        Column("entity", lambda line: line.entity),
        Column("since", lambda line: local(line.since)),
        Column("", lambda line: "muted" if line.muted else ""),
    ]


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
