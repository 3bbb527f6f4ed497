"""The pace: what the database gives is what a plain list of all moments would, and no period has more than it may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hark.durations import Rate
from hark.history.sources.pace import _SQL as SQL
from hark.history.sources.pace import (
    CLOSEST,
    CREEP,
    DOUBTED,
    SLACK,
    SPARE_DOUBT,
    Doubt,
    Missed,
    Pace,
    Permit,
    _Moved,
    _Taken,
)
from hark.postgres.database import Database, open_database
from tests.history.sources.scene import PATIENT

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MS = timedelta(milliseconds=1)
_NEVER_LATE = timedelta(0)


@dataclass(slots=True)
class Plain:
    """The rule, over a list of all moments there ever were."""

    rate: Rate
    moments: list[datetime] = field(default_factory=list)

    def take(self, now: datetime) -> datetime:
        at = now
        if self.moments:
            at = max(at, max(self.moments) + self.rate.per / self.rate.count * CLOSEST)
        if len(self.moments) >= self.rate.count:
            at = max(at, sorted(self.moments)[-self.rate.count] + self.rate.per * (1 + SLACK))
        self.moments.append(at)
        return at


async def take(database: Database, rate: Rate, now: datetime, told: dict[int, datetime]) -> _Taken:
    given = {
        "source": "x",
        "now": now,
        "count": rate.count,
        "kept": rate.count + 8,
        "closest": rate.per / rate.count * CLOSEST,
        "a_window": rate.per * (1 + SLACK),
        "threshold": 5,
        "trial": SECOND,
        "numbers": list(told),
        "moments": list(told.values()),
    }
    return await database.one(SQL["take"], _Taken, given)


STEPS = st.lists(
    st.tuples(st.integers(0, 1500), st.lists(st.tuples(st.integers(1, 6), st.integers(0, 700)), max_size=2)),
    min_size=1,
    max_size=25,
)
"""How many milliseconds later the next asks, and what is learnt by then: which of the last ones was how much later."""


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 4), steps=STEPS)
async def test_the_database_gives_what_a_plain_list_would(paced: str, count: int, steps: Any) -> None:
    rate, now = Rate(count, SECOND), START
    plain, latest = Plain(rate), list[datetime]()
    async with open_database(paced, size=1) as database:
        async with database.connection() as connection:
            await connection.execute("truncate hark.source_pace")
        await database.execute(SQL["known"], {"source": "x"})
        for later, learnt in steps:
            now += later * MS
            told: dict[int, datetime] = {}
            for back, late in learnt:
                if back <= min(len(plain.moments), count):
                    number = len(plain.moments) + 1 - back
                    told[number] = plain.moments[-back] = min(plain.moments[-back] + late * MS, latest[-back])
            given = await take(database, rate, now, told)
            assert (given.number, given.at) == (len(plain.moments) + 1, plain.take(now))
            latest.append(given.at + 900 * MS)


async def again(database: Database, rate: Rate, number: int, told: dict[int, datetime]) -> datetime | None:
    given = {
        "source": "x",
        "number": number,
        "count": rate.count,
        "a_window": rate.per * (1 + SLACK),
        "numbers": list(told),
        "moments": list(told.values()),
    }
    return (await database.one(SQL["again"], _Moved, given)).at


@pytest.fixture
async def row(paced: str) -> AsyncIterator[Database]:
    """A source of which nothing was ever asked."""
    async with open_database(paced, size=1) as database:
        async with database.connection() as connection:
            await connection.execute("truncate hark.source_pace")
        await database.execute(SQL["known"], {"source": "x"})
        yield database


async def test_a_permit_given_long_before_moves_on_by_what_is_learnt_of_those_before_it(row: Database) -> None:
    rate = Rate(3, SECOND)
    given = [await take(row, rate, START, {}) for _ in range(9)]
    assert await again(row, rate, 9, {}) == given[8].at
    late = given[5].at + 200 * MS
    assert await again(row, rate, 9, {6: late}) == late + SECOND * (1 + SLACK)
    assert await again(row, rate, 8, {}) == given[7].at
    assert (await take(row, rate, START, {})).at == given[6].at + SECOND * (1 + SLACK)
    assert await again(row, rate, 4, {2: given[1].at + 100 * MS}) == given[3].at


async def test_a_permit_that_the_row_has_forgotten_has_no_moment(row: Database) -> None:
    rate = Rate(1, SECOND)
    for _ in range(10):
        await take(row, rate, START, {})
    assert await again(row, rate, 1, {}) is None
    assert await again(row, rate, 2, {}) is not None


@given(
    count=st.integers(1, 60),
    seed=st.integers(0, 10**6),
    late=st.integers(0, 30),
    behind=st.integers(0, 3),
)
@settings(deadline=None, max_examples=60)
def test_no_period_has_more_than_the_rate_says_however_late_requests_are(
    count: int, seed: int, late: int, behind: int
) -> None:
    """What is learnt of a request is known when `behind` more are given, as other workers hold permits meanwhile."""
    chance, rate = Random(seed), Rate(count, SECOND)
    behind = min(behind, count - 1)
    plain, came = Plain(rate), []
    learnt: list[tuple[int, datetime]] = []
    now = START
    for number in range(6 * count + 5):
        if len(learnt) > behind:
            place, at = learnt.pop(0)
            plain.moments[place] = at
        now = plain.take(now)
        arrived = now + chance.random() * late * MS
        learnt.append((number, arrived))
        came.append(arrived)
    assert most_in_any_second(sorted(came)) <= count


def most_in_any_second(moments: Sequence[datetime]) -> int:
    return max(sum(start <= at < start + SECOND for at in moments) for start in moments)


def test_who_is_nearly_on_time_has_over_ninety_nine_hundredths_of_the_rate() -> None:
    assert 0.99 * 6000 <= taken_in_ten_minutes(2 * MS) <= 6000


def taken_in_ten_minutes(late: timedelta) -> int:
    plain, now, taken = Plain(Rate(10, SECOND)), START, 0
    while (now := plain.take(now)) < START + 600 * SECOND:
        plain.moments[-1] = now + late
        del plain.moments[:-40]
        taken += 1
    return taken


def learnt(*took: int, period: timedelta = SECOND, refused: bool = False) -> Doubt:
    """What is made of a server whose answers took so many milliseconds so far, with all that may be saved up."""
    doubt = Doubt(period)
    for each in took:
        doubt.of(each * MS, _NEVER_LATE, refused=refused)
    doubt.spare = period * SPARE_DOUBT
    return doubt


class TestDoubt:
    def test_is_how_much_longer_than_the_quickest_an_answer_took(self) -> None:
        doubt = learnt(*[6, 45, 5] * 5)
        assert doubt.of(45 * MS, _NEVER_LATE, refused=False) == 45 * MS - 5 * CREEP * MS
        assert doubt.of(5 * MS, _NEVER_LATE, refused=False) == _NEVER_LATE

    def test_refusals_are_quicker_than_answers(self) -> None:
        doubt = learnt(*[5] * 9)
        for _ in range(9):
            doubt.of(2 * MS, _NEVER_LATE, refused=True)
        assert doubt.of(15 * MS, _NEVER_LATE, refused=False) == 15 * MS - 5 * CREEP * MS
        assert doubt.of(15 * MS, _NEVER_LATE, refused=True) == 15 * MS - 2 * CREEP * MS

    def test_a_server_that_changed_is_got_used_to(self) -> None:
        doubt = learnt(*[1] * 9)
        for _ in range(2500):
            doubt.of(50 * MS, _NEVER_LATE, refused=False)
        assert doubt.of(50 * MS, _NEVER_LATE, refused=False) == _NEVER_LATE

    def test_of_a_few_answers_none_is_quick(self) -> None:
        doubt = Doubt(SECOND)
        assert [doubt.of(5 * MS, _NEVER_LATE, refused=False) for _ in range(10)] == [5 * MS] * 8 + [_NEVER_LATE] * 2

    def test_is_never_more_than_so_much(self) -> None:
        doubt = learnt(*[1] * 9)
        assert doubt.of(timedelta(seconds=5), _NEVER_LATE, refused=False) == SECOND

    @settings(deadline=None)
    @given(st.lists(st.integers(0, 40), min_size=1, max_size=300))
    def test_costs_no_more_than_its_share_and_what_took_longer_than_nearly_all(self, took: list[int]) -> None:
        doubt = Doubt(SECOND)
        cost, longer = timedelta(0), timedelta(0)
        for place, each in enumerate(took):
            before = sorted(took[max(place - 64, 0) : place])
            if place >= 8:
                longer += max(each - before[int(len(before) * 0.9)], 0) * MS
            cost += doubt.of(each * MS, _NEVER_LATE, refused=False)
        assert cost <= SECOND * SPARE_DOUBT + len(took) * SECOND * DOUBTED + longer + MS

    def test_a_server_that_takes_its_time_costs_hardly_more_than_its_share(self) -> None:
        chance, doubt = Random(1), Doubt(SECOND)
        cost = [doubt.of(chance.uniform(50, 150) * MS, _NEVER_LATE, refused=False) for _ in range(6000)]
        assert sum(cost, timedelta(0)) / 6000 <= SECOND * DOUBTED + 1.5 * MS

    def test_what_takes_longer_than_nearly_all_is_believed_and_costs_the_others_nothing(self) -> None:
        doubt = learnt(*range(1, 31))
        doubt.spare = 3 * MS
        assert doubt.of(300 * MS, _NEVER_LATE, refused=False) == 272 * MS + 3 * MS + SECOND * DOUBTED
        assert doubt.of(7 * MS, _NEVER_LATE, refused=False) > 5.9 * MS

    def test_is_believed_for_longer_where_this_process_is_late_itself(self) -> None:
        doubt = learnt(*[1, 101] * 9)
        doubt.spare = timedelta(0)
        assert all(doubt.of(101 * MS, 20 * MS, refused=False) > 99.8 * MS for _ in range(60))


class RealClock:
    """This machine's."""

    def now(self) -> datetime:
        return datetime.now(UTC)


async def test_many_tasks_of_two_processes_each_have_a_number_of_their_own(paced: str) -> None:
    async with open_database(paced) as one, open_database(paced) as two:
        async with one.connection() as connection:
            await connection.execute("truncate hark.source_pace")
        rate, given = Rate(1000, SECOND), []

        async def ask(pace: Pace) -> None:
            async with pace.permit(START + timedelta(days=9999)) as permit:
                given.append((permit.number, permit.at))

        paces = [Pace(each, RealClock(), "x", rate, PATIENT) for each in (one, two)]
        await asyncio.gather(*(ask(pace) for pace in paces for _ in range(20)))
    numbers, moments = zip(*sorted(given), strict=True)
    assert numbers == tuple(range(1, 41))
    assert all(later - sooner >= MS * CLOSEST for sooner, later in pairwise(moments))


async def test_a_permit_given_long_before_is_looked_at_again_shortly_before_its_moment(row: Database) -> None:
    pace = Pace(row, RealClock(), "x", Rate(1, 2 * SECOND), PATIENT)
    async with pace.permit(START + timedelta(days=9999)) as first:
        await first.begins()
        first.done()

    async def second() -> Permit:
        async with pace.permit(START + timedelta(days=9999)) as permit:
            return permit

    waiting = asyncio.create_task(second())
    await asyncio.sleep(0.1)
    late = first.at + 500 * MS
    await row.execute(SQL["told"], {"source": "x", "numbers": [1], "moments": [late]})
    assert (await waiting).at == late + 2 * SECOND * (1 + SLACK)


async def test_a_request_that_is_not_answered_counts_as_of_now(row: Database) -> None:
    """A server that stands still counts all that it was sent when it goes on."""
    pace, beyond = Pace(row, RealClock(), "x", Rate(1, SECOND), PATIENT), START + timedelta(days=9999)
    began = asyncio.Event()

    async def never_answered() -> None:
        async with pace.permit(beyond) as permit:
            await permit.begins()
            permit.done()
            began.set()
            await asyncio.sleep(2.5)
            permit.heard()
            await pace.answered(permit, refused=False)

    asking = asyncio.create_task(never_answered())
    await began.wait()
    async with pace.permit(beyond) as permit:
        assert asking.done()
        assert permit.number == 2
    await asking


async def test_workers_that_take_and_look_again_at_once_lose_nothing(row: Database, paced: str) -> None:
    rate = Rate(10, SECOND)
    given: list[_Taken] = []

    async def take_some(database: Database) -> None:
        for _ in range(40):
            given.append(await take(database, rate, START, {}))
            await again(database, rate, given[-1].number, {})

    async with open_database(paced, size=4) as database:
        await asyncio.gather(*(take_some(database) for _ in range(4)))
    given.sort(key=lambda each: each.number)
    assert all(later.at > sooner.at for sooner, later in pairwise(given))


async def test_a_question_that_is_given_up_gives_up_its_turn(paced: str) -> None:
    async with open_database(paced) as database:
        async with database.connection() as connection:
            await connection.execute("truncate hark.source_pace")

        pace = Pace(database, RealClock(), "x", Rate(1, timedelta(seconds=2)), PATIENT)

        async def ask() -> int:
            async with pace.permit(START + timedelta(days=9999)) as permit:
                return permit.number

        assert await ask() == 1
        waiting = asyncio.create_task(ask())
        await asyncio.sleep(0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await ask() == 3


async def test_a_moment_that_was_missed_by_far_is_not_used() -> None:
    permit = Permit(1, datetime.now(UTC) - timedelta(seconds=2), 0, RealClock(), lambda: None, SECOND / 2)
    with pytest.raises(Missed):
        await permit.begins()
    await Permit(1, datetime.now(UTC) - 100 * MS, 0, RealClock(), lambda: None, timedelta(minutes=1)).begins()
