"""What stands at the end of a replay instead of words and a provider: it accepts everything, and counts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from hark.delivery.handover import Outcome, Prepared, Verdict
from hark.rendering import Batch, Message, Renderer


class Recorder:
    """A channel that counts messages. `messages` is how many were handed over."""

    def __init__(self) -> None:
        self.messages = 0

    def prepare(self, message: Message) -> Prepared:
        """The message without its words."""
        return Prepared(message.delivery_id, message.address, b"")

    async def send(self, batch: Sequence[Prepared]) -> list[Outcome]:
        """Count them, and say yes to each."""
        self.messages += len(batch)
        return [Outcome(Verdict.ACCEPTED, "counted by a replay") for _ in batch]

    async def close(self) -> None:
        """Nothing is open."""


class Wordless(Renderer):
    """A renderer that says nothing: a replay is about how many messages there are, and when."""

    def render(self, batch: Batch, at: datetime) -> Message:
        """A message with its recipient and no words."""
        return Message(batch.delivery_id, batch.recipient_id, batch.address, "", "", None, at, "")
