"""The database goes away in the middle of an attempt: what is known of a hand-over is written down when it is back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import psycopg
import pytest

from hark.delivery import attempt as steps
from hark.delivery.handover import Outcome, Prepared
from hark.delivery.recheck import Rechecked
from hark.delivery.settle import mark
from hark.postgres.database import Database
from tests.world import ACCEPTED, DEFERRED, World, students

pytestmark = pytest.mark.chaos

Mark = Callable[[Database, Sequence[Rechecked], datetime], Awaitable[set[int]]]


@pytest.mark.parametrize(("answer", "end"), [(ACCEPTED, ("SENT", "accepted")), (DEFERRED, ("PENDING", "none"))])
async def test_an_answer_outlives_the_connection(world: World, answer: Outcome, end: tuple[str, str]) -> None:
    def cut_and_answer(_prepared: Prepared) -> Outcome:
        _cut_all(world)
        return answer

    world.recorder.answer = cut_and_answer
    await _mention(world, 3)
    await world.attempt()
    assert {(row.state, row.outcome) for row in await world.deliveries()} == {end}


async def test_a_mark_whose_commit_nobody_confirmed_is_undone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "mark", _losing_its_answer(mark))
    await _mention(world, 3)
    with pytest.raises(psycopg.OperationalError):
        await world.attempt()
    assert {(row.state, row.outcome) for row in await world.deliveries()} == {("PENDING", "none")}
    monkeypatch.undo()
    await world.drain()
    assert {(row.state, row.outcome, row.attempt) for row in await world.deliveries()} == {("SENT", "accepted", 2)}
    assert len(world.recorder.handed_over) == 3


async def test_a_mark_that_was_not_committed_is_given_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "mark", _losing_its_answer(None))
    await _mention(world, 3)
    with pytest.raises(psycopg.OperationalError):
        await world.attempt()
    assert {(row.state, row.outcome) for row in await world.deliveries()} == {("PENDING", "none")}
    assert not world.recorder.handed_over


async def _mention(world: World, people: int) -> None:
    known = students(people)
    await world.know(*known)
    await world.publish("mention", to=[each.id for each in known])
    await world.fan_out()


def _losing_its_answer(real: Mark | None) -> Mark:
    async def marking(database: Database, deliveries: Sequence[Rechecked], now: datetime) -> set[int]:
        if real is not None:
            await real(database, deliveries, now)
        raise psycopg.OperationalError("the connection is lost")

    return marking


def _cut_all(world: World) -> None:
    with psycopg.connect(world.dsn, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
