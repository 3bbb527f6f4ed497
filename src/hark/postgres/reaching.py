"""Reaching Postgres at a start: one that is starting up, or recovers from a crash, is waited for; nothing else is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from hark.durations import format_duration
from hark.errors import Unreachable

PATIENCE = timedelta(minutes=5)
"""How long a server that takes no connections yet is waited for: it reads all that it wrote since its checkpoint."""

Say = Callable[[str], None]

_AGAIN_S, _SAY_AGAIN_S = 0.5, 30.0
_CONNECT_S = 10


@dataclass(slots=True)
class _Waiting:
    """For a server that is there and takes no connections yet."""

    patience: timedelta
    say: Say
    since: float = 0.0
    said: float = 0.0

    def goes_on(self, now: float) -> bool:
        """Whether to wait on; said at once, and now and then."""
        self.since = self.since or now
        if now - self.since >= self.patience.total_seconds():
            return False
        if not self.said or now - self.said >= _SAY_AGAIN_S:
            self.said = now
            self.say(f"Postgres is starting up, or recovers: waiting for it, {format_duration(self.patience)} in all")
        return True

    def over(self, now: float) -> None:
        """It answers."""
        if self.since:
            self.say(f"Postgres answers, after {now - self.since:.0f} s")


async def reach(dsn: str, patience: timedelta = PATIENCE, say: Say = lambda _line: None) -> None:
    """Connect once and let go again.

    A server that says that it takes no connections yet is asked again, and once it said so, also one that does not
    answer: it may be started anew. What else goes wrong (a password, a name, nobody there) is not waited for.

    Args:
        dsn: a libpq URI or conninfo string.
        patience: how long to wait for a server that is starting up.
        say: told when it is waited for, now and then meanwhile, and when it answers.

    Raises:
        Unreachable: it does not answer, or did not within that.
    """
    waiting, accepted = _Waiting(patience, say), False
    while (fault := await _fault(dsn)) is not None:
        state = await _state(dsn, fault)
        if accepted or not (state in (pq.Ping.OK, pq.Ping.REJECT) or waiting.since):
            raise Unreachable(f"Postgres cannot be reached: {str(fault).strip()}") from fault
        # Who takes connections now may not have when it was asked: once more tells.
        accepted = state == pq.Ping.OK
        if accepted:
            continue
        if not waiting.goes_on(time.monotonic()):
            waited = format_duration(patience)
            raise Unreachable(f"Postgres cannot be reached within {waited}: {str(fault).strip()}") from fault
        await asyncio.sleep(_AGAIN_S)
    waiting.over(time.monotonic())


async def _fault(dsn: str) -> psycopg.OperationalError | None:
    """What a connection fails with; None: with nothing."""
    try:
        connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=_CONNECT_S)
    except psycopg.OperationalError as error:
        return error
    await connection.close()
    return None


async def _state(dsn: str, fault: psycopg.OperationalError) -> pq.Ping:
    """What the server says of itself, in whatever language: its faults come without a code, but this does not."""
    if isinstance(fault, psycopg.errors.ConnectionTimeout):
        return pq.Ping.NO_RESPONSE
    asked = make_conninfo(dsn, connect_timeout=_CONNECT_S).encode()
    return pq.Ping(await asyncio.to_thread(pq.PGconn.ping, asked))
