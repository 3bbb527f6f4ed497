"""What all kinds of backfills have in common at the command line: whose, and from words to a plan that is applied."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import Call
from hark.doors.cli.output import Told
from hark.doors.cli.verbs.backfill_words import say

if TYPE_CHECKING:
    from hark.backfill.cohort import CohortWords
    from hark.backfill.ordering import Ordered
    from hark.doors.cli.backfilling import Bench

Texts = list[str] | None

Users = Annotated[Texts, typer.Option("--ids", metavar="IDS", help="These users, with commas.")]
Urls = Annotated[Texts, typer.Option("--from", metavar="URL", help="Those in an object: s3://bucket/key.")]
Segments = Annotated[Texts, typer.Option("--segment", metavar="NAME", help="Those of a segment.")]
ExceptUsers = Annotated[Texts, typer.Option("--except-ids", metavar="IDS", help="But not these.")]
ExceptFiles = Annotated[Texts, typer.Option("--except-file", metavar="FILE", help="But not those in a file or object.")]
ExceptSegments = Annotated[Texts, typer.Option("--except-segment", metavar="NAME", help="But not those of a segment.")]
IdColumn = Annotated[
    str | None, typer.Option("--column", metavar="COLUMN", help="Which column of the files has the ids; else id.")
]
FileFormat = Annotated[
    str | None, typer.Option("--format", metavar="FORMAT", help="csv, lines or parquet; else as it looks.")
]
ApplyNow = Annotated[bool, typer.Option("--apply", help="Apply the plan at once; else it is only shown.")]


@dataclass(frozen=True, slots=True)
class Named:
    """Users that options name."""

    everyone: bool = False
    ids: Texts = None
    files: Texts = None
    urls: Texts = None
    segments: Texts = None
    flags: Texts = None


@dataclass(frozen=True, slots=True)
class Excepted:
    """Users that options leave out, and how files are read."""

    ids: Texts
    files: Texts
    segments: Texts
    column: str | None
    format: str | None


def cohort(named: Named, excepted: Excepted) -> CohortWords:
    """Whom these options mean."""
    from hark.backfill.cohort import CohortWords

    return CohortWords(
        everyone=named.everyone,
        ids=named.ids or (),
        files=named.files or (),
        urls=named.urls or (),
        segments=named.segments or (),
        flags=named.flags or (),
        except_ids=excepted.ids or (),
        except_files=excepted.files or (),
        except_segments=excepted.segments or (),
        column=excepted.column,
        format=excepted.format,
    )


async def read_and_apply(
    call: Call,
    at: Bench,
    order: Callable[[Told], Coroutine[Any, Any, Ordered]],
    who: str,
    *,
    detach: bool,
    warnings: Sequence[str] = (),
) -> ExitCode:
    """Read the cohort of what is ordered, plan that, show it, and apply it if that is asked for.

    Args:
        order: writes down what is asked for; told how many rows of the cohort were read by now.
        warnings: what was seen of it, and stops nothing.
    """
    with call.output.progress("reading the cohort") as told:
        ordered = await at.stop.unless_told(order(told))
    if ordered is None:
        call.go_on = "nothing was planned; run the same command again"
        return at.stop.end(call)
    return await _plan_and_apply(call, at, ordered, who, detach=detach, warnings=warnings)


async def _plan_and_apply(
    call: Call, at: Bench, ordered: Ordered, who: str, *, detach: bool, warnings: Sequence[str]
) -> ExitCode:
    from hark.doors.cli import backfill_pages as pages
    from hark.doors.cli import backfilling

    call.go_on = pages.planned_by(ordered.backfill)
    plan = replace(await backfilling.plan(at, ordered.backfill), warnings=tuple(warnings))
    if at.stop.event.is_set():
        return at.stop.end(call)
    if not ordered.apply or not backfilling.is_good(plan):
        call.output.show(plan, pages.plan(plan, ordered.staged))
        return ExitCode.DONE if backfilling.is_good(plan) else ExitCode.NOT_GOOD
    for line in pages.plan(plan, ordered.staged):
        call.output.note(line)
    code = await backfilling.start(at, ordered.backfill, who, plan.head.hash, detach=detach)
    await say(call, at.database, ordered.backfill)
    return code
