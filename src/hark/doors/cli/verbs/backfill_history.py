"""`hark backfill history`: whose purchases to load, how far back, how fast; shown first, then applied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import Call
from hark.doors.cli.verbs.backfill_cohort import (
    ApplyNow,
    Excepted,
    ExceptFiles,
    ExceptSegments,
    ExceptUsers,
    FileFormat,
    IdColumn,
    Named,
    Segments,
    Texts,
    Urls,
    Users,
    cohort,
    read_and_apply,
)
from hark.doors.cli.verbs.backfill_words import Adaptive, Detach, Hours, Who, who_does_it
from hark.errors import BadInput, HarkError, Unreachable

if TYPE_CHECKING:
    from hark.backfill.cohort import Cohort, CohortWords
    from hark.backfill.loads import LoadWords
    from hark.doors.cli.backfilling import Bench

Everyone = Annotated[bool, typer.Option("--all", help="All users that Hark knows. Nobody named is nobody, never all.")]
Files = Annotated[
    Texts, typer.Option("--file", "--user-file", metavar="FILE", help="Those in a text, CSV or Parquet file.")
]
MembersOf = Annotated[Texts, typer.Option("--members-of", metavar="FLAG", help="Whoever a flag lets in already.")]
Source = Annotated[
    str | None, typer.Option("--source", metavar="SOURCE", help="neo4j: everyone in the graph, as facts have it.")
]
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
class _Asked:
    """What is loaded."""

    source: str | None
    flag: str | None
    lookback_days: int
    force: bool
    resumes: str | None


@dataclass(frozen=True, slots=True)
class _Going:
    """How it is gone about."""

    rate_limit: int
    batch_size: int | None
    adaptive: bool
    window: str | None
    apply: bool
    queue_url: str | None


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
    excepted = Excepted(except_ids, except_file, except_segment, column, file_format)
    whose: CohortWords | Callable[[], Cohort]
    if resume_from is None:
        whose = cohort(Named(everyone, ids, file, url, segment, members_of), excepted)
    else:  # whoever else is named was among its users
        whose, source = partial(_left_of, cohort(Named(files=[resume_from]), excepted)), None
    going = _Going(rate_limit, batch_size, adaptive, window, apply_now, queue_url)
    words = _words(whose, _Asked(source, flag, lookback_days, force, resume_from), going)
    _check(call, words, dry_run=dry_run)
    return await _order(call, words, who_does_it(who), detach=detach, ignore_lag=ignore_lag)


def _left_of(words: CohortWords) -> Cohort:
    """Those of a file that --left wrote: whatever the columns of other files are called, it is as that writes it."""
    from hark.backfill.cohort import Cohort, Difference, File, cohort_of

    match cohort_of(words).who:
        case Difference(File(url), out):
            return Cohort(Difference(File(url), out))
        case File(url):
            return Cohort(File(url))
        case other:
            return Cohort(other)


def _words(whose: CohortWords | Callable[[], Cohort], asked: _Asked, going: _Going) -> LoadWords:
    from hark.backfill.loads import LoadWords

    return LoadWords(
        cohort=whose,
        source=asked.source,
        flag=asked.flag,
        lookback_days=asked.lookback_days,
        rate_limit=going.rate_limit,
        force=asked.force,
        batch_size=going.batch_size,
        adaptive=going.adaptive,
        window=going.window,
        apply=going.apply,
        queue_url=going.queue_url,
        resumes=asked.resumes,
    )


async def _order(call: Call, words: LoadWords, who: str, *, detach: bool, ignore_lag: bool) -> ExitCode:
    from hark.backfill.loads import gate_warnings, order_load
    from hark.doors.cli import backfilling
    from hark.history.live.gates import own_flag
    from hark.history.loading.queue import check_queue

    if words.queue_url is not None:
        await check_queue(words.queue_url)
    async with backfilling.bench(call, install=True) as at:
        await at.stop.unless_told(_look_at_lag(call, at, ignore=ignore_lag))
        order = partial(
            order_load,
            at.database,
            at.session.catalogue,
            words,
            who=who,
            now=at.clock.now(),
            allowed=call.settings.source_rate,
            reach=at.reach,
        )
        gate = own_flag(call.settings)
        warnings = gate_warnings(words, gate, f"--flag {gate}")
        return await read_and_apply(call, at, lambda told: order(progress=told), who, detach=detach, warnings=warnings)


async def _look_at_lag(call: Call, at: Bench, *, ignore: bool) -> None:
    """What `hark lag` finds, before anything is planned; nothing, where no brokers are set.

    Raises:
        HarkError: nobody is in a group, or its lag cannot be read, and that is not to be ignored.
        Unreachable: no broker answers; likewise.
    """
    from hark.history.live.lag import preflight

    report = await preflight(at.database, call.settings)
    for said in (*report.warnings, *(report.faults if ignore else ())):
        call.output.note(f"lag: {said}")
    if not ignore and not report.is_good:
        said = "\n".join([*report.faults, LAGGING])
        raise Unreachable(said) if report.unreachable else HarkError(said)


def _check(call: Call, words: LoadWords, *, dry_run: bool) -> None:
    """Slips of the pen are told at once, and all of them, and not after Hark's own Postgres was started."""
    from hark.backfill.reading import Reading

    reading = Reading()
    reading.take(lambda: _check_once(dry_run=dry_run, apply=words.apply))
    reading.take(lambda: _check_words(call, words))
    reading.end()


def _check_once(*, dry_run: bool, apply: bool) -> None:
    if dry_run and apply:
        raise BadInput("--dry-run and --apply exclude each other")


def _check_words(call: Call, words: LoadWords) -> None:
    from datetime import UTC, datetime

    from hark.backfill.cohort import FileReach
    from hark.backfill.loads import check_words

    reach = FileReach.of(call.settings, local=True)
    check_words(words, now=datetime.now(UTC), allowed=call.settings.source_rate, reach=reach)
