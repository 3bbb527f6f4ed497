"""`hark` alone: the pipeline with a count at each stage, and what to look at next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hark.doors.cli.frame import Call
from hark.doors.cli.output import Output

if TYPE_CHECKING:
    from hark.doors.reports import Pipeline

PICTURE = "publish ─▶ event ─▶ audience ─▶ preferences ─▶ batching ─▶ rendering ─▶ delivery ─▶ channel"


@dataclass(frozen=True, slots=True)
class _Overview:
    pipeline: Pipeline
    next: list[str]


@dataclass(frozen=True, slots=True)
class _Version:
    version: str


async def show(call: Call) -> None:
    """Count, and advise."""
    async with call.session(size=1) as session:
        from hark.doors import reports

        seen = await reports.pipeline(session.database, await session.database.now())
        advice = reports.advice(seen)
    call.output.show(_Overview(seen, advice), _lines(seen, advice))


def say_version(output: Output) -> None:
    """Which Hark this is."""
    from importlib.metadata import version

    number = version("hark")
    output.show(_Version(number), [f"hark {number}"])


def _lines(seen: Pipeline, advice: list[str]) -> Iterator[str]:
    yield PICTURE
    yield ""
    for place, (stage, counts) in enumerate(_stages(seen), start=1):
        yield f" {place} {stage:<12} {counts}"
    yield ""
    for number, line in enumerate(advice):
        yield f"{'next:' if number == 0 else '     '} {line}"


def _stages(seen: Pipeline) -> Iterator[tuple[str, str]]:
    yield "events", f"{seen.events} published, {seen.events_waiting} not fanned out yet"
    yield "audience", f"{seen.recipients} recipients, {seen.subscriptions} subscriptions"
    yield "preferences", f"{seen.reasons:,} reasons, {seen.preferences} recipients with choices of their own"
    yield "batching", f"{seen.notifications} notifications, {seen.gathering} batches gather"
    yield "rendering", f"{seen.not_rendered} messages could not be rendered"
    yield "delivery", f"{seen.due} due, {seen.sending} being sent, {seen.again} to be attempted again"
    yield "channels", f"{seen.deliveries} messages in all, {seen.unknown} without an answer for good"
