"""A delivery with all that it may say, and what is left of it once it was asked about. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hark.catalogue import Source
from hark.delivery.digested import MUTED, Digested
from hark.delivery.recheck import ITEMS, NOTED, Rechecked
from hark.rechecks import Answered
from hark.rendering import Item

GONE, UNASKED, UNCOUNTED = "gone", "unasked", "uncounted"
"""Why an item is not said: there was no answer to it; there was no asking about it; and so it is not counted."""


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
    may_be_said = list(_said(tally, delivery, whole.items, found, sources))
    _drop_unloaded(tally, whole, sources)
    ends = {digest.reason: _end(tally, whole, digest, may_be_said) for digest in whole.digests}
    return replace(
        delivery,
        listed=_listed(whole, may_be_said),
        total=tally.counts.total(),
        counts={reason: count for reason, count in tally.counts.items() if count > 0},
        dropped=dict(tally.dropped),
        left_out=tally.left_out or None,
        silent={reason: end.silent for reason, end in ends.items() if end.silent} or None,
        uncounted=any(end.uncounted for end in ends.values()),
    )


def _add(tally: _Tally, whole: Whole) -> None:
    for digest in whole.digests:
        tally.counts[digest.reason] += digest.total
        if digest.not_said is not None:
            tally.drop(digest.reason, digest.not_said, digest.total)
    for item, why in whole.unwanted:
        tally.note(item, why)
        if why == MUTED:
            tally.drop(item.reason, why)


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


def _drop_unloaded(tally: _Tally, whole: Whole, sources: Mapping[str, Source]) -> None:
    """Events beyond the newest thousand could not be asked about, and are not said."""
    loaded = Counter(item.reason for item in whole.items or () if item.event_id is not None)
    for reason in sources.keys() & whole.delivery.counts.keys():
        tally.drop(reason, UNASKED, whole.delivery.counts[reason] - loaded[reason])


@dataclass(frozen=True, slots=True)
class _End:
    """How a digest ended: why nothing is said of it, or that others stand behind it whose number is not known."""

    silent: str = ""
    uncounted: bool = False


def _end(tally: _Tally, whole: Whole, digest: Digested, may_be_said: Sequence[Item]) -> _End:
    """What becomes of those behind its items, about whom nobody was asked.

    They are counted as long as all that were asked about may be said. Where some may not, it may be so with those, too:
    there are more, but nobody knows how many. Where none may, nothing is said of the digest, and it covers nothing.
    """
    if digest.not_said is not None:
        return _End(silent=digest.not_said)
    listed = _of(digest, whole.items or ()) + _of(digest, [item for item, _ in whole.unwanted])
    left, behind = _of(digest, may_be_said), digest.total - listed
    if left == 0:
        tally.drop(digest.reason, UNASKED, behind)
        return _End(silent=ITEMS)
    if left < listed and behind > 0:
        tally.drop(digest.reason, UNCOUNTED, behind)
        return _End(uncounted=True)
    return _End()


def _of(digest: Digested, items: Sequence[Item]) -> int:
    """How many of some items are this digest's."""
    return sum(item.reason == digest.reason and item.event_id is None for item in items)


def _listed(whole: Whole, may_be_said: Sequence[Item]) -> list[Item]:
    """Of events what may be said; of a digest so many as its cap lets, the others stay behind it."""
    room = {digest.reason: digest.cap for digest in whole.digests}
    listed: list[Item] = []
    for item in may_be_said:
        if item.event_id is None:
            room[item.reason] -= 1
        if item.event_id is not None or room[item.reason] >= 0:
            listed.append(item)
    return listed
