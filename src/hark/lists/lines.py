"""From text to whole lines, in batches that know where they stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

LONGEST_LINE = 1_048_576
"""Characters of a line; what is longer is bad, and is not held in memory."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Whole lines, as the one text that they were; the last one ends with it."""

    text: str

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n")

    @property
    def count(self) -> int:
        """How many lines."""
        return self.text.count("\n") + 1


def batches(texts: Iterator[str]) -> Iterator[Batch]:
    """The text in whole lines, whichever way they end. Of a line without end, no more is kept than shows that."""
    rest = ""
    held = ""
    for piece in texts:
        text = held + piece
        held = "\r" if text.endswith("\r") else ""
        ends_alike = text.removesuffix(held).replace("\r\n", "\n").replace("\r", "\n")
        whole, newline, rest = (rest + ends_alike).rpartition("\n")
        if newline:
            yield Batch(whole)
        rest = rest[: LONGEST_LINE + 1]
    if rest or held:
        yield Batch(rest)


@dataclass(slots=True)
class Remaining:
    """Batches with the number of the line that each begins on; what was not used of one may be put back."""

    _behind: Iterator[Batch]
    _next_line: int = 1
    _back: tuple[int, Batch] | None = None

    def take(self) -> tuple[int, Batch] | None:
        """The next batch, and its first line's number; None: there is no more."""
        if self._back is not None:
            taken, self._back = self._back, None
            return taken
        batch = next(self._behind, None)
        if batch is None:
            return None
        line, self._next_line = self._next_line, self._next_line + batch.count
        return line, batch

    def put_back(self, line: int, lines: list[str]) -> None:
        """Let the next `take` give these lines."""
        if lines:
            self._back = line, Batch("\n".join(lines))

    def first_line(self) -> tuple[int, str] | None:
        """The first line that is not blank of the batch that was put back, with its number."""
        if self._back is None:
            return None
        begun, batch = self._back
        return next((number, line) for number, line in enumerate(batch.lines, begun) if line)
