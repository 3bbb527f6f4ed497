"""FIDO Product Service: what products are called and which category they are of; it knows about half of them.

POST {url}/v1/products/lookup with {"product_ids": […]}; docs/reference/sources.md has its answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import StringConstraints

from hark.history.products import ProductAnswer
from hark.history.sources.contracts import Part, answer_faults
from hark.history.sources.polite import Polite
from hark.sources import Name

SOURCE = "product"
PATH = "/v1/products/lookup"
AT_ONCE = 100
"""How many products one question is about."""

Said = Annotated[str, StringConstraints(max_length=2000, strip_whitespace=True)]
"""A text that may be empty, which says nothing."""


class FidoProduct(Part):
    """One product; what is empty is not known."""

    product_id: Name
    name: Said | None = None
    category_id: Said | None = None

    def answer(self) -> ProductAnswer:
        """What is known of it; an empty text says nothing."""
        return ProductAnswer(self.product_id, self.name or None, self.category_id or None)


class ProductsSaid(Part):
    """The answer: each product that was asked for is known or unknown."""

    products: list[FidoProduct]
    unknown: list[Name]


@dataclass(frozen=True, slots=True)
class Products:
    """Asks for products, in bulk."""

    polite: Polite
    at_once: int = AT_ONCE

    async def lookup(self, products: Iterable[str]) -> list[ProductAnswer]:
        """What is known of these products, each once, in the order of their first mention.

        Returns:
            One for each: of those that nobody knows, name and category are None.

        Raises:
            NotNow, Unreachable: not now.
            SourceFailed: the answer is not what it should be; all faults are named.
        """
        wanted = list(dict.fromkeys(products))
        found: list[ProductAnswer] = []
        for start in range(0, len(wanted), self.at_once):
            found += await self._some(wanted[start : start + self.at_once])
        return found

    async def _some(self, wanted: Sequence[str]) -> list[ProductAnswer]:
        answer = await self.polite.post(PATH, {"product_ids": wanted}, ProductsSaid)
        said = [each.product_id for each in answer.products]
        refuse_others(self.polite.source, "products", "product_id", wanted, said, answer.unknown)
        known = {each.product_id: each.answer() for each in answer.products}
        return [known.get(each, ProductAnswer(each)) for each in wanted]


def refuse_others(
    source: str, listed: str, named: str, wanted: Sequence[str], said: Sequence[str], unknown: Sequence[str]
) -> None:
    """Refuse an answer that is not about what was asked for: each of it once, and nothing else.

    Raises:
        SourceFailed: names each place.
    """
    left = set(wanted)
    faults: list[tuple[str, str]] = []
    places = [(f"{listed}[{place}].{named}", each) for place, each in enumerate(said)]
    places += [(f"unknown[{place}]", each) for place, each in enumerate(unknown)]
    for where, each in places:
        if each not in left:
            faults.append((where, "was not asked for, or is there twice"))
        left.discard(each)
    if left:
        faults.append((listed, f"and unknown lack {len(left):,} of the {len(wanted):,} that were asked for"))
    if faults:
        raise answer_faults(source, faults)
