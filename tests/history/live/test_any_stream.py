"""Whatever a stream brings, in whatever order, however often and however it breaks: the facts are the fold."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from hark import flags
from hark.clock import VirtualClock
from hark.flags import Author, FlagGate, Named
from hark.history.facts import Fact
from hark.history.live.contracts import News
from hark.history.live.positions import Displaced
from hark.lists import FileReach
from hark.postgres.database import open_database
from tests.history.ledger import Ledger
from tests.history.live.events import RECEIPTS, receipt, value
from tests.history.live.stream import TOPICS, Consumer, ingestor
from tests.history.shopping import NOW, Shop

EMPTY = """truncate hark.fact, hark.fact_refused, hark.fact_snapshot, hark.history_user, hark.product,
    hark.ingest_position, hark.ingest_dead"""
USERS = ("ann", "bob")
AUTHOR = Author("test", NOW)


class CrashError(Exception):
    """The process ends here."""


class Crashing(Consumer):
    """One that may end right before or after it has written."""

    crash: str = ""

    async def settle(self, *given: Any, **more: Any) -> None:
        await super().settle(*given, **more)
        if self.crash == "before":
            raise CrashError

    def settled(self, messages: Any) -> None:
        if self.crash == "after":
            raise CrashError
        super().settled(messages)


class Ground:
    """A database that outlives the examples, with a flag, and a loop to ask it in."""

    def __init__(self, dsn: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.shop = Shop(self.run(self.stack.enter_async_context(open_database(dsn, size=2))))
        self.run(flags.create(self.shop.database, "live", AUTHOR))
        self.let_in(())

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def let_in(self, users: Sequence[str]) -> None:
        rule_ = Named(tuple(users))
        self.run(flags.set_segment(self.shop.database, "live", "first", rule_, AUTHOR, reach=FileReach()))

    def empty(self) -> None:
        self.run(self._execute(EMPTY))

    async def _execute(self, sql: str) -> None:
        async with self.shop.database.connection() as connection:
            await connection.execute(sql.encode())

    def consumer(self) -> Crashing:
        database = self.shop.database
        made = Crashing(ingestor(database, FlagGate(database, VirtualClock(NOW), "live", "test")))
        self.run(made.begin())
        return made

    def close(self) -> None:
        self.run(self.stack.aclose())
        self.loop.close()


class Streams(RuleBasedStateMachine):
    """Services write receipts into a topic; consumers read it, stall, crash; the flag lets users in and out."""

    ground: Ground

    def __init__(self) -> None:
        super().__init__()
        self.ground.empty()
        self.ground.let_in(())
        self.topic: list[bytes] = []
        self.handled = 0
        self.let_in: frozenset[str] = frozenset()
        self.ledger = Ledger()
        self.dead = 0
        self.consumers = [self.ground.consumer(), self.ground.consumer()]
        self.version = 0

    @rule(user=st.sampled_from(USERS), number=st.sampled_from("12"), items=st.lists(st.sampled_from("mt"), max_size=3))
    def buy(self, user: str, number: str, items: list[str]) -> None:
        self.version += 1
        self.topic.append(value(receipt(f"{user}{number}", *items, user=user, version=self.version)))

    @precondition(lambda self: self.topic)
    @rule(which=st.integers(0, 99))
    def write_again(self, which: int) -> None:
        self.topic.append(self.topic[which % len(self.topic)])

    @rule(said=st.sampled_from([b"", b"{", b'{"user_id": "ann"}']))
    def write_nonsense(self, said: bytes) -> None:
        self.topic.append(said)

    @rule(users=st.frozensets(st.sampled_from(USERS)))
    def turn(self, users: frozenset[str]) -> None:
        self.ground.let_in(sorted(users))
        self.let_in = users

    @rule(who=st.sampled_from([0, 1]), count=st.integers(1, 4), crash=st.sampled_from(["", "", "before", "after"]))
    def consume(self, who: int, count: int, crash: str) -> None:
        """From where this one believes the stream to be; what it is right in is written, and nothing else."""
        one = self.consumers[who]
        chunk = self.topic[one.position : one.position + count]
        if not chunk:
            return
        is_right, one.crash = one.position == self.handled, crash
        with contextlib.suppress(CrashError, Displaced):
            self.ground.run(one.take(*chunk))
        if is_right and crash != "before":
            self._handled(chunk)
        if crash or not is_right:
            self.consumers[who] = self.ground.consumer()

    def _handled(self, chunk: Sequence[bytes]) -> None:
        self.handled += len(chunk)
        said = [TOPICS.read(RECEIPTS, each) for each in chunk]
        news = [each for each in said if isinstance(each, News)]
        self.dead += len(said) - len(news)
        facts: list[Fact] = [fact for each in news if each.user_id in self.let_in for fact in each.facts]
        self.ledger.say(None, facts)

    @invariant()
    def the_facts_are_the_fold(self) -> None:
        for user in USERS:
            held = self.ground.run(self.ground.shop.alive(user))
            assert held == {key: fact.version for key, fact in self.ledger.alive(user).items()}

    @invariant()
    def letters_are_there_once(self) -> None:
        (row,) = self.ground.run(self.ground.shop.rows("select count(*) as dead from hark.ingest_dead"))
        assert row.dead == self.dead


@pytest.fixture
def ground(database: str) -> Iterator[Ground]:
    opened = Ground(database)
    yield opened
    opened.close()


def test_facts_are_the_fold_of_what_was_let_in(ground: Ground) -> None:
    run_state_machine_as_test(
        type("Machine", (Streams,), {"ground": ground}),
        settings=settings(
            max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
