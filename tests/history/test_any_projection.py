"""Whatever happens, in whatever order, the graph ends as the facts say."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from hark.history.facts import Fact, Kind
from hark.history.projection.projector import Sizes
from tests.history.backups import Backup
from tests.history.projection_world import Projected
from tests.history.shopping import NOW, line

USERS = ("ann", "bob", "Émile", "\U0001f600")
PRODUCTS = ("milk", "tea", "gin", "rye")
STORES = ("north", "south", None)
STEPS = 40


class Life:
    """A random one."""

    def __init__(self, projected: Projected, chance: random.Random) -> None:
        self.projected, self.chance = projected, chance
        self.backups: list[Backup] = []
        self.day = 0

    async def step(self) -> None:
        """One thing happens; facts more often than anything else."""
        happenings = [*[self.buys] * 6, *[self.projects] * 3, self.loads, self.undoes, self.learns, self.learns]
        await self.chance.choice([*happenings, self.rolls, self.copies, self.restores, self.empties, self.sweeps])()

    async def buys(self) -> None:
        by = self.chance.choice([None, None, 1, 2])
        await self.projected.bought(*(self.fact() for _ in range(self.chance.randrange(1, 8))), by=by)

    async def loads(self) -> None:
        user, version = self.chance.choice(USERS), self.chance.randrange(1, 5)
        facts = {each.key: each for each in (self.fact(user) for _ in range(4)) if each.version <= version}
        await self.projected.shop.load(*facts.values(), by=3, user=user, version=version, kind=Kind.RECEIPT)

    async def undoes(self) -> None:
        await self.projected.shop.undo(self.chance.choice([1, 2, 3]), *USERS)

    async def learns(self) -> None:
        product, category = self.chance.choice(PRODUCTS), self.chance.choice(["dairy", "drinks", None])
        await self.projected.known(product, self.chance.choice([product.upper(), None]), category)
        if category is not None:
            await self.projected.hierarchy(category, "food", str(self.chance.randrange(2)), category)

    async def rolls(self) -> None:
        self.day += self.chance.randrange(3)
        await self.projected.rolled(NOW + timedelta(days=self.day))

    async def projects(self) -> None:
        await self.projected.projector(sizes=Sizes(nodes=2, lines=9, transactions=2)).step()

    async def copies(self) -> None:
        self.backups.append(await Backup.take(self.projected.graph))

    async def restores(self) -> None:
        if self.backups:
            await self.chance.choice(self.backups).restore(self.projected.graph)

    async def empties(self) -> None:
        await self.projected.ask("MATCH (n) DETACH DELETE n")

    async def sweeps(self) -> None:
        await self.projected.sweep()

    def fact(self, user: str | None = None) -> Fact:
        user = user or self.chance.choice(USERS)
        version = self.chance.randrange(1, 5)
        return line(
            f"{user}{self.chance.randrange(4)}",
            self.chance.randrange(3),
            user=user,
            version=version,
            product=self.chance.choice(PRODUCTS),
            store=self.chance.choice(STORES),
            amount=self.chance.randrange(-50, 500),
            currency=self.chance.choice(["EUR", "USD"]),
            at=NOW + timedelta(days=self.chance.randrange(8), microseconds=self.chance.randrange(10**6)),
            deleted=self.chance.random() < 0.15,
        )


@pytest.mark.parametrize("seed", range(4))
async def test_the_graph_ends_as_the_facts_say(projected: Projected, seed: int) -> None:
    life = Life(projected, random.Random(seed))
    for _ in range(STEPS):
        await life.step()
    await projected.sweep()
    await projected.project()
    await projected.assert_in_step()
