"""The category service: where a category stands, from the root to the leaf.

POST {url}/v1/categories/lookup with {"category_ids": […]}; docs/reference/sources.md has its answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from hark.history.products import CategoryAnswer
from hark.history.sources.contracts import Part
from hark.history.sources.polite import Polite
from hark.history.sources.product import refuse_others
from hark.sources import Name

SOURCE = "category"
PATH = "/v1/categories/lookup"
AT_ONCE = 100
"""How many categories one question is about."""
DEEPEST = 50


class SaidCategory(Part):
    """One category, and its way from the root, itself at the end."""

    category_id: Name
    hierarchy: Annotated[list[Name], Field(max_length=DEEPEST)]


class CategoriesSaid(Part):
    """The answer: each category that was asked for is known or unknown."""

    categories: list[SaidCategory]
    unknown: list[Name]


@dataclass(frozen=True, slots=True)
class Categories:
    """Asks for categories, in bulk."""

    polite: Polite
    at_once: int = AT_ONCE

    async def lookup(self, categories: Iterable[str]) -> list[CategoryAnswer]:
        """Where these categories stand, each once, in the order of their first mention; raises what products do."""
        wanted = list(dict.fromkeys(categories))
        found: list[CategoryAnswer] = []
        for start in range(0, len(wanted), self.at_once):
            found += await self._some(wanted[start : start + self.at_once])
        return found

    async def _some(self, wanted: Sequence[str]) -> list[CategoryAnswer]:
        answer = await self.polite.post(PATH, {"category_ids": wanted}, CategoriesSaid)
        said = [each.category_id for each in answer.categories]
        refuse_others(self.polite.source, "categories", "category_id", wanted, said, answer.unknown)
        known = {each.category_id: tuple(each.hierarchy) for each in answer.categories}
        return [CategoryAnswer(each, known.get(each, ())) for each in wanted]
