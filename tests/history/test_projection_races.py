"""Two projectors, crashes and restores, each held at the very place where it could do harm."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hark.errors import GraphDeadlock, Unreachable
from hark.history.projection import Node
from hark.history.projection.neo4j_graph import Neo4jGraph, open_graph, translated
from hark.history.projection.projector import Sizes
from hark.history.projection.sending import LINE, SUM, Changes, UserChanges
from tests.graph_server import graph_server
from tests.history.backups import Backup
from tests.history.projection_world import Projected
from tests.history.shopping import Shop, line

A_LEASE = timedelta(minutes=1)


async def nothing() -> None:
    """Go on."""


@dataclass(slots=True)
class Held:
    """A graph before which writes of users wait: something happens just before, or just after them."""

    graph: Neo4jGraph
    before: Callable[[], Awaitable[object]] = nothing
    after: Callable[[], Awaitable[object]] = nothing
    written: list[set[str]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.graph, name)

    async def write(self, node: Node, changes: Changes) -> set[str]:
        """Hold users, not products."""
        if node is Node.PRODUCT:
            return await self.graph.write(node, changes)
        await self.before()
        written = await self.graph.write(node, changes)
        self.written.append(written)
        await self.after()
        return written


@dataclass(slots=True)
class Stall:
    """A place where one stands still until the other is through."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def here(self) -> None:
        """Stand still."""
        self.reached.set()
        await self.go_on.wait()


async def test_one_who_stood_still_before_writing_is_beaten(projected: Projected) -> None:
    stall, slow = Stall(), Held(projected.graph)
    slow.before = stall.here
    await projected.bought(line("r1"))
    late = asyncio.create_task(projected.projector("slow", graph=slow).step())
    await stall.reached.wait()
    await projected.bought(line("r1", version=2, deleted=True), line("r2"))
    projected.clock.advance(A_LEASE)
    await projected.project("quick")
    stall.go_on.set()
    assert (await late).beaten == 1
    assert slow.written == [set()]
    await projected.assert_in_step()


async def test_one_who_stood_still_before_marking_does_not_set_the_mark_back(projected: Projected) -> None:
    stall, slow = Stall(), Held(projected.graph)
    slow.after = stall.here
    await projected.bought(line("r1"))
    late = asyncio.create_task(projected.projector("slow", graph=slow).step())
    await stall.reached.wait()
    await projected.bought(line("r2"))
    projected.clock.advance(A_LEASE)
    await projected.project("quick")
    assert await projected.marked() == 2
    stall.go_on.set()
    await late
    assert await projected.marked() == 2
    await projected.assert_in_step()


async def test_of_two_at_once_one_writes(projected: Projected) -> None:
    both, reached = asyncio.Barrier(2), asyncio.Event()

    async def here() -> None:
        reached.set()
        await both.wait()

    await projected.bought(*(line("r", number, user=f"u{number % 5}") for number in range(30)))
    first = projected.projector("first", graph=Held(projected.graph, before=here))
    second = projected.projector("second", graph=Held(projected.graph, before=here))
    begun = asyncio.create_task(first.step())
    await reached.wait()
    projected.clock.advance(A_LEASE)
    steps = await asyncio.gather(begun, second.step())
    assert sum(step.users for step in steps) == 5
    assert sum(step.beaten for step in steps) == 5
    await projected.assert_in_step()


async def test_two_transactions_are_under_way_at_once_and_no_more(projected: Projected) -> None:
    both, under_way, most = asyncio.Barrier(2), 0, 0

    async def begins() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await both.wait()

    async def ends() -> None:
        nonlocal under_way
        under_way -= 1

    await projected.bought(*(line("r", number, user=f"u{number % 6}") for number in range(30)))
    held = Held(projected.graph, before=begins, after=ends)
    async with asyncio.timeout(60):
        done = await projected.projector(graph=held, sizes=Sizes(nodes=1)).step()
    assert (done.users, done.beaten, most) == (6, 0, 2)
    await projected.assert_in_step()


async def test_a_fault_of_one_transaction_ends_the_other_and_nothing_is_lost(projected: Projected) -> None:
    stall, begun = Stall(), 0

    async def first_fails() -> None:
        nonlocal begun
        begun += 1
        if begun > 1:
            await stall.here()
        await stall.reached.wait()
        raise Unreachable("away")

    await projected.bought(*(line("r", number, user=f"u{number % 4}") for number in range(8)))
    held = Held(projected.graph, before=first_fails)
    async with asyncio.timeout(60):
        with pytest.raises(Unreachable):
            await projected.projector(graph=held, sizes=Sizes(nodes=1)).step()
    assert (begun, held.written) == (2, [])
    assert (await projected.project()).users == 4
    await projected.assert_in_step()


async def test_a_transaction_that_the_graph_undid_for_another_one_is_sent_again(projected: Projected) -> None:
    tries = 0

    async def waits_for_the_other() -> None:
        nonlocal tries
        tries += 1
        if tries in {1, 2, 4}:
            raise GraphDeadlock("the graph undid it")

    await projected.bought(*(line("r", number, user=f"u{number % 2}") for number in range(6)))
    held = Held(projected.graph, before=waits_for_the_other)
    done = await projected.projector(graph=held, sizes=Sizes(nodes=1)).step()
    assert (done.users, tries) == (2, 5)
    await projected.assert_in_step()


async def test_a_deadlock_is_told_from_other_faults(projected: Projected) -> None:
    """Two transactions, each of which holds the node that the other one waits for."""
    held = asyncio.Barrier(2)
    await projected.ask("CREATE (:Store {store_id: 'north'}), (:Store {store_id: 'south'})")

    async def lock(first: str, second: str) -> None:
        touched = "MATCH (s:Store {store_id: $id}) SET s._lock = true REMOVE s._lock"
        with translated():
            async with projected.graph.driver.session() as session, await session.begin_transaction() as transaction:
                await (await transaction.run(touched, id=first)).consume()
                await held.wait()
                await (await transaction.run(touched, id=second)).consume()
                await transaction.commit()

    ended = await asyncio.gather(lock("north", "south"), lock("south", "north"), return_exceptions=True)
    assert any(isinstance(each, GraphDeadlock) for each in ended)
    assert all(each is None or isinstance(each, GraphDeadlock) for each in ended)


async def test_whoever_loses_the_lease_begins_no_more_transactions(projected: Projected) -> None:
    taken = False

    async def another_takes_it() -> None:
        nonlocal taken
        if not taken:
            projected.clock.advance(A_LEASE)
            taken = await projected.projector("other").leads()

    await projected.bought(*(line("r", number, user=f"u{number}") for number in range(6)))
    held = Held(projected.graph, before=another_takes_it)
    done = await projected.projector(graph=held, sizes=Sizes(nodes=1, at_once=1)).step()
    assert taken and 0 < done.users < 6
    projected.clock.advance(A_LEASE)
    await projected.project()
    await projected.assert_in_step()


async def test_one_at_a_time_has_the_lease(projected: Projected) -> None:
    first, second = projected.projector("first"), projected.projector("second")
    assert await first.leads()
    assert not await second.leads()
    assert (await second.step()).next_at == projected.clock.now() + first.lease
    projected.clock.advance(A_LEASE)
    assert await second.leads()
    assert not await first.leads()
    await second.leave()
    assert await first.leads()


async def test_a_crash_between_write_and_mark_is_made_good(projected: Projected) -> None:
    async def crash() -> None:
        raise Unreachable("killed")

    await projected.bought(line("r1"))
    with pytest.raises(Unreachable):
        await projected.projector(graph=Held(projected.graph, after=crash)).step()
    assert (await projected.held(), await projected.marked()) == (1, -1)
    await projected.project()
    await projected.assert_in_step()


async def test_a_restore_between_read_and_write_leaves_nothing_out(projected: Projected) -> None:
    await projected.bought(line("r1"))
    await projected.project()
    backup = await Backup.take(projected.graph)
    await projected.bought(line("r2"))
    await projected.project()
    await projected.bought(line("r3"))
    held = Held(projected.graph, before=lambda: backup.restore(projected.graph))
    assert (await projected.projector(graph=held).step()).beaten == 1
    await projected.project()
    await projected.assert_in_step()


async def test_a_restore_between_write_and_mark_is_found_by_the_sweep(projected: Projected) -> None:
    await projected.bought(line("r1"))
    await projected.project()
    backup = await Backup.take(projected.graph)
    await projected.bought(line("r2"), line("x", product="tea", user="bob"))
    await projected.projector(graph=Held(projected.graph, after=lambda: backup.restore(projected.graph))).step()
    assert (await projected.held(), await projected.marked()) == (1, 2)
    assert (await projected.project()).more is False
    assert await projected.sweep() == 3, "ann, bob and the tea"
    await projected.project()
    await projected.assert_in_step()


async def test_a_sweep_does_not_set_back_what_is_written_meanwhile(projected: Projected) -> None:
    await projected.bought(line("r1"))
    await projected.project()
    await projected.bought(line("r2"))
    assert await projected.sweep() == 0
    swept = Held(projected.graph, after=projected.sweep)
    await projected.projector(graph=swept).step()
    assert await projected.marked() == 2
    await projected.assert_in_step()


async def test_a_sweep_alarms_nobody_of_a_write_whose_mark_is_on_its_way(projected: Projected) -> None:
    await projected.bought(line("r1"))
    with capture_logs() as log:
        await projected.projector(graph=Held(projected.graph, after=projected.sweep)).step()
        assert [each["event"] for each in log if each["event"] == "graph_astray"] == []
        await projected.ask("MATCH (u:User {user_id: 'ann'}) DETACH DELETE u")
        assert await projected.sweep() == 1
    assert [each["first"] for each in log if each["event"] == "graph_astray"] == ["ann"]


async def test_of_many_first_writers_of_a_user_one_wins(projected: Projected) -> None:
    for turn in range(20):
        changes = [_nothing_bought(f"u{turn}", version) for version in range(1, 5)]
        written = await asyncio.gather(*(projected.graph.write(Node.USER, each) for each in changes))
        assert sorted(map(len, written)) == [0, 0, 0, 1]
        won = next(version for version, each in enumerate(written, start=1) if each)
        assert await projected.held(f"u{turn}") == won


def _nothing_bought(user: str, version: int) -> UserChanges:
    node = ([user], [-1], [version], [True], [True], [0], [0])
    none, no_sums = (None, None), (None,) * len(SUM)
    return UserChanges(node, none, (None,) * len(LINE), no_sums, no_sums, none, none)


async def test_a_graph_that_is_away_is_waited_for(shop: Shop) -> None:
    async with open_graph("bolt://127.0.0.1:1", patience=timedelta(seconds=2)) as away:
        projected = Projected(shop, away)
        await projected.bought(line("r1"))
        with pytest.raises(Unreachable, match="the graph cannot be reached"):
            await projected.projector().step()
        assert await projected.marked() == -1


@pytest.mark.slow
async def test_killed_frozen_and_restored_from_its_files(shop: Shop, tmp_path: Path) -> None:
    with graph_server() as server:
        async with open_graph(server.url) as graph, open_graph(server.url, patience=timedelta(seconds=1)) as hasty:
            await graph.prepare()
            projected = Projected(shop, graph)
            await projected.bought(line("r1"), line("x", user="bob"))
            await projected.project()
            server.java.kill()
            with pytest.raises(Unreachable):
                await Projected(shop, hasty).sweep()
            server.backup(tmp_path / "backup")
            server.java.start()
            await projected.assert_in_step()
            await projected.bought(line("r1", version=2, deleted=True), line("r2"), line("y", user="cid"))
            await projected.project()
            await projected.assert_in_step()
            server.restore(tmp_path / "backup")
            assert await projected.sweep() == 2
            await projected.project()
            await projected.assert_in_step()
            server.java.freeze()
            with pytest.raises(Unreachable):
                await hasty.versions(Node.USER, ["ann"])
            server.java.thaw()
