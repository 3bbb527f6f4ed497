"""What sources may answer: the examples of the documentation, amounts, and whatever else could come."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from hark.errors import HarkError, SourceFailed
from hark.guarded.client import Answer
from hark.history.sources.category import CategoriesSaid
from hark.history.sources.contracts import Broken, read
from hark.history.sources.money import figures_of, minor_units
from hark.history.sources.polite import Verdict, judged
from hark.history.sources.product import ProductsSaid, refuse_others
from hark.history.sources.purchase import ReceiptPage
from hark.history.sources.shop import OrderPage

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "sources.md"
ANSWERS: dict[str, type[BaseModel]] = {
    "receipts": ReceiptPage,
    "orders": OrderPage,
    "products": ProductsSaid,
    "categories": CategoriesSaid,
}
LINE = {"line": 1, "product_id": "p", "quantity": 1, "amount_minor": 399}
RECEIPT = {"receipt_id": "r", "purchased_at": "2026-03-02T12:00:00Z", "currency": "USD", "version": 7, "lines": [LINE]}
ANYTHING = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def documented() -> list[dict[str, Any]]:
    blocks = re.findall(r"^```json\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [json.loads(block) for block in blocks]


def page(*receipts: object, **given: object) -> bytes:
    whole = {"user_id": "u", "read_from": "primary", "watermark": 9, "total": len(receipts), "receipts": list(receipts)}
    return json.dumps({**whole, **given}).encode()


def faults(body: bytes) -> str:
    with pytest.raises(SourceFailed) as caught:
        read("purchase", ReceiptPage, body)
    return str(caught.value)


def changed(**given: object) -> dict[str, object]:
    """A receipt of one line, the line or the receipt with other values."""
    line = {**LINE, **{name: value for name, value in given.items() if name in (*LINE, "amount")}}
    return {**RECEIPT, **given, "lines": given.get("lines", [line])}


def test_each_answer_has_an_example_that_is_one() -> None:
    shown = [each for each in documented() if ANSWERS.keys() & each.keys()]
    assert {name for each in shown for name in ANSWERS.keys() & each.keys()} == set(ANSWERS)
    for each in shown:
        (name,) = ANSWERS.keys() & each.keys()
        read("it", ANSWERS[name], json.dumps(each).encode())


def test_each_field_is_documented() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for model in ANSWERS.values():
        assert {name for name in fields_of(model) if f"`{name}`" not in text} == set()


def fields_of(model: type[BaseModel]) -> set[str]:
    schema = model.model_json_schema(by_alias=True)
    parts = [schema, *schema.get("$defs", {}).values()]
    return {name for part in parts for name in part.get("properties", {})}


def test_keys_that_are_new_are_passed_over() -> None:
    assert read("purchase", ReceiptPage, page({**RECEIPT, "new": {}}, also=1)).receipts[0].receipt_id == "r"


@pytest.mark.parametrize(
    ("given", "where", "what"),
    [
        ({"amount_minor": 3.99}, "receipts[0].lines[0].amount_minor", "is a number with a point"),
        ({"amount_minor": 3.0}, "receipts[0].lines[0].amount_minor", "is a number with a point"),
        ({"amount_minor": "399"}, "receipts[0].lines[0].amount_minor", "input should be a valid integer"),
        ({"amount_minor": True}, "receipts[0].lines[0].amount_minor", "input should be a valid integer"),
        ({"amount_minor": 10**15 + 1}, "receipts[0].lines[0].amount_minor", "less than or equal"),
        ({"amount": "3.99"}, "receipts[0].lines[0]", "has both of amount_minor and amount"),
        ({"amount_minor": None}, "receipts[0].lines[0]", "has both of amount_minor and amount, or none"),
        ({"quantity": 0.5}, "receipts[0].lines[0].quantity", "is neither a whole number nor a text"),
        ({"quantity": -1}, "receipts[0].lines[0].quantity", "is not from 0"),
        ({"quantity": "1.2345"}, "receipts[0].lines[0].quantity", "more than 3 figures"),
        ({"line": 0}, "receipts[0].lines[0].line", "greater than or equal to 1"),
        ({"product_id": ""}, "receipts[0].lines[0].product_id", "at least 1 character"),
        ({"product_id": "a\0b"}, "receipts[0].lines[0].product_id", "has a zero byte"),
        ({"purchased_at": "2026-03-02T12:00:00"}, "receipts[0].purchased_at", "timezone"),
        ({"purchased_at": 1772452800}, "receipts[0].purchased_at", "valid datetime"),
        ({"purchased_at": "0001-01-01T00:00:00Z"}, "receipts[0].purchased_at", "not between the years"),
        ({"currency": "usd"}, "receipts[0].currency", "match pattern"),
        ({"version": 2**63}, "receipts[0].version", "less than or equal"),
        ({"version": "7"}, "receipts[0].version", "valid integer"),
        ({"lines": None}, "receipts[0].lines", "valid array"),
        ({"deleted": "no"}, "receipts[0].deleted", "valid boolean"),
    ],
)
def test_a_fault_is_named_with_its_place(given: dict[str, object], where: str, what: str) -> None:
    said = faults(page(changed(**given)))
    assert f"\n  {where} " in said
    assert what in said


def test_all_faults_are_named_at_once_and_no_value() -> None:
    said = faults(page(changed(currency="s3cret"), changed(version=-1, purchased_at="s3cret"), read_from="s3cret"))
    assert [line.split()[0] for line in said.splitlines()[1:]] == [
        *("read_from", "receipts[0].currency", "receipts[1].purchased_at", "receipts[1].version")
    ]
    assert "s3cret" not in said


def test_of_very_many_faults_fifty_are_named() -> None:
    said = faults(page(*[changed(version=-1)] * 75)).splitlines()
    assert len(said) == 52
    assert said[-1] == "  and 25 more"


@pytest.mark.parametrize("body", [b"", b"{", page(RECEIPT)[:-9], b"<html>", b"\xff\xfe"])
def test_half_an_answer_is_broken_and_may_come_whole_later(body: bytes) -> None:
    with pytest.raises(Broken, match="a body that is no JSON, or only the beginning of one"):
        read("purchase", ReceiptPage, body)


@ANYTHING
@given(ANY_JSON, st.sampled_from(list(ANSWERS.values())))
def test_whatever_comes_is_taken_or_refused(content: object, model: type[BaseModel]) -> None:
    try:
        read("it", model, json.dumps(content).encode())
    except HarkError as error:
        assert str(error).startswith("it ")


@ANYTHING
@given(ANY_JSON, st.sampled_from(sorted({*RECEIPT, *LINE, "amount", "store_id"})))
def test_whatever_stands_in_a_field_is_taken_or_refused(content: object, name: str) -> None:
    try:
        (receipt,) = read("purchase", ReceiptPage, page(changed(**{name: content}))).receipts
    except HarkError:
        return
    for line in receipt.lines:
        assert isinstance(line.quantity, Decimal)


@settings(deadline=None)
@given(st.integers(-(10**15), 10**15), st.sampled_from(["USD", "EUR", "JPY", "KWD", "CLF", "XXX"]))
def test_amounts_are_exact(minor: int, currency: str) -> None:
    written = f"{Decimal(minor).scaleb(-figures_of(currency)):f}"
    assert minor_units(written, currency) == minor
    assert minor_units(written + "000" if "." in written else written, currency) == minor


@pytest.mark.parametrize(
    "text", ["", "1e3", "NaN", "3,99", "+3", " 3", "3.", ".5", "٣", "1_000", "0x1", "--1", "9" * 19]
)
def test_what_is_no_decimal_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no decimal number"):
        minor_units(text, "USD")


@pytest.mark.parametrize(("text", "currency"), [("3.999", "USD"), ("0.5", "JPY"), ("0.0001", "KWD")])
def test_no_amount_is_rounded(text: str, currency: str) -> None:
    with pytest.raises(ValueError, match="figures behind the point"):
        minor_units(text, currency)


def test_an_answer_is_about_what_was_asked_for_each_once_and_nothing_else() -> None:
    refuse_others("product", "products", "product_id", ["a", "b"], ["b"], ["a"])
    with pytest.raises(SourceFailed) as caught:
        refuse_others("product", "products", "product_id", ["a", "b", "c"], ["a", "x", "a"], ["a"])
    assert str(caught.value).splitlines()[1:] == [
        "  products[1].product_id was not asked for, or is there twice",
        "  products[2].product_id was not asked for, or is there twice",
        "  unknown[0] was not asked for, or is there twice",
        "  products and unknown lack 2 of the 3 that were asked for",
    ]


@pytest.mark.parametrize(
    ("status", "headers", "verdict"),
    [
        (200, {"content-type": "application/json; charset=utf-8"}, Verdict.TAKEN),
        (200, {"content-type": "application/vnd.acme+json"}, Verdict.TAKEN),
        (200, {"content-type": "text/html"}, Verdict.FAILED),
        (200, {}, Verdict.FAILED),
        (204, {}, Verdict.REFUSED),
        (301, {}, Verdict.REFUSED),
        (400, {}, Verdict.REFUSED),
        (401, {}, Verdict.REFUSED),
        (404, {}, Verdict.REFUSED),
        (408, {}, Verdict.FAILED),
        (425, {}, Verdict.FAILED),
        (429, {}, Verdict.TOO_MANY),
        (500, {}, Verdict.FAILED),
        (501, {}, Verdict.REFUSED),
        (504, {}, Verdict.FAILED),
    ],
)
def test_what_an_answer_means(status: int, headers: dict[str, str], verdict: Verdict) -> None:
    assert judged(Answer(status, headers, b""), datetime(2026, 3, 2, tzinfo=UTC)).verdict is verdict
