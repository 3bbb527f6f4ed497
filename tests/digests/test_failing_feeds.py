"""A feed that fails costs as little as can be: its own digests, and of those only whom it fails on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hark.catalogue import Feed, Frequency, PythonSource, Reason, UrlSource
from hark.errors import SourceFailed
from hark.feeds import MOST_PER_RECIPIENT, Asking, Due, FeedItem
from hark.guarded.client import Guarded
from tests.digests.forum import FRONT_PAGE_SQL, TUESDAY, by_asking, digests, front_page, open_forum, post
from tests.guarded.serving import Asked, said, serving
from tests.world import LOOPBACK, World, reason, student

ZONES = ["Europe/Berlin", "Europe/Paris", "Europe/Rome", "Europe/Oslo", "Europe/Vienna"]
AT = datetime(2026, 3, 2, tzinfo=UTC)
SLOW_SQL = f"select front.* from ({FRONT_PAGE_SQL}\n) front where pg_sleep(20) is not null"
SOON = Asking(timeout=timedelta(milliseconds=200))
IN_BERLIN = datetime(2026, 3, 3, 7, tzinfo=UTC)

asked: list[int] = []


def item(each: Due, key: str = "k") -> FeedItem:
    return FeedItem(each.recipient_id, key, 1.0, AT)


def raises_for_some(due: Sequence[Due]) -> list[FeedItem]:
    asked.append(len(due))
    if any(each.recipient_id.startswith("bad") for each in due):
        raise ValueError("one bad row")
    return [item(each) for each in due]


def too_many_for_some(due: Sequence[Due]) -> list[FeedItem]:
    counts = {each: MOST_PER_RECIPIENT + 1 if each.recipient_id.startswith("bad") else 1 for each in due}
    return [item(each, f"k{n}") for each, count in counts.items() for n in range(count)]


def no_zone_for_some(due: Sequence[Due]) -> list[FeedItem]:
    return [
        replace(item(each), at=AT.replace(tzinfo=None)) if each.recipient_id.startswith("bad") else item(each)
        for each in due
    ]


def twice_for_some(due: Sequence[Due]) -> list[FeedItem]:
    return [item(each) for each in due for _ in range(2 if each.recipient_id.startswith("bad") else 1)]


@pytest.fixture(autouse=True)
def _nothing_asked() -> None:
    asked.clear()


def asking(name: str) -> Reason:
    source = PythonSource(f"tests.digests.test_failing_feeds:{name}")
    return reason("asked", frequency=Frequency.DAILY, feed=Feed(source, 10, timedelta(days=1)))


async def ready(world: World, *reasons: Reason, people: Sequence[object] = ("ada",)) -> None:
    await open_forum(world, *reasons)
    await world.know(*people)  # type: ignore[arg-type]
    await world.plan()


async def planned(world: World) -> list[str]:
    return [row.recipient_id for row in await world.rows("select recipient_id from hark.digest order by 1")]


# Who breaks it -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["raises_for_some", "too_many_for_some", "no_zone_for_some", "twice_for_some"])
async def test_whom_a_callable_breaks_on_are_passed_over(world: World, name: str) -> None:
    await ready(world, asking(name), people=["a", "b", "bad1", "c", "bad2", "d"])
    world.clock.move_to(TUESDAY)
    steps = await world.plan()
    assert sum(step.failed for step in steps) == 0
    assert await planned(world) == ["a", "b", "c", "d"]
    (walk,) = await world.rows("select passed_over, done_at, fault from hark.walk")
    assert (walk.passed_over, walk.done_at) == (2, TUESDAY)
    assert walk.fault.startswith("2 passed over, the last bad2: ") and "one bad row" not in walk.fault


@pytest.mark.parametrize("how", ["status", "answer"])
async def test_whom_an_endpoint_breaks_on_are_passed_over(world: World, how: str) -> None:
    def answer(request: Asked) -> bytes:
        names = [each["recipient"] for each in request.json()["due"]]
        if how == "status" and "bad" in names:
            return said({}, status="500 Internal Server Error")
        written = {"key": "k", "at": AT.isoformat()}
        return said(
            {"items": [{"recipient": name, **written, **({"rank": "x"} if name == "bad" else {})} for name in names]}
        )

    async with serving(answer) as server:
        feed = Feed(UrlSource(server.url("/")), 10, timedelta(days=1))
        await ready(world, reason("asked", frequency=Frequency.DAILY, feed=feed), people=["a", "bad", "c"])
        world.clock.move_to(TUESDAY)
        await world.plan(asking=Asking(Guarded(LOOPBACK)))
    assert await planned(world) == ["a", "c"]


async def test_a_callable_that_breaks_on_everybody_is_asked_a_few_times_and_waits(world: World) -> None:
    await ready(world, asking("raises_for_some"), people=[f"bad{n:03}" for n in range(300)])
    world.clock.move_to(TUESDAY)
    await world.plan()
    (walk,) = await world.rows("select passed_over, failures, retry_at from hark.walk")
    assert (walk.passed_over, walk.failures, walk.retry_at) == (0, 1, TUESDAY + timedelta(seconds=30))
    assert len(asked) < 20


async def test_a_product_that_goes_down_midway_is_not_taken_for_its_recipients_fault(world: World) -> None:
    await ready(world, by_asking(), people=[f"p{n:02}" for n in range(30)])
    answered: list[int] = []

    async def going_down(_feed: Feed, _reason: str, due: Sequence[Due], _ask: Asking) -> list[FeedItem]:
        if answered:
            raise SourceFailed("it raised OperationalError", of_the_data=True)
        answered.append(len(due))
        return [item(each) for each in due]

    world.clock.move_to(TUESDAY)
    await world.plan(answers=going_down, chunk=10)
    (walk,) = await world.rows("select passed_over, failures, asked from hark.walk")
    assert (walk.passed_over, walk.failures, walk.asked) == (0, 1, 10)


@pytest.mark.parametrize("kind", ["sql", "python"])
async def test_people_who_stand_together_and_all_break_it_keep_nobody_waiting(world: World, kind: str) -> None:
    sql = f"select f.* from ({FRONT_PAGE_SQL}\n) f where 1 / case when f.recipient_id ~ '^bad' then 0 else 1 end > 0"
    people = [*[f"bad{n:02}" for n in range(10)], *[f"c{n:02}" for n in range(5)]]
    await ready(world, front_page(sql=sql) if kind == "sql" else asking("raises_for_some"), people=people)
    await post(world, "a")
    world.clock.move_to(TUESDAY)
    steps = await world.plan()
    assert sum(step.failed for step in steps) == 0
    assert await planned(world) == people[10:]
    (walk,) = await world.rows("select passed_over, done_at from hark.walk")
    assert (walk.passed_over, walk.done_at) == (10, TUESDAY)


async def test_what_takes_its_time_to_break_is_not_gone_around_for_ever(world: World) -> None:
    """Where each question takes long, a planner does not ask twenty of them in a row."""
    await ready(world, by_asking(), people=[f"p{n:02}" for n in range(30)])
    questions: list[int] = []

    async def slowly(_feed: Feed, _reason: str, due: Sequence[Due], _ask: Asking) -> list[FeedItem]:
        questions.append(len(due))
        raise SourceFailed("it raised OperationalError", of_the_data=True)

    world.clock.move_to(TUESDAY)
    await world.plan(answers=slowly, asking=Asking(timeout=timedelta(0)))
    assert questions == [30, 15]


async def test_what_it_broke_on_is_told_without_values(world: World) -> None:
    sql = f"select f.* from ({FRONT_PAGE_SQL}\n) f where f.key::int > 0"
    await ready(world, front_page(sql=sql))
    await post(world, "secret")
    world.clock.move_to(TUESDAY)
    await world.plan()
    (walk,) = await world.rows("select fault from hark.walk")
    assert walk.fault == "InvalidTextRepresentation (22P02)"


# What it costs others ------------------------------------------------------------------------------------------------


async def test_a_feed_that_takes_too_long_costs_the_others_one_time_out_however_many_zones_there_are(
    world: World,
) -> None:
    people = [student(f"u{n}", zone=zone) for n, zone in enumerate(ZONES)]
    await ready(world, front_page(name="bad", sql=SLOW_SQL), front_page(name="good"), people=people)
    await post(world, "a")
    world.clock.move_to(IN_BERLIN)
    steps = await world.plan(asking=SOON)
    assert sum(step.failed for step in steps) == 1
    assert len(await digests(world)) == len(ZONES)
    waiting = await world.rows("select reason, failures, retry_at from hark.walk where done_at is null")
    again = IN_BERLIN + timedelta(seconds=30)
    assert [(row.reason, row.failures, row.retry_at) for row in waiting] == [("bad", 1, again)] * len(ZONES)

    world.clock.move_to(again)
    steps = await world.plan(asking=SOON)
    assert sum(step.failed for step in steps) == 1
    waiting = await world.rows("select distinct failures, retry_at from hark.walk where done_at is null")
    assert [(row.failures, row.retry_at) for row in waiting] == [(2, again + timedelta(minutes=1))]

    await world.install(front_page(name="bad"), front_page(name="good"))
    world.clock.move_to(again + timedelta(minutes=1))
    await world.plan()
    assert len(await digests(world)) == 2 * len(ZONES)


async def test_one_slots_people_do_not_make_the_other_slots_wait(world: World) -> None:
    sql = f"select f.* from ({FRONT_PAGE_SQL}\n) f where 1 / case when f.recipient_id ~ '^bad' then 0 else 1 end > 0"
    people = [student("bad", zone="Europe/Berlin"), student("good", zone="Europe/Rome")]
    await ready(world, front_page(sql=sql), people=people)
    await post(world, "a")
    world.clock.move_to(IN_BERLIN)
    await world.plan()
    assert await planned(world) == ["good"]


async def test_while_another_planner_is_at_a_reason_others_are_planned(world: World) -> None:
    await ready(world, front_page(name="held"), front_page(name="free"))
    await post(world, "a")
    world.clock.move_to(TUESDAY)
    async with world.database.transaction() as connection:
        await connection.execute("select pg_advisory_xact_lock(hashtext('hark.digests'), hashtext('held'))")
        planner = world.planner()
        while (last := await planner.step()).more:
            pass
        assert last.busy and not last.more and last.next_at == TUESDAY + timedelta(seconds=1)
        assert [row.reason for row in await world.rows("select reason from hark.digest")] == ["free"]
    await world.plan()
    assert len(await digests(world)) == 2
    assert await world.rows("select from hark.walk where done_at is null or failures > 0") == []
