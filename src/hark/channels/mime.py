"""Messages in the form that e-mail takes on the wire (RFC 5322, 2045, 2046, 2047): built from a skeleton, not a tree.

The standard library's EmailMessage costs about 1 ms a message; filling a skeleton costs a few hundredths of that.
"""

from __future__ import annotations

from binascii import b2a_base64, b2a_qp
from hashlib import blake2b

from hark.channels.addresses import Mailbox, parse_mailbox, wire_address
from hark.channels.headers import LONGEST_LINE, date_field, mailbox_field, message_id_field, text_field
from hark.errors import BadInput, Undeliverable
from hark.rendering import Message

_CONTROLS = bytes(byte for byte in range(32) if byte not in b"\t\r\n") + b"\x7f"
_HIGH = bytes(range(128, 256))
_ENCODED_LINE = 76
"""Characters that a line of quoted-printable or base64 may not pass (RFC 2045, 6.7 and 6.8)."""
_LONG_LINE_MARKS = (b"=20\r\n", b"=09\r\n", b"=46rom ")
_MARKS = "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
_ENCODINGS = (b"7bit", b"quoted-printable", b"base64")


def _part_heads(subtype: bytes) -> dict[bytes, bytes]:
    return {
        encoding: b"Content-Type: text/%b; charset=utf-8\r\nContent-Transfer-Encoding: %b\r\n\r\n" % (subtype, encoding)
        for encoding in _ENCODINGS
    }


_PLAIN_HEAD = _part_heads(b"plain")
_HTML_HEAD = _part_heads(b"html")


class MimeBuilder:
    """Builds messages of one sender.

    Args:
        sender: who the mail is from: `Acme <hello@acme.example>` or the address alone.
        reply_to: where answers go, in the same form; None: to the sender.

    Raises:
        BadInput: a sender or reply_to that cannot stand in a header.
    """

    def __init__(self, sender: str, reply_to: str | None = None) -> None:
        mailbox = parse_mailbox(sender, "sender")
        self.sender_address = mailbox.address
        """The sender's bare address, for the SMTP envelope."""
        self._top = _sender_fields(mailbox, None if reply_to is None else parse_mailbox(reply_to, "reply_to"))

    def build(self, message: Message) -> bytes:
        """The whole message, with CRLF line ends, ending in one. The same message gives the same bytes.

        Line ends of the bodies (CRLF, CR, LF) become CRLF, and a body that does not end in one gets one; all else
        is kept exactly. Dots are not doubled: that belongs to SMTP.

        Raises:
            Undeliverable: a field that cannot be sent as it is; the text names it and what is wrong with it.
        """
        head = self._head(message)
        encoding, text = encoded_body(message.text, "text")
        if message.html is None:
            return b"".join((head, _PLAIN_HEAD[encoding], text))
        rich_encoding, html = encoded_body(message.html, "html")
        boundary = _boundary(message.message_id, text, html)
        delimiter = b"\r\n--" + boundary
        return b"".join(
            (
                *(head, b'Content-Type: multipart/alternative; boundary="', boundary, b'"\r\n'),
                *(delimiter, b"\r\n", _PLAIN_HEAD[encoding], text),
                *(delimiter, b"\r\n", _HTML_HEAD[rich_encoding], html),
                *(delimiter, b"--\r\n"),
            )
        )

    def _head(self, message: Message) -> bytes:
        fields = (
            f"{self._top}To: {wire_address(message.address)}\r\n"
            f"{text_field('Subject', message.subject, 'subject')}\r\n"
            f"{date_field(message.at)}\r\n"
            f"{message_id_field(message.message_id)}\r\n{_MARKS}"
        )
        return fields.encode("ascii")


def encoded_body(text: str, field: str) -> tuple[bytes, bytes]:
    """A body part as it goes on the wire.

    Returns:
        The Content-Transfer-Encoding (`7bit` where that is possible, else the shorter of `quoted-printable` and
        `base64`), and the encoded text, which ends in CRLF.

    Raises:
        Undeliverable: a lone surrogate, which no encoding of Unicode can carry.
    """
    raw = _canonical(text, field)
    if text.isascii() and _fits_7bit(raw):
        return b"7bit", raw
    if _qp_size(raw) <= len(raw) * 4 // 3:
        quoted = _quoted_printable(raw)
        if quoted is not None:
            return b"quoted-printable", quoted
    return b"base64", _base64(raw)


def _sender_fields(sender: Mailbox, reply_to: Mailbox | None) -> str:
    try:
        fields = [mailbox_field("From", sender, "sender")]
        if reply_to:
            fields.append(mailbox_field("Reply-To", reply_to, "reply_to"))
    except Undeliverable as fault:
        raise BadInput(f"{fault}; write the name without it") from None
    return "".join(f"{field}\r\n" for field in fields)


def _canonical(text: str, field: str) -> bytes:
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.endswith("\n"):
        text += "\n"
    try:
        return text.replace("\n", "\r\n").encode()
    except UnicodeEncodeError as fault:
        raise Undeliverable(f"{field}: U+{ord(fault.object[fault.start]):04X} is half of a character") from None


def _fits_7bit(raw: bytes) -> bool:
    if len(raw.translate(None, _CONTROLS)) != len(raw) or _long_line(raw):
        return False
    # Mail stores of the mbox kind write ">From " where a line starts so, which would break a signature.
    return b"\r\nFrom " not in raw and not raw.startswith(b"From ")


def _long_line(raw: bytes) -> bool:
    start, end = 0, len(raw)
    while end - start > LONGEST_LINE:
        line_end = raw.rfind(b"\r\n", start, start + LONGEST_LINE + 2)
        if line_end < 0:
            return True
        start = line_end + 2
    return False


def _qp_size(raw: bytes) -> int:
    return len(raw) + 2 * (len(raw) - len(raw.translate(None, _HIGH)) + raw.count(b"="))


def _quoted_printable(raw: bytes) -> bytes | None:
    """Quoted-printable by RFC 2045, 6.7; None where the C function broke the rule for a line's length.

    It does so only for a space or tab at the end of a full line. It takes CRLF for a line end only if the first one
    is CRLF, and leaves lone CRs as they are: `_canonical` has neither.
    """
    quoted = b2a_qp(raw, istext=True)
    if quoted.startswith(b"From "):
        quoted = b"=46" + quoted[1:]
    if b"\r\nFrom " in quoted:
        quoted = quoted.replace(b"\r\nFrom ", b"\r\n=46rom ")
    if any(mark in quoted for mark in _LONG_LINE_MARKS) and max(map(len, quoted.split(b"\r\n"))) > _ENCODED_LINE:
        return None
    return quoted


def _base64(raw: bytes) -> bytes:
    encoded = b2a_base64(raw, newline=False)
    return b"".join(encoded[at : at + _ENCODED_LINE] + b"\r\n" for at in range(0, len(encoded), _ENCODED_LINE))


def _boundary(message_id: str, *bodies: bytes) -> bytes:
    """A line that stands in none of the bodies. `=_` alone keeps it out of quoted-printable and base64."""
    seed = message_id.encode()
    while True:
        boundary = b"=_hark_" + blake2b(seed, digest_size=12).hexdigest().encode()
        if not any(boundary in body for body in bodies):
            return boundary
        seed = boundary
