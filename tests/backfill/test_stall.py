"""When a run has stalled: it did nothing for ten minutes that it was not asked to wait."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, time, timedelta

from hark.backfill import control
from hark.backfill.notice import Told
from hark.backfill.request import Notify, Pace
from hark.backfill.run import Runner
from hark.backfill.throttle import Readings
from hark.backfill.windows import Window
from tests.backfill.campus import Campus
from tests.backfill.test_turns import started

STEP = timedelta(minutes=1)


@dataclass(slots=True)
class Held:
    """Probes that see so many late messages of the live pipeline."""

    live: int = 0

    async def read(self, now: datetime) -> Readings:
        """As it is said."""
        return Readings(probe=timedelta(milliseconds=1), live=self.live)


@dataclass(slots=True)
class Bell:
    """A webhook that keeps what it is told."""

    rung: list[tuple[str, str]] = field(default_factory=list)

    def tell(self, told: Told) -> None:
        """Keep it."""
        self.rung.append((told.what, told.why))


@dataclass(slots=True)
class Desk:
    """A run of three batches of which one is done, and whoever is told of it."""

    campus: Campus
    backfill: int
    runner: Runner
    probes: Held
    bell: Bell

    async def told(self) -> list[str]:
        """All that the webhook was told, and all that was published, which is the same."""
        published = await self.campus.column("select payload ->> 'why' from hark.event order by id")
        assert published == [f"{what}: {why}" for what, why in self.bell.rung]
        return published

    async def passes(self, time: timedelta) -> None:
        """Time passes, and it is looked at each minute of it."""
        until = self.campus.clock.now() + time
        while self.campus.clock.now() < until:
            self.campus.clock.advance(STEP)
            await self.runner.step_any()

    async def is_held_and_told_of_after_ten_minutes(self) -> None:
        """From now on something holds it."""
        self.probes.live = 101
        await self.runner.step_any()
        await self.passes(timedelta(minutes=8))
        assert await self.told() == []
        await self.passes(timedelta(minutes=14))
        assert await self.told() == ["stalled: live"]


async def at_work(campus: Campus, pace: Pace = Pace()) -> Desk:  # noqa: B008
    await campus.people({f"u{n:02}": {"reply": ["email"]} for n in range(9)})
    backfill = await campus.ask(pace=pace, notify=Notify("done", ("u00",)))
    probes, bell = Held(), Bell()
    runner = campus.runner(probes=probes, webhook=bell)
    while await campus.state(backfill) != "PLANNED" or not await measured(campus, backfill):
        await runner.step_any()
    await started(campus, backfill)
    assert (await runner.step_any()).did
    return Desk(campus, backfill, runner, probes, bell)


async def measured(campus: Campus, backfill: int) -> bool:
    return bool(await campus.column("select 1 from hark.backfill where id = %s and rehearsal is not null", backfill))


async def test_hours_outside_its_window_do_not_count(campus: Campus) -> None:
    now = campus.clock.now()
    window = Window(time(now.hour - 1), time(now.hour + 1))
    desk = await at_work(campus, Pace(None, True, window))
    desk.probes.live = 101
    await desk.passes(timedelta(minutes=5))
    campus.clock.advance(timedelta(hours=2))
    await desk.runner.step_any()
    campus.clock.move_to(window.next_open(campus.clock.now()))
    await desk.is_held_and_told_of_after_ten_minutes()


async def test_nor_do_they_for_a_worker_that_was_not_there(campus: Campus) -> None:
    now = campus.clock.now()
    desk = await at_work(campus, Pace(None, True, Window(time(now.hour - 1), time(now.hour + 1))))
    campus.clock.advance(timedelta(hours=23))
    desk.runner = campus.runner("hand/2", probes=desk.probes, webhook=desk.bell)
    await desk.is_held_and_told_of_after_ten_minutes()


async def test_while_all_are_stopped_does_not_count(campus: Campus) -> None:
    desk = await at_work(campus)
    await control.stop_all(campus.database, stopped=True, who="olga", now=campus.clock.now())
    await desk.passes(timedelta(minutes=20))
    assert await desk.told() == []
    await control.stop_all(campus.database, stopped=False, who="olga", now=campus.clock.now())
    await desk.is_held_and_told_of_after_ten_minutes()


async def test_a_pause_does_not_count(campus: Campus) -> None:
    desk = await at_work(campus)
    await control.pause(campus.database, desk.backfill, who="olga", now=campus.clock.now())
    await desk.passes(timedelta(minutes=20))
    await control.resume(campus.database, desk.backfill, who="olga", now=campus.clock.now())
    await desk.is_held_and_told_of_after_ten_minutes()


async def test_what_its_rate_makes_it_wait_does_not_count(campus: Campus) -> None:
    desk = await at_work(campus, Pace(3 / (20 * 60), True, None))
    await desk.passes(timedelta(minutes=19))
    desk.probes.live = 101
    await desk.passes(timedelta(minutes=2))
    await desk.is_held_and_told_of_after_ten_minutes()


async def test_outside_of_that_it_has_stalled_after_ten_minutes(campus: Campus) -> None:
    desk = await at_work(campus)
    await desk.is_held_and_told_of_after_ten_minutes()
