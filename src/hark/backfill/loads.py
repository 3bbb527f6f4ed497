"""Loads of what people bought: from words to a backfill that is to be planned, and those that begin by themselves.

What somebody asks for over HTTP, and what an enrolment asks for, is applied as soon as it is planned: any worker does
so (`Starter`). At the command line a plan is looked at first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hark.backfill import control
from hark.backfill.cohort import (
    Buyers,
    Cohort,
    CohortWords,
    FileReach,
    Ids,
    Spelling,
    Staged,
    check_names,
    cohort_of,
    forget,
    readable,
    stage,
    within,
)
from hark.backfill.enlist import ToStage
from hark.backfill.kinds.history import (
    HISTORY,
    LOOK_BACK_DAYS,
    RATE,
    HistoryRequest,
    batch_size_at,
    check_rate_limit,
    read_history,
)
from hark.backfill.ordering import Ordered, apply_plan, notify_of, read_pace
from hark.backfill.plan import create
from hark.backfill.reading import Reading
from hark.backfill.request import Notify, Order, Pace, check_batch_size, check_who
from hark.backfill.states import State
from hark.catalogue import Catalogue
from hark.catalogue.wording import no_such, quoted
from hark.clock import Clock
from hark.durations import Rate
from hark.errors import BadInput
from hark.flags import LoadAsked, is_off, take, waiting
from hark.logs import Log
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)
_log = Log(__name__)

GRAPH_SOURCE = "neo4j"
"""What `--source` may say: everyone in the graph."""
ENROLLED_AT_ONCE = 2_000
"""Users whom one run of enrolments loads."""
GATHER = timedelta(seconds=1)
"""So long enrolments are gathered, so that a burst of them is one run."""
WHO = "enrolment"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadWords:
    """What somebody says who wants purchases loaded.

    Attributes:
        cohort: whose, in words; or it reads a cohort that was said otherwise.
        source: `neo4j` for everyone in the graph, in place of a cohort.
        flag: whom it is to let in; None: everybody is.
        start: it is applied as soon as it is planned.
        queue_url: the queue that its steps are driven through; None: through Postgres alone.
        resumes: the cohort is this file of whom an earlier run left; one that names nobody is refused.
    """

    cohort: CohortWords | Callable[[], Cohort] = field(default_factory=CohortWords)
    source: str | None = None
    flag: str | None = None
    lookback_days: int = LOOK_BACK_DAYS
    rate_limit: int = RATE
    force: bool = False
    batch_size: int | None = None
    adaptive: bool = True
    window: str | None = None
    apply: bool = False
    start: bool = False
    queue_url: str | None = None
    resumes: str | None = None


@dataclass(frozen=True, slots=True)
class _Read:
    """The words, understood."""

    asked: HistoryRequest
    cohort: Cohort
    pace: Pace
    batch_size: int


@dataclass(frozen=True, slots=True)
class _Rules:
    """What the catalogue says of backfills."""

    approval_over: int | None
    notify: Notify | None


@dataclass(frozen=True, slots=True)
class _Flag:
    is_on: bool


@dataclass(frozen=True, slots=True)
class _Name:
    name: str


@dataclass(frozen=True, slots=True)
class _ToStart:
    id: int
    created_by: str


def check_words(words: LoadWords, *, now: datetime, allowed: Rate, reach: FileReach) -> None:
    """Read the words, and look whether the files of this machine that they name can be read.

    Raises:
        BadInput: all that is wrong with them.
    """
    _read(words, now, allowed, reach, readable)


def gate_warnings(words: LoadWords, gate: str | None, say: str) -> tuple[str, ...]:
    """What is worth knowing of a load that lets nobody in, while live purchases are taken of some users only.

    Args:
        gate: the flag that live ingestion goes by; None: it takes everybody's, or goes by somebody else's.
        say: how to name a flag, as `--flag live`.
    """
    if gate is None or words.flag is not None or words.cohort == CohortWords(flags=[gate]):
        return ()
    return (
        f"no flag is named: whom {gate} does not let in is loaded once, and what they buy from then on is dropped by"
        f" the live stream, which goes by it (HARK_INGEST_FLAG); name it: {say}",
    )


async def order_load(
    database: Database,
    catalogue: Catalogue | None,
    words: LoadWords,
    *,
    who: str,
    now: datetime,
    allowed: Rate,
    reach: FileReach,
    progress: Callable[[int], None] = lambda _rows: None,
) -> Ordered:
    """Stage the cohort and write down what is asked for; then it is to be planned.

    Args:
        catalogue: None: there is none, and nobody has to agree or is told.
        allowed: how often the settings let a source be asked.
        reach: from where the cohort's files may be read.
        progress: told how many rows of the cohort's files were read.

    Raises:
        BadInput: all that is wrong with the words; what `cohort.stage` refuses; or what it resumes names nobody.
    """
    who = check_who(who)
    read = _read(words, now, allowed, reach)
    await _check_known(database, read)
    staged = await stage(
        database, read.cohort, user_types=None, now=now, reach=reach, progress=progress, strangers=True
    )
    await _check_resumed(database, words, staged)
    number = await create(database, _order(_rules(catalogue), read, staged.cohort_id, who), now)
    return Ordered(number, staged, words.apply)


async def ask_load(
    database: Database,
    catalogue: Catalogue | None,
    words: LoadWords,
    *,
    who: str,
    now: datetime,
    allowed: Rate,
    reach: FileReach,
) -> int:
    """Write down what is asked for, and leave it to workers to stage the cohort and to plan; the backfill's id.

    Takes and raises what `order_load` does; what is wrong with files is found later.
    """
    who = check_who(who)
    read = _read(words, now, allowed, reach)
    await _check_known(database, read)
    return await create(database, _order(_rules(catalogue), read, ToStage(read.cohort, None, strangers=True), who), now)


def _read(
    words: LoadWords,
    now: datetime,
    allowed: Rate,
    reach: FileReach,
    look: Callable[[Cohort, FileReach], Cohort] = within,
) -> _Read:
    reading = Reading()
    asked = reading.take(
        lambda: read_history(
            now,
            lookback_days=words.lookback_days,
            force=words.force,
            flag=words.flag,
            start=words.start,
            queue_url=words.queue_url,
        )
    )
    cohort = reading.take(lambda: look(_cohort(words), reach))
    most = allowed.count / allowed.per.total_seconds()
    rate = reading.take(lambda: check_rate_limit(words.rate_limit, most))
    size = reading.take(lambda: check_batch_size(words.batch_size or batch_size_at(words.rate_limit)))
    pace = reading.take(
        lambda: read_pace(max(0.001, min(float(rate or RATE), most)), adaptive=words.adaptive, window=words.window)
    )
    reading.end()
    assert asked is not None and cohort is not None and pace is not None and size is not None
    return _Read(asked, cohort, pace, size)


def _cohort(words: LoadWords) -> Cohort:
    if words.source is None:
        spelling = Spelling("--members-of", words.flag or "NAME", also=f"--source {GRAPH_SOURCE}")
        whose = words.cohort
        return cohort_of(whose, spelling=spelling) if isinstance(whose, CohortWords) else whose()
    if words.source != GRAPH_SOURCE:
        raise BadInput(f"--source: {quoted(words.source)} is not known; write {GRAPH_SOURCE}: everyone in the graph")
    if words.cohort != CohortWords():
        raise BadInput(f"--source {GRAPH_SOURCE} is everyone in the graph already; leave it out, or name nobody else")
    return Cohort(Buyers())


async def _check_resumed(database: Database, words: LoadWords, staged: Staged) -> None:
    """A file of whom a run left that is empty may as well be another one, or be cut off."""
    if words.resumes is None or staged.members or staged.excluded:
        return
    await forget(database, staged.cohort_id)
    raise BadInput(
        f"--resume-from: {words.resumes} names nobody, so nobody is loaded; if somebody was left, write them anew: hark"
        " backfill show ID --left -o FILE"
    )


async def _check_known(database: Database, read: _Read) -> None:
    """Its flag is there and on, and whom it names by name, too; all that is not is told at once."""
    reading = Reading()
    await reading.after(_check_flag(database, read.asked.flag))
    await reading.after(check_names(database, read.cohort))
    reading.end()


async def _check_flag(database: Database, flag: str | None) -> None:
    """There is one, and it is on: else nobody would be let in."""
    if flag is None:
        return
    found = await database.fetch(_SQL["flag"], _Flag, {"flag": flag})
    if not found:
        known = [row.name for row in await database.fetch(_SQL["flags"], _Name)]
        raise BadInput(f"--flag: {quoted(flag)}: {no_such('flag', flag, known)}")
    if not found[0].is_on:
        raise BadInput(f"--flag: {is_off(flag)}")


def _rules(catalogue: Catalogue | None) -> _Rules:
    if catalogue is None:
        return _Rules(None, None)
    return _Rules(catalogue.backfills.approval_over, notify_of(catalogue.backfills))


def _order(rules: _Rules, read: _Read, cohort: int | ToStage, who: str) -> Order:
    return Order(
        HISTORY.name,
        read.asked.to_json(),
        cohort,
        who,
        read.batch_size,
        read.pace,
        rules.approval_over,
        rules.notify,
    )


# By themselves --------------------------------------------------------------------------------------------------------


class _TakenElsewhere(Exception):
    """Another worker has these."""


@dataclass(frozen=True, slots=True)
class Starter:
    """Begins what is to begin by itself: loads that enrolments ask for, and those that are planned and to be started.

    Attributes:
        reach: from where the lists of cohorts may be read.
        rate: how often a source may be asked.
    """

    database: Database
    clock: Clock
    reach: FileReach
    rate: Rate

    async def step(self) -> bool:
        """The next such thing; whether there was one."""
        return await self._enrolled() or await self._planned()

    async def _enrolled(self) -> bool:
        loads = await waiting(self.database, limit=ENROLLED_AT_ONCE)
        if not loads or (self.clock.now() - loads[0].asked_at < GATHER and len(loads) < ENROLLED_AT_ONCE):
            return False
        mine = [each for each in loads if each.flag == loads[0].flag]
        try:
            await self._load(loads[0].flag, mine)
        except _TakenElsewhere:
            return False
        return True

    async def _load(self, flag: str, loads: Sequence[LoadAsked]) -> None:
        now = self.clock.now()
        request = read_history(now, flag=flag, enrolled=max(each.version for each in loads), start=True, force=True)
        rate = self.rate.count / self.rate.per.total_seconds()
        cohort = ToStage(Cohort(Ids(tuple(each.user_id for each in loads))), None, strangers=True)
        order = Order(HISTORY.name, request.to_json(), cohort, WHO, batch_size_at(max(1, int(rate))), Pace(rate))
        async with self.database.as_one() as one, one.connection() as connection:
            number = await create(one, order, now)
            if not await take(connection, loads, number, schema=self.database.schema):
                raise _TakenElsewhere
        _log.info("load_of_enrolled", backfill=number, users=len(loads))

    async def _planned(self) -> bool:
        runs = await self.database.fetch(_SQL["to_start"], _ToStart)
        for run in runs:
            await self._start(run.id, run.created_by)
        return bool(runs)

    async def _start(self, backfill: int, who: str) -> None:
        """As who asked for it. What may not be applied any more is called off; the log says why."""
        now = self.clock.now()
        try:
            await apply_plan(self.database, backfill, who=who, now=now, reach=self.reach, waits=True)
        except BadInput as refusal:
            stand = await control.stand(self.database, backfill)
            if stand.state in (State.PLANNED, State.APPROVED):
                _log.warning("load_not_started", backfill=backfill, why=str(refusal))
                await control.cancel(self.database, backfill, who=who, now=now)
