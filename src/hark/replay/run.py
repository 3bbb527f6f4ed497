"""Run a history through the engine, once per policy, each in a scratch schema of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from zoneinfo import ZoneInfo

from hark.errors import BadInput
from hark.postgres.database import Database
from hark.replay.engine import LOOK_AHEAD, Engine
from hark.replay.figures import Figures, measure
from hark.replay.history import History, PastEvent
from hark.replay.policy import Policy
from hark.replay.scratch import scratch

_AHEAD = 20_000
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is: `events` of the history's `total` are through under `policy`, which is `number` of `of`."""

    policy: Policy
    number: int
    of: int
    events: int
    total: int


async def replay(
    dsn: str,
    source: History,
    policies: Sequence[Policy],
    *,
    zone: str = "UTC",
    progress: Callable[[Progress], None] = lambda _progress: None,
    look_ahead: int = LOOK_AHEAD,
) -> list[Figures]:
    """What each policy would have made of a history.

    Args:
        dsn: where the scratch schemas go, a libpq URI or conninfo string; what is there already is not touched.
        source: the history, see `open_history`.
        policies: one run each, one after the other, see `parse_policies`.
        zone: the recipients' time zone, an IANA name: in it daily and weekly messages are due and days begin.
        progress: told now and then how far the replay is; at least at the start and at the end of each run.
        look_ahead: the most events that go through the engine together. It changes the speed, never the figures.

    Returns:
        The figures, in the order of the policies.

    Raises:
        BadInput: an unknown zone; a role that may not create a schema.
        FileFaults: the history changed since it was opened, and is no longer well-formed.
        Unreachable: the server does not answer.
    """
    _check_zone(zone)
    figures: list[Figures] = []
    for number, policy in enumerate(policies, start=1):

        def passed(events: int, policy: Policy = policy, number: int = number) -> None:
            progress(Progress(policy, number, len(policies), events, source.events))

        async with scratch(dsn) as database:
            figures.append(await play(database, source, policy, zone=zone, look_ahead=look_ahead, passed=passed))
    return figures


async def play(
    database: Database,
    source: Iterable[PastEvent],
    policy: Policy,
    *,
    zone: str = "UTC",
    look_ahead: int = LOOK_AHEAD,
    passed: Callable[[int], None] = lambda _events: None,
) -> Figures:
    """One policy's run in tables that are empty, see `replay`; `passed` is told how many events are through."""
    engine = await Engine.start(database, policy, zone, look_ahead)
    try:
        await _through(engine, source, passed)
    finally:
        await engine.close()
    return await measure(database, policy, zone, handed_over=engine.recorder.messages)


async def _through(engine: Engine, source: Iterable[PastEvent], passed: Callable[[int], None]) -> None:
    done = 0
    passed(done)
    for ahead in _chunks(source, _AHEAD):
        await engine.introduce(ahead)
        for events in _chunks(ahead, _CHUNK):
            await engine.take(events)
            done += len(events)
            passed(done)
    await engine.finish()


def _chunks(events: Iterable[PastEvent], size: int) -> Iterator[list[PastEvent]]:
    rest = iter(events)
    while chunk := list(islice(rest, size)):
        yield chunk


def _check_zone(zone: str) -> None:
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise BadInput(f"no time zone {zone!r}; write an IANA name like Europe/Berlin") from error
