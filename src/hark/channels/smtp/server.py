"""Which server, how secured, with which patience: what an `smtp://` URL and its time-outs say."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from hark.errors import BadInput

_PORTS = {"smtp": 587, "smtps": 465}
_OPTIONS = ("starttls", "verify", "helo")
_HELO = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?|\[[0-9A-Fa-f:.Pv]+\]")


class Security(StrEnum):
    """How a connection is kept from being read and changed on its way."""

    TLS = "tls"
    """TLS from the first byte (`smtps://`)."""
    REQUIRED = "required"
    """STARTTLS, or nothing is sent."""
    OPTIONAL = "optional"
    """STARTTLS where the server offers it."""
    NEVER = "never"
    """In the clear."""


_STARTTLS = (Security.REQUIRED, Security.OPTIONAL, Security.NEVER)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds.

    `connect` for the connection and its TLS, `command` for the answer to a command, `final_dot` for the answer to a
    message (RFC 5321, 4.5.3.2.6 would have ten minutes), `batch` for a whole batch, `idle` for how long a connection
    that nobody uses is still trusted.
    """

    connect: float = 10
    command: float = 30
    final_dot: float = 120
    batch: float = 300
    idle: float = 30


@dataclass(frozen=True, slots=True)
class Server:
    """An SMTP server and how to speak to it. `helo` None: we call ourselves by our address on that connection."""

    host: str
    port: int
    security: Security
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    authorities: str | None = None
    helo: str | None = None

    def tls_context(self) -> ssl.SSLContext | None:
        """What verifies the server: its name and its certificate, by the system's authorities or the given file.

        Raises:
            BadInput: the file of authorities cannot be read.
        """
        if self.security is Security.NEVER:
            return None
        try:
            return ssl.create_default_context(cafile=self.authorities)
        except (OSError, ssl.SSLError) as fault:
            raise BadInput(f"verify={self.authorities}: not a file of certificates in PEM form ({fault})") from None


def parse_server(url: str) -> Server:
    """Read where mail is handed over.

    `smtp://user:password@host:587` uses STARTTLS or sends nothing; `?starttls=optional` uses it where it is offered,
    `?starttls=never` does without. On a loopback host `never` is the default, as nothing leaves the machine.
    `smtps://user:password@host:465` is TLS from the start. `?verify=/path/ca.pem` trusts these authorities in place
    of the system's; there is no way to trust just anybody. `?helo=mail.acme.example` is what we call ourselves. What
    is special in user or password is percent-encoded.

    Raises:
        BadInput: all that is wrong with the URL, one fault a line; never with the password in it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadInput("smtp: not a URL; write smtp://user:password@host:587") from None
    options = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    security = _security(parts, options)
    faults = list(_faults(parts, options, security))
    if faults:
        raise BadInput("\n".join(f"smtp: {fault}" for fault in faults))
    return Server(
        host=parts.hostname or "",
        port=port or _PORTS[parts.scheme],
        security=security,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password or "") if parts.username else None,
        authorities=options.get("verify"),
        helo=options.get("helo"),
    )


def _security(parts: SplitResult, options: Mapping[str, str]) -> Security:
    if parts.scheme == "smtps":
        return Security.TLS
    wish = options.get("starttls", Security.NEVER if _is_loopback(parts.hostname or "") else Security.REQUIRED)
    return Security(wish) if wish in _STARTTLS else Security.REQUIRED


def _faults(parts: SplitResult, options: Mapping[str, str], security: Security) -> Iterator[str]:
    if parts.scheme not in _PORTS:
        yield f"no scheme {parts.scheme!r}; write smtp:// (STARTTLS) or smtps:// (TLS from the start)"
        return
    if not parts.hostname:
        yield "no host; write smtp://host:587"
    if parts.path not in ("", "/") or parts.fragment:
        yield "something behind the host; percent-encode what is special in user and password"
    yield from _option_faults(parts.scheme, options)
    if parts.username and security is Security.NEVER and not _is_loopback(parts.hostname or ""):
        yield "a password and starttls=never: it would be sent in the clear; leave starttls out"


def _option_faults(scheme: str, options: Mapping[str, str]) -> Iterator[str]:
    for name in options:
        if name not in _OPTIONS:
            yield f"no option {name!r}; there are {', '.join(_OPTIONS)}"
    starttls = options.get("starttls")
    if starttls is not None and scheme == "smtps":
        yield "starttls with smtps://, which is TLS from the start; leave it out"
    elif starttls is not None and starttls not in _STARTTLS:
        yield f"starttls={starttls!r}; write required, optional or never"
    if "helo" in options and not _HELO.fullmatch(options["helo"]):
        yield f"helo={options['helo']!r} is not a host name"
    if "verify" in options and not Path(options["verify"]).is_file():
        yield f"verify={options['verify']!r} is not a file; name one with the authorities' certificates (PEM)"


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
