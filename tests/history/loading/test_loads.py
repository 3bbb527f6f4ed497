"""Loads: what is planned, what comes of it, what is quarantined, put off, skipped, verified and taken back."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hark.backfill import control
from hark.backfill.batches import Step
from hark.backfill.cohort import CohortWords
from hark.backfill.failures import failures, retry_failures
from hark.backfill.forgetting import forget
from hark.backfill.kinds.history import History, export_left, load_of
from hark.backfill.listing import show
from hark.backfill.loads import LoadWords, check_words
from hark.backfill.ordering import apply_plan
from hark.backfill.run import Runner
from hark.backfill.throttle import Why
from hark.backfill.undo import undo
from hark.doors.cli.backfill_pages import shown
from hark.doors.cli.backfill_progress import Pulse, line
from hark.durations import parse_rate
from hark.errors import BadInput
from hark.flags import (
    Author,
    FlagGate,
    Named,
    Rollout,
    add_users,
    create,
    enrol,
    remove_segment,
    remove_users,
    set_segment,
    turn,
    withdraw,
)
from hark.flags.reading import FlagReader
from hark.flags.rules import WHOLE
from hark.history.audit import Name
from hark.history.audit.loads import AtSources, load_at_sources
from hark.history.facts import Fact
from hark.history.loading.course import Shown
from hark.history.sandbox.faults import Kind
from hark.history.sources.reach import Sources
from hark.lists import FileReach
from tests.history.loading.yard import OFTEN, Yard


async def flagged(yard: Yard) -> None:
    """There is a flag, and somebody acts on it."""
    await create(yard.database, "live", author(yard))


def author(yard: Yard) -> Author:
    return Author("olga", yard.scene.clock.now())


async def until(yard: Yard, runner: Runner, backfill: int, query: str) -> None:
    """Step until a query finds something."""
    async with asyncio.timeout(30):
        while not await yard.rows(query):
            await runner.step(backfill)


async def let_in(yard: Yard, *users: str) -> set[str]:
    """Who of these is let in."""
    now = await FlagReader(yard.database, frozenset(["live"])).refresh()
    return {user for user in users if now.decide("live", user).lets_in}


OFF = "live is off and lets nobody in; turn it on: hark flags on live"


class Passed(Exception):
    """A worker has passed a point, and is gone."""


def once(point: Step) -> Callable[[object], None]:
    """A worker is gone when it passes a point."""

    def pass_by(step: object) -> None:
        if step is point:
            raise Passed

    return pass_by


async def whys(yard: Yard, backfill: int) -> dict[str, str]:
    return {each.recipient_id: each.why or "" for each in await failures(yard.database, backfill)}


async def moved_on(yard: Yard, like: Fact) -> None:
    """The stream brings a later version of a fact."""
    ((product, quantity, at, version),) = await yard.rows(
        "select product_id, quantity, occurred_at, version from hark.fact where key = %s", like.key
    )
    await yard.live(Fact(like.user_id, like.key, version + 1, product, quantity=quantity, occurred_at=at))


# A whole one ----------------------------------------------------------------------------------------------------------


async def test_a_load_brings_all_that_the_sources_have_and_ends(yard: Yard) -> None:
    backfill = await yard.plan()
    assert await yard.outcomes(backfill) == {"load": 12}
    assert await yard.facts() == {}
    assert await yard.apply(backfill) == "APPLIED"
    assert await yard.facts() == yard.bought()
    assert sorted(map(str, yard.asked("purchase"))) == sorted(map(str, yard.asked("shop"))) == yard.users
    assert (await yard.course(backfill)).stage == "DONE"
    seen = await yard.verified(backfill)
    assert seen.good and seen.compared == seen.holding == 12


async def test_the_look_back_is_what_was_asked_for(yard: Yard) -> None:
    await yard.loaded(lookback_days=60)
    assert await yard.facts() == yard.bought(days=60) != yard.bought()


async def test_users_whom_nobody_told_hark_of_are_loaded_and_so_are_those_of_whom_sources_know_nothing(
    yard: Yard,
) -> None:
    backfill = await yard.loaded(["user-000001", "nobody"])
    assert set(await yard.facts()) == {"user-000001"}
    assert await whys(yard, backfill) == {}


async def test_each_step_has_its_key_and_keeps_the_watermark_of_the_primary(yard: Yard) -> None:
    backfill = await yard.loaded(["user-000001"])
    rows = await yard.rows("select key, state::text, watermark from hark.history_step order by key")
    newest = yard.scene.goods.receipts.version
    assert rows == [(f"receipt-{backfill}", "DONE", newest), (f"shop-{backfill}", "DONE", newest)]


async def test_two_workers_ask_for_each_user_once(yard: Yard) -> None:
    backfill = await yard.plan(batch_size=2)
    await yard.started(backfill)
    hands = [yard.run_out(backfill, yard.runner(name)) for name in ("one", "two")]
    assert await asyncio.gather(*hands) == ["APPLIED", "APPLIED"]
    assert await yard.facts() == yard.bought()
    assert sorted(map(str, yard.asked())) == yard.users


async def test_who_is_known_to_have_bought_most_comes_first_over_all_batches(yard: Yard) -> None:
    many = {"user-000009": 7, "user-000011": 5, "user-000004": 3, "user-000012": 2}
    for user, count in many.items():
        at = yard.scene.clock.now()
        await yard.live(
            *(Fact(user, f"order:{user}-{n}", 1, "tea", quantity=Decimal(1), occurred_at=at) for n in range(count))
        )
    backfill = await yard.plan(batch_size=3)
    query = "select members from hark.backfill_part where backfill_id = %s order by batch, number"
    batches = [set(members) for (members,) in await yard.rows(query, backfill)]
    assert batches[0] == {"user-000009", "user-000011", "user-000004"}
    assert batches[1] == {"user-000012", "user-000001", "user-000002"}
    assert sorted(user for batch in batches for user in batch) == yard.users
    assert await yard.apply(backfill) == "APPLIED"
    assert (await yard.verified(backfill)).good


# Lately ---------------------------------------------------------------------------------------------------------------


async def test_who_was_loaded_lately_is_left_alone_unless_it_is_forced(yard: Yard) -> None:
    await yard.loaded(["user-000001", "user-000002"])
    assert await yard.outcomes(await yard.plan()) == {"load": 10, "recent": 2}
    assert await yard.outcomes(await yard.plan(force=True)) == {"load": 12}
    assert await yard.outcomes(await yard.plan(lookback_days=366)) == {"load": 12}
    await yard.run("update hark.history_user set last_loaded_at = now() - interval '8 days'")
    assert await yard.outcomes(await yard.plan()) == {"load": 12}


async def test_a_forced_load_mends_what_facts_have_otherwise_in_the_same_version(yard: Yard) -> None:
    await yard.loaded(lookback_days=400)
    keys = sorted(key for held in (await yard.facts()).values() for key in held)
    before = await yard.rows("select key, amount_minor, version from hark.fact order by key")
    await yard.run("update hark.fact set amount_minor = amount_minor + 500 where key = any (%s)", keys[:3])
    await yard.loaded(force=False, lookback_days=401)
    assert await yard.rows("select key, amount_minor, version from hark.fact order by key") != before
    await yard.loaded(force=True, lookback_days=400)
    assert await yard.rows("select key, amount_minor, version from hark.fact order by key") == before


async def test_who_was_let_out_meanwhile_is_loaded_again(yard: Yard) -> None:
    await flagged(yard)
    backfill = await yard.loaded(flag="live")
    assert await yard.outcomes(await yard.plan(flag="live")) == {"recent": 12}
    assert await yard.outcomes(await yard.plan()) == {"recent": 12}, "a load by a flag stands for one that names none"
    everyone = await yard.plan(source="neo4j", cohort=CohortWords())
    assert await yard.outcomes(everyone) == {"recent": 12}
    one = Named(["user-000001"])
    segment = f"history-{backfill}"
    await remove_users(yard.database, "live", segment, one, author(yard), reach=FileReach())
    for flag in ("live", None):
        assert await yard.outcomes(await yard.plan(flag=flag)) == {"recent": 11, "load": 1}
    await add_users(yard.database, "live", segment, one, author(yard), reach=FileReach())
    for flag in ("live", None):
        assert await yard.outcomes(await yard.plan(flag=flag)) == {"recent": 11, "load": 1}


async def test_a_load_that_names_no_flag_stands_for_none_by_a_flag(yard: Yard) -> None:
    await flagged(yard)
    await create(yard.database, "beta", author(yard))
    await yard.loaded(["user-000001"])
    for flag in ("live", "beta"):
        assert await yard.outcomes(await yard.plan(["user-000001"], flag=flag)) == {"load": 1}
    await yard.loaded(["user-000002"], flag="live")
    assert await yard.outcomes(await yard.plan(["user-000002"], flag="beta")) == {"load": 1}
    await turned(yard, on=False)
    assert await yard.outcomes(await yard.plan(["user-000002"])) == {"load": 1}, "its stream takes nothing"


async def test_who_is_let_in_by_a_rollout_and_was_loaded_lately_is_left_alone(yard: Yard) -> None:
    await flagged(yard)
    await set_segment(yard.database, "live", "all", Rollout(WHOLE), author(yard), reach=FileReach())
    await yard.loaded(flag="live")
    assert await yard.outcomes(await yard.plan(flag="live")) == {"recent": 12}
    await set_segment(yard.database, "live", "all", Rollout(WHOLE // 2), author(yard), reach=FileReach())
    assert await yard.outcomes(await yard.plan(flag="live")) == {"load": 12}, "who rolls what is another matter since"


# The order ------------------------------------------------------------------------------------------------------------


async def test_users_are_let_in_first_and_nobody_is_asked_for_until_that_is_effective(yard: Yard) -> None:
    await flagged(yard)
    gate = FlagGate(yard.database, yard.scene.clock, "live", "ingest")
    await gate.view()
    backfill = await yard.plan(["user-000001"], flag="live")
    await yard.started(backfill)
    runner = yard.runner()
    for _ in range(20):
        stepped = await runner.step(backfill)
    assert stepped.obstacle is not None and stepped.obstacle.why is Why.FLAG
    assert await let_in(yard, "user-000001", "user-000002") == {"user-000001"}
    course = await yard.course(backfill)
    assert course.stage == "EFFECTIVE" and course.waits_for.startswith(f"{gate.process} acts on version 1")
    assert yard.asked() == []
    await gate.view()
    assert await yard.run_out(backfill, runner) == "APPLIED"
    assert await yard.facts() == yard.bought(["user-000001"])


async def test_who_is_let_in_already_is_not_put_into_another_segment(yard: Yard) -> None:
    await flagged(yard)
    await set_segment(yard.database, "live", "beta", Named(["user-000001"]), author(yard), reach=FileReach())
    await yard.loaded(["user-000001", "user-000002"], flag="live")
    assert await yard.rows("select segment, recipient_id from hark.segment_member where segment like 'history-%%'") == [
        (f"history-{1}", "user-000002")
    ]


async def test_a_flag_that_is_not_there_or_off_is_refused(yard: Yard) -> None:
    with pytest.raises(BadInput, match='--flag: "live": no such flag'):
        await yard.plan(flag="live")
    await flagged(yard)
    await turn(yard.database, "live", author(yard), on=False)
    with pytest.raises(BadInput, match="live is off and lets nobody in"):
        await yard.plan(flag="live")


async def turned(yard: Yard, *, on: bool) -> None:
    await turn(yard.database, "live", author(yard), on=on)


async def stepped(yard: Yard, runner: Runner, backfill: int, times: int = 20) -> Shown:
    """Where its course is after some steps."""
    for _ in range(times):
        await runner.step(backfill)
        await asyncio.sleep(0.01)
    return await yard.course(backfill)


async def test_what_is_planned_is_not_applied_while_its_flag_is_off(yard: Yard) -> None:
    await flagged(yard)
    backfill = await yard.plan(["user-000001"], flag="live")
    await turned(yard, on=False)
    given = {"who": "olga", "now": yard.scene.clock.now(), "reach": FileReach()}
    with pytest.raises(BadInput, match=f"backfill {backfill} lets its users in by live, which is off.*flags on live"):
        await apply_plan(yard.database, backfill, **given)
    assert await yard.state(backfill) == "PLANNED"
    await turned(yard, on=True)
    await apply_plan(yard.database, backfill, **given)
    assert await yard.run_out(backfill) == "APPLIED"


async def test_a_flag_that_is_off_is_waited_for_before_anybody_is_let_in_and_that_is_said(yard: Yard) -> None:
    await flagged(yard)
    backfill = await yard.plan(["user-000001"], flag="live")
    await turned(yard, on=False)
    await yard.started(backfill)
    runner = yard.runner()
    course = await stepped(yard, runner, backfill)
    assert (course.stage, course.waits_for) == ("SEGMENT", OFF)
    assert yard.asked() == await yard.rows("select from hark.flag_segment") == []
    await turned(yard, on=True)
    assert await yard.run_out(backfill, runner) == "APPLIED"
    assert await let_in(yard, "user-000001") == {"user-000001"}


@pytest.mark.parametrize("seen", [True, False])
async def test_who_turns_a_flag_off_and_on_while_it_is_waited_for_has_the_later_version_waited_for(
    yard: Yard, seen: bool
) -> None:
    await flagged(yard)
    gate = FlagGate(yard.database, yard.scene.clock, "live", "ingest")
    await gate.view()
    backfill = await yard.plan(["user-000001"], flag="live")
    await yard.started(backfill)
    runner = yard.runner()
    assert (await stepped(yard, runner, backfill)).stage == "EFFECTIVE"
    await turned(yard, on=False)
    await gate.view()
    if seen:
        assert (await stepped(yard, runner, backfill)).waits_for == OFF
    await turned(yard, on=True)
    assert (await stepped(yard, runner, backfill)).stage == "EFFECTIVE", "the stream still acts on that it is off"
    assert yard.asked() == []
    await gate.view()
    assert await yard.run_out(backfill, runner) == "APPLIED"


async def test_a_flag_that_is_turned_off_holds_the_load_and_what_was_asked_for_meanwhile_is_not_taken(
    yard: Yard,
) -> None:
    await flagged(yard)
    backfill = await yard.plan(batch_size=4, flag="live")
    await yard.started(backfill)
    yard.fault(Kind.SLOW, seconds=0.5)
    runner = yard.runner()
    async with asyncio.timeout(30):
        while not yard.asked():
            await runner.step(backfill)
            await asyncio.sleep(0.01)
    await turned(yard, on=False)
    before = await yard.facts()
    await asyncio.sleep(1.2)
    course = await stepped(yard, runner, backfill)
    assert (course.stage, course.waits_for, course.done) == ("SEGMENT", OFF, 0)
    assert await yard.facts() == before == {}
    yard.mended()
    await turned(yard, on=True)
    assert await yard.run_out(backfill, runner) == "APPLIED"
    assert await yard.facts() == yard.bought()
    assert await yard.outcomes(await yard.plan(flag="live")) == {"recent": 12}


async def test_who_was_loaded_before_a_flag_was_off_is_said_and_loaded_by_the_next_plan(yard: Yard) -> None:
    await flagged(yard)
    backfill = await yard.plan(batch_size=4, flag="live")
    await yard.started(backfill)
    runner = yard.runner(passed=once(Step.SETTLED))
    with pytest.raises(Passed):
        await yard.run_out(backfill, runner)
    done = await yard.rows("select distinct user_id from hark.history_step where state = 'DONE'")
    await turned(yard, on=False)
    await turned(yard, on=True)
    await yard.run("update hark.backfill_batch set lease_until = now() where state = 'CLAIMED'")
    assert await yard.run_out(backfill) == "APPLIED"
    assert done
    ((said,),) = await yard.rows("select detail from hark.backfill_event where what = 'now STREAM'")
    assert said.startswith(f"all are loaded; {len(done)} of them before live was off for a time")
    again = await yard.outcomes(await yard.plan(flag="live"))
    assert again == {what: n for what, n in (("recent", 12 - len(done)), ("load", len(done))) if n}


async def test_who_is_taken_out_of_the_flag_meanwhile_is_not_loaded_and_that_is_said(yard: Yard) -> None:
    await flagged(yard)
    backfill = await yard.plan(["user-000001", "user-000002"], flag="live")
    await yard.started(backfill)
    runner = yard.runner()
    await until(yard, runner, backfill, "select from hark.history_run where stage = 'LOAD'")
    one = Named(["user-000001"])
    await remove_users(yard.database, "live", f"history-{backfill}", one, author(yard), reach=FileReach())
    assert await yard.run_out(backfill, runner) == "APPLIED"
    assert set(await yard.facts()) == {"user-000002"}
    assert (await whys(yard, backfill))["user-000001"].startswith(f"receipt-{backfill}: live lets them in no more")
    segment = f"history-{backfill}"
    await add_users(yard.database, "live", segment, one, author(yard), reach=FileReach())
    await retry_failures(yard.database, backfill, who="olga", now=yard.scene.clock.now())
    assert await yard.run_out(backfill) == "APPLIED"
    assert set(await yard.facts()) == {"user-000001", "user-000002"}


class Brokers:
    """A stream that has one message to pass."""

    def __init__(self) -> None:
        self.at = 0
        self.looks = 0

    async def ends_now(self):  # type: ignore[no-untyped-def]
        """One partition, at 1."""
        from hark.history.loading.seams import End

        self.looks += 1
        return [End("group", "topic", 0, 1)]

    async def passed(self, ends):  # type: ignore[no-untyped-def]
        """Once it was read."""
        return all(self.at >= end.offset for end in ends)


async def test_a_run_ends_once_the_stream_has_passed_where_it_was_when_all_were_loaded(yard: Yard) -> None:
    brokers = Brokers()
    backfill = await yard.plan(["user-000001"])
    await yard.started(backfill)
    runner = yard.runner(loading=yard.loading(stream=brokers))
    await until(yard, runner, backfill, "select from hark.history_run where stage = 'STREAM'")
    for _ in range(3):
        await runner.step(backfill)
    course = await yard.course(backfill)
    assert (course.stage, course.waits_for, brokers.looks) == ("STREAM", "topic/0@1", 1)
    assert await yard.facts() == yard.bought(["user-000001"])
    brokers.at = 1
    assert await yard.run_out(backfill, runner) == "APPLIED"


# What goes wrong ------------------------------------------------------------------------------------------------------


async def test_whose_answer_cannot_be_taken_is_quarantined_alone_and_asked_for_again_on_retry(yard: Yard) -> None:
    users = yard.users[:4]
    yard.fault(Kind.STRANGER, source="shop", times=1)
    backfill = await yard.loaded(users)
    ((bad, why),) = (await whys(yard, backfill)).items()
    assert why.startswith(f"shop-{backfill}: shop does not answer what it should")
    held, whole = await yard.facts(), yard.bought(users)
    assert {user: held[user] for user in users if user != bad} == {user: whole[user] for user in users if user != bad}
    assert not any(key.startswith("order:") for key in held.get(bad, ()))
    seen = await yard.verified(backfill)
    assert seen.good and seen.explained == 1
    before = len(yard.asked("purchase"))
    await retry_failures(yard.database, backfill, who="olga", now=yard.scene.clock.now())
    assert await yard.run_out(backfill) == "APPLIED"
    assert await yard.facts() == whole
    assert len(yard.asked("purchase")) == before, "what was done is not asked for again"


async def test_amounts_that_are_no_amounts_and_pages_without_an_end_are_causes(yard: Yard) -> None:
    yard.fault(Kind.FLOATS, source="purchase")
    yard.fault(Kind.ENDLESS, source="shop")
    user = next(user for user, keys in yard.bought().items() if {key[:5] for key in keys} == {"order", "recei"})
    ((_, why),) = (await whys(yard, await yard.loaded([user]))).items()
    assert "a number with a point" in why and "its pages have no end" in why


async def test_a_replicas_answer_is_not_taken_and_held_against_nobody(yard: Yard) -> None:
    yard.fault(Kind.REPLICA)
    backfill = await yard.plan(["user-000001"])
    await yard.started(backfill)
    runner = yard.runner()
    await until(yard, runner, backfill, "select 1 from hark.history_step where why like '%%read_from is not primary%%'")
    assert await yard.facts() == {}
    yard.mended()
    assert await yard.run_out(backfill, runner) == "APPLIED"
    assert await yard.facts() == yard.bought(["user-000001"])


async def test_storms_and_failures_are_waited_out_and_each_step_is_done_once(yard: Yard) -> None:
    yard.fault(Kind.TOO_MANY, share=0.2, retry_after="0")
    yard.fault(Kind.UNAVAILABLE, share=0.1, retry_after="0")
    yard.fault(Kind.CUT, share=0.05)
    assert await yard.apply(await yard.plan()) == "APPLIED"
    assert await yard.facts() == yard.bought()
    assert await yard.rows("select count(*) from hark.history_step where state = 'DONE'") == [(24,)]


async def test_a_source_that_is_away_holds_no_run_but_its_own(yard: Yard) -> None:
    yard.fault(Kind.TOO_MANY, source="shop", retry_after="3600")
    held = await yard.plan(["user-000001"])
    await yard.started(held)
    runner = yard.runner()
    await until(yard, runner, held, "select 1 from hark.history_step where kind = 'receipt' and state = 'DONE'")
    assert await control.pause(yard.database, held, who="olga", now=yard.scene.clock.now())
    assert await yard.run_out(held, runner) == "PAUSED"
    left = await yard.rows("select kind::text, state::text, attempts from hark.history_step s order by s.kind")
    assert left == [("receipt", "DONE", 1), ("order", "WAITING", 0)]


# Stopping and going on ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", [Step.CLAIMED, Step.WORKED, Step.FENCED, Step.SETTLED, Step.FINISHING])
async def test_who_dies_at_any_point_leaves_nothing_that_another_one_cannot_go_on_with(yard: Yard, point: Step) -> None:
    class Died(Exception):
        pass

    def die(step: object) -> None:
        if step is point:
            raise Died

    backfill = await yard.plan(batch_size=6)
    await yard.started(backfill)
    first = yard.runner("first", passed=die, lease=timedelta(seconds=5))
    with pytest.raises(Died):
        await yard.run_out(backfill, first)
    await yard.run("update hark.backfill_batch set lease_until = now() where state = 'CLAIMED'")
    assert await yard.run_out(backfill, yard.runner("second")) == "APPLIED"
    assert await yard.facts() == yard.bought()
    assert (await yard.verified(backfill)).good


async def test_who_is_told_to_end_lets_go_and_keeps_what_was_done(yard: Yard) -> None:
    yard.fault(Kind.SLOW, source="shop", seconds=4)
    backfill = await yard.plan(["user-000001"])
    await yard.started(backfill)
    runner = yard.runner()
    await until(yard, runner, backfill, "select 1 from hark.history_step where kind = 'receipt' and state = 'DONE'")
    await runner.close()
    assert await yard.rows("select state::text from hark.backfill_batch") == [("WAITING",)]
    yard.mended()
    assert await yard.run_out(backfill) == "APPLIED"
    assert yard.asked("purchase") == ["user-000001"]


async def test_nothing_is_written_once_it_is_paused_or_canceled(yard: Yard) -> None:
    yard.fault(Kind.SLOW, seconds=0.3)
    backfill = await yard.plan()
    await yard.started(backfill)
    runner = yard.runner()
    await runner.step(backfill)
    while not yard.asked():
        await runner.step(backfill)
        await asyncio.sleep(0.01)
    await control.cancel(yard.database, backfill, who="olga", now=yard.scene.clock.now())
    before = await yard.facts()
    assert await yard.run_out(backfill, runner) == "CANCELED"
    await asyncio.sleep(0.6)
    assert await yard.facts() == before


async def test_what_is_left_is_written_and_gone_on_with(yard: Yard, tmp_path: Path) -> None:
    yard.fault(Kind.STRANGER, source="purchase", times=2)
    backfill = await yard.loaded()
    left = tmp_path / "left.csv"
    assert await export_left(yard.database, backfill, left) == 2
    users = {row["id"] for row in csv.DictReader(left.open())}
    assert users == set(await whys(yard, backfill))
    again = await yard.ask(LoadWords(cohort=CohortWords(ids=sorted(users)), rate_limit=500, start=True))
    while await yard.state(again) != "APPLIED":
        await yard.starter().step()
        await yard.run_out(again)
    assert await yard.facts() == yard.bought()


async def all_but_two(yard: Yard, **given: Any) -> tuple[int, Runner]:
    """A load of twelve in one batch, under way; of two the shop has not answered yet."""
    yard.fault(Kind.SLOW, source="shop", times=2, seconds=60)
    backfill = await yard.plan(batch_size=12, **given)
    await yard.started(backfill)
    runner = yard.runner()
    await until(yard, runner, backfill, "select from hark.history_step where state = 'DONE' having count(*) = 22")
    return backfill, runner


async def test_who_is_done_before_the_batch_is_counts_as_loaded_by_then(yard: Yard, tmp_path: Path) -> None:
    await flagged(yard)
    backfill, runner = await all_but_two(yard, flag="live")
    await control.cancel(yard.database, backfill, who="olga", now=yard.scene.clock.now())
    await runner.close()
    waiting = {user for (user,) in await yard.rows("select user_id from hark.history_step where state = 'WAITING'")}
    assert await export_left(yard.database, backfill, tmp_path / "left.csv") == 2
    assert {row["id"] for row in csv.DictReader((tmp_path / "left.csv").open())} == waiting
    marks = "select user_id, loaded_epoch > 0 from hark.history_user where last_loaded_at is not null"
    assert dict(await yard.rows(marks)) == dict.fromkeys(set(yard.users) - waiting, True)
    assert await yard.outcomes(await yard.plan(flag="live")) == {"recent": 10, "load": 2}
    back = await yard.undone(backfill)
    assert await yard.outcomes(back) == {"undo": 12}
    assert await yard.facts() == {}
    assert await yard.outcomes(await yard.plan(flag="live")) == {"load": 12}, "they are not loaded any more"


async def test_how_far_a_load_is_and_how_long_the_rest_takes_does_not_wait_for_the_end_of_a_batch(yard: Yard) -> None:
    backfill, runner = await all_but_two(yard)
    seen = await show(yard.database, backfill)
    assert (seen.totals.batches_done, seen.totals.applied) == (0, 0)
    assert (seen.totals.through, seen.totals.left) == (10, 2)
    assert any(each.startswith("0 applied, 10 loaded in batches that are not done yet") for each in shown(seen))
    pulse = Pulse()
    for second in range(4):
        pulse.note(second, second)
    assert line(seen.totals, pulse) == "1/s, 0:00:02 to 0:00:02 left"
    await yard.run(
        "update hark.history_step set loaded_at = timestamptz '2026-01-01' + substr(user_id, 6)::int * interval '10 s'"
        " where state = 'DONE'"
    )
    last = "(select max(loaded_at) from hark.history_step)"
    await yard.run(f"update hark.history_step set due_at = {last} + interval '99 s' where state = 'WAITING'")
    cost = (await show(yard.database, backfill)).estimate
    assert cost is not None and cost.low < 1
    assert 2 * 10 + 99 <= cost.high <= 2 * 14 + 99, "as quick as it went, and what was put off has its time"
    yard.mended()
    await runner.close()
    assert await yard.run_out(backfill) == "APPLIED"
    after = (await show(yard.database, backfill)).totals
    assert (after.applied, after.through, after.left) == (12, 0, 0)


async def test_whom_a_retry_asks_for_again_is_through_once_and_nobody_else_is_counted_twice(yard: Yard) -> None:
    yard.fault(Kind.STRANGER, source="shop", times=1)
    backfill = await yard.loaded(batch_size=12)
    yard.mended()
    yard.fault(Kind.SLOW, source="shop", seconds=60)
    await retry_failures(yard.database, backfill, who="olga", now=yard.scene.clock.now())
    runner = yard.runner()
    await until(yard, runner, backfill, "select from hark.history_step where state = 'WAITING'")
    seen = (await show(yard.database, backfill)).totals
    assert (seen.applied, seen.through, seen.left) == (11, 0, 1)
    await runner.close()


async def test_who_is_done_before_the_batch_is_and_before_the_flag_was_off_is_loaded_by_the_next_plan(
    yard: Yard,
) -> None:
    await flagged(yard)
    backfill, runner = await all_but_two(yard, flag="live")
    await turned(yard, on=False)
    await turned(yard, on=True)
    await control.cancel(yard.database, backfill, who="olga", now=yard.scene.clock.now())
    await runner.close()
    assert await yard.outcomes(await yard.plan(flag="live")) == {"load": 12}


async def test_whom_a_load_left_that_was_never_planned_is_not_nobody(yard: Yard, tmp_path: Path) -> None:
    left = tmp_path / "left.csv"
    await flagged(yard)
    words = LoadWords(cohort=CohortWords(flags=["live"]), rate_limit=500, flag="live")
    backfill = await yard.ask(words)
    with pytest.raises(BadInput, match=f"backfill {backfill} is not planned yet"):
        await export_left(yard.database, backfill, left)
    await control.cancel(yard.database, backfill, who="olga", now=yard.scene.clock.now())
    again = "ask for it again: hark backfill history --members-of live --flag live"
    with pytest.raises(BadInput, match=rf"CANCELED before it was planned.* {again}$"):
        await export_left(yard.database, backfill, left)
    assert not left.exists()
    named = await yard.ask(replace(words, cohort=CohortWords(ids=["user-000001,user-000002"]), flag=None))
    await control.cancel(yard.database, named, who="olga", now=yard.scene.clock.now())
    with pytest.raises(BadInput, match=r"ask for it again, for 2 named users$"):
        await export_left(yard.database, named, left)


async def test_whom_a_load_left_whose_plan_was_called_off_half_way_is_not_who_was_planned(
    yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(History, "planned_at_once", 5)
    backfill = await yard.ask(yard.words())
    runner = yard.runner()
    while not await yard.rows("select from hark.backfill_part"):
        await runner.step_any()
    await control.cancel(yard.database, backfill, who="olga", now=yard.scene.clock.now())
    with pytest.raises(BadInput, match=r"ask for it again, for 12 named users$"):
        await export_left(yard.database, backfill, tmp_path / "left.csv")


# By themselves --------------------------------------------------------------------------------------------------------


async def test_who_is_enrolled_is_loaded_by_itself_once_that_is_effective(yard: Yard) -> None:
    await flagged(yard)
    gate = FlagGate(yard.database, yard.scene.clock, "live", "ingest")
    await gate.view()
    await enrol(yard.database, "live", ["user-000001", "user-000002"], author(yard))
    await enrol(yard.database, "live", ["user-000003"], author(yard))
    await withdraw(yard.database, "live", ["user-000002"], author(yard))
    await yard.run("update hark.load_asked set asked_at = now() - interval '1 minute'")
    starter, runner = yard.starter(), yard.runner()
    for _ in range(40):
        await starter.step()
        await runner.step_any()
    ((run,),) = await yard.rows("select distinct backfill_id from hark.load_asked")
    assert (await yard.course(run)).stage == "EFFECTIVE"
    assert yard.asked() == []
    await gate.view()
    assert await yard.run_out(run, runner) == "APPLIED"
    assert await yard.facts() == yard.bought(["user-000001", "user-000003"])
    assert await starter.step() is False


async def test_a_load_of_enrolled_users_waits_while_their_flag_is_off_and_is_not_lost(yard: Yard) -> None:
    await flagged(yard)
    await enrol(yard.database, "live", ["user-000001"], author(yard))
    await turned(yard, on=False)
    await yard.run("update hark.load_asked set asked_at = now() - interval '1 minute'")
    starter, runner = yard.starter(), yard.runner()
    for _ in range(20):
        await starter.step()
        await runner.step_any()
    ((run,),) = await yard.rows("select distinct backfill_id from hark.load_asked")
    assert ((await yard.course(run)).waits_for, yard.asked()) == (OFF, [])
    gate = FlagGate(yard.database, yard.scene.clock, "live", "ingest")
    await gate.view()
    await turned(yard, on=True)
    assert (await stepped(yard, runner, run)).stage == "EFFECTIVE", "not the version that enrolled them: that it is on"
    await gate.view()
    assert await yard.run_out(run, runner) == "APPLIED"
    assert await yard.facts() == yard.bought(["user-000001"])


async def test_a_load_that_needs_a_second_person_does_not_begin_by_itself(yard: Yard) -> None:
    backfill = await yard.plan(start=True)
    await yard.run("update hark.backfill set approval_over = 11")
    assert await yard.starter().step() is False
    await control.approve(yard.database, backfill, who="paul", now=yard.scene.clock.now())
    assert await yard.starter().step() is True
    assert await yard.state(backfill) == "APPLYING"
    (began,) = await yard.rows("select who, from_state::text from hark.backfill_event where to_state = 'APPLYING'")
    assert began == ("olga", "APPROVED"), "who asked for it, though nobody said so again"


async def test_everyone_in_the_graph_is_everyone_with_facts(yard: Yard) -> None:
    await yard.loaded(["user-000001", "user-000004"])
    backfill = await yard.plan(source="neo4j", cohort=CohortWords(), force=True)
    assert await yard.rows("select members from hark.cohort order by id desc limit 1") == [(2,)]
    assert await yard.outcomes(backfill) == {"load": 2}


# Verifying and taking back --------------------------------------------------------------------------------------------


async def test_verifying_finds_what_was_changed_behind_its_back_and_not_what_the_stream_moved_on(yard: Yard) -> None:
    backfill = await yard.loaded()
    held = await yard.facts()
    one, two, three = (
        (user for user in yard.users if len(held.get(user, ())) > 2)
        if False
        else [user for user in yard.users if len(held.get(user, ())) > 2][:3]
    )
    await yard.run("delete from hark.fact where key = %s", min(held[one]))
    await yard.run("update hark.fact set quantity = 77 where key = %s", min(held[two]))
    await moved_on(yard, Fact(three, min(held[three]), 0))
    seen = await yard.verified(backfill)
    assert not seen.good
    assert {each.recipient_id: each.explained for each in seen.astray} == {one: False, two: False}


async def test_what_a_load_brought_is_held_against_its_sources_as_far_back_as_it_reached(yard: Yard) -> None:
    backfill = await yard.loaded(yard.users[:5], lookback_days=300)
    seen = await at_sources(yard, backfill)
    assert (seen.good, seen.asked, [each for each in seen.checks if each.count]) == (True, 5, [])
    assert (await at_sources(yard, backfill, many=2)).asked == 2
    held = await yard.facts()
    key = next(min(held[user]) for user in yard.users[1:5] if user in held)
    await yard.run("update hark.fact set quantity = quantity + 1 where key = %s", key)
    yard.fault(Kind.FLOATS, source="purchase", times=1)  # the first user's
    seen = await at_sources(yard, backfill)
    assert not seen.good
    assert {each.name: each.count for each in seen.checks if each.count} == {
        Name.SOURCE_DIFFERS: 1,
        Name.SOURCE_AWAY: 1,
    }


async def at_sources(yard: Yard, backfill: int, many: int | None = None) -> AtSources:
    async def at_once() -> None:
        """Nothing moves meanwhile."""

    load = await load_of(yard.database, backfill)
    assert load is not None
    sources = Sources(yard.settings, yard.database, yard.scene.clock, yard.scene.client)
    since = datetime.fromisoformat(load.since)
    return await load_at_sources(yard.database, sources, backfill, since=since, many=many, pause=at_once)


async def test_an_undo_takes_back_what_only_the_run_said_and_lets_out_whom_it_let_in(yard: Yard) -> None:
    await flagged(yard)
    backfill = await yard.loaded(flag="live")
    user = next(user for user, keys in (await yard.facts()).items() if len(keys) > 1)
    touched = min((await yard.facts())[user])
    await moved_on(yard, Fact(user, touched, 0))
    back = await yard.undone(backfill)
    assert await yard.state(back) == "APPLIED"
    assert await yard.facts() == {user: {touched}}
    assert await let_in(yard, *yard.users) == set()
    assert (await yard.course(back)).stage == "DONE"
    assert (await yard.verified(back)).good
    seen = await yard.verified(backfill)
    assert seen.good and list(seen.whys) == [f"was taken back by backfill {back}"]
    assert await yard.outcomes(await yard.plan(flag="live")) == {"load": 12}, "they are not loaded any more"


async def test_an_undo_that_changed_nothing_does_not_hide_the_one_that_took_it_back(yard: Yard) -> None:
    backfill = await yard.loaded()
    called_off = await undo(yard.database, backfill, who="olga", now=yard.scene.clock.now())
    await yard.planned(called_off)
    await control.cancel(yard.database, called_off, who="olga", now=yard.scene.clock.now())
    back = await yard.undone(backfill)
    seen = await yard.verified(backfill)
    assert (seen.good, list(seen.whys)) == (True, [f"was taken back by backfill {back}"])


async def test_who_was_moved_on_since_an_undo_is_waited_for_in_the_graph_all_the_same(yard: Yard) -> None:
    backfill = await yard.loaded(["user-000001"])
    await yard.run("update hark.history_user set projected = version, ahead_since = null")
    back = await undo(yard.database, backfill, who="olga", now=yard.scene.clock.now())
    await yard.planned(back)
    await yard.started(back)
    loading = yard.loading()
    loading._course.graph = True
    runner = yard.runner(loading=loading)
    await until(yard, runner, back, "select from hark.history_run where stage = 'GRAPH'")
    undone = await yard.rows("select version from hark.history_user")
    at, newer = yard.scene.clock.now(), 1 + max(yard.scene.goods.receipts.version, yard.scene.goods.orders.version)
    await yard.live(Fact("user-000001", "order:later", newer, "tea", quantity=Decimal(1), occurred_at=at))
    assert await yard.rows("select version - 1 from hark.history_user") == undone
    assert (await stepped(yard, runner, back)).waits_for == "the projector"
    await yard.run("update hark.history_user set projected = version - 1")  # what is later is not waited for
    assert await yard.run_out(back, runner) == "APPLIED"


async def test_an_undo_lets_nobody_out_whom_another_run_loaded_since(yard: Yard) -> None:
    await flagged(yard)
    first = await yard.loaded(flag="live")
    await yard.loaded(["user-000001"], flag="live", force=True)
    await yard.undone(first)
    assert await let_in(yard, *yard.users) == {"user-000001"}
    assert await yard.facts() == yard.bought(["user-000001"])


async def held_up(yard: Yard, many: int, unless: Callable[[], bool] = lambda: False) -> None:
    """So many wait for somebody's lock by now."""
    waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    for _ in range(1_000):
        if unless() or (await yard.rows(waits))[0][0] >= many:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")


async def test_of_two_workers_one_lets_out_whom_a_run_had_let_in_and_the_other_goes_on(yard: Yard) -> None:
    await flagged(yard)
    backfill = await yard.loaded(flag="live")
    back = await undo(yard.database, backfill, who="olga", now=yard.scene.clock.now())
    await yard.planned(back)
    await yard.started(back)
    runner = yard.runner()
    await until(yard, runner, back, "select from hark.history_run where stage = 'TAKE_OUT'")
    await runner.close()
    one, other = yard.loading(), yard.loading()
    run = await one._run(back)
    async with yard.database.transaction() as held:
        await held.execute(b"select from hark.segment where name like 'history-%' for update")
        first = asyncio.ensure_future(one._course.after(run))
        await held_up(yard, 1)
        second = asyncio.ensure_future(other._course.after(run))
        await held_up(yard, 2, second.done)
    await asyncio.gather(first, second)
    assert await other._course.after(run) is None
    assert await let_in(yard, *yard.users) == set()
    assert await yard.run_out(back) == "APPLIED"
    told = "select detail from hark.backfill_event where backfill_id = %s and what = 'now DONE'"
    assert await yard.rows(told, back) == [("12 are let out; 0 stay, for others loaded them since",)]


async def test_an_undo_ends_whatever_was_done_by_hand_to_the_segment_of_its_run(yard: Yard) -> None:
    await flagged(yard)
    await create(yard.database, "beta", author(yard))
    first, second = await yard.loaded(["user-000001"], flag="live"), await yard.loaded(["user-000002"], flag="live")
    await set_segment(yard.database, "beta", f"history-{first}", None, author(yard), reach=FileReach())
    await remove_segment(yard.database, "live", f"history-{second}", author(yard))
    for each in (first, second):
        assert await yard.state(await yard.undone(each)) == "APPLIED"
    assert await let_in(yard, *yard.users) == set()
    now = await FlagReader(yard.database, frozenset(["beta"])).refresh()
    assert now.decide("beta", "user-000001").lets_in, "what another flag goes by is left as it is"


async def test_what_was_called_off_half_way_is_taken_back_too(yard: Yard) -> None:
    yard.fault(Kind.SLOW, source="shop", seconds=4)
    backfill = await yard.plan(["user-000001"])
    await yard.started(backfill)
    runner = yard.runner()
    await until(yard, runner, backfill, "select from hark.fact")
    await control.cancel(yard.database, backfill, who="olga", now=yard.scene.clock.now())
    await runner.close()
    yard.mended()
    await yard.undone(backfill)
    assert await yard.facts() == {}


async def test_a_run_that_did_nothing_has_nothing_to_undo(yard: Yard) -> None:
    backfill = await yard.plan()
    await control.cancel(yard.database, backfill, who="olga", now=yard.scene.clock.now())
    with pytest.raises(BadInput, match="changed nothing"):
        await undo(yard.database, backfill, who="olga", now=yard.scene.clock.now())


async def test_forgetting_a_load_forgets_who_it_asked_for(yard: Yard) -> None:
    backfill = await yard.loaded()
    await forget(yard.database, backfill, who="olga", now=yard.scene.clock.now())
    assert await yard.rows("select * from hark.history_step") == []


# Words ----------------------------------------------------------------------------------------------------------------


async def test_all_that_is_wrong_with_the_words_is_told_at_once(yard: Yard, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refused:
        await yard.plan(lookback_days=0, rate_limit=2000, source="mysql", window="soon")
    said = str(refused.value)
    assert "--lookback-days: 0" in said and "--rate-limit: 2000" in said and '--source: "mysql"' in said
    missing = tmp_path / "none.txt"
    with pytest.raises(BadInput) as refused:
        check(yard, cohort=CohortWords(files=[str(missing)]), queue_url="not-a-url", lookback_days=0)
    said = str(refused.value)
    assert "--lookback-days: 0" in said and "'not-a-url' is no queue's URL" in said
    assert f"{missing} cannot be read: No such file or directory" in said
    with pytest.raises(BadInput) as refused:
        await yard.ask(yard.words(flag="nope", cohort=CohortWords(segments=["none"], flags=["nowhere"])))
    assert [line.partition(":")[0] for line in str(refused.value).splitlines()] == ["--flag", '"none"', '"nowhere"']


async def test_who_names_nobody_is_told_by_which_options_a_load_names_somebody(yard: Yard) -> None:
    with pytest.raises(BadInput) as refused:
        check(yard, cohort=CohortWords(), flag="live")
    assert str(refused.value) == (
        "say whose: --ids a,b, --file people.csv, --from s3://bucket/key, --segment NAME, --members-of live,"
        " --source neo4j, or --all"
    )
    with pytest.raises(BadInput, match=r"leave out --ids, --file, --from, --segment and --members-of$"):
        check(yard, cohort=CohortWords(everyone=True, ids=["bob"]))
    with pytest.raises(BadInput, match=r"^--members-of: \"\" is not the name of a flag$"):
        check(yard, cohort=CohortWords(flags=[""]))


def check(yard: Yard, **words: Any) -> None:
    now, allowed = yard.scene.clock.now(), OFTEN
    check_words(yard.words(**words), now=now, allowed=allowed, reach=FileReach(local=True))


async def test_a_rate_is_at_most_what_the_settings_allow(yard: Yard) -> None:
    minutes = parse_rate("30/m")
    at_once = {"now": yard.scene.clock.now(), "reach": FileReach()}
    check_words(yard.words(rate_limit=1), allowed=minutes, **at_once)
    with pytest.raises(BadInput, match=r"2 is more than the 0.5 requests a second that source_rate allows .* write 1,"):
        check_words(yard.words(rate_limit=2), allowed=minutes, **at_once)
    slow = replace(yard.settings, source_rate=parse_rate("5/s"))
    with pytest.raises(BadInput, match="--rate-limit: 6 is more than the 5 requests a second"):
        check_words(yard.words(rate_limit=6), now=yard.scene.clock.now(), allowed=slow.source_rate, reach=FileReach())
