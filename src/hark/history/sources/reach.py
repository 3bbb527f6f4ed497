"""The four sources, as the settings name them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hark.clock import Clock
from hark.config import Settings, variable
from hark.durations import Rate
from hark.errors import BadInput
from hark.guarded.client import Guarded
from hark.history.sources import category, product, purchase, shop
from hark.history.sources.category import Categories
from hark.history.sources.pace import Pace
from hark.history.sources.polite import Polite
from hark.history.sources.product import Products
from hark.history.sources.purchase import PurchaseHistory
from hark.history.sources.shop import ShopOrders
from hark.postgres.database import Database

NAMES = (purchase.SOURCE, shop.SOURCE, product.SOURCE, category.SOURCE)


@dataclass(frozen=True)
class Sources:
    """Each is made when it is first needed, and is for all tasks of one event loop.

    Args:
        rate: requests to each source in a while, by all workers; None: as the settings say.
    """

    settings: Settings
    database: Database
    clock: Clock
    client: Guarded
    rate: Rate | None = None

    @cached_property
    def purchase(self) -> PurchaseHistory:
        """Receipts.

        Raises:
            BadInput: no URL is set; so for all of them.
        """
        return PurchaseHistory(self._polite(purchase.SOURCE))

    @cached_property
    def shop(self) -> ShopOrders:
        """Shop orders."""
        return ShopOrders(self._polite(shop.SOURCE))

    @cached_property
    def product(self) -> Products:
        """Products."""
        return Products(self._polite(product.SOURCE))

    @cached_property
    def category(self) -> Categories:
        """Categories."""
        return Categories(self._polite(category.SOURCE))

    def knows(self, source: str) -> bool:
        """Whether a source's URL is set."""
        return getattr(self.settings, f"{source}_url") is not None

    def _polite(self, source: str) -> Polite:
        url: str | None = getattr(self.settings, f"{source}_url")
        if url is None:
            raise BadInput(
                f"this needs the {source} source: set {variable(f'{source}_url')}, or {source}_url in hark.toml"
            )
        return Polite(
            source,
            url.rstrip("/"),
            self.client,
            Pace(self.database, self.clock, source, self.rate or self.settings.source_rate),
            self.clock,
            token=getattr(self.settings, f"{source}_token"),
            timeout=self.settings.source_timeout,
            patience=self.settings.source_patience,
        )
