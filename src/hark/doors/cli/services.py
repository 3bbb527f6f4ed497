"""What Hark reaches beside its database and the mail server, tried once: the graph, the brokers, the four sources.

Only what is set is tried, and only whether it answers; what comes of it is a fault in words, or none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from hark.config import Settings
from hark.errors import BadInput, HarkError
from hark.guarded.client import Guarded

PATIENCE = timedelta(seconds=5)
"""How long each may take to answer."""

SOURCES = ("purchase", "shop", "product", "category")


@dataclass(frozen=True, slots=True)
class Tried:
    """One service: what it is called, the variable that sets it, and what is wrong; empty: it answers."""

    what: str
    variable: str
    fault: str


async def tried(settings: Settings) -> list[Tried]:
    """Try all that are set, at the same time."""
    tries: list[tuple[str, str, Callable[[], Awaitable[None]]]] = []
    if settings.graph_url is not None:
        tries.append(("graph", "HARK_GRAPH_URL", partial(_graph, settings.graph_url)))
    if settings.kafka_brokers is not None:
        tries.append(("brokers", "HARK_KAFKA_BROKERS", partial(_brokers, settings)))
    client = Guarded(settings.http_allow_private)
    for name in SOURCES:
        if (url := getattr(settings, f"{name}_url")) is not None:
            tries.append((f"source {name}", f"HARK_{name.upper()}_URL", partial(_source, client, url)))
    try:
        faults = await asyncio.gather(*(_fault(each) for _, _, each in tries))
    finally:
        await client.close()
    return [Tried(what, variable, fault) for (what, variable, _), fault in zip(tries, faults, strict=True)]


async def _fault(attempt: Callable[[], Awaitable[None]]) -> str:
    try:
        async with asyncio.timeout(2 * PATIENCE.total_seconds()):
            await attempt()
    except HarkError as error:
        return str(error).partition("\n")[0]
    except TimeoutError:
        return f"it did not answer within {2 * PATIENCE.total_seconds():g} s"
    return ""


async def _graph(url: str) -> None:
    from hark.history.projection.neo4j_graph import open_graph

    async with open_graph(url, patience=PATIENCE) as graph:
        await graph.rows("RETURN 1 AS one", {}, PATIENCE)


async def _brokers(settings: Settings) -> None:
    try:
        from hark.history.live.brokers import open_brokers
    except ImportError:
        raise BadInput("Kafka needs the extra graph: pip install 'hark[graph]'") from None
    async with open_brokers(settings) as brokers:
        await brokers.spans(settings.ingest_receipts_topic)
        await brokers.spans(settings.ingest_factoids_topic)


async def _source(client: Guarded, url: str) -> None:
    """Any answer will do: nobody is asked for."""
    await client.request("HEAD", url, patience=PATIENCE)
