"""A source of purchases as products have one: rows with rising versions, of which one may ask how they stood when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from hark.history.facts import Fact, Kind, Snapshot, line_key, order_key
from tests.history.shopping import JANUARY, NOW

PRODUCTS = ("milk", "tea", "rye bread")
TIMES = {"1": JANUARY - timedelta(days=20), "2": JANUARY + timedelta(days=20), "3": NOW}
"""When a receipt or order was made, by its number."""

Thing = tuple[str, Kind, str]
"""A user's receipt or order, by its number."""


@dataclass(frozen=True, slots=True)
class Row:
    """How a thing stood from a version on: the products of its lines, by number; nothing: it is gone."""

    thing: Thing
    version: int
    lines: Sequence[tuple[int, str]]

    def facts(self) -> list[Fact]:
        """What the live stream says of it, and what a load lists."""
        user, kind, number = self.thing
        if kind is Kind.ORDER:
            gone = Fact(user, order_key(f"{user}{number}"), self.version, deleted=True)
            return [self._fact(order_key(f"{user}{number}"), product) for _, product in self.lines[:1]] or [gone]
        receipt = f"{user}{number}"
        lines = [replace(self._fact(line_key(receipt, n), product), whole=True) for n, product in self.lines]
        return lines or [Fact.gone(user, receipt, self.version)]

    def _fact(self, key: str, product: str) -> Fact:
        user, _, number = self.thing
        return Fact(user, key, self.version, product, "north", 100, "EUR", Decimal(1), TIMES[number])


@dataclass(slots=True)
class Source:
    """All that ever stood in it."""

    rows: list[Row] = field(default_factory=list)

    @property
    def version(self) -> int:
        """The last one given."""
        return len(self.rows)

    def write(self, thing: Thing, lines: Sequence[tuple[int, str]]) -> Row:
        """A thing stands otherwise from now on."""
        row = Row(thing, self.version + 1, lines)
        self.rows.append(row)
        return row

    def as_of(self, version: int) -> dict[Thing, Row]:
        """How everything stood at a version."""
        return {row.thing: row for row in self.rows[:version]}

    def load(self, user: str, kind: Kind, since: datetime, version: int) -> Snapshot:
        """What a full load gets that reads at a version."""
        rows = [
            row
            for (owner, its_kind, number), row in self.as_of(version).items()
            if (owner, its_kind) == (user, kind) and row.lines and TIMES[number] >= since
        ]
        return Snapshot(user, kind, since, version, [fact for row in rows for fact in row.facts()])
