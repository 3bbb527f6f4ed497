"""Hark's way: both paths record facts, the highest version of a key holds, and the graph is their projection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.history.model.buying import ORDER, RECEIPT, Script, stores, truth, version_at

BEGIN, FLAGGED, READING, RECORDING, READING_ORDERS, RECORDING_ORDERS, DONE = range(7)
KINDS = {READING: RECEIPT, RECORDING: RECEIPT, READING_ORDERS: ORDER, RECORDING_ORDERS: ORDER}
IDLE, READ, WRITTEN = range(3)


class Graph(NamedTuple):
    """The user's version in it (-1: there is no such node), and the versions of the edges."""

    version: int = -1
    edges: tuple[int, int] = (0, 0)


class Projector(NamedTuple):
    """`held`: the graph's version when it read, `version` the facts'; `facts` those that it is about to write."""

    stage: int = IDLE
    held: int = 0
    version: int = 0
    facts: tuple[tuple[int, int], ...] = ()


class State(NamedTuple):
    """`facts`: of each key the version that holds, 0 for none; `moved`: the user's version at which it last changed."""

    source: int = 1
    at: int = 1
    flag: bool = False
    effective: bool = False
    stage: int = BEGIN
    seen: int = 0
    facts: tuple[int, int] = (0, 0)
    moved: tuple[int, int] = (0, 0)
    version: int = 0
    mark: int = -1
    graph: Graph = Graph()
    projectors: tuple[Projector, ...] = (Projector(), Projector())
    compared: tuple[int, int] | None = None
    crashes: int = 0
    redeliveries: int = 0
    restores: int = 0


@dataclass(frozen=True, slots=True)
class Ours:
    """All that it needs, each of which can be left out.

    Attributes:
        after_effective: the load reads when the flag is effective everywhere.
        from_primary: it reads from the source's primary; else from a replica that is one version behind.
        versioned: the user has a version; else only a mark that something changed, and with it go the three below,
            which compare versions.
        compare_and_set: a projector writes only if the graph is still at the version that it read.
        guarded_mark: it marks what it wrote; else whatever there is by then.
        sweep: the graph's versions are compared with what is marked, all the time.
    """

    script: Script
    after_effective: bool = True
    from_primary: bool = True
    versioned: bool = True
    compare_and_set: bool = True
    guarded_mark: bool = True
    sweep: bool = True

    def progress(self, now: State) -> Iterator[tuple[str, State]]:
        """The load, the flag's way to the consumers, the stream, the projectors and the sweep."""
        yield from self._load(now)
        if now.flag and not now.effective:
            yield "flag: reaches the consumers", now._replace(effective=True)
        if now.at < now.source:
            yield self._consume(now)
        for place, projector in enumerate(now.projectors):
            yield from self._project(now, place, projector)
        if self.sweep and self.versioned:
            yield from self._sweep(now)

    def faults(self, now: State) -> Iterator[tuple[str, State]]:
        """People go on buying; whoever can crash does; what was not committed comes again; the graph is restored."""
        if now.source < len(self.script):
            yield f"source: {self.script[now.source].what}", now._replace(source=now.source + 1)
        if now.redeliveries and now.at > 1:
            yield (
                "stream: delivers the last event again",
                now._replace(redeliveries=now.redeliveries - 1, at=now.at - 1),
            )
        if now.restores and now.graph != Graph():
            yield "graph: is restored, and is empty", now._replace(restores=now.restores - 1, graph=Graph())
        if now.crashes:
            yield from self._crash(now._replace(crashes=now.crashes - 1))

    def right(self, now: State) -> bool:
        """Whether the graph is that of the source."""
        return stores(self.script, now.graph.edges) == truth(self.script, now.source)

    @staticmethod
    def alike(now: State) -> State:
        """Projectors have no names."""
        return now._replace(projectors=tuple(sorted(now.projectors)))

    # The two paths ----------------------------------------------------------------------------------------------------

    def _load(self, now: State) -> Iterator[tuple[str, State]]:
        if now.stage == BEGIN:
            yield "load: sets the flag", now._replace(stage=FLAGGED, flag=True)
        elif now.stage == FLAGGED and (now.effective or not self.after_effective):
            yield "load: begins", now._replace(stage=READING)
        elif now.stage in (READING, READING_ORDERS):
            version = now.source if self.from_primary else max(now.source - 1, 1)
            what = "receipts" if KINDS[now.stage] == RECEIPT else "orders"
            yield f"load: reads the {what} at version {version}", now._replace(stage=now.stage + 1, seen=version)
        elif now.stage in (RECORDING, RECORDING_ORDERS):
            version = version_at(self.script, KINDS[now.stage], now.seen)
            after = self._record(now, KINDS[now.stage], version)
            yield "load: records them", after._replace(stage=now.stage + 1, seen=0)

    def _consume(self, now: State) -> tuple[str, State]:
        row, version = self.script[now.at], now.at + 1
        after = now._replace(at=version)
        if not now.effective:
            return f"stream: drops {row.what}, for the flag is not here yet", after
        return f"stream: records {row.what}", self._record(after, row.key, version)

    def _record(self, now: State, key: int, version: int) -> State:
        """The highest version holds; who is really changed moves on."""
        if version <= now.facts[key]:
            return now
        facts, moved = list(now.facts), list(now.moved)
        facts[key], moved[key] = version, now.version + 1
        return now._replace(facts=(facts[0], facts[1]), moved=(moved[0], moved[1]), version=now.version + 1)

    # The projection ---------------------------------------------------------------------------------------------------

    def _project(self, now: State, place: int, projector: Projector) -> Iterator[tuple[str, State]]:
        name = f"projector {place + 1}"
        if projector.stage == IDLE and now.mark < now.version:
            held = now.graph.version if self.versioned else -1
            facts = tuple((key, now.facts[key]) for key in (RECEIPT, ORDER) if now.moved[key] > held)
            reading = Projector(READ, held, now.version, facts)
            yield f"{name}: reads version {now.version}, the graph being at {held}", _with(now, place, reading)
        elif projector.stage == READ:
            yield self._write(now, place, projector, name)
        elif projector.stage == WRITTEN:
            guarded = self.guarded_mark and self.versioned
            mark = max(now.mark, projector.version) if guarded else now.version
            yield f"{name}: marks version {mark}", _with(now, place, Projector())._replace(mark=mark)

    def _write(self, now: State, place: int, projector: Projector, name: str) -> tuple[str, State]:
        if self.versioned and self.compare_and_set and now.graph.version != projector.held:
            return f"{name}: finds the graph at another version, and begins anew", _with(now, place, Projector())
        edges = list(now.graph.edges)
        for key, version in projector.facts:
            edges[key] = version
        graph = Graph(projector.version, (edges[0], edges[1]))
        written = Projector(WRITTEN, 0, projector.version)
        return f"{name}: writes version {projector.version}", _with(now, place, written)._replace(graph=graph)

    def _sweep(self, now: State) -> Iterator[tuple[str, State]]:
        if now.compared is None and now.graph.version < now.mark:
            compared = now.mark, now.graph.version
            yield f"sweep: sees mark {now.mark}, the graph at {now.graph.version}", now._replace(compared=compared)
        elif now.compared is not None:
            marked, held = now.compared
            mark = held if now.mark == marked else now.mark
            yield "sweep: lowers the mark, if it is still that", now._replace(compared=None, mark=mark)

    def _crash(self, now: State) -> Iterator[tuple[str, State]]:
        if now.stage in KINDS:
            yield "load: crashes, and runs again", now._replace(stage=FLAGGED, seen=0)
        for place, projector in enumerate(now.projectors):
            if projector.stage != IDLE:
                yield f"projector {place + 1}: crashes", _with(now, place, Projector())


def _with(now: State, place: int, projector: Projector) -> State:
    others = list(now.projectors)
    others[place] = projector
    return now._replace(projectors=tuple(others))
