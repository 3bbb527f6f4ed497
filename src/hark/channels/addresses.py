"""E-mail addresses as they go on the wire: checked strictly, because they stand in headers and in SMTP commands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from email_validator import EmailNotValidError, validate_email

from hark.errors import BadInput, Undeliverable

_LABEL = r"[A-Za-z0-9](?!.--)(?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ATOM = r"[A-Za-z0-9!#$%&'*+/^_`{|}~-]+"
_PLAIN = re.compile(
    rf"(?=.{{3,254}}\Z)(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+[A-Za-z]{{2,63}}", re.ASCII
)
"""What nearly every address looks like: no quotes, no `=` and `?` (encoded-words), no internationalised label."""
_MAILBOX = re.compile(r"\s*(?:(?P<name>.*?)\s*<(?P<inner>[^<>]*)>|(?P<bare>[^<>]*?))\s*", re.DOTALL)
_NAME_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address as it goes on the wire, with the name that people see (empty: none)."""

    name: str
    address: str


def wire_address(address: str, field: str = "address") -> str:
    """An address in ASCII, an internationalised domain as IDNA. Its form is checked, not whether anybody reads there.

    Args:
        address: `local@domain`; nothing around it.
        field: how the address is called in an error.

    Returns:
        The address as it may stand in a header and in an SMTP command.

    Raises:
        Undeliverable: not an address by RFC 5321 and 5322, or one that needs SMTPUTF8 (RFC 6531); the text names
            the field, never the address.
    """
    if _PLAIN.fullmatch(address):
        return address
    wire, fault = _examined(address)
    if fault:
        raise Undeliverable(f"{field}: {fault}")
    return wire


def parse_mailbox(text: str, field: str) -> Mailbox:
    """Read `Acme <hello@acme.example>`, `"Acme, Inc." <hello@acme.example>` or `hello@acme.example`.

    Raises:
        BadInput: not of that form; names the field.
    """
    match = _MAILBOX.fullmatch(text)
    if not match:
        raise BadInput(f"{field}: {text!r} is not a sender; write Name <local@domain> or local@domain")
    name = _unquoted(match["name"] or "")
    if len(name) > _NAME_LENGTH:
        raise BadInput(f"{field}: a name of {len(name)} characters; write at most {_NAME_LENGTH}")
    try:
        address = wire_address(match["bare"] if match["inner"] is None else match["inner"], field)
    except Undeliverable as fault:
        raise BadInput(f"{fault}; write Name <local@domain> or local@domain") from None
    return Mailbox(name, address)


def _unquoted(name: str) -> str:
    if len(name) < 2 or name[0] != '"' or name[-1] != '"':
        return name
    return re.sub(r"\\(.)", r"\1", name[1:-1])


@lru_cache(maxsize=4096)
def _examined(address: str) -> tuple[str, str]:
    """The address on the wire and no fault, or nothing and the fault."""
    fault = _own_fault(address)
    if fault:
        return "", fault
    try:
        checked = validate_email(
            address,
            check_deliverability=False,
            allow_smtputf8=False,
            globally_deliverable=False,
            strict=True,
            allow_empty_local=False,
        )
    except EmailNotValidError:
        return "", "not an e-mail address; expected local@domain"
    return checked.ascii_email or "", "" if checked.ascii_email else "not an e-mail address that ASCII can write"


def _own_fault(address: str) -> str:
    local, at, _ = address.rpartition("@")
    if not at:
        return "not an e-mail address; expected local@domain"
    if "=?" in address:
        return "has an encoded-word, which no address may have"
    foreign = next((character for character in local if not "!" <= character <= "~"), None)
    if foreign is not None:
        return f"U+{ord(foreign):04X} before the @; only ASCII is sent there (SMTPUTF8 is not supported)"
    return ""
