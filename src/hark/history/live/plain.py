"""Messages of the ordinary kind, read at a glance: in half the time that their contract takes.

Narrower than the contract, never wider: of what is read here, it says the same. What is not read here need not be at
fault; the contract is asked, and it alone says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Annotated

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints, TypeAdapter
from pydantic import dataclasses as checked

from hark.history.facts import Fact, line_key, order_key
from hark.history.sources.contracts import Currency, Version, is_of_our_time, quantity_of
from hark.history.sources.money import MOST, minor_units
from hark.history.sources.purchase import MOST_LINES

_STRICT = ConfigDict(strict=True, extra="ignore")
_ZERO = b"\\u0000"
"""How JSON writes the one character that no name may have."""

_Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]
_Quantity = Annotated[int, Field(ge=0, lt=10**9)] | Annotated[str, StringConstraints(max_length=30)]
_Minor = Annotated[int, Field(ge=-MOST, le=MOST)]
_DecimalText = Annotated[str, StringConstraints(min_length=1, max_length=30)]


@checked.dataclass(slots=True, config=_STRICT)
class _Line:
    line: Annotated[int, Field(ge=1, le=MOST_LINES)]
    product_id: _Name
    quantity: _Quantity
    amount_minor: _Minor | None = None
    amount: _DecimalText | None = None


@checked.dataclass(slots=True, config=_STRICT)
class _Receipt:
    user_id: _Name
    receipt_id: _Name
    purchased_at: AwareDatetime
    currency: Currency
    version: Version
    lines: Annotated[list[_Line], Field(min_length=1, max_length=MOST_LINES)]
    store_id: _Name | None = None
    deleted: bool = False


@checked.dataclass(slots=True, config=_STRICT)
class _Factoid:
    user_id: _Name
    summaryID: _Name  # noqa: N815  (as the stream writes it)
    product_id: _Name
    occurred_at: AwareDatetime
    currency: Currency
    version: Version
    store: _Name | None = None
    quantity: _Quantity = 1
    amount_minor: _Minor | None = None
    amount: _DecimalText | None = None
    deleted: bool = False


_receipt: Callable[[bytes], _Receipt] = TypeAdapter(_Receipt).validator.validate_json
_factoid: Callable[[bytes], _Factoid] = TypeAdapter(_Factoid).validator.validate_json


def receipt_at_a_glance(value: bytes) -> Sequence[Fact] | None:
    """What a message of the receipts' topic says; None: ask the contract."""
    try:
        said = _receipt(value)
        if _ZERO in value or said.deleted or not is_of_our_time(said.purchased_at):
            return None
        facts = [_line_fact(said, line) for line in said.lines]
    except ValueError:
        return None
    return facts if len({line.line for line in said.lines}) == len(facts) else None


def factoid_at_a_glance(value: bytes) -> Fact | None:
    """What a message of the factoids' topic says; None: ask the contract."""
    try:
        said = _factoid(value)
        if _ZERO in value or not is_of_our_time(said.occurred_at):
            return None
        return _order_fact(said)
    except ValueError:
        return None


def _line_fact(receipt: _Receipt, line: _Line) -> Fact:
    return Fact(
        receipt.user_id,
        line_key(receipt.receipt_id, line.line),
        receipt.version,
        line.product_id,
        receipt.store_id,
        _minor(line.amount_minor, line.amount, receipt.currency),
        receipt.currency,
        _decimal(line.quantity),
        receipt.purchased_at,
        whole=True,
    )


def _order_fact(said: _Factoid) -> Fact:
    return Fact(
        said.user_id,
        order_key(said.summaryID),
        said.version,
        said.product_id,
        said.store,
        _minor(said.amount_minor, said.amount, said.currency),
        said.currency,
        _decimal(said.quantity),
        said.occurred_at,
        said.deleted,
    )


def _minor(minor: int | None, amount: str | None, currency: str) -> int:
    """Exactly one of them says it."""
    if minor is not None and amount is None:
        return minor
    if amount is not None and minor is None:
        return _minor_units(amount, currency)
    raise ValueError


@lru_cache(maxsize=10_000)
def _minor_units(amount: str, currency: str) -> int:
    minor = minor_units(amount, currency)
    if abs(minor) > MOST:
        raise ValueError
    return minor


_decimal: Callable[[int | str], Decimal] = lru_cache(maxsize=10_000)(quantity_of)
