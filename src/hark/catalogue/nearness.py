"""Who stands nearer to an event than others: `narrower` reasons for them, and `auto_subscribe` for who publishes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from hark.catalogue.model import ABOUT, NAMED, Facet
from hark.catalogue.nodes import Node
from hark.catalogue.wording import no_such, quoted, shown

MOST_NARROWER = 10
MOST_KINDS = 20

_KIND = re.compile(r"[a-z][a-z0-9_]{0,62}")
_KIND_RULE = "write a small letter, then small letters, digits and _"


@dataclass(frozen=True, slots=True)
class Siblings:
    """The reasons of the file: their names, and what each of those that have some names as narrower."""

    names: Collection[str] = ()
    broader: Collection[str] = ()


def siblings(reasons: Sequence[Node]) -> Siblings:
    """What reasons need to know of each other; whatever else may be wrong with them."""
    broader = [node.name for node in reasons if isinstance(node.value, dict) and node.value.get("narrower")]
    return Siblings([node.name for node in reasons], broader)


def read_narrower(node: Node | None, reason: str, others: Siblings) -> tuple[Facet, ...]:
    """Read `{ mention = "named", comment_reply = "comment" }`, most specific first."""
    if node is None:
        return ()
    entries = node.entries()
    if len(entries) > MOST_NARROWER:
        node.fault(f"has {len(entries)} reasons; write at most {MOST_NARROWER}")
    for entry in entries:
        if what := _no_facet_of(reason, entry.name, others):
            entry.fault(what)
    return tuple(Facet(entry.name, _facet_kind(entry)) for entry in entries)


def read_auto_subscribe(node: Node | None) -> tuple[str, ...]:
    """Read `["about", "post"]`."""
    if node is None:
        return ()
    items = node.items('["about", "post"]')
    if len(items) > MOST_KINDS:
        node.fault(f"has {len(items)} kinds; write at most {MOST_KINDS}")
    return tuple(_followed_kinds(items))


def _no_facet_of(reason: str, name: str, others: Siblings) -> str:
    """Why a reason cannot be a narrower one of another; empty: it can."""
    if name == reason:
        return "is the reason itself; leave it out: it applies to all others by itself"
    if name not in others.names:
        return no_such("reason", name, [other for other in others.names if other != reason])
    if name in others.broader:
        return (
            f"{quoted(name)} has narrower reasons of its own; only one level goes; name them here, too, or leave it out"
        )
    return ""


def _facet_kind(node: Node) -> str:
    what = f'is neither "{NAMED}" nor a kind of entity'
    return _kind(node, what, f'write "{NAMED}", or what stands before the colon of an entity, as "comment"')


def _followed_kinds(items: Sequence[Node]) -> Iterator[str]:
    seen: set[str] = set()
    for item in items:
        kind = _kind(item, "is no kind of entity", f'write "{ABOUT}", or what stands before the colon, as "post"')
        if kind in seen:
            item.fault(f"{quoted(kind)} is listed twice; once is enough")
        seen.add(kind)
        yield kind


def _kind(node: Node, what: str, remedy: str) -> str:
    if isinstance(node.value, str) and _KIND.fullmatch(node.value):
        return node.value
    rule = f"; {_KIND_RULE}" if isinstance(node.value, str) else ""
    node.fault(f"{shown(node.value)} {what}; {remedy}{rule}")
    return ""
