"""The second half of a recheck: what feeds say is added, and the product is asked whether each item may still be said.

A reason's recheck is asked about all of its items in the chunk at once. What it cannot be asked about is not sent: the
delivery goes back to PENDING, with back-off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import psycopg

from hark.catalogue import Source, SqlSource, UrlSource
from hark.delivery.digested import Digested, digested
from hark.delivery.payloads import can_be_posted, read
from hark.delivery.recheck import Rechecked
from hark.delivery.whole import GONE, Found, Whole, left, name_of
from hark.errors import RenderingFailed, SourceFailed
from hark.logs import Log
from hark.postgres.database import Database, fetch, is_of_the_data
from hark.postgres.queries import Queries, Query, chain
from hark.rechecks import Answered, Asked, Rechecks, ask_recheck, checked, why_fault
from hark.rendering import Item
from hark.sources import as_part, kind_of

_SQL = Queries.beside(__file__)
_log = Log(__name__)

QUESTIONS = chain(_SQL["asked"], end=_SQL["questions"])

MOST_AT_ONCE = 5000
"""How many items one question is about."""


async def ask(database: Database, held: Sequence[Rechecked], rechecks: Rechecks) -> list[Rechecked]:
    """Each held delivery with what is left of it in all.

    No transaction is open while Python or an endpoint is asked.
    """
    digests = await digested(database, held)
    if not digests and not rechecks.sources:
        return list(held)
    wholes = [_whole(delivery, digests.get(delivery.id, []), rechecks.sources) for delivery in held]
    questions = list(_questions(wholes, rechecks.sources))
    found = await _Asker(database, rechecks).all(questions)
    return [left(whole, found, rechecks.sources) for whole in wholes]


@dataclass(frozen=True, slots=True)
class _Question:
    n: int
    delivery: Rechecked
    item: Item


def query_of(source: SqlSource, name: str) -> Query:
    """The statement that asks an SQL recheck; parameters as of `QUESTIONS`."""
    return chain(_SQL["asked"], Query(name, f"answered as ({as_part(source)})"), end=_SQL["answers"])


# What there is to ask ------------------------------------------------------------------------------------------------


def _whole(delivery: Rechecked, digests: Sequence[Digested], sources: Mapping[str, Source]) -> Whole:
    if not digests and not sources.keys() & delivery.counts.keys():
        return Whole(delivery)
    try:
        of_feeds = [(item, digest.why_not(item)) for digest in digests for item in digest.listed()]
        said = [item for item, why in of_feeds if why is None]
        unwanted = [(item, why) for item, why in of_feeds if why is not None]
        return Whole(delivery, digests, [*delivery.events(), *said], unwanted)
    except RenderingFailed as error:
        return Whole(replace(delivery, unchecked=str(error)))


def _questions(wholes: Iterable[Whole], sources: Mapping[str, Source]) -> Iterator[_Question]:
    n = 0
    for whole in wholes:
        for item in whole.items or ():
            if item.reason in sources:
                n += 1
                yield _Question(n, whole.delivery, item)


# Asking --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    n: int | None
    why: str | None
    payload: str | None


@dataclass(frozen=True, slots=True)
class _AskedRow:
    n: int
    recipient_id: str
    event_id: int | None
    key: str | None
    actor: str | None
    about: str | None
    entities: list[str]
    at: datetime
    payload: str


@dataclass(frozen=True, slots=True)
class _Asker:
    database: Database
    rechecks: Rechecks
    found: Found = field(default_factory=Found)

    async def all(self, questions: Sequence[_Question]) -> Found:
        """Ask all, reason by reason; a reason that fails fails only the deliveries that need it."""
        by_reason: dict[str, list[_Question]] = {}
        for question in questions:
            by_reason.setdefault(question.item.reason, []).append(question)
        for reason, asked in by_reason.items():
            for piece in _pieces(asked):
                await self._narrowing(reason, piece)
        return self.found

    async def _narrowing(self, reason: str, questions: Sequence[_Question]) -> None:
        """Ask; what breaks on one item is asked again by halves, so that the others do not wait for that one's sake."""
        failure = await self._ask(reason, questions)
        while failure is not None:
            halves = _halves(questions) if failure.of_the_data else None
            if halves is None:
                return self._fail(reason, questions, failure)
            failures = [await self._ask(reason, half) for half in halves]
            if all(failures):
                return self._fail(reason, questions, failure)
            failure, questions = next(
                ((each, half) for each, half in zip(failures, halves, strict=True) if each), (None, questions)
            )
        return None

    async def _ask(self, reason: str, questions: Sequence[_Question]) -> SourceFailed | None:
        source = self.rechecks.sources[reason]
        try:
            if isinstance(source, SqlSource):
                answered = await self._by_query(source, reason, questions)
            else:
                asked = await self._as_asked(reason, questions)
                answered = await ask_recheck(source, reason, asked, self.rechecks.asking)
            answers = checked(answered, [question.n for question in questions])
        except SourceFailed as error:
            return error
        for question in questions:
            answer = answers.get(question.n, Answered(question.n, GONE))
            self.found.answers[question.delivery.id, name_of(question.item)] = answer
        return None

    async def _by_query(self, source: SqlSource, reason: str, questions: Sequence[_Question]) -> list[Answered]:
        query = query_of(source, f"recheck.{reason}")
        milliseconds = str(int(self.rechecks.asking.timeout.total_seconds() * 1000))
        try:
            async with self.database.transaction() as connection:
                await connection.execute(_SQL["careful"].sql, {"milliseconds": milliseconds})
                rows = await fetch(
                    connection, query, _Row, _given(reason, questions), schema=self.database.schema, prepare=False
                )
        except psycopg.Error as error:
            if _is_of_the_connection(error):
                raise
            failure = SourceFailed(f"{kind_of(source)}: {_words(error)}", of_the_data=is_of_the_data(error))
        else:
            return [self._answered(reason, questions, place, row) for place, row in enumerate(rows)]
        # Outside the except block: the error may quote a payload, and logs print what hangs on an exception.
        raise failure

    async def _as_asked(self, reason: str, questions: Sequence[_Question]) -> list[Asked]:
        rows = await self.database.fetch(QUESTIONS, _AskedRow, _given(reason, questions), prepare=False)
        posted = isinstance(self.rechecks.sources[reason], UrlSource)
        asked: list[Asked] = []
        for row in rows:
            try:
                asked.append(_asked(row, posted))
            except RenderingFailed as error:
                self._fail_one(reason, questions, row.n, str(error))
        return asked

    def _answered(self, reason: str, questions: Sequence[_Question], place: int, row: _Row) -> Answered:
        try:
            return _answered(place, row)
        except RenderingFailed as error:
            assert row.n is not None
            self._fail_one(reason, questions, row.n, f"its answer: {error}")
            return Answered(row.n)

    def _fail_one(self, reason: str, questions: Sequence[_Question], n: int, why: str) -> None:
        """What cannot be read makes its own delivery wait; the others of the question go on."""
        self._fail(reason, [question for question in questions if question.n == n], SourceFailed(why))

    def _fail(self, reason: str, questions: Sequence[_Question], failure: SourceFailed) -> None:
        deliveries = {question.delivery.id for question in questions}
        _log.warning("recheck_failed", reason=reason, deliveries=len(deliveries), error=str(failure))
        self.found.failed.update(dict.fromkeys(deliveries, f"the recheck of {reason} failed: {failure}"))


def _pieces(questions: Sequence[_Question]) -> Iterator[Sequence[_Question]]:
    for start in range(0, len(questions), MOST_AT_ONCE):
        yield questions[start : start + MOST_AT_ONCE]


def _halves(questions: Sequence[_Question]) -> tuple[Sequence[_Question], Sequence[_Question]] | None:
    """Two halves, no delivery in both; None: it is one delivery's."""
    deliveries = list(dict.fromkeys(question.delivery.id for question in questions))
    if len(deliveries) < 2:
        return None
    first = set(deliveries[: len(deliveries) // 2])
    return (
        [question for question in questions if question.delivery.id in first],
        [question for question in questions if question.delivery.id not in first],
    )


def _given(reason: str, questions: Sequence[_Question]) -> dict[str, object]:
    return {
        "reason": reason,
        "numbers": [question.n for question in questions],
        "recipients": [question.delivery.recipient_id for question in questions],
        "deliveries": [question.delivery.id for question in questions],
        "events": [question.item.event_id for question in questions],
        "keys": [question.item.key for question in questions],
    }


def _asked(row: _AskedRow, posted: bool) -> Asked:
    payload = read(row.payload)
    if posted and not can_be_posted(payload):
        raise RenderingFailed("a payload cannot be written for an endpoint: too deep, or a number too large")
    return Asked(*(row.n, row.recipient_id, row.event_id, row.key, row.actor, row.about, row.entities, row.at), payload)


def _answered(place: int, row: _Row) -> Answered:
    if row.n is None:
        raise SourceFailed(f"its answer: row {place + 1} has no n")
    if row.why is not None and (fault := why_fault(row.why)):
        raise SourceFailed(f"its answer: the why of row {place + 1} {fault}")
    payload = read(row.payload) if row.payload is not None else None
    if payload is not None and not isinstance(payload, dict):
        raise SourceFailed(f"its answer: the payload of row {place + 1} is no object")
    return Answered(row.n, row.why, payload)


def _is_of_the_connection(error: psycopg.Error) -> bool:
    """Whether it is no fault of the query's; it is then met as in any other step."""
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))


def _words(error: psycopg.Error) -> str:
    """The kind of an error; of what was written also its words, never of data, as they would quote it."""
    said = error.diag.message_primary if (error.sqlstate or "").startswith("42") else None
    return f"{type(error).__name__} ({error.sqlstate}){f': {said}' if said else ''}"
