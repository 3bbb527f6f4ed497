"""In whatever order things happen: each item in exactly one sent digest, by a model that knows of no snapshots."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
)

from hark.catalogue import Frequency
from hark.digests import coverage, planning
from tests.digests.forum import digests, front_page, hand_over, keys_sent, open_forum
from tests.machines import WorldMachine, live
from tests.servers import Postgres
from tests.world import World

FEW = planning.FEW
PEOPLE = ("ada", "bob")
HOUR = timedelta(hours=1)


class Digests(WorldMachine):
    """Posts are committed at once or late; mornings come and are missed; messages end in every way."""

    def __init__(self) -> None:
        super().__init__()
        self.slow: list[tuple[str, psycopg.Connection[Any]]] = []
        self.posted: list[str] = []
        self.number = 0

    @initialize(few=st.sampled_from([0, FEW]))
    def begin(self, few: int) -> None:
        """`few`: as many are planned by a plan that is kept; with 0, each chunk is planned anew."""
        planning.FEW = few
        self.run(open_forum(self.world, front_page(cap=100)))
        self.run(self.world.know(*PEOPLE))
        self.run(self.world.plan())

    def next_key(self) -> str:
        self.number += 1
        return f"p{self.number}"

    def insert(self, connection: psycopg.Connection[Any], key: str, days_ago: int) -> None:
        at = self.world.clock.now() - timedelta(days=days_ago)
        connection.execute("insert into public.post (key, posted_at) values (%s, %s)", [key, at])

    @rule(days_ago=st.integers(0, 9))
    def publish(self, days_ago: int) -> None:
        with psycopg.connect(self.world.dsn, autocommit=True) as connection:
            self.insert(connection, key := self.next_key(), days_ago)
        self.posted.append(key)

    @precondition(lambda self: len(self.slow) < 3)
    @rule()
    def begin_slowly(self) -> None:
        connection = psycopg.connect(self.world.dsn)
        self.insert(connection, key := self.next_key(), 0)
        self.slow.append((key, connection))

    @precondition(lambda self: self.slow)
    @rule(which=st.integers(0, 2), commit=st.booleans())
    def end_slowly(self, which: int, commit: bool) -> None:
        key, connection = self.slow.pop(which % len(self.slow))
        if commit:
            connection.commit()
            self.posted.append(key)
        connection.close()

    @rule(hours=st.sampled_from([1, 5, 20, 24, 60]), chunk=st.sampled_from([1, 5000]))
    def pass_time_and_plan(self, hours: int, chunk: int) -> None:
        self.world.clock.advance(hours * HOUR)
        self.run(self.world.plan(chunk=chunk))

    @rule(hours=st.sampled_from([1, 30]))
    def sleep_through(self, hours: int) -> None:
        self.world.clock.advance(hours * HOUR)

    @rule(outcome=st.sampled_from(["accepted", "unknown", "canceled", "refused", "deferred"]))
    def hand_over(self, outcome: str) -> None:
        self.run(hand_over(self.world, outcome))

    @rule(who=st.sampled_from(PEOPLE), frequency=st.sampled_from([Frequency.DAILY, Frequency.WEEKLY]))
    def choose(self, who: str, frequency: Frequency) -> None:
        self.run(self.world.choose(who, "front_page", frequency=frequency))

    @rule(who=st.sampled_from(PEOPLE), zone=st.sampled_from(["UTC", "Asia/Tokyo", "America/Los_Angeles"]))
    def move(self, who: str, zone: str) -> None:
        self.run(self.world.execute("update hark.recipient set zone = %s where id = %s", zone, who))

    @invariant()
    def nothing_is_told_twice(self) -> None:
        for who in PEOPLE:
            keys = self.run(keys_sent(self.world, who))
            assert len(keys) == len(set(keys))

    def let_go(self) -> None:
        planning.FEW = FEW
        for _, connection in self.slow:
            connection.close()

    def in_the_end(self) -> None:
        """Three weeks of mornings without trouble: a weekly one, after what was deferred, and what it kept back."""
        for _ in range(22 if self.number else 1):
            self.world.clock.advance(timedelta(days=1))
            self.run(self.world.plan())
            self.run(hand_over(self.world))
        for who in PEOPLE:
            assert sorted(self.run(keys_sent(self.world, who))) == sorted(self.posted)
        assert self.run(_faults(self.world)) == []
        assert all(keys for _, keys in self.run(digests(self.world))), "none without news"


async def _faults(world: World) -> list[Any]:
    return [fault async for fault in coverage.faults(world.database, world.clock.now())]


@pytest.mark.slow
def test_each_item_is_in_exactly_one_sent_digest(postgres: Postgres, world_template: str) -> None:
    live(Digests, postgres, world_template, lives=12, steps=25)
