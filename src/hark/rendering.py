"""Stage 5 of 7: rendering. In which words? In: Batch. Out: Message."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery in words, not yet in any channel's wire form.

    `at` is when it was rendered (the Date header); `message_id` is stable for the delivery, without angle brackets,
    so that a provider or a mailbox can see a second copy for what it is.
    """

    delivery_id: int
    recipient_id: str
    address: str
    subject: str
    text: str
    html: str | None
    at: datetime
    message_id: str
