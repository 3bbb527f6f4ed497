"""One attempt is six steps, in this order and no other:

claim      PENDING → SENDING, leased and numbered
recheck    what is still to be said; nothing: CANCELED; it cannot be found out: PENDING with back-off
render     into words and the channel's own form; broken: PENDING with back-off
mark       SENDING → SENT (unknown), committed
hand over  to the provider, with no transaction open
settle     SENT (unknown) → what the provider said
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

import psycopg

from hark.catalogue import Channel
from hark.clock import Clock
from hark.delivery.ask import ask
from hark.delivery.backoff import Backoff
from hark.delivery.cap import mark_within, uncount
from hark.delivery.claim import Claimed, claim_due, next_due
from hark.delivery.handover import Outbound, Outcome, Prepared, Verdict
from hark.delivery.lease import held
from hark.delivery.limits import Limits
from hark.delivery.recheck import Rechecked, recheck, unloaded
from hark.delivery.settle import Settlement, Withdrawal, after_failure, after_outcome, mark, settle, withdraw
from hark.delivery.states import Result, State
from hark.errors import RenderingFailed, Undeliverable
from hark.logs import Log
from hark.postgres.database import Database, is_passing
from hark.rechecks import Rechecks
from hark.rendering import Renderer

_log = Log(__name__)

_WRITES = 150
"""How often an outcome is tried to be written down while the database is away: for about twelve minutes at least."""


class Step(StrEnum):
    """The steps of an attempt; each is announced when it is done."""

    CLAIM = "claim"
    RECHECK = "recheck"
    RENDER = "render"
    MARK = "mark"
    HAND_OVER = "hand_over"
    SETTLE = "settle"


@dataclass(frozen=True, slots=True)
class Attempted:
    """What one round of attempts came to, in deliveries. `more`: as many were due as could be claimed."""

    claimed: int = 0
    canceled: int = 0
    given_back: int = 0
    accepted: int = 0
    deferred: int = 0
    refused: int = 0
    unknown: int = 0
    more: bool = False

    def __add__(self, other: Attempted) -> Attempted:
        return Attempted(
            self.claimed + other.claimed,
            self.canceled + other.canceled,
            self.given_back + other.given_back,
            self.accepted + other.accepted,
            self.deferred + other.deferred,
            self.refused + other.refused,
            self.unknown + other.unknown,
            self.more or other.more,
        )


@dataclass(frozen=True, slots=True)
class _Ready:
    delivery: Rechecked
    prepared: Prepared


def _ignore(_step: Step, _deliveries: int) -> None:
    return None


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Sender:
    """Everything that attempts of one channel need.

    Attributes:
        worker: who claims, for people (`web-2/411`).
        lease: how long a claim holds unless it is renewed; longer than recheck and rendering of one chunk ever take.
        claim_chunk: how many deliveries are claimed at once.
        send_chunk: how many are marked and handed over at once: what a crash can leave `unknown`.
        rechecks: whom of the product to ask whether an item may still be said.
        passed: told of each step done, with how many deliveries it was about.
        limits: how many may go in a while, in all and to one recipient.
        stopping: whether to hand over nothing more; what is held and not marked yet is given back.
    """

    database: Database
    channel: Channel
    outbound: Outbound
    renderer: Renderer
    clock: Clock
    worker: str
    backoff: Backoff = Backoff()
    lease: timedelta = timedelta(seconds=30)
    claim_chunk: int = 200
    send_chunk: int = 50
    limits: Limits = Limits()
    rechecks: Rechecks = field(default_factory=Rechecks)
    passed: Callable[[Step, int], None] = _ignore
    stopping: Callable[[], bool] = _never

    async def attempt_due(self) -> Attempted:
        """Attempt once what is due now, up to one chunk."""
        claimed = await self._claim()
        if not claimed:
            return Attempted()
        result = await self.attempt(claimed)
        return result + Attempted(claimed=len(claimed), more=len(claimed) == self.claim_chunk)

    async def attempt(self, claimed: Sequence[Claimed]) -> Attempted:
        """Recheck, render, mark, hand over and settle what was claimed."""
        ready, withdrawals = self._render(await self._recheck(claimed))
        result = await self._withdraw(withdrawals)
        waiting = deque(_chunks(ready, self.send_chunk))
        async with held(self.database, self.clock, lambda: _deliveries(waiting), self.lease):
            while waiting:
                result += await self._send(waiting.popleft())
        return result

    async def next_due(self) -> datetime | None:
        """When something may be attempted next: it is due, and the rates let it; None when nothing waits."""
        due = await next_due(self.database, self.channel)
        return max(due, await self.limits.next_free(self.database, self.channel)) if due else None

    async def _send(self, chunk: Sequence[_Ready]) -> Attempted:
        if self.stopping():
            return await self._give_back(chunk)
        marked_at = self.clock.now()
        marked, held_back = await self._mark(chunk, marked_at)
        outcomes = await self._hand_over(marked)
        result = await self._settle(marked, outcomes)
        await self._uncount(marked, outcomes, marked_at)
        return result + Attempted(given_back=held_back)

    async def _claim(self) -> list[Claimed]:
        own = self.limits.own
        claimed = await (own.claim(self._claim_up_to, self.claim_chunk) if own else self._claim_up_to(self.claim_chunk))
        self.passed(Step.CLAIM, len(claimed))
        return claimed

    async def _claim_up_to(self, limit: int) -> list[Claimed]:
        return await claim_due(
            self.database,
            self.channel,
            self.clock.now(),
            worker=self.worker,
            lease=self.lease,
            limit=limit,
            rate=self.limits.shared,
        )

    async def _recheck(self, claimed: Sequence[Claimed]) -> list[Rechecked]:
        try:
            rechecked = await self._rechecked(claimed)
        except Exception as error:
            if not is_one_deliverys(error):
                raise
            rechecked = await self._one_by_one(claimed)
        self.passed(Step.RECHECK, len(rechecked))
        return rechecked

    async def _rechecked(self, claimed: Sequence[Claimed]) -> list[Rechecked]:
        found = await recheck(self.database, claimed, self.rechecks.sources)
        async with held(self.database, self.clock, lambda: found, self.lease):
            return await ask(self.database, found, self.rechecks)

    async def _one_by_one(self, claimed: Sequence[Claimed]) -> list[Rechecked]:
        """The last resort: one that breaks what is done for all waits by itself, and says why."""
        found = [unloaded(each) for each in claimed]
        async with held(self.database, self.clock, lambda: found, self.lease):
            return [each for one in claimed for each in await self._alone(one)]

    async def _alone(self, claimed: Claimed) -> list[Rechecked]:
        try:
            return await self._rechecked([claimed])
        except Exception as error:
            if not is_one_deliverys(error):
                raise
            _log.error("recheck_broke", delivery=claimed.id, error=type(error).__name__)
            return [replace(unloaded(claimed), unchecked=f"its recheck broke: {type(error).__name__}")]

    def _render(self, rechecked: Sequence[Rechecked]) -> tuple[list[_Ready], list[Withdrawal]]:
        ready: list[_Ready] = []
        withdrawals: list[Withdrawal] = []
        for delivery in rechecked:
            drafted = self._draft(delivery)
            if isinstance(drafted, _Ready):
                ready.append(drafted)
            else:
                withdrawals.append(drafted)
        self.passed(Step.RENDER, len(ready))
        return ready, withdrawals

    def _draft(self, delivery: Rechecked) -> _Ready | Withdrawal:
        if delivery.unchecked:
            return after_failure(delivery, delivery.unchecked, self.clock.now(), self.backoff)
        if delivery.total == 0:
            return Withdrawal(delivery, State.CANCELED, f"nothing left to say: {delivery.sentence()}")
        try:
            message = self.renderer.render(delivery.batch(), self.clock.now())
            return _Ready(delivery, self.outbound.prepare(message))
        except Undeliverable as error:
            return Withdrawal(delivery, State.CANCELED, f"cannot be sent as it is: {error}")
        except RenderingFailed as error:
            return after_failure(delivery, f"rendering failed: {error}", self.clock.now(), self.backoff)
        except Exception as error:  # a fault of ours must not hold up the others of its chunk
            _log.error("drafting_failed", delivery=delivery.id, exc_info=error)
            why = f"rendering failed: {type(error).__name__}, see the log"
            return after_failure(delivery, why, self.clock.now(), self.backoff)

    async def _withdraw(self, withdrawals: Sequence[Withdrawal]) -> Attempted:
        moved = await withdraw(self.database, withdrawals, self.clock.now())
        states = [given.state for given in withdrawals if given.delivery.id in moved]
        return Attempted(canceled=states.count(State.CANCELED), given_back=states.count(State.PENDING))

    async def _give_back(self, chunk: Sequence[_Ready]) -> Attempted:
        now = self.clock.now()
        return await self._withdraw(
            [Withdrawal(ready.delivery, State.PENDING, "its worker stopped", now) for ready in chunk]
        )

    async def _mark(self, chunk: Sequence[_Ready], now: datetime) -> tuple[list[_Ready], int]:
        """Those that may be handed over, and how many others were held back by their recipients' cap."""
        deliveries, cap = [ready.delivery for ready in chunk], self.limits.cap
        try:
            ours, held_back = (
                await mark_within(self.database, deliveries, cap, now)
                if cap
                else (await mark(self.database, deliveries, now), 0)
            )
        except Exception as error:
            if is_passing(error):
                await self._take_back(chunk)
            raise
        marked = [ready for ready in chunk if ready.delivery.id in ours]
        self.passed(Step.MARK, len(marked))
        return marked, held_back

    async def _uncount(self, marked: Sequence[_Ready], outcomes: Sequence[Outcome], marked_at: datetime) -> None:
        """What was certainly not taken leaves its place under the cap to another."""
        if self.limits.cap is None:
            return
        untaken = [
            ready.delivery
            for ready, outcome in zip(marked, outcomes, strict=True)
            if outcome.verdict in (Verdict.DEFERRED, Verdict.REFUSED)
        ]
        try:
            await uncount(self.database, self.channel, untaken, self.limits.cap, marked_at)
        except Exception as error:  # it then counts until its period is over: rather one too few than one too many
            _log.warning("not_uncounted", deliveries=len(untaken), error=type(error).__name__)

    async def _take_back(self, chunk: Sequence[_Ready]) -> None:
        """Undo a mark that may have been committed, or not: nothing was handed over.

        First where it was not, then where it was: the other way round, a commit between the two would slip through.
        """
        why, now = "the database went away before the hand-over", self.clock.now()
        held = [Withdrawal(ready.delivery, State.PENDING, why, now) for ready in chunk]
        marked = [Settlement(ready.delivery, State.PENDING, Result.NONE, why, now) for ready in chunk]
        await self._write_down(lambda: withdraw(self.database, held, now))
        await self._write_down(lambda: settle(self.database, marked, now))

    async def _hand_over(self, marked: Sequence[_Ready]) -> list[Outcome]:
        outcomes = await self.outbound.send([ready.prepared for ready in marked])
        self.passed(Step.HAND_OVER, len(outcomes))
        return outcomes

    async def _settle(self, marked: Sequence[_Ready], outcomes: Sequence[Outcome]) -> Attempted:
        now = self.clock.now()
        settlements = [
            after_outcome(ready.delivery, outcome, now, self.backoff)
            for ready, outcome in zip(marked, outcomes, strict=True)
        ]
        await self._write_down(lambda: settle(self.database, settlements, now))
        self.passed(Step.SETTLE, len(settlements))
        verdicts = [outcome.verdict for outcome in outcomes]
        return Attempted(
            accepted=verdicts.count(Verdict.ACCEPTED),
            deferred=verdicts.count(Verdict.DEFERRED),
            refused=verdicts.count(Verdict.REFUSED),
            unknown=verdicts.count(Verdict.UNKNOWN),
        )

    async def _write_down(self, write: Callable[[], Awaitable[object]]) -> None:
        """Nobody else knows what this worker knows, so it waits until the database is back; twice written is once."""
        for tries in range(_WRITES):
            try:
                await write()
                return
            except Exception as error:
                if not is_passing(error) or self.stopping() or tries + 1 == _WRITES:
                    raise
            await asyncio.sleep(min(0.1 * (1 << min(tries, 6)), 5.0))


def is_one_deliverys(error: Exception) -> bool:
    """Whether a fault may be one delivery's, so that others can go on without it; the database's is everybody's."""
    if isinstance(error, psycopg.Error):
        return isinstance(error, psycopg.DataError)
    return not is_passing(error)


def _chunks(ready: Sequence[_Ready], size: int) -> Iterator[Sequence[_Ready]]:
    for start in range(0, len(ready), size):
        yield ready[start : start + size]


def _deliveries(chunks: Iterable[Sequence[_Ready]]) -> list[Rechecked]:
    return [ready.delivery for chunk in chunks for ready in chunk]
