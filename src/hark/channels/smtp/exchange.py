"""Messages over one connection, one after the other, as fast as the server's extensions allow.

With PIPELINING (RFC 2920) a message costs one write and one round trip: its content and final dot go out together with
the envelope of the next one. Without it, each command waits for its answer. Either way at most one message is handed
over and unanswered, so at most one is unknown when a connection breaks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from math import inf

from hark.channels.smtp.replies import Reply, accepted_or_not, recipient_refused, sender_refused
from hark.channels.smtp.server import Timeouts
from hark.channels.smtp.session import Expected, Session
from hark.delivery.handover import Outcome, Prepared, Verdict

_AT_ONCE = 64 * 1024
"""Bytes up to which content and final dot leave in one write. Of more, the dot waits until the content has left, so
that a connection which breaks before is certain to have handed over nothing."""


class Consignment:
    """A batch on its way: what waits, and how each message went. Several exchanges take from it.

    Args:
        batch: the messages.
        host: the server's name, as outcomes show it.
    """

    def __init__(self, batch: Sequence[Prepared], host: str) -> None:
        self.batch = batch
        self.host = host
        self.obstacle = f"{host}: there was no time left"
        """Why what is still waiting at the end was not handed over."""
        self._waiting = deque(range(len(batch)))
        self._outcomes: list[Outcome | None] = [None] * len(batch)

    @property
    def waiting(self) -> bool:
        return bool(self._waiting)

    def take(self) -> int | None:
        """The next message's place in the batch."""
        return self._waiting.popleft() if self._waiting else None

    def put_back(self, index: int) -> None:
        """Let a message that was certainly not handed over be taken again, before all others."""
        self._waiting.appendleft(index)

    def settle(self, index: int, outcome: Outcome) -> None:
        self._outcomes[index] = outcome

    def outcomes(self) -> list[Outcome]:
        """One a message; what was never handed over is deferred."""
        return [outcome or Outcome(Verdict.DEFERRED, self.obstacle) for outcome in self._outcomes]


class Exchange:
    """Carries messages of a consignment over a session until there are no more, or the session ends.

    Args:
        session: an open connection that nobody else uses.
        consignment: where messages come from and outcomes go.
        sender: the envelope's sender.
        timeouts: patience, in seconds.
        most: how many messages the connection may carry in its life.
    """

    def __init__(self, session: Session, consignment: Consignment, sender: str, timeouts: Timeouts, most: int) -> None:
        self.answered = 0
        """How many messages got an answer of their own."""
        self._session = session
        self._consignment = consignment
        self._host = consignment.host
        self._sender = sender
        self._most = most
        self._seasoned = session.kept_since < inf
        self._command = timeouts.command
        self._final = (self._on_final, timeouts.final_dot)
        self._mail_taker = (self._on_mail, timeouts.command)
        self._rcpt_taker = (self._on_rcpt, timeouts.command)
        self._data_taker = (self._on_data, timeouts.command)
        self._current: int | None = None
        """The message whose envelope or content is on its way: nothing that counts was handed over."""
        self._handed: int | None = None
        """The message whose final dot was written and not answered yet."""
        self._mail: Reply | None = None
        self._rcpt: Reply | None = None
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Carry messages. Cancelled, it drops the connection and settles what is known."""
        if self._session.ended is not None:
            return
        self._session.on_end = self._on_end
        self._proceed()
        try:
            await self._done
        except asyncio.CancelledError:
            self._session.drop("was given up")
            raise
        finally:
            self._session.on_end = None

    # Writing: each step names who takes the answers.

    def _proceed(self, lead: bytes = b"", *expected: Expected) -> None:
        """Write what is left to say of the last message and, right behind it, the envelope of the next one.

        Without pipelining, the next one waits until that is answered.
        """
        if lead and not self._session.pipelining:
            self._session.say(lead, *expected)
            return
        self._current = self._next()
        if self._current is not None:
            self._open(self._consignment.batch[self._current], lead, expected)
        elif lead:
            self._session.say(lead, *expected)
        elif not self._done.done():
            self._done.set_result(None)

    def _next(self) -> int | None:
        if self._session.served + (self._handed is not None) >= self._most:
            return None
        while (index := self._consignment.take()) is not None:
            size = len(self._consignment.batch[index].payload)
            if not 0 < self._session.size_limit < size:
                return index
            limit = self._session.size_limit
            text = f"{self._host}: takes {limit} bytes, and the message has {size} (552 is what it would answer)"
            self._consignment.settle(index, Outcome(Verdict.REFUSED, text))
        return None

    def _open(self, message: Prepared, lead: bytes, expected: tuple[Expected, ...]) -> None:
        self._mail = self._rcpt = None
        size = f" SIZE={len(message.payload)}" if self._session.declares_size else ""
        if not self._session.pipelining:
            self._session.say(f"MAIL FROM:<{self._sender}>{size}\r\n".encode(), self._mail_taker)
            return
        envelope = f"MAIL FROM:<{self._sender}>{size}\r\nRCPT TO:<{message.address}>\r\nDATA\r\n".encode()
        self._session.say(lead + envelope, *expected, self._mail_taker, self._rcpt_taker, self._data_taker)

    def _send_content(self, index: int) -> None:
        content = self._consignment.batch[index].payload.replace(b"\r\n.", b"\r\n..")
        if len(content) <= _AT_ONCE:
            self._handed, self._current = index, None
            self._proceed(content + b".\r\n", self._final)
            return
        self._session.say_long(content, self._send_final_dot, self._final)

    def _send_final_dot(self) -> None:
        self._handed, self._current = self._current, None
        self._proceed(b".\r\n")

    def _give_up(self, index: int, outcome: Outcome, lead: bytes = b"RSET\r\n") -> None:
        """Settle a message whose envelope was not taken, and clear the way for the next one."""
        self._settle(index, outcome)
        self._current = None
        self._proceed(lead, (self._on_cleared, self._command))

    # Answers, in the order of their questions.

    def _on_mail(self, reply: Reply) -> None:
        if reply.closes:
            self._session.drop(reply.shown())
            return
        self._mail = reply
        if not self._session.pipelining and self._current is not None:
            if not reply.ok:
                self._give_up(self._current, sender_refused(self._host, reply))
                return
            address = self._consignment.batch[self._current].address
            self._session.say(f"RCPT TO:<{address}>\r\n".encode(), self._rcpt_taker)

    def _on_rcpt(self, reply: Reply) -> None:
        if reply.closes:
            self._session.drop(reply.shown())
            return
        self._rcpt = reply
        if not self._session.pipelining and self._current is not None:
            if not reply.ok:
                self._give_up(self._current, recipient_refused(self._host, reply))
                return
            self._session.say(b"DATA\r\n", self._data_taker)

    def _on_data(self, reply: Reply) -> None:
        index = self._current
        if reply.closes or index is None:
            self._session.drop(reply.shown())
            return
        refused = self._envelope_refused()
        if refused is None and reply.code == 354:
            self._send_content(index)
        elif refused is None and reply.code >= 400:
            self._give_up(index, sender_refused(self._host, reply))
        elif refused is not None and reply.code >= 400:
            self._give_up(index, refused)
        elif refused is not None and reply.code == 354 and self._rcpt is not None and not self._rcpt.ok:
            # It waits for content although nobody is to get it: RFC 2920, 3.1, has us send an empty message.
            self._give_up(index, refused, b".\r\n")
        else:
            self._session.drop(f"said {reply.shown()} to DATA")

    def _on_final(self, reply: Reply) -> None:
        if self._handed is None:
            self._on_early(reply)
            return
        index, self._handed = self._handed, None
        self._session.served += 1
        self._settle(index, accepted_or_not(self._host, reply))
        if reply.closes or (reply.code < 400 and not reply.ok):
            self._session.drop(reply.shown())
        elif self._current is None:
            self._proceed()

    def _on_early(self, reply: Reply) -> None:
        """An answer in the middle of the content: not taken, whatever it says, as there was no final dot."""
        if self._current is not None and reply.code >= 400:
            self._settle(self._current, accepted_or_not(self._host, reply))
            self._current = None
        self._session.drop(f"said {reply.shown()} in the middle of a message")

    def _on_cleared(self, reply: Reply) -> None:
        """The answer to RSET, or to the empty message that nobody gets: only whether the session goes on counts."""
        if reply.closes:
            self._session.drop(reply.shown())
        elif self._current is None:
            self._proceed()

    def _on_end(self, why: str) -> None:
        """The connection is gone: say of what was on its way what is certain."""
        self._consignment.obstacle = f"{self._host}: {why}"
        if self._handed is not None:
            text = f"{self._host}: {why} after the final dot; nobody knows whether it took the message"
            self._consignment.settle(self._handed, Outcome(Verdict.UNKNOWN, text))
        if self._current is not None:
            self._settle_unsent(self._current, why)
        self._handed = self._current = None
        if not self._done.done():
            self._done.set_result(None)

    # Settling.

    def _settle_unsent(self, index: int, why: str) -> None:
        refused = self._envelope_refused()
        if refused is not None:
            self._settle(index, refused)
        elif self._seasoned or self.answered:
            # A used connection may break for reasons of its own. Each time costs one that was kept or that gave an
            # answer, so this comes to an end.
            self._consignment.put_back(index)
        else:
            text = f"{self._host}: {why} before the final dot; nothing was handed over"
            self._consignment.settle(index, Outcome(Verdict.DEFERRED, text))

    def _envelope_refused(self) -> Outcome | None:
        if self._mail is not None and not self._mail.ok:
            return sender_refused(self._host, self._mail)
        if self._rcpt is not None and not self._rcpt.ok:
            return recipient_refused(self._host, self._rcpt)
        return None

    def _settle(self, index: int, outcome: Outcome) -> None:
        self.answered += 1
        self._consignment.settle(index, outcome)
