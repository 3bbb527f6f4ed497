"""Contestants take turns, and what they reached becomes a row."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from bench.result import Result

Turn = Callable[[], Awaitable[float]]
"""One round of one contestant; the figure that it reached."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """The figures of one contestant's rounds."""

    figures: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.figures)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest."""
        return min(self.figures), max(self.figures)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: see `bench.result.Result`, whose fields these are."""

    name: str
    question: str
    unit: str
    higher_is_better: bool
    peer_name: str
    limit_name: str
    notes: str


@dataclass(frozen=True, slots=True)
class Target:
    """What was asked for: a share of the limit, or a figure that Hark itself keeps to."""

    share_of_limit: float | None = None
    figure: float | None = None

    def words(self, question: Question) -> str:
        if self.share_of_limit is not None:
            return f"≥ {self.share_of_limit:g} of the limit"
        return f"{'≥' if question.higher_is_better else '≤'} {self.figure:,g} {question.unit}"

    def met(self, result: Result) -> bool:
        if self.share_of_limit is not None:
            return (result.to_limit or 0.0) >= self.share_of_limit
        assert self.figure is not None
        return result.hark >= self.figure if result.higher_is_better else result.hark <= self.figure


ROUNDS = 3


async def take_turns(contestants: Mapping[str, Turn], rounds: int | None = None) -> dict[str, Rounds]:
    """A B C, A B C …: what disturbs the machine for a while disturbs all of them."""
    figures: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds or ROUNDS):
        for name, turn in contestants.items():
            figures[name].append(await turn())
    return {name: Rounds(tuple(reached)) for name, reached in figures.items()}


def answer(
    question: Question, reached: Mapping[str, Rounds], sizes: Mapping[str, int], target: Target | None = None
) -> Result:
    """The row of a question: medians of the contestants `hark`, `peer` and `limit`, of which the last two may lack.

    Args:
        target: None: nothing was asked for, or at other sizes than these.
    """
    found = Result(
        name=question.name,
        question=question.question,
        unit=question.unit,
        higher_is_better=question.higher_is_better,
        hark=reached["hark"].median,
        peer=reached["peer"].median if "peer" in reached else None,
        peer_name=question.peer_name,
        limit=reached["limit"].median if "limit" in reached else None,
        limit_name=question.limit_name,
        sizes=sizes,
        notes=question.notes,
        spread={name: rounds.spread for name, rounds in reached.items()},
    )
    if target is None:
        return found
    return replace(found, target=target.words(question), met=target.met(found))


class Stopwatch:
    """How long a block took, in seconds."""

    seconds = 0.0


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """`with stopwatch() as watch: …`, then `watch.seconds`."""
    watch = Stopwatch()
    begun = time.perf_counter()
    try:
        yield watch
    finally:
        watch.seconds = time.perf_counter() - begun
