"""What happened: publish, explain, deliveries, inbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from hark.delivery.states import Result, State
from hark.doors.cli.frame import HAPPENED, Call, verb
from hark.doors.cli.output import Column, local
from hark.doors.cli.reading import json_object, moment, since

if TYPE_CHECKING:
    from hark.doors.reports import DeliveryLine
    from hark.inbox import InboxItem
    from hark.postgres.database import Database

_LARGEST = 2**63 - 1

EventId = Annotated[int, typer.Argument(metavar="EVENT", min=1, max=_LARGEST, help="The event's id.")]
User = Annotated[str, typer.Argument(metavar="USER", help="The recipient's id.")]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="At most so many.")]


@dataclass(frozen=True, slots=True)
class _Published:
    event: int


def add_to(app: typer.Typer) -> None:
    """Hang the verbs into the command."""
    verb(
        app,
        "publish",
        panel=HAPPENED,
        example="""hark publish app_shared --to bob --actor alice --payload '{"app": "GitHub"}'""",
    )(publish)
    verb(app, "explain", panel=HAPPENED, example="hark explain bob 1")(explain)
    verb(app, "deliveries", panel=HAPPENED, example="hark deliveries --state SENT --since 1h")(deliveries)
    verb(app, "inbox", panel=HAPPENED, example="hark inbox bob --unread")(inbox)


async def publish(
    call: Call,
    reason: Annotated[str, typer.Argument(metavar="REASON", help="What kind of thing, as the catalogue names it.")],
    to: Annotated[
        list[str] | None, typer.Option("--to", metavar="USER", help="A recipient to tell; repeat it.")
    ] = None,
    entity: Annotated[
        list[str] | None, typer.Option("--entity", metavar="ENTITY", help="Its subscribers are told; repeat it.")
    ] = None,
    actor: Annotated[str | None, typer.Option("--actor", metavar="USER", help="Who did it.")] = None,
    about: Annotated[str | None, typer.Option("--about", metavar="OBJECT", help="What it is about.")] = None,
    payload: Annotated[
        str | None, typer.Option("--payload", metavar="JSON", help="What templates may want to know.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="Names this event for good: a retry is no new one.")
    ] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="TIME", help="When it happened, in ISO 8601.")] = None,
) -> None:
    """Say that something happened, and print the event's id."""
    told = json_object(payload, "--payload") if payload is not None else None
    occurred_at = moment(at, "--at") if at is not None else None
    async with call.session(size=1, install=True) as session, session.database.connection() as connection:
        from hark.events import apublish

        event = await apublish(
            connection,
            reason,
            to=to or [],
            entities=entity or [],
            actor=actor,
            about=about,
            payload=told,
            key=key,
            occurred_at=occurred_at,
        )
    call.output.show(_Published(event), [str(event)])


async def explain(call: Call, user: User, event: EventId) -> None:
    """Why was a user told of an event, or not, or not yet?"""
    async with call.session(size=1) as session:
        from hark.doors.explain import as_lines
        from hark.doors.explain import explain as answer

        told = await answer(session.database, user, event, await session.database.now(), zone=None)
    call.output.show(told, as_lines(told, zone=None))


async def deliveries(
    call: Call,
    state: Annotated[
        State | None,
        typer.Option("--state", metavar="STATE", case_sensitive=False, help="PENDING, SENDING, SENT or CANCELED."),
    ] = None,
    outcome: Annotated[
        Result | None,
        typer.Option("--outcome", metavar="OUTCOME", case_sensitive=False, help="none, unknown, accepted or refused."),
    ] = None,
    recipient: Annotated[
        str | None, typer.Option("--recipient", metavar="USER", help="Only those to this user.")
    ] = None,
    since_when: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="Only those created since: 1h, or an ISO 8601 time.")
    ] = None,
    before: Annotated[
        int | None, typer.Option("--before", metavar="ID", min=1, max=_LARGEST, help="Only those older than this one.")
    ] = None,
    limit: Limit = 50,
) -> None:
    """List messages, newest first: to whom, in which state, and why."""
    async with call.session(size=1) as session:
        from hark.doors import reports

        now = await session.database.now()
        which = reports.DeliveryFilter(recipient, state, outcome, since(since_when, now) if since_when else None)
        page = await reports.deliveries(session.database, which, before=before or _LARGEST, limit=limit)
    call.output.table(page, _delivery_columns(), empty="no such deliveries")
    if len(page) == limit:
        call.output.note(f"there may be more: add --before {page[-1].id}")


async def inbox(
    call: Call,
    user: User,
    unread: Annotated[bool, typer.Option("--unread", help="Only those not read yet.")] = False,
    archived: Annotated[bool, typer.Option("--archived", help="Those put away too.")] = False,
    read: Annotated[
        list[int] | None,
        typer.Option("--read", metavar="EVENT", min=1, max=_LARGEST, help="Mark this one read; repeat it."),
    ] = None,
    archive: Annotated[
        list[int] | None,
        typer.Option("--archive", metavar="EVENT", min=1, max=_LARGEST, help="Put this one away; repeat it."),
    ] = None,
    before: Annotated[
        int | None, typer.Option("--before", metavar="EVENT", min=1, max=_LARGEST, help="Only those older than this.")
    ] = None,
    limit: Limit = 50,
) -> None:
    """List what a user's inbox shows, newest first, or mark some of it."""
    async with call.session(size=1) as session:
        from hark import inbox as inboxes

        changed = await _mark(session.database, user, read or [], archive or [])
        page = await inboxes.listed(
            session.database, user, before=before or _LARGEST, limit=limit, unread=unread, archived=archived
        )
        waiting = await inboxes.unread(session.database, user)
    call.output.table(page, _inbox_columns(), empty="nothing there")
    done = f"{changed} marked; " if read or archive else ""
    call.output.note(f"{done}{waiting} unread")


async def _mark(database: Database, user: str, read: list[int], archive: list[int]) -> int:
    from hark import inbox as inboxes

    now = await database.now()
    changed = await inboxes.mark_read(database, user, read, now) if read else 0
    return changed + (await inboxes.archive(database, user, archive, now) if archive else 0)


def _delivery_columns() -> list[Column[DeliveryLine]]:
    return [
        Column("id", lambda line: line.id, right=True),
        Column("recipient", lambda line: line.recipient_id),
        Column("channel", lambda line: line.channel),
        Column("state", lambda line: line.state),
        Column("outcome", lambda line: "" if line.outcome == Result.NONE else line.outcome),
        Column("items", lambda line: line.items, right=True),
        Column("attempt", lambda line: line.attempt, right=True),
        Column("due", lambda line: local(line.due_at)),
        Column("changed", lambda line: local(line.changed_at)),
        Column("why", lambda line: line.why),
    ]


def _inbox_columns() -> list[Column[InboxItem]]:
    return [
        Column("event", lambda item: item.event_id, right=True),
        Column("when", lambda item: local(item.occurred_at)),
        Column("title", lambda item: item.title),
        Column("actor", lambda item: item.actor or ""),
        Column("about", lambda item: item.about or ""),
        Column("", _standing),
    ]


def _standing(item: InboxItem) -> str:
    if item.archived_at is not None:
        return "archived"
    return "read" if item.read_at is not None else "unread"
