"""What an SMTP server says: cut out of the stream, and judged. Pure: no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from hark.delivery.handover import Outcome, Verdict

_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?", re.DOTALL)
_LONGEST_LINE = 8 * 1024
_LONGEST_REPLY = 64 * 1024
_MOST_LINES = 1000
_SHOWN = 500
_ENHANCED = re.compile(rb"([245]\.\d{1,3}\.\d{1,3})(?:\s|\Z)")
_ABOUT_THE_SESSION = frozenset({502, 503, 530, 534, 535, 538})
"""5xx codes that say something of us or of the connection, nothing of the message: worth another try."""
_BAD_ADDRESS = frozenset({550, 551, 553})
_ABOUT_THE_SENDER = frozenset({b"5.1.7", b"5.1.8"})
_MAILBOX_DISABLED = b"5.2.1"


class NotSmtp(Exception):
    """The server says what no SMTP server says; the connection is of no more use."""


class Reply(NamedTuple):
    """One reply, of one or more lines, without the code in front of each."""

    code: int
    text: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.code < 300

    @property
    def closes(self) -> bool:
        """421: the server closes the connection, whatever it was asked."""
        return self.code == 421

    def shown(self) -> str:
        """The reply as people read it: one line, printable, not endless."""
        text = self.text.decode("utf-8", "replace")
        if not text.isprintable():
            text = "".join(character if character.isprintable() else " " for character in text)
        return f"{self.code} {text[:_SHOWN]}".rstrip()


class ReplyReader:
    """Cuts replies out of a stream that comes in pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []
        self._code = 0
        self._size = 0

    @property
    def midway(self) -> bool:
        """Whether a reply has begun and not ended."""
        return bool(self._rest or self._lines)

    def feed(self, data: bytes) -> Iterator[Reply]:
        """The replies that these bytes complete. Those before a fault still count, hence one by one.

        Raises:
            NotSmtp: not a reply by RFC 5321, 4.2, or one without end.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            reply = self._line(line)
            if reply is not None:
                yield reply
        if len(self._rest) > _LONGEST_LINE:
            raise NotSmtp("answered with a line without end")

    def _line(self, line: bytes) -> Reply | None:
        reply, goes_on = _parsed(line)
        if not goes_on and not self._lines:
            return reply
        return self._part(reply, goes_on)

    def _part(self, line: Reply, goes_on: bool) -> Reply | None:
        if self._lines and line.code != self._code:
            raise NotSmtp("changed the code within an answer")
        self._code = line.code
        self._lines.append(line.text)
        self._size += len(line.text)
        if self._size > _LONGEST_REPLY or len(self._lines) > _MOST_LINES:
            raise NotSmtp("answered without end")
        if goes_on:
            return None
        reply = Reply(line.code, b"\n".join(self._lines))
        self._lines, self._size = [], 0
        return reply


@lru_cache(maxsize=256)
def _parsed(line: bytes) -> tuple[Reply, bool]:
    """One line, and whether more of the same reply follow. Kept, as servers say nearly always the same."""
    match = _LINE.fullmatch(line.rstrip(b"\r"))
    if not match:
        raise NotSmtp("answered what is not SMTP")
    code, mark, text = match.groups(b"")
    return Reply(int(code), text), mark == b"-"


def accepted_or_not(host: str, reply: Reply) -> Outcome:
    """The outcome of a message that was handed over whole, by the answer to its final dot."""
    if reply.ok:
        return Outcome(Verdict.ACCEPTED, f"{host}: {reply.shown()}")
    if reply.code < 400:
        return Outcome(Verdict.UNKNOWN, f"{host}: {reply.shown()}, which answers nothing, to a whole message")
    if reply.code < 500:
        return Outcome(Verdict.DEFERRED, f"{host}: {reply.shown()}")
    enhanced = _ENHANCED.match(reply.text)
    return Outcome(Verdict.REFUSED, f"{host}: {reply.shown()}", bool(enhanced) and _names_bad_address(reply))


def sender_refused(host: str, reply: Reply) -> Outcome:
    """The outcome of a message whose MAIL or DATA was not taken: nothing of it was handed over."""
    return Outcome(_refusal(reply), f"{host}: {reply.shown()}")


def recipient_refused(host: str, reply: Reply) -> Outcome:
    """The outcome of a message whose RCPT was not taken: nothing of it was handed over."""
    verdict = _refusal(reply)
    return Outcome(verdict, f"{host}: {reply.shown()}", verdict is Verdict.REFUSED and _names_bad_address(reply))


def _refusal(reply: Reply) -> Verdict:
    if reply.code < 500 or reply.code in _ABOUT_THE_SESSION:
        return Verdict.DEFERRED
    return Verdict.REFUSED


def _names_bad_address(reply: Reply) -> bool:
    """By the enhanced code (RFC 3463) where there is one: 550 5.7.1 is policy, and no reason to drop an address."""
    enhanced = _ENHANCED.match(reply.text)
    if not enhanced:
        return reply.code in _BAD_ADDRESS
    code = enhanced[1]
    return code == _MAILBOX_DISABLED or (code.startswith(b"5.1.") and code not in _ABOUT_THE_SENDER)
