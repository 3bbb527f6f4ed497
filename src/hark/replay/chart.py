"""A replay's figures as one HTML file: nothing to load, no script, at home on a phone and in the dark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib import resources
from math import log10
from pathlib import Path
from typing import TypeVar

from jinja2 import Environment, StrictUndefined

from hark.errors import BadInput
from hark.replay.figures import Figures, Spread, spell

T = TypeVar("T")

_SECOND, _MINUTE, _HOUR, _DAY = 1, 60, 3600, 86400
_WAIT_TICKS = (_SECOND, 10 * _SECOND, _MINUTE, 10 * _MINUTE, _HOUR, 6 * _HOUR, _DAY, 7 * _DAY, 30 * _DAY, 366 * _DAY)
_HEADS = (
    "Policy",
    "Events",
    "Messages",
    "A user a day: p50",
    "p99",
    "max",
    "Wait: p50",
    "p99",
    "max",
    "Biggest batch",
)


@dataclass(frozen=True, slots=True)
class _Tick:
    """A line across a panel, `at` a percentage from the left."""

    at: float
    said: str


@dataclass(frozen=True, slots=True)
class _Row:
    """One policy in a panel; `marks` are percentages from the left: a bar's end, or p50, p99 and max."""

    name: str
    said: str
    marks: Sequence[float]


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    note: str
    rows: Sequence[_Row]
    ticks: Sequence[_Tick] = ()
    spread: bool = False


def write_chart(path: Path, figures: Sequence[Figures], *, source: str = "") -> None:
    """Draw a replay's figures.

    Args:
        path: the HTML file to write; one that is there already is replaced.
        figures: what `replay` returned, at least one.
        source: what was replayed, for the title; a file's name.

    Raises:
        BadInput: the file cannot be written.
    """
    try:
        path.write_text(chart(figures, source=source), encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"{path} cannot be written: {error.strerror}; name a file in a directory that is there"
        ) from error


def chart(figures: Sequence[Figures], *, source: str = "") -> str:
    """The HTML that `write_chart` writes."""
    template = (resources.files("hark.replay") / "chart.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        title=f"What if: {source}" if source else "What if",
        subtitle=f"{figures[0].events:,} events for {figures[0].recipients:,} recipients, replayed under each policy.",
        panels=[_messages(figures), _waits(figures), _per_user_day(figures)],
        heads=_HEADS,
        table=[_cells(each) for each in figures],
    )


def _messages(figures: Sequence[Figures]) -> _Panel:
    rows = [
        _Row(each.policy.name, f"{each.messages:,}, {_share(each):.0f}% of the events", [_share(each)])
        for each in figures
    ]
    return _Panel("How many messages", "One message an event would fill the bar.", rows)


def _share(figures: Figures) -> float:
    return round(100 * figures.messages / figures.events, 2)


def _waits(figures: Sequence[Figures]) -> _Panel:
    longest = max(each.wait.max for each in figures).total_seconds()
    scale = _wait_scale(longest)
    rows = [
        _Row(each.policy.name, _said(each.wait, spell), [scale(wait.total_seconds()) for wait in _three(each.wait)])
        for each in figures
    ]
    ticks = [_Tick(scale(tick), spell(timedelta(seconds=tick))) for tick in _wait_ticks(longest)]
    note = "From an event until its message is due. Each line to the right is several times longer."
    return _Panel("How long a notification waits", note, rows, ticks, spread=True)


def _wait_scale(longest: float) -> Callable[[float], float]:
    """Seconds to percent, by logarithms; a second and less are at the left end."""
    decades = log10(max(longest, 10.0))
    return lambda seconds: round(100 * log10(max(seconds, 1.0)) / decades, 2)


def _wait_ticks(longest: float) -> list[int]:
    """About four of the usual ticks up to the longest wait, so that they find room on a phone."""
    there = [tick for tick in _WAIT_TICKS if tick <= longest]
    return there[:: max(1, round(len(there) / 4))]


def _per_user_day(figures: Sequence[Figures]) -> _Panel:
    most = max(each.per_user_day.max for each in figures)
    rows = [
        _Row(
            each.policy.name,
            _said(each.per_user_day, "{:,}".format),
            [round(100 * count / most, 2) for count in _three(each.per_user_day)],
        )
        for each in figures
    ]
    ticks = [_Tick(round(100 * count / most, 2), f"{count:,}") for count in _round_counts(most)]
    note = "Over the days on which a user got at least one."
    return _Panel("Messages a user a day", note, rows, ticks, spread=True)


def _round_counts(most: int) -> list[int]:
    """Nought and a few round numbers up to `most`."""
    steps = (factor * 10**exponent for exponent in range(12) for factor in (1, 2, 5))
    step = next(step for step in steps if most / step <= 4)
    return list(range(0, most + 1, step))


def _three(spread: Spread[T]) -> tuple[T, T, T]:
    return spread.p50, spread.p99, spread.max


def _said(spread: Spread[T], say: Callable[[T], str]) -> str:
    p50, p99, most = (say(value) for value in _three(spread))
    return f"{p50} · {p99} · {most}"


def _cells(figures: Figures) -> list[str]:
    counts = [f"{count:,}" for count in (figures.events, figures.messages, *_three(figures.per_user_day))]
    waits = [spell(wait) for wait in _three(figures.wait)]
    return [figures.policy.name, *counts, *waits, f"{figures.biggest_batch:,}"]
