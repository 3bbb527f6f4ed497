"""A delivery with all that it may say, and what is left of it once it was asked about. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hark.catalogue import Source
from hark.delivery.digested import MUTED, Digested
from hark.delivery.recheck import NOTED, Rechecked
from hark.rechecks import Answered
from hark.rendering import Item

GONE, UNASKED = "gone", "unasked"
"""Why an item is not said: there was no answer to it; there was no asking about it."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A delivery with all that it may say (`items`), and what its recipient does not want any more (`unwanted`).

    No `items`: it is as it was, for nobody is asked about it.
    """

    delivery: Rechecked
    digests: Sequence[Digested] = ()
    items: Sequence[Item] | None = None
    unwanted: Sequence[tuple[Item, str]] = ()


@dataclass(slots=True)
class Found:
    """What came of asking: the answer to each item, and for which deliveries there is none, and why."""

    answers: dict[tuple[int, str], Answered] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)


def name_of(item: Item) -> str:
    """What an item goes by among what was left out."""
    return str(item.event_id) if item.event_id is not None else f"{item.reason}/{item.key}"


@dataclass(slots=True)
class _Tally:
    """What is said and what not, as it changes."""

    counts: Counter[str]
    dropped: Counter[str]
    left_out: dict[str, str]

    def drop(self, reason: str, why: str, count: int = 1) -> None:
        """So many of a reason are not said."""
        if count > 0:
            self.counts[reason] -= count
            self.dropped[why] += count

    def note(self, item: Item, why: str) -> None:
        """Which one it was, as long as there is room."""
        if len(self.left_out) < NOTED:
            self.left_out[name_of(item)] = why


def left(whole: Whole, found: Found, sources: Mapping[str, Source]) -> Rechecked:
    """The delivery with what may be said of all of it, or with why that could not be found out (`unchecked`)."""
    delivery = whole.delivery
    if delivery.id in found.failed:
        return replace(delivery, unchecked=found.failed[delivery.id])
    if whole.items is None:
        return delivery
    tally = _Tally(Counter(delivery.counts), Counter(delivery.dropped), dict(delivery.left_out or {}))
    _add(tally, whole)
    listed = list(_said(tally, delivery, whole.items, found, sources))
    _drop_unasked(tally, whole, listed, sources)
    return replace(
        delivery,
        listed=listed,
        total=tally.counts.total(),
        counts={reason: count for reason, count in tally.counts.items() if count > 0},
        dropped=dict(tally.dropped),
        left_out=tally.left_out or None,
    )


def _add(tally: _Tally, whole: Whole) -> None:
    for item, why in whole.unwanted:
        tally.note(item, why)
    for digest in whole.digests:
        tally.counts[digest.reason] += digest.total
        if digest.not_said is not None:
            tally.drop(digest.reason, digest.not_said, digest.total)
        elif digest.muted:
            tally.drop(digest.reason, MUTED, sum(digest.why_not(item) == MUTED for item in digest.listed()))


def _said(
    tally: _Tally, delivery: Rechecked, items: Sequence[Item], found: Found, sources: Mapping[str, Source]
) -> Iterator[Item]:
    for item in items:
        if item.reason not in sources:
            yield item
            continue
        answer = found.answers[delivery.id, name_of(item)]
        if answer.why is not None:
            tally.drop(item.reason, answer.why)
            tally.note(item, answer.why)
        else:
            yield item if answer.payload is None else replace(item, payload=answer.payload)


def _drop_unasked(tally: _Tally, whole: Whole, listed: Sequence[Item], sources: Mapping[str, Source]) -> None:
    """Nothing is counted that could not be asked about, unless it stands behind something that is listed.

    Events beyond the newest thousand are not said; the rest of a digest is, as a number, if any of it is listed.
    """
    loaded = Counter(item.reason for item in whole.items or () if item.event_id is not None)
    for reason in sources.keys() & whole.delivery.counts.keys():
        tally.drop(reason, UNASKED, whole.delivery.counts[reason] - loaded[reason])
    said = {item.reason for item in listed if item.event_id is None}
    for digest in whole.digests:
        if digest.not_said is None and digest.reason not in said:
            tally.drop(digest.reason, UNASKED, digest.total - len(digest.listed()))
