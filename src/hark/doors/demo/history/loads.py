"""Loads and undos from what is asked for to their end, by one hand: what the verbs of `hark backfill` do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from hark.backfill import control, ordering
from hark.backfill.listing import Happened, Shown, show
from hark.backfill.loads import LoadWords, order_load
from hark.backfill.outside import Outside
from hark.backfill.request import Pace
from hark.backfill.run import Runner
from hark.backfill.states import State
from hark.backfill.undo import undo
from hark.clock import Clock
from hark.config import Settings
from hark.doors.demo.history.show import Show
from hark.history.loading.course import Stage
from hark.lists import FileReach
from hark.postgres.database import Database

WHO = "demo"
_MOST_EVENTS = 200
_LOOK_S = 0.2
_NOW = "now "


@dataclass(frozen=True, slots=True)
class Loads:
    """Backfills of the kind `history`, of one database.

    Attributes:
        outside: what this process can do of loads.
        show: is told of each stage that a run comes to, and how far it is.
        stages: those that all runs came to, in order.
    """

    database: Database
    clock: Clock
    settings: Settings
    outside: Mapping[str, Outside]
    show: Show
    stages: list[Stage] = field(default_factory=list)

    async def plan(self, words: LoadWords) -> Shown:
        """A load, planned; nobody is asked for yet."""
        ordered = await order_load(
            self.database,
            None,
            words,
            who=WHO,
            now=self.clock.now(),
            allowed=self.settings.source_rate,
            reach=FileReach(),
        )
        return await self._planned(ordered.backfill)

    async def plan_undo(self, backfill: int) -> Shown:
        """What takes a load back, planned."""
        pace = Pace(adaptive=False)
        return await self._planned(await undo(self.database, backfill, who=WHO, now=self.clock.now(), pace=pace))

    async def apply(self, backfill: int) -> Shown:
        """Apply exactly what was planned, to its end; how it ended."""
        await ordering.apply_plan(self.database, backfill, who=WHO, now=self.clock.now(), reach=FileReach())
        over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(backfill, over))
            await self._step_until_over(backfill)
            over.set()
        return await show(self.database, backfill)

    async def _planned(self, backfill: int) -> Shown:
        runner = Runner(self.database, self.clock, WHO)
        while (await control.stand(self.database, backfill)).state is State.PLANNING:
            await runner.step(backfill)
        return await show(self.database, backfill)

    async def _step_until_over(self, backfill: int) -> None:
        runner = Runner(self.database, self.clock, WHO, lease=self.settings.lease, outside=self.outside)
        try:
            while not (stepped := await runner.step(backfill)).over:
                if not stepped.did:
                    await asyncio.sleep(_LOOK_S / 4)
        finally:
            await runner.close()

    async def _watch(self, backfill: int, over: asyncio.Event) -> None:
        """Tell of each stage once, from the run's own log, in which none is missing."""
        told, ends = 0, False
        while not ends:
            ends = over.is_set()
            found = await show(self.database, backfill, events=_MOST_EVENTS)
            moves = [each for each in reversed(found.events) if each.what.startswith(_NOW)]
            for each in moves[told:]:
                self._passed(each)
            told = len(moves)
            self.show.seen(found)
            if not ends:
                await _until(over)

    def _passed(self, said: Happened) -> None:
        stage = Stage(said.what.removeprefix(_NOW))
        self.stages.append(stage)
        self.show.passed(stage, said.detail)


async def _until(over: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(_LOOK_S):
            await over.wait()
    except TimeoutError:
        return
