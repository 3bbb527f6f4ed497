"""The sandbox on the loopback, and sources that ask it with short waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

from hark.clock import DatabaseClock
from hark.delivery.backoff import Backoff
from hark.doors.api import serving
from hark.durations import Rate, parse_rate
from hark.guarded.client import Guarded
from hark.history.sandbox.app import Sandbox, build_sandbox
from hark.history.sandbox.arrivals import Arrivals
from hark.history.sandbox.faults import Fault, Faults, Kind
from hark.history.sandbox.goods import Goods
from hark.history.sandbox.made_up import MadeUp
from hark.history.sources.category import Categories
from hark.history.sources.pace import Breaker, Pace
from hark.history.sources.polite import Counts, Polite
from hark.history.sources.product import Products
from hark.history.sources.purchase import PurchaseHistory
from hark.history.sources.shop import ShopOrders
from hark.postgres.database import Database, open_database
from tests.world import LOOPBACK

UNTIL = datetime(2026, 11, 1, tzinfo=UTC)
SINCE = UNTIL - timedelta(days=365)
USER = "user-000003"
QUICKLY = Backoff(base=timedelta(milliseconds=5), cap=timedelta(milliseconds=50), max_attempts=4)
PATIENT = Breaker(threshold=1000)


@dataclass(slots=True)
class Scene:
    """The sandbox, and how it is asked."""

    url: str
    sandbox: Sandbox
    database: Database
    clock: DatabaseClock
    client: Guarded
    counts: dict[str, Counts] = field(default_factory=dict)

    @property
    def goods(self) -> Goods:
        """What is served."""
        return self.sandbox.goods

    def fault(self, kind: Kind, **given: Any) -> None:
        """Let something go wrong from now on."""
        self.sandbox.faults.every.append(Fault(kind, **given))

    def arrivals(self, source: str) -> Arrivals:
        """What came to a service."""
        return self.sandbox.arrivals[source]

    def statuses(self, source: str = "purchase") -> list[int]:
        """How what came was answered."""
        return [each.status for each in self.arrivals(source).every]

    def polite(self, source: str, *, rate: str | Rate = "1000/s", breaker: Breaker = PATIENT, **given: Any) -> Polite:
        """One source, asked quickly."""
        wanted = parse_rate(rate) if isinstance(rate, str) else rate
        pace = Pace(self.database, self.clock, source, wanted, breaker)
        made = Polite(source, self.url, self.client, pace, self.clock, **{"backoff": QUICKLY, **given})
        self.counts[source] = made.counts
        return made

    def purchase(self, *, page_size: int = 200, **given: Any) -> PurchaseHistory:
        """Receipts."""
        return PurchaseHistory(self.polite("purchase", **given), page_size)

    def shop(self, *, page_size: int = 200, **given: Any) -> ShopOrders:
        """Orders."""
        return ShopOrders(self.polite("shop", **given), page_size)

    def products(self, *, at_once: int = 100, **given: Any) -> Products:
        """Products."""
        return Products(self.polite("product", **given), at_once)

    def categories(self, **given: Any) -> Categories:
        """Categories."""
        return Categories(self.polite("category", **given))


@asynccontextmanager
async def open_scene(dsn: str, goods: Goods | None = None, **given: Any) -> AsyncIterator[Scene]:
    """The sandbox and a database to share the pace by, for the time of a block."""
    sandbox = Sandbox.of(
        goods or MadeUp(users=20, until=UNTIL).goods(),
        **{"faults": Faults(), "token": None, "limit": None, **given},
    )
    listening, stop = serving.take_port("127.0.0.1", 0, ""), asyncio.Event()
    client = Guarded(LOOPBACK)
    with mock.patch.object(serving, "_PATIENCE_S", 1):  # an answer that takes a minute keeps no test waiting
        served = asyncio.create_task(serving.serve(build_sandbox(sandbox), listening, stop))
        await asyncio.sleep(0)
    try:
        async with open_database(dsn, size=8) as database:
            clock = await DatabaseClock.start(database)
            yield Scene(serving.url_of(listening), sandbox, database, clock, client)
    finally:
        await client.close()
        stop.set()
        await served
        listening.close()


def bought(goods: Goods, user: str, wanted: Callable[[str], bool] = lambda _key: True) -> dict[str, tuple[Any, ...]]:
    """What the primary has of a user, by key."""
    return {
        key: (store, at, currency, item.product_id, item.amount_minor, item.quantity)
        for key, store, at, currency, item in goods.lines(user, SINCE)
        if wanted(key)
    }
