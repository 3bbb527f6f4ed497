"""Who: recipients."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hark.doors.cli.frame import WHO, Call, verb
from hark.doors.cli.output import Column
from hark.doors.cli.reading import json_object, parsed

if TYPE_CHECKING:
    from hark.audience import KnownRecipient
    from hark.doors.cli.session import Session
    from hark.doors.files import Known

CHUNK = 5000


@dataclass(frozen=True, slots=True)
class _Written:
    written: int


def add_to(app: typer.Typer) -> None:
    """Hang the verbs into the command."""
    group = typer.Typer(help="Who can be told: bring them, list them, put one.", rich_markup_mode=None)
    verb(group, "import", panel=WHO, example="hark recipients import people.csv")(bring)
    verb(group, "list", panel=WHO, example="hark recipients list --type Students --limit 20")(show)
    verb(
        group,
        "put",
        panel=WHO,
        example="hark recipients put bob --type Students --address bob@acme.example --confirmed",
    )(put)
    app.add_typer(group, name="recipients", rich_help_panel=WHO)


async def bring(
    call: Call,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV with a line of columns' names, or JSON lines.")],
) -> None:
    """Create or replace recipients from a file.

    If any line of it is faulty, none; all faults are told with their lines. Columns: id, user_type, and if you like
    address, confirmed, opted_in, active, zone, locale, digest_at, digest_weekday, attributes (a JSON object) or
    attributes.NAME.
    """
    async with call.session(size=2, install=True) as session:
        from hark.audience import put_recipients
        from hark.doors.files import open_recipients

        people = open_recipients(file, await _known(session))
        now = await session.database.now()
        written = 0
        call.go_on = "what was written stays; run it again for the rest: doing so twice does no harm"
        with call.output.progress("recipients", people.rows) as told:
            for chunk in people.chunks(CHUNK):
                await put_recipients(session.database, chunk, now)
                written += len(chunk)
                told(written)
    call.output.show(_Written(written), [f"{written:,} recipients written"])


async def show(
    call: Call,
    user_type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only those of this type.")] = None,
    after: Annotated[str, typer.Option("--after", metavar="USER", help="Only those behind this id.")] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="At most so many.")] = 50,
) -> None:
    """List recipients, with what stands in the way of e-mail."""
    async with call.session(size=1) as session:
        from hark.audience import recipients_after

        page = await recipients_after(session.database, after, user_type=user_type, limit=limit)
    call.output.table(page, _columns(), empty="no such recipients")
    if len(page) == limit:
        call.output.note(f"there may be more: add --after {page[-1].id}")


async def put(
    call: Call,
    user: Annotated[str, typer.Argument(metavar="USER", help="The recipient's id.")],
    user_type: Annotated[str, typer.Option("--type", metavar="TYPE", help="As the catalogue names it.")],
    address: Annotated[str | None, typer.Option("--address", metavar="ADDRESS", help="Where e-mail goes.")] = None,
    confirmed: Annotated[bool, typer.Option("--confirmed/--unconfirmed", help="The address is theirs.")] = False,
    opted_in: Annotated[bool, typer.Option("--opted-in/--opted-out", help="They agreed to be written to.")] = True,
    active: Annotated[bool, typer.Option("--active/--inactive", help="They may be told at all.")] = True,
    zone: Annotated[str, typer.Option("--zone", metavar="ZONE", help="Their time zone, an IANA name.")] = "UTC",
    locale: Annotated[str, typer.Option("--locale", metavar="TAG", help="Their language, as de-AT.")] = "en",
    attributes: Annotated[
        str | None, typer.Option("--attributes", metavar="JSON", help="What templates may want to know of them.")
    ] = None,
    digest_at: Annotated[
        str | None, typer.Option("--digest-at", metavar="HH:MM", help="When their daily and weekly messages come.")
    ] = None,
    digest_weekday: Annotated[
        str | None, typer.Option("--digest-weekday", metavar="DAY", help="On which day their weekly ones come.")
    ] = None,
) -> None:
    """Create or replace one recipient; what waits for the morning comes at theirs."""
    from hark.audience import Recipient, put_recipients
    from hark.doors.files import check_address
    from hark.durations import parse_local_time, parse_weekday

    if address is not None:
        check_address(address)
    person = Recipient(
        user,
        user_type,
        address,
        confirmed,
        opted_in,
        active,
        zone,
        locale,
        json_object(attributes, "--attributes") if attributes is not None else {},
        parsed(digest_at, parse_local_time, "--digest-at"),
        parsed(digest_weekday, parse_weekday, "--digest-weekday"),
    )
    async with call.session(size=1, install=True) as session:
        await put_recipients(session.database, [person], await session.database.now())
    call.output.show(_Written(1), [f"{user} written"])


async def _known(session: Session) -> Known:
    from hark.doors import reports
    from hark.doors.files import Known

    user_types = await reports.user_types(session.database)
    return Known(frozenset(user_types), await reports.zones(session.database))


def _columns() -> list[Column[KnownRecipient]]:
    return [
        Column("id", lambda person: person.id),
        Column("type", lambda person: person.user_type),
        Column("address", lambda person: person.address or ""),
        Column("e-mail", lambda person: person.reach.replace("_", " ")),
        Column("zone", lambda person: person.zone),
        Column("locale", lambda person: person.locale),
        Column("morning", _morning),
    ]


def _morning(person: KnownRecipient) -> str:
    from hark.durations import format_local_time, format_weekday

    at = "" if person.digest_at is None else format_local_time(person.digest_at)
    day = "" if person.digest_weekday is None else format_weekday(person.digest_weekday)
    return f"{at} {day}".strip()
