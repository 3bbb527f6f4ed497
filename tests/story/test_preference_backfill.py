"""What an operator is promised who adds channels to what many users chose: the table of before and after."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from hark import preferences
from hark.catalogue import Channel, Frequency
from tests.backfill.campus import Campus
from tests.backfill.conftest import campus, campus_template

__all__ = ["campus", "campus_template"]

BEFORE_AND_AFTER = """
user    before                                       after push, in_app for reply
ann     {"reply": ["email"]}                         {"reply": ["email", "push", "in_app"]}
bea     {"reply": ["in_app", "email"]}               {"reply": ["in_app", "email", "push"]}
bob     {"reply": []}                                {"reply": ["push", "in_app"]}
cat     {}                                           {"reply": ["email", "in_app", "push"]}
dan     {"tip": []}                                  {"tip": [], "reply": ["email", "in_app", "push"]}
eve     {"reply": ["push", "in_app"]}                {"reply": ["push", "in_app"]}
fay     {"reply": ["in_app", "push", "email"]}       {"reply": ["in_app", "push", "email"]}
"""
"""They append behind what was chosen; an empty choice gets them; no choice gets the defaults (email, in_app) first."""

MALFORMED = [
    *(None, True, False, 0, 1, -1.5, "", "email", "push,in_app", "[]"),
    *({}, {"email": True}, {"channels": ["email"]}, {"0": "email"}, {"reply": ["email"]}),
    *([None], [True], [0], [1, 2], [""], [" "], ["Email"], ["email "], ["sms"], ["e-mail"], ["in-app"], ["inapp"]),
    *(["email", "sms"], ["email", None], ["email", 1], ["email", ["push"]], [["email"]], [[]], [{}], [{"email": 1}]),
    *(["email", "email"], ["push", "in_app", "push"], ["email", "in_app", "push", "email"], ["ema\u200bil"], [10**30]),
]


def table() -> list[tuple[str, dict[str, object], dict[str, object]]]:
    rows = BEFORE_AND_AFTER.strip().splitlines()
    at, end = rows[0].index("before"), rows[0].index("after")
    return [(row[:at].strip(), json.loads(row[at:end]), json.loads(row[end:])) for row in rows[1:]]


async def test_before_and_after(campus: Campus) -> None:
    await campus.people({name: before for name, before, _ in table()})
    await campus.apply(await campus.plan(channels=["push", "in_app"]))
    assert await campus.channels() == {name: after for name, _, after in table()}


async def test_what_is_malformed_is_never_touched_and_listed(campus: Campus) -> None:
    assert len(MALFORMED) >= 40
    stored = {f"m{number:02}": {"reply": choice, "tip": ["email"]} for number, choice in enumerate(MALFORMED)}
    await campus.people({**stored, "zoe": {"reply": []}})
    before = await campus.rows("select recipient_id, channels::text, updated_at, xmin::text from hark.preference")

    backfill = await campus.plan(batch_size=7)
    await campus.apply(backfill)

    after = await campus.rows("select recipient_id, channels::text, updated_at, xmin::text from hark.preference")
    assert [row for row in before if row not in after] == [row for row in before if row[0] == "zoe"]
    assert {member.recipient_id for member in await campus.members(backfill, "malformed")} == set(stored)


async def test_a_map_that_is_none_cannot_even_be_stored(campus: Campus) -> None:
    with pytest.raises(Exception, match="preference_channels_check"):
        await campus.run("insert into hark.preference values ('nul', 'null', '{}', now())")


CHOICES: list[tuple[str, str, list[Channel] | None, Frequency | None]] = [
    ("ann", "like", [Channel.IN_APP], None),
    ("dan", "tip", [Channel.EMAIL], None),
    ("bob", "reply", None, Frequency.WEEKLY),
    ("gus", "like", [], None),
    ("hal", "like", [], None),
]
"""Of other reasons, or how often; gus had no preferences until the backfill made a row."""


async def test_planned_applied_and_undone_the_table_is_as_though_it_had_not_been(campus: Campus) -> None:
    """For each user there is another one, whom no backfill is about, who has and chooses the same."""
    people: dict[str, object] = {name: before for name, before, _ in table()} | {
        "fin": None,
        "gus": None,
        "hal": {"page": []},
        "ida": {},
    }
    await campus.people({**people, **{f"{name}-too": before for name, before in people.items()}})
    before = await campus.rows(WHOLE)
    backfill = await campus.plan(["reply", "page"], ["push", "email"], members=list(people), create_rows=True)
    await campus.apply(backfill)
    assert await campus.column("select recipient_id from hark.preference where since <> '{}' order by 1") == [
        *("ann", "bea", "bob", "cat", "dan", "eve", "fay", "fin", "gus", "hal", "ida")
    ]
    campus.clock.advance(timedelta(hours=1))
    for name, reason, channels, frequency in CHOICES:
        for each in (name, f"{name}-too"):
            now = campus.clock.now()
            await preferences.choose(campus.database, each, reason, now, channels=channels, frequency=frequency)
    campus.clock.advance(timedelta(hours=1))

    back = await campus.undone(backfill)

    after = {name: kept for name, *kept in await campus.rows(WHOLE)}
    assert {name: after.get(name) for name in people} == {name: after.get(f"{name}-too") for name in people}
    assert "fin" not in after and "gus" in after
    chose = {each for name, *_ in CHOICES for each in (name, f"{name}-too")}
    assert [row for row in await campus.rows(WHOLE) if row[0] not in chose] == [
        row for row in before if row[0] not in chose
    ]
    assert (await campus.verified(back)).good


WHOLE = "select recipient_id, channels, frequencies, since, chose from hark.preference order by 1"
"""The table, but for when its rows were written to last."""
