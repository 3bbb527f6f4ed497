"""Users by their facts, and as the graph has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hark.history.audit import comparing, cypher
from hark.history.audit.comparing import Compared, HeldPerson, Person
from hark.history.audit.looking import GraphReader, Look, Verdict
from hark.history.audit.report import Finding, Name
from hark.history.projection.changes import Ahead
from hark.history.projection.graph import NOTHING, Node
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

SOON = timedelta(minutes=5)
"""How far clocks may be apart before a time lies in the future."""

_COUNTED = 50_000


@dataclass(frozen=True, slots=True)
class _Whereabouts:
    key: str
    owner: str
    deleted: bool
    version: int
    before: bool | None


@dataclass(frozen=True, slots=True)
class Buyers:
    """Users. `run`: only whom this run touched. Without a graph only the facts themselves are looked at."""

    database: Database
    graph: GraphReader | None
    now: datetime
    run: int | None = None
    of: str = "users"

    async def page(self, after: str, limit: int) -> list[Ahead]:
        """The next users by id."""
        name, given = ("page", {"cap": _COUNTED}) if self.run is None else ("page_of_run", {"run": self.run})
        return await self.database.fetch(_SQL[name], Ahead, {"after": after, "limit": limit, **given})

    async def look(self, ids: Sequence[str]) -> list[Look]:
        """One look at each of these users."""
        facts = await self.facts(ids)
        if self.graph is None:
            return [Look(each.id, Verdict.AGREES, (), _own(each), _sizes(each)) for each in facts]
        held = await self.held(ids)
        after = await self.graph.versions(Node.USER, ids)
        compared = {
            each.id: comparing.person(each, held.get(each.id), comparing.microseconds(self.now + SOON))
            for each in facts
            if not each.unsettled and _of_one_moment(held.get(each.id), after.get(each.id, NOTHING))
        }
        strays = await self._strays(compared)
        return [_look(each, compared.get(each.id), strays) for each in facts]

    async def facts(self, ids: Sequence[str]) -> list[Person]:
        """These users by the facts; those that the facts know."""
        given = {"users": list(ids), "future": self.now + SOON}
        return await self.database.fetch(_SQL["buyers"], Person, given)

    async def held(self, ids: Sequence[str]) -> dict[str, HeldPerson]:
        """These users as the graph has them."""
        assert self.graph is not None
        found: dict[str, HeldPerson] = {}
        for id_, version, said, at, keys, lines, ins, ats in await self.graph.ask(cypher.USERS, ids=list(ids)):
            nodes = found[id_].nodes + 1 if id_ in found else 1
            found[id_] = HeldPerson(version, said, comparing.microseconds(at), keys, lines, ins, ats, nodes)
        return found

    async def _strays(self, compared: Mapping[str, Compared]) -> dict[str, _Whereabouts]:
        """What the facts know of edges that should not be there."""
        keys = [key for each in compared.values() for key in each.strays]
        if not keys:
            return {}
        rows = await self.database.fetch(_SQL["whereabouts"], _Whereabouts, {"keys": keys})
        return {row.key: row for row in rows}


def _of_one_moment(held: HeldPerson | None, after: int) -> bool:
    """Whether the node was at one version before and after. Of twins any may have answered."""
    return after == NOTHING if held is None else held.nodes > 1 or held.version == after


def _look(facts: Person, compared: Compared | None, strays: Mapping[str, _Whereabouts]) -> Look:
    own, sizes = _own(facts), _sizes(facts)
    if compared is None:
        return Look(facts.id, Verdict.MOVING, (), own, sizes, facts.ahead_since)
    found = [*compared.findings, *(_stray(facts.id, key, strays.get(key)) for key in compared.strays)]
    return Look(facts.id, Verdict.DIFFERS if found else Verdict.AGREES, found, own, sizes)


def _stray(user: str, key: str, known: _Whereabouts | None) -> Finding:
    """Why an edge should not be there."""
    begins = f"PURCHASED {key}: "
    if known is None:
        return Finding(Name.EXTRA_EDGE, user, f"{begins}no fact has this key")
    if known.owner != user:
        return Finding(Name.EXTRA_EDGE, user, f"{begins}it is {known.owner}'s, by the facts")
    if known.deleted:
        return Finding(Name.STALE_EDGE, user, f"{begins}deleted by the facts, in version {known.version}")
    return Finding(Name.STALE_EDGE, user, f"{begins}older than the window, by the facts")


def _own(each: Person) -> list[Finding]:
    found = [Finding(Name.FUTURE_TIME, each.id, f"{key}: lies in the future") for key in each.future]
    found += [Finding(Name.FACT_VERSION, each.id, f"{key}: of a later version than its user") for key in each.beyond]
    if each.unrolled:
        found.append(Finding(Name.WINDOW, each.id, "a fact that counts is older than what the window looks at"))
    return found


def _sizes(each: Person) -> dict[str, int]:
    return {
        "PURCHASED": len(each.lines),
        "SHOPS_IN": len(each.ins),
        "SHOPS_AT": len(each.ats),
        "facts": each.facts,
        "deleted": each.gone,
        "before the window": each.before,
        "users without purchases": int(not each.lines),
    }
