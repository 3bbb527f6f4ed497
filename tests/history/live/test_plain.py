"""What is read of a message at a glance is what its contract says of it, and no more than that is read so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hark.history.live.contracts import News, Unreadable, factoid_by_contract, receipt_by_contract
from hark.history.live.plain import factoid_at_a_glance, receipt_at_a_glance
from tests.history.live.events import factoid, receipt, value

NAMES = ("", "a", "ü\t", "a\\b", "\0", "x" * 255, "x" * 256)
NUMBERS = (0, -1, 1, 1.0, 0.5, 2**63 - 1, 2**63, 10**9 - 1, 10**9, 10**15, -(10**15) - 1, 1_764_000_000)
TEXTS = ("0.75", "0.7500", "1e3", "-1", "3.99", "3.999", "1" * 31, "EUR", "JPY", "euro")
TIMES = ("2026-11-27T09:00:00Z", "2026-11-27T09:00:00", "2026-11-27", "1969-12-31T23:59:59Z", "9999-01-01T00:00:00Z")
ODD: st.SearchStrategy[Any] = st.sampled_from(
    (*NAMES, *NUMBERS, *TEXTS, *TIMES, "2026-11-27T09:00:00.123456+05:30", None, True, [], {})
)


def one_receipt(draw: st.DrawFn) -> dict[str, Any]:
    said = receipt("r1", *draw(st.lists(st.sampled_from(("milk", "tea")), max_size=3)))
    for line in said["lines"]:
        bent(draw, line, ("line", "product_id", "quantity", "amount_minor", "amount", "more"))
    return said


def bent(draw: st.DrawFn, said: dict[str, Any], names: tuple[str, ...]) -> None:
    """Something else for a value or two, or nothing at all."""
    for name in draw(st.lists(st.sampled_from(names), max_size=2)):
        if draw(st.integers(0, 3)):
            said[name] = draw(ODD)
        else:
            said.pop(name, None)


@st.composite
def receipts(draw: st.DrawFn) -> bytes:
    said = one_receipt(draw)
    names = ("user_id", "receipt_id", "store_id", "purchased_at", "currency", "version", "deleted", "lines", "more")
    bent(draw, said, names)
    return json.dumps(said).encode()


@st.composite
def factoids(draw: st.DrawFn) -> bytes:
    said = factoid("b1")
    names = ("user_id", "summaryID", "store", "product_id", "amount", "amount_minor", "currency", "quantity")
    bent(draw, said, (*names, "occurred_at", "version", "deleted", "more"))
    return json.dumps(said).encode()


@given(receipts())
def test_a_receipt_says_the_same_at_a_glance(body: bytes) -> None:
    plain = receipt_at_a_glance(body)
    assert plain is None or News(plain[0].user_id, plain) == receipt_by_contract(body)


@given(factoids())
def test_a_factoid_says_the_same_at_a_glance(body: bytes) -> None:
    plain = factoid_at_a_glance(body)
    assert plain is None or News(plain.user_id, (plain,)) == factoid_by_contract(body)


@pytest.mark.parametrize(
    "said",
    [
        receipt("r1", "milk", "tea"),
        receipt("r1", "milk", at="2026-11-27T09:00:00.5+01:00", store_id=None, more={"new": 1}),
        receipt("r1", "milk")
        | {"lines": [{"line": 7, "product_id": "m", "quantity": "0.75", "amount": "3.99", "amount_minor": None}]},
    ],
)
def test_ordinary_receipts_are_read_at_a_glance(said: dict[str, Any]) -> None:
    assert receipt_at_a_glance(value(said)) is not None


@pytest.mark.parametrize(
    "said", [factoid("b1"), factoid("b1", deleted=True, quantity="2", store=None, amount=None, amount_minor=450)]
)
def test_ordinary_factoids_are_read_at_a_glance(said: dict[str, Any]) -> None:
    assert factoid_at_a_glance(value(said)) is not None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"lines": "' + b"[" * 500])
def test_what_is_no_message_is_left_to_the_contract(body: bytes) -> None:
    assert receipt_at_a_glance(body) is None
    assert factoid_at_a_glance(body) is None
    assert isinstance(receipt_by_contract(body), Unreadable)
