"""The webhook: who runs backfills is called when one ends or stalls; signed, tried a few times, never in a run's way.

Calls are signed as standardwebhooks.com has it, so that its libraries check them: `webhook-signature` is `v1,` and the
HMAC-SHA256 in Base64 of the message's id, its time and its body with dots between. A message keeps its id when it is
tried again.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from hark.backfill.notice import Told
from hark.clock import Clock
from hark.config import Settings
from hark.errors import HarkError
from hark.logs import Log

if TYPE_CHECKING:
    from hark.guarded.client import Guarded

_log = Log(__name__)

WAITS = tuple(timedelta(seconds=seconds) for seconds in (1, 5, 30, 120))
"""Between the attempts: one more than there are waits."""

ANSWER_WAIT = timedelta(seconds=10)
LAST_WAIT = timedelta(seconds=5)
"""How long calls under way may take to end once the process does."""

_AGAIN = frozenset((408, 425, 429))


@dataclass(slots=True)
class Hook:
    """Where to call, and the calls under way. They are of the event loop that `tell` is called in.

    Attributes:
        secret: what calls are signed with; None: they are not.
        waits: between attempts.
    """

    url: str
    client: Guarded
    clock: Clock
    secret: bytes | None = field(default=None, repr=False)
    waits: Sequence[timedelta] = WAITS
    _under_way: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    @classmethod
    def of(cls, url: str | None, settings: Settings, client: Guarded, clock: Clock) -> Hook | None:
        """What the catalogue and the settings say; None: nobody is to be called."""
        secret = None if settings.webhook_secret is None else key_of(settings.webhook_secret)
        return None if url is None else cls(url, client, clock, secret)

    def tell(self, told: Told) -> None:
        """Call, in the background."""
        task = asyncio.create_task(self._tell(told), name=f"webhook {told.id}")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self, patience: timedelta = LAST_WAIT) -> None:
        """Let calls under way end; those that do not are given up."""
        if not self._under_way:
            return
        _, late = await asyncio.wait(self._under_way, timeout=patience.total_seconds())
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _tell(self, told: Told) -> None:
        body = body_of(told)
        for attempt, wait in enumerate((*self.waits, None), 1):
            why = await self._call(told.id, body)
            if why is None:
                return
            last = wait is None or not why.again
            _log.warning("backfill_webhook_failed", message=told.id, attempt=attempt, why=why.what, last=last)
            if last or wait is None:
                return
            await asyncio.sleep(wait.total_seconds())

    async def _call(self, message: str, body: bytes) -> _Failed | None:
        """One attempt; None: it was taken."""
        headers = {"content-type": "application/json", **signed(message, self.clock.now(), body, self.secret)}
        try:
            answer = await self.client.request("POST", self.url, body=body, headers=headers, patience=ANSWER_WAIT)
        except HarkError as error:
            return _Failed(type(error).__name__, again=True)
        except Exception as error:  # whatever it is, no run fails for it
            return _Failed(type(error).__name__, again=False)
        if 200 <= answer.status < 300:
            return None
        return _Failed(f"status {answer.status}", again=answer.status in _AGAIN or answer.status >= 500)


@dataclass(frozen=True, slots=True)
class _Failed:
    what: str
    again: bool


def body_of(told: Told) -> bytes:
    """What is sent."""
    data = {
        "backfill": told.backfill,
        "kind": told.kind,
        "undoes": told.undoes,
        "state": told.state,
        "why": told.why,
        "members": told.members,
        "to_change": told.to_change,
        "applied": told.applied,
        "drifted": told.drifted,
        "quarantined": told.quarantined,
    }
    content = {"type": f"backfill.{told.what}", "timestamp": told.at.isoformat(), "data": data}
    return json.dumps(content, separators=(",", ":")).encode()


def signed(message: str, now: datetime, body: bytes, secret: bytes | None) -> Mapping[str, str]:
    """The headers of a call; without a secret there is no signature."""
    moment = str(int(now.timestamp()))
    headers = {"webhook-id": message, "webhook-timestamp": moment}
    if secret is None:
        return headers
    whole = b".".join((message.encode(), moment.encode(), body))
    signature = b64encode(hmac.digest(secret, whole, "sha256")).decode()
    return {**headers, "webhook-signature": f"v1,{signature}"}


def key_of(written: str) -> bytes:
    """The bytes of a secret as settings have it: `whsec_` and Base64."""
    return b64decode(written.removeprefix("whsec_"))
