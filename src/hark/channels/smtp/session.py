"""One connection to an SMTP server: what was asked, in order, and who takes each answer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf
from typing import cast

from hark.channels.smtp.replies import NotSmtp, Reply, ReplyReader

_BUFFER = 16 * 1024
_PIECE = 64 * 1024

Taker = Callable[[Reply], None]
Expected = tuple[Taker, float]
"""Who takes the next answer, and how many seconds it may take."""


class Ended(Exception):
    """The connection ended before the answer came."""


class Session(asyncio.BufferedProtocol):
    """A connection. It ends once, for one reason, and tells whoever uses it (`on_end`).

    Answers are matched to questions by their order alone, so anything out of order ends the connection.

    Args:
        greeting_within: seconds that the server's greeting may take.
    """

    def __init__(self, greeting_within: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = ReplyReader()
        # A plain asyncio.Protocol would have 256 KiB allocated for each of these few bytes: a third of the time.
        self._buffer = memoryview(bytearray(_BUFFER))
        self._greeting: asyncio.Future[Reply] = self._loop.create_future()
        self._expected: deque[Expected] = deque([(self._greeting.set_result, greeting_within)])
        self._due = inf
        self._alarm: asyncio.TimerHandle | None = None
        self._blocked = False
        self._unsent = memoryview(b"")
        self._then: Callable[[], None] | None = None
        self.on_end: Callable[[str], None] | None = None
        self.ended: str | None = None
        """Why the connection is of no more use; None: it is."""
        self.pipelining = False
        self.size_limit = 0
        """Bytes that the server takes in one message, as it declared; 0: it declared none."""
        self.declares_size = False
        self.served = 0
        """How many messages were answered on this connection."""
        self.kept_since = inf
        """Since when nobody uses it, in the loop's time."""

    # What the rest of this package calls.

    def say(self, data: bytes, *expected: Expected) -> None:
        """Write, and name who takes the answers to it."""
        if self.ended is not None or self._transport is None:
            return
        self._expected.extend(expected)
        self._watch()
        self._transport.write(data)

    async def ask(self, data: bytes, within: float) -> Reply:
        """Write one command and wait for its answer.

        Raises:
            Ended: the connection ended first; the text says why.
        """
        answer: asyncio.Future[Reply] = self._loop.create_future()
        self.say(data, (answer.set_result, within))
        return await self._answer(answer)

    async def greeting(self) -> Reply:
        """The server's first words.

        Raises:
            Ended: the connection ended first; the text says why.
        """
        return await self._answer(self._greeting)

    def say_long(self, data: bytes, then: Callable[[], None], *expected: Expected) -> None:
        """Write much, in pieces, as fast as it leaves; call back once it has."""
        self._expected.extend(expected)
        self._unsent, self._then = memoryview(data), then
        self._watch()
        self._send_on()

    async def start_tls(self, context: object, host: str) -> None:
        """Go over to TLS. What the server said in the clear beyond its consent is a forgery (RFC 3207, 4.2).

        Raises:
            Ended: there was such a thing.
            OSError: the handshake failed (`ssl.SSLError` is one).
        """
        if self._reader.midway:
            self.drop("sent something in the clear behind its consent to STARTTLS")
        if self.ended is not None or self._transport is None:
            raise Ended(self.ended or "was never connected")
        secured = await self._loop.start_tls(self._transport, self, context, server_hostname=host)  # type: ignore[arg-type]
        if secured is None:
            raise Ended("closed the connection during STARTTLS")
        self._use(secured)

    def drop(self, why: str) -> None:
        """End the connection now; nothing that is still unsent gets out."""
        if self._transport is not None:
            self._transport.abort()
        self._end(why)

    def leave(self) -> None:
        """End the connection politely, without waiting for the answer."""
        if self._transport is not None and self.ended is None:
            self._transport.write(b"QUIT\r\n")
            self._transport.close()
        self._end("we left")

    @property
    def encrypted(self) -> bool:
        return self._transport is not None and self._transport.get_extra_info("ssl_object") is not None

    @property
    def local_address(self) -> str:
        """Our own address on this connection, as an address literal (RFC 5321, 4.1.3)."""
        address = self._transport.get_extra_info("sockname") if self._transport else None
        host = str(address[0]) if isinstance(address, tuple) else "127.0.0.1"
        return f"[IPv6:{host.partition('%')[0]}]" if ":" in host else f"[{host}]"

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._use(cast(asyncio.Transport, transport))
        self._watch()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for reply in self._reader.feed(bytes(self._buffer[:nbytes])):
                self._take(reply)
                if self.ended is not None:
                    return
        except NotSmtp as fault:
            self.drop(str(fault))
            return
        self._watch()

    def eof_received(self) -> None:
        self.drop("closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("closed the connection" if exc is None else f"lost the connection ({exc.__class__.__name__})")

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        self._send_on()

    # What only this class calls.

    def _use(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        # As soon as anything waits, we are told. Not 0: a TLS transport takes that for "always" and never tells again.
        transport.set_write_buffer_limits(high=1, low=0)

    def _send_on(self) -> None:
        while self._unsent and not self._blocked and self.ended is None and self._transport is not None:
            piece, self._unsent = self._unsent[:_PIECE], self._unsent[_PIECE:]
            self._transport.write(piece)
        if self._then is None or self._unsent or self._blocked or self.ended is not None:
            return
        then, self._then = self._then, None
        then()

    def _take(self, reply: Reply) -> None:
        if not self._expected:
            self.drop(f"said {reply.shown()} unasked")
            return
        self._expected.popleft()[0](reply)

    async def _answer(self, answer: asyncio.Future[Reply]) -> Reply:
        if answer.done():
            return answer.result()
        if self.ended is not None:
            raise Ended(self.ended)
        self.on_end = lambda why: None if answer.done() else answer.set_exception(Ended(why))
        try:
            return await answer
        finally:
            self.on_end = None

    def _end(self, why: str) -> None:
        if self.ended is not None:
            return
        self.ended = why
        self._expected.clear()
        if self._alarm is not None:
            self._alarm.cancel()
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end(why)

    def _watch(self) -> None:
        """Set when the next answer is due. The alarm is moved only where it would ring too late: that is rare."""
        if not self._expected:
            self._due = inf
            return
        self._due = self._loop.time() + self._expected[0][1]
        if self._alarm is not None and self._alarm.when() <= self._due:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(self._due, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._due == inf:
            return
        if self._loop.time() < self._due:
            self._alarm = self._loop.call_at(self._due, self._ring)
            return
        self.drop(f"gave no answer within {self._expected[0][1]:g} s")
