"""Audits while everything moves: no false alarm, whatever comes between two looks; and faults all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from hark.history.audit import Audit, Name, Report, cypher
from hark.history.projection.graph import Node
from tests.history.audit_world import counted, filled, found, no_pause
from tests.history.projection_world import Projected
from tests.history.shopping import NOW, line, order

Meanwhile = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Interrupted:
    """A graph beside which things happen: before and after its users are read, each time that they are."""

    graph: Any
    before: list[Meanwhile] = field(default_factory=list)
    after: list[Meanwhile] = field(default_factory=list)
    of: str = cypher.USERS

    async def ask(self, statement: str, **given: Any) -> list[tuple[Any, ...]]:
        if statement == self.of and self.before:
            await self.before.pop(0)()
        rows: list[tuple[Any, ...]] = await self.graph.ask(statement, **given)
        if statement == self.of and self.after:
            await self.after.pop(0)()
        return rows

    async def versions(self, node: Node, ids: Sequence[str]) -> dict[str, int]:
        held: dict[str, int] = await self.graph.versions(node, ids)
        return held


async def audited_beside(projected: Projected, graph: Interrupted) -> Report:
    return await Audit(projected.shop.database, graph, NOW, pause=no_pause).everything()


def buys(projected: Projected, number: int, *, then: bool = True) -> Meanwhile:
    """Ann buys again, and bob's only purchase is corrected; and the graph follows, if `then`."""

    async def bought() -> None:
        await projected.bought(line(f"n{number}"), line("bob", user="bob", version=10 + number, amount=number))
        if then:
            await projected.project()

    return bought


async def test_whatever_moves_between_the_looks_is_no_fault(projected: Projected) -> None:
    await filled(projected)
    between = [buys(projected, number) for number in range(3)]
    report = await audited_beside(projected, Interrupted(projected.graph, before=between))
    assert (found(report), report.score) == ({}, 100)
    torn = [buys(projected, number) for number in range(3, 6)]
    report = await audited_beside(projected, Interrupted(projected.graph, after=torn))
    assert (found(report), report.score) == ({}, 100)


async def test_a_graph_that_never_catches_up_with_one_is_no_fault_of_theirs(projected: Projected) -> None:
    await filled(projected)
    endless = [buys(projected, number) for number in range(20)]
    graph = Interrupted(projected.graph, before=endless)
    report = await audited_beside(projected, graph)
    assert (found(report), report.good) == ({}, True)
    assert len(graph.before) < 20 - 6  # it was looked at again as often as it ever is


async def test_a_window_that_rolls_and_a_product_that_moves_are_no_faults(projected: Projected) -> None:
    await filled(projected)
    await projected.bought(*(line(f"old{n}", user=user, at=NOW - timedelta(days=99)) for n, user in enumerate("xyz")))
    await projected.project()
    database = projected.shop.database
    await projected.shop.rows("update hark.history_window set starts_at = %s returning 1", NOW - timedelta(days=50))
    assert found(await _audited(projected)) == {}  # the window has moved on, and nobody has been moved on by it yet
    await projected.rolled(NOW - timedelta(days=50))
    await projected.project()
    from hark.history import products
    from hark.history.products import ProductAnswer

    await products.put_products(database, [ProductAnswer("milk", "Milk", "drinks")], now=NOW)
    await projected.project()
    assert (
        found(await _audited(projected)) == {}
    )  # the product is in another category, and its buyers still shop in the old
    while (await products.spread(database, now=NOW, limit=2)).more:
        assert found(await _audited(projected)) == {}
    await projected.project()
    assert found(await _audited(projected)) == {}


async def test_writing_anew_at_the_very_same_version_is_no_fault(projected: Projected) -> None:
    await filled(projected)

    async def emptied() -> None:
        await projected.ask("MATCH (:User {user_id: 'ann'})-[r]->() DELETE r")

    async def anew() -> None:
        await projected.rebuild.user("ann")
        await projected.project()

    report = await audited_beside(projected, Interrupted(projected.graph, before=[emptied], after=[anew]))
    assert found(report) == {}


async def test_a_fault_is_found_among_all_that_moves(projected: Projected) -> None:
    await filled(projected)
    await projected.ask("MATCH (:User {user_id: 'cid'})-[r:PURCHASED]->() DELETE r")
    between = [buys(projected, number) for number in range(3)]
    report = await audited_beside(projected, Interrupted(projected.graph, before=between))
    assert {user for user, _ in found(report)["missing edge"]} == {"cid"}
    assert sum(counted(report).values()) == 1


@pytest.mark.parametrize("who", ["a user without purchases", "a product"])
async def test_whoever_comes_at_version_0_before_the_graph_is_counted_is_no_fault(
    projected: Projected, who: str
) -> None:
    await filled(projected)

    async def comes() -> None:
        if who == "a product":
            await projected.shop.rows("insert into hark.product (product_id) values ('gin') returning 1")
        else:
            await projected.shop.load(user="late")
        await projected.project()

    counted_late = Interrupted(projected.graph, before=[comes], of=cypher.KINDS)
    assert found(await audited_beside(projected, counted_late)) == {}
    assert Name.TOTALS in {check.name for check in (await _audited(projected)).checks}


async def test_an_audit_beside_writers_and_a_projector(projected: Projected) -> None:
    """Two writers and a projector that never stand still while it is audited, three times over."""
    await filled(projected)
    users = [f"u{number}" for number in range(12)]
    await projected.bought(*(line(user, user=user) for user in users))
    await projected.project()
    going = asyncio.Event()

    async def write(by: int) -> None:
        number = 0
        while not going.is_set():
            number += 1
            some = users[(7 * number) % 12 :: 3]
            words = [order(f"{by}-{number % 5}-{user}", user=user, version=number) for user in some]
            await projected.bought(
                *words, *(line(user, user=user, version=2 * number + by, amount=number) for user in some)
            )

    async def project() -> None:
        projector = projected.projector()
        while not going.is_set():
            await projector.step()

    moving = [asyncio.create_task(each) for each in (write(0), write(1), project())]
    try:
        reports = [await _audited(projected) for _ in range(3)]
    finally:
        going.set()
        await asyncio.gather(*moving)
    assert [(found(report), report.good) for report in reports] == [({}, True)] * 3
    await projected.project()
    assert found(await _audited(projected)) == {}


async def _audited(projected: Projected) -> Report:
    return await Audit(projected.shop.database, projected.graph, NOW, pause=no_pause).everything()
