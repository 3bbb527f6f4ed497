"""`decide` is the one answer to whether, how and how often; the database gives the same one."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hark import preferences
from hark.catalogue import Channel, Frequency, Reason
from hark.errors import BadInput
from hark.preferences import Choice, Reach, Standing, Why, decide
from tests.world import COMMENT, MENTION, NEWS, World, catalogue, reason, student

EMAIL, IN_APP, PUSH = Channel.EMAIL, Channel.IN_APP, Channel.PUSH
NOTHING: frozenset[Channel] = frozenset()
DEFAULTS = Standing("Students", Reach.OK, Choice.DEFAULT, Choice.DEFAULT)
SILENT = reason("silent", frequency=Frequency.NEVER)

channel_sets = st.frozensets(st.sampled_from(Channel))
reasons = st.builds(
    reason,
    st.just("any"),
    channels=channel_sets.map(tuple),
    types=st.sampled_from([("Students",), ("Employers",), ("Students", "Employers"), ()]),
    frequency=st.sampled_from(Frequency),
)
standings = st.builds(
    Standing,
    st.sampled_from(["Students", "Employers", "Mentors"]),
    st.sampled_from(Reach),
    channel_sets | st.sampled_from(Choice),
    st.sampled_from(Frequency) | st.sampled_from(Choice),
)


# The order of precedence, by example ---------------------------------------------------------------------------------

PRECEDENCE = [
    # Each line stands in the way of all that are below it.
    ("inactive", COMMENT, {"reach": Reach.INACTIVE, "user_type": "Mentors", "channels": Choice.MALFORMED}),
    ("not_offered", COMMENT, {"user_type": "Employers", "channels": Choice.MALFORMED, "frequency": Frequency.NEVER}),
    ("malformed", COMMENT, {"channels": Choice.MALFORMED, "frequency": Frequency.NEVER}),
    ("malformed", COMMENT, {"channels": frozenset({EMAIL}), "frequency": Choice.MALFORMED}),
    ("never", COMMENT, {"channels": frozenset({EMAIL}), "frequency": Frequency.NEVER}),
    ("never", SILENT, {"channels": frozenset({EMAIL})}),
    ("own_channels", COMMENT, {"channels": frozenset({EMAIL})}),
    ("own_channels", SILENT, {"channels": frozenset({EMAIL}), "frequency": Frequency.DAILY}),
    ("own_channels", COMMENT, {"channels": NOTHING}),
    ("default_channels", COMMENT, {}),
]


@pytest.mark.parametrize(("why", "given_reason", "changes"), PRECEDENCE)
def test_the_first_rule_that_applies_decides(why: str, given_reason: Reason, changes: dict[str, Any]) -> None:
    assert decide(given_reason, replace(DEFAULTS, **changes)).why == why


@pytest.mark.parametrize(
    ("own", "reach", "channels"),
    [
        (Choice.DEFAULT, Reach.OK, {EMAIL, IN_APP}),
        (Choice.DEFAULT, Reach.NO_ADDRESS, {IN_APP}),
        (Choice.DEFAULT, Reach.UNCONFIRMED, {IN_APP}),
        (Choice.DEFAULT, Reach.NOT_OPTED_IN, {IN_APP}),
        (Choice.DEFAULT, Reach.SUPPRESSED, {IN_APP}),
        (Choice.DEFAULT, Reach.INACTIVE, set()),
        (frozenset({EMAIL, PUSH}), Reach.OK, {EMAIL, PUSH}),
        (frozenset({EMAIL, PUSH}), Reach.UNCONFIRMED, {PUSH}),
        (frozenset({EMAIL}), Reach.SUPPRESSED, set()),
        (NOTHING, Reach.OK, set()),
    ],
)
def test_email_is_left_out_for_whom_it_does_not_reach(own: Any, reach: Reach, channels: set[Channel]) -> None:
    assert decide(COMMENT, replace(DEFAULTS, channels=own, reach=reach)).channels == channels


def test_an_own_frequency_beats_the_reasons() -> None:
    own = decide(COMMENT, replace(DEFAULTS, frequency=Frequency.WEEKLY))
    assert (own.frequency, own.own_frequency) == (Frequency.WEEKLY, True)
    default = decide(COMMENT, DEFAULTS)
    assert (default.frequency, default.own_frequency) == (Frequency.BATCHED, False)


# What holds for all ---------------------------------------------------------------------------------------------------


@given(reasons, standings)
def test_nobody_is_mailed_whom_mail_may_not_reach(any_reason: Reason, standing: Standing) -> None:
    told_by_mail = EMAIL in decide(any_reason, standing).channels
    assert not told_by_mail or standing.reach is Reach.OK


@given(reasons, standings)
def test_channels_are_the_recipients_own_or_else_the_defaults_of_their_type(
    any_reason: Reason, standing: Standing
) -> None:
    allowed = {
        Why.OWN_CHANNELS: standing.channels,
        Why.DEFAULT_CHANNELS: frozenset(any_reason.channels.get(standing.user_type, ())),
    }
    decision = decide(any_reason, standing)
    wanted = allowed.get(decision.why, NOTHING)
    assert isinstance(wanted, frozenset)
    assert decision.channels == (wanted if standing.reach is Reach.OK else wanted - {EMAIL})


@given(reasons, standings)
def test_a_refusal_is_for_the_reason_that_it_names(any_reason: Reason, standing: Standing) -> None:
    decision = decide(any_reason, standing)
    holds = {
        Why.INACTIVE: standing.reach is Reach.INACTIVE,
        Why.NOT_OFFERED: standing.user_type not in any_reason.channels,
        Why.MALFORMED: Choice.MALFORMED in (standing.channels, standing.frequency),
        Why.NEVER: decision.frequency is Frequency.NEVER,
    }
    first = next((why for why, applies in holds.items() if applies), None)
    if first is None:
        first = Why.DEFAULT_CHANNELS if standing.channels is Choice.DEFAULT else Why.OWN_CHANNELS
    assert decision.why is first


# The database's answers ----------------------------------------------------------------------------------------------


def channels_of(choice: Any, *, given: bool) -> frozenset[Channel] | Choice:
    """What a stored choice of channels means, said once more and plainly."""
    if not given:
        return Choice.DEFAULT
    if not isinstance(choice, list):
        return Choice.MALFORMED
    return frozenset(channel for channel in Channel if channel.value in choice)


def frequency_of(choice: Any, *, given: bool) -> Frequency | Choice:
    """What a stored choice of a frequency means."""
    if not given:
        return Choice.DEFAULT
    return Frequency(choice) if isinstance(choice, str) and choice in list(Frequency) else Choice.MALFORMED


CODES = {EMAIL: 1, IN_APP: 2, PUSH: 4}
stored = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([*Channel, *Frequency, *Choice, "", "Email", "DAILY", " daily", "sms", "email,in_app"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*Channel, "x"]), inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(choice=stored)
async def test_a_stored_choice_is_read_the_same_in_sql_as_in_python(world: World, choice: Any) -> None:
    (row,) = await world.rows(
        "select hark.channel_choice(%s::jsonb) as channels, hark.frequency_choice(%s::jsonb) as frequency",
        json.dumps(choice),
        json.dumps(choice),
    )
    channels = channels_of(choice, given=True)
    code = -2 if isinstance(channels, Choice) else sum(CODES[channel] for channel in channels)
    assert (row.channels, row.frequency) == (code, str(frequency_of(choice, given=True)))


async def test_no_choice_is_read_as_the_default(world: World) -> None:
    (row,) = await world.rows("select hark.channel_choice(null) as channels, hark.frequency_choice(null) as frequency")
    assert (row.channels, row.frequency) == (-1, "default")


async def test_the_table_in_the_database_is_decide(world: World) -> None:
    await world.install(COMMENT, SILENT, reason("both", types=("Students", "Employers"), channels=(PUSH, IN_APP)))
    rows = await world.rows(
        "select d.* from hark.decision d join hark.reason r on r.name = d.reason where not r.retired"
    )
    table = {(r.reason, r.user_type, r.reach, r.channel_choice, r.frequency_choice): r for r in rows}
    sets = [frozenset(channel for channel in Channel if code & CODES[channel]) for code in range(8)]
    coded: list[tuple[int, frozenset[Channel] | Choice]] = [(-1, Choice.DEFAULT), (-2, Choice.MALFORMED)]
    coded += list(enumerate(sets))
    classes = list(
        product(world.catalogue.reasons.values(), ["Students", "Employers"], Reach, coded, [*Choice, *Frequency])
    )
    for each, user_type, reach, (code, channels), frequency in classes:
        said = table[each.name, user_type, reach, code, frequency]
        decision = decide(each, Standing(user_type, reach, channels, frequency))
        assert (said.email, said.in_app) == (EMAIL in decision.channels, IN_APP in decision.channels)
        assert (said.frequency, said.own_frequency, said.why) == (
            decision.frequency,
            decision.own_frequency,
            decision.why,
        )
    assert len(table) == len(classes)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    channels=st.dictionaries(st.sampled_from(["comment", "other"]), stored, max_size=2),
    frequencies=st.dictionaries(st.sampled_from(["comment", "other"]), stored, max_size=2),
    changes=st.fixed_dictionaries(
        {}, optional={"active": st.booleans(), "confirmed": st.booleans(), "opted_in": st.booleans()}
    ),
    user_type=st.sampled_from(["Students", "Employers"]),
)
async def test_a_fan_out_decides_as_decide_does(
    world: World, channels: dict[str, Any], frequencies: dict[str, Any], changes: dict[str, bool], user_type: str
) -> None:
    await world.know(replace(student("bob"), user_type=user_type, **changes))  # type: ignore[arg-type]
    await world.execute(
        "insert into hark.preference values ('bob', %s::jsonb, %s::jsonb, now()) on conflict (recipient_id)"
        " do update set channels = excluded.channels, frequencies = excluded.frequencies",
        json.dumps(channels),
        json.dumps(frequencies),
    )
    event = await world.publish(to=["bob"])
    await world.fan_out()
    (told,) = await world.told(event)
    standing = Standing(
        user_type,
        Reach(told.reach),
        channels_of(channels.get("comment"), given="comment" in channels),
        frequency_of(frequencies.get("comment"), given="comment" in frequencies),
    )
    decision = decide(COMMENT, standing)
    assert (told.why, told.frequency, told.own_frequency) == (decision.why, decision.frequency, decision.own_frequency)
    assert told.in_app == (IN_APP in decision.channels)
    assert (told.email_delivery is not None) == (EMAIL in decision.channels)


@pytest.mark.parametrize("damaged", ["[]", "null", '"comment"', "7", '["comment"]'])
async def test_preferences_that_are_no_map_cannot_be_stored(world: World, damaged: str) -> None:
    with pytest.raises(Exception, match="check constraint"):
        await world.execute("insert into hark.preference values ('bob', %s::jsonb, '{}', now())", damaged)
    with pytest.raises(Exception, match="check constraint"):
        await world.execute("insert into hark.preference values ('bob', '{}', %s::jsonb, now())", damaged)


async def test_a_type_that_the_catalogue_lost_is_told_nothing(world: World) -> None:
    await world.know("bob")
    await world.execute("update hark.recipient set user_type = 'Pupils' where id = 'bob'")
    await world.publish(to=["bob"])
    await world.fan_out()
    (told,) = await world.told()
    assert (told.why, told.in_app, told.email_delivery) == ("unknown_type", False, None)


# Choosing ------------------------------------------------------------------------------------------------------------


async def choices(world: World) -> tuple[dict[str, Any], dict[str, Any]]:
    (row,) = await world.rows("select channels, frequencies from hark.preference where recipient_id = 'bob'")
    return row.channels, row.frequencies


async def test_each_half_of_a_choice_is_stored_by_itself(world: World) -> None:
    await world.choose("bob", "comment", channels=[EMAIL])
    await world.choose("bob", "comment", frequency=Frequency.DAILY)
    await world.choose("bob", "mention", channels=[])
    assert await choices(world) == ({"comment": ["email"], "mention": []}, {"comment": "daily"})


async def test_choosing_again_replaces_and_unchoosing_forgets_one_reason_only(world: World) -> None:
    await world.choose("bob", "comment", channels=[EMAIL], frequency=Frequency.DAILY)
    await world.choose("bob", "mention", frequency=Frequency.NEVER)
    await world.choose("bob", "comment", channels=[IN_APP, EMAIL])
    assert await choices(world) == ({"comment": ["in_app", "email"]}, {"comment": "daily", "mention": "never"})
    await preferences.unchoose(world.database, "bob", "comment", world.clock.now())
    assert await choices(world) == ({}, {"mention": "never"})


async def test_choices_for_several_reasons_at_once_are_all_kept(world: World) -> None:
    names = list(world.catalogue.reasons)
    await asyncio.gather(*[world.choose("bob", name, frequency=Frequency.WEEKLY) for name in names])
    assert (await choices(world))[1] == dict.fromkeys(names, "weekly")


async def test_an_unknown_reason_or_an_empty_choice_is_refused(world: World) -> None:
    with pytest.raises(BadInput, match="no reason 'comet'; the catalogue has comment, mention, news, round_up"):
        await world.choose("bob", "comet", frequency=Frequency.DAILY)
    with pytest.raises(BadInput, match="no choice given for comment"):
        await world.choose("bob", "comment")


# Installing a catalogue ----------------------------------------------------------------------------------------------


async def test_installing_again_changes_nothing_and_a_change_changes_only_its_reason(world: World) -> None:
    assert await preferences.install(world.database, world.catalogue) == []
    patient = replace(COMMENT, windows=replace(COMMENT.windows, cooldown=timedelta(minutes=9)))
    assert await preferences.install(world.database, catalogue(patient, MENTION, NEWS)) == ["comment"]
    (row,) = await world.rows("select cooldown from hark.reason where name = 'comment'")
    assert row.cooldown == timedelta(minutes=9)


async def test_a_changed_calendar_changes_every_reason(world: World) -> None:
    await world.install(COMMENT, NEWS)
    moved = catalogue(COMMENT, NEWS, weekday=4)
    assert await preferences.install(world.database, moved) == ["comment", "news"]
    assert {row.due_weekday for row in await world.rows("select * from hark.reason where not retired")} == {4}


async def test_a_reason_that_is_gone_is_retired_what_waits_is_sent_and_it_can_come_back(world: World) -> None:
    await world.know("bob")
    waiting = await world.publish("comment", to=["bob"])
    await preferences.install(world.database, catalogue(MENTION))
    assert await world.publish("comment", to=["ann"])
    await preferences.install(world.database, catalogue(MENTION), retire=True)
    with pytest.raises(Exception, match='no reason "comment"'):
        await world.publish("comment", to=["bob"])
    await world.fan_out()
    (told,) = await world.told(waiting)
    assert told.email_delivery is not None
    world.clock.advance(timedelta(hours=1))
    assert (await world.attempt()).accepted == 1
    assert await preferences.install(world.database, catalogue(COMMENT, MENTION)) == ["comment", "mention"]
    assert await world.publish("comment", to=["bob"])


async def test_many_processes_may_install_at_once(world: World) -> None:
    changed = catalogue(COMMENT, SILENT)
    answers = await asyncio.gather(*[preferences.install(world.database, changed) for _ in range(6)])
    assert sorted(map(len, answers)) == [0, 0, 0, 0, 0, 1]
    (row,) = await world.rows("select count(*) as rows from hark.decision where reason = 'silent'")
    assert row.rows == 2 * len(Reach) * 10 * (len(Choice) + len(Frequency))


async def test_a_new_user_type_is_known_to_every_reason(world: World) -> None:
    wider = replace(world.catalogue, user_types={**world.catalogue.user_types, "Mentors": "People who help"})
    assert await preferences.install(world.database, wider) == list(world.catalogue.reasons)
    await world.know(replace(student("mia"), user_type="Mentors"))
    await world.publish(to=["mia"])
    await world.fan_out()
    assert [row.why for row in await world.told()] == ["not_offered"]
