"""What products and categories are called, by a stable hash: the same product is the same everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b

from hark.history.sandbox.goods import Known

STORES = 20

_DEPARTMENTS: Mapping[str, tuple[str, ...]] = {
    "Fresh": ("Fruit", "Vegetables", "Bread", "Fish"),
    "Chilled": ("Dairy", "Cheese", "Meat", "Ready meals"),
    "Pantry": ("Baking", "Pasta and rice", "Tins", "Spices"),
    "Drinks": ("Water and juice", "Coffee and tea", "Beer and wine"),
    "Household": ("Cleaning", "Paper", "Kitchen"),
    "Other": ("Sweets", "Pets", "Newspapers"),
}
_ROOT = "Groceries"

CATEGORIES: Mapping[str, tuple[str, ...]] = {
    f"cat-{department}-{leaf}".lower().replace(" ", "-"): (_ROOT, department, leaf)
    for department, leaves in _DEPARTMENTS.items()
    for leaf in leaves
}
"""By id: the way from the root to the leaf."""


def share(*words: object) -> float:
    """From 0 up to 1, the same for the same words for ever."""
    digest = blake2b("/".join(map(str, words)).encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


def product_id(name: str) -> str:
    """The id of what is called so."""
    return "fido-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def store_of(*words: object) -> str:
    """One of the stores."""
    return f"store-{int(share('store', *words) * STORES) + 1:02}"


def price_of(product: str) -> int:
    """What one of it costs, in cents."""
    return 49 + int(share("price", product) * 1500)


def known_products(names: Iterable[str]) -> dict[str, Known]:
    """What the product service knows of these: about half of them, by id."""
    ids = list(CATEGORIES)
    return {
        product: Known(name, ids[int(share("category", product) * len(ids))])
        for name in names
        if share("known", product := product_id(name)) < 0.5
    }
