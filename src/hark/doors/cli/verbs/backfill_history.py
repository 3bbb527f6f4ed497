"""`hark backfill history`: whose purchases to load, how far back, how fast; shown first, then applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import Call
from hark.doors.cli.verbs.backfill_preferences import (
    ApplyNow,
    ExceptFiles,
    ExceptSegments,
    ExceptUsers,
    FileFormat,
    IdColumn,
    Segments,
    Texts,
    Urls,
    Users,
    plan_and_apply,
)
from hark.doors.cli.verbs.backfill_words import Adaptive, Detach, Hours, Who, who_does_it
from hark.errors import BadInput, HarkError, Unreachable

if TYPE_CHECKING:
    from hark.backfill.cohort import CohortWords
    from hark.backfill.loads import LoadWords
    from hark.doors.cli.backfilling import Bench

Everyone = Annotated[bool, typer.Option("--all", help="All users that Hark knows. Nobody named is nobody, never all.")]
Files = Annotated[
    Texts, typer.Option("--file", "--user-file", metavar="FILE", help="Those in a text, CSV or Parquet file.")
]
MembersOf = Annotated[Texts, typer.Option("--members-of", metavar="FLAG", help="Whoever a flag lets in already.")]
Source = Annotated[str | None, typer.Option("--source", metavar="SOURCE", help="neo4j: everyone in the graph.")]
ResumeFrom = Annotated[
    str | None,
    typer.Option(
        "--resume-from", metavar="FILE", help="Only those whom an earlier run left, as show --left wrote them."
    ),
]
FlagToSet = Annotated[
    str | None, typer.Option("--flag", metavar="FLAG", help="Let them in by this flag first, and wait until it is so.")
]
LookbackDays = Annotated[int, typer.Option("--lookback-days", metavar="N", help="How far back.")]
RateLimit = Annotated[
    int, typer.Option("--rate-limit", metavar="N", help="Users, and requests to each source, a second; all workers.")
]
Force = Annotated[bool, typer.Option("--force", help="Also who was loaded within 7 days.")]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", metavar="N", help="Users a batch; else ten seconds of them.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only plan; so it is without --apply anyway.")]
IgnoreLag = Annotated[
    bool,
    typer.Option("--ignore-lag", help="Plan though the stream's consumers are behind or away."),
]
QueueUrl = Annotated[
    str | None,
    typer.Option("--queue-url", metavar="URL", help="Drive its steps through this SQS queue; else through Postgres."),
]

LAGGING = (
    "nothing was planned; mend that and run it again, or add --ignore-lag: what a load brings is right at any lag, but"
    " it ends only when the stream has passed where it was"
)


@dataclass(frozen=True, slots=True)
class _Named:
    """Users that options name."""

    everyone: bool
    ids: Texts
    files: Texts
    urls: Texts
    segments: Texts
    flags: Texts


@dataclass(frozen=True, slots=True)
class _Excepted:
    """Users that options leave out, and how files are read."""

    ids: Texts
    files: Texts
    segments: Texts
    column: str | None
    format: str | None


async def history(
    call: Call,
    everyone: Everyone = False,
    ids: Users = None,
    file: Files = None,
    url: Urls = None,
    segment: Segments = None,
    members_of: MembersOf = None,
    source: Source = None,
    except_ids: ExceptUsers = None,
    except_file: ExceptFiles = None,
    except_segment: ExceptSegments = None,
    column: IdColumn = None,
    file_format: FileFormat = None,
    flag: FlagToSet = None,
    lookback_days: LookbackDays = 365,
    rate_limit: RateLimit = 10,
    force: Force = False,
    resume_from: ResumeFrom = None,
    batch_size: BatchSize = None,
    adaptive: Adaptive = True,
    window: Hours = None,
    apply_now: ApplyNow = False,
    dry_run: DryRun = False,
    detach: Detach = False,
    ignore_lag: IgnoreLag = False,
    queue_url: QueueUrl = None,
    who: Who = None,
) -> ExitCode:
    """Load what people bought from the sources, beside the live stream: shown first, then applied.

    Without --apply nobody is asked for: what would be done is stored as a plan, for hark backfill apply.
    """
    from hark.backfill.loads import LoadWords

    if dry_run and apply_now:
        raise BadInput("--dry-run and --apply exclude each other")
    named = _Named(everyone, ids, file, url, segment, members_of)
    excepted = _Excepted(except_ids, except_file, except_segment, column, file_format)
    words = LoadWords(
        cohort=_resumed(resume_from, excepted) if resume_from else _cohort(named, excepted),
        source=source,
        flag=flag,
        lookback_days=lookback_days,
        rate_limit=rate_limit,
        force=force,
        batch_size=batch_size,
        adaptive=adaptive,
        window=window,
        apply=apply_now,
        queue_url=queue_url,
    )
    return await _order(call, words, who_does_it(who), detach=detach, ignore_lag=ignore_lag)


def _cohort(named: _Named, excepted: _Excepted) -> CohortWords:
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


def _resumed(path: str, excepted: _Excepted) -> CohortWords:
    """Whom an earlier run left; whoever else is named was among its users."""
    return _cohort(_Named(False, None, [path], None, None, None), excepted)


async def _order(call: Call, words: LoadWords, who: str, *, detach: bool, ignore_lag: bool) -> ExitCode:
    from hark.backfill.loads import order_load
    from hark.doors.cli import backfilling
    from hark.history.loading.queue import check_queue

    _check_words(call, words)
    if words.queue_url is not None:
        await check_queue(words.queue_url)
    async with backfilling.bench(call, install=True) as at:
        await at.stop.unless_told(_look_at_lag(call, at, ignore=ignore_lag))
        with call.output.progress("reading the cohort") as told:
            reading = order_load(
                at.database,
                at.session.catalogue,
                words,
                who=who,
                now=at.clock.now(),
                allowed=call.settings.source_rate,
                reach=at.reach,
                progress=told,
            )
            ordered = await at.stop.unless_told(reading)
        if ordered is None:
            call.go_on = "nothing was planned; run the same command again"
            return at.stop.end(call)
        return await plan_and_apply(call, at, ordered, who, detach=detach)


async def _look_at_lag(call: Call, at: Bench, *, ignore: bool) -> None:
    """What `hark lag` finds, before anything is planned; nothing, where no brokers are set.

    Raises:
        HarkError: a group is behind and nobody is in it, or its lag cannot be read, and that is not to be ignored.
        Unreachable: no broker answers; likewise.
    """
    from hark.history.live.lag import preflight

    report = await preflight(at.database, call.settings)
    for said in (*report.warnings, *(report.faults if ignore else ())):
        call.output.note(f"lag: {said}")
    if not ignore and not report.is_good:
        said = "\n".join([*report.faults, LAGGING])
        raise Unreachable(said) if report.unreachable else HarkError(said)


def _check_words(call: Call, words: LoadWords) -> None:
    """A slip of the pen is told at once, and not after Hark's own Postgres was started."""
    from datetime import UTC, datetime

    from hark.backfill.cohort import FileReach
    from hark.backfill.loads import check_words

    reach = FileReach.of(call.settings, local=True)
    check_words(words, now=datetime.now(UTC), allowed=call.settings.source_rate, reach=reach)
