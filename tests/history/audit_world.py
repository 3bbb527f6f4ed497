"""What the tests of audits say, in short."""

from __future__ import annotations

from hark.history.audit import Audit, Name, Report, Severity
from hark.history.audit.looking import GraphReader
from hark.history.sources.reach import Sources
from tests.history.projection_world import Projected
from tests.history.shopping import NOW, line, order


async def no_pause() -> None:
    """Nothing moves while these tests look, so there is nothing to wait for."""


async def audited(
    projected: Projected, *, graph: GraphReader | None = None, sources: Sources | None = None, sample: int | None = 0
) -> Report:
    """All is audited."""
    reader = graph or projected.graph
    return await Audit(projected.shop.database, reader, NOW, sources, no_pause).everything(sample)


def found(report: Report) -> dict[str, list[tuple[str, str]]]:
    """What is not as it should be: examples by check."""
    return {
        check.name.value: [(each.id, each.cause) for each in check.examples]
        for check in report.checks
        if check.severity is not Severity.OK
    }


def counted(report: Report) -> dict[Name, int]:
    """How many of each check."""
    return {check.name: check.count for check in report.checks if check.count}


async def filled(projected: Projected) -> None:
    """Four users and two products, one of a category whose hierarchy is known; all of it projected."""
    await projected.known("milk", "Milk", "dairy")
    await projected.hierarchy("dairy", "food", "dairy")
    await projected.bought(*(line(user, user=user) for user in ("bob", "cid", "dan")), line("r1"), order("o1"))
    await projected.project()
    await projected.assert_in_step()
