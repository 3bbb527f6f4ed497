"""One audit: which checks are made, in which order, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from hark.history.audit.buyers import Buyers
from hark.history.audit.goods import Products
from hark.history.audit.graphs import Whole
from hark.history.audit.looking import GraphReader
from hark.history.audit.report import Brought, Example, Findings, Name, Report, worst
from hark.history.audit.sourcing import AgainstSources
from hark.history.audit.walking import Pause, Walk, usual_pause
from hark.history.sources.reach import Sources
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

_OF_FACTS = (Name.FUTURE_TIME, Name.FACT_VERSION, Name.WINDOW)
_OF_USERS = (
    Name.MISSING_EDGE,
    Name.EXTRA_EDGE,
    Name.STALE_EDGE,
    Name.WRONG_EDGE,
    Name.TWIN_EDGE,
    Name.WRONG_TOTAL,
    Name.WRONG_NODE,
    Name.MISSING_NODE,
    Name.VERSION,
    Name.WAITING,
)
_OF_PRODUCTS = (Name.WRONG_PRODUCT, Name.IN_CATEGORY)
_OF_NODES = (Name.TWIN_NODE, Name.STRANGER, Name.ORPHAN, Name.FOREIGN_PROPERTY)
_OF_SOURCES = (
    Name.SOURCE_MISSING,
    Name.SOURCE_EXTRA,
    Name.SOURCE_DIFFERS,
    Name.SOURCE_UNKNOWN,
    Name.SOURCE_AWAY,
)


@dataclass(frozen=True, slots=True)
class _Standing:
    """How many there are and how far all has moved on: the same before and after means that nothing moved."""

    many: int
    versions: int
    projected: int
    starts_at: datetime


@dataclass(frozen=True, slots=True)
class _Refused:
    refused: int
    users: Sequence[str]
    causes: Sequence[str]


@dataclass(slots=True)
class Audit:
    """Looks at everything once. It only reads; make a new one for each audit.

    Attributes:
        graph: None: there is none, and only what can be seen in Postgres is looked at.
        sources: None: no source is asked.
        pause: waits before those are looked at again that did not agree.
        told: is told how many users were compared by now.
    """

    database: Database
    graph: GraphReader | None
    now: datetime
    sources: Sources | None = None
    pause: Pause = usual_pause
    told: Callable[[int], object] = lambda _users: None
    findings: Findings = field(default_factory=Findings)
    _brought: dict[int, Brought] = field(default_factory=dict, repr=False)

    async def everything(self, sample: int | None = 0) -> Report:
        """All users and products, the graph as a whole, and a sample of users at the sources.

        Args:
            sample: how many users the sources are asked for; None: all; 0: nobody.

        Raises:
            Unreachable: the graph or the database is away.
        """
        before = await self._standing()
        users = await self._walk_users(Buyers(self.database, self.graph, self.now))
        products = await self._walk_products()
        held = await self._whole()
        after = await self._standing()
        facts = _totals(self.findings, users, products)
        if before == after and before.versions == before.projected and not users.moved + products.moved:
            self._compare_totals(facts, held)
        await self._quarantine()
        await self._at_sources(sample)
        return self._report(facts, held, {**products.sizes, "products": self.findings.compared.get("products", 0)})

    async def of_run(self, run: int) -> Report:
        """Only whom a run touched: their facts against the graph.

        Raises:
            Unreachable: the graph or the database is away.
        """
        users = await self._walk_users(Buyers(self.database, self.graph, self.now, run))
        return self._report(_totals(self.findings, users, None), {}, {})

    async def _walk_users(self, side: Buyers) -> Walk:
        self.findings.make("users", *_OF_FACTS, *(_OF_USERS if self.graph else ()))
        walk = Walk(side, self.findings, self.now, self.pause, seen=self._count_brought)
        await walk.all()
        self.findings.looked_at("purchases", walk.sizes.get("PURCHASED", 0))
        return walk

    async def _walk_products(self) -> Walk:
        if self.graph:
            self.findings.make("products", *_OF_PRODUCTS)
        walk = Walk(Products(self.database, self.graph), self.findings, self.now, self.pause)
        await walk.all()
        return walk

    async def _whole(self) -> dict[str, int]:
        if self.graph is None:
            return {}
        self.findings.make("nodes", *_OF_NODES, Name.FOREIGN_KIND)
        self.findings.make("constraints", Name.CONSTRAINTS)
        return await Whole(self.database, self.graph, self.findings).look()

    async def _standing(self) -> _Standing:
        return await self.database.one(_SQL["standing"], _Standing)

    def _compare_totals(self, facts: dict[str, int], held: dict[str, int]) -> None:
        """Only where nothing moved: what hangs on no user that the facts know, is in no page of them."""
        self.findings.make("totals", Name.TOTALS)
        for name in sorted(held.keys() & facts.keys()):
            self.findings.looked_at("totals")
            if held[name] != facts[name]:
                cause = f"{held[name]:,} in the graph, {facts[name]:,} by the facts"
                self.findings.count(Name.TOTALS, 1, [Example(name, cause)])

    async def _quarantine(self) -> None:
        self.findings.make("facts", Name.QUARANTINE)
        found = await self.database.one(_SQL["refused"], _Refused)
        self.findings.count(Name.QUARANTINE, found.refused, map(Example, found.users, found.causes))

    async def _at_sources(self, sample: int | None) -> None:
        if self.sources is None or sample == 0:
            return
        self.findings.make("users at sources", *_OF_SOURCES)
        await AgainstSources(self.database, self.sources, self.findings, self.pause).sample(sample)

    async def _count_brought(self, users: Sequence[str]) -> None:
        self.told(self.findings.compared.get("users", 0))
        for each in await brought_to(self.database, users):
            so_far = self._brought.get(each.run, Brought(each.run, 0, 0))
            self._brought[each.run] = Brought(each.run, so_far.facts + each.facts, so_far.alone + each.alone)

    def _report(self, facts: dict[str, int], held: dict[str, int], known: dict[str, int]) -> Report:
        self.findings.compared["facts"] = facts.get("facts", 0)
        checks = self.findings.checks()
        return Report(
            at=self.now,
            score=self.findings.score(checks),
            severity=worst(checks),
            graph=self.graph is not None,
            compared=dict(self.findings.compared),
            facts=facts,
            held=held,
            known=known,
            brought=[self._brought[run] for run in sorted(self._brought)],
            checks=checks,
        )


async def brought_to(database: Database, users: Sequence[str]) -> list[Brought]:
    """Who brought these users' facts."""
    return await database.fetch(_SQL["brought"], Brought, {"users": list(users)})


def _totals(findings: Findings, users: Walk, products: Walk | None) -> dict[str, int]:
    """What the graph is to have, by label and type, and what else there is of facts."""
    totals = {"User": findings.compared.get("users", 0), "PURCHASED": 0, "SHOPS_IN": 0, "SHOPS_AT": 0, **users.sizes}
    if products is not None:
        totals["Product"] = findings.compared.get("products", 0)
        totals["IN_CATEGORY"] = products.sizes.get("IN_CATEGORY", 0)
    return totals
