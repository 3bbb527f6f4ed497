"""What one user buys while they are loaded: the rows of two sources, as both designs are given them."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

RECEIPT, ORDER = 0, 1
"""The keys: one receipt, and one order in the shop. Each is its kind, too."""


class Row(NamedTuple):
    """A row of a source from a version on; no store: it is gone. Its version is its place among all rows."""

    key: int
    store: str
    what: str


NEWS = (
    Row(RECEIPT, "A", "an old receipt at A"),
    Row(ORDER, "B", "a new order at B"),
    Row(RECEIPT, "B", "the receipt, corrected: it was at B"),
)
DELETION = (
    Row(RECEIPT, "A", "an old receipt at A"),
    Row(RECEIPT, "B", "the receipt, corrected: it was at B"),
    Row(RECEIPT, "", "the receipt, deleted"),
)

Script = tuple[Row, ...]


def version_at(script: Script, key: int, version: int) -> int:
    """The version at which a key stood when the sources were at `version`; 0: it did not exist yet."""
    return max((place for place, row in enumerate(script[:version], 1) if row.key == key), default=0)


def stores(script: Script, versions: tuple[int, int]) -> Counter[str]:
    """How often the user shops where, by the versions of the keys."""
    held = [script[version - 1].store for version in versions if version]
    return Counter(store for store in held if store)


def truth(script: Script, version: int) -> Counter[str]:
    """What the graph should say when the sources are at `version`."""
    return stores(script, (version_at(script, RECEIPT, version), version_at(script, ORDER, version)))
