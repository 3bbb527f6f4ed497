"""How long people wait behind those whom a feed takes too long for; each time-out takes its time on the clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import pytest

from hark.catalogue import Feed, Frequency
from hark.digests import planning
from hark.errors import SourceFailed
from hark.feeds import Asking, Due, FeedItem
from tests.digests.forum import TUESDAY, by_asking
from tests.digests.test_failing_feeds import IN_BERLIN, item, planned, ready
from tests.world import World, student, students

TIMEOUT = Asking().timeout
ZONES = [
    f"Europe/{city}"
    for city in (
        *("Amsterdam", "Belgrade", "Berlin", "Brussels", "Budapest", "Copenhagen", "Madrid", "Malta", "Monaco", "Oslo"),
        *("Paris", "Prague", "Rome", "Stockholm", "Tirane", "Vienna", "Warsaw", "Zagreb", "Zurich", "Skopje"),
    )
]


class Product:
    """A feed that is slow for some; and what it was asked."""

    def __init__(self, world: World, slow: Callable[[str], bool]) -> None:
        self.world, self.slow = world, slow
        self.alone: list[str] = []
        self.time_outs: list[datetime] = []

    async def answers(self, _feed: Feed, _reason: str, due: Sequence[Due], _asking: Asking) -> list[FeedItem]:
        self.alone += [each.recipient_id for each in due if len(due) == 1]
        if any(self.slow(each.recipient_id) for each in due):
            self.time_outs.append(self.world.clock.now())
            self.world.clock.advance(TIMEOUT)
            raise SourceFailed("it did not answer", too_slow=True)
        return [item(each) for each in due]


async def live(world: World, product: Product, start: datetime, hours: float) -> None:
    """As one planner does, with the clock at each moment at which there is something to do."""
    world.clock.move_to(start)
    planner, end = world.planner(answers=product.answers), start + timedelta(hours=hours)
    while world.clock.now() < end:
        if (step := await planner.step()).more:
            continue
        if step.next_at is None or step.next_at > end:
            return
        world.clock.move_to(max(step.next_at, world.clock.now()))


@pytest.mark.parametrize("neighbours", [3, 16, 30])
async def test_those_who_stand_together_cost_one_time_out_each(world: World, neighbours: int) -> None:
    people = [each.id for each in students(neighbours + 60)]
    slow = set(people[:neighbours])
    await ready(world, by_asking(), people=students(neighbours + 60))
    product = Product(world, slow.__contains__)
    await live(world, product, TUESDAY, hours=0.5)
    assert await planned(world) == people[neighbours:]
    assert len(product.time_outs) <= neighbours + 2


async def test_who_answered_for_one_is_asked_about_again_for_the_next(world: World) -> None:
    """Others who are slow, too, and whom it was asked about first, are not tried anew for each."""
    people = [each.id for each in students(40)]
    slow = {*people[:5], people[-1]}
    await ready(world, by_asking(), people=students(40))
    product = Product(world, slow.__contains__)
    await live(world, product, TUESDAY, hours=0.5)
    assert await planned(world) == [name for name in people if name not in slow]
    assert [product.alone.count(name) for name in people[2:5]] == [1, 1, 1]


async def test_one_who_is_slow_in_each_of_many_zones_keeps_nobody_waiting_for_hours(world: World) -> None:
    people = [student(f"{zone}{n}", zone=zone) for zone in ZONES for n in range(5)]
    await ready(world, by_asking(), people=people)
    product = Product(world, lambda name: name.endswith("2"))
    await live(world, product, IN_BERLIN, hours=1)
    assert await planned(world) == sorted(each.id for each in people if not each.id.endswith("2"))


async def test_an_outage_of_all_zones_passes_nobody_over_and_is_asked_less_and_less_often(world: World) -> None:
    people = [student(f"{zone}{n}", zone=zone) for zone in ZONES for n in range(5)]
    await ready(world, by_asking(), people=people)
    down, answering = True, Product(world, lambda _: down)
    await live(world, answering, IN_BERLIN, hours=4)
    assert await planned(world) == []
    by_hour = [[(at - IN_BERLIN) // timedelta(hours=1) for at in answering.time_outs].count(hour) for hour in range(4)]
    assert by_hour[0] <= 40 and max(by_hour[2:]) <= 10
    down = False
    await live(world, answering, world.clock.now(), hours=1)
    assert await planned(world) == sorted(each.id for each in people)


async def only_a_few_want_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of sixty in a slot four, and others are looked for among ten at a time."""
    monkeypatch.setattr(planning, "FAR", 10)
    people = [each.id for each in students(60)]
    await ready(world, by_asking(), people=students(60))
    for name in people:
        if name not in ("s000", "s001", "s058", "s059"):
            await world.choose(name, "asked", frequency=Frequency.NEVER)


async def test_others_who_stand_far_behind_do_not_wait_for_those_it_is_slow_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await only_a_few_want_it(world, monkeypatch)
    await live(world, Product(world, ("s000", "s001").__contains__), TUESDAY, hours=0.5)
    assert await planned(world) == ["s058", "s059"]


@pytest.mark.parametrize("others", ["far", "none"])
async def test_an_outage_passes_nobody_over_where_few_are_due(
    world: World, monkeypatch: pytest.MonkeyPatch, others: str
) -> None:
    if others == "far":
        await only_a_few_want_it(world, monkeypatch)
    else:
        await ready(world, by_asking(), people=["ada"])
    await live(world, Product(world, lambda _: True), TUESDAY, hours=6)
    (walk,) = await world.rows("select passed_over, retry_at from hark.walk where done_at is null")
    assert walk.passed_over == 0


async def test_who_is_not_due_tells_nothing_and_is_not_walked_one_by_one(world: World) -> None:
    """A zone in which nobody wants it, after it broke in another one: chunks grow until they tell something."""
    people = [student("slow", zone="Europe/Berlin"), *[student(f"n{n:03}", zone="Europe/Rome") for n in range(120)]]
    await ready(world, by_asking(), people=people)
    await world.execute(
        "insert into hark.preference (recipient_id, frequencies, updated_at)"
        " select id, '{\"asked\": \"never\"}', now() from hark.recipient where id <> 'slow'"
    )
    product = Product(world, lambda _: True)
    world.clock.move_to(IN_BERLIN)
    planner = world.planner(answers=product.answers)
    steps = 0
    while (await planner.step()).more:
        steps += 1
    world.clock.move_to(IN_BERLIN + timedelta(minutes=5))
    while (await planner.step()).more:
        steps += 1
    assert steps <= 10
    (rome,) = await world.rows(
        "select w.done_at from hark.walk w join hark.slot s on s.id = w.slot_id where s.zone = 'Europe/Rome'"
    )
    assert rome.done_at is not None


async def test_after_a_long_outage_others_are_asked_about_until_one_is_not_slow(world: World) -> None:
    people = [each.id for each in students(20)]
    await ready(world, by_asking(), people=students(20))
    end, slow = TUESDAY + timedelta(hours=9), {people[0], people[-1]}
    product = Product(world, lambda name: world.clock.now() < end or name in slow)
    await live(world, product, TUESDAY, hours=14)
    assert await planned(world) == people[1:-1]
