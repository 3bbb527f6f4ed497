"""What a digest may not say, and what stands behind that: told another morning, never lost, never waiting for ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hark import audience
from hark.audience import Subscription
from hark.catalogue import Frequency, Reason, SqlSource
from hark.digests import coverage
from hark.digests.planning import RESERVE
from tests.digests.forum import BY_TIME_SQL, TUESDAY, front_page, open_forum, post
from tests.world import NEWS, World

DAY = timedelta(days=1)
HOT_IS_PRIVATE = SqlSource(
    "select asked.n, case when asked.key like 'hot%' then 'private' end as why, null::jsonb as payload from asked"
)
WHAT_IS_THERE = SqlSource(
    "select asked.n, null::text as why, null::jsonb as payload from asked join public.post on post.key = asked.key"
)


def page(cap: int = 3, recheck: SqlSource | None = HOT_IS_PRIVATE, **given: object) -> Reason:
    return replace(front_page(cap=cap, **given), recheck=recheck)  # type: ignore[arg-type]


async def ready(world: World, *reasons: Reason) -> None:
    await open_forum(world, *reasons)
    await world.know("ada")
    await world.plan()


async def mute(world: World, *keys: str, muted: bool = True) -> None:
    given = [Subscription("ada", key) for key in keys]
    await audience.mute(world.database, given, world.clock.now(), muted=muted)


async def posts(world: World, *keys: str, score: float = 1) -> None:
    for key in keys:
        await post(world, key, score=score)


async def mornings(world: World, count: int = 1) -> None:
    """So many mornings from the next on, each to its noon."""
    for _ in range(count):
        now = world.clock.now()
        await world.run_until(now.replace(hour=12, minute=0) + (DAY if now.hour >= 12 else timedelta(0)))


async def mails(world: World) -> list[str]:
    return [mail.text for mail in world.recorder.accepted]


async def faults(world: World) -> list[str]:
    return [fault.sentence() async for fault in coverage.faults(world.database, world.clock.now())]


def says(text: str, *keys: str) -> list[bool]:
    """Built-in words: `- WHEN  AUTHOR: KEY`."""
    return [f"alice: {key}\n" in text for key in keys]


# What is muted -------------------------------------------------------------------------------------------------------


async def test_what_is_muted_takes_no_place(world: World) -> None:
    await ready(world, front_page(cap=3))
    await mute(world, "hot1", "hot2", "hot3")
    await posts(world, "hot1", "hot2", "hot3", score=100)
    await posts(world, "a", "b", "c", "d")
    await mornings(world)
    (mail,) = await mails(world)
    assert says(mail, "a", "b", "c", "hot1") == [True, True, True, False]
    assert "and 1 more" in mail
    assert await faults(world) == []


async def test_only_what_is_muted_is_no_news_until_it_is_not_muted_any_more(world: World) -> None:
    await ready(world)
    await mute(world, "hot")
    await posts(world, "hot")
    await mornings(world, 2)
    assert await world.deliveries() == []
    await mute(world, "hot", muted=False)
    await mornings(world)
    assert [says(mail, "hot") for mail in await mails(world)] == [[True]]


async def test_what_is_muted_between_planning_and_sending_does_not_keep_the_rest_back_for_long(world: World) -> None:
    await ready(world, front_page(cap=2))
    await posts(world, "hot1", "hot2", score=100)
    await posts(world, "a", "b", "c")
    world.clock.move_to(TUESDAY - timedelta(minutes=5))
    await world.plan()
    await mute(world, "hot1", "hot2")
    await mornings(world)
    assert [(row.state, row.silent) for row in await world.deliveries()] == [("CANCELED", {"front_page": "items"})]
    await mornings(world)
    (mail,) = await mails(world)
    assert says(mail, "a", "b", "hot1") == [True, True, False] and "and 1 more" in mail
    assert await faults(world) == []


# What the recheck leaves out -----------------------------------------------------------------------------------------


async def test_what_is_in_reserve_is_said_instead_of_what_may_not_be(world: World) -> None:
    await ready(world, page())
    await posts(world, "hot1", "hot2", "hot3", score=100)
    await posts(world, "a", "b", "c")
    await mornings(world)
    (mail,) = await mails(world)
    assert says(mail, "a", "b", "c", "hot1") == [True, True, True, False]
    assert await faults(world) == []


async def test_nothing_starves_behind_what_may_never_be_said(world: World) -> None:
    """More of it each morning than is kept, and all of it ranks first."""
    await ready(world, page())
    await posts(world, "a", "b")
    for day in range(3):
        await posts(world, *[f"hot{day}{n}" for n in range(3 * RESERVE + 1)], score=100)
        await mornings(world)
    (mail,) = await mails(world)
    assert says(mail, "a", "b") == [True, True]
    assert await faults(world) == []


async def test_nothing_starves_behind_a_thousand_that_may_not_be_said(world: World) -> None:
    await ready(world, page())
    await world.execute(
        "insert into public.post (key, author, score, posted_at)"
        " select 'hot' || n, 'alice', 100, now() from generate_series(1, 1200) n"
    )
    await posts(world, "a")
    await mornings(world, 3)
    tried = [row.tried for row in await world.rows("select tried from hark.digest order by period")]
    assert tried == [0, 1, 2]
    (mail,) = await mails(world)
    assert says(mail, "a") == [True]
    await posts(world, "b")
    await mornings(world)
    (row,) = await world.rows("select tried from hark.digest order by period desc limit 1")
    assert row.tried == 0, "where something was said, it begins anew"


async def test_a_digest_of_which_nothing_is_said_covers_nothing_though_its_message_is_sent(world: World) -> None:
    await ready(world, page(), NEWS)
    await posts(world, *[f"hot{n}" for n in range(3 * RESERVE)], score=100)
    await posts(world, "a", "b", "c", "d")
    await world.publish("news", to=["ada"])
    await mornings(world)
    (first,) = await mails(world)
    assert says(first, "a") == [False]
    (delivery,) = await world.deliveries()
    assert (delivery.state, delivery.silent) == ("SENT", {"front_page": "items"})
    await mornings(world)
    (_, second) = await mails(world)
    assert says(second, "a", "b", "c") == [True] * 3 and second.rstrip().endswith("and 1 more")
    assert await faults(world) == []


async def test_so_it_is_with_a_feed_that_knows_only_times(world: World) -> None:
    await ready(world, page(sql=BY_TIME_SQL, overlap=timedelta(hours=1)), NEWS)
    await posts(world, *[f"hot{n}" for n in range(3 * RESERVE)], score=100)
    await posts(world, "a")
    await world.publish("news", to=["ada"])
    await mornings(world, 2)
    keys = await world.rows("select 'a' = any(keys) as told, tried from hark.digest order by period")
    assert [(row.told, row.tried) for row in keys] == [(True, 0), (True, 1)]
    assert len(await mails(world)) == 2
    assert await faults(world) == []


async def test_one_whose_recipient_does_not_want_it_any_more_covers_nothing_either(world: World) -> None:
    await ready(world, front_page(), NEWS)
    await posts(world, "a")
    await world.publish("news", to=["ada"])
    world.clock.move_to(TUESDAY - timedelta(minutes=5))
    await world.plan()
    await world.choose("ada", "front_page", frequency=Frequency.NEVER)
    await mornings(world)
    (delivery,) = await world.deliveries()
    assert (delivery.state, delivery.silent) == ("SENT", {"front_page": "never"})
    await world.execute("update hark.preference set frequencies = '{}'")  # nobody noted that they came back
    await mornings(world)
    assert [says(mail, "a") for mail in await mails(world)] == [[False], [True]]
    assert await faults(world) == []


async def test_what_stands_behind_is_no_number_once_some_may_not_be_said(world: World) -> None:
    await ready(world, page(cap=2, recheck=WHAT_IS_THERE))
    for number in range(8):
        await post(world, f"p{number}", score=10 - number)
    world.clock.move_to(TUESDAY - timedelta(minutes=5))
    await world.plan()
    await world.execute("delete from public.post where key not in ('p0', 'p2', 'p3')")
    await mornings(world)
    (mail,) = world.recorder.accepted
    assert mail.subject == "3 new: Front page"
    assert says(mail.text, "p0", "p1", "p2", "p3") == [True, False, True, False]
    assert mail.text.rstrip().endswith("and more")
    (why,) = [row.why for row in await world.history() if row.to_state == "SENT" and row.to_outcome == "unknown"]
    assert why == "3 of 8 items left: 4 behind them, not counted any more, 1 not there any more"


# Proof ---------------------------------------------------------------------------------------------------------------


async def test_verify_finds_one_that_counts_as_sent_though_nothing_of_it_was_said(world: World) -> None:
    await ready(world, page(), NEWS)
    await posts(world, *[f"hot{n}" for n in range(3 * RESERVE)], score=100)
    await posts(world, "a", "b")
    await world.publish("news", to=["ada"])
    await mornings(world)
    seen = await coverage.compared(world.database)
    assert (seen.digests, seen.sent, seen.canceled, seen.keys) == (1, 0, 1, 0)
    await world.execute("update hark.delivery set silent = null")
    assert await faults(world) == [
        "ada's front_page of 2026-03-03 counts as sent though all that it lists was left out:"
        " 2 behind them are in no digest"
    ]
