"""Holds what the facts say against what the graph has: of a user, of a product. Pure: two sides in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hark.history.audit.report import Finding, Name

NODE = ("user_id", "facts_version", "last_updated_at")
LINE = (
    "key",
    "product_id",
    "store_id",
    "amount_minor",
    "currency",
    "quantity",
    "occurred_at",
    "version",
    "receipt_id",
    "order_id",
)
GOODS = ("name", "category_id", "category_hierarchy", "version")
SUM = ("count", "quantity", "first_at", "last_at", "currencies", "totals_minor", "total_minor")
_NEVER_WROTE = "it has properties that Hark never wrote"
_TIMES = frozenset({"occurred_at", "first_at", "last_at", "last_updated_at"})
_FLOATS = frozenset({"quantity"})
"""What Hark writes as floats, also where they are whole."""
_KINDS = {str: "text", int: "integer", float: "float", bool: "boolean", list: "list"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LEAST, _MOST = -(2**63), 2**63 - 1

Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Person:
    """A user by the facts, of one moment; rows as `buyers.sql` gives them.

    Attributes:
        marked: the version that the graph is marked to hold.
        unsettled: their facts are ahead of the graph, or the window or a product is about to move them on.
        changed_us: when their facts last changed, in microseconds.
        future: keys of facts that lie in the future; `beyond`: of facts that claim a later version than their user's.
        unrolled: they have a fact that counts, and that the window would forget to let go.
    """

    id: str
    version: int
    marked: int
    changed_us: int
    ahead_since: datetime | None
    last_loaded_at: datetime | None
    unsettled: bool
    facts: int
    gone: int
    before: int
    future: Sequence[str]
    beyond: Sequence[str]
    unrolled: bool
    lines: Sequence[Row]
    ins: Sequence[Row]
    ats: Sequence[Row]


@dataclass(frozen=True, slots=True)
class HeldPerson:
    """A user's node and what hangs on it; rows as `cypher.USERS` gives them.

    Attributes:
        version: what stands for the version, as a number; `said`: just as it is.
        keys: how many properties the node has.
        nodes: how many have this id.
    """

    version: int
    said: Any
    changed_us: Any
    keys: int
    lines: Sequence[Row]
    ins: Sequence[Row]
    ats: Sequence[Row]
    nodes: int = 1


@dataclass(frozen=True, slots=True)
class Goods:
    """A product by what is known of it."""

    id: str
    version: int
    marked: int
    unsettled: bool
    name: str | None
    category_id: str | None
    hierarchy: Sequence[str] | None
    asked: bool


@dataclass(frozen=True, slots=True)
class HeldGoods:
    """A product's node, and the categories that it is in.

    Attributes:
        version: what stands for the version, as a number; `said`: just as it is.
        keys: how many properties the node has.
        categories: of each its id and hierarchy, and how many properties the edge to it has.
    """

    version: int
    said: Any
    name: Any
    category_id: Any
    hierarchy: Any
    keys: int
    categories: Sequence[Row]
    nodes: int = 1


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of comparing. `strays`: keys of edges that the facts do not have; why, is still to be asked."""

    findings: Sequence[Finding]
    strays: Sequence[str] = field(default=())


def person(facts: Person, held: HeldPerson | None, future_us: int) -> Compared:
    """All that a user's node has otherwise than the facts say.

    Args:
        future_us: from when on a time lies in the future, in microseconds since 1970.
    """
    if held is None:
        return Compared([Finding(Name.MISSING_NODE, facts.id, f"has {len(facts.lines)} purchases, and no node")])
    if away := _twins(facts.id, held.nodes) or _versions(facts, held):
        return Compared(away)
    found = [*_node(facts, held)]
    expected, lines = {row[0]: row for row in facts.lines}, _by_key(held.lines)
    found += _lines(facts.id, expected, lines)
    found += _sums(facts.id, "SHOPS_IN", facts.ins, held.ins)
    found += _sums(facts.id, "SHOPS_AT", facts.ats, held.ats)
    found += _in_future(facts, held.lines, future_us)
    strays = [key for key in lines if key not in expected]
    return Compared(found, strays)


def goods(facts: Goods, held: HeldGoods | None) -> Compared:
    """All that a product's node has otherwise than is known of it."""
    if held is None:
        return Compared([Finding(Name.MISSING_NODE, facts.id, "the product has no node")])
    if away := _twins(facts.id, held.nodes) or _versions(facts, held):
        return Compared(away)
    known = (facts.name, facts.category_id, facts.hierarchy, facts.version)
    has = (held.name, held.category_id, held.hierarchy, held.said)
    wrong = _others(GOODS, has, known)
    if not wrong and held.keys != sum(value is not None for value in (facts.id, *known)):
        wrong.append(_NEVER_WROTE)
    found = [Finding(Name.WRONG_PRODUCT, facts.id, "; ".join(wrong))] if wrong else []
    expected = [] if facts.category_id is None else [[facts.category_id, facts.hierarchy]]
    if [list(row[:2]) for row in held.categories] != expected:
        cause = f"it is in {_listed(held.categories)} in the graph, in {_listed(expected)} by what is known"
        found.append(Finding(Name.IN_CATEGORY, facts.id, cause))
    elif any(keys for _, _, keys in held.categories):
        found.append(Finding(Name.IN_CATEGORY, facts.id, f"IN_CATEGORY {facts.category_id}: {_NEVER_WROTE}"))
    return Compared(found)


def microseconds(at: Any) -> Any:
    """A moment of the graph's in microseconds since 1970; whatever is no moment as it is, but no number: as text."""
    if isinstance(at, int | float):
        return str(at)
    try:
        return (getattr(at, "to_native", lambda: at)() - _EPOCH) // _MICROSECOND
    except (AttributeError, TypeError, ValueError, OverflowError):
        return at


def summed(row: Row) -> tuple[Any, ...]:
    """What an edge with sums must say, by a row of the facts: of one currency its total is the only one."""
    _, count, quantity, first, last, totals = row
    by_currency = sorted(totals.items())
    # A sum past what the graph can hold stops there.
    minor = [min(max(total, _LEAST), _MOST) for _, total in by_currency]
    return (
        count,
        quantity,
        first,
        last,
        [each for each, _ in by_currency],
        minor,
        minor[0] if len(minor) == 1 else None,
    )


def _versions(facts: Person | Goods, held: HeldPerson | HeldGoods) -> list[Finding]:
    if held.version == facts.version:
        return []
    cause = f"the graph holds version {held.version}, the facts are at {facts.version}, marked is {facts.marked}"
    return [Finding(Name.VERSION, facts.id, cause)]


def _twins(named: str, nodes: int) -> list[Finding]:
    """Which of them is the one, nobody can say; so what they say is not looked at."""
    return [Finding(Name.TWIN_NODE, named, f"{nodes} nodes have this id")] if nodes > 1 else []


def _node(facts: Person, held: HeldPerson) -> Iterator[Finding]:
    if wrong := _others(NODE[1:], (held.said, held.changed_us), (facts.version, facts.changed_us)):
        yield Finding(Name.WRONG_NODE, facts.id, "; ".join(wrong))
    elif held.keys != len(NODE):
        yield Finding(Name.WRONG_NODE, facts.id, _NEVER_WROTE)


def _in_future(facts: Person, rows: Sequence[Row], future_us: int) -> Iterator[Finding]:
    """What lies in the future in the graph alone."""
    for row in rows:
        at = microseconds(row[6])
        if isinstance(at, int) and at > future_us and row[0] not in facts.future:
            yield Finding(Name.FUTURE_TIME, facts.id, f"PURCHASED {row[0]}: at {_time(at)} in the graph")


def _by_key(rows: Sequence[Row]) -> dict[Any, list[Row]]:
    """Edges by what names them. What somebody else wrote may have any name, or none."""
    found: dict[Any, list[Row]] = {}
    for row in rows:
        name = row[0] if isinstance(row[0], str) else repr(row[0])
        found.setdefault(name, []).append(row)
    return found


def _lines(user: str, expected: Mapping[str, Row], held: Mapping[Any, Sequence[Row]]) -> Iterator[Finding]:
    for key, row in expected.items():
        if key not in held:
            cause = f"PURCHASED {key}: the facts have it, in version {row[7]}; the graph has no such edge"
            yield Finding(Name.MISSING_EDGE, user, cause)
            continue
        first, *others = held[key]
        if others:
            yield Finding(Name.TWIN_EDGE, user, f"PURCHASED {key}: {len(others) + 1} edges of one key")
        if wrong := _differences(LINE, row, first, without=1):
            yield Finding(Name.WRONG_EDGE, user, f"PURCHASED {key}: {wrong}")


def _sums(user: str, edge: str, facts: Sequence[Row], rows: Sequence[Row]) -> Iterator[Finding]:
    expected, held = {row[0]: row for row in facts}, _by_key(rows)
    for target, row in expected.items():
        if target not in held:
            cause = f"{edge} {target}: {row[1]} purchases by the facts; the graph has no such edge"
            yield Finding(Name.MISSING_EDGE, user, cause)
            continue
        first, *others = held[target]
        if others:
            yield Finding(Name.TWIN_EDGE, user, f"{edge} {target}: {len(others) + 1} edges to it")
        if wrong := _differences(SUM, summed(row), first[1:], without=0):
            yield Finding(Name.WRONG_TOTAL, user, f"{edge} {target}: {wrong}")
    for target in sorted(held.keys() - expected.keys()):
        yield Finding(Name.STALE_EDGE, user, f"{edge} {target}: by the facts there is no purchase that counts")


def _differences(names: Sequence[str], expected: Row, held: Row, *, without: int) -> str:
    """What is other, with both values, and whether there is more on the edge than Hark writes.

    Args:
        without: how many of the names are no property of the edge.
    """
    *values, keys = held
    wrong = _others(names, list(map(_as_given, names, values)), list(map(_as_written, names, expected)))
    if not wrong and keys != sum(value is not None for value in expected) - without:
        wrong.append(_NEVER_WROTE)
    return "; ".join(wrong)


def _others(names: Sequence[str], held: Row, expected: Row) -> list[str]:
    """Of each that is other, what it is and what it should be."""
    each = zip(names, held, expected, strict=True)
    return [_other(name, is_, be) for name, is_, be in each if not _alike(is_, be)]


def _alike(held: Any, expected: Any) -> bool:
    """Equal, and of one type: a 3.0 is equal to a 3, and all the same not what was written."""
    if type(held) is not type(expected) or held != expected:
        return False
    return not isinstance(held, list) or all(map(_alike, held, expected))


def _as_given(name: str, value: Any) -> Any:
    return microseconds(value) if name in _TIMES else value


def _as_written(name: str, value: Any) -> Any:
    """What the facts say, of the type that it is written in: JSON says whole floats as whole numbers."""
    return float(value) if name in _FLOATS and value is not None else value


def _other(name: str, held: Any, expected: Any) -> str:
    """What it is, and what it should be; where both read alike, also of which type."""
    is_, be = _said(name, held), _said(name, expected)
    if is_ == be:
        is_, be = f"{is_} ({_kind(name, held)})", f"{be} ({_kind(name, expected)})"
    return f"{name} is {is_} in the graph, {be} by the facts"


def _said(name: str, value: Any) -> str:
    return _short(_time(value) if name in _TIMES else value)


def _kind(name: str, value: Any) -> str:
    if name in _TIMES and isinstance(value, int):
        return "moment"
    return _KINDS.get(type(value), type(value).__name__)


def _time(us: Any) -> Any:
    return (_EPOCH + us * _MICROSECOND).isoformat() if isinstance(us, int) and abs(us) < 2**57 else us


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _listed(categories: Sequence[Row]) -> str:
    each = [f"{row[0]} ({' > '.join(map(str, row[1] or ())) or 'no hierarchy'})" for row in categories]
    return ", ".join(each) or "no category"
