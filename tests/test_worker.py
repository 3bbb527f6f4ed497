"""A worker does what is due when it is due, waits out what passes, and stops when told."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hark.batching import ChunkSize
from hark.clock import DatabaseClock
from hark.delivery.handover import Prepared
from hark.worker import Loop, Pace, Progress, Watch, Worker
from tests.delivery.holding import due
from tests.world import COOLDOWN, MONDAY_NOON, Recorder, World, students

PATIENCE = 30.0
"""Seconds after which a broken test gives up; no test waits for it."""

SECOND = timedelta(seconds=1)
FAST = Pace(timedelta(milliseconds=1), timedelta(milliseconds=5))


# The pace ------------------------------------------------------------------------------------------------------------


@given(st.booleans(), st.none() | st.integers(-100, 10_000), st.integers(0, 100))
def test_a_pause_is_within_its_bounds_and_no_longer_than_what_is_due_allows(
    more: bool, due_in_ms: int | None, idle_rounds: int
) -> None:
    pace = Pace()
    due_in = None if due_in_ms is None else timedelta(milliseconds=due_in_ms)
    pause = pace.pause(Progress(more, None if due_in is None else MONDAY_NOON + due_in), idle_rounds, MONDAY_NOON)
    if more:
        assert pause == 0
        return
    assert pace.floor.total_seconds() <= pause <= pace.period.total_seconds()
    assert due_in is None or pause <= max(due_in, pace.floor).total_seconds()


def test_a_quiet_loop_sleeps_longer_and_longer() -> None:
    pauses = [Pace().pause(Progress(False), rounds, MONDAY_NOON) for rounds in range(1, 12)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.1
    assert pauses[-1] == 1.0


# A loop --------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Chunks:
    """A chunk function that does what it is told, one thing a call, and then stops its loop."""

    says: list[Progress | BaseException]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    calls: int = 0

    async def __call__(self) -> Progress:
        self.calls += 1
        said = self.says.pop(0)
        if not self.says:
            self.stopping.set()
        if isinstance(said, BaseException):
            raise said
        return said


async def run(chunks: Chunks, world: World, pace: Pace = FAST) -> None:
    await asyncio.wait_for(Loop("test", chunks, world.clock, pace).run(chunks.stopping), PATIENCE)


async def test_a_loop_goes_on_until_told_to_stop(world: World) -> None:
    chunks = Chunks([Progress(True), Progress(False), Progress(True), Progress(False)])
    await run(chunks, world)
    assert chunks.calls == 4


@pytest.mark.parametrize(
    "fault",
    [psycopg.OperationalError("the server restarts"), ValueError("a fault of ours"), asyncio.CancelledError()],
)
async def test_a_loop_outlives_a_fault(world: World, fault: BaseException) -> None:
    chunks = Chunks([fault, Progress(False)])
    await run(chunks, world)
    assert chunks.calls == 2


async def test_a_loop_that_is_canceled_itself_ends(world: World) -> None:
    async def chunk() -> Progress:
        return Progress(False)

    running = asyncio.create_task(Loop("test", chunk, world.clock, FAST).run(asyncio.Event()))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, PATIENCE)


async def test_a_sleeping_loop_can_be_woken_and_stopped(world: World) -> None:
    """Its pause is a day: only waking and stopping bring this test to its end."""
    called = asyncio.Queue[None]()

    async def chunk() -> Progress:
        await called.put(None)
        return Progress(False)

    stopping = asyncio.Event()
    loop = Loop("test", chunk, world.clock, Pace(timedelta(days=1), timedelta(days=1)))
    running = asyncio.create_task(loop.run(stopping))
    await asyncio.wait_for(called.get(), PATIENCE)
    loop.wake()
    await asyncio.wait_for(called.get(), PATIENCE)
    stopping.set()
    await asyncio.wait_for(running, PATIENCE)


# A worker ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Awaited(Recorder):
    """A recorder that says when it has so many."""

    wanted: int = 1
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    def _answer(self, prepared: Prepared) -> object:  # type: ignore[override]
        answer = super(Awaited, self)._answer(prepared)
        if len(self.accepted) >= self.wanted:
            self.reached.set()
        return answer


def worker_of(world: World, recorder: Recorder, *, senders: int = 1, **given: object) -> Worker:
    sender = replace(world.sender(), outbound=recorder)
    return Worker(world.database, world.clock, [sender] * senders, pace=FAST, **given)  # type: ignore[arg-type]


async def work_until(recorder: Awaited, *workers: Worker) -> None:
    stopping = asyncio.Event()
    running = [asyncio.create_task(worker.run(stopping)) for worker in workers]
    await asyncio.wait_for(recorder.reached.wait(), PATIENCE)
    stopping.set()
    await asyncio.wait_for(asyncio.gather(*running), PATIENCE)


async def test_a_running_worker_sends_what_is_published(world: World) -> None:
    recorder = Awaited(world.clock, wanted=3)
    await world.know("bob")
    for _ in range(3):
        await world.publish("mention", to=["bob"])
    await work_until(recorder, worker_of(world, recorder))
    assert len(recorder.accepted) == 3
    assert {row.outcome for row in await world.deliveries()} == {"accepted"}


async def test_a_running_worker_sends_a_batch_once_the_clock_is_there(world: World) -> None:
    recorder = Awaited(world.clock)
    await due(world, "bob", reason="comment")
    stopping = asyncio.Event()
    running = asyncio.create_task(worker_of(world, recorder).run(stopping))
    world.clock.advance(COOLDOWN)
    await asyncio.wait_for(recorder.reached.wait(), PATIENCE)
    stopping.set()
    await running
    assert len(recorder.accepted) == 1


async def test_two_workers_with_several_senders_send_each_once(world: World) -> None:
    everyone = [each.id for each in students(120)]
    recorder = Awaited(world.clock, wanted=120)
    await world.know(*everyone)
    await world.follow("post:1", *everyone)
    await world.publish("mention", entities=["post:1"])
    small = ChunkSize(events=5, fresh=10, begun=30)
    workers = [worker_of(world, recorder, senders=2, chunk=small) for _ in range(2)]
    await work_until(recorder, *workers)
    assert Counter(mail.address for mail in recorder.handed_over) == Counter(f"{n}@school.example" for n in everyone)


async def test_a_running_worker_takes_back_what_a_dead_one_held(world: World) -> None:
    recorder = Awaited(world.clock)
    await due(world, "bob")
    await world.sender(worker="dead")._claim()
    world.clock.advance(timedelta(hours=1))
    await work_until(recorder, worker_of(world, recorder, reap_period=timedelta(milliseconds=5)))
    assert (await world.delivery()).attempt == 2


async def test_who_watches_is_told_what_was_done(world: World) -> None:
    fanned: list[int] = []
    attempted: list[int] = []
    recorder = Awaited(world.clock)
    watch = Watch(lambda done: fanned.append(done.notifications), lambda done: attempted.append(done.accepted))
    await world.know("bob")
    await world.publish("mention", to=["bob"])
    await work_until(recorder, worker_of(world, recorder, watch=watch))
    assert (fanned, attempted) == ([1], [1])


async def test_draining_does_all_that_is_due_and_no_more(world: World) -> None:
    await world.know("bob")
    await world.publish("mention", to=["bob"])
    await world.publish("comment", to=["bob"])
    await world.drain()
    assert [mail.subject for mail in world.recorder.accepted] == ["Mention"]
    world.clock.advance(COOLDOWN)
    await world.drain()
    assert [mail.subject for mail in world.recorder.accepted] == ["Mention", "Comment"]


# The clock -----------------------------------------------------------------------------------------------------------


async def test_the_databases_clock_lies_between_two_looks_at_the_database(world: World) -> None:
    clock = await DatabaseClock.start(world.database)
    await clock.follow(world.database)
    before = await world.database.now()
    shown = clock.now()
    after = await world.database.now()
    assert before - SECOND < shown < after + SECOND
    assert shown <= clock.now()


async def test_a_virtual_clock_stands_still_and_never_goes_back(world: World) -> None:
    assert world.clock.now() == world.clock.now() == MONDAY_NOON
    world.clock.advance(SECOND)
    with pytest.raises(ValueError, match="does not go back"):
        world.clock.move_to(MONDAY_NOON)
    assert world.clock.now() == MONDAY_NOON + SECOND
