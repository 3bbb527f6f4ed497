"""The preference backfill: what becomes of whom."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hark import preferences
from hark.backfill.kinds.preferences import Outcome, become, read_preferences
from hark.backfill.undo import undo
from hark.backfill.verify import astray
from hark.catalogue import Channel, Frequency
from hark.errors import BadInput
from tests.backfill.campus import CATALOGUE, Campus

KNOWN = ("email", "in_app", "push")
CHANNEL = st.sampled_from(KNOWN)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5).filter(lambda text: "\0" not in text) | CHANNEL,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["email", "x"]), inner, max_size=2),
    max_leaves=6,
)
CHOICE = st.lists(CHANNEL, max_size=3) | JSON
MAP = st.dictionaries(st.sampled_from(["reply", "like", "tip", "done", "other"]), CHOICE, max_size=4)
ASKED = st.lists(CHANNEL, min_size=1, max_size=3, unique=True)


def model(held: dict[str, Any] | None, reason: str, asked: list[str], *, create: bool) -> tuple[str, object]:
    """The rules once more, in the plainest words: the outcome, and what is stored afterwards (`...`: nothing is)."""
    if held is None and not create:
        return "no_row", ...
    if reason not in (held or {}):
        if "Students" not in CATALOGUE.reasons[reason].channels:
            return "no_default", ...
        defaults = [str(channel) for channel in CATALOGUE.reasons[reason].channels["Students"]]
        return "create", defaults + [channel for channel in asked if channel not in defaults]
    choice = (held or {})[reason]
    if type(choice) is not list or any(type(each) is not str or each not in KNOWN for each in choice):
        return "malformed", choice
    if sorted(choice) != sorted(set(choice)):
        return "malformed", choice
    missing = [channel for channel in asked if channel not in choice]
    return ("append", choice + missing) if missing else ("unchanged", choice)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(
    people=st.lists(st.none() | MAP, min_size=1, max_size=8),
    asked=ASKED,
    reasons=st.lists(st.sampled_from(["reply", "like", "tip", "done"]), min_size=1, max_size=3, unique=True),
    create=st.booleans(),
)
async def test_every_map_gets_what_the_model_says(
    campus: Campus, people: list[dict[str, Any] | None], asked: list[str], reasons: list[str], create: bool
) -> None:
    await campus.run("truncate hark.preference, hark.recipient, hark.backfill_item")
    had = {f"u{number}": held for number, held in enumerate(people)}
    await campus.people(had)

    backfill = await campus.plan(reasons, asked, create_rows=create)
    told = {
        (reason, name): model(held, reason, asked, create=create) for name, held in had.items() for reason in reasons
    }
    counted: dict[tuple[str, str], int] = {}
    for (reason, _), (outcome, _) in told.items():
        counted[reason, outcome] = counted.get((reason, outcome), 0) + 1
    assert await campus.counts(backfill) == counted

    await campus.apply(backfill)
    expected: dict[str, Any] = {}
    for name, held in had.items():
        stored = {reason: told[reason, name][1] for reason in reasons if told[reason, name][1] is not ...}
        if held is not None or stored:
            expected[name] = {**(held or {}), **stored}
    assert await campus.channels() == json.loads(json.dumps(expected))

    if any(outcome in ("append", "create") for outcome, _ in told.values()):
        await campus.undone(backfill)
        assert await campus.channels() == {name: held for name, held in had.items() if held is not None}


@given(choice=JSON, asked=ASKED, defaults=st.none() | st.lists(CHANNEL, unique=True), chose=st.booleans())
def test_a_choice_never_loses_a_channel_and_keeps_its_order(
    choice: object, asked: list[str], defaults: list[str] | None, chose: bool
) -> None:
    outcome, after = become(choice, asked, defaults, chose=chose)
    held = choice if chose else defaults
    if outcome in (Outcome.MALFORMED, Outcome.NO_DEFAULT):
        assert after == []
        return
    assert isinstance(held, list)
    assert after[: len(held)] == held
    assert set(after) == set(held) | set(asked)
    assert len(after) == len(set(after))


async def test_a_second_one_changes_nothing(campus: Campus) -> None:
    await campus.people({"ann": {"reply": ["email"]}, "bob": {"reply": []}, "cat": {}, "dan": None})
    await campus.apply(await campus.plan(create_rows=True))
    before = await campus.rows("select xmin::text, * from hark.preference order by recipient_id")

    again = await campus.plan(create_rows=True)
    await campus.apply(again)

    assert await campus.counts(again) == {("reply", "unchanged"): 4}
    assert await campus.rows("select xmin::text, * from hark.preference order by recipient_id") == before
    assert await campus.state(again) == "APPLIED"


async def test_only_the_asked_user_types_are_touched(campus: Campus) -> None:
    await campus.people({"ann": {"reply": []}})
    await campus.people({"eda": {"reply": []}}, "Employers")
    backfill = await campus.plan(user_types=["Employers"])
    await campus.apply(backfill)
    assert await campus.counts(backfill) == {("reply", "append"): 1, ("reply", "other_type"): 1}
    assert await campus.channels() == {"ann": {"reply": []}, "eda": {"reply": ["push", "in_app"]}}


async def test_rows_are_created_only_when_asked_for_and_undone_whole(campus: Campus) -> None:
    await campus.people({"ann": None, "bob": None})
    backfill = await campus.plan(create_rows=True)
    await campus.apply(backfill)
    assert await campus.channels() == {name: {"reply": ["email", "in_app", "push"]} for name in ("ann", "bob")}
    await campus.choose("bob", "tip", [])

    await campus.undone(backfill)
    assert await campus.channels() == {"bob": {"tip": []}}


async def test_who_chose_since_the_plan_is_not_overwritten_and_counted_exactly(campus: Campus) -> None:
    await campus.people({f"u{number:03}": {"reply": ["email"]} for number in range(100)})
    backfill = await campus.plan(batch_size=30)
    await campus.choose("u007", "reply", [])
    await campus.choose("u050", "tip", ["email"])
    await campus.run("update hark.recipient set user_type = 'Employers' where id = 'u051'")
    await campus.run("delete from hark.preference where recipient_id = 'u099'")

    await campus.apply(backfill)

    far = (await campus.shown(backfill)).totals
    assert (far.applied, far.drifted, far.quarantined) == (97, 3, 0)
    drifted = await campus.rows("select recipient_id, why from hark.backfill_item where outcome = 'drifted' order by 1")
    assert drifted == [
        ("u007", "chose otherwise since the plan"),
        ("u051", "is of type Employers now, was of Students"),
        ("u099", "has no preferences any more"),
    ]
    held = await campus.channels()
    assert held["u007"] == {"reply": []}
    assert held["u050"] == {"reply": ["email", "push", "in_app"], "tip": ["email"]}
    assert held["u051"] == {"reply": ["email"]}


async def test_an_opt_out_that_commits_while_the_batch_waits_for_its_row_is_not_lost(campus: Campus) -> None:
    await campus.people({"ann": {"reply": ["email"]}, "bob": {"reply": ["email"]}})
    backfill = await campus.plan()
    with psycopg.connect(campus.dsn) as opting_out:
        opting_out.execute("update hark.preference set channels = '{\"reply\": []}' where recipient_id = 'bob'")
        applying = asyncio.create_task(campus.apply(backfill))
        while not await campus.column("select 1 from pg_locks where not granted"):
            assert not applying.done()
            await asyncio.sleep(0.01)
        opting_out.commit()
    await applying
    assert await campus.channels() == {"ann": {"reply": ["email", "push", "in_app"]}, "bob": {"reply": []}}
    assert (await campus.shown(backfill)).totals.drifted == 1


async def test_undo_takes_back_each_reason_that_nobody_changed_since(campus: Campus) -> None:
    await campus.people({"ann": {"reply": ["email"], "like": []}, "bob": {}})
    backfill = await campus.plan(["reply", "like"], ["push"])
    await campus.apply(backfill)
    await campus.choose("ann", "like", ["push", "email"])

    back = await campus.undone(backfill)

    assert await campus.channels() == {"ann": {"reply": ["email"], "like": ["push", "email"]}, "bob": {}}
    assert await campus.counts(back) == {
        ("reply", "restore"): 2,
        ("like", "restore"): 1,
        ("like", "changed_since"): 1,
    }
    assert (await campus.verified(back)).good


async def test_undo_leaves_what_was_confirmed_since(campus: Campus) -> None:
    asked = ["email", "push", "in_app"]
    await campus.people({"ann": {"reply": ["email"], "like": []}, "bob": None, "cat": {"reply": ["email"]}})
    backfill = await campus.plan(["reply", "like"], create_rows=True)
    await campus.apply(backfill)
    await campus.choose("ann", "reply", asked)
    await campus.choose("bob", "reply", ["email", "in_app", "push"])
    back = await undo(campus.database, backfill, who="olga", now=campus.clock.now())
    await campus.planned(back)
    await campus.choose("cat", "reply", asked)
    await campus.apply(back)
    assert await campus.channels() == {
        "ann": {"reply": asked, "like": []},
        "bob": {"reply": ["email", "in_app", "push"]},
        "cat": {"reply": asked, "like": ["in_app", "push"]},
    }
    assert (await campus.shown(back)).totals.drifted == 1
    assert (await campus.verified(back)).good


async def test_an_undo_can_be_undone(campus: Campus) -> None:
    await campus.people({"ann": {"reply": ["email"]}, "bob": {}, "cat": None})
    backfill = await campus.plan(create_rows=True)
    await campus.apply(backfill)
    applied = await campus.channels()
    back = await campus.undone(backfill)
    await campus.undone(back)
    assert await campus.channels() == applied


async def since(campus: Campus) -> dict[str, list[str]]:
    rows = await campus.column(
        "select jsonb_build_array(recipient_id, array(select jsonb_object_keys(since))) from hark.preference order by 1"
    )
    return dict(rows)


async def test_what_was_restored_is_not_undone_any_more(campus: Campus) -> None:
    await campus.people({"ann": {"reply": []}})
    backfill = await campus.plan()
    await campus.apply(backfill)
    back = await campus.undone(backfill)
    assert (await campus.verified(backfill)).undone_by == [back]
    again = await campus.undone(back)
    seen = await campus.verified(backfill)
    assert (seen.undone_by, seen.holding, await campus.state(backfill)) == ([], 1, "VERIFIED")
    assert (await campus.shown(backfill)).head.undone_by == []
    assert (await campus.verified(back)).undone_by == [again]
    await campus.undone(again)
    assert (await campus.verified(backfill)).undone_by == [back]
    assert (await campus.shown(backfill)).head.undone_by == [back]


async def test_who_is_told_of_a_feed_from_now_on_came_back_to_it(campus: Campus) -> None:
    await campus.people({"ann": {"page": []}, "bob": {}, "cat": None, "dan": {"page": ["email"]}, "eve": {"like": []}})
    backfill = await campus.plan(["page", "like"], ["email"], create_rows=True)
    await campus.apply(backfill)
    assert await since(campus) == {"ann": ["page"], "bob": ["page"], "cat": ["page"], "dan": [], "eve": ["page"]}


TABLE = "select recipient_id, channels, frequencies, since, chose from hark.preference order by 1"


async def test_undo_leaves_the_table_as_it_was_of_feeds_too(campus: Campus) -> None:
    await campus.people({"ann": {"page": []}, "bob": {"page": ["push"]}, "cat": None, "dan": None, "eve": {"page": []}})
    await campus.run(
        "update hark.preference set since = %s::jsonb where recipient_id = 'eve'",
        '{"page": {"at": "2026-01-01T00:00:00+00:00", "snapshot": "1:1:", "left": "2026-01-02T00:00:00+00:00"}}',
    )
    before = await campus.rows(TABLE)
    backfill = await campus.plan(["page"], ["email"], create_rows=True)
    await campus.apply(backfill)
    assert set(await since(campus)) == {"ann", "bob", "cat", "dan", "eve"}
    campus.clock.advance(timedelta(hours=1))
    back = await campus.undone(backfill)
    assert await campus.rows(TABLE) == before
    assert (await campus.verified(back)).good
    await campus.undone(back)
    assert set(await since(campus)) == {"ann", "bob", "cat", "dan", "eve"}


async def test_undo_leaves_the_table_as_it_was_for_whom_no_mail_reaches_and_who_keeps_it(campus: Campus) -> None:
    await campus.people({"ann": {"page": ["email"]}, "bob": {"page": ["email"]}})
    await reachable(campus, "bob")
    before = await campus.rows(TABLE)
    backfill = await campus.plan(["page"], ["push"])
    await campus.apply(backfill)
    applied = await campus.rows(TABLE)
    campus.clock.advance(timedelta(days=2))
    await campus.run("update hark.recipient set confirmed = false where id = 'bob'")
    back = await campus.undone(backfill)
    assert await campus.rows(TABLE) == before
    campus.clock.advance(timedelta(days=2))
    await campus.undone(back)
    assert await campus.rows(TABLE) == applied


async def test_two_that_are_undone_in_reverse_leave_the_table_as_it_was(campus: Campus) -> None:
    await campus.people({"ann": {"page": [], "like": ["in_app"]}, "bob": None, "cat": None, "eve": {"page": ["push"]}})
    await reachable(campus, "cat")
    before = await campus.rows(TABLE)
    first = await campus.plan(["page"], ["email"], create_rows=True)
    await campus.apply(first)
    campus.clock.advance(timedelta(days=2))
    second = await campus.plan(["page", "like"], ["in_app", "push"], create_rows=True)
    await campus.apply(second)
    campus.clock.advance(timedelta(days=2))
    await campus.undone(second)
    campus.clock.advance(timedelta(days=1))
    await campus.undone(first)
    assert await campus.rows(TABLE) == before


async def test_two_that_are_undone_in_the_order_they_came_leave_no_row_that_only_they_made(campus: Campus) -> None:
    await campus.people({"ann": {}, "bob": {"tip": []}, "cat": None, "dan": None, "eve": None, "finn": {"like": []}})
    await campus.run("update hark.preference set channels = '{}' where recipient_id = 'finn'")
    before = await campus.rows(TABLE)
    first = await campus.plan(["reply"], create_rows=True)
    await campus.apply(first)
    campus.clock.advance(timedelta(days=1))
    second = await campus.plan(["like", "page"], create_rows=True)
    await campus.apply(second)
    applied = await campus.channels()
    await campus.choose("dan", "tip", ["email"])
    await campus.choose("eve", "tip", ["email"])
    await campus.run("update hark.preference set channels = channels - 'tip' where recipient_id = 'eve'")
    await campus.undone(first)
    campus.clock.advance(timedelta(days=1))
    back = await campus.undone(second)
    chosen = {"dan": {"tip": ["email"]}, "eve": {}}
    assert await campus.channels() == {"ann": {}, "bob": {"tip": []}, **chosen, "finn": {}}
    after = [row for row in await campus.rows(TABLE) if row[0] not in chosen]
    assert after == before
    assert (await campus.verified(back)).good
    await campus.undone(back)
    assert (await campus.channels())["cat"] == {on: held for on, held in applied["cat"].items() if on != "reply"}


async def reachable(campus: Campus, name: str) -> None:
    await campus.run("update hark.recipient set address = 'r@school.example', confirmed = true where id = %s", name)


async def test_undo_leaves_since_when_alone_where_it_was_said_anew(campus: Campus) -> None:
    await campus.people({"ann": {"page": []}, "cat": None})
    backfill = await campus.plan(["page"], ["email"], create_rows=True)
    await campus.apply(backfill)
    later = """{"page": {"at": "2027-01-01T00:00:00+00:00", "snapshot": "1:1:"}}"""
    await campus.run("update hark.preference set since = %s::jsonb", later)
    back = await campus.undone(backfill)
    assert await campus.channels() == {"ann": {"page": []}, "cat": {}}
    assert await since(campus) == {"ann": ["page"], "cat": ["page"]}
    assert (await campus.verified(back)).good


async def test_verifying_tells_a_later_choice_from_a_loss(campus: Campus) -> None:
    await campus.people({"ann": {"reply": []}, "bob": {"reply": []}, "cat": {"reply": []}, "dan": {"reply": []}})
    backfill = await campus.plan()
    await campus.choose("ann", "reply", ["email"])
    await campus.apply(backfill)
    await campus.choose("bob", "reply", [])
    seen = await campus.verified(backfill)
    assert (seen.compared, seen.holding, seen.explained, seen.unexplained) == (4, 2, 2, 0)
    assert seen.good
    assert await campus.state(backfill) == "VERIFIED"

    await campus.run("update hark.preference set channels = '{}' where recipient_id = 'cat'")
    seen = await campus.verified(backfill)
    assert (seen.unexplained, seen.good) == (1, False)
    first = seen.astray[0]
    assert (first.recipient_id, first.why) == ("cat", "does not hold, and nothing has changed it since")
    assert await campus.state(backfill) == "APPLIED"


async def test_a_choice_of_another_reason_explains_nothing(campus: Campus) -> None:
    await campus.people({"ann": {"reply": []}, "bob": {"reply": []}})
    backfill = await campus.plan()
    await campus.apply(backfill)
    await campus.run("update hark.preference set channels = channels || '{\"reply\": []}'")
    for name in ("ann", "bob"):
        await campus.choose(name, "like", ["in_app"])
    seen = await campus.verified(backfill)
    assert (seen.unexplained, seen.good) == (2, False)
    assert set(seen.whys) == {"does not hold; the row was written since, but nothing says that they chose this"}


async def test_a_choice_of_the_frequency_does_not_explain_a_lost_channel(campus: Campus) -> None:
    await campus.people({"ann": {"reply": []}})
    backfill = await campus.plan()
    await campus.apply(backfill)
    await campus.run("update hark.preference set channels = channels || '{\"reply\": []}'")
    campus.clock.advance(timedelta(seconds=1))
    await preferences.choose(campus.database, "ann", "reply", campus.clock.now(), frequency=Frequency.WEEKLY)
    seen = await campus.verified(backfill)
    assert (seen.unexplained, seen.good) == (1, False)


async def test_a_frequency_chosen_after_a_row_was_taken_back_is_no_loss(campus: Campus) -> None:
    await campus.people({"ann": None})
    backfill = await campus.plan(create_rows=True)
    await campus.apply(backfill)
    back = await campus.undone(backfill)
    await preferences.choose(campus.database, "ann", "reply", campus.clock.now(), frequency=Frequency.WEEKLY)
    seen = await campus.verified(back)
    assert (seen.holding, seen.good) == (1, True)


async def test_a_choice_explains_by_its_place_behind_the_batch_whatever_the_clocks_say(campus: Campus) -> None:
    await campus.people({"ann": {"reply": ["email"]}, "bob": {"reply": ["email"]}, "cat": {"reply": ["email"]}})
    ahead = campus.clock.now() + timedelta(hours=1)
    asked_at = campus.clock.now() - timedelta(seconds=1)
    await campus.choose("cat", "reply", ["email"])
    await preferences.choose(campus.database, "bob", "reply", ahead, channels=[Channel.EMAIL])
    backfill = await campus.plan()
    await campus.apply(backfill)
    await preferences.choose(campus.database, "ann", "reply", asked_at, channels=[])
    await campus.run("update hark.preference set channels = '{\"reply\": []}' where recipient_id = 'bob'")
    await campus.run("delete from hark.preference where recipient_id = 'cat'")
    await campus.run("insert into hark.preference (recipient_id, updated_at) values ('cat', %s)", ahead)
    seen = await campus.verified(backfill)
    assert {each.recipient_id: each.explained for each in seen.astray} == {"ann": True, "bob": False, "cat": False}


async def test_what_another_backfill_changed_since_is_explained_by_its_journal(campus: Campus) -> None:
    await campus.people({"ann": {"reply": []}, "bob": None})
    backfill = await campus.plan(create_rows=True)
    await campus.apply(backfill)
    campus.clock.advance(timedelta(hours=1))
    await campus.undone(backfill)
    seen = await campus.verified(backfill)
    assert seen.whys == {"another backfill changed it since": 2}
    assert seen.good


async def test_another_backfill_explains_only_what_stands_as_it_left_it(campus: Campus) -> None:
    await campus.people({"ann": {"like": []}, "bob": {"like": []}, "cat": {"like": []}})
    first = await campus.plan(["like"], ["push"])
    await campus.apply(first)
    campus.clock.advance(timedelta(hours=1))
    second = await campus.plan(["like"], ["email"])
    await campus.apply(second)
    await campus.run("update hark.preference set channels = '{\"like\": []}' where recipient_id = 'ann'")
    await campus.choose("bob", "like", [])
    seen = await campus.verified(first)
    assert [each.recipient_id for each in seen.astray if not each.explained] == ["ann"]
    assert (seen.holding, seen.unexplained, seen.good) == (1, 1, False)
    back = await campus.undone(second)
    assert await campus.counts(back) == {("like", "changed_since"): 2, ("like", "restore"): 1}


async def test_another_backfill_explains_nothing_once_a_later_one_changed_the_same(campus: Campus) -> None:
    await campus.people({"ann": {"like": ["email"]}, "bob": {"like": ["email"]}})
    first = await campus.plan(["like"], ["push"])
    await campus.apply(first)
    campus.clock.advance(timedelta(hours=1))
    back = await campus.undone(first)
    campus.clock.advance(timedelta(hours=1))
    await campus.undone(back)
    await campus.run("update hark.preference set channels = '{\"like\": [\"email\"]}' where recipient_id = 'ann'")
    seen = await campus.verified(first)
    assert [each.recipient_id for each in seen.astray if not each.explained] == ["ann"]
    assert not seen.good
    again = await campus.undone(first)
    assert await campus.counts(again) == {("like", "changed_since"): 1, ("like", "restore"): 1}


async def test_for_whom_it_does_not_hold_is_had_in_pages_and_nothing_is_kept_of_that(campus: Campus) -> None:
    await campus.people({f"u{n:02}": {"reply": ["email"]} for n in range(14)})
    backfill = await campus.plan()
    await campus.apply(backfill)
    for name in ("u01", "u02", "u03", "u09"):
        await campus.choose(name, "reply", [])
    await campus.run("update hark.preference set channels = '{}' where recipient_id in ('u04', 'u13')")
    events = await campus.column("select count(*) from hark.backfill_event")
    pages, after = [], ""
    while page := await astray(campus.database, backfill, after=after, limit=2):
        pages.append([each.recipient_id for each in page])
        after = page[-1].recipient_id
    assert pages == [["u01", "u02"], ["u03", "u04"], ["u09", "u13"]]
    lost = await astray(campus.database, backfill, after="u04", unexplained=True)
    assert [(each.recipient_id, each.explained) for each in lost] == [("u13", False)]
    assert await campus.column("select count(*) from hark.backfill_event") == events


async def test_pages_go_by_ids_though_batches_lie_across_each_other(campus: Campus) -> None:
    await campus.people({f"u{n:02}": {"reply": []} for n in range(12)})
    backfill = await campus.plan()
    await campus.apply(backfill)
    await campus.run("update hark.preference set channels = '{}'")
    await campus.run("update hark.backfill_part set members = array['u00', 'u05', 'u11'] where batch = 1")
    await campus.run("update hark.backfill_part set members = array['u02', 'u03', 'u04'] where batch = 2")
    await campus.run("update hark.backfill_part set members = array['u01', 'u06', 'u07'] where batch = 3")
    await campus.run("update hark.backfill_part set members = array['u08', 'u09', 'u10'] where batch = 4")
    pages, after = [], ""
    while page := await astray(campus.database, backfill, after=after, limit=5):
        pages.append([each.recipient_id for each in page])
        after = page[-1].recipient_id
    assert pages == [[f"u{n:02}" for n in range(start, min(12, start + 5))] for start in (0, 5, 10)]


async def test_whoever_another_backfill_changed_since_the_plan_did_not_choose(campus: Campus) -> None:
    await campus.people(
        {"ann": {"reply": ["email"], "like": []}, "bob": {"reply": ["email"]}, "cy": {"reply": ["email"]}}
    )
    await campus.people({"dora": None, "eve": None, "finn": {"reply": ["email"]}})
    first = await campus.plan(["reply", "like"], ["push"], create_rows=True)
    second = await campus.plan(["reply"], ["in_app"], create_rows=True)
    await campus.choose("bob", "reply", [])
    await campus.choose("eve", "tip", ["email"])
    await campus.choose("ann", "tip", ["email"])
    await campus.apply(second)
    await campus.choose("cy", "reply", ["push"])
    await campus.run("delete from hark.preference where recipient_id = 'finn'")
    await campus.apply(first)
    drifted = await campus.rows(
        "select recipient_id, why from hark.backfill_item where backfill_id = %s and outcome = 'drifted' order by 1",
        first,
    )
    assert drifted == [
        ("ann", "another backfill changed it since"),
        ("bob", "chose otherwise since the plan"),
        ("cy", "chose otherwise since the plan"),
        ("dora", "another backfill changed it since"),
        ("eve", "has preferences of their own now"),
        ("finn", "has no preferences any more"),
    ]


async def test_an_undo_of_what_was_undone_says_that_a_backfill_did_so(campus: Campus) -> None:
    await campus.people({"ann": {"reply": ["email"]}, "bob": {"reply": []}, "cy": {"reply": []}, "dora": None})
    backfill = await campus.plan(create_rows=True)
    await campus.apply(backfill)
    late = await undo(campus.database, backfill, who="olga", now=campus.clock.now())
    await campus.planned(late)
    await campus.choose("bob", "reply", ["push"])
    await campus.undone(backfill)
    await campus.choose("cy", "reply", ["email"])
    again = await undo(campus.database, backfill, who="olga", now=campus.clock.now())
    await campus.planned(again)
    assert await campus.counts(again) == {("reply", "changed_since"): 2, ("reply", "backfilled_since"): 2}
    await campus.apply(late)
    drifted = await campus.rows(
        "select recipient_id, why from hark.backfill_item where backfill_id = %s order by 1", late
    )
    assert drifted == [
        ("ann", "another backfill changed it since"),
        ("bob", "chose otherwise since the plan"),
        ("cy", "chose otherwise since the plan"),
        ("dora", "another backfill changed it since"),
    ]


async def test_comparing_nobody_is_no_success(campus: Campus) -> None:
    await campus.people({"ann": {"reply": None}})
    backfill = await campus.plan()
    await campus.apply(backfill)
    seen = await campus.verified(backfill)
    assert (seen.compared, seen.good) == (0, False)


def test_all_that_is_wrong_is_told_at_once_with_the_nearest_names() -> None:
    with pytest.raises(BadInput) as refused:
        read_preferences(CATALOGUE, reasons=["repley"], channels=["pusch", "email", "email"], user_types=[])
    assert str(refused.value).splitlines() == [
        '--reason: "repley": no such reason; did you mean reply?',
        '--channels: "pusch": no such channel; did you mean push?',
        '--channels: "email" is named twice',
        "--user-types: none is given; write Students or Employers",
    ]
