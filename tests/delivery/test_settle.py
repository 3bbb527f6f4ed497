"""How attempts end, and that only the attempt at hand may say so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hark.catalogue import Frequency
from hark.delivery.backoff import Backoff
from hark.delivery.handover import Outcome, Verdict
from hark.delivery.recheck import Rechecked
from hark.delivery.settle import (
    Withdrawal,
    after_failure,
    after_outcome,
    mark,
    settle,
    withdraw,
)
from hark.delivery.states import TRANSITIONS, Result, State
from tests.delivery.holding import due, hand_over, hold
from tests.world import ACCEPTED, BAD_ADDRESS, DEFERRED, MONDAY_NOON, REFUSED, UNKNOWN, World, reason, student

BILL = reason("mention", frequency=Frequency.IMMEDIATE, at_least_once=True)
BACKOFF = Backoff()


def rechecked(attempt: int = 1, *, at_least_once: bool = False) -> Rechecked:
    return Rechecked(
        recipient_id="bob",
        id=7,
        attempt=attempt,
        tries=attempt,
        at_least_once=at_least_once,
        address="bob@school.example",
        zone="UTC",
        locale="en",
        total=1,
        items="[]",
        counts={},
        dropped={},
        left_out=None,
    )


# Where an attempt leads ----------------------------------------------------------------------------------------------


@given(
    st.integers(1, 40),
    st.booleans(),
    st.builds(Outcome, st.sampled_from(Verdict), st.text(), st.booleans()),
)
def test_every_settlement_goes_along_an_arrow_and_waits_if_it_goes_back(
    attempt: int, at_least_once: bool, outcome: Outcome
) -> None:
    settlement = after_outcome(rechecked(attempt, at_least_once=at_least_once), outcome, MONDAY_NOON, BACKOFF)
    from_here = {(t.to_state, t.to_outcome) for t in TRANSITIONS if t.from_outcome is Result.UNKNOWN}
    assert (settlement.state, settlement.outcome) in from_here | {(State.SENT, Result.UNKNOWN)}
    goes_back = settlement.state is State.PENDING
    assert goes_back == (settlement.due_at is not None and settlement.due_at > MONDAY_NOON)
    assert not goes_back or attempt < BACKOFF.max_attempts
    assert settlement.state is not State.CANCELED or settlement.why


@pytest.mark.parametrize(
    ("outcome", "at_least_once", "state", "result"),
    [
        (ACCEPTED, False, "SENT", "accepted"),
        (ACCEPTED, True, "SENT", "accepted"),
        (REFUSED, False, "CANCELED", "refused"),
        (REFUSED, True, "CANCELED", "refused"),
        (DEFERRED, False, "PENDING", "none"),
        (DEFERRED, True, "PENDING", "none"),
        (UNKNOWN, False, "SENT", "unknown"),
        (UNKNOWN, True, "PENDING", "none"),
    ],
)
def test_what_the_provider_said_decides(outcome: Outcome, at_least_once: bool, state: str, result: str) -> None:
    settlement = after_outcome(rechecked(at_least_once=at_least_once), outcome, MONDAY_NOON, BACKOFF)
    assert (settlement.state, settlement.outcome, settlement.why) == (state, result, outcome.response)


def test_the_last_attempt_ends_it() -> None:
    last = rechecked(BACKOFF.max_attempts)
    settlement = after_outcome(last, DEFERRED, MONDAY_NOON, BACKOFF)
    assert (settlement.state, settlement.outcome) == ("CANCELED", "refused")
    assert settlement.why == f"attempts used up (25): {DEFERRED.response}"


def test_a_last_attempt_that_nobody_answered_stays_unknown_though_at_least_once() -> None:
    last = rechecked(BACKOFF.max_attempts, at_least_once=True)
    settlement = after_outcome(last, UNKNOWN, MONDAY_NOON, BACKOFF)
    assert (settlement.state, settlement.outcome) == ("SENT", "unknown")


def test_a_failed_rendering_waits_and_ends_with_the_last_attempt() -> None:
    again = after_failure(rechecked(3), "broken", MONDAY_NOON, BACKOFF)
    assert (again.state, again.why, again.due_at) == ("PENDING", "broken", MONDAY_NOON + BACKOFF.wait(3, 7))
    ended = after_failure(rechecked(25), "broken", MONDAY_NOON, BACKOFF)
    assert (ended.state, ended.why, ended.due_at) == ("CANCELED", "attempts used up (25): broken", None)


# Writing it down -----------------------------------------------------------------------------------------------------


async def test_marking_comes_before_the_hand_over_and_is_not_repeated(world: World) -> None:
    await due(world, "bob")
    held = await hold(world)
    assert await mark(world.database, held, world.clock.now()) == {held[0].id}
    assert await mark(world.database, held, world.clock.now()) == set()
    row = await world.delivery()
    assert (row.state, row.outcome, row.lease_until, row.why) == (
        "SENT",
        "unknown",
        None,
        "its one item is still wanted",
    )


async def test_each_of_several_is_settled_as_its_own_outcome_says(world: World) -> None:
    await due(world, "acc", "def", "ref", "unk")
    held = {delivery.recipient_id: delivery for delivery in await hand_over(world)}
    answers = {"acc": ACCEPTED, "def": DEFERRED, "ref": REFUSED, "unk": UNKNOWN}
    settlements = [after_outcome(held[name], answers[name], MONDAY_NOON, BACKOFF) for name in answers]
    assert await settle(world.database, settlements, MONDAY_NOON) == {delivery.id for delivery in held.values()}
    rows = {row.recipient_id: row for row in await world.deliveries()}
    assert {name: (row.state, row.outcome) for name, row in rows.items()} == {
        "acc": ("SENT", "accepted"),
        "def": ("PENDING", "none"),
        "ref": ("CANCELED", "refused"),
        "unk": ("SENT", "unknown"),
    }
    assert {name: row.why for name, row in rows.items()} == {name: said.response for name, said in answers.items()}
    assert rows["def"].due_at == MONDAY_NOON + BACKOFF.wait(1, rows["def"].id)


async def test_what_is_settled_stays_so(world: World) -> None:
    await due(world, "bob")
    (held,) = await hand_over(world)
    assert await settle(world.database, [after_outcome(held, ACCEPTED, MONDAY_NOON, BACKOFF)], MONDAY_NOON) == {held.id}
    for outcome in (DEFERRED, REFUSED, UNKNOWN, ACCEPTED):
        late = after_outcome(held, outcome, MONDAY_NOON, BACKOFF)
        assert await settle(world.database, [late], MONDAY_NOON) == set()
    row = await world.delivery()
    assert (row.state, row.outcome) == ("SENT", "accepted")


async def test_an_unknown_outcome_stays_and_is_never_sent_again_by_itself(world: World) -> None:
    await due(world, "bob")
    world.recorder.answer = lambda _: UNKNOWN
    assert (await world.attempt()).unknown == 1
    for _ in range(5):
        world.clock.advance(timedelta(days=30))
        await world.reap()
        assert (await world.attempt()).claimed == 0
    row = await world.delivery()
    assert (row.state, row.outcome, row.why) == ("SENT", "unknown", UNKNOWN.response)
    assert len(world.recorder.handed_over) == 1


async def test_an_answer_that_comes_late_is_still_written_down(world: World) -> None:
    await due(world, "bob")
    (held,) = await hand_over(world)
    world.clock.advance(timedelta(days=1))
    await settle(world.database, [after_outcome(held, ACCEPTED, MONDAY_NOON, BACKOFF)], world.clock.now())
    assert (await world.delivery()).outcome == "accepted"


async def test_a_reason_that_asks_for_at_least_once_is_sent_again_when_no_answer_came(world: World) -> None:
    await world.install(BILL)
    await due(world, "bob")
    world.recorder.answer = lambda _: UNKNOWN
    await world.attempt()
    row = await world.delivery()
    assert (row.state, row.due_at > MONDAY_NOON) == ("PENDING", True)
    world.recorder.answer = lambda _: ACCEPTED
    world.clock.move_to(row.due_at)
    assert (await world.attempt()).accepted == 1
    assert len(world.recorder.handed_over) == 2


# The fence -----------------------------------------------------------------------------------------------------------


async def overtaken(world: World) -> tuple[Rechecked, Rechecked]:
    """A worker that stalled past its lease, and the one that took over: what each holds."""
    await due(world, "bob")
    (zombies,) = await hold(world, worker="zombie")
    world.clock.advance(timedelta(minutes=2))
    assert (await world.reap()).lost == 1
    (ours,) = await hold(world, worker="successor")
    assert (zombies.attempt, ours.attempt) == (1, 2)
    return zombies, ours


async def test_a_zombie_marks_nothing(world: World) -> None:
    zombies, ours = await overtaken(world)
    assert await mark(world.database, [zombies], world.clock.now()) == set()
    assert await mark(world.database, [ours], world.clock.now()) == {ours.id}


@pytest.mark.parametrize("state", [State.CANCELED, State.PENDING])
async def test_a_zombie_withdraws_nothing(world: World, state: State) -> None:
    zombies, _ = await overtaken(world)
    assert await withdraw(world.database, [Withdrawal(zombies, state, "late")], world.clock.now()) == set()
    row = await world.delivery()
    assert (row.state, row.attempt, row.worker) == ("SENDING", 2, "successor")


@pytest.mark.parametrize("outcome", [ACCEPTED, DEFERRED, REFUSED])
async def test_a_zombies_late_answer_settles_nothing(world: World, outcome: Outcome) -> None:
    await world.install(BILL)
    await due(world, "bob")
    (zombies,) = await hand_over(world, worker="zombie")
    world.clock.advance(timedelta(hours=1))
    assert (await world.reap()).unanswered == 1
    (ours,) = await hand_over(world, worker="successor")
    late = after_outcome(zombies, outcome, world.clock.now(), BACKOFF)
    assert await settle(world.database, [late], world.clock.now()) == set()
    row = await world.delivery()
    assert (row.state, row.outcome, row.attempt) == ("SENT", "unknown", 2)
    assert await settle(world.database, [after_outcome(ours, ACCEPTED, MONDAY_NOON, BACKOFF)], world.clock.now())


async def test_a_zombie_does_not_hold_up_what_is_its_own(world: World) -> None:
    zombies, _ = await overtaken(world)
    await due(world, "eve")
    (eves,) = await hold(world, worker="zombie")
    assert await mark(world.database, [zombies, eves], world.clock.now()) == {eves.id}


# Bad addresses -------------------------------------------------------------------------------------------------------


async def suppressed(world: World) -> str | None:
    (row,) = await world.rows("select suppressed from hark.recipient where id = 'bob'")
    return None if row.suppressed is None else str(row.suppressed)


async def test_a_refused_address_is_suppressed_and_gets_no_more_mail(world: World) -> None:
    await due(world, "bob")
    world.recorder.answer = lambda _: BAD_ADDRESS
    assert (await world.attempt()).refused == 1
    assert await suppressed(world) == BAD_ADDRESS.response
    await due(world, "bob")
    assert await suppressed(world) == BAD_ADDRESS.response
    told = (await world.told())[-1]
    assert (told.reach, told.email_delivery, told.in_app) == ("suppressed", None, True)


async def test_a_refused_message_suppresses_nothing(world: World) -> None:
    await due(world, "bob")
    world.recorder.answer = lambda _: REFUSED
    await world.attempt()
    assert await suppressed(world) is None


async def test_a_new_address_is_not_suppressed(world: World) -> None:
    await due(world, "bob")
    world.recorder.answer = lambda _: BAD_ADDRESS
    await world.attempt()
    await world.know(replace(student("bob"), address="new@school.example"))
    assert await suppressed(world) is None


async def test_an_address_that_was_changed_meanwhile_is_not_suppressed(world: World) -> None:
    await due(world, "bob")
    (held,) = await hand_over(world)
    await world.know(replace(student("bob"), address="new@school.example"))
    await settle(world.database, [after_outcome(held, BAD_ADDRESS, MONDAY_NOON, BACKOFF)], MONDAY_NOON)
    assert await suppressed(world) is None
    assert (await world.delivery()).outcome == "refused"
