"""What a live message says, and all that is wrong with one."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hark.history.fact import refuse
from hark.history.facts import Fact
from hark.history.live.contracts import Contract, News, Topics, Unreadable, read_factoid, read_receipt
from tests.history.live.events import FACTOIDS, RECEIPTS, factoid, receipt, value

AT = datetime(2026, 11, 27, 9, tzinfo=UTC)
TOPICS = Topics({RECEIPTS: Contract.RECEIPTS, FACTOIDS: Contract.FACTOIDS})


def cause(said: News | Unreadable) -> str:
    assert isinstance(said, Unreadable)
    return said.cause


def test_a_receipt_is_its_lines_whole() -> None:
    said = read_receipt(value(receipt("r1", "milk", "bread", version=7)))
    assert isinstance(said, News)
    assert said.user_id == "ann"
    milk, bread = said.facts
    assert milk == Fact("ann", "receipt:r1:1", 7, "milk", "north", 129, "EUR", Decimal(1), AT, whole=True)
    assert (bread.key, bread.product_id, bread.whole) == ("receipt:r1:2", "bread", True)


@pytest.mark.parametrize("gone", [receipt("r1"), receipt("r1", "milk", deleted=True)])
def test_a_receipt_without_lines_or_deleted_is_gone(gone: object) -> None:
    said = read_receipt(value(gone))
    assert isinstance(said, News)
    assert said.facts == [Fact.gone("ann", "r1", 1)]


def test_a_factoid_is_an_order() -> None:
    said = read_factoid(value(factoid("b1", version=3, amount="12.50", quantity="0.75")))
    assert isinstance(said, News)
    assert said.facts == (Fact("ann", "order:b1", 3, "tea", "web", 1250, "EUR", Decimal("0.75"), AT),)


def test_a_store_and_a_quantity_may_lack_and_minor_units_are_as_good() -> None:
    bare = {name: said for name, said in factoid("b1", amount_minor=450).items() if name not in ("store", "quantity")}
    said = read_factoid(value({**bare, "amount": None, "deleted": True}))
    assert isinstance(said, News)
    (fact,) = said.facts
    assert (fact.store_id, fact.quantity, fact.amount_minor, fact.deleted) == (None, Decimal(1), 450, True)


def test_all_that_is_wrong_is_said_at_once_and_no_value_is() -> None:
    wrong = receipt("r1", "milk", user="", version=-1, currency="euro", purchased_at="secret")
    said = cause(read_receipt(value(wrong)))
    assert [each.split()[0] for each in said.split("; ")] == ["purchased_at", "currency", "version", "user_id"]
    assert "secret" not in said
    assert "euro" not in said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "it is no JSON, or only the beginning of some"),
        (b"\xff\xfe", "it is no JSON, or only the beginning of some"),
        (value(receipt("r1", "milk") | {"lines": [{"line": 1, "product_id": "a", "quantity": 1, "amount": 3.99}]}), ""),
        (value([]), ""),
    ],
)
def test_what_is_no_receipt_is_unreadable(body: bytes, said: str) -> None:
    assert said in cause(read_receipt(body))


def test_amounts_go_by_their_currency_and_lines_are_numbered_once() -> None:
    twice = receipt("r1", "milk", "tea", currency="JPY")
    twice["lines"] = [{"line": 1, "product_id": "a", "quantity": 1, "amount": "3.99"}] * 2
    assert cause(read_receipt(value(twice))) == (
        "lines have a number that is there twice; lines[0].amount has more than 0 figures behind the point; "
        "lines[1].amount has more than 0 figures behind the point"
    )
    doubled = receipt("r1", "milk", "tea")
    doubled["lines"][1]["line"] = 1
    assert cause(read_receipt(value(doubled))) == "lines have a number that is there twice"
    assert (
        cause(read_factoid(value(factoid("b1", amount="4.505")))) == "amount has more than 2 figures behind the point"
    )


def test_a_topic_says_what_its_messages_are() -> None:
    assert isinstance(TOPICS.read(FACTOIDS, value(factoid("b1"))), News)
    assert "summaryID field required" in cause(TOPICS.read(FACTOIDS, value(receipt("r1", "milk"))))
    assert cause(TOPICS.read("other", b"{}")).startswith("topic is none of those that are read")
    assert cause(TOPICS.read(RECEIPTS, None)) == "it has no value"


def test_a_line_says_its_topic() -> None:
    assert isinstance(TOPICS.read("", value({"topic": FACTOIDS, "value": factoid("b1")})), News)
    for other in ({"topic": "other", "value": {}}, {"topic": FACTOIDS}, {"topic": ["x"], "value": {}}, 7):
        assert cause(TOPICS.read("", value(other))).startswith('it is no line {"topic": …, "value": {…}}')


@given(st.binary() | st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x)).map(value))
def test_whatever_comes_is_news_or_unreadable(body: bytes) -> None:
    for topic in ("", RECEIPTS, FACTOIDS):
        assert isinstance(TOPICS.read(topic, body), News | Unreadable)


parts = (
    st.text() | st.integers() | st.none() | st.sampled_from(["1.5", "EUR", "2026-01-01T00:00Z", "9998-12-31T23:59Z"])
)


@given(st.dictionaries(st.sampled_from(sorted(factoid("b1"))), parts))
def test_what_is_read_can_be_recorded(odd: dict[str, object]) -> None:
    for said in (read_factoid(value({**factoid("b1"), **odd})), read_receipt(value({**receipt("r", "milk"), **odd}))):
        if isinstance(said, News):
            refuse(said.facts)
