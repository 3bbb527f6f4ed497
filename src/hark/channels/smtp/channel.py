"""The e-mail channel: messages into wire form, and wire form over pooled connections to a server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hark.channels.addresses import wire_address
from hark.channels.mime import MimeBuilder
from hark.channels.smtp.exchange import Consignment, Exchange
from hark.channels.smtp.opening import NotOpened, open_session
from hark.channels.smtp.server import Timeouts, parse_server
from hark.channels.smtp.session import Session
from hark.delivery.handover import Outcome, Prepared
from hark.rendering import Message

_FRUITLESS = 3
"""How many connections in a row may end without one answer before a batch stops trying."""
_DEFAULT_TIMEOUTS = Timeouts()


class SmtpChannel:
    """Hands mail to an SMTP server. Belongs to one event loop.

    Args:
        url: where to, see `hark.channels.smtp.server.parse_server`.
        sender: who the mail is from: `Acme <hello@acme.example>` or the address alone.
        reply_to: where answers go; None: to the sender.
        pool_size: how many connections there are at most, at any time.
        messages_per_connection: after how many messages a connection is closed and another one opened.
        timeouts: patience, in seconds.

    Raises:
        BadInput: a URL, sender or reply_to that cannot be used; says how to mend it.
    """

    def __init__(
        self,
        url: str,
        *,
        sender: str,
        reply_to: str | None = None,
        pool_size: int = 4,
        messages_per_connection: int = 1000,
        timeouts: Timeouts = _DEFAULT_TIMEOUTS,
    ) -> None:
        self._server = parse_server(url)
        self._tls = self._server.tls_context()
        self._builder = MimeBuilder(sender, reply_to)
        self._timeouts = timeouts
        self._pool_size = pool_size
        self._most = messages_per_connection
        self._slots = asyncio.Semaphore(pool_size)
        self._idle: list[Session] = []

    def prepare(self, message: Message) -> Prepared:
        """The message in wire form.

        Raises:
            Undeliverable: see `hark.channels.mime.MimeBuilder.build`.
        """
        payload = self._builder.build(message)
        return Prepared(message.delivery_id, wire_address(message.address), payload)

    async def send(self, batch: Sequence[Prepared]) -> list[Outcome]:
        """Hand over a batch over as many connections as there may be; one outcome a message, in order.

        Never raises for what the server or the network does. Cancelled, it drops the connections in use.
        """
        consignment = Consignment(batch, self._server.host)
        lanes = min(self._pool_size, len(batch))
        try:
            async with asyncio.timeout(self._timeouts.batch):
                async with asyncio.TaskGroup() as tasks:
                    for _ in range(lanes):
                        tasks.create_task(self._lane(consignment))
        except TimeoutError:
            consignment.obstacle = f"{self._server.host}: the batch did not end within {self._timeouts.batch:g} s"
        return consignment.outcomes()

    async def close(self) -> None:
        """Leave the connections that nobody uses."""
        while self._idle:
            self._idle.pop().leave()

    async def _lane(self, consignment: Consignment) -> None:
        """One connection after the other, while there is something to hand over and somebody who takes it."""
        fruitless = 0
        async with self._slots:
            while consignment.waiting and fruitless < _FRUITLESS:
                try:
                    session = self._kept() or await open_session(self._server, self._tls, self._timeouts)
                except NotOpened as fault:
                    consignment.obstacle = str(fault)
                    return
                exchange = Exchange(session, consignment, self._builder.sender_address, self._timeouts, self._most)
                await exchange.run()
                fruitless = 0 if exchange.answered else fruitless + 1
                self._keep(session)

    def _kept(self) -> Session | None:
        oldest = asyncio.get_running_loop().time() - self._timeouts.idle
        while self._idle:
            session = self._idle.pop()
            if session.ended is None and session.kept_since >= oldest:
                return session
            session.leave()
        return None

    def _keep(self, session: Session) -> None:
        if session.ended is not None:
            return
        if session.served >= self._most:
            session.leave()
            return
        session.kept_since = asyncio.get_running_loop().time()
        self._idle.append(session)
