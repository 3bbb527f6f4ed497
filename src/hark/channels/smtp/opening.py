"""From a server's address to a connection that takes messages: connect, greeting, EHLO, STARTTLS, AUTH."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from base64 import b64encode
from dataclasses import dataclass

from hark.channels.smtp.replies import Reply
from hark.channels.smtp.server import Security, Server, Timeouts
from hark.channels.smtp.session import Ended, Session

_SIZE = re.compile(r"[0-9]{1,15}")


class NotOpened(Exception):
    """No connection that takes messages; nothing was handed over. The text is for people, with the host in front."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the server says it can (RFC 5321, 4.1.1.1)."""

    extensions: dict[str, tuple[str, ...]]

    def __contains__(self, extension: str) -> bool:
        return extension in self.extensions

    @property
    def size(self) -> int:
        """Bytes of the largest message it takes (RFC 1870); 0: no limit declared."""
        values = self.extensions.get("SIZE", ())
        return int(values[0]) if values and _SIZE.fullmatch(values[0]) else 0

    @property
    def mechanisms(self) -> frozenset[str]:
        return frozenset(name.upper() for name in self.extensions.get("AUTH", ()))


async def open_session(server: Server, tls: ssl.SSLContext | None, timeouts: Timeouts) -> Session:
    """Open a connection, up to where messages can be sent.

    Raises:
        NotOpened: whatever came between; the text says what, and carries no secret.
    """
    session: Session | None = None
    try:
        async with asyncio.timeout(timeouts.connect):
            session = await _connected(server, tls, timeouts)
        _check(await session.greeting(), "our call")
        offer = await _introduced(session, server, timeouts)
        if _wants_starttls(server, offer):
            await _secure(session, server, tls, timeouts)
            offer = await _introduced(session, server, timeouts)
        await _authenticate(session, server, offer, timeouts)
    except (Ended, NotOpened, OSError) as fault:
        raise NotOpened(f"{server.host}: {_words(fault, timeouts)}") from None
    else:
        opened, session = session, None
        return _with_offer(opened, offer)
    finally:
        if session is not None:
            session.drop("was not needed any more")


async def _connected(server: Server, tls: ssl.SSLContext | None, timeouts: Timeouts) -> Session:
    loop = asyncio.get_running_loop()
    _, session = await loop.create_connection(
        lambda: Session(timeouts.command),
        server.host,
        server.port,
        ssl=tls if server.security is Security.TLS else None,
    )
    return session


async def _introduced(session: Session, server: Server, timeouts: Timeouts) -> Offer:
    name = server.helo or session.local_address
    reply = await session.ask(f"EHLO {name}\r\n".encode(), timeouts.command)
    if reply.code in (500, 501, 502, 504):
        _check(await session.ask(f"HELO {name}\r\n".encode(), timeouts.command), "HELO")
        return Offer({})
    _check(reply, "EHLO")
    return _offer(reply)


def _offer(reply: Reply) -> Offer:
    lines = [line.replace("=", " ").split() for line in reply.text.decode("ascii", "replace").split("\n")[1:]]
    return Offer({words[0].upper(): tuple(words[1:]) for words in lines if words})


def _with_offer(session: Session, offer: Offer) -> Session:
    session.pipelining = "PIPELINING" in offer
    session.declares_size = "SIZE" in offer
    session.size_limit = offer.size
    return session


def _wants_starttls(server: Server, offer: Offer) -> bool:
    if server.security is Security.REQUIRED and "STARTTLS" not in offer:
        raise NotOpened("offers no STARTTLS, which is required (starttls=optional would do without)")
    return server.security is Security.REQUIRED or (server.security is Security.OPTIONAL and "STARTTLS" in offer)


async def _secure(session: Session, server: Server, tls: ssl.SSLContext | None, timeouts: Timeouts) -> None:
    _check(await session.ask(b"STARTTLS\r\n", timeouts.command), "STARTTLS")
    async with asyncio.timeout(timeouts.connect):
        await session.start_tls(tls, server.host)


async def _authenticate(session: Session, server: Server, offer: Offer, timeouts: Timeouts) -> None:
    if server.user is None:
        return
    if not session.encrypted and server.security is not Security.NEVER:
        raise NotOpened("offers no TLS, and a password is not sent in the clear")
    if "PLAIN" in offer.mechanisms:
        secret = b64encode(f"\0{server.user}\0{server.password}".encode())
        answer = await session.ask(b"AUTH PLAIN " + secret + b"\r\n", timeouts.command)
    elif "LOGIN" in offer.mechanisms:
        answer = await _login(session, server, timeouts)
    else:
        raise NotOpened("offers neither AUTH PLAIN nor AUTH LOGIN")
    _check(answer, "user and password")


async def _login(session: Session, server: Server, timeouts: Timeouts) -> Reply:
    answer = await session.ask(b"AUTH LOGIN\r\n", timeouts.command)
    for secret in (server.user or "", server.password or ""):
        if answer.code != 334:
            return answer
        answer = await session.ask(b64encode(secret.encode()) + b"\r\n", timeouts.command)
    return answer


def _check(reply: Reply, to_what: str) -> None:
    if not reply.ok:
        raise NotOpened(f"{reply.shown()} (to {to_what})")


def _words(fault: Exception, timeouts: Timeouts) -> str:
    if isinstance(fault, TimeoutError):
        return f"no connection within {timeouts.connect:g} s"
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"its certificate cannot be trusted: {fault.verify_message}"
    if isinstance(fault, ssl.SSLError):
        return f"TLS failed: {fault.reason or fault.__class__.__name__}"
    if isinstance(fault, socket.gaierror):
        return "no such host, or no name server"
    if isinstance(fault, ConnectionRefusedError):
        return "connection refused"
    if isinstance(fault, OSError):
        return f"no connection ({fault.strerror or 'refused, or out of reach'})"
    return str(fault)
