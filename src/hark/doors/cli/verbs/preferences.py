"""How they want to be told: preferences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from hark.doors.cli.frame import WHO, Call, verb
from hark.doors.cli.output import Column
from hark.errors import BadInput

if TYPE_CHECKING:
    from hark.catalogue import Channel, Frequency
    from hark.doors.reports import PreferenceLine

User = Annotated[str, typer.Argument(metavar="USER", help="The recipient's id.")]
Reason = Annotated[str, typer.Argument(metavar="REASON", help="As the catalogue names it.")]

NO_CHANNELS = "none"


@dataclass(frozen=True, slots=True)
class _Chosen:
    recipient: str
    reason: str
    channels: list[str] | None
    frequency: str | None


def add_to(app: typer.Typer) -> None:
    """Hang the verbs into the command."""
    group = typer.Typer(help="How they want to be told: show it, set it, back to the defaults.", rich_markup_mode=None)
    verb(group, "show", panel=WHO, example="hark preferences show bob")(show)
    verb(group, "set", panel=WHO, example="hark preferences set bob app_shared --channels email --frequency daily")(put)
    verb(group, "reset", panel=WHO, example="hark preferences reset bob app_shared")(reset)
    app.add_typer(group, name="preferences", rich_help_panel=WHO)


async def show(call: Call, user: User) -> None:
    """List what holds for a user, reason by reason: by which channels, how often, and by which rule.

    A star marks what they chose themselves.
    """
    async with call.session(size=1, install=True) as session:
        from hark.doors import reports

        lines = await reports.preferences(session.database, user)
    if not lines:
        raise BadInput(f"there is no recipient {user}, or no reason; hark recipients list, hark catalogue show")
    call.output.table(lines, _columns(), empty="no reasons")


async def put(
    call: Call,
    user: User,
    reason: Reason,
    channels: Annotated[
        str | None, typer.Option("--channels", metavar="CHANNELS", help="email, in_app, push with commas; or none.")
    ] = None,
    frequency: Annotated[
        str | None,
        typer.Option(
            "--frequency",
            metavar="FREQUENCY",
            help="never, immediate, batched, daily or weekly; what waits moves along.",
        ),
    ] = None,
) -> None:
    """Store a user's own choice for a reason; what is not given stays as it was."""
    wanted = None if channels is None else _channels(channels)
    often = None if frequency is None else _frequency(frequency)
    if wanted is None and often is None:
        raise BadInput("nothing chosen; give --channels email,in_app, or --frequency daily, or both")
    async with call.session(size=1, install=True) as session:
        from hark import preferences

        now = await session.database.now()
        await preferences.choose(session.database, user, reason, now, channels=wanted, frequency=often)
    named = None if wanted is None else [str(channel) for channel in wanted]
    call.output.show(_Chosen(user, reason, named, often), [f"{user}: {reason} is as chosen"])


async def reset(call: Call, user: User, reason: Reason) -> None:
    """Forget a user's own choice for a reason: the catalogue's defaults hold again."""
    async with call.session(size=1, install=True) as session:
        from hark import preferences

        await preferences.unchoose(session.database, user, reason, await session.database.now())
    call.output.show(_Chosen(user, reason, None, None), [f"{user}: the defaults of {reason} hold again"])


def _channels(text: str) -> list[Channel]:
    from hark.catalogue import Channel, no_such

    names = [] if text == NO_CHANNELS else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in list(Channel):
            what = no_such("channel", name, list(Channel))
            raise BadInput(f"--channels: {name!r}: {what}; write email,in_app or {NO_CHANNELS}")
    return [Channel(name) for name in dict.fromkeys(names)]


def _frequency(text: str) -> Frequency:
    from hark.catalogue import Frequency, no_such

    name = text.lower()
    if name not in list(Frequency):
        raise BadInput(f"--frequency: {text!r}: {no_such('frequency', name, list(Frequency))}")
    return Frequency(name)


def _columns() -> list[Column[PreferenceLine]]:
    return [
        Column("reason", lambda line: line.reason),
        Column("title", lambda line: line.title),
        Column("channels", lambda line: f"{', '.join(line.channels) or '-'}{'*' * line.own_channels}"),
        Column("frequency", lambda line: f"{line.frequency or '-'}{'*' * line.own_frequency}"),
        Column("by", lambda line: line.why.replace("_", " ")),
    ]
