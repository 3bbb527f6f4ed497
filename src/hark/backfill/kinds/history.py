"""The history backfill: all that people bought within a look-back, loaded from the sources into facts.

    load     they are asked for, receipts and shop orders, and what comes is recorded
    recent   they were loaded lately, as far back, and the stream has dropped nothing of them since: they are left alone
    undo     what only the run had said of them is taken back
    nothing  (undo) the run did nothing for them

Asking is done outside of transactions (`kinds/loading.py`); what is done here is what the engine asks of any kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import Any

from hark.backfill.cohort import Buyers, Cohort, Everyone, File, Flag, Segment, cohort_from_json
from hark.backfill.kind import Applied, Astray, Batch, Connection, Json, Looked, Part, Span, Through
from hark.backfill.reading import Reading
from hark.backfill.spans import SPANNED, spanning
from hark.backfill.states import State
from hark.errors import BadInput
from hark.history.facts import undo_facts
from hark.history.loading.course import shown
from hark.history.loading.queue import check_url
from hark.history.window import start_of
from hark.lists.writing import written
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries, chain

_SQL = Queries.beside(__file__)

STANDING = chain(SPANNED, _SQL["sized"], end=_SQL["standing"])
UNDOING = chain(SPANNED, end=_SQL["undoing"])

LOOK_BACK_DAYS = 365
RATE = 10
FRESH = timedelta(days=7)
"""Who was loaded within it is left alone."""
BATCH_S = 10
"""Seconds of work that a batch is, at the run's rate."""
MOST_DAYS, MOST_RATE = 3_650, 1_000
_PAGE = 5_000
_SUBJECT = "history"


class Outcome(StrEnum):
    """What becomes of one user."""

    LOAD = "load"
    RECENT = "recent"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """What is asked for, checked.

    Attributes:
        since: the look-back's start, aware, in ISO 8601.
        fresh_after: who was loaded after it is left alone; the same.
        force: nobody is.
        flag: whom it lets in; None: everybody is let in already.
        enrolled: the version of the flag from which on all of its users are in; None: they are to be let in.
        start: it is applied as soon as it is planned, and approved where that is needed.
        queue_url: the queue that its steps are driven through; None: through Postgres alone.
    """

    lookback_days: int
    since: str
    fresh_after: str
    force: bool
    flag: str | None = None
    enrolled: int | None = None
    start: bool = False
    queue_url: str | None = None

    def to_json(self) -> Json:
        """As it is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Json) -> HistoryRequest:
        """As it was stored."""
        return cls(**stored)


def read_history(
    now: datetime,
    *,
    lookback_days: int = LOOK_BACK_DAYS,
    force: bool = False,
    flag: str | None = None,
    enrolled: int | None = None,
    start: bool = False,
    queue_url: str | None = None,
) -> HistoryRequest:
    """Check what is asked for.

    Raises:
        BadInput: the look-back cannot be one, or the queue's URL: both of it at once.
    """
    reading = Reading()
    days = reading.take(lambda: _check_days(lookback_days))
    queue = reading.take(lambda: None if queue_url is None else check_url(queue_url))
    reading.end()
    assert days is not None
    since, fresh = start_of(now, timedelta(days=days)), now - FRESH
    return HistoryRequest(days, since.isoformat(), fresh.isoformat(), force, flag, enrolled, start, queue)


def _check_days(days: int) -> int:
    if not 1 <= days <= MOST_DAYS:
        raise BadInput(f"--lookback-days: {days} is not from 1 to {MOST_DAYS:,}; write {LOOK_BACK_DAYS}")
    return days


def check_rate_limit(rate: int, allowed: float) -> int:
    """A rate that a load may have: a whole number, so that 1 stands for what is allowed if that is less.

    Args:
        allowed: requests a second that the settings allow to a source.

    Raises:
        BadInput: it is none, or more than that.
    """
    if not 1 <= rate <= MOST_RATE:
        raise BadInput(f"--rate-limit: {rate} is not from 1 to {MOST_RATE:,} users a second; write {RATE}")
    if rate > max(allowed, 1):
        raise BadInput(
            f"--rate-limit: {rate} is more than the {allowed:g} requests a second that source_rate allows to a source;"
            f" write {max(1, int(allowed))}, or set HARK_SOURCE_RATE={rate}/s for all processes if the sources bear it"
        )
    return rate


def batch_size_at(rate: int) -> int:
    """How many users a batch has, if nobody says so."""
    return max(10, min(rate * BATCH_S, 1_000))


@dataclass(frozen=True, slots=True)
class _Standing:
    place: int
    lately: bool
    members: list[str]


@dataclass(frozen=True, slots=True)
class _Undoing:
    place: int
    members: list[str]


@dataclass(frozen=True, slots=True)
class _User:
    user_id: str


@dataclass(frozen=True, slots=True)
class _Undoes:
    undoes: int | None


@dataclass(frozen=True, slots=True)
class _Asked:
    request: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Unplanned:
    state: str
    request: dict[str, Any]
    cohort: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Queue:
    url: str


@dataclass(frozen=True, slots=True)
class _Flag:
    name: str


@dataclass(frozen=True, slots=True)
class _Did:
    number: int


@dataclass(frozen=True, slots=True)
class _Users:
    users: int


@dataclass(frozen=True, slots=True)
class _Verified:
    compared: int
    holding: int
    recipients: list[str]
    explained: list[bool]
    whys: list[str]


class History:
    """The kind `history`."""

    name = "history"
    goes_outside = True
    planned_at_once = 250_000

    async def plan(self, connection: Connection, request: Json, span: Span) -> list[Part]:
        """See `Kind.plan`."""
        asked = HistoryRequest.from_json(request)
        given = {
            **spanning(span),
            "force": asked.force,
            "flag": asked.flag,
            "since": asked.since,
            "fresh_after": asked.fresh_after,
        }
        return [_planned(seen) for seen in await fetch(connection, STANDING, _Standing, given, prepare=False)]

    async def plan_undo(self, connection: Connection, undoes: int, span: Span) -> list[Part]:
        """See `Kind.plan_undo`."""
        given = {**spanning(span), "undoes": undoes}
        return [
            Part(did.place, None, {_SUBJECT: Outcome.UNDO}, {"undo": undoes}, {"undone": undoes}, did.members)
            for did in await fetch(connection, UNDOING, _Undoing, given, prepare=False)
        ]

    async def apply(self, connection: Connection, batch: Batch, now: datetime) -> Applied:
        """See `Kind.apply`: of a load, what became of its steps; of an undo, what is taken back."""
        given = {"backfill": batch.backfill, "batch": batch.number, "only": batch.only, "now": now}
        (run,) = await fetch(connection, _SQL["undoes"], _Undoes, given)
        if run.undoes is None:
            (done,) = await fetch(connection, _SQL["loaded"], Applied, given)
            return done
        users = [row.user_id for row in await fetch(connection, _SQL["members"], _User, given)]
        await undo_facts(connection, users, run=run.undoes, now=now)
        (done,) = await fetch(connection, _SQL["taken_back"], Applied, {**given, "users": users, "undoes": run.undoes})
        return done

    async def verify(self, connection: Connection, batch: Batch) -> Looked:
        """See `Kind.verify`."""
        given = {"backfill": batch.backfill, "batch": batch.number}
        (run,) = await fetch(connection, _SQL["undoes"], _Undoes, given)
        query = _SQL["verify" if run.undoes is None else "verify_undone"]
        (seen,) = await fetch(connection, query, _Verified, {**given, "undoes": run.undoes})
        astray = [Astray(*each) for each in zip(seen.recipients, seen.explained, seen.whys, strict=True)]
        return Looked(seen.compared, seen.holding, astray)

    async def did(self, connection: Connection, backfill: int) -> bool:
        """See `Kind.did`: a step is done before its batch is; and an undo is loaded again by a new load."""
        return bool(await fetch(connection, _SQL["did"], _Did, {"backfill": backfill}))

    async def shown(self, database: Database, backfill: int) -> Json | None:
        """See `Kind.shown`: where its course is, how many steps are where, and how many it has let in (`let_in`).

        Of an undo: how many are in still by what it takes back.
        """
        found = await shown(database, backfill)
        course = {} if found is None else {**asdict(found), "changed_at": found.changed_at.isoformat()}
        users = await database.fetch(_SQL["let_in"], _Users, {"backfill": backfill})
        return {**course, **({"let_in": users[0].users} if users else {})} or None

    async def through(self, database: Database, backfill: int) -> Through:
        """See `Stepwise.through`: whose steps are both done."""
        return await database.one(_SQL["through"], Through, {"backfill": backfill})

    async def forget(self, connection: Connection, backfill: int) -> None:
        """See `Kind.forget`."""
        await connection.execute(_SQL["forget"].text(), {"backfill": backfill})


def _planned(seen: _Standing) -> Part:
    if seen.lately:
        return Part(seen.place, None, {_SUBJECT: Outcome.RECENT}, None, None, seen.members)
    return Part(seen.place, None, {_SUBJECT: Outcome.LOAD}, {"load": True}, {"loaded": True}, seen.members)


HISTORY = History()


# Whom it is about -----------------------------------------------------------------------------------------------------


async def members_of(database: Database, batch: Batch) -> list[str]:
    """The users of a batch whom it is to change."""
    given = {"backfill": batch.backfill, "batch": batch.number, "only": batch.only}
    return [row.user_id for row in await database.fetch(_SQL["members"], _User, given)]


async def page_of(database: Database, backfill: int, after: str) -> Sequence[str]:
    """The users whom a run is to change, behind one of them: the next few thousand, in order."""
    given = {"backfill": backfill, "after": after, "limit": _PAGE}
    return [row.user_id for row in await database.fetch(_SQL["page"], _User, given)]


async def load_of(database: Database, backfill: int) -> HistoryRequest | None:
    """What a load was asked for; None: there is none of that number."""
    found = await database.fetch(_SQL["load_of"], _Asked, {"backfill": backfill})
    return HistoryRequest.from_json(found[0].request) if found else None


async def check_flag_on(database: Database, backfill: int) -> None:
    """Of a load that lets users in by a flag, whether that is on.

    Raises:
        BadInput: it is not: nobody would be let in.
    """
    for flag in await database.fetch(_SQL["flag_off"], _Flag, {"backfill": backfill}):
        raise BadInput(
            f"backfill {backfill} lets its users in by {flag.name}, which is off and lets nobody in; turn it on first:"
            f" hark flags on {flag.name}"
        )


async def queues_of(database: Database, backfills: Sequence[int]) -> list[str]:
    """The queues that steps of these runs are driven through now, each once, in order."""
    return [row.url for row in await database.fetch(_SQL["queues_of"], _Queue, {"backfills": list(backfills)})]


async def export_left(database: Database, backfill: int, path: Path) -> int:
    """Write whom a run was to load and has not, as CSV with the column id, which `--resume-from` reads; how many.

    Raises:
        BadInput: its plan did not come to its end, so it is not known who that is; or the file cannot be written there.
        Unreachable: the disk is full.
    """
    await _check_planned(database, backfill)
    count, after = 0, ""
    with written(path, ("id",)) as write:
        while page := await _left(database, backfill, after):
            write([(user,) for user in page])
            count, after = count + len(page), page[-1]
    return count


async def _check_planned(database: Database, backfill: int) -> None:
    for run in await database.fetch(_SQL["unplanned"], _Unplanned, {"backfill": backfill}):
        if run.state == State.PLANNING:
            raise BadInput(
                f"backfill {backfill} is not planned yet: whom it is to load is not known; look again when it is:"
                f" hark backfill show {backfill}"
            )
        again = _again(HistoryRequest.from_json(run.request), cohort_from_json(run.cohort))
        raise BadInput(
            f"backfill {backfill} was {run.state} before it was planned: whom it was to load was not written down, and"
            f" nobody of them is loaded; {again}"
        )


def _again(asked: HistoryRequest, cohort: Cohort) -> str:
    """What to run for the same once more, as far as the command line can say it in a few words."""
    match cohort.who:
        case File(url):
            whose = f"--{'from' if '://' in url else 'file'} {quote(url)}"
        case Segment(name):
            whose = f"--segment {quote(name)}"
        case Flag(name):
            whose = f"--members-of {quote(name)}"
        case Buyers():
            whose = "--source neo4j"
        case Everyone():
            whose = "--all"
        case _:
            return f"ask for it again, for {cohort}"
    flag = f" --flag {asked.flag}" if asked.flag else ""
    days = f" --lookback-days {asked.lookback_days}" if asked.lookback_days != LOOK_BACK_DAYS else ""
    return f"ask for it again: hark backfill history {whose}{flag}{days}{' --force' if asked.force else ''}"


async def _left(database: Database, backfill: int, after: str) -> list[str]:
    given = {"backfill": backfill, "after": after, "limit": _PAGE}
    return [row.user_id for row in await database.fetch(_SQL["left"], _User, given)]
