"""Whatever is said about purchases, in whatever order and however often: the facts are what a fold of it says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from hark.history.facts import Fact, Kind, order_key
from hark.postgres.database import open_database
from tests.history.ledger import Ledger
from tests.history.shopping import JANUARY, NOW, Shop, line
from tests.history.source import PRODUCTS, Source, Thing

USERS = ("ann", "bob")
RUNS = (1, 2, 3)
EMPTY = "truncate hark.fact, hark.fact_refused, hark.fact_snapshot, hark.history_user, hark.product"

things = st.tuples(st.sampled_from(USERS), st.sampled_from(Kind), st.sampled_from("123"))
some_lines = st.dictionaries(st.integers(1, 3), st.sampled_from(PRODUCTS), max_size=3).map(lambda d: tuple(d.items()))
since = st.sampled_from([JANUARY - timedelta(days=90), JANUARY, NOW - timedelta(days=30)])


class Ground:
    """A shop that outlives the examples, and a loop to ask it in."""

    def __init__(self, dsn: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.shop = Shop(self.run(self.stack.enter_async_context(open_database(dsn, size=1))))

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def execute(self, sql: str) -> None:
        self.run(self._execute(sql))

    async def _execute(self, sql: str) -> None:
        async with self.shop.database.connection() as connection:
            await connection.execute(sql.encode())

    def close(self) -> None:
        self.run(self.stack.aclose())
        self.loop.close()


class Facts(RuleBasedStateMachine):
    """A source changes; its events come late, again, mixed up; it is loaded as it stood once; loads are undone."""

    ground: Ground

    def __init__(self) -> None:
        super().__init__()
        self.ground.execute(EMPTY)
        self.shop = self.ground.shop
        self.source = Source()
        self.ledger = Ledger()
        self.before: dict[str, dict[str, Fact]] = {user: {} for user in USERS}
        self.versions = dict.fromkeys(USERS, 0)
        self.graph: dict[str, tuple[int, dict[str, int]]] = {user: (0, {}) for user in USERS}

    @rule(thing=things, lines=some_lines)
    def change(self, thing: Thing, lines: Sequence[tuple[int, str]]) -> None:
        self.source.write(thing, lines)

    @precondition(lambda self: self.source.rows)
    @rule(which=st.lists(st.integers(0, 99), min_size=1, max_size=4), by=st.sampled_from([None, *RUNS]))
    def deliver(self, which: Sequence[int], by: int | None) -> None:
        rows = [self.source.rows[each % self.source.version] for each in which]
        facts = [fact for row in rows for fact in row.facts()]
        self.ground.run(self.shop.record(*facts, by=by))
        self.ledger.say(by, facts)

    @rule(
        user=st.sampled_from(USERS),
        kind=st.sampled_from(Kind),
        since=since,
        ago=st.integers(0, 4),
        by=st.sampled_from(RUNS),
        forced=st.booleans(),
    )
    def load(self, user: str, kind: Kind, since: Any, ago: int, by: int, forced: bool) -> None:
        """Forced or not comes to the same, where a source says one thing of one version."""
        snapshot = self.source.load(user, kind, since, max(self.source.version - ago, 0))
        self.ground.run(self.shop.load_all(snapshot, by=by, corrects=forced))
        self.ledger.say(by, snapshot.facts, snapshot)

    @rule(user=st.sampled_from(USERS), number=st.sampled_from("12"), version=st.integers(0, 9))
    def claim(self, user: str, number: str, version: int) -> None:
        """A key that may belong to another."""
        fact = Fact(user, order_key(f"ann{number}"), version + 100, "milk", None, 1, "EUR", Decimal(1), NOW)
        if self.ledger.owner.get(fact.key, "ann") != "ann" or user != "ann":
            self.ground.run(self.shop.record(fact))
            self.ledger.say(None, [fact])

    @rule(users=st.sampled_from([("bob",), USERS]), versions=st.tuples(st.integers(0, 9), st.integers(0, 9)))
    def claim_at_once(self, users: Sequence[str], versions: tuple[int, int]) -> None:
        """A key that both may claim in one batch: it is its owner's, and a new one the first one's, by id."""
        facts = [
            Fact(user, order_key("anyone's"), version + 100, "milk", None, 1, "EUR", Decimal(1), NOW)
            for user, version in zip(users, versions, strict=False)
        ]
        self.ground.run(self.shop.record(*facts))
        self.ledger.say(None, facts)

    @rule(run=st.sampled_from(RUNS), user=st.sampled_from(USERS))
    def undo(self, run: int, user: str) -> None:
        self.ground.run(self.shop.undo(run, user))
        self.ledger.take_back(run, user)

    @rule(user=st.sampled_from(USERS))
    def project(self, user: str) -> None:
        """Only what changed since the version that the graph has."""
        self.ground.run(self._project(user))
        held, edges = self.graph[user]
        assert edges == {key: fact.version for key, fact in self.ledger.alive(user).items()}
        assert held == self.versions[user]

    async def _project(self, user: str) -> None:
        held, edges = self.graph[user]
        for row in await self.shop.rows("select * from hark.fact where user_id = %s and moved_at > %s", user, held):
            edges.pop(row.key, None)
            if not row.deleted:
                edges[row.key] = row.version
        self.graph[user] = (await self._version(user), edges)

    async def _version(self, user: str) -> int:
        rows = await self.shop.rows("select version from hark.history_user where user_id = %s", user)
        return rows[0].version if rows else 0

    @invariant()
    def the_facts_are_the_fold(self) -> None:
        for user in USERS:
            held, expected = self.ground.run(self._held(user)), self.ledger.alive(user)
            assert held == {key: (fact.version, fact.product_id) for key, fact in expected.items()}

    async def _held(self, user: str) -> dict[str, tuple[int, str]]:
        rows = await self.shop.rows("select * from hark.fact where user_id = %s and not deleted", user)
        return {row.key: (row.version, row.product_id) for row in rows}

    @invariant()
    def a_user_moves_on_by_one_exactly_when_their_facts_changed(self) -> None:
        for user in USERS:
            alive = self.ledger.alive(user)
            expected = self.versions[user] + (alive != self.before[user])
            assert self.ground.run(self._version(user)) == expected
            self.before[user], self.versions[user] = alive, expected


@pytest.fixture
def ground(database: str) -> Iterator[Ground]:
    opened = Ground(database)
    yield opened
    opened.close()


def test_facts_are_what_an_independent_fold_says(ground: Ground) -> None:
    run_state_machine_as_test(
        type("Machine", (Facts,), {"ground": ground}),
        settings=settings(
            max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


# Words of one version -------------------------------------------------------------------------------------------------

words = st.builds(
    line,
    st.sampled_from("12"),
    version=st.integers(0, 1),
    product=st.sampled_from(PRODUCTS),
    store=st.sampled_from([None, "north", "south"]),
    amount=st.sampled_from([-5, 0, 129]),
    quantity=st.sampled_from(["1", "0.5"]),
    at=st.sampled_from([JANUARY, NOW]),
    deleted=st.sampled_from([False, False, False, True]),
)


def highest(facts: Sequence[Fact]) -> Fact:
    """By the order that is documented: version, deletion, then time, product, store, amount, currency, quantity."""
    return max(
        facts,
        key=lambda f: (
            *(f.version, f.deleted, f.occurred_at, f.product_id),
            *(f.store_id or "", f.amount_minor, f.currency, f.quantity),
        ),
    )


def test_words_end_the_same_however_they_are_cut_and_ordered(ground: Ground) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.lists(words, max_size=4), min_size=1, max_size=4))
    def check(batches: Sequence[Sequence[Fact]]) -> None:
        ground.execute(EMPTY)
        for batch in batches:
            ground.run(ground.shop.record(*batch))
        rows = ground.run(ground.shop.rows("select * from hark.fact where not deleted"))
        held = {row.key: (row.version, row.occurred_at, row.product_id, row.store_id, row.amount_minor) for row in rows}
        facts = [fact for batch in batches for fact in batch]
        best = [highest([fact for fact in facts if fact.key == key]) for key in {fact.key for fact in facts}]
        assert held == {
            f.key: (f.version, f.occurred_at, f.product_id, f.store_id, f.amount_minor) for f in best if not f.deleted
        }

    check()
