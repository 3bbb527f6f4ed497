"""`hark backfill preferences`: what to add for whom, how fast; shown first, then applied."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import Call
from hark.doors.cli.verbs.backfill_words import Adaptive, Detach, Hours, Who, names_of, say, who_does_it

if TYPE_CHECKING:
    from hark.backfill.cohort import CohortWords
    from hark.backfill.ordering import Ordered, PreferenceWords
    from hark.doors.cli.backfilling import Bench

Texts = list[str] | None

Reasons = Annotated[Texts, typer.Option("--reason", metavar="REASON", help="For this reason; repeat it.")]
Channels = Annotated[
    str | None, typer.Option("--channels", metavar="NAMES", help="What to add, in this order: push,in_app.")
]
UserTypes = Annotated[
    str | None, typer.Option("--user-types", metavar="TYPES", help="Only users of these: Students,Employers.")
]
Everyone = Annotated[bool, typer.Option("--all", help="All users of the types. Nobody named is nobody, never all.")]
Users = Annotated[Texts, typer.Option("--ids", metavar="IDS", help="These users, with commas.")]
Files = Annotated[Texts, typer.Option("--file", metavar="FILE", help="Those in a CSV, text or Parquet file.")]
Urls = Annotated[Texts, typer.Option("--from", metavar="URL", help="Those in an object: s3://bucket/key.")]
Segments = Annotated[Texts, typer.Option("--segment", metavar="NAME", help="Those of a segment.")]
Flags = Annotated[Texts, typer.Option("--flag", metavar="NAME", help="Whoever a flag lets in.")]
ExceptUsers = Annotated[Texts, typer.Option("--except-ids", metavar="IDS", help="But not these.")]
ExceptFiles = Annotated[Texts, typer.Option("--except-file", metavar="FILE", help="But not those in a file or object.")]
ExceptSegments = Annotated[Texts, typer.Option("--except-segment", metavar="NAME", help="But not those of a segment.")]
IdColumn = Annotated[
    str | None, typer.Option("--column", metavar="COLUMN", help="Which column of the files has the ids; else id.")
]
FileFormat = Annotated[
    str | None, typer.Option("--format", metavar="FORMAT", help="csv, lines or parquet; else as it looks.")
]
Rate = Annotated[
    str | None, typer.Option("--rate", metavar="N", help="Users a second at most; else as the database bears.")
]
CreateRows = Annotated[bool, typer.Option("--create-rows", help="Also for users who have no preferences at all yet.")]
BatchSize = Annotated[str | None, typer.Option("--batch-size", metavar="N", help="Users a transaction; else 500.")]
ApplyNow = Annotated[bool, typer.Option("--apply", help="Apply the plan at once; else it is only shown.")]


@dataclass(frozen=True, slots=True)
class _Named:
    """Users that options name."""

    ids: Texts
    files: Texts
    segments: Texts
    flags: Texts = None


@dataclass(frozen=True, slots=True)
class _Read:
    """How files are read."""

    column: str | None
    format: str | None


@dataclass(frozen=True, slots=True)
class _Change:
    """What is added, for whom of the cohort."""

    reasons: Texts
    channels: Sequence[str]
    user_types: Sequence[str]
    create_rows: bool


@dataclass(frozen=True, slots=True)
class _Going:
    """How it is gone about."""

    batch_size: str | None
    rate: str | None
    adaptive: bool
    window: str | None
    apply: bool


async def preferences(
    call: Call,
    reason: Reasons = None,
    channels: Channels = None,
    user_types: UserTypes = None,
    everyone: Everyone = False,
    ids: Users = None,
    file: Files = None,
    url: Urls = None,
    segment: Segments = None,
    flag: Flags = None,
    except_ids: ExceptUsers = None,
    except_file: ExceptFiles = None,
    except_segment: ExceptSegments = None,
    column: IdColumn = None,
    file_format: FileFormat = None,
    create_rows: CreateRows = False,
    batch_size: BatchSize = None,
    rate: Rate = None,
    adaptive: Adaptive = True,
    window: Hours = None,
    apply_now: ApplyNow = False,
    detach: Detach = False,
    who: Who = None,
) -> ExitCode:
    """Add channels to what many users chose for some reasons: shown first, then applied.

    Without --apply nothing is changed: what would be is stored as a plan, for hark backfill apply.
    """
    named, excepted = _Named(ids, file, segment, flag), _Named(except_ids, except_file, except_segment)
    cohort = _cohort(named, excepted, _Read(column, file_format), urls=url, everyone=everyone)
    change = _Change(reason, names_of(channels), names_of(user_types), create_rows)
    words = _words(change, cohort, _Going(batch_size, rate, adaptive, window, apply_now))
    return await _order(call, words, who_does_it(who), detach=detach)


def _cohort(named: _Named, excepted: _Named, read: _Read, *, urls: Texts, everyone: bool) -> CohortWords:
    from hark.backfill.cohort import CohortWords

    return CohortWords(
        everyone=everyone,
        ids=named.ids or (),
        files=named.files or (),
        urls=urls or (),
        segments=named.segments or (),
        flags=named.flags or (),
        except_ids=excepted.ids or (),
        except_files=excepted.files or (),
        except_segments=excepted.segments or (),
        column=read.column,
        format=read.format,
    )


def _words(change: _Change, cohort: CohortWords, going: _Going) -> PreferenceWords:
    from hark.backfill.ordering import PreferenceWords

    return PreferenceWords(
        reasons=change.reasons or (),
        channels=change.channels,
        user_types=change.user_types,
        cohort=cohort,
        create_rows=change.create_rows,
        batch_size=going.batch_size,
        rate=going.rate,
        adaptive=going.adaptive,
        window=going.window,
        apply=going.apply,
    )


async def _order(call: Call, words: PreferenceWords, who: str, *, detach: bool) -> ExitCode:
    from hark.backfill.ordering import order_preferences
    from hark.doors.cli import backfilling

    _check(call, words, who)
    async with backfilling.bench(call, install=True) as at:
        with call.output.progress("reading the cohort") as told:
            reading = order_preferences(
                at.database,
                at.session.need_catalogue(),
                words,
                who=who,
                now=at.clock.now(),
                reach=at.reach,
                environment=os.environ,
                progress=told,
            )
            ordered = await at.stop.unless_told(reading)
        if ordered is None:
            call.go_on = "nothing was planned; run the same command again"
            return at.stop.end(call)
        return await plan_and_apply(call, at, ordered, who, detach=detach)


def _check(call: Call, words: PreferenceWords, who: str) -> None:
    """A slip of the pen is told at once, and not after Hark's own Postgres was started."""
    from hark.backfill.cohort import CohortWords, both_said
    from hark.backfill.ordering import check_words
    from hark.catalogue import load_catalogue
    from hark.doors.cli.backfilling import reach_of

    if call.settings.catalogue is not None:
        catalogue = load_catalogue(call.settings.catalogue, os.environ)
        check_words(catalogue, words, who=who, reach=reach_of(call), environment=os.environ)
    if isinstance(words.cohort, CohortWords) and (said := both_said(words.cohort, os.environ)):
        call.output.note(said)


async def plan_and_apply(call: Call, at: Bench, ordered: Ordered, who: str, *, detach: bool) -> ExitCode:
    """Plan what was ordered, show it, and apply it if that is asked for."""
    from hark.doors.cli import backfill_pages as pages
    from hark.doors.cli import backfilling

    call.go_on = f"hark backfill apply {ordered.backfill} once it is planned; workers plan it by themselves"
    plan = await backfilling.plan(at, ordered.backfill)
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
