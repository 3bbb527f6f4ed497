"""What people buy, as it happens: taken from Kafka or from files; how far behind that is; what could not be taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import HISTORY, INGESTING, Call, verb
from hark.doors.cli.output import Column, local
from hark.doors.cli.verbs import ingest_dead
from hark.doors.cli.verbs.backfill_words import Who, who_does_it

if TYPE_CHECKING:
    from hark.history.live.lag import GroupLag, LagReport, PartitionLag

NO_BROKERS = "no brokers are set, so there is no lag to look at; HARK_KAFKA_BROKERS=HOST:9092 sets them"


class _RunByItself(TyperGroup):
    """`hark ingest` and `hark ingest FILE` are `hark ingest run`; a file that is called like a verb is ./verb."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@dataclass(frozen=True, slots=True)
class _Switched:
    paused: bool
    turned: bool


def add_to(app: typer.Typer) -> None:
    """Hang the verbs into the command."""
    told = "Take what people buy, as it happens: from Kafka, or a file of JSON lines. run, unless told otherwise."
    group = typer.Typer(help=told, cls=_RunByItself, rich_markup_mode=None)
    verb(group, "run", panel=HISTORY, example="hark ingest run purchases.jsonl", of=INGESTING)(run)
    verb(group, "pause", panel=HISTORY, example="hark ingest pause")(pause)
    verb(group, "resume", panel=HISTORY, example="hark ingest resume")(resume)
    ingest_dead.add_to(group)
    app.add_typer(group, name="ingest", rich_help_panel=HISTORY)
    verb(app, "lag", panel=HISTORY, example="hark lag --between 1s", of=("kafka_brokers", "kafka_options"))(lag)


async def run(
    call: Call,
    file: Annotated[
        str | None,
        typer.Argument(metavar="FILE", help="JSON lines, a message each; - is stdin; none: Kafka, until told to stop."),
    ] = None,
    topic: Annotated[
        str | None,
        typer.Option("--topic", metavar="TOPIC", help="Of a file whose lines are values alone."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Under which its position is kept; else the file's.")
    ] = None,
) -> ExitCode:
    """Take what people buy, as it happens: from Kafka, or from a file of JSON lines.

    As many processes as there are partitions share Kafka's; each line of a file is taken once, however often it is
    run, and one that is only half written when it is whole. Of stdin what is there is taken, though it goes on. What
    cannot be taken is kept: hark ingest dead. SIGTERM and SIGINT finish the chunk under way.
    """
    from hark.doors.cli.ingesting import run_file, run_kafka

    return await (run_kafka(call, topic, name) if file is None else run_file(call, file, topic, name))


async def pause(call: Call, who: Who = None) -> None:
    """Take nothing more, in all processes, within two seconds.

    Chunks under way are finished, and all stay members of their groups.
    """
    from hark.history.live import switch

    async with call.session(size=1) as session:
        turned = await switch.pause(session.database, who_does_it(who), now=await session.database.now())
    said = "ingestion is paused; hark ingest resume"
    call.output.show(_Switched(True, turned), [said if turned else f"so it was already: {said}"])


async def resume(call: Call) -> None:
    """Go on where it was paused."""
    from hark.history.live import switch

    async with call.session(size=1) as session:
        turned = await switch.resume(session.database)
    said = "ingestion goes on"
    call.output.show(_Switched(False, turned), [said if turned else f"so it was already: {said}"])


async def lag(
    call: Call,
    between: Annotated[
        str, typer.Option("--between", metavar="DURATION", help="How long to wait for the second look.")
    ] = "3s",
) -> ExitCode:
    """How far each group is behind its topic, by partition, and whether that grows.

    Exit code 1: nobody is in a group, be it behind or not, or its lag cannot be read; 3: no broker answers. A lag that
    grows is a warning. What a load brings is right whatever the lag is.
    """
    from hark.durations import parse_duration
    from hark.history.live.lag import preflight

    wait = parse_duration(between)
    async with call.session(size=1) as session:
        report = await preflight(session.database, call.settings, between=wait)
    _show(call, report)
    if report.unreachable:
        return ExitCode.UNREACHABLE
    return ExitCode.DONE if report.is_good else ExitCode.NOT_GOOD


def _show(call: Call, report: LagReport) -> None:
    if call.output.json or not report.configured:
        call.output.show(report, [NO_BROKERS])
        return
    rows = [(group, each) for group in report.groups for each in group.partitions]
    call.output.table(rows, _columns(), empty="no partitions")
    for said in (*report.faults, *report.warnings):
        call.output.note(said)


def _columns() -> list[Column[tuple[GroupLag, PartitionLag]]]:
    return [
        Column("group", lambda row: row[0].group),
        Column("", lambda row: f"{row[0].state} ({row[0].members})"),
        Column("topic", lambda row: row[0].topic),
        Column("partition", lambda row: row[1].partition, right=True),
        Column("position", lambda row: f"{row[1].position:,}", right=True),
        Column("end", lambda row: f"{row[1].end:,}", right=True),
        Column("lag", lambda row: f"{row[1].lag:,}", right=True),
        Column("", lambda row: "grows" if row[1].grows else ""),
        Column("moved", lambda row: local(row[1].moved_at)),
    ]
