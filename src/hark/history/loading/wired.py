"""The live stream and the audit, as a load asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hark.config import Settings
from hark.history.audit import Report, Severity, audit_users
from hark.history.live import positions
from hark.history.loading.seams import Audit, Audited, End
from hark.postgres.database import Database


@dataclass(frozen=True, slots=True)
class LiveStream:
    """The topics that the settings name; none, where no brokers are set."""

    database: Database
    settings: Settings

    async def ends_now(self) -> Sequence[End]:
        """See `Stream.ends_now`."""
        found = await positions.ends_now(self.database, self.settings)
        return [End(each.group, each.topic, each.partition, each.offset) for each in found]

    async def passed(self, ends: Sequence[End]) -> bool:
        """See `Stream.passed`."""
        wanted = [positions.End(each.group, each.topic, each.partition, each.offset) for each in ends]
        return await positions.passed(self.database, wanted)


def audit_by(database: Database, settings: Settings) -> Audit:
    """Compares a run's users with the graph that the settings name, if they name one."""

    async def audit(run: int, now: datetime) -> Audited:
        async with AsyncExitStack() as opened:
            graph = None
            if settings.graph_url is not None:
                from hark.history.projection.neo4j_graph import open_graph

                graph = await opened.enter_async_context(
                    open_graph(settings.graph_url, patience=settings.graph_timeout)
                )
            return _audited(await audit_users(database, graph, run, now))

    return audit


def _audited(report: Report) -> Audited:
    failed = [each for each in report.checks if each.severity is not Severity.OK]
    what = ", ".join(f"{each.name} {each.count:,}" for each in failed)
    said = f"audit: {report.severity}, score {report.score:g}" + (f": {what}" if what else "")
    return Audited(report.good, said, _kept(report))


def _kept(report: Report) -> dict[str, Any]:
    """What is kept with the run: counts, nobody's id."""
    checks = {str(each.name): each.count for each in report.checks if each.count}
    return {
        "at": report.at.isoformat(),
        "severity": str(report.severity),
        "score": report.score,
        "compared": dict(report.compared),
        "checks": checks,
    }
