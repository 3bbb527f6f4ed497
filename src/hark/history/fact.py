"""A fact, the words for it, and what it may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache

from hark.errors import FAULTS_SHOWN, BadInput

MOST = 2**63 - 1
"""The highest version, and the largest amount."""


class Kind(StrEnum):
    """Where a fact comes from: a line of a receipt, or an order in the shop."""

    RECEIPT = "receipt"
    ORDER = "order"


@dataclass(frozen=True, slots=True)
class Fact:
    """One word about one purchased line or order.

    Attributes:
        key: `receipt:<id>:<line>` or `order:<button order id>`; it belongs to the user who first has it.
        version: of the row in its source, from 0; the highest holds.
        product_id: what was bought. It, the quantity and the time may lack only if it is deleted.
        store_id: where; None: not known.
        amount_minor: what was paid, in the currency's minor units, e.g. cents; None: not known.
        currency: three letters; None exactly if there is no amount.
        quantity: how many or how much, up to three decimals.
        occurred_at: when, aware.
        deleted: it is no more, or never was.
        whole: it comes with all other lines that its receipt has in this version: those that it lacks are gone. A
            receipt that is gone itself is `Fact.gone`.
    """

    user_id: str
    key: str
    version: int
    product_id: str | None = None
    store_id: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    quantity: Decimal | None = None
    occurred_at: datetime | None = None
    deleted: bool = False
    whole: bool = False

    @property
    def kind(self) -> Kind:
        """By its key."""
        return Kind.ORDER if self.key.startswith("order:") else Kind.RECEIPT

    @classmethod
    def gone(cls, user_id: str, receipt_id: str, version: int) -> Fact:
        """Of a receipt that is no more: all its lines, known or not, are gone as of this version."""
        return cls(user_id, f"{receipt_key(receipt_id)}:", version, deleted=True, whole=True)


def receipt_key(receipt_id: str) -> str:
    """What the keys of a receipt's lines begin with, without the last colon."""
    return f"{Kind.RECEIPT}:{receipt_id}"


def line_key(receipt_id: str, line: int | str) -> str:
    """The key of a line of a receipt; `line` has no colon."""
    return f"{receipt_key(receipt_id)}:{line}"


def order_key(button_order_id: str) -> str:
    """The key of an order: by the id that the live stream calls summaryID."""
    return f"{Kind.ORDER}:{button_order_id}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A full load of one user's facts of one kind: they are all that its source has, from a time on, as of a version.

    Attributes:
        since: the look-back's start; what is older is left alone. By the window's start, if it is all that counts.
        version: the source's watermark: all rows up to it were visible. What the load lacks is gone up to it, and what
            is newer is left alone.
        facts: what it lists.
    """

    user_id: str
    kind: Kind
    since: datetime
    version: int
    facts: Sequence[Fact]


# What a fact may be ---------------------------------------------------------------------------------------------------

_RULES: tuple[tuple[Callable[[Fact], bool], str], ...] = (
    (lambda f: _is_id(f.user_id), "its user id must have 1 to 255 characters"),
    (lambda f: _is_key(f.key), "its key must read receipt:<id>:<line> or order:<id>, and have at most 400 characters"),
    (lambda f: 0 <= f.version <= MOST, "its version must be a number from 0 to 2^63 - 1"),
    (
        lambda f: f.deleted or None not in (f.product_id, f.quantity, f.occurred_at),
        "it lacks product, quantity or time",
    ),
    (lambda f: f.product_id is None or _is_id(f.product_id), "its product id must have 1 to 255 characters"),
    (lambda f: f.store_id is None or _is_id(f.store_id), "its store id must have 1 to 255 characters; none: None"),
    (lambda f: (f.amount_minor is None) == (f.currency is None), "it needs both an amount and a currency, or neither"),
    (
        lambda f: f.amount_minor is None or abs(f.amount_minor) <= MOST,
        "its amount must lie within 2^63 - 1 minor units",
    ),
    (lambda f: f.currency is None or _is_currency(f.currency), "its currency must have three capital letters"),
    (
        lambda f: f.quantity is None or _is_quantity(f.quantity),
        "its quantity must lie within 10^9, with three decimals",
    ),
    (lambda f: f.occurred_at is None or _is_moment(f.occurred_at), "its time must have a zone, and a year from 1900"),
)


def refuse(facts: Sequence[Fact], more: Sequence[str] = ()) -> None:
    """All faults of facts at once, and what else is wrong.

    Raises:
        BadInput: a fault a line, each with its key and user.
    """
    doubtful = [fact for fact in facts if not _is_plainly_fine(fact)]
    faults = [
        f"{fact.key!r} of {fact.user_id!r}: {what}" for fact in doubtful for rule, what in _RULES if not rule(fact)
    ]
    faults += more
    if faults:
        others = [f"and {len(faults) - FAULTS_SHOWN:,} more"] if len(faults) > FAULTS_SHOWN else []
        raise BadInput("\n".join([*faults[:FAULTS_SHOWN], *others]))


def faults_of(each: Snapshot) -> list[str]:
    """What is wrong with a load but for its facts' own faults."""
    where = f"the load of {each.user_id!r}'s {each.kind}s"
    faults = [] if _is_moment(each.since) else [f"{where}: its start must have a zone, and a year from 1900"]
    faults += [] if 0 <= each.version <= MOST else [f"{where}: its version must be a number from 0 to 2^63 - 1"]
    return faults + [
        f"{where}: {fact.key!r} of {fact.user_id!r} is of another user or kind, or newer than its version"
        for fact in each.facts
        if (fact.user_id, fact.kind) != (each.user_id, each.kind) or fact.version > each.version
    ]


def _is_plainly_fine(fact: Fact) -> bool:
    """Whether a fact is one of the ordinary kind, against which no rule can have anything, seen in a tenth of the time.

    What is not is looked at by the rules; they alone say what is wrong.
    """
    user, product, store, currency, at, quantity = (
        *(fact.user_id, fact.product_id, fact.store_id, fact.currency, fact.occurred_at, fact.quantity),
    )
    return (
        product is not None
        and store is not None
        and currency is not None
        and fact.amount_minor is not None
        and -MOST <= fact.amount_minor <= MOST
        and at is not None
        and at.tzinfo is not None
        and at.year >= 1900
        and 0 <= fact.version <= MOST
        and 0 < len(user) <= 255
        and 0 < len(product) <= 255
        and 0 < len(store) <= 255
        and "\0" not in user
        and "\0" not in product
        and "\0" not in store
        and _is_key(fact.key)
        and _is_known_currency(currency)
        and quantity is not None
        and quantity.is_finite()
        and _is_known_quantity(quantity)
    )


def _is_id(text: str) -> bool:
    return 0 < len(text) <= 255 and "\0" not in text


def _is_key(key: str) -> bool:
    kind, _, rest = key.partition(":")
    return (
        len(key) <= 400
        and "\0" not in key
        and ((kind == "order" and rest != "") or (kind == "receipt" and ":" in rest[1:]))
    )


def _is_currency(code: str) -> bool:
    return len(code) == 3 and code.isascii() and code.isalpha() and code.isupper()


def _is_quantity(quantity: Decimal) -> bool:
    return quantity.is_finite() and abs(quantity) < 10**9 and quantity == round(quantity, 3)


_is_known_currency = lru_cache(maxsize=1_000)(_is_currency)
_is_known_quantity = lru_cache(maxsize=10_000)(_is_quantity)


def _is_moment(moment: datetime) -> bool:
    return moment.tzinfo is not None and moment.year >= 1900
