"""A small SMTP server on loopback that takes mail and hands it to nobody: for `hark demo`, tests and rehearsals.

It can be told to fail (`hark.channels.rehearsal`), so that what a bad server does to Hark can be tried out on purpose.
It is not a mail server: it listens on 127.0.0.1 only, and asks nobody who they are unless a test wants it to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from hark.channels.conversation import Conversation
from hark.channels.rehearsal import Abilities, Received, Script

LOOPBACK = "127.0.0.1"


class Sink:
    """Takes mail. Use as `async with Sink(mails.append) as sink:` and send to `sink.url`.

    Args:
        on_mail: called with each mail that is taken, before the client is told so.
        port: 0 takes a free one.
        abilities: what is offered.
        script: what goes wrong, and when.
    """

    def __init__(
        self,
        on_mail: Callable[[Received], object],
        *,
        port: int = 0,
        abilities: Abilities | None = None,
        script: Script = lambda moment: None,
    ) -> None:
        self.port = port
        self._on_mail = on_mail
        self._abilities = abilities or Abilities()
        self._script = script
        self.taken = 0
        """How many mails were taken."""
        self.sessions = 0
        """How many connections there were."""
        self._server: asyncio.Server | None = None
        self._open: set[Conversation] = set()

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self._open)

    @property
    def url(self) -> str:
        return f"smtp://{LOOPBACK}:{self.port}"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        tls = self._abilities.tls if self._abilities.tls_from_start else None
        self._server = await loop.create_server(self._conversation, LOOPBACK, self.port, backlog=1000, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop listening, and hang up on everybody."""
        if self._server is not None:
            self._server.close()
        self.hang_up_on_all()

    def hang_up_on_all(self) -> None:
        """Close every open connection, as a server does that restarts; it goes on listening."""
        for conversation in tuple(self._open):
            conversation.hang_up()

    async def until_alone(self) -> None:
        """Return once every connection is closed."""
        while self._open:
            await asyncio.wait([conversation.closed for conversation in self._open])

    def _conversation(self) -> Conversation:
        self.sessions += 1
        return Conversation(self._abilities, self._script, self._take, self.sessions, self._open)

    def _take(self, mail: Received) -> None:
        self._on_mail(mail)
        self.taken += 1
