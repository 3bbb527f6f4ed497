"""How fast a backfill goes: a pure decision over what its probes read. Live work always wins.

    unreadable   a source cannot be read: nothing is done until it can (fails closed)
    live         what the live pipeline should have sent by now waits: nothing is done until it is gone
    replica_lag, lock_waits   too much: nothing is done until it is less
    probe        Hark's own probe takes several times as long as when all is calm: rest twice as long after each batch
    statements   the same of the backfill's own statements
    traffic      events are being published: rest after each batch, the longer the more of them

Rest is counted in batches: a worker that rests 2 works a third of its time, however slow the database is. It doubles
with each reading that is too high and halves with each that is not, so that it is felt within seconds both ways. A
reading before which no batch was done says nothing of statements: what they were too slow for stays until one is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum


class Why(StrEnum):
    """What a second was waited for."""

    RATE = "rate"
    WINDOW = "window"
    STOPPED = "stopped"
    UNREADABLE = "unreadable"
    LIVE = "live"
    REPLICA_LAG = "replica_lag"
    LOCK_WAITS = "lock_waits"
    PROBE = "probe"
    STATEMENTS = "statements"
    TRAFFIC = "traffic"
    TURN = "turn"
    """Other runs had their turns at this worker."""
    OTHERS = "others"
    """The last batches are with other workers."""
    RETRY = "retry"
    """A batch, or planning, failed for now, and waits for its next attempt."""
    DATABASE = "database"
    """Postgres did not answer, or could not do it for now."""
    FLAG = "flag"
    """A flag is off, or somebody does not act yet on the version of it that lets users in."""
    STREAM = "stream"
    """The live stream has not passed yet what it had when the last user was loaded."""
    GRAPH = "graph"
    """The graph does not have yet what was loaded."""
    AUDIT = "audit"
    """What was loaded is compared with the graph."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is too much.

    Attributes:
        slowdown: how many times the calm latency.
        floor: latencies below it are never too much.
        replica_lag: how far the slowest replica may be behind.
        lock_waits: how many sessions may wait for locks.
        live: how many messages and events may be late in the live pipeline.
        traffic: for so many events a second, rest a batch's time after each.
        traffic_rest: and so many batches' time at most, however many there are.
        longest_rest: the most batches' time to rest after one.
    """

    slowdown: float = 4.0
    floor: timedelta = timedelta(milliseconds=3)
    replica_lag: timedelta = timedelta(seconds=10)
    lock_waits: int = 5
    live: int = 100
    traffic: float = 100.0
    traffic_rest: float = 4.0
    longest_rest: float = 20.0


@dataclass(frozen=True, slots=True)
class Readings:
    """What the probes read.

    Attributes:
        unreadable: which sources could not be read.
        probe: how long Hark's own probe took.
        statement: how long the backfill's last batch took, a user; None: there was none yet.
        live: messages and events that the live pipeline should have dealt with by now.
        traffic: events that are being published, a second.
    """

    probe: timedelta
    statement: timedelta | None = None
    replica_lag: timedelta = timedelta(0)
    lock_waits: int = 0
    live: int = 0
    traffic: float = 0.0
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Throttle:
    """How fast, as it stands.

    Attributes:
        rest: how many batches' time to rest after each.
        hold: whether nothing at all is done until the next reading.
        why: what for; None: nothing stands in the way.
        calm_probe, calm_statement: the lowest latencies, creeping up so that a changed machine is got used to.
    """

    rest: float = 0.0
    hold: bool = False
    why: Why | None = None
    calm_probe: timedelta | None = None
    calm_statement: timedelta | None = None


_CREEP = 1.005
_LEAST_REST = 0.25
_STATEMENT_FLOOR = timedelta(microseconds=20)


def next_throttle(was: Throttle, read: Readings, limits: Limits) -> Throttle:
    """How fast to go on, after a reading; pure."""
    seen = replace(
        was,
        calm_probe=_calm(was.calm_probe, read.probe),
        calm_statement=_calm(was.calm_statement, read.statement),
    )
    if (held := _held(read, limits)) is not None:
        return replace(seen, hold=True, why=held, rest=max(was.rest, 1.0))
    if (slow := _slow(seen, read, limits)) is not None:
        return replace(seen, hold=False, why=slow, rest=min(max(was.rest * 2, 1.0), limits.longest_rest))
    if was.why is Why.STATEMENTS and read.statement is None:
        return seen
    return _eased(seen, min(read.traffic / limits.traffic, limits.traffic_rest))


def _eased(was: Throttle, least: float) -> Throttle:
    """Rest half as long as before; for live traffic, `least`."""
    least, rest = (each if each >= _LEAST_REST else 0.0 for each in (least, was.rest / 2))
    if rest <= least:
        return replace(was, hold=False, why=Why.TRAFFIC if least else None, rest=least)
    return replace(was, hold=False, rest=rest)


def _held(read: Readings, limits: Limits) -> Why | None:
    if read.unreadable:
        return Why.UNREADABLE
    if read.live > limits.live:
        return Why.LIVE
    if read.replica_lag > limits.replica_lag:
        return Why.REPLICA_LAG
    return Why.LOCK_WAITS if read.lock_waits > limits.lock_waits else None


def _slow(seen: Throttle, read: Readings, limits: Limits) -> Why | None:
    if _is_slow(read.probe, seen.calm_probe, limits.slowdown, limits.floor):
        return Why.PROBE
    slow = _is_slow(read.statement, seen.calm_statement, limits.slowdown, _STATEMENT_FLOOR)
    return Why.STATEMENTS if slow else None


def _is_slow(took: timedelta | None, calm: timedelta | None, slowdown: float, floor: timedelta) -> bool:
    return took is not None and calm is not None and took > max(calm * slowdown, floor)


def _calm(was: timedelta | None, took: timedelta | None) -> timedelta | None:
    if took is None:
        return was
    return took if was is None else min(was * _CREEP, took)
