"""The behaviours that Open Discussions' own tests describe of front pages, here.

Theirs stand in `notifications/api_test.py`, `tasks_test.py`, `utils_test.py` and `notifiers/frontpage_test.py`. What
they call a front page is a digest of a reason with a feed; who wants it is asked for in their own morning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from hark.audience import Recipient
from hark.catalogue import Channel, Feed, Frequency, PythonSource, SqlSource, Templates, load_catalogue
from hark.digests.shown import next_digests
from hark.errors import CatalogueFaults
from hark.feeds import Asking, Due, FeedItem
from hark.rechecks import Answered, Asked
from tests.digests.forum import FRONT_PAGE_SQL, TUESDAY, digests, front_page, keys_sent, open_forum, post
from tests.world import MONDAY_NOON, World, reason, student

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
NEXT_MONDAY = datetime(2026, 3, 9, 8, tzinfo=UTC)
FIRST = {Frequency.DAILY: TUESDAY, Frequency.WEEKLY: NEXT_MONDAY}
PERIOD = {Frequency.DAILY: DAY, Frequency.WEEKLY: 7 * DAY}
SAYING = Templates(text="{{ payload.title }}")
EPISODES_SQL = FRONT_PAGE_SQL.replace("public.post", "public.episode").replace("'Post '", "'Episode '")
STILL_THERE = SqlSource(
    "select asked.n, null as why, null::jsonb as payload from asked join public.post on post.key = asked.about"
)

both = pytest.mark.parametrize("frequency", [Frequency.DAILY, Frequency.WEEKLY])


@dataclass(slots=True)
class Shop:
    """A feed that answers one thing for everybody, and knows for whom it was asked, call by call."""

    asked: list[list[str]] = field(default_factory=list)

    async def __call__(self, feed: Feed, reason: str, due: Sequence[Due], ask: Asking) -> list[FeedItem]:
        self.asked.append([each.recipient_id for each in due])
        return [FeedItem(each.recipient_id, "a", 1.0, MONDAY_NOON) for each in due]


async def of_both_kinds(world: World, count: int) -> dict[Frequency, list[str]]:
    """So many who want a front page daily, so many weekly, and as many of each that are not active; by frequency."""
    await world.install(reason("front_page", frequency=Frequency.DAILY, feed=Feed(PythonSource("shop:page"))))
    wanting: dict[Frequency, list[str]] = {}
    for frequency in (Frequency.DAILY, Frequency.WEEKLY):
        names = [f"{frequency}{number}" for number in range(count)]
        inactive = [student(f"gone-{name}", active=False) for name in names]
        await world.know(*names, *inactive)
        for name in [*names, *(each.id for each in inactive)]:
            await world.choose(name, "front_page", frequency=frequency)
        wanting[frequency] = names
    await world.plan()
    world.clock.advance(HOUR)
    return wanting


async def asked_in_the_morning(world: World, frequency: Frequency, chunk: int = 5000) -> list[list[str]]:
    """For whom the feed was asked in the first morning of that kind, call by call."""
    shop = Shop()
    world.clock.move_to(FIRST[frequency])
    await world.plan(answers=shop, chunk=chunk)
    return [sorted(name for name in names if name.startswith(frequency)) for names in shop.asked]


# api_test: get_daily_frontpage_settings_ids, get_weekly_frontpage_settings_ids ----------------------------------------


@both
async def test_only_the_active_who_want_it_that_often_are_asked_for(world: World, frequency: Frequency) -> None:
    """Theirs: five that want it, five inactive, five of the other frequency."""
    wanting = await of_both_kinds(world, 5)
    asked = await asked_in_the_morning(world, frequency)
    assert [names for names in asked if names] == [wanting[frequency]]
    planned = await world.rows("select recipient_id from hark.digest where recipient_id like 'gone-%%'")
    assert planned == []


# tasks_test: send_daily_frontpage_digests, send_weekly_frontpage_digests ----------------------------------------------


@both
async def test_front_pages_are_planned_in_chunks_each_recipient_once(world: World, frequency: Frequency) -> None:
    """Theirs: four settings in chunks of two, handed to a group of tasks. Ours: a walk, whose progress is kept."""
    wanting = await of_both_kinds(world, 4)
    asked = await asked_in_the_morning(world, frequency, chunk=2)
    assert max(len(names) for names in asked) <= 2
    assert Counter(name for names in asked for name in names) == Counter(wanting[frequency])
    (walk,) = await world.rows(
        "select w.planned from hark.walk w join hark.slot s on s.id = w.slot_id"
        " where s.frequency = %s::hark.frequency and w.due_at = %s",
        *(frequency, FIRST[frequency]),
    )
    assert walk.planned == 4


# frontpage_test: can_notify -------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("has_had_one", [True, False])
@pytest.mark.parametrize("has_news", [True, False])
async def test_a_front_page_is_sent_to_whom_it_may_if_there_is_news(
    world: World, frequency: Frequency, has_had_one: bool, has_news: bool
) -> None:
    """Theirs: feature × may be told × posts × frequency × a last one × posts after it."""
    await open_forum(world, front_page(frequency=frequency))
    employer = Recipient("not_offered", "Employers", "e@school.example", confirmed=True)
    await world.know("may", "in_app", student("inactive", active=False), employer)
    await world.choose("in_app", "front_page", channels=[Channel.IN_APP])
    await world.plan()
    first = FIRST[frequency]
    if has_had_one:
        await post(world, "before")
    await world.run_until(first)
    if has_news:
        await post(world, "after")
    await world.run_until(first + PERIOD[frequency])
    expected = [(first, "before")] * has_had_one + [(first + PERIOD[frequency], "after")] * has_news
    assert await keys_sent(world, "may") == [key for _, key in expected]
    assert [(mail.at, mail.address) for mail in world.recorder.accepted] == [
        (at, "may@school.example") for at, _ in expected
    ]


@both
async def test_a_front_page_comes_in_each_ones_own_hour_once_a_period(world: World, frequency: Frequency) -> None:
    """Theirs: one hour for all the world, and whole UTC days since the last one."""
    # The sign of such a zone's name is the reverse of what one would think.
    zones = {f"h{hour:+03}": hour for hour in range(-11, 13, 4)}
    await open_forum(world, front_page(frequency=frequency))
    await world.know(*[student(name, zone=f"Etc/GMT{-hour:+}") for name, hour in zones.items()])
    await world.plan()
    first = FIRST[frequency]
    await world.run_until(first - 12 * HOUR)
    for number in range(3):
        await post(world, f"p{number}")
        await world.run_until(first + 13 * HOUR + number * PERIOD[frequency])
    sent = Counter((mail.address, mail.at) for mail in world.recorder.accepted)
    mornings = {
        (f"{name}@school.example", first - hour * HOUR + number * PERIOD[frequency])
        for name, hour in zones.items()
        for number in range(3)
    }
    assert sent == Counter(mornings)


async def test_never_has_no_front_page(world: World) -> None:
    await open_forum(world)
    await world.know("bob", "eve")
    await world.choose("bob", "front_page", frequency=Frequency.NEVER)
    await world.plan()
    await post(world, "a")
    await world.run_until(TUESDAY)
    assert [mail.address for mail in world.recorder.accepted] == ["eve@school.example"]
    (never,) = await next_digests(world.database, "bob", world.clock.now()) or []
    assert (never.comes, never.why) == (False, "never")


@pytest.mark.parametrize("frequency", ["immediate", "batched", "bananas"])
async def test_a_frequency_that_front_pages_do_not_have_makes_none_and_stops_nobody(
    world: World, frequency: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Theirs raises, in the middle of a batch. Ours: the catalogue refuses it by name; of a recipient it makes none."""
    folder = tmp_path_factory.mktemp("catalogue")
    (folder / "page.sql").write_text("select 1")
    (folder / "hark.toml").write_text(
        '[user_types]\nStudents = "s"\n[reasons.page]\ntitle = "Page"\nchannels = { Students = ["email"] }\n'
        f'batching = "{frequency}"\nfeed = {{ sql = "page.sql" }}\n'
    )
    with pytest.raises(CatalogueFaults, match=rf"hark\.toml:[67] .*{frequency}"):
        load_catalogue(folder / "hark.toml", {})

    await open_forum(world)
    await world.know("bob", "eve")
    chosen = f'{{"front_page": "{frequency}"}}'
    await world.execute("insert into hark.preference values ('bob', '{}', %s, %s)", chosen, world.clock.now())
    await world.plan()
    await post(world, "a")
    await world.run_until(TUESDAY)
    assert [mail.address for mail in world.recorder.accepted] == ["eve@school.example"]


# frontpage_test: send_notification ------------------------------------------------------------------------------------


async def test_the_mail_has_the_posts_and_the_episodes(world: World) -> None:
    posts, episodes = front_page(name="posts"), front_page(name="episodes", sql=EPISODES_SQL)
    await open_forum(world, replace(posts, templates=SAYING), replace(episodes, templates=SAYING))
    await world.execute("create table public.episode (like public.post including all)")
    await world.know("bob")
    await world.plan()
    await post(world, "seven")
    await world.execute("insert into public.episode select * from public.post")
    await world.run_until(TUESDAY)
    (mail,) = world.recorder.accepted
    assert (mail.address, mail.at) == ("bob@school.example", TUESDAY)
    assert "Post seven" in mail.text and "Episode seven" in mail.text


async def test_a_front_page_of_which_nothing_is_left_is_canceled(world: World) -> None:
    """Theirs asks a second time before it sends, and there are no posts any more; ours asks the product's recheck."""
    await open_forum(world, replace(front_page(), recheck=STILL_THERE))
    await world.know("bob")
    await world.plan()
    await post(world, "a")
    world.clock.move_to(TUESDAY - timedelta(minutes=5))
    await world.plan()
    assert await digests(world) == [("Tue", ["a"])]
    await world.execute("delete from public.post")
    await world.run_until(TUESDAY)
    row = await world.delivery()
    assert (row.state, row.why) == ("CANCELED", "nothing left to say: 0 of 1 items left: 1 not there any more")
    assert world.recorder.handed_over == []


# utils_test: praw_error_to_cancelled ----------------------------------------------------------------------------------

answers: list[str | None] = []


def reddit(asked: Sequence[Asked]) -> Iterable[Answered]:
    """A recheck: what is said of all items is the next of `answers`; "gone": nothing is, and "broken": it breaks."""
    said = answers.pop(0)
    if said == "broken":
        raise ConnectionError("the product's API does not answer")
    return [] if said == "gone" else [Answered(each.n, said) for each in asked]


RECHECKED = reason(
    "mention",
    frequency=Frequency.IMMEDIATE,
    recheck=PythonSource("tests.open_discussions.test_their_front_page:reddit"),
)


@pytest.mark.parametrize("said", ["gone", "private", "deleted", "blocked"])
async def test_what_the_product_says_is_gone_or_forbidden_is_canceled(world: World, said: str) -> None:
    """Theirs: not found, forbidden, redirected, and five codes of Reddit's are turned into a cancel."""
    await world.install(RECHECKED)
    await world.know("bob")
    await world.publish("mention", to=["bob"])
    answers[:] = [said]
    await world.drain()
    row = await world.delivery()
    assert (row.state, row.outcome) == ("CANCELED", "none")
    assert row.why.startswith("nothing left to say: 0 of 1 items left")
    assert world.recorder.handed_over == []


async def test_another_error_of_the_product_is_no_cancel_and_it_is_asked_again(world: World) -> None:
    """Theirs: any other error is raised, and the row is pending again. Ours too, with why and back-off."""
    await world.install(RECHECKED)
    await world.know("bob")
    await world.publish("mention", to=["bob"])
    answers[:] = ["broken", "broken", None]
    await world.drain()
    row = await world.delivery()
    assert row.state == "PENDING" and "the recheck of mention failed" in row.why
    await world.run_until(MONDAY_NOON + DAY)
    assert answers == []
    row = await world.delivery()
    assert (row.state, row.outcome, row.attempt) == ("SENT", "accepted", 3)
