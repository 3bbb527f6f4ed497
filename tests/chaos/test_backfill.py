"""kill -9 and SIGSTOP of whoever takes part in a backfill, wherever they stand, and of Postgres under them.

What is left in the end is what an uninterrupted run leaves, to the byte: preferences, journal, counts.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from hark.backfill.batches import Step
from hark.backfill.plan import PlanStep
from tests.backfill.campus import open_campus
from tests.chaos.backfill_child import Order
from tests.chaos.conftest import FULL
from tests.chaos.nursery import Nursery
from tests.chaos.test_kill_postgres import Durable, durable
from tests.servers import Child, Postgres, eventually

__all__ = ["durable"]

pytestmark = pytest.mark.chaos

POINTS: tuple[PlanStep | Step, ...] = (*PlanStep, *(step for step in Step if step is not Step.WORKED))
"""All fifteen; what is worked at outside of transactions is killed in tests/history/loading."""
IN_A_TRANSACTION = (Step.BEGUN, Step.FENCED, Step.APPLIED, Step.QUARANTINED, Step.SETTLED)
POISON = """
create function hark.poison() returns trigger language plpgsql as $$
begin
    if new.recipient_id = 'u07' then raise exception 'poisoned' using errcode = '22023'; end if;
    return new;
end $$;
create trigger poison before update on hark.preference for each row execute function hark.poison();
"""
HELD = ('{"reply": ["email"]}', '{"reply": []}', "{}", '{"reply": null, "tip": []}', '{"reply": ["push", "in_app"]}')
_numbers = itertools.count(1)

LEFT = {
    "preferences": "select recipient_id, channels::text, frequencies::text from hark.preference order by 1",
    "journal": (
        "select recipient_id, batch, outcome::text, before::text, after::text, why from hark.backfill_item order by 1"
    ),
    "counts": (
        "select number, state::text, members, to_change, applied, drifted, quarantined"
        " from hark.backfill_batch order by 1"
    ),
    "runs": "select state::text, hash, members, to_change, batches from hark.backfill order by id",
    "plan": "select batch, number, outcomes::text, change::text, members from hark.backfill_part order by 1, 2",
    "told": "select reason, payload ->> 'state' from hark.event order by id",
}


@dataclass(slots=True)
class Ward:
    """A database with forty users and a backfill of them that is being planned, and who works at it."""

    dsn: str
    nursery: Nursery
    hands: list[Child] = field(default_factory=list)

    def hand(self, *halts: str, **given: Any) -> Child:
        """Somebody who is ready to work."""
        child = self.nursery.backfiller(Order(self.dsn, f"hand/{next(_numbers)}", 1, halts, **given))
        self.hands.append(child)
        child.wait_for("ready")
        return child

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def apply_once_planned(self) -> None:
        """What an operator does."""
        eventually(lambda: self.ask("select state = 'PLANNED' from hark.backfill")[0][0], "it is planned")
        self.ask("update hark.backfill set state = 'APPLYING' where state = 'PLANNED'")

    def work_to_the_end(self) -> None:
        """Another one does what is left."""
        if self.ask("select state::text from hark.backfill")[0][0] == "PLANNING":
            planner = self.hand()
            planner.tell("work")
            planner.wait_for("over")
        if self.ask("select state::text from hark.backfill")[0][0] == "PLANNED":
            self.apply_once_planned()
        survivor = self.hand()
        survivor.tell("work")
        survivor.wait_for("over")

    def left(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that must be the same, whatever happened."""
        return {name: self.ask(sql) for name, sql in LEFT.items()}

    def end(self) -> None:
        """Nobody works any more."""
        for child in self.hands:
            child.kill()


async def _furnish(dsn: str) -> None:
    async with open_campus(dsn) as campus:
        await campus.run(POISON)
        await campus.run("insert into hark.recipient (id, user_type, updated_at) values ('olga', 'Admins', now())")
        await campus.run(
            "insert into hark.recipient (id, user_type, updated_at)"
            " select 'u' || lpad(n::text, 2, '0'), 'Students', now() from generate_series(1, 40) n"
        )
        await campus.run(
            "insert into hark.preference select id, (%s::jsonb[])[1 + right(id, 2)::int %% 5], '{}', '2026-01-01'"
            " from hark.recipient where user_type = 'Students'",
            list(HELD),
        )
        await campus.run("alter table hark.backfill alter adaptive set default false")
        await campus.ask(batch_size=7)
        # Asked for just now, by the clock that hands have: by the campus's it would have stalled for months.
        told = """{"reason": "done", "to": ["olga"]}"""
        await campus.run("update hark.backfill set adaptive = false, changed_at = now(), notify = %s", told)


@pytest.fixture(scope="module")
def furnished(postgres: Postgres, template: str) -> str:
    """The name of a database to clone wards from."""
    name = postgres.create_database(template)
    asyncio.run(_furnish(postgres.dsn(name)))
    return name


@pytest.fixture
def ward(postgres: Postgres, furnished: str, nursery: Nursery) -> Iterator[Ward]:
    """A fresh one."""
    name = postgres.create_database(furnished)
    opened = Ward(postgres.dsn(name), nursery)
    yield opened
    opened.end()
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def undisturbed(postgres: Postgres, furnished: str, nursery: Nursery) -> dict[str, list[tuple[Any, ...]]]:
    """What an uninterrupted run leaves."""
    name = postgres.create_database(furnished)
    alone = Ward(postgres.dsn(name), nursery)
    alone.work_to_the_end()
    left = alone.left()
    alone.end()
    postgres.drop_database(name)
    assert left["runs"][0][0] == "APPLIED"
    assert left["told"] == [("done", "APPLIED")]
    assert sum(row[6] for row in left["counts"]) == 1, "the poisoned one is quarantined, and nobody else"
    return left


def stands_at(ward: Ward, point: PlanStep | Step, **given: Any) -> Child:
    """Somebody who works until they stand still at a point."""
    victim = ward.hand(point.value, **given)
    if isinstance(point, Step):
        planner = ward.hand()
        planner.tell("work")
        planner.wait_for("over")
        ward.apply_once_planned()
    victim.tell("work")
    victim.wait_for("at")
    return victim


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_killed_at(point: PlanStep | Step, ward: Ward, undisturbed: dict[str, Any]) -> None:
    stands_at(ward, point).kill()
    ward.work_to_the_end()
    assert ward.left() == undisturbed


@pytest.mark.parametrize("point", [Step.CLAIMED, *IN_A_TRANSACTION], ids=str)
def test_stopped_past_the_lease_at(point: Step, ward: Ward, undisturbed: dict[str, Any]) -> None:
    """Another one does its work meanwhile; what it does when it goes on changes nothing."""
    zombie = stands_at(ward, point)
    zombie.freeze()
    zombie.tell("on")
    ward.work_to_the_end()
    before = ward.left()
    assert before == undisturbed
    zombie.thaw()
    zombie.wait_for("over")
    assert ward.left() == before


def test_killed_again_and_again_by_chance(ward: Ward, undisturbed: dict[str, Any], times: int) -> None:
    planner = ward.hand()
    planner.tell("work")
    planner.wait_for("over")
    ward.apply_once_planned()
    for number in range(min(times, 4)):
        victim = ward.hand()
        victim.tell("work")
        time.sleep(0.01 * number)  # waits for nothing: the moment is the point
        victim.kill()
    ward.work_to_the_end()
    assert ward.left() == undisturbed


def test_started_twice_at_once(ward: Ward, undisturbed: dict[str, Any]) -> None:
    both = [ward.hand(), ward.hand()]
    for hand in both:
        hand.tell("work")
    for hand in both:
        hand.wait_for("over")
    ward.apply_once_planned()
    more = [ward.hand(), ward.hand(), ward.hand()]
    for hand in more:
        hand.tell("work")
    for hand in more:
        hand.wait_for("over")
    assert ward.left() == undisturbed


def test_the_command_line_killed_while_it_applies(ward: Ward, undisturbed: dict[str, Any]) -> None:
    planner = ward.hand()
    planner.tell("work")
    planner.wait_for("over")
    ward.ask("update hark.backfill set rate = 20")
    command = subprocess.Popen(
        [sys.executable, "-c", "from hark.doors.cli import main; main()", "backfill", "apply", "1"],
        env={**os.environ, "HARK_DATABASE_URL": ward.dsn},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually(lambda: ward.ask("select count(*) > 0 from hark.backfill_item")[0][0], "it has begun")
    command.kill()
    command.wait()
    ward.ask("update hark.backfill set rate = null")
    ward.ask("update hark.backfill_batch set lease_until = now() where lease_until is not null")
    ward.work_to_the_end()
    assert ward.left() == undisturbed


SERVER_POINTS = POINTS if FULL else (PlanStep.WRITTEN, Step.CLAIMED, Step.APPLIED, Step.SETTLED, Step.TOLD)


@pytest.mark.parametrize("point", SERVER_POINTS, ids=str)
def test_postgres_killed_at(
    point: PlanStep | Step, durable: Durable, nursery: Nursery, undisturbed: dict[str, Any]
) -> None:
    ward = _durable_ward(durable, nursery)
    try:
        victim = stands_at(ward, point)
        durable.kill_postmaster()
        victim.tell("on")
        ward.work_to_the_end()
        victim.wait_for("over")
        assert ward.left() == undisturbed
    finally:
        ward.end()


def _durable_ward(durable: Durable, nursery: Nursery) -> Ward:
    from hark.postgres.migrate import migrate

    name = f"ward_{time.monotonic_ns()}"
    with psycopg.connect(durable.server.dsn, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    dsn = durable.server.dsn_of(name)
    asyncio.run(migrate(dsn))
    asyncio.run(_furnish(dsn))
    return Ward(dsn, nursery)
