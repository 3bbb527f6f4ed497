"""Header fields as they go on the wire: guarded against forgery, encoded (RFC 2047) and folded (RFC 5322)."""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, a2b_qp, b2a_base64
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache

from hark.channels.addresses import Mailbox
from hark.errors import Undeliverable

LINE = 78
"""Characters that a line of a header should not pass (RFC 5322, 2.1.1)."""
LONGEST_LINE = 998
"""Characters that no line may pass (RFC 5322, 2.1.1)."""
ENCODED_LINE = 76
"""Characters that a line with an encoded-word may not pass (RFC 2047, 2)."""
ENCODED_WORD = 75
"""Characters that an encoded-word may not pass (RFC 2047, 2)."""

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ENCODED = re.compile(r"=\?([^?\s]*)\?([bBqQ])\?([^?]*)\?=")
_UNSAFE_CODECS = frozenset({"idna", "punycode"})
_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_Q_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
_Q_TABLE = tuple("_" if byte == 32 else chr(byte) if byte in _Q_SAFE else f"={byte:02X}" for byte in range(256))
_Q_START, _B_START, _WORD_END = "=?utf-8?q?", "=?utf-8?b?", "?="
_READABLE = 2
"""Up to how many characters for a byte the Q encoding is preferred: people who read raw headers can read it."""
_WORD_FRAME = len(_Q_START) + len(_WORD_END)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MESSAGE_ID = re.compile(r"(?=.{3,250}\Z)[A-Za-z0-9!#$%&'*+/^_`{|}~.-]+@[A-Za-z0-9.-]+", re.ASCII)


def guard(text: str, field: str) -> None:
    """Refuse what could forge a header, also where it hides in encoded-words.

    Encoded-words are decoded first, over and over: some readers decode before they split lines.

    Raises:
        Undeliverable: a control character, a line separator or a lone surrogate; names the field and the code point.
    """
    if text.isprintable() and "=?" not in text:
        return
    while True:
        found = _FORBIDDEN.search(text)
        if found:
            raise Undeliverable(f"{field}: U+{ord(found[0]):04X} may not stand in a header")
        decoded = _ENCODED.sub(_decoded, text)
        if decoded == text:
            return
        text = decoded


def text_field(name: str, text: str, field: str) -> str:
    """A field of free text, such as the subject, guarded: `Subject: …`, folded, without the last line end.

    ASCII stands as it is; all else, and what a reader would not read back exactly, as encoded-words.

    Raises:
        Undeliverable: see `guard`.
    """
    guard(text, field)
    if text.isascii() and "=?" not in text and text == text.strip():
        if len(name) + 2 + len(text) <= LINE:
            return f"{name}: {text}"
        folded = "  " not in text and _folded(f"{name}: {text}")
        if folded:
            return folded
    return f"{name}: {encoded_words(text, ENCODED_LINE - len(name) - 2)}"


def mailbox_field(name: str, mailbox: Mailbox, field: str) -> str:
    """A field with one address: `From: Acme <hello@acme.example>`, without the last line end.

    Raises:
        Undeliverable: see `guard`.
    """
    guard(mailbox.name, field)
    if not mailbox.name:
        return f"{name}: {mailbox.address}"
    phrase = _phrase(mailbox.name, len(name) + 2)
    last_line = len(phrase) - phrase.rfind("\n") + (0 if "\n" in phrase else len(name) + 2)
    space = " " if last_line + len(mailbox.address) + 3 <= ENCODED_LINE else "\r\n "
    return f"{name}: {phrase}{space}<{mailbox.address}>"


def encoded_words(text: str, first_line: int) -> str:
    """A text as encoded-words in UTF-8, as many as needed, each on a line of its own and of whole characters.

    Args:
        text: what to encode; no lone surrogates.
        first_line: characters that the first word may take; the others take up to 75.
    """
    start = _Q_START if _q_length(text) <= len(text.encode()) * _READABLE else _B_START
    chunks = _q_chunks(text, first_line) if start == _Q_START else _b_chunks(text, first_line)
    return "\r\n ".join(f"{start}{chunk}{_WORD_END}" for chunk in chunks)


@lru_cache(maxsize=256)
def date_field(at: datetime) -> str:
    """`Date: Mon, 23 Nov 2026 08:00:00 +0000`, in UTC (RFC 5322, 3.3), without the last line end.

    Raises:
        Undeliverable: a time without a zone.
    """
    if at.tzinfo is None:
        raise Undeliverable("at: a time without a zone; nobody could say when that was")
    utc = at.astimezone(UTC)
    return f"Date: {_DAYS[utc.weekday()]}, {utc.day:02} {_MONTHS[utc.month - 1]} {utc.year:04} {utc:%H:%M:%S} +0000"


def message_id_field(message_id: str) -> str:
    """`Message-ID: <…>`, without the last line end.

    Raises:
        Undeliverable: not of the form `left@right` (RFC 5322, 3.6.4).
    """
    if not _MESSAGE_ID.fullmatch(message_id) or ".." in message_id:
        raise Undeliverable("message_id: not a Message-ID; expected left@right in ASCII, without angle brackets")
    return f"Message-ID: <{message_id}>"


def _decoded(match: re.Match[str]) -> str:
    charset, encoding, payload = match.groups()
    raw = _payload(encoding, payload)
    if charset.partition("*")[0].lower() in _UNSAFE_CODECS:
        return raw.decode("latin-1")
    try:
        decoded = raw.decode(charset.partition("*")[0])
    except (LookupError, ValueError):
        return raw.decode("latin-1")
    return decoded


def _payload(encoding: str, payload: str) -> bytes:
    data = payload.encode("utf-8")
    if encoding in "qQ":
        return a2b_qp(data, header=True)
    try:
        return a2b_base64(data + b"===")
    except Base64Error:
        return data


def _folded(line: str) -> str | None:
    """The line broken at spaces; None where a word is too long for any line."""
    lines = [""]
    for word in line.split(" "):
        if lines[-1] and not lines[-1].endswith(":") and len(lines[-1]) + 1 + len(word) > LINE:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] or len(lines) > 1 else word
    if any(len(each) > LONGEST_LINE for each in lines):
        return None
    return "\r\n".join(lines)


def _phrase(name: str, indent: int) -> str:
    if not name.isascii() or "=?" in name:
        return encoded_words(name, ENCODED_LINE - indent)
    if _PHRASE.fullmatch(name):
        return name
    return '"' + name.replace("\\", r"\\").replace('"', r"\"") + '"'


def _q_length(text: str) -> int:
    return sum(len(_q(character)) for character in text)


@lru_cache(maxsize=2048)
def _q(character: str) -> str:
    return "".join(_Q_TABLE[byte] for byte in character.encode())


def _q_chunks(text: str, first: int) -> Iterator[str]:
    chunk, room = "", first - _WORD_FRAME
    for character in text:
        piece = _q(character)
        if len(chunk) + len(piece) > room:
            yield chunk
            chunk, room = "", ENCODED_WORD - _WORD_FRAME
        chunk += piece
    yield chunk


def _b_chunks(text: str, first: int) -> Iterator[str]:
    data, room = text.encode(), (first - _WORD_FRAME) // 4 * 3
    while len(data) > room:
        end = next(cut for cut in range(room, 0, -1) if data[cut] & 0xC0 != 0x80)
        yield b2a_base64(data[:end], newline=False).decode()
        data, room = data[end:], (ENCODED_WORD - _WORD_FRAME) // 4 * 3
    yield b2a_base64(data, newline=False).decode()
