"""What is sent to the graph, as `cypher.py` reads it: products as rows, and what users bought as columns.

A transaction of some hundred users has thousands of edges. They come from Postgres as arrays, one a column, and go on
to the graph as they are: nothing is made of each. An edge says by places in lists whose it is and where it leads to, so
that the graph looks each node up once.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Columns = tuple[Any, ...]
"""Lists of one length, or None for empty ones."""

USER = ("id", "was", "version", "whole", "anew", "at_s", "at_ns")
LINE = (
    *("of", "to", "key", "store_id", "amount_minor", "currency", "quantity"),
    *("at_s", "at_ns", "version", "receipt_id", "order_id"),
)
SUM = (
    *("of", "to", "count", "quantity", "first_s", "first_ns", "last_s", "last_ns"),
    *("currencies", "totals"),
)
"""The columns of users and their edges, in the order of changes.sql. `of`: whose, by place; `to`: the id it leads to.
Moments come as seconds and nanoseconds."""

_CODE = 3
"""Letters of a currency."""


class Changes(Protocol):
    """What the nodes of one transaction become."""

    @property
    def ids(self) -> Sequence[str]:
        """The nodes, in order: of two who write at once, neither waits for the other with what that one waits for."""
        ...

    @property
    def versions(self) -> Sequence[int]:
        """The version that each will have."""
        ...

    def lines_of(self, ids: Container[str]) -> int:
        """How many purchases of these are sent."""
        ...

    def parameters(self) -> dict[str, Any]:
        """What the statement of `cypher.WRITE` is given."""
        ...


@dataclass(frozen=True, slots=True)
class UserChanges:
    """What users become: columns as Postgres gave them.

    Attributes:
        users: `USER`. `was`: the version that the node must still hold; `whole`: all that hangs on the node is
            replaced, else only lines whose keys changed, and sums; `anew`: all sums are replaced, else only the touched
            ones; `at`: when the facts last changed.
        changed: whose, and the keys that changed, of those who are not written whole.
        bought: `LINE`.
        categories, stores: `SUM`: what is to be there of the sums that are replaced.
        touched_categories, touched_stores: whose, and the ids, of those who are not written anew.
    """

    users: Columns
    changed: Columns
    bought: Columns
    categories: Columns
    stores: Columns
    touched_categories: Columns
    touched_stores: Columns

    @property
    def ids(self) -> Sequence[str]:
        """The users."""
        return self.users[USER.index("id")] or []

    @property
    def versions(self) -> Sequence[int]:
        """Their versions."""
        return self.users[USER.index("version")] or []

    def lines_of(self, ids: Container[str]) -> int:
        """How many purchases of theirs."""
        theirs = [each in ids for each in self.ids]
        return sum(theirs[place] for place in self.bought[LINE.index("of")] or [])

    def parameters(self) -> dict[str, Any]:
        """One map a kind, so that the graph plans once, whatever the sizes of the lists."""
        users = _named(USER, self.users)
        count = len(users["id"])
        users["keys"] = _grouped(count, *self.changed)
        users["categories"] = _grouped(count, *self.touched_categories)
        users["stores"] = _grouped(count, *self.touched_stores)
        edges = {
            "products": _named(LINE, self.bought),
            "categories": _summed(self.categories),
            "stores": _summed(self.stores),
        }
        return {"users": users, "ids": {name: _led_to(each) for name, each in edges.items()}, **edges}


@dataclass(frozen=True, slots=True)
class ProductChange:
    """What a product's node becomes, and the categories that it is in: one, or none."""

    id: str
    was: int
    version: int
    name: str | None
    category_id: str | None
    hierarchy: Sequence[str] | None
    categories: Sequence[str]


@dataclass(frozen=True, slots=True)
class ProductChanges:
    """What products become."""

    rows: Sequence[ProductChange]

    @property
    def ids(self) -> Sequence[str]:
        """The products."""
        return [each.id for each in self.rows]

    @property
    def versions(self) -> Sequence[int]:
        """Their versions."""
        return [each.version for each in self.rows]

    def lines_of(self, _ids: Container[str]) -> int:
        """Products have no lines."""
        return 0

    def parameters(self) -> dict[str, Any]:
        """As rows: they are few."""
        return {"changes": [{name: getattr(each, name) for name in each.__slots__} for each in self.rows]}


def _named(names: Sequence[str], columns: Columns) -> dict[str, list[Any]]:
    return {name: column or [] for name, column in zip(names, columns, strict=True)}


def _summed(columns: Columns) -> dict[str, list[Any]]:
    """Currencies and totals come as one text a sum: arrays of arrays have all one length in Postgres."""
    sums = _named(SUM, columns)
    sums["currencies"] = [_codes(each) for each in sums["currencies"]]
    sums["totals"] = [[int(total) for total in each.split()] for each in sums["totals"]]
    return sums


def _codes(text: str) -> list[str]:
    return [text[begin : begin + _CODE] for begin in range(0, len(text), _CODE)]


def _grouped(count: int, places: Iterable[int] | None, values: Iterable[str] | None) -> list[list[str]]:
    """The values of each place."""
    groups: list[list[str]] = [[] for _ in range(count)]
    for place, value in zip(places or (), values or (), strict=True):
        groups[place].append(value)
    return groups


def _led_to(edges: dict[str, list[Any]]) -> list[str]:
    """The ids that edges lead to, each once and in order; the edges say them by their places from now on.

    The column itself stays as it is: where the graph ends one of two that wait for each other, it is sent again.
    """
    ids = sorted(set(edges["to"]))
    places = {each: place for place, each in enumerate(ids)}
    edges["to"] = [places[each] for each in edges["to"]]
    return ids
