"""Search every state that a system can come into, breadth first, so that what is found is found by the shortest way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

State = TypeVar("State", bound=Hashable)
Steps = Callable[[State], Iterable[tuple[str, State]]]


@dataclass(frozen=True, slots=True)
class Found(Generic[State]):
    """How many states there are, how many are settled, and the shortest way to one that is settled and wrong."""

    states: int
    settled: int
    trace: tuple[str, ...] | None
    wrong: State | None


def search(
    start: State,
    *,
    progress: Steps[State],
    faults: Steps[State],
    right: Callable[[State], bool],
    alike: Callable[[State], Hashable] = lambda state: state,
) -> Found[State]:
    """Every state within reach.

    Args:
        progress: the steps that a system takes sooner or later; where there are none left, it has settled.
        faults: the steps that may come or not.
        right: whether a settled state is what it should be.
        alike: the same for states of which one is enough.
    """
    came: dict[Hashable, tuple[State, str] | None] = {alike(start): None}
    ahead = deque([start])
    settled = 0
    while ahead:
        state = ahead.popleft()
        going = list(progress(state))
        if not going:
            settled += 1
            if not right(state):
                return Found(len(came), settled, _trace(came, state, alike), state)
        for label, after in (*going, *faults(state)):
            if (key := alike(after)) not in came:
                came[key] = state, label
                ahead.append(after)
    return Found(len(came), settled, None, None)


def _trace(
    came: dict[Hashable, tuple[State, str] | None], state: State, alike: Callable[[State], Hashable]
) -> tuple[str, ...]:
    labels = []
    while (step := came[alike(state)]) is not None:
        state, label = step
        labels.append(label)
    return tuple(reversed(labels))
