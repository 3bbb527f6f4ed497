"""The workers of a chaos test: real processes, all of them ended with the test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Any, Self

from hark.postgres.embedded.processes import find_process
from tests.chaos.nursery import Nursery
from tests.chaos.worker_child import Order
from tests.servers import Child


@dataclass(frozen=True, slots=True)
class Hand:
    """One worker; `name` is what it signs its claims with."""

    name: str
    child: Child

    def work(self) -> None:
        """Begin, or go on after a rest."""
        self.child.tell("work")

    def rest(self) -> None:
        """Put down what is under way, and wait until that is done."""
        self.child.tell("rest")
        self.child.wait_for("resting")

    def stands_at(self, step: str) -> int:
        """Wait until it stands still at a step that it was to halt at; of how many deliveries."""
        said, _, how_many = self.child.wait_for("at").partition(" ")
        assert said == step, f"stands at {said} and was to halt at {step}"
        return int(how_many)

    def halt_at(self, step: str) -> None:
        """Stand still when this step is done next."""
        self.child.tell(f"halt {step}")

    def go_on(self) -> None:
        """Go on from where it stands still."""
        self.child.tell("on")


@dataclass(slots=True)
class Crew:
    """Hires workers for one database and one mail server, and ends them all at the end of the block."""

    nursery: Nursery
    dsn: str
    smtp: str
    hands: list[Hand] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def hire(self, **given: Any) -> Hand:
        """A worker that is ready and does nothing yet; `given` as in `Order`."""
        order = Order(dsn=self.dsn, smtp=self.smtp, name=f"hand/{next(self._numbers)}", **given)
        hand = Hand(order.name, self.nursery.worker(order))
        self.hands.append(hand)
        hand.child.wait_for("ready")
        return hand

    def victims(self, how_many: int, **given: Any) -> Iterator[Hand]:
        """One after the other."""
        for _ in range(how_many):
            yield self.hire(**given)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hand in self.hands:
            hand.child.kill()
        left = [hand.child.pid for hand in self.hands if find_process(hand.child.pid) is not None]
        assert not left, f"still there: {left}"
