"""Any life of a few people whose clocks are strange: the year's verbs in whatever order, held against its ledger."""

from __future__ import annotations

import os
from datetime import UTC, datetime, time
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from hark.catalogue import Frequency
from tests.machines import WorldMachine, live
from tests.servers import Postgres
from tests.year.life import (
    FRONT_PAGE,
    NEWS,
    POINTS,
    READERS,
    ROUND_UP,
    SUBSCRIBERS,
    THREAD,
    WEEKLY_PAGE,
    Changed,
    Chose,
    Happening,
    Kill,
    Life,
    Moved,
    Muted,
    Outage,
    Person,
    Posted,
    Read,
    Said,
    Scale,
    Slept,
    Unsaid,
)
from tests.year.simulation import Simulation

SPRING = datetime(2026, 3, 27, 20, 55, tzinfo=UTC)
"""Two nights before Beirut has no quarter past midnight; a week before Lord Howe has half an hour twice."""

BEIRUT, LORD_HOWE, ST_JOHNS = "Asia/Beirut", "Australia/Lord_Howe", "America/St_Johns"
PEOPLE = (
    Person("u1", READERS, BEIRUT, time(0, 15)),
    Person("u2", READERS, LORD_HOWE, None),
    Person("u3", SUBSCRIBERS, LORD_HOWE, None),
    Person("u7", READERS, ST_JOHNS, time(23, 30)),
)
THREADS = ("post:t0", "post:t1")
FOLLOWS = (
    *((person.id, THREADS[0]) for person in PEOPLE),
    *((person, THREADS[1]) for person in ("u1", "u7")),
    *((person, "topic:news") for person in ("u1", "u2")),
)

anyone = st.sampled_from([person.id for person in PEOPLE])
which = st.floats(0, 1, exclude_max=True)
digest_frequency = st.sampled_from([Frequency.NEVER, Frequency.DAILY, Frequency.WEEKLY])


class AnyLife(WorldMachine):
    """Whatever happens, in whatever order: after each step nothing is wrong, and in the end nothing is missing."""

    def __init__(self) -> None:
        super().__init__()
        life = Life(Scale(0, 0, seed=0))
        life.people, life.follows = PEOPLE, FOLLOWS
        self.simulation = Simulation(self.world, life, start=SPRING)

    def happen(self, happening: Happening) -> None:
        self.run(self.simulation.happen(happening))

    @initialize()
    def begin(self) -> None:
        self.run(self.simulation.begin())

    # What people do -------------------------------------------------------------------------------------------------

    @rule(actor=anyone, thread=st.sampled_from(THREADS), named=st.frozensets(anyone, max_size=2))
    def reply(self, actor: str, thread: str, named: frozenset[str]) -> None:
        self.happen(Said(THREAD, thread, tuple(sorted(named)), actor))

    @rule(reason=st.sampled_from([NEWS, ROUND_UP]), actor=anyone)
    def announce(self, reason: str, actor: str) -> None:
        self.happen(Said(reason, "topic:news", (), actor))

    @rule(which=which)
    def delete_a_reply(self, which: float) -> None:
        self.happen(Unsaid(which))

    @rule(author=anyone, late=st.sampled_from([0, 0, 2, 30]), backdated=st.sampled_from([0, 400]))
    def post(self, author: str, late: int, backdated: int) -> None:
        self.happen(Posted(author, late, backdated))

    @rule(which=which, how=st.sampled_from(["deleted", "private", "edited"]))
    def change_a_post(self, which: float, how: Any) -> None:
        self.happen(Changed(which, how))

    @rule(person=anyone, reason=st.sampled_from([THREAD, NEWS]), frequency=st.sampled_from(Frequency))
    def choose(self, person: str, reason: str, frequency: Frequency) -> None:
        self.happen(Chose(person, reason, frequency))

    @rule(person=anyone, reason=st.sampled_from([FRONT_PAGE, WEEKLY_PAGE]), frequency=digest_frequency)
    def choose_a_digest(self, person: str, reason: str, frequency: Frequency) -> None:
        self.happen(Chose(person, reason, frequency))

    @rule(person=anyone, thread=st.sampled_from(THREADS), muted=st.booleans())
    def mute(self, person: str, thread: str, muted: bool) -> None:
        self.happen(Muted(person, thread, muted))

    @rule(person=anyone)
    def read(self, person: str) -> None:
        self.happen(Read(person))

    @rule(person=anyone, zone=st.sampled_from([BEIRUT, LORD_HOWE, ST_JOHNS]))
    def move(self, person: str, zone: str) -> None:
        self.happen(Moved(person, zone))

    # What goes wrong ------------------------------------------------------------------------------------------------

    @rule(hours=st.integers(1, 9), lost_answers=st.booleans())
    def outage(self, hours: int, lost_answers: bool) -> None:
        self.happen(Outage(hours, lost_answers))

    @rule(point=st.sampled_from(POINTS), after=st.integers(0, 2))
    def kill(self, point: str, after: int) -> None:
        self.happen(Kill(point, after))

    @rule(hours=st.sampled_from([2, 30, 80]), planners=st.booleans())
    def sleep(self, hours: int, planners: bool) -> None:
        self.happen(Slept(hours, planners))

    # Time -----------------------------------------------------------------------------------------------------------

    @rule(hours=st.sampled_from([1, 3, 12, 24, 48]))
    def pass_time(self, hours: int) -> None:
        for _ in range(hours):
            self.run(self.simulation.pass_an_hour())

    @invariant()
    def nothing_is_wrong(self) -> None:
        assert self.simulation.ledger.faults == []

    def in_the_end(self) -> None:
        assert self.run(self.simulation.end()) == []


@pytest.mark.slow
def test_nothing_twice_nothing_lost_nothing_unwanted_in_any_life(postgres: Postgres, world_template: str) -> None:
    live(AnyLife, postgres, world_template, lives=100 if os.environ.get("HARK_YEAR") == "full" else 5, steps=25)
