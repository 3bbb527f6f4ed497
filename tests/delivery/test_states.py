"""The database refuses every arrow that the table does not have, and writes history for every one that it has."""

from __future__ import annotations

from itertools import product
from typing import Any

import psycopg
import pytest

from hark.delivery.states import TRANSITIONS, Result, State
from tests.world import World

Place = tuple[State, Result]

PLACES: list[Place] = [
    (State.PENDING, Result.NONE),
    (State.SENDING, Result.NONE),
    (State.SENT, Result.UNKNOWN),
    (State.SENT, Result.ACCEPTED),
    (State.CANCELED, Result.NONE),
    (State.CANCELED, Result.REFUSED),
]
NOWHERE = [place for place in product(State, Result) if place not in PLACES]
ARROWS = {((t.from_state, t.from_outcome), (t.to_state, t.to_outcome)) for t in TRANSITIONS}
PAIRS = list(product(PLACES, PLACES))
FORBIDDEN = [pair for pair in PAIRS if pair not in ARROWS and pair[0] != pair[1]]

SOUND: dict[str, Any] = {
    "recipient_id": "bob",
    "channel": "email",
    "batch_group": "comment",
    "frequency": "batched",
    "gathering": False,
    "at_least_once": False,
    "due_at": "2026-03-02",
    "stale_at": "infinity",
    "items": 1,
    "first_event": 1,
    "last_event": 1,
    "created_at": "2026-03-02",
    "changed_at": "2026-03-02",
}


def at(place: Place) -> dict[str, Any]:
    """The columns of a delivery that stands there."""
    sending = place[0] is State.SENDING
    return {
        "state": place[0],
        "outcome": place[1],
        "lease_until": "2026-03-03" if sending else None,
        "worker": "w/1",
        "attempt": 1,
        "why": "because",
    }


async def insert(world: World, **columns: Any) -> int:
    given = {**SOUND, **columns}
    names = ", ".join(given)
    (row,) = await world.rows(
        f"insert into hark.delivery ({names}) values ({', '.join(['%s'] * len(given))}) returning id", *given.values()
    )
    return int(row.id)


async def move(world: World, place: Place, *ids: int) -> None:
    columns = at(place)
    assignments = ", ".join(f"{name} = %s" for name in columns)
    await world.execute(f"update hark.delivery set {assignments} where id = any(%s)", *columns.values(), list(ids))


def test_the_pairs_are_all_there_are() -> None:
    assert (len(PAIRS), len(ARROWS), len(FORBIDDEN), len(NOWHERE)) == (36, 7, 23, 10)


@pytest.mark.parametrize(("start", "end"), FORBIDDEN)
async def test_every_other_arrow_is_refused_and_leaves_no_trace(world: World, start: Place, end: Place) -> None:
    delivery = await insert(world, **at(start))
    with pytest.raises(
        psycopg.errors.CheckViolation, match=rf"no arrow from {start[0]} \({start[1]}\) to {end[0]} \({end[1]}\)"
    ):
        await move(world, end, delivery)
    row = await world.delivery()
    assert (row.state, row.outcome) == start
    assert await world.history() == []


@pytest.mark.parametrize(("start", "end"), sorted(ARROWS))
async def test_every_arrow_writes_one_line_of_history(world: World, start: Place, end: Place) -> None:
    delivery = await insert(world, **at(start))
    await move(world, end, delivery)
    (line,) = await world.history()
    assert (line.recipient_id, line.delivery_id, line.attempt, line.worker, line.why) == (
        "bob",
        delivery,
        1,
        "w/1",
        "because",
    )
    assert ((line.from_state, line.from_outcome), (line.to_state, line.to_outcome)) == (start, end)


@pytest.mark.parametrize("place", PLACES)
async def test_staying_in_place_writes_no_history(world: World, place: Place) -> None:
    delivery = await insert(world, **at(place))
    await world.execute("update hark.delivery set why = 'another reason' where id = %s", delivery)
    assert await world.history() == []


async def test_many_at_once_write_a_line_each(world: World) -> None:
    ids = [await insert(world, **at((State.SENDING, Result.NONE))) for _ in range(5)]
    await move(world, (State.SENT, Result.UNKNOWN), *ids)
    assert sorted(line.delivery_id for line in await world.history()) == ids


async def test_one_forbidden_arrow_among_many_refuses_them_all(world: World) -> None:
    sending = [await insert(world, **at((State.SENDING, Result.NONE))) for _ in range(3)]
    done = await insert(world, **at((State.SENT, Result.ACCEPTED)))
    with pytest.raises(psycopg.errors.CheckViolation, match=r"no arrow from SENT \(accepted\)"):
        await move(world, (State.SENT, Result.UNKNOWN), *sending, done)
    assert {row.state for row in await world.deliveries() if row.id in sending} == {"SENDING"}
    assert await world.history() == []


@pytest.mark.parametrize("place", NOWHERE)
async def test_a_state_with_an_outcome_that_it_cannot_have_is_refused(world: World, place: Place) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="outcome_of_state"):
        await insert(world, **at(place))


SENDING = at((State.SENDING, Result.NONE))
PENDING = at((State.PENDING, Result.NONE))
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "sending without a lease": ({**SENDING, "lease_until": None}, "lease_while_sending"),
    "a lease while waiting": ({**PENDING, "lease_until": "2026-03-03"}, "lease_while_sending"),
    "a lease once sent": ({**at((State.SENT, Result.UNKNOWN)), "lease_until": "2026-03-03"}, "lease_while_sending"),
    "sending by nobody": ({**SENDING, "worker": None}, "worker_while_sending"),
    "sending at no attempt": ({**SENDING, "attempt": 0}, "worker_while_sending"),
    "gathering while it is sent": ({**SENDING, "gathering": True}, "gathers_only_untouched"),
    "gathering after an attempt": ({**PENDING, "gathering": True}, "gathers_only_untouched"),
    "canceled without saying why": ({**at((State.CANCELED, Result.NONE)), "why": ""}, "canceled_says_why"),
    "nothing to say": ({"items": 0}, "items"),
    "events in the wrong order": ({"first_event": 2}, "delivery_check"),
    "a negative attempt": ({"attempt": -1}, "attempt"),
    "a delivery into the inbox": ({"channel": "in_app"}, "channel"),
    "a delivery to be sent never": ({"frequency": "never"}, "frequency"),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_a_row_that_makes_no_sense_is_refused(world: World, case: str) -> None:
    columns, constraint = BROKEN[case]
    with pytest.raises(psycopg.errors.CheckViolation, match=constraint):
        await insert(world, **columns)


async def test_one_recipient_gathers_one_message_a_channel_and_group(world: World) -> None:
    await insert(world, gathering=True)
    await insert(world, gathering=True, batch_group="sale")
    await insert(world, gathering=True, channel="push")
    await insert(world, gathering=True, recipient_id="eve")
    await insert(world)
    with pytest.raises(psycopg.errors.UniqueViolation, match="delivery_gathering"):
        await insert(world, gathering=True)
