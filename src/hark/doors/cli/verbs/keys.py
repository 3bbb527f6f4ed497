"""Who may come in by HTTP: keys, and what was done with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from hark.doors.cli.frame import WHO, Call, verb
from hark.doors.cli.output import Column, local
from hark.errors import BadInput

if TYPE_CHECKING:
    from hark.access.audit import Act, Entry
    from hark.access.keys import NewKey
    from hark.postgres.database import Database

_LARGEST = 2**63 - 1

KeyName = Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is, as web-shop.")]
Expires = Annotated[
    str | None, typer.Option("--expires", metavar="DURATION", help="After which it opens nothing, as 90d; none: never.")
]


@dataclass(frozen=True, slots=True)
class _Made:
    """A new key for programs."""

    name: str
    key: str
    scopes: Sequence[str]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Revoked:
    name: str
    revoked: int


@dataclass(frozen=True, slots=True)
class _Listed:
    """A key for programs."""

    name: str
    standing: str
    prefix: str
    scopes: Sequence[str]
    created_at: datetime
    expires_at: datetime | None
    replaced_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


def add_to(app: typer.Typer) -> None:
    """Hang the verbs into the command."""
    group = typer.Typer(help="Who may come in by HTTP: make keys, replace, revoke them.", rich_markup_mode=None)
    verb(group, "create", panel=WHO, example="hark keys create web-shop --scopes publish,read --expires 90d")(create)
    verb(group, "list", panel=WHO, example="hark keys list")(show)
    verb(group, "rotate", panel=WHO, example="hark keys rotate shop --grace 1h")(rotate)
    verb(group, "revoke", panel=WHO, example="hark keys revoke shop")(revoke)
    verb(group, "audit", panel=WHO, example="hark keys audit --what key.create --limit 20")(audit)
    app.add_typer(group, name="keys", rich_help_panel=WHO)


async def create(
    call: Call,
    name: KeyName,
    scopes: Annotated[
        str,
        typer.Option("--scopes", metavar="SCOPES", help="What it allows: publish,subscribe,read,backfill,flags,audit."),
    ],
    expires: Expires = None,
) -> None:
    """Make a key, and print it: this once, for only its hash is kept."""
    from hark.access import keys
    from hark.access.audit import Act

    wanted = keys.parse_scopes(scopes)
    lasts = _lasts(expires)
    async with call.session(size=1) as session, session.database.as_one() as one:
        now = await one.now()
        new = await keys.create(one, name, wanted, now, expires_at=_after(now, lasts))
        await _note(one, now, Act.KEY_CREATE, name, {"scopes": list(wanted)})
    _say_new(call, new)


async def rotate(
    call: Call,
    name: KeyName,
    grace: Annotated[
        str, typer.Option("--grace", metavar="DURATION", help="How long the old key still opens; 0s: not at all.")
    ] = "1d",
    expires: Expires = None,
) -> None:
    """Make a new key for the same name and scopes, and print it; the old one still opens for a while."""
    from hark.access import keys
    from hark.access.audit import Act
    from hark.durations import parse_duration

    while_open, lasts = parse_duration(grace), _lasts(expires)
    async with call.session(size=1) as session, session.database.as_one() as one:
        now = await one.now()
        until = _after(now, while_open)
        assert until is not None
        new = await keys.rotate(one, name, now, grace=until - now, expires_at=_after(now, lasts))
        await _note(one, now, Act.KEY_ROTATE, name, {"grace": grace})
    _say_new(call, new)
    call.output.note(f"the old key opens until {local(until)}")


async def revoke(call: Call, name: KeyName) -> None:
    """Close all keys of a name, at once and for good."""
    from hark.access import keys
    from hark.access.audit import Act

    async with call.session(size=1) as session, session.database.as_one() as one:
        now = await one.now()
        revoked = await keys.revoke(one, name, now)
        await _note(one, now, Act.KEY_REVOKE, name, {"revoked": revoked})
    call.output.show(_Revoked(name, revoked), [f"{name}: {revoked} revoked"])


async def show(call: Call) -> None:
    """List all keys that there ever were: how they stand, what they allow, when they were used last."""
    from hark.access import keys

    async with call.session(size=1) as session:
        now = await session.database.now()
        listed = [_Listed(standing=key.standing(now), **asdict(key)) for key in await keys.listed(session.database)]
    call.output.table(listed, list(_key_columns()), empty="no keys: hark keys create NAME --scopes publish,read")


async def audit(
    call: Call,
    who: Annotated[str | None, typer.Option("--who", metavar="NAME", help="Only what was done with this key.")] = None,
    what: Annotated[
        str | None, typer.Option("--what", metavar="ACT", help="Only this kind of change, as key.create.")
    ] = None,
    before: Annotated[
        int | None, typer.Option("--before", metavar="ID", min=1, max=_LARGEST, help="Only lines older than this one.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="At most so many.")] = 50,
) -> None:
    """List who changed what over HTTP, newest first, and who made and closed keys."""
    from hark.access import audit as log

    kind = _act(what) if what else None
    async with call.session(size=1) as session:
        page = await log.listed(session.database, who=who, what=kind, before=before or _LARGEST, limit=limit)
    call.output.table(page, list(_audit_columns()), empty="no such changes")
    if len(page) == limit:
        call.output.note(f"there may be more: add --before {page[-1].id}")


def _say_new(call: Call, new: NewKey) -> None:
    call.output.show(_Made(new.name, new.key, new.scopes, new.expires_at), [new.key])
    call.output.note(f"keep it: it is not shown again. It allows {', '.join(new.scopes)}.")


async def _note(database: Database, now: datetime, what: Act, name: str, detail: dict[str, object]) -> None:
    import getpass

    from hark.access import audit as log

    await log.record(database, now, f"cli:{getpass.getuser()}", what, f"key:{name}", detail)


def _act(text: str) -> Act:
    from hark.access.audit import Act
    from hark.catalogue.wording import no_such, quoted

    if text not in set(Act):
        raise BadInput(f"--what: {quoted(text)}: {no_such('kind of change', text, Act)}")
    return Act(text)


def _lasts(expires: str | None) -> timedelta | None:
    from hark.durations import parse_duration

    return None if expires is None else parse_duration(expires)


def _after(now: datetime, duration: timedelta | None) -> datetime | None:
    try:
        return None if duration is None else now + duration
    except OverflowError:
        raise BadInput("that is after the calendar ends; write less, or nothing for never") from None


def _key_columns() -> Iterator[Column[_Listed]]:
    yield Column("name", lambda key: key.name)
    yield Column("standing", lambda key: key.standing)
    yield Column("scopes", lambda key: ", ".join(key.scopes))
    yield Column("prefix", lambda key: key.prefix)
    yield Column("created", lambda key: local(key.created_at))
    yield Column("expires", lambda key: local(key.expires_at))
    yield Column("used", lambda key: local(key.last_used_at))


def _audit_columns() -> Iterator[Column[Entry]]:
    yield Column("id", lambda line: line.id, right=True)
    yield Column("when", lambda line: local(line.at))
    yield Column("who", lambda line: line.who)
    yield Column("what", lambda line: line.what)
    yield Column("target", lambda line: line.target)
    yield Column("detail", lambda line: ", ".join(f"{name}={value}" for name, value in line.detail.items()))
