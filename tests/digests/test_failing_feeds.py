"""A feed that fails costs as little as can be: its own digests, and of those only whom it fails on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hark import feeds
from hark.catalogue import Feed, Frequency, PythonSource, Reason, UrlSource
from hark.digests.mornings import open_slots
from hark.errors import SourceFailed
from hark.feeds import MOST_PER_RECIPIENT, Asking, Due, FeedItem
from hark.guarded.client import Guarded
from tests.digests.forum import FRONT_PAGE_SQL, TUESDAY, by_asking, digests, front_page, open_forum, post
from tests.guarded.serving import Asked, said, serving
from tests.world import LOOPBACK, World, reason, student, students

ZONES = ["Europe/Berlin", "Europe/Paris", "Europe/Rome", "Europe/Oslo", "Europe/Vienna"]
AT = datetime(2026, 3, 2, tzinfo=UTC)
SLOW_SQL = f"select front.* from ({FRONT_PAGE_SQL}\n) front where pg_sleep(20) is not null"
SOON = Asking(timeout=timedelta(milliseconds=600))
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


async def test_who_breaks_it_after_most_of_the_time_is_passed_over_as_well(world: World) -> None:
    """Asked again it would use up all the time that a step has, and nobody else would be asked about."""

    async def answers(_feed: Feed, _reason: str, due: Sequence[Due], _asking: Asking) -> list[FeedItem]:
        if any(each.recipient_id == "bad" for each in due):
            await asyncio.sleep(0.6 * SOON.timeout.total_seconds())
            raise SourceFailed("the endpoint answered with status 500, not 200", of_the_data=True)
        return [item(each) for each in due]

    await ready(world, by_asking(), people=["ada", "bad", "cleo", "dan"])
    world.clock.move_to(TUESDAY)
    for _ in range(12):
        await world.plan(answers=answers, asking=SOON)
        world.clock.advance(timedelta(minutes=30))
    assert await planned(world) == ["ada", "cleo", "dan"]


def lazily_for_some(due: Sequence[Due]) -> Lazily:
    return Lazily(due)


class Lazily:
    """What is read only when it is gone through, as a query of an ORM's."""

    def __init__(self, due: Sequence[Due]) -> None:
        self.due = due

    def __iter__(self) -> Iterator[FeedItem]:
        return iter(raises_for_some(self.due))


@pytest.mark.parametrize(
    "name", ["raises_for_some", "too_many_for_some", "no_zone_for_some", "twice_for_some", "lazily_for_some"]
)
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
    assert [(row.reason, row.retry_at) for row in waiting] == [("bad", again)] * len(ZONES)
    assert [row.failures > 0 for row in waiting].count(True) == 1

    world.clock.move_to(again)
    steps = await world.plan(asking=SOON)
    assert sum(step.failed for step in steps) == 1
    waiting = await world.rows("select distinct retry_at from hark.walk where done_at is null")
    assert [row.retry_at for row in waiting] == [again + timedelta(seconds=30)]

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


# Whom it takes too long for ------------------------------------------------------------------------------------------


def slow_for(*who: str) -> Reason:
    names = ", ".join(f"'{name}'" for name in who)
    return front_page(
        sql=f"select f.* from ({FRONT_PAGE_SQL}\n) f where f.recipient_id not in ({names}) or pg_sleep(20) is not null"
    )


async def live_through_a_morning(world: World, rounds: int = 24, **given: Any) -> None:
    """As one planner does, with the clock at each moment at which there is something to do; less than a day."""
    world.clock.move_to(TUESDAY)
    planner = world.planner(**given)
    for _ in range(rounds):
        while (step := await planner.step()).more:
            pass
        if step.next_at is None or step.next_at > TUESDAY + timedelta(hours=3):
            return
        world.clock.move_to(max(step.next_at, world.clock.now()))


@pytest.mark.parametrize("slow", [["s000"], ["s002"], ["s004"], ["s000", "s001"], ["s002", "s003"], ["s001", "s003"]])
async def test_whom_it_takes_too_long_for_are_passed_over_the_same_morning(world: World, slow: list[str]) -> None:
    await ready(world, slow_for(*slow), people=students(5))
    await post(world, "a")
    await live_through_a_morning(world, asking=SOON)
    assert await planned(world) == [each.id for each in students(5) if each.id not in slow]
    (walk,) = await world.rows("select passed_over, failures, done_at is not null as done from hark.walk")
    assert (walk.passed_over, walk.failures, walk.done) == (len(slow), 0, True)


@pytest.mark.parametrize("slow", ["s000", "s002"])
@pytest.mark.parametrize("frequency", [Frequency.NEVER, Frequency.WEEKLY])
async def test_who_is_not_due_says_nothing_of_the_feed(world: World, slow: str, frequency: Frequency) -> None:
    await ready(world, slow_for(slow), people=students(7))
    undue = [each.id for each in students(7) if slow < each.id][:3]
    for name in undue:
        await world.choose(name, "front_page", frequency=frequency)
    await post(world, "a")
    await live_through_a_morning(world, asking=SOON)
    assert await planned(world) == [each.id for each in students(7) if each.id not in (slow, *undue)]


@pytest.mark.parametrize("kind", ["sql", "python"])
async def test_where_it_takes_too_long_for_everybody_nobody_is_passed_over(world: World, kind: str) -> None:
    reason = front_page(sql=SLOW_SQL) if kind == "sql" else by_asking()
    await ready(world, reason, people=students(6))

    async def answers(*_: object) -> list[FeedItem]:
        raise SourceFailed("it did not answer", too_slow=True)

    await post(world, "a")
    await live_through_a_morning(world, asking=SOON, answers=answers)
    (walk,) = await world.rows("select passed_over, failures, retry_at from hark.walk where done_at is null")
    assert walk.passed_over == 0
    assert walk.retry_at > TUESDAY + timedelta(hours=1)


async def test_a_product_that_gets_slow_midway_passes_over_nobody(world: World) -> None:
    await ready(world, by_asking(), people=students(30))
    answered: list[int] = []

    async def getting_slow(_feed: Feed, _reason: str, due: Sequence[Due], _ask: Asking) -> list[FeedItem]:
        if answered:
            raise SourceFailed("it did not answer", too_slow=True)
        answered.append(len(due))
        return [item(each) for each in due]

    await live_through_a_morning(world, answers=getting_slow, chunk=10)
    (walk,) = await world.rows("select passed_over, asked from hark.walk where done_at is null")
    assert (walk.passed_over, walk.asked) == (0, 10)


async def test_a_product_that_gets_slow_before_the_last_one_passes_nobody_over(world: World) -> None:
    await ready(world, by_asking(), people=students(11))
    is_slow = True

    async def slow_for_a_while(_feed: Feed, _reason: str, due: Sequence[Due], _ask: Asking) -> list[FeedItem]:
        if is_slow and len(due) == 1:
            raise SourceFailed("it did not answer", too_slow=True)
        return [item(each) for each in due]

    await live_through_a_morning(world, answers=slow_for_a_while, chunk=10)
    assert await planned(world) == [each.id for each in students(10)]
    is_slow = False
    world.clock.advance(timedelta(hours=1))
    await world.plan(answers=slow_for_a_while)
    assert await planned(world) == [each.id for each in students(11)]


async def test_an_endpoint_that_is_slow_for_one_passes_that_one_over(world: World) -> None:
    let_go = threading.Event()

    def answer(request: Asked) -> bytes:
        names = [each["recipient"] for each in request.json()["due"]]
        if "s002" in names:
            let_go.wait(10)
        return said({"items": [{"recipient": name, "key": "k", "at": AT.isoformat()} for name in names]})

    async with serving(answer) as server:
        feed = Feed(UrlSource(server.url("/")), 10, timedelta(days=1))
        await ready(world, reason("asked", frequency=Frequency.DAILY, feed=feed), people=students(6))
        await live_through_a_morning(world, asking=Asking(Guarded(LOOPBACK), timeout=timedelta(seconds=0.5)))
        let_go.set()
    assert await planned(world) == ["s000", "s001", "s003", "s004", "s005"]


stay = threading.Event()
at_it: list[int] = []


def hangs_for_some(due: Sequence[Due]) -> list[FeedItem]:
    if any(each.recipient_id.startswith("hangs") for each in due):
        at_it.append(len(due))
        stay.wait()
    return [item(each, f"k{each.since}") for each in due]


async def test_whom_a_callable_hangs_for_costs_two_threads_and_not_as_many_every_morning(world: World) -> None:
    stay.clear()
    at_it.clear()
    people = [*students(6), student("hangs"), student("z"), student("rome", zone="Europe/Rome")]
    await ready(world, asking("hangs_for_some"), people=people)
    planner = world.planner(asking=Asking(timeout=timedelta(seconds=3)))
    for day in range(3):
        world.clock.move_to(TUESDAY - timedelta(hours=2) + timedelta(days=day))
        for _ in range(12):
            while (await planner.step()).more:
                pass
            world.clock.advance(timedelta(minutes=20))
        await world.attempt()
    stay.set()
    got = await world.rows("select recipient_id, count(*) as days from hark.digest group by 1 order by 1")
    assert [(row.recipient_id, row.days) for row in got] == [
        (name, 3) for name in ("rome", *(s.id for s in people[:6]), "z")
    ]
    assert at_it == [8, 1]


async def test_who_hung_once_is_asked_about_again_another_day(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread may hang for good, though the function hung for everybody then, and answers by now."""
    monkeypatch.setattr(feeds, "HANGS_FOR", timedelta(0))
    stay.clear()
    try:
        await ready(world, asking("hangs_for_some"), people=[student("hangs"), student("z")])
        feed, alone = world.catalogue.reasons["asked"].feed, Due("hangs", "1:1:", AT)
        assert feed is not None
        for _ in range(2):
            with pytest.raises(SourceFailed, match="did not answer within"):
                await feeds.ask_feed(feed, "asked", [alone], Asking(timeout=timedelta(seconds=0.2)))
    finally:
        stay.set()


async def test_a_chunk_is_narrowed_down_only_as_far_as_it_reached(world: World) -> None:
    """Of many, some time-outs: one for each size, not one for each chunk before the one whom it is slow for."""
    sizes: list[int] = []

    async def slow_for_one(_feed: Feed, _reason: str, due: Sequence[Due], _ask: Asking) -> list[FeedItem]:
        if any(each.recipient_id == "s050" for each in due):
            sizes.append(len(due))
            raise SourceFailed("it did not answer", too_slow=True)
        return [item(each) for each in due]

    await ready(world, by_asking(), people=students(70))
    await live_through_a_morning(world, answers=slow_for_one)
    assert len(await planned(world)) == 69
    assert sizes == [70, 1]


async def test_one_who_is_slow_does_not_make_other_zones_late(world: World) -> None:
    """A planner fails on them while another one opens the others' morning."""
    people = [student("slow", zone="Europe/Berlin"), *[student(f"n{n}") for n in range(3)]]
    await ready(world, slow_for("slow"), people=people)
    await post(world, "a")
    world.clock.move_to(IN_BERLIN)
    one = world.planner(asking=SOON)
    for _ in range(8):
        while (step := await one.step()).more:
            pass
        assert step.next_at is not None
        world.clock.move_to(step.next_at)
    world.clock.move_to(TUESDAY - timedelta(minutes=10))
    other = world.planner(asking=SOON)
    await open_slots(world.database, world.catalogue, ["front_page"], world.clock.now(), timedelta(minutes=10))
    await world.execute(
        "update hark.walk set retry_at = case when failures > 0 then %s else %s end where done_at is null",
        *(world.clock.now(), world.clock.now() + timedelta(seconds=1)),
    )
    assert (await one.step()).failed == 1
    world.clock.advance(timedelta(seconds=1))
    while (await other.step()).more:
        pass
    assert await planned(world) == ["n0", "n1", "n2"]


@pytest.mark.parametrize("collation", ['"C"', '"POSIX"', '"ucs_basic"'])
async def test_a_products_text_may_have_any_collation(world: World, collation: str) -> None:
    await ready(world, front_page(), people=students(3))
    await world.execute(
        f"alter table public.post alter column author type text collate {collation},"
        f" alter column audience type text collate {collation}, alter column key type text collate {collation}"
    )
    await post(world, "a")
    world.clock.move_to(TUESDAY)
    await world.plan()
    assert await planned(world) == ["s000", "s001", "s002"]
