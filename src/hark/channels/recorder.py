"""A channel that sends nothing and remembers: for tests and dry runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from hark.delivery.handover import Outcome, Prepared, Verdict
from hark.rendering import Message

_ACCEPTED = Outcome(Verdict.ACCEPTED, "recorder: accepted")


def accept(prepared: Prepared) -> Outcome:
    """What a provider says that takes everything."""
    return _ACCEPTED


class Recorder:
    """Stands where a provider would.

    Args:
        answer: the outcome of each message that is handed over.
        build: the channel's own form, as of `hark.channels.mime.MimeBuilder.build`, when that is wanted; it may
            raise Undeliverable. None: the payload is empty.
        keep: whether messages are kept, or only counted, so that memory stays flat however many there are.
    """

    def __init__(
        self,
        answer: Callable[[Prepared], Outcome] = accept,
        *,
        build: Callable[[Message], bytes] | None = None,
        keep: bool = True,
    ) -> None:
        self.prepared: list[Message] = []
        """What was turned into the channel's form, if it is kept."""
        self.sent: list[Prepared] = []
        """What was handed over, whatever came of it, if it is kept."""
        self.batches = 0
        """How many batches were handed over."""
        self.verdicts: Counter[Verdict] = Counter()
        """How many messages ended how."""
        self._answer = answer
        self._build = build
        self._keep = keep

    @property
    def accepted(self) -> int:
        return self.verdicts[Verdict.ACCEPTED]

    def prepare(self, message: Message) -> Prepared:
        """The message, in the form that `build` gives it.

        Raises:
            Undeliverable: `build` says so.
        """
        payload = self._build(message) if self._build else b""
        if self._keep:
            self.prepared.append(message)
        return Prepared(message.delivery_id, message.address, payload)

    async def send(self, batch: Sequence[Prepared]) -> list[Outcome]:
        """Answer each message of a batch."""
        outcomes = [self._answer(prepared) for prepared in batch]
        self.batches += 1
        self.verdicts.update(outcome.verdict for outcome in outcomes)
        if self._keep:
            self.sent.extend(batch)
        return outcomes

    async def close(self) -> None:
        """Nothing is open."""
