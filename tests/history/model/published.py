"""The published way: a full load overwrites, the stream increments, both in the same cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.history.model.buying import Script, truth

STORES = "AB"
BEGIN, FLAGGED, READ, DONE = range(4)


class State(NamedTuple):
    """`cells`: the counts by store; `seen`: the version that the load read; `at`: how far the stream was consumed."""

    source: int = 1
    at: int = 1
    flag: bool = False
    effective: bool = False
    stage: int = BEGIN
    seen: int = 0
    cells: tuple[int, int] = (0, 0)
    crashes: int = 0
    redeliveries: int = 0


@dataclass(frozen=True, slots=True)
class Published:
    """Checks the lag, sets the flag, loads at once. `waits`: it waits until the flag is effective everywhere."""

    script: Script
    waits: bool = False

    def progress(self, now: State) -> Iterator[tuple[str, State]]:
        """The operator's load, the flag's way to the consumers, and the stream."""
        if now.stage == BEGIN and now.at == now.source:
            yield "operator: lag is 0; sets the flag", now._replace(stage=FLAGGED, flag=True)
        if now.flag and not now.effective:
            yield "flag: reaches the consumers", now._replace(effective=True)
        if now.stage == FLAGGED and (now.effective or not self.waits):
            yield f"load: reads the source at version {now.source}", now._replace(stage=READ, seen=now.source)
        if now.stage == READ:
            counts = truth(self.script, now.seen)
            cells = (counts["A"], counts["B"])
            yield f"load: overwrites the counts with A={cells[0]} B={cells[1]}", now._replace(stage=DONE, cells=cells)
        if now.at < now.source:
            yield self._consume(now)

    def faults(self, now: State) -> Iterator[tuple[str, State]]:
        """People go on buying; whoever can crash does; what was not committed comes again."""
        if now.source < len(self.script):
            yield f"source: {self.script[now.source].what}", now._replace(source=now.source + 1)
        if now.crashes and now.stage == READ:
            yield "load: crashes, and runs again", now._replace(crashes=now.crashes - 1, stage=FLAGGED)
        if now.redeliveries and now.at > 1:
            yield (
                "stream: delivers the last event again",
                now._replace(redeliveries=now.redeliveries - 1, at=now.at - 1),
            )

    def right(self, now: State) -> bool:
        """Whether the counts are those of the source."""
        return self.complete(now) and self.sparing(now)

    def complete(self, now: State) -> bool:
        """Whether nothing that was bought is missing from the counts."""
        return all(count >= truth(self.script, now.source)[store] for store, count in self._counts(now))

    def sparing(self, now: State) -> bool:
        """Whether nothing is counted that was not bought, or twice."""
        return all(count <= truth(self.script, now.source)[store] for store, count in self._counts(now))

    def _counts(self, now: State) -> list[tuple[str, int]]:
        return list(zip(STORES, now.cells, strict=True))

    def _consume(self, now: State) -> tuple[str, State]:
        row = self.script[now.at]
        if not now.effective:
            return f"stream: drops {row.what}, for the flag is not here yet", now._replace(at=now.at + 1)
        cells = tuple(count + (store == row.store) for store, count in zip(STORES, now.cells, strict=True))
        return f"stream: counts {row.what}", now._replace(at=now.at + 1, cells=(cells[0], cells[1]))
