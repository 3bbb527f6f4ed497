"""Messages for the tests of channels."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from hark.delivery.handover import Prepared
from hark.rendering import Message

AT = datetime(2026, 5, 1, 14, 6, 11, tzinfo=UTC)
SENDER = "Acme <hello@acme.example>"


def message(
    number: int = 88,
    address: str = "bob@users.example",
    subject: str = "2 new: Apps shared with you",
    text: str = "alice shared the app GitHub with you\n",
    html: str | None = "<p>alice shared the app GitHub with you</p>\n",
    at: datetime = AT,
    message_id: str | None = None,
) -> Message:
    return Message(
        delivery_id=number,
        recipient_id=f"user-{number}",
        address=address,
        subject=subject,
        text=text,
        html=html,
        at=at,
        message_id=message_id or f"hark-{number}@acme.example",
    )


def prepared(number: int, address: str | None = None, payload: bytes = b"Subject: x\r\n\r\nhello\r\n") -> Prepared:
    return Prepared(number, address or f"user-{number}@users.example", payload)


_WORDS = (
    *(
        "alice",
        "shared",
        "the",
        "app",
        "GitHub",
        "=",
        "==",
        "=?",
        "?=",
        "a=?utf-8?q?b?=",
        "a" * 70,
        "b" * 300,
        "x" * 1100,
    ),
    *(
        "Grüße",
        "привет",
        "日本語",
        "😀",
        "👩‍👩‍👧",
        "é",
        "\u200f",
        "—",
        "…",
        ".",
        "..",
        "From ",
        "From",
        "--",
        "\t",
        "  ",
        " ",
    ),
    *("--=_hark_", '"', "\\", "<b>", "&amp;", "ﬀ", "\ufeff", "\U0010ffff", "\u00a0"),
)
_BODY_ONLY = (
    "\n",
    "\n",
    "\n",
    "\r\n",
    "\r",
    "\0",
    "\x1b",
    "\x7f",
    "\x85",
    "\u2028",
    "\n.\n",
    "\n.",
    "\nFrom x",
    " \n",
    "\t\n",
)


def fuzzed(rng: random.Random, number: int) -> Message:
    """A nasty message that is nevertheless deliverable."""
    html = _fuzzed_body(rng) if rng.random() < 0.8 else None
    return message(
        number,
        subject=_fuzzed_subject(rng),
        text=_fuzzed_body(rng),
        html=html,
        at=AT + timedelta(seconds=rng.randrange(10**9)),
    )


def _fuzzed_subject(rng: random.Random) -> str:
    words = [word for word in rng.choices(_WORDS, k=rng.randrange(9)) if word not in ("\t", "a=?utf-8?q?b?=")]
    return rng.choice(("", " ")).join(words)


def _fuzzed_body(rng: random.Random) -> str:
    if rng.random() < 0.1:
        return "".join(chr(_code_point(rng)) for _ in range(rng.randrange(90)))
    words = rng.choices(_WORDS + _BODY_ONLY, k=rng.choice((0, 1, 3, 20)))
    return rng.choice(("", " ")).join(words)


def _code_point(rng: random.Random) -> int:
    point = rng.choice((rng.randrange(0x80), rng.randrange(0x800), rng.randrange(0x110000)))
    return 0x20 if 0xD800 <= point <= 0xDFFF else point
