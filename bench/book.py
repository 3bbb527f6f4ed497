"""The rows that were measured, kept as JSON for programs and as Markdown for people."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.result import Result
from hark.postgres.embedded.programs import find_programs

HEAD = """# What Hark reaches

Written by `make bench`; do not edit. `make bench ONLY=fanout` measures one script anew and keeps the other rows,
`SCALE=0.1` takes smaller sizes. Each figure is the median of at least three rounds, in which the contestants took turns
on one machine and one server; in brackets the lowest and the highest round. What the figures mean, and what is left to
gain: [docs/reference/performance.md](../docs/reference/performance.md).

The *peer* is what one would use instead; the *limit* is what nothing of the kind can do better than. "times" is how
many times as good as the peer Hark is, "of limit" which share of the limit it reaches.
"""
COLUMNS = (
    "| question | unit | Hark | peer | times | limit | of limit | asked for |\n|---|---|---:|---:|---:|---:|---:|---|\n"
)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured."""

    cores: int
    memory_gb: int
    postgres: str
    python: str

    def __str__(self) -> str:
        return f"{self.cores} cores, {self.memory_gb} GB, Postgres {self.postgres}, Python {self.python}"


@dataclass(frozen=True, slots=True)
class Row:
    """One answer, and when, where and at what scale it was found.

    `load` is how many processes wanted to run just before: more than nothing, and somebody else was working here too.
    """

    script: str
    result: Result
    machine: Machine
    scale: float
    load: float
    date: str

    @classmethod
    def of(cls, script: str, result: Result, machine: Machine, scale: float, load: float) -> Row:
        """A row of today."""
        return cls(script, result, machine, scale, round(load, 1), datetime.now(UTC).date().isoformat())

    def sentence(self) -> str:
        """The row on a terminal."""
        found = self.result
        parts = [f"{found.name}: {_figure(found.hark)} {found.unit}"]
        if found.to_peer is not None:
            parts.append(f"{_ratio(found.to_peer)} times the peer's {_figure(found.peer)}")
        if found.to_limit is not None:
            parts.append(f"{_ratio(found.to_limit)} of the limit's {_figure(found.limit)}")
        return ", ".join(parts) + _asked(found, " ")


@dataclass(frozen=True, slots=True)
class Book:
    """All rows, one script's after the other's."""

    rows: tuple[Row, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Book:
        """The rows of a file; none when there is no file."""
        if not path.exists():
            return cls()
        return cls(tuple(_row(each) for each in json.loads(path.read_text(encoding="utf-8"))["rows"]))

    def with_rows(self, script: str, rows: Sequence[Row]) -> Book:
        """The same with these rows in place of those that the script had."""
        return Book((*(row for row in self.rows if row.script != script), *rows))

    def save(self, as_json: Path, as_markdown: Path, order: Sequence[str]) -> None:
        """Write both files, scripts in this order."""
        ordered = replace(self, rows=tuple(sorted(self.rows, key=lambda row: order.index(row.script))))
        as_json.write_text(ordered.json(), encoding="utf-8")
        as_markdown.write_text(ordered.markdown(), encoding="utf-8")

    def json(self) -> str:
        rows = [_as_json(row) for row in self.rows]
        return json.dumps({"rows": rows}, indent=1, ensure_ascii=False) + "\n"

    def markdown(self) -> str:
        table = COLUMNS + "".join(_line(row.result) for row in self.rows)
        return "\n".join([HEAD, table, *(_section(row) for row in self.rows)])


def this_machine() -> Machine:
    """The machine that this runs on, with the Postgres of the wheel."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return Machine(len(os.sched_getaffinity(0)), round(memory), find_programs(None).version, platform.python_version())


def _line(found: Result) -> str:
    cells = [
        found.name,
        found.unit,
        _figure(found.hark),
        _figure(found.peer),
        _ratio(found.to_peer),
        _figure(found.limit),
        _ratio(found.to_limit),
        _asked(found).strip() or "-",
    ]
    return f"| {' | '.join(cells)} |\n"


def _section(row: Row) -> str:
    found = row.result
    sizes = ", ".join(f"{name} {count:,}" for name, count in found.sizes.items())
    lines = [
        f"## {found.name}",
        found.question,
        f"- Hark: {_figure(found.hark)} {found.unit}{_spread(found, 'hark')}",
        f"- peer: {_figure(found.peer)}{_spread(found, 'peer')}: {found.peer_name}" if found.peer is not None else "",
        f"- limit: {_figure(found.limit)}{_spread(found, 'limit')}: {found.limit_name}"
        if found.limit is not None
        else "",
        f"- sizes: {sizes}",
        f"- measured on {row.date}, {row.machine}; load before {row.load:g}, scale {row.scale:g}",
        f"\n{found.notes}\n",
    ]
    return "\n".join(line for line in lines if line)


def _spread(found: Result, contestant: str) -> str:
    if contestant not in found.spread:
        return ""
    low, high = found.spread[contestant]
    return f" ({_figure(low)} to {_figure(high)})"


def _asked(found: Result, lead: str = "") -> str:
    if found.met is None:
        return ""
    return f"{lead}{found.target}: {'reached' if found.met else '**missed**'}"


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _as_json(row: Row) -> dict[str, Any]:
    found = asdict(row.result)
    return {**asdict(row), "result": {**found, "to_peer": row.result.to_peer, "to_limit": row.result.to_limit}}


def _row(stored: Mapping[str, Any]) -> Row:
    found = {name: value for name, value in stored["result"].items() if name not in ("to_peer", "to_limit")}
    spread = {name: (low, high) for name, (low, high) in found["spread"].items()}
    return Row(**{**stored, "result": Result(**{**found, "spread": spread}), "machine": Machine(**stored["machine"])})
