"""At the last moment the product is asked whether each item may still be said, to whom it is about to be said."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from hark.catalogue import Channel, Feed, Frequency, PythonSource, Source, SqlSource, Templates, UrlSource
from hark.delivery import ask as asking
from hark.delivery.backoff import Backoff
from hark.delivery.recheck import NOTED
from hark.rechecks import Answered, Asked
from hark.rendering import LISTED
from tests.guarded.serving import Asked as Request
from tests.guarded.serving import said, serving
from tests.world import COOLDOWN, MONDAY_NOON, World, reason

WORDS = Templates(subject="One: {{ about }}", text="{{ about }} {{ key }} {{ payload.title }}")
FEED = Feed(PythonSource("shop:never_asked_here"))
SQL = SqlSource("""
select asked.n,
       case when post.state <> 'ok' and post.state <> 'edited' then post.state end as why,
       case when post.state = 'edited' then '{"title": "other words"}'::jsonb end as payload
  from asked
  join public.post on post.id = asked.about and not (asked.recipient_id = any(post.hidden_from)) -- and 100%""")
"""A post knows its state, and from whom it is hidden: no row, gone."""

DIGEST = """
with delivery as (
    insert into hark.delivery as d (recipient_id, channel, batch_group, frequency, gathering, at_least_once,
                                    due_at, stale_at, items, created_at, changed_at)
    values (%(who)s, 'email', '@daily', 'daily', true, false, %(due)s, %(due)s, 1, %(due)s, %(due)s)
        on conflict (recipient_id, channel, batch_group) where gathering do update
           set items = d.items + 1, due_at = excluded.due_at
    returning id
)
insert into hark.digest (recipient_id, reason, period, delivery_id, since, since_at, until, until_at, missed,
                         items, keys, total, planned_at)
select %(who)s, %(reason)s, %(due)s::date, id, pg_current_snapshot(), %(due)s, pg_current_snapshot(), %(due)s, 0,
       %(items)s::jsonb, %(keys)s, %(total)s, %(due)s
  from delivery
"""

heard: list[list[Asked]] = []
posts: dict[str, str] = {}


def from_memory(asked: Sequence[Asked]) -> Iterable[Answered]:
    """The same in Python, over `posts`."""
    heard.append(list(asked))
    if "poison" in posts:
        raise ValueError(posts["poison"])
    for each in asked:
        if each.payload.get("poison"):
            raise ValueError("a poisonous payload")
        state = posts.get(each.about or "")
        if state == "edited":
            yield Answered(each.n, payload={"title": "other words"})
        elif state is not None and state != f"hidden from {each.recipient_id}":
            yield Answered(each.n, why=None if state == "ok" or state.startswith("hidden") else state)


def twice(asked: Sequence[Asked]) -> list[Answered]:
    return [
        answer for each in asked for answer in (Answered(each.n), Answered(each.n, "deleted"), Answered(each.n, "x"))
    ]


def all_well(asked: Sequence[Asked]) -> list[Answered]:
    return [Answered(each.n) for each in asked]


def strange(asked: Sequence[Asked]) -> list[Answered]:
    return [Answered(asked[0].n + 1000)]


def wordy(asked: Sequence[Asked]) -> list[Answered]:
    return [Answered(asked[0].n, why="because\n" * 20)]


def python(name: str = "from_memory") -> Source:
    return PythonSource(f"tests.delivery.test_ask:{name}")


@pytest.fixture(autouse=True)
def _nothing_heard() -> None:
    heard.clear()
    posts.clear()


async def set_up(world: World, source: Source | None, *, frequency: Frequency = Frequency.BATCHED) -> None:
    """Two reasons in one group, the first with a recheck (a feed too, if it is daily), and the product's posts."""
    await world.install(
        reason("post", frequency=frequency, group="talk", templates=WORDS, recheck=source,
               feed=FEED if frequency is Frequency.DAILY else None),
        reason("comment", group="talk", frequency=frequency, templates=WORDS),
    )  # fmt: skip
    await world.know("bob", "eve")
    await world.execute("create table public.post (id text primary key, state text, hidden_from text[] default '{}')")
    await state(world, "ok", *[f"p{n}" for n in range(1, 10)])


async def state(world: World, state: str, *names: str) -> None:
    for name in names:
        posts[name] = state
        hidden = [state.removeprefix("hidden from ")] if state.startswith("hidden") else []
        await world.execute(
            "insert into public.post values (%s, %s, %s)"
            " on conflict (id) do update set state = excluded.state, hidden_from = excluded.hidden_from",
            *(name, "ok" if hidden else state, hidden),
        )


async def tell(world: World, *abouts: str, to: Sequence[str] = ("bob",), name: str = "post", **given: Any) -> list[int]:
    events = [await world.publish(name, to=to, about=about, **given) for about in abouts]
    await world.fan_out()
    return events


async def digest(
    world: World,
    recipient: str,
    *items: tuple[str, str],
    total: int = 0,
    name: str = "post",
    due: datetime = MONDAY_NOON,
) -> None:
    """A digest in the recipient's daily delivery, which is due; each item by its key and what it is about."""
    written = [[key, due.isoformat(), "alice", about, {"title": f"title of {about}"}] for key, about in items]
    async with world.database.connection() as connection:
        await connection.execute(
            DIGEST,
            {
                "who": recipient,
                "reason": name,
                "due": due,
                "items": json.dumps(written),
                "keys": [key for key, _ in items],
                "total": max(total, len(items)),
            },
        )


async def due(world: World) -> None:
    world.clock.advance(COOLDOWN)


SOURCES = {"sql": SQL, "python": python()}


class TestEvents:
    @pytest.mark.parametrize("kind", SOURCES)
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ("deleted", "deleted since"),
            ("private", "made private since"),
            ("blocked", "from someone blocked since"),
            ("archived by alice", "archived by alice"),
            ("hidden from bob", "not there any more"),
        ],
    )
    async def test_what_may_not_be_said_any_more_is_not_said(
        self, world: World, kind: str, change: str, words: str
    ) -> None:
        await set_up(world, SOURCES[kind])
        first, *_ = await tell(world, "p1", "p2", "p3")
        await state(world, change, "p1")
        await due(world)
        assert (await world.attempt()).accepted == 1
        (mail,) = world.recorder.accepted
        assert [about in mail.text for about in ("p1", "p2", "p3")] == [False, True, True]
        row = await world.delivery()
        assert row.left_out == {str(first): "gone" if change.startswith("hidden") else change}
        (marked,) = [
            each.why for each in await world.history() if each.to_state == "SENT" and each.to_outcome == "unknown"
        ]
        assert marked == f"2 of 3 items left: 1 {words}"
        assert mail.subject == "2 new: Post"

    @pytest.mark.parametrize("kind", SOURCES)
    async def test_nothing_left_cancels_it_with_a_sentence(self, world: World, kind: str) -> None:
        await set_up(world, SOURCES[kind])
        await tell(world, "p1", "p2")
        await state(world, "deleted", "p1", "p2")
        await due(world)
        assert (await world.attempt()).canceled == 1
        assert (await world.delivery()).why == "nothing left to say: 0 of 2 items left: 2 deleted since"

    async def test_what_is_about_an_entity_that_they_muted_is_not_said(self, world: World) -> None:
        await set_up(world, None, frequency=Frequency.DAILY)
        await digest(world, "bob", ("k1", "p1"), ("k2", "p2"), ("k3", "p3"))
        await world.execute(
            "insert into hark.subscription (recipient_id, entity, muted, since) values ('bob', 'p2', true, %s),"
            " ('eve', 'p1', true, %s), ('bob', 'p3', false, %s)",
            *[MONDAY_NOON] * 3,
        )
        await world.attempt()
        (mail,) = world.recorder.accepted
        assert "p2" not in mail.text and "p1 k1" in mail.text and "p3 k3" in mail.text
        delivery = await world.delivery()
        assert delivery.left_out == {"post/k2": "muted"}

    async def test_where_all_that_is_listed_is_muted_nothing_is_said(self, world: World) -> None:
        await set_up(world, None, frequency=Frequency.DAILY)
        await digest(world, "bob", ("k1", "p1"))
        await world.execute(
            "insert into hark.subscription (recipient_id, entity, muted, since) values ('bob', 'p1', true, %s)",
            MONDAY_NOON,
        )
        await world.attempt()
        assert world.recorder.accepted == []
        delivery = await world.delivery()
        assert delivery.state == "CANCELED" and "about what they muted" in delivery.why

    @pytest.mark.parametrize("kind", SOURCES)
    async def test_one_left_is_told_by_the_template_for_one(self, world: World, kind: str) -> None:
        await set_up(world, SOURCES[kind])
        await tell(world, "p1", "p2", "p3")
        await state(world, "deleted", "p1", "p3")
        await due(world)
        await world.attempt()
        assert [mail.subject for mail in world.recorder.accepted] == ["One: p2"]

    @pytest.mark.parametrize("kind", SOURCES)
    async def test_what_was_edited_is_said_in_its_new_words(self, world: World, kind: str) -> None:
        await set_up(world, SOURCES[kind])
        await tell(world, "p1", "p2", payload={"title": "old words"})
        await state(world, "edited", "p1")
        await due(world)
        await world.attempt()
        (mail,) = world.recorder.accepted
        assert "p1  other words" in mail.text
        assert "p2  old words" in mail.text
        assert (await world.delivery()).left_out is None

    @pytest.mark.parametrize("kind", SOURCES)
    async def test_each_recipient_is_asked_about_and_other_reasons_are_not(self, world: World, kind: str) -> None:
        await set_up(world, SOURCES[kind])
        await tell(world, "p1", to=["bob", "eve"])
        await tell(world, "p2", name="comment")
        await state(world, "hidden from bob", "p1")
        await state(world, "deleted", "p2")
        await due(world)
        await world.attempt()
        assert {mail.address: mail.subject for mail in world.recorder.accepted} == {
            "bob@school.example": "One: p2",
            "eve@school.example": "One: p1",
        }

    async def test_python_is_asked_once_for_a_chunk_with_all_that_is_known_of_each_item(self, world: World) -> None:
        await set_up(world, python())
        await world.follow("thread:9", "bob", "eve")
        event, *_ = await tell(world, "p1", entities=["thread:9"], actor="alice", payload={"a": 1}, to=["bob"])
        await tell(world, "p2", to=["eve"])
        await due(world)
        assert (await world.attempt()).accepted == 2
        (asked,) = heard
        assert [each.n for each in asked] == [1, 2, 3]
        assert [each for each in asked if each.recipient_id == "bob"] == [
            Asked(
                *(asked[0].n if asked[0].recipient_id == "bob" else 3, "bob", event, None, "alice", "p1", ["thread:9"]),
                at=MONDAY_NOON,
                payload={"a": 1},
            )
        ]

    async def test_an_endpoint_is_asked_likewise(self, world: World) -> None:
        def answer(request: Request) -> bytes:
            (first, second) = request.json()["asked"]
            return said(
                {"answers": [{"n": first["n"], "why": "deleted"}, {"n": second["n"], "payload": {"title": "new"}}]}
            )

        async with serving(answer) as server:
            await set_up(world, UrlSource(server.url("/recheck")))
            events = await tell(world, "p1", "p2", actor="alice", payload={"title": "old"})
            await due(world)
            await world.attempt()
        (request,) = server.asked
        assert request.json()["reason"] == "post"
        assert request.json()["asked"][0] == {
            "n": 1,
            "recipient": "bob",
            "event": events[0],
            "key": None,
            "actor": "alice",
            "about": "p1",
            "entities": [],
            "at": "2026-03-02T12:00:00+00:00",
            "payload": {"title": "old"},
        }
        (mail,) = world.recorder.accepted
        assert mail.subject == "One: p2"
        assert "new" in mail.text

    async def test_no_transaction_is_open_while_others_than_postgres_are_asked(self, world: World) -> None:
        async with serving(lambda _request: said({"answers": []})) as server:
            await set_up(world, UrlSource(server.url()))
            await tell(world, "p1")
            await due(world)
            open_then: list[Any] = []
            post = world.asking.client.post

            async def watched(*given: Any, **more: Any) -> Any:
                open_then.extend(
                    await world.rows(
                        "select 1 from pg_stat_activity where datname = current_database()"
                        " and pid <> pg_backend_pid() and xact_start is not null"
                    )
                )
                return await post(*given, **more)

            world.asking.client.post = watched  # type: ignore[method-assign]
            assert (await world.attempt()).canceled == 1
        assert len(server.asked) == 1
        assert open_then == []

    async def test_the_least_favourable_of_several_answers_counts(self, world: World) -> None:
        await set_up(world, python("twice"))
        await tell(world, "p1")
        await due(world)
        assert (await world.attempt()).canceled == 1
        assert (await world.delivery()).why.endswith("1 deleted since")

    async def test_more_than_are_asked_about_are_not_said(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("hark.delivery.recheck.NOTED", 60)
        await set_up(world, SQL)
        await world.execute("insert into public.post select 'q' || n, 'ok' from generate_series(1, 100) n")
        await tell(world, *[f"q{n}" for n in range(1, 101)])
        await tell(world, "c1", "c2", name="comment")
        await world.execute("update public.post set state = 'deleted' where id = 'q100'")
        await due(world)
        await world.attempt()
        (mail,) = world.recorder.accepted
        assert mail.subject == "61 new: 59 Post, 2 Comment"
        assert mail.text.rstrip().endswith(f"and {61 - LISTED} more")
        (marked,) = [each.why for each in await world.history() if each.to_outcome == "unknown"]
        assert marked == "61 of 102 items left: 40 beyond what is asked about, 1 deleted since"

    async def test_all_of_up_to_a_thousand_are_asked_about(self, world: World) -> None:
        assert NOTED == 1000
        await set_up(world, SQL)
        await world.execute("insert into public.post select 'q' || n, 'deleted' from generate_series(1, 80) n")
        await tell(world, "p1", *[f"q{n}" for n in range(1, 81)])
        await due(world)
        await world.attempt()
        assert [mail.subject for mail in world.recorder.accepted] == ["One: p1"]


FAULTY = {
    "missing column": (SqlSource("select n, null as why from asked"), 'UndefinedColumn (42703): column "payload" does'),
    "no number": (SqlSource("select null as n, null as why, null as payload from asked"), "its answer: row 1 has no n"),
    "strange number": (
        SqlSource("select 99 as n, null as why, null as payload from asked"),
        "its answer: answers[0].n is not one that was asked",
    ),
    "long why": (
        SqlSource("select n, repeat('x', 61) as why, null as payload from asked"),
        "its answer: the why of row 1 is not a word or two of up to 60 characters",
    ),
    "odd payload": (
        SqlSource("select n, null as why, '7'::jsonb as payload from asked"),
        "its answer: the payload of row 1 is no object",
    ),
    "it writes": (
        SqlSource(
            "with x as (select hark.publish('post', array['bob'])) select n, x::text as why, null as payload"
            " from asked, x"
        ),
        "ReadOnlySqlTransaction (25006)",
    ),
    "too long": (
        SqlSource("select n, null as why, null as payload from asked, pg_sleep(20)"),
        "QueryCanceled (57014)",
    ),
    "data": (
        SqlSource("select about::int as n, null as why, null as payload from asked"),
        "InvalidTextRepresentation (22P02)",
    ),
    "raises": (python(), "tests.delivery.test_ask:from_memory raised ValueError in from_memory, line "),
    "strange answer": (python("strange"), "its answer: answers[0].n is not one that was asked"),
    "wordy": (python("wordy"), "its answer: answers[0].why: is not a word or two of up to 60 characters"),
    "not there": (PythonSource("no.such:thing"), "no.such:thing cannot be imported"),
    "no server": (UrlSource("http://127.0.0.1:9/"), "http://127.0.0.1:9: cannot be connected to"),
    "private": (UrlSource("http://10.0.0.7/"), "10.0.0.7 is 10.0.0.7, which is not called"),
}


class TestFailures:
    @pytest.mark.parametrize("kind", FAULTY)
    async def test_what_cannot_be_asked_about_waits_and_is_asked_again(self, world: World, kind: str) -> None:
        source, told = FAULTY[kind]
        world.asking = replace(world.asking, timeout=timedelta(milliseconds=100 if kind == "too long" else 20_000))
        await set_up(world, source)
        posts["poison"] = "p1"
        await tell(world, "p1")
        await tell(world, "p2", to=["eve"], name="comment")
        await due(world)
        done = await world.attempt()
        assert (done.given_back, done.accepted, done.canceled) == (1, 1, 0)
        assert [mail.address for mail in world.recorder.accepted] == ["eve@school.example"]
        row = next(each for each in await world.deliveries() if each.recipient_id == "bob")
        assert (row.state, row.attempt) == ("PENDING", 1)
        assert row.why.startswith("the recheck of post failed: ")
        assert told in row.why
        assert row.due_at > world.clock.now()
        await world.install(reason("post", group="talk", templates=WORDS), reason("comment"))
        world.clock.move_to(row.due_at)
        assert (await world.attempt()).accepted == 1

    async def test_at_the_end_of_its_attempts_it_is_canceled_never_sent_unchecked(self, world: World) -> None:
        await set_up(world, python())
        posts["poison"] = "yes"
        await tell(world, "p1")
        await due(world)
        done = await world.attempt(backoff=Backoff(max_attempts=1))
        assert done.canceled == 1
        assert (await world.delivery()).why.startswith("attempts used up (1): the recheck of post failed: ")
        assert world.recorder.handed_over == []

    async def test_one_poisonous_payload_holds_up_its_own_delivery_only(self, world: World) -> None:
        await set_up(world, python())
        names = [f"s{n:02}" for n in range(20)]
        await world.know(*names)
        await tell(world, "p1", to=names)
        await tell(world, "p2", to=["s07"], payload={"poison": True})
        await due(world)
        done = await world.attempt()
        assert (done.given_back, done.accepted) == (1, 19)
        assert len(heard) < 12

    async def test_an_sql_recheck_is_narrowed_likewise(self, world: World) -> None:
        source = SqlSource("select n, null as why, null as payload from asked where (payload ->> 'size')::int > 0")
        await set_up(world, source)
        names = [f"s{n:02}" for n in range(9)]
        await world.know(*names)
        await tell(world, "p1", to=names, payload={"size": 1})
        await tell(world, "p1", to=["s08"], payload={"size": "large"})
        await due(world)
        done = await world.attempt()
        assert (done.given_back, done.accepted) == (1, 8)

    @pytest.mark.parametrize("at", ["infinity", "12000-01-01T00:00:00+00:00"])
    @pytest.mark.parametrize("source", [None, SQL], ids=["unasked", "asked"])
    async def test_a_time_that_python_has_not_holds_up_its_own_delivery_only(
        self, world: World, at: str, source: Source | None
    ) -> None:
        await set_up(world, source, frequency=Frequency.DAILY)
        for who in ("bob", "eve"):
            await digest(world, who, ("k1", "p1"))
        await world.execute(
            "update hark.digest set items = jsonb_set(items, '{0,1}', to_jsonb(%s::text)) where recipient_id = 'bob'",
            at,
        )
        done = await world.attempt()
        assert (done.given_back, done.accepted) == (1, 1)
        row = next(each for each in await world.deliveries() if each.recipient_id == "bob")
        assert (row.state, row.why) == ("PENDING", "a time cannot be read: it is not between the years 1 and 9999")

    @pytest.mark.parametrize(
        "held", ["repeat('[', 3000) || repeat(']', 3000)", "repeat('[', 6000) || repeat(']', 6000)"]
    )
    async def test_a_payload_that_cannot_be_read_holds_up_its_own_deliveries_only(
        self, world: World, held: str
    ) -> None:
        source = SqlSource(
            f"select n, null as why, case when recipient_id in ('s01', 's08')"
            f" then ('{{\"a\": ' || {held} || '}}')::jsonb end as payload from asked"
        )
        await set_up(world, source)
        names = [f"s{n:02}" for n in range(9)]
        await world.know(*names)
        await tell(world, "p1", to=names)
        await due(world)
        done = await world.attempt()
        assert (done.claimed, done.given_back + done.accepted) == (9, 9)
        assert done.accepted >= 7

    @pytest.mark.parametrize("kind", ["sql", "python", "http"])
    async def test_a_number_of_thousands_of_digits_holds_up_nobody_else(self, world: World, kind: str) -> None:
        large = "('{\"n\": ' || repeat('9', 5000) || '}')::jsonb"
        sql = SqlSource(f"select n, null as why, {large} as payload from asked")

        def answer(request: Request) -> bytes:
            return said({"answers": [{"n": each["n"]} for each in request.json()["asked"]]})

        async with serving(answer) as server:
            await set_up(world, {"sql": sql, "python": python("all_well"), "http": UrlSource(server.url("/"))}[kind])
            await tell(world, "p1", to=["eve"])
            await world.execute(f"select hark.publish('post', array['bob'], payload => {large})")
            await world.fan_out()
            await world.execute("update hark.delivery set due_at = %s", world.clock.now())
            done = await world.attempt()
        expected = (0, 2) if kind != "http" else (1, 1)
        assert (done.given_back, done.accepted) == expected

    async def test_a_fault_of_ours_over_one_delivery_gives_back_that_one_alone(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def breaking(database: Any, held: Any, rechecks: Any) -> Any:
            if any(each.recipient_id == "bob" for each in held):
                raise KeyError("secret")
            return await asking.ask(database, held, rechecks)

        monkeypatch.setattr("hark.delivery.attempt.ask", breaking)
        await set_up(world, SQL)
        await tell(world, "p1", to=["bob", "eve"])
        await due(world)
        done = await world.attempt()
        assert (done.claimed, done.given_back, done.accepted) == (2, 1, 1)
        row = next(each for each in await world.deliveries() if each.recipient_id == "bob")
        assert (row.state, row.attempt, row.why) == ("PENDING", 1, "its recheck broke: KeyError")
        assert row.due_at > world.clock.now()


class TestDigests:
    @pytest.mark.parametrize("kind", SOURCES)
    async def test_what_a_feed_says_is_asked_about_and_told_with_the_events(self, world: World, kind: str) -> None:
        await set_up(world, SOURCES[kind], frequency=Frequency.DAILY)
        await tell(world, "c1", name="comment", at=MONDAY_NOON - timedelta(days=1))
        await digest(world, "bob", ("k1", "p1"), ("k2", "p2"), ("k3", "p3"), total=43)
        await state(world, "deleted", "p2")
        await world.attempt()
        (mail,) = world.recorder.accepted
        assert mail.subject == "3 new: 2 Post, 1 Comment"
        assert "p1 k1 title of p1" in mail.text
        assert "p2" not in mail.text
        assert mail.text.rstrip().endswith("and more"), "how many of the 40 may still be said, nobody asked"
        assert (await world.delivery()).left_out == {"post/k2": "deleted"}

    async def test_without_a_recheck_all_that_it_says_is_said(self, world: World) -> None:
        await set_up(world, None, frequency=Frequency.DAILY)
        await digest(world, "bob", ("k1", "p1"))
        await digest(world, "bob", ("k1", "p9"), name="comment")
        await world.attempt()
        (mail,) = world.recorder.accepted
        assert mail.subject == "2 new: 1 Post, 1 Comment"

    async def test_one_left_is_told_by_the_template_for_one(self, world: World) -> None:
        await set_up(world, SQL, frequency=Frequency.DAILY)
        await digest(world, "bob", ("k1", "p1"), ("k2", "p2"))
        await state(world, "deleted", "p2")
        await world.attempt()
        assert [mail.subject for mail in world.recorder.accepted] == ["One: p1"]

    async def test_if_none_that_it_lists_is_left_the_others_are_not_told_of_either(self, world: World) -> None:
        await set_up(world, SQL, frequency=Frequency.DAILY)
        await digest(world, "bob", ("k1", "p1"), ("k2", "p2"), total=10)
        await state(world, "deleted", "p1", "p2")
        assert (await world.attempt()).canceled == 1
        assert (await world.delivery()).why == (
            "nothing left to say: 0 of 10 items left: 8 beyond what is asked about, 2 deleted since"
        )
        assert (await world.delivery()).left_out == {"post/k1": "deleted", "post/k2": "deleted"}
        assert (await world.delivery()).silent == {"post": "items"}

    async def test_what_stands_behind_is_counted_if_all_that_were_asked_about_may_be_said(self, world: World) -> None:
        await set_up(world, SQL, frequency=Frequency.DAILY)
        await digest(world, "bob", ("k1", "p1"), ("k2", "p2"), total=42)
        await world.attempt()
        (mail,) = world.recorder.accepted
        assert mail.subject == "42 new: Post"
        assert mail.text.rstrip().endswith("and 40 more")
        assert (await world.delivery()).silent is None

    async def test_what_is_kept_in_reserve_stands_in_for_what_is_left_out(self, world: World) -> None:
        await set_up(world, SQL, frequency=Frequency.DAILY)
        await world.execute("update hark.feed set cap = 3")
        await digest(world, "bob", *[(f"k{n}", f"p{n}") for n in range(1, 7)])
        await state(world, "deleted", "p1", "p3")
        await world.attempt()
        (mail,) = world.recorder.accepted
        assert [f"p{n} k{n}" in mail.text for n in range(1, 7)] == [False, True, False, True, True, False]
        assert mail.subject == "4 new: Post"
        assert mail.text.rstrip().endswith("and 1 more")

    async def test_one_left_says_that_there_are_more_if_there_may_be(self, world: World) -> None:
        await set_up(world, SQL, frequency=Frequency.DAILY)
        await digest(world, "bob", ("k1", "p1"), ("k2", "p2"), total=5)
        await state(world, "deleted", "p2")
        await world.attempt()
        (mail,) = world.recorder.accepted
        assert mail.subject == "One: p1"
        assert mail.text.rstrip().endswith("and more") and "and more" in (mail.html or "")

    @pytest.mark.parametrize(
        ("choice", "why", "words"),
        [
            ({"frequency": Frequency.NEVER}, "never", "muted since"),
            ({"channels": [Channel.IN_APP]}, "own_channels", "not wanted by e-mail any more"),
        ],
    )
    async def test_the_decision_is_taken_anew(self, world: World, choice: dict[str, Any], why: str, words: str) -> None:
        await set_up(world, SQL, frequency=Frequency.DAILY)
        await digest(world, "bob", ("k1", "p1"), ("k2", "p2"), total=5)
        await world.choose("bob", "post", **choice)
        assert (await world.attempt()).canceled == 1
        row = await world.delivery()
        assert row.why == f"nothing left to say: 0 of 5 items left: 5 {words}"
        assert row.left_out == {"post/k1": why, "post/k2": why}

    async def test_a_recipient_whom_mail_does_not_reach_any_more_is_not_told(self, world: World) -> None:
        await set_up(world, None, frequency=Frequency.DAILY)
        await digest(world, "bob", ("k1", "p1"))
        await digest(world, "eve", ("k1", "p1"))
        await world.execute("update hark.recipient set confirmed = false where id = 'bob'")
        await world.execute("delete from hark.recipient where id = 'eve'")
        await world.attempt()
        whys = {row.recipient_id: row.why for row in await world.deliveries()}
        assert whys["bob"].endswith("1 with an unconfirmed address")
        assert whys["eve"].endswith("1 whose recipient is gone")

    async def test_a_digest_that_cannot_be_asked_about_waits(self, world: World) -> None:
        await set_up(world, python(), frequency=Frequency.DAILY)
        posts["poison"] = "yes"
        await digest(world, "bob", ("k1", "p1"))
        assert (await world.attempt()).given_back == 1
        del posts["poison"]
        world.clock.move_to((await world.delivery()).due_at)
        assert (await world.attempt()).accepted == 1
        assert [(each.event_id, each.key, each.about) for each in heard[-1]] == [(None, "k1", "p1")]


def test_a_question_is_about_so_many_at_most() -> None:
    questions = list(range(asking.MOST_AT_ONCE + 1))
    assert [len(piece) for piece in asking._pieces(questions)] == [asking.MOST_AT_ONCE, 1]  # type: ignore[arg-type]
