"""How a source is asked: within its rate, as late as it says, not while it is down, and again where that helps.

200 with JSON            taken
429, or Retry-After      the source is left alone for as long as it says, by all workers; a 429 that does not say how
                         long makes only this question wait
408, 425, 5xx, no answer, a broken one
                         tried again with back-off, a few times; enough of them in a row, by all workers together,
                         and the source is left alone for a while (`Breaker`)
anything else            a fault of the set-up: not tried again
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from random import SystemRandom
from typing import TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel

from hark.clock import Clock
from hark.delivery.backoff import Backoff
from hark.errors import NotNow, SourceFailed, Unreachable
from hark.guarded.client import Answer, Guarded
from hark.history.sources.contracts import Broken, read
from hark.history.sources.pace import Missed, Pace, Permit
from hark.history.sources.retry_after import retry_after
from hark.logs import Log

M = TypeVar("M", bound=BaseModel)

_log = Log(__name__)
_AGAIN = frozenset((408, 425, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524, 529))
_TOO_MANY = 429
_CHANCE = SystemRandom()

BACKOFF = Backoff(base=timedelta(milliseconds=500), cap=timedelta(seconds=30), max_attempts=6)
"""Of one question: its waits, and how often it may fail."""


class Verdict(StrEnum):
    """What becomes of a question after an answer."""

    TAKEN = "taken"
    TOO_MANY = "too many"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Said:
    """What one attempt came to: `wait` is what the source asks for; None: nothing."""

    verdict: Verdict
    what: str = ""
    wait: timedelta | None = None
    body: bytes = b""


@dataclass(slots=True)
class Counts:
    """What a source was asked in this process: `requests` were written, whatever became of them."""

    requests: int = 0
    taken: int = 0
    too_many: int = 0
    failed: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Polite:
    """One source, asked politely.

    Attributes:
        source: its name.
        url: its base, without a slash at the end.
        token: sent as `Authorization: Bearer …`; None: nothing is.
        timeout: how long one answer may take.
        patience: how long one question may take in all, with its waits.
    """

    source: str
    url: str
    client: Guarded
    pace: Pace
    clock: Clock
    token: str | None = field(default=None, repr=False)
    timeout: timedelta = timedelta(seconds=30)
    patience: timedelta = timedelta(minutes=5)
    backoff: Backoff = BACKOFF
    counts: Counts = field(default_factory=Counts)

    async def get(self, path: str, question: dict[str, str], model: type[M]) -> M:
        """GET with a query; see `_ask`."""
        return await self._ask("GET", f"{path}?{urlencode(question)}", None, model)

    async def post(self, path: str, question: object, model: type[M]) -> M:
        """POST something as JSON; see `_ask`. It must be a look-up, which may be made twice."""
        return await self._ask("POST", path, json.dumps(question, ensure_ascii=False).encode(), model)

    async def _ask(self, method: str, path: str, body: bytes | None, model: type[M]) -> M:
        """Ask until there is an answer, or no use in asking.

        Raises:
            NotNow: the source is left alone for longer than this question has patience.
            Unreachable: it failed as often as one question may.
            SourceFailed: it refuses, or answers what it may not.
            Blocked: its address is one that is not called.
        """
        until = self.clock.now() + self.patience
        attempt, failures, spread = 0, 0, _CHANCE.getrandbits(32)
        while True:
            attempt += 1
            said, answer = await self._attempt(method, path, body, model, until)
            if answer is not None:
                return answer
            failures += said.verdict is Verdict.FAILED
            if self.backoff.used_up(failures):
                raise Unreachable(f"{self.source} failed {failures} times, the last time with: {said.what}")
            # What a source asks for is waited by the pace, for all; what it does not say, here.
            wait = self.backoff.wait(attempt, spread) if said.wait is None else timedelta(0)
            if self.clock.now() + wait > until:
                raise NotNow(f"{self.source} is not asked any longer just now: {said.what}", self.clock.now() + wait)
            await asyncio.sleep(wait.total_seconds())

    async def _attempt(
        self, method: str, path: str, body: bytes | None, model: type[M], until: datetime
    ) -> tuple[Said, M | None]:
        """One request; what it says, and its answer if there is one to take."""
        said, permit = await self._permitted(method, path, body, until)
        answer: M | None = None
        if said.verdict is Verdict.TAKEN:
            said, answer = self._read(said, model)
        await self._note(said, permit)
        if said.verdict is Verdict.REFUSED:
            raise SourceFailed(f"{self.source} {said.what}")
        return said, answer

    async def _permitted(self, method: str, path: str, body: bytes | None, until: datetime) -> tuple[Said, Permit]:
        while True:
            try:
                async with self.pace.permit(until) as permit:
                    return await self._request(method, path, body, permit), permit
            except Missed:
                continue

    async def _request(self, method: str, path: str, body: bytes | None, permit: Permit) -> Said:
        try:
            answer = await self.client.request(
                method,
                f"{self.url}{path}",
                body=body,
                headers=self._headers(body),
                patience=self.timeout,
                sending=permit,
            )
        except Unreachable as error:
            await self.pace.answered(permit, refused=False)
            return Said(Verdict.FAILED, str(error))
        finally:
            self.counts.requests += permit.took is not None
        await self.pace.answered(permit, refused=answer.status != 200)
        return judged(answer, self.clock.now())

    def _read(self, said: Said, model: type[M]) -> tuple[Said, M | None]:
        try:
            return said, read(self.source, model, said.body)
        except Broken as broken:
            return Said(Verdict.FAILED, str(broken)), None

    async def _note(self, said: Said, permit: Permit) -> None:
        """For all workers, what this says of the source; and for this process's counts."""
        match said.verdict:
            case Verdict.TAKEN:
                self.counts.taken += 1
                await self.pace.worked(permit)
            case Verdict.TOO_MANY:
                self.counts.too_many += 1
                await self.pace.worked(permit)
            case Verdict.FAILED:
                self.counts.failed += 1
                await self.pace.failed(permit)
            case Verdict.REFUSED:
                self.counts.refused += 1
        if said.verdict is not Verdict.TAKEN:
            _log.info("source_not_taken", source=self.source, verdict=str(said.verdict), what=said.what)
        if said.wait is not None:
            await self.pace.hold(said.wait)

    def _headers(self, body: bytes | None) -> dict[str, str]:
        given = {} if body is None else {"content-type": "application/json"}
        return given if self.token is None else {**given, "authorization": f"Bearer {self.token}"}


def judged(answer: Answer, now: datetime) -> Said:
    """What an answer means; pure.

    Args:
        now: what Retry-After's dates are counted from where the answer has no Date.
    """
    status = answer.status
    wait = retry_after(answer.headers.get("retry-after"), answer.headers.get("date"), now)
    if status == 200:
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json" or kind.endswith("+json"):
            return Said(Verdict.TAKEN, body=answer.body)
        return Said(Verdict.FAILED, "a body that does not say that it is JSON (content-type)")
    if status == _TOO_MANY:
        return Said(Verdict.TOO_MANY, "status 429, too many requests", wait)
    if status in _AGAIN:
        return Said(Verdict.FAILED, f"status {status}", wait)
    return Said(Verdict.REFUSED, _refusal(status))


def _refusal(status: int) -> str:
    if status in (401, 403):
        return f"answers with status {status}: its token is not set, or not the right one"
    if status == 404:
        return "answers with status 404: its URL does not lead to it"
    where = "sends on elsewhere, which is not followed; set the URL that it names" if 300 <= status < 400 else ""
    return f"{where or 'refuses what it is asked'} (status {status})"
