"""Enriching: what was bought and never asked for is asked for, in bulk and once, whoever noted it first."""

from __future__ import annotations

from dataclasses import dataclass

from hark.clock import Clock
from hark.history.products import put_categories, put_products, unasked_categories, unasked_products
from hark.history.sources.category import AT_ONCE as CATEGORIES_AT_ONCE
from hark.history.sources.product import AT_ONCE as PRODUCTS_AT_ONCE
from hark.history.sources.reach import Sources
from hark.postgres.database import Database


@dataclass(frozen=True, slots=True)
class Enriched:
    """How many were asked for."""

    products: int
    categories: int

    @property
    def more(self) -> bool:
        """Whether there may be others left."""
        return self.products + self.categories > 0


async def enrich(database: Database, sources: Sources, clock: Clock) -> Enriched:
    """One chunk: one question about products, and then one about categories, if there is anything to ask.

    A source whose URL is not set is not asked. Two workers may ask the same at once; answers are kept once.

    Raises:
        NotNow, Unreachable: not now.
        SourceFailed: an answer is not what it should be.
    """
    products = await _products(database, sources, clock) if sources.knows("product") else 0
    categories = await _categories(database, sources, clock) if sources.knows("category") else 0
    return Enriched(products, categories)


async def _products(database: Database, sources: Sources, clock: Clock) -> int:
    wanted = await unasked_products(database, PRODUCTS_AT_ONCE)
    if wanted:
        answers = await sources.product.lookup(wanted)
        await put_products(database, answers, now=clock.now())
    return len(wanted)


async def _categories(database: Database, sources: Sources, clock: Clock) -> int:
    wanted = await unasked_categories(database, CATEGORIES_AT_ONCE)
    if wanted:
        answers = await sources.category.lookup(wanted)
        await put_categories(database, answers, now=clock.now())
    return len(wanted)
