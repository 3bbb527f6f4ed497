"""Amounts in minor units: what decimals of a currency come to, without a float in between."""

from __future__ import annotations

import re
from decimal import Decimal

MOST = 10**15
"""No amount is larger, in minor units."""

_DECIMAL = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,8})?")
_FIGURES = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI"), 0),
    **dict.fromkeys(("VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
"""ISO 4217: the figures behind the point, where they are not two."""


def figures_of(currency: str) -> int:
    """How many figures behind the point a currency has: two, unless ISO 4217 says something else."""
    return _FIGURES.get(currency, 2)


def minor_units(text: str, currency: str) -> int:
    """`3.99` of USD is 399, `399` of JPY is 399.

    Raises:
        ValueError: it is no decimal number, or has more figures behind the point than its currency.
    """
    return exactly(text, figures_of(currency))


def exactly(text: str, figures: int) -> int:
    """A decimal number as a whole one of its last figure: `0.75` with 3 figures behind the point is 750.

    Raises:
        ValueError: it is no decimal number, or has more figures behind the point than that.
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError('is no decimal number; write "3.99"')
    scaled = Decimal(text).scaleb(figures)
    whole = int(scaled)
    if whole != scaled:
        raise ValueError(f"has more than {figures} figures behind the point")
    return whole
