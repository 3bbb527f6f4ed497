"""What can be made to go wrong with a mail server on purpose: the words in which the sink is told to fail."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Step(StrEnum):
    """Where in the conversation the sink asks its script what to do."""

    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"
    """The first line of the content is there, its end is not."""
    END = "end"
    """The final dot is there; nothing is stored yet."""
    RSET = "rset"


@dataclass(frozen=True, slots=True)
class Moment:
    """What the sink knows when it asks its script.

    `session` and `message` (within the session) count from 1; `line` is the command as it came.
    """

    step: Step
    session: int
    message: int
    sender: str = ""
    recipient: str = ""
    line: str = ""


@dataclass(frozen=True, slots=True)
class Say:
    """Answer this (bytes as they are, CRLF included) in place of what would be answered; `then_close` hangs up.

    With a 2xx the sink goes on as if it had said that of itself; at the final dot it keeps the mail. In the middle of
    the content it always hangs up.
    """

    raw: bytes
    then_close: bool = False

    @property
    def ok(self) -> bool:
        return self.raw.startswith(b"2")


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the connection without an answer; at the final dot, `stored` says whether the mail is kept first."""

    stored: bool = False


@dataclass(frozen=True, slots=True)
class Stall:
    """Never answer, until the client gives up."""


Wish = Say | HangUp | Stall
Script = Callable[[Moment], Wish | None]
"""Asked at each step; None: go on as usual."""


@dataclass(frozen=True, slots=True)
class Received:
    """A mail that was taken: its envelope, and its content with CRLF line ends and dots as they were meant."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the sink offers.

    `tls` offers STARTTLS, or is spoken from the first byte (`tls_from_start`); `login` (user, password) offers AUTH by
    `mechanisms` and insists on it; without `ehlo` there is only HELO.
    """

    pipelining: bool = True
    size: int | None = 10_000_000
    tls: ssl.SSLContext | None = None
    tls_from_start: bool = False
    login: tuple[str, str] | None = None
    mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN")
    ehlo: bool = True
