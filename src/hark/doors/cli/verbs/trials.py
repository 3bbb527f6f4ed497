"""What would have happened: replay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hark.doors.cli.frame import HAPPENED, Call, verb
from hark.doors.cli.output import Column, Output

if TYPE_CHECKING:
    from hark.replay import Figures, History, Policy, Progress


@dataclass(frozen=True, slots=True)
class _Replayed:
    """One policy's figures for programs: waits in seconds."""

    policy: str
    events: int
    to_oneself: int
    recipients: int
    messages: int
    user_days: int
    per_user_day_p50: int
    per_user_day_p99: int
    per_user_day_max: int
    wait_p50: timedelta
    wait_p99: timedelta
    wait_max: timedelta
    biggest_batch: int


def add_to(app: typer.Typer) -> None:
    """Hang the verbs into the command."""
    example = "hark replay history.csv --policy immediate --policy cooldown=4m,max_stale=1h --chart chart.html"
    verb(app, "replay", panel=HAPPENED, example=example)(replay)


async def replay(
    call: Call,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV, TSV, spaces or JSON lines: to whom, by whom, when.")
    ],
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy", metavar="POLICY", help="immediate, cooldown=4m[,max_stale=1h], daily@08:00, …; repeat it."
        ),
    ] = None,
    recipient: Annotated[
        str | None, typer.Option("--recipient", metavar="COLUMN", help="Whom it reached: a column's name or number.")
    ] = None,
    actor: Annotated[str | None, typer.Option("--actor", metavar="COLUMN", help="Who did it.")] = None,
    time: Annotated[str | None, typer.Option("--time", metavar="COLUMN", help="When it happened.")] = None,
    zone: Annotated[
        str, typer.Option("--zone", metavar="ZONE", help="The recipients' time zone, an IANA name.")
    ] = "UTC",
    chart: Annotated[
        Path | None, typer.Option("--chart", metavar="FILE", help="Draw the figures into an HTML file.")
    ] = None,
) -> None:
    """What if? A history under each policy: what would have been sent.

    It runs through the real engine on a virtual clock, in a scratch schema that is dropped again.
    """
    from hark.replay import EXAMPLES, Columns, open_history, parse_policies, write_chart

    call.go_on = "nothing of it is kept; run it again"
    policies = parse_policies(policy or EXAMPLES)
    history = open_history(file, Columns(recipient, actor, time))
    figures = await _run(call, history, policies, zone)
    _say(call.output, figures, history.to_oneself)
    if chart is not None:
        write_chart(chart, figures, source=file.name)
        call.output.note(f"drawn in {chart}")


async def _run(call: Call, history: History, policies: Sequence[Policy], zone: str) -> list[Figures]:
    from hark.doors.cli.session import server
    from hark.replay import replay as run

    doing, total = f"replaying {history.events:,} events", history.events * len(policies)
    with server(call.settings, call.output) as dsn, call.output.progress(doing, total) as told:
        return await run(dsn, history, policies, zone=zone, progress=_passed(told))


def _passed(told: Callable[[int], None]) -> Callable[[Progress], None]:
    return lambda progress: told((progress.number - 1) * progress.total + progress.events)


def _say(output: Output, figures: list[Figures], to_oneself: int) -> None:
    if output.json:
        output.table([_replayed(each, to_oneself) for each in figures], [], empty="")
        return
    output.table(figures, _columns(), empty="")
    if to_oneself:
        output.note(f"{to_oneself:,} of the events have their recipient as their actor; they count like the others")


def _columns() -> list[Column[Figures]]:
    from hark.replay.figures import spell

    return [
        Column("policy", lambda figures: _name(figures.policy)),
        Column("events", lambda figures: f"{figures.events:,}", right=True),
        Column("messages", lambda figures: f"{figures.messages:,}", right=True),
        Column("a user a day p50", lambda figures: f"{figures.per_user_day.p50:,}", right=True),
        Column("p99", lambda figures: f"{figures.per_user_day.p99:,}", right=True),
        Column("max", lambda figures: f"{figures.per_user_day.max:,}", right=True),
        Column("wait p50", lambda figures: spell(figures.wait.p50), right=True),
        Column("p99", lambda figures: spell(figures.wait.p99), right=True),
        Column("max", lambda figures: spell(figures.wait.max), right=True),
        Column("biggest batch", lambda figures: f"{figures.biggest_batch:,}", right=True),
    ]


def _name(policy: Policy) -> str:
    return policy.name


def _replayed(figures: Figures, to_oneself: int) -> _Replayed:
    return _Replayed(
        policy=figures.policy.name,
        events=figures.events,
        to_oneself=to_oneself,
        recipients=figures.recipients,
        messages=figures.messages,
        user_days=figures.user_days,
        per_user_day_p50=figures.per_user_day.p50,
        per_user_day_p99=figures.per_user_day.p99,
        per_user_day_max=figures.per_user_day.max,
        wait_p50=figures.wait.p50,
        wait_p99=figures.wait.p99,
        wait_max=figures.wait.max,
        biggest_batch=figures.biggest_batch,
    )
