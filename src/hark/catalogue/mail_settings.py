"""`[channels.email]`: who sends, through which server, and what of it comes from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from email_validator import EmailNotValidError, validate_email

from hark.catalogue.model import Email
from hark.catalogue.nodes import Node
from hark.catalogue.wording import quoted
from hark.errors import BadInput

EMAIL_KEYS = ("from", "smtp", "reply_to")
SMTP_SCHEMES = ("smtp", "smtps")

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_MAILBOX = re.compile(r"(?:(?P<name>[^<>]*?) *<(?P<inner>[^<>]*)>|(?P<bare>[^<>]*))")
_LONGEST = 320
_SMTP_EXAMPLE = '"${HARK_SMTP_URL}"'
_FROM_EXAMPLE = 'from = "Acme <hello@acme.example>"'


def read_email(node: Node, environment: Mapping[str, str]) -> Email:
    """Read the table; `environment` is where `${NAME}` comes from."""
    table = node.table(EMAIL_KEYS)
    sender, smtp, reply_to = table.need("from", _FROM_EXAMPLE), table.get("smtp"), table.get("reply_to")
    return Email(
        sender=_mailbox(sender, environment) if sender else "",
        smtp=_smtp(smtp, environment) if smtp else None,
        reply_to=_mailbox(reply_to, environment) if reply_to else None,
    )


def smtp_fault(url: str) -> str:
    """What is wrong with a mail server's URL, without quoting it, as it may have a password; empty: nothing."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not a URL with a host and a port; write smtp://HOST:PORT"
    if parts.scheme not in SMTP_SCHEMES:
        return "is not the URL of a mail server; write smtp://HOST:PORT or smtps://HOST:PORT"
    if not parts.hostname or port == 0:
        return "names no host, or port 0; write smtp://HOST:PORT"
    return "" if url.isprintable() and " " not in url else "has a blank or a control character; write it as %20, %0A…"


def has_password(url: str) -> bool:
    """Whether a URL carries a password, also one that should have been percent-encoded and makes it no URL at all."""
    user, at, _ = url.partition("//")[2].rpartition("@")
    return bool(at and user.partition(":")[2])


def _mailbox(node: Node, environment: Mapping[str, str]) -> str:
    text = expanded(node, environment)
    fault = text and mailbox_fault(text)
    if fault:
        node.fault(f"{quoted(str(node.value))}: {fault}")
    return text


def mailbox_fault(text: str) -> str:
    """Why a text is neither `Name <local@domain>` nor `local@domain` that can stand in a header; empty: it is."""
    odd = next((each for each in text if not each.isprintable()), None)
    if odd is not None:
        return f"has U+{ord(odd):04X}, which may not stand in a header"
    if "=?" in text:
        return "has an encoded-word; write the name as people read it"
    match = _MAILBOX.fullmatch(text.strip())
    if match is None or len(text) > _LONGEST:
        return "not an address; write Name <local@domain> or local@domain"
    return _address_fault(match["bare"] if match["inner"] is None else match["inner"])


def _address_fault(address: str) -> str:
    if not address.rpartition("@")[0].isascii():
        return "not an address that can be sent to: only ASCII may stand before the @"
    try:
        validate_email(
            address, check_deliverability=False, allow_smtputf8=False, globally_deliverable=False, strict=True
        )
    except EmailNotValidError as error:
        return f"not an address: {str(error).rstrip('.').lower()}; write Name <local@domain> or local@domain"
    return ""


def _smtp(node: Node, environment: Mapping[str, str]) -> str | None:
    if isinstance(node.value, str) and has_password(_written(node.value)):
        node.fault(f"has a password; secrets come from the environment: write {_SMTP_EXAMPLE}")
        return None
    url = expanded(node, environment)
    fault = url and smtp_fault(url)
    if fault:
        node.fault(fault)
    return url or None


def _written(text: str) -> str:
    """What of a text stands in the file itself: variables as nothing, or as the default that is written for them."""
    return _VARIABLE.sub(lambda match: match["default"] or "", text)


def expanded(node: Node, environment: Mapping[str, str]) -> str:
    """The text with `${NAME}` and `${NAME:-default}` replaced; empty after a fault."""
    text = node.line_of_text(longest=2000)
    try:
        return _from_environment(text, environment)
    except BadInput as refusal:
        node.fault(str(refusal))
        return ""


def _from_environment(text: str, environment: Mapping[str, str]) -> str:
    if "${" in _VARIABLE.sub("", text):
        raise BadInput("has a ${ that names no variable; write ${NAME} or ${NAME:-default}")
    # As in a shell, `:-` stands in for a variable that is empty, too.
    found = list(_VARIABLE.finditer(text))
    missing = {
        match["name"]: None for match in found if match["default"] is None and not environment.get(match["name"])
    }
    if missing:
        names, first = " and no ".join(missing), next(iter(missing))
        raise BadInput(f"the environment has no {names}; set it, or write ${{{first}:-default}}")
    return _VARIABLE.sub(lambda match: environment.get(match["name"]) or match["default"] or "", text)
