"""What delivery hands to a channel, and what comes back: the seam between stage 6 and stage 7.

It stands here, not in `hark.channels`, because a stage never imports what flows out of it: delivery says what it
needs of a channel, and channels are written to that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from hark.rendering import Message


class Verdict(StrEnum):
    """What is certain once the hand-over of one message is over."""

    ACCEPTED = "accepted"
    """The provider took it."""
    DEFERRED = "deferred"
    """The provider certainly did not take it and may later: connection refused, 4xx, time-out before the final dot."""
    REFUSED = "refused"
    """The provider certainly will not take it: 5xx."""
    UNKNOWN = "unknown"
    """The answer never came: nobody knows, so it is never sent again by itself."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one hand-over ended.

    `response` is what the provider said, with its name in front, as people are to read it
    (`smtp.acme.example: 250 2.0.0 Ok: queued as 4Fz`). `bad_address` says that the address itself was refused.
    """

    verdict: Verdict
    response: str
    bad_address: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """One message in the channel's own form, complete: sending it can no longer fail for reasons of ours."""

    delivery_id: int
    address: str
    payload: bytes


class Outbound(Protocol):
    """A channel that hands messages to a provider."""

    def prepare(self, message: Message) -> Prepared:
        """Turn a message into the channel's own form; pure, quick, no I/O.

        Raises:
            Undeliverable: the message can never be sent as it is; the text says why.
        """
        ...

    async def send(self, batch: Sequence[Prepared]) -> list[Outcome]:
        """Hand over a batch; one outcome a message, in the same order.

        Never raises for what a provider or network does: that is an outcome. Called with no transaction open.
        """
        ...

    async def close(self) -> None:
        """Let go of connections; the channel is not used again."""
        ...
