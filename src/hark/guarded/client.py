"""The client: it resolves once, connects to what it checked, follows nothing, and reads no more than it must.

It is httpcore2 (what httpx2 is made on) with a network of its own: the pool asks it for a connection to a host and a
port, and gets one to an address that was checked, so that TLS and the Host header keep the name. Redirects, cookies and
proxies are of httpx2's upper half, which is not used.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

import httpcore2
import httpx2

from hark.errors import Blocked, Unreachable
from hark.guarded.addresses import Allowed, refusal
from hark.guarded.urls import url_fault

LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes of an answer's body, unpacked, that are read unless a caller says otherwise."""
PATIENCE = timedelta(seconds=30)
"""How long a call may take in all, from the name's look-up to the body's last byte."""

_IDLE_S, _CONNECT_S = 5.0, 10.0
_FAILURES = (
    *(httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError, httpcore2.ConnectionNotAvailable),
)

_Unpack = Callable[[bytes, int], bytes]
"""Turns a chunk of a body into what it says, so many bytes of it at most."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""All addresses of a host, for a port; raises OSError when there is none."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: any status, a 3xx as it is. Header names are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Sending(Protocol):
    """Who wants to be there when a call goes out: it is connected by then, and nothing of it is written."""

    async def begins(self) -> None:
        """The next thing is to write it; it may be waited here."""
        ...

    def done(self) -> None:
        """Its headers are written."""
        ...

    def heard(self) -> None:
        """The first of its answer is here."""
        ...


async def resolved(host: str, port: int) -> Sequence[str]:
    """All addresses of a host, as the system's resolver knows them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


class Guarded:
    """Calls HTTP servers, and nothing that it should not: no private address, no redirect, no proxy.

    Safe to share by all tasks of one event loop; connections are kept for a few seconds.

    Args:
        allowed: what may be called though it is private.
        patience: how long a call may take in all.
        largest: bytes of a body, unpacked.
        resolve: the resolver; asked once for each connection, and what it says is what is connected to.
        trust: whom TLS trusts; None: whom the system trusts.
    """

    def __init__(
        self,
        allowed: Allowed | None = None,
        *,
        patience: timedelta = PATIENCE,
        largest: int = LARGEST_ANSWER,
        resolve: Resolve = resolved,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._patience = patience
        self._largest = largest
        self._trust = trust
        self._network = _Checked(allowed or Allowed(), resolve)
        self._pool: httpcore2.AsyncConnectionPool | None = None

    async def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, patience: timedelta | None = None
    ) -> Answer:
        """GET; see `request`."""
        return await self.request("GET", url, headers=headers, patience=patience)

    async def post(
        self, url: str, content: object, *, headers: Mapping[str, str] | None = None, patience: timedelta | None = None
    ) -> Answer:
        """POST something as JSON; see `request`."""
        body = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        given = {"content-type": "application/json", **(headers or {})}
        return await self.request("POST", url, body=body, headers=given, patience=patience)

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        patience: timedelta | None = None,
        sending: Sending | None = None,
    ) -> Answer:
        """One call, without a second try.

        Args:
            patience: how long it may take in all; None: as the client was made.
            sending: told when it goes out.

        Raises:
            Blocked: it is no URL that may be called, or its host has an address that may not.
            Unreachable: no answer came in time, or one that is too large or no HTTP.
        """
        parts = _parsed(url)
        seconds = (patience or self._patience).total_seconds()
        try:
            async with asyncio.timeout(seconds):
                return await self._call(method, parts, body, headers or {}, sending)
        except TimeoutError:
            raise Unreachable(f"{place(parts)} gave no answer within {seconds:g} s") from None
        except _FAILURES as error:
            raise Unreachable(f"{place(parts)}: {_words(error)}") from None

    async def close(self) -> None:
        """Let go of connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()

    async def _call(
        self, method: str, parts: httpx2.URL, body: bytes | None, headers: Mapping[str, str], sending: Sending | None
    ) -> Answer:
        sent = [("accept", "application/json"), ("accept-encoding", "gzip"), ("user-agent", "hark"), *headers.items()]
        url = httpcore2.URL(scheme=parts.raw_scheme, host=parts.raw_host, port=parts.port, target=parts.raw_path)
        told = {} if sending is None else {"trace": _telling(sending)}
        async with self._connections().stream(method, url, headers=sent, content=body, extensions=told) as response:
            received = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            unpack = _unpacking(received.get("content-encoding", ""), parts)
            return Answer(response.status, received, await self._read(response, unpack, parts))

    async def _read(self, response: httpcore2.Response, unpack: _Unpack, parts: httpx2.URL) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_stream():
            # One byte more than may be: enough to see that there is more, whatever it would unpack to.
            body += unpack(chunk, self._largest + 1 - len(body))
            if len(body) > self._largest:
                raise Unreachable(f"{place(parts)} answers with more than {self._largest:,} bytes")
        return bytes(body)

    def _connections(self) -> httpcore2.AsyncConnectionPool:
        if self._pool is None:
            self._pool = httpcore2.AsyncConnectionPool(
                ssl_context=self._trust or httpcore2.default_ssl_context(),
                max_connections=100,
                max_keepalive_connections=10,
                keepalive_expiry=_IDLE_S,
                network_backend=self._network,
            )
        return self._pool


@dataclass(slots=True)
class _Checked(httpcore2.AsyncNetworkBackend):
    """Connects to a host by one of its addresses, after all of them were checked."""

    allowed: Allowed
    resolve: Resolve
    plain: httpcore2.AsyncNetworkBackend = field(default_factory=httpcore2.AnyIOBackend)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  (httpcore2's interface)
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """A connection to the first address that takes one.

        Raises:
            Blocked: one of the addresses is not to be called.
        """
        failure: Exception = httpcore2.ConnectError("its name has no address")
        for address in await self._addresses(host, port):
            try:
                return await self.plain.connect_tcp(address, port, _CONNECT_S, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = await self.resolve(host, port)
        except (OSError, UnicodeError):
            raise httpcore2.ConnectError("its name has no address") from None
        if self.allowed.host(host):
            return addresses
        for address in addresses:
            if why := refusal(address, self.allowed):
                raise Blocked(
                    f"{host} is {address}, which is not called ({why}); name it in http_allow_private if it is yours"
                )
        return addresses


def _telling(sending: Sending) -> Callable[[str, object], Awaitable[None]]:
    """What httpcore2 calls at each step of a call."""

    async def told(step: str, _what: object) -> None:
        if step.endswith("send_request_headers.started"):
            await sending.begins()
        elif step.endswith("send_request_headers.complete"):
            sending.done()
        elif step.endswith("receive_response_headers.complete"):
            sending.heard()

    return told


def _unpacking(coding: str, parts: httpx2.URL) -> _Unpack:
    """How a body is unpacked: gzip, which is all that is asked for, or not at all."""
    if coding in ("", "identity"):
        return lambda chunk, most: chunk[:most]
    if coding not in ("gzip", "x-gzip"):
        raise Unreachable(f"{place(parts)} answers in another coding than gzip, which it was not asked for")
    gzip = zlib.decompressobj(wbits=31)

    def unpack(chunk: bytes, most: int) -> bytes:
        try:
            return gzip.decompress(chunk, most)
        except zlib.error:
            raise Unreachable(f"{place(parts)} says that it answers in gzip, and does not") from None

    return unpack


def _parsed(url: str) -> httpx2.URL:
    """The URL as the client takes it apart, which is what counts where two readings of one differ."""
    if fault := url_fault(url):
        raise Blocked(f"what was to be called {fault}")
    try:
        parts = httpx2.URL(url)
    except (httpx2.InvalidURL, UnicodeError):
        raise Blocked("what was to be called is not a URL; write https://HOST/PATH") from None
    if parts.scheme not in ("http", "https") or parts.userinfo or not parts.host:
        raise Blocked("what was to be called can be read in two ways; write https://HOST/PATH")
    return parts


def place(parts: httpx2.URL) -> str:
    """Where a URL leads, for people: its path and query may hold secrets."""
    return f"{parts.scheme}://{parts.netloc.decode('ascii', 'replace')}"


def _words(error: Exception) -> str:
    if isinstance(error, httpcore2.ConnectError | httpcore2.ConnectTimeout):
        return f"cannot be connected to ({error or type(error).__name__})"
    return f"broke off ({type(error).__name__})"
