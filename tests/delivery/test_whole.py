"""What is left of a delivery once it was asked about: nothing is lost, nothing is said that was refused."""

from __future__ import annotations

import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from hark.catalogue import PythonSource
from hark.delivery.ask import _questions, _whole
from hark.delivery.digested import Digested
from hark.delivery.recheck import ITEMS, Rechecked
from hark.delivery.whole import Found, left, name_of
from hark.rechecks import Answered

AT = "2026-03-02T12:00:00+00:00"
SOURCES = {"asked": PythonSource("shop:asked"), "other": PythonSource("shop:other")}

events = st.lists(st.sampled_from(["asked", "other", "plain"]), max_size=6)
digests = st.lists(
    st.tuples(
        st.sampled_from(["asked", "plain"]),
        st.integers(1, 4),
        st.integers(0, 5),
        st.sampled_from([None, None, "never"]),
        st.integers(1, 4),
    ),
    max_size=2,
    unique_by=lambda digest: digest[0],
)
replies = st.sampled_from([None, "deleted", "gone", "edit"])


def held(reasons: list[str], beyond: int) -> Rechecked:
    """A delivery with an event of each reason, and so many of `asked` that are not loaded."""
    counts = Counter(reasons)
    counts["asked"] += beyond if counts["asked"] else 0
    items = [[reason, n, AT, None, None, {}] for n, reason in enumerate(reasons, 1)]
    total = counts.total()
    return Rechecked(
        *("bob", 7, 1, 1, False, "bob@school.example", "UTC", "en", total, json.dumps(items)),
        counts={reason: count for reason, count in counts.items() if count},
        dropped={"read": 2},
        left_out={"99": "read"},
    )


@given(events, st.integers(0, 3), digests, st.data())
def test_all_is_said_or_counted_as_left_out_and_nothing_refused_is_listed(
    reasons: list[str], beyond: int, feeds: list[tuple[str, int, int, str | None, int]], data: st.DataObject
) -> None:
    delivery = held(reasons, beyond)
    said = [
        Digested(
            "bob", 7, name, json.dumps([[f"k{n}", AT, None, None, {}] for n in range(listed)]), listed + more, why, cap
        )
        for name, listed, more, why, cap in feeds
    ]
    whole = _whole(delivery, said, SOURCES)
    found, refused, edited = Found(), set(), set()
    for question in _questions([whole], SOURCES):
        reply = data.draw(replies)
        name = name_of(question.item)
        payload = {"new": True} if reply == "edit" else None
        found.answers[delivery.id, name] = Answered(question.n, None if reply == "edit" else reply, payload)
        (edited if reply == "edit" else refused if reply else set()).add(name)

    after = left(whole, found, SOURCES)

    before = delivery.total + sum(digest.total for digest in said) + 2
    assert after.total + sum(after.dropped.values()) == before
    assert after.total == sum(after.counts.values())
    assert min([*after.counts.values(), *after.dropped.values(), 1]) > 0
    if after.total:
        listed = after.batch().items
        names = {name_of(item) for item in listed}
        assert not names & refused
        assert {name_of(item) for item in listed if item.payload == {"new": True}} == edited & names
        assert {item.reason for item in listed} == set(after.counts)
    for digest in said:
        _is_said_or_silent(after, digest, refused)
    assert (after.left_out or {})["99"] == "read"
    assert refused <= set(after.left_out or {})


def _is_said_or_silent(after: Rechecked, digest: Digested, refused: set[str]) -> None:
    """The first of those that are left are listed, up to the cap; if there are none, it is silent, and says why."""
    left_of_it = [item for item in digest.listed() if digest.not_said is None and name_of(item) not in refused]
    listed = [item.key for item in after.listed or () if item.event_id is None and item.reason == digest.reason]
    assert listed == [item.key for item in left_of_it][: digest.cap]
    why = None if left_of_it else digest.not_said or ITEMS
    assert (after.silent or {}).get(digest.reason) == why
    if digest.not_said is None and 0 < len(left_of_it) < len(digest.listed()) < digest.total:
        assert after.uncounted


def test_what_could_not_be_asked_about_is_as_it_was_but_for_the_fault() -> None:
    delivery = held(["asked", "plain"], 0)
    after = left(_whole(delivery, [], SOURCES), Found(failed={7: "the recheck of asked failed: x"}), SOURCES)
    assert (after.unchecked, after.total) == ("the recheck of asked failed: x", 2)
