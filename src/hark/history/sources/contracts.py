"""What sources answer is made of: checked whole at the border, all faults named with where they are, never a value."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from hark.errors import FAULTS_SHOWN, SourceFailed
from hark.history.sources.money import MOST, exactly, minor_units

M = TypeVar("M", bound=BaseModel)

LARGEST_VERSION = 2**63 - 1
_MOST_QUANTITY = Decimal(10**9)
_THOUSANDTH = Decimal("0.001")


class ReadFrom(StrEnum):
    """Where a source read what it answers. Only the primary has all that was written before it was asked."""

    PRIMARY = "primary"
    REPLICA = "replica"


def is_of_our_time(at: datetime) -> bool:
    """Whether this may be a moment of a purchase."""
    return 1970 <= at.year <= 9998


def _of_our_time(at: datetime) -> datetime:
    if not is_of_our_time(at):
        raise ValueError("is not between the years 1970 and 9998")
    return at


def _no_float(given: object) -> object:
    """Numbers with a point are taken as texts only: what JSON readers make of them is not what was written."""
    if isinstance(given, float):
        raise ValueError('is a number with a point; write it as a text, "3.99"')  # noqa: TRY004  (pydantic wants it)
    return given


def _quantity(given: object) -> Decimal:
    if isinstance(given, bool) or not isinstance(given, int | str):
        raise ValueError('is neither a whole number nor a text with a decimal number, "0.75"')  # noqa: TRY004
    return Decimal(given) if isinstance(given, int) else Decimal(exactly(given, 3)).scaleb(-3)


def _countable(quantity: Decimal) -> Decimal:
    if not 0 <= quantity < _MOST_QUANTITY:
        raise ValueError("is not from 0 to less than 1,000,000,000")
    return quantity.quantize(_THOUSANDTH)


def quantity_of(given: int | str) -> Decimal:
    """How many or how much.

    Raises:
        ValueError: it is none.
    """
    return _countable(_quantity(given))


Moment = Annotated[AwareDatetime, AfterValidator(_of_our_time)]
Version = Annotated[int, Field(ge=0, le=LARGEST_VERSION)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Minor = Annotated[int, Field(ge=-MOST, le=MOST), BeforeValidator(_no_float)]
DecimalText = Annotated[str, StringConstraints(min_length=1, max_length=30), BeforeValidator(_no_float)]
Quantity = Annotated[Decimal, BeforeValidator(_quantity), AfterValidator(_countable)]


class Part(BaseModel):
    """The base of all that sources answer: nothing is taken for something else; keys that are new are passed over."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Priced(Part):
    """Something with a price: `amount_minor` in minor units, or `amount` as a decimal text; never a float."""

    amount_minor: Minor | None = None
    amount: DecimalText | None = None

    @model_validator(mode="after")
    def _priced_once(self) -> Priced:
        if (self.amount_minor is None) is (self.amount is None):
            raise ValueError("has both of amount_minor and amount, or none of them; write one")
        return self

    def minor(self, currency: str) -> int:
        """Its amount in minor units.

        Raises:
            ValueError: its decimal text is none, or not one of the currency.
        """
        if self.amount_minor is not None:
            return self.amount_minor
        assert self.amount is not None
        minor = minor_units(self.amount, currency)
        if abs(minor) > MOST:
            raise ValueError("is larger than any amount can be")
        return minor


def read(source: str, model: type[M], body: bytes) -> M:
    """An answer, checked whole.

    Args:
        source: whose it is, for the message.

    Raises:
        Broken: it is no JSON at all: cut off, or a page of a proxy.
        SourceFailed: it is not what it should be; names all faults and where they are.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        refused = error
    if is_no_json(refused):
        raise Broken(f"{source} answers with a body that is no JSON, or only the beginning of one")
    raise answer_faults(source, places_and_faults(refused))


def is_no_json(refused: ValidationError) -> bool:
    """Whether what was refused is no JSON at all."""
    return refused.errors(include_url=False, include_context=False, include_input=False)[0]["type"] == "json_invalid"


def places_and_faults(refused: ValidationError) -> list[tuple[str, str]]:
    """All that is wrong with what was refused: where, and what, without a value."""
    faults = refused.errors(include_url=False, include_context=False, include_input=False)
    return [(_place(fault["loc"]), _words(fault["msg"])) for fault in faults]


def answer_faults(source: str, faults: Iterable[tuple[str, str]]) -> SourceFailed:
    """What is wrong with an answer, as one error: where and what of each fault."""
    every = [f"{where} {what}" for where, what in faults]
    shown = "\n".join(f"  {each}" for each in every[:FAULTS_SHOWN])
    more = f"\n  and {len(every) - FAULTS_SHOWN:,} more" if len(every) > FAULTS_SHOWN else ""
    return SourceFailed(f"{source} does not answer what it should:\n{shown}{more}", of_the_data=True)


class Broken(SourceFailed):
    """An answer that did not arrive whole: asked again, it may."""


class ReadElsewhere(SourceFailed):
    """An answer that was not read from where it was asked to be: nobody's data is at fault, the source's set-up is."""


def _place(loc: tuple[int | str, ...]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}"[:80] for part in loc)
    return "".join(parts).removeprefix(".") or "it"


def _words(message: str) -> str:
    said = message.removeprefix("Value error, ")
    return said[0].lower() + said[1:]
