"""A strict reader of mail (RFC 5322, 2045, 2046, 2047), written from the RFCs and not from the code under test.

It accepts only what Hark may send and raises `Malformed` for all else, so that a test can say "well-formed"
and mean it.
"""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass


class Malformed(AssertionError):
    """The bytes are not a well-formed message."""


@dataclass(frozen=True)
class Part:
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        decode = {"7bit": _decode_7bit, "quoted-printable": _decode_qp, "base64": _decode_base64}
        return decode[self.headers["content-transfer-encoding"]](self.body).decode("utf-8")


@dataclass(frozen=True)
class Mail:
    headers: dict[str, str]
    text: str
    html: str | None

    @property
    def subject(self) -> str:
        return decode_words(self.headers["subject"])


def read_mail(wire: bytes) -> Mail:
    check_lines(wire)
    headers, body = split_headers(wire)
    if "quoted-printable" in headers.get("content-transfer-encoding", "") or headers["content-type"].startswith(
        "text/"
    ):
        require(headers["content-type"] == "text/plain; charset=utf-8", "the only part is not plain text")
        return Mail(headers, Part(headers, body).text, None)
    match = re.fullmatch(r'multipart/alternative; boundary="([^"]{1,70})"', headers["content-type"])
    require(match is not None, f"content type {headers['content-type']}")
    assert match is not None
    parts = [Part(*split_headers(part)) for part in split_parts(body, match[1].encode())]
    types = [part.headers["content-type"] for part in parts]
    require(types == ["text/plain; charset=utf-8", "text/html; charset=utf-8"], f"parts {types}")
    return Mail(headers, parts[0].text, parts[1].text)


def require(holds: bool, what: str) -> None:
    if not holds:
        raise Malformed(what)


def check_lines(wire: bytes) -> None:
    require(wire.endswith(b"\r\n"), "does not end in CRLF")
    bare = wire.replace(b"\r\n", b"")
    require(b"\r" not in bare and b"\n" not in bare, "a lone CR or LF")
    require(b"\0" not in wire and wire.isascii(), "a NUL or a byte past 127")
    require(max(map(len, wire.split(b"\r\n"))) <= 998, "a line past 998")
    require(b"\r\nFrom " not in wire, "a line that mbox would change")


def split_headers(wire: bytes) -> tuple[dict[str, str], bytes]:
    head, blank, body = wire.partition(b"\r\n\r\n")
    require(blank != b"", "no empty line behind the headers")
    unfolded: list[str] = []
    for line in head.decode("ascii").split("\r\n"):
        require(line.strip() != "", "a line of white space among the headers")
        require(re.search(r"[^ -~]", line) is None, f"a control character in {line!r}")
        if "=?" in line:
            require(len(line) <= 76, "a line with an encoded-word past 76")
        if line[0] == " ":
            require(bool(unfolded), "a continuation of nothing")
            unfolded[-1] += line
            continue
        require(re.match(r"[!-9;-~]+: ", line) is not None, f"not a field: {line!r}")
        unfolded.append(line)
    names = [field.partition(": ")[0].lower() for field in unfolded]
    require(len(names) == len(set(names)), f"a field comes twice: {names}")
    return {name: field.partition(": ")[2] for name, field in zip(names, unfolded, strict=True)}, body


def split_parts(body: bytes, boundary: bytes) -> list[bytes]:
    """The parts of a multipart body, by RFC 2046, 5.1.1: the CRLF before a delimiter belongs to the delimiter."""
    delimiter = b"\r\n--" + boundary
    pieces = (b"\r\n" + body).split(delimiter)
    require(pieces[0] in (b"", b"\r\n"), "a preamble")
    require(pieces[-1] == b"--\r\n", "no close delimiter at the end")
    require(all(piece.startswith(b"\r\n") for piece in pieces[1:-1]), "a delimiter inside a line")
    return [piece[2:] for piece in pieces[1:-1]]


_Q_WORD = re.compile(r"(?:[A-Za-z0-9!*+/_-]|=[0-9A-F]{2})*")
_QP_LINE = re.compile(rb"(?:[\t -<>-~]|=[0-9A-F]{2})*")
_WORD = re.compile(r"=\?utf-8\?([bq])\?([!->@-~]*)\?=")


def decode_words(value: str) -> str:
    """Decode a header: encoded-words in UTF-8, the space between two of them dropped (RFC 2047, 6.2)."""
    pieces: list[tuple[bool, str]] = []
    for token in value.split(" "):
        match = _WORD.fullmatch(token)
        require(match is not None or "=?" not in token, f"half an encoded-word: {token}")
        pieces.append((True, _decode_word(token, match)) if match else (False, token))
    text, last_was_word = "", None
    for is_word, piece in pieces:
        text += piece if last_was_word is None or (is_word and last_was_word) else " " + piece
        last_was_word = is_word
    return text


def _decode_word(token: str, match: re.Match[str]) -> str:
    require(len(token) <= 75, "an encoded-word past 75")
    kind, payload = match.groups()
    if kind == "b":
        return b64decode(payload, validate=True).decode("utf-8")
    require(_Q_WORD.fullmatch(payload) is not None, f"not of the Q encoding: {payload}")
    return _unescaped(payload.replace("_", " ").encode()).decode("utf-8")


def _unescaped(data: bytes) -> bytes:
    first, *escaped = data.split(b"=")
    return first + b"".join(bytes.fromhex(piece[:2].decode()) + piece[2:] for piece in escaped)


def _decode_7bit(body: bytes) -> bytes:
    require(re.search(rb"[^\t\r\n -~]", body) is None, "a control character in 7bit")
    return body


def _decode_qp(body: bytes) -> bytes:
    out: list[bytes] = []
    for line in body.split(b"\r\n"):
        require(len(line) <= 76, "a quoted-printable line past 76")
        require(not line.endswith((b" ", b"\t")), "white space at the end of a quoted-printable line")
        soft = line.endswith(b"=")
        require(_QP_LINE.fullmatch(line[:-1] if soft else line) is not None, f"not quoted-printable: {line!r}")
        decoded = _unescaped(line[:-1] if soft else line)
        out.append(decoded if soft else decoded + b"\r\n")
    require(body.endswith(b"\r\n"), "no line end")
    return b"".join(out)[:-2]


def _decode_base64(body: bytes) -> bytes:
    lines = body.split(b"\r\n")
    require(all(len(line) <= 76 for line in lines), "a base64 line past 76")
    return b64decode(b"".join(lines), validate=True)
