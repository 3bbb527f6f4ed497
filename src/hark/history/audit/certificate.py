"""One user's certificate: what facts, graph and sources have of them, and whether they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from hark.errors import NotNow, SourceFailed, Unreachable
from hark.history.audit.buyers import Buyers
from hark.history.audit.comparing import HeldPerson, Person
from hark.history.audit.looking import GraphReader, Look, Verdict
from hark.history.audit.report import Brought, Finding, Findings, Name
from hark.history.audit.sourcing import AgainstSources
from hark.history.audit.walking import Pause, usual_pause
from hark.history.audit.whole import brought_to
from hark.history.sources.reach import Sources
from hark.postgres.database import Database

_LOOKS = 6


class Standing(StrEnum):
    """What a certificate comes to."""

    AGREES = "agrees"
    DIFFERS = "differs"
    WAITING = "waiting"
    """Facts are on their way into the graph, and were for as long as was waited."""
    UNKNOWN = "unknown"
    """Neither facts nor graph know them."""
    NO_GRAPH = "no graph"
    """The facts know them, and there is no graph to agree with."""


_GOOD = (Standing.AGREES, Standing.NO_GRAPH)  # of whom nobody knows anything there is nothing to be certain of

_NOT_YET = "not loaded yet"
_GOOD_SOURCES = ("agrees", "not asked", _NOT_YET)


@dataclass(frozen=True, slots=True)
class Amounts:
    """What facts or graph amount to. `totals`: minor units by currency, of what has a known amount."""

    purchases: int
    categories: int
    stores: int
    totals: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Certificate:
    """One user.

    Attributes:
        version: how far their facts have moved on; `marked`: how far of that the graph is marked to have; `held`: which
            version its node holds. None: not there.
        facts: how many in all, of them `deleted` and `before` the window.
        sources: what came of asking them: `agrees`, `differs`, `not loaded yet` (what is known of them agrees), why
            they could not be asked, or `not asked`.
    """

    user: str
    standing: Standing
    at: datetime
    version: int | None
    marked: int | None
    held: int | None
    last_loaded_at: datetime | None
    facts: int
    deleted: int
    before: int
    by_facts: Amounts | None
    by_graph: Amounts | None
    brought: Sequence[Brought]
    sources: str
    findings: Sequence[Finding] = field(default=())

    @property
    def good(self) -> bool:
        """Whether all that was asked agrees; not of a user whom neither facts nor graph know."""
        return self.standing in _GOOD and self.sources in _GOOD_SOURCES


async def certify(
    database: Database,
    graph: GraphReader | None,
    user: str,
    *,
    now: datetime,
    sources: Sources | None = None,
    pause: Pause = usual_pause,
) -> Certificate:
    """Look at one user from all sides.

    Args:
        sources: None: they are not asked.
        pause: waits before another look, where facts and graph were not of one moment.

    Raises:
        Unreachable: the graph or the database is away.
    """
    side = Buyers(database, graph, now)
    look = await _settled(side, user, pause)
    facts = next(iter(await side.facts([user])), None)
    held = (await side.held([user])).get(user) if graph is not None else None
    asked, differs = await _at_sources(database, sources, user, pause)
    return Certificate(
        user=user,
        standing=_standing(look, held, graph),
        at=now,
        version=facts.version if facts else None,
        marked=facts.marked if facts else None,
        held=held.version if held else None,
        last_loaded_at=facts.last_loaded_at if facts else None,
        facts=facts.facts if facts else 0,
        deleted=facts.gone if facts else 0,
        before=facts.before if facts else 0,
        by_facts=_by_facts(facts) if facts else None,
        by_graph=_by_graph(held) if held else None,
        brought=await brought_to(database, [user]),
        sources=asked,
        findings=[*(_of_look(look) if look else _of_nobody(user, held)), *differs],
    )


async def _settled(side: Buyers, user: str, pause: Pause) -> Look | None:
    """A look that the next one bears out, or the last one."""
    before: Look | None = None
    for _ in range(_LOOKS):
        look = next(iter(await side.look([user])), None)
        if look is None or look.verdict is Verdict.AGREES or (before and _same(before, look)):
            return look
        before = look
        await pause()
    return before


def _same(before: Look, look: Look) -> bool:
    return look.verdict is before.verdict is Verdict.DIFFERS and set(look.findings) == set(before.findings)


def _of_look(look: Look) -> list[Finding]:
    return [*look.findings, *look.own]


def _of_nobody(user: str, held: HeldPerson | None) -> list[Finding]:
    return [] if held is None else [Finding(Name.STRANGER, user, f"no fact knows them; {len(held.lines)} purchases")]


def _standing(look: Look | None, held: HeldPerson | None, graph: GraphReader | None) -> Standing:
    if look is None:
        return Standing.UNKNOWN if held is None else Standing.DIFFERS
    if look.verdict is Verdict.MOVING:
        return Standing.WAITING
    if look.findings or look.own:
        return Standing.DIFFERS
    return Standing.NO_GRAPH if graph is None else Standing.AGREES


async def _at_sources(
    database: Database, sources: Sources | None, user: str, pause: Pause
) -> tuple[str, Sequence[Finding]]:
    if sources is None:
        return "not asked", ()
    try:
        found = await AgainstSources(database, sources, Findings(), pause).user(user)
    except (NotNow, Unreachable, SourceFailed) as error:
        return str(error).partition("\n")[0], ()
    if not found:
        return "agrees", ()
    return _NOT_YET if all(each.check is Name.SOURCE_UNKNOWN for each in found) else "differs", found


def _by_facts(facts: Person) -> Amounts:
    totals: dict[str, int] = {}
    for row in facts.lines:
        if row[3] is not None:
            totals[row[4]] = totals.get(row[4], 0) + row[3]
    return Amounts(len(facts.lines), len(facts.ins), len(facts.ats), dict(sorted(totals.items())))


def _by_graph(held: HeldPerson) -> Amounts:
    totals: dict[str, int] = {}
    for row in held.lines:
        if isinstance(row[3], int) and isinstance(row[4], str):
            totals[row[4]] = totals.get(row[4], 0) + row[3]
    return Amounts(len(held.lines), len(held.ins), len(held.ats), dict(sorted(totals.items())))
