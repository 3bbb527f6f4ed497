"""Policies as people write them."""

from __future__ import annotations

from datetime import time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hark.catalogue import Calendar, Channel, Frequency, Windows
from hark.errors import BadInput
from hark.replay.policy import EXAMPLES, REASON, USER_TYPE, Policy, parse_policies, parse_policy

FOUR_MINUTES = timedelta(minutes=4)


def minutes(count: int) -> timedelta:
    return timedelta(minutes=count)


@pytest.mark.parametrize(
    ("text", "frequency", "windows", "calendar"),
    [
        ("immediate", Frequency.IMMEDIATE, None, None),
        ("cooldown=4m", Frequency.BATCHED, Windows(FOUR_MINUTES, None), None),
        ("cooldown=240s,max_stale=1h", Frequency.BATCHED, Windows(FOUR_MINUTES, minutes(60)), None),
        (" max_stale = 4m , cooldown = 4m ", Frequency.BATCHED, Windows(FOUR_MINUTES, FOUR_MINUTES), None),
        ("daily@08:00", Frequency.DAILY, None, Calendar(time(8), 0)),
        ("daily@23:59", Frequency.DAILY, None, Calendar(time(23, 59), 0)),
        ("Daily", Frequency.DAILY, None, Calendar(time(8), 0)),
        ("weekly@monday 08:00", Frequency.WEEKLY, None, Calendar(time(8), 0)),
        ("weekly@17:30 fri", Frequency.WEEKLY, None, Calendar(time(17, 30), 4)),
        ("weekly@Sunday", Frequency.WEEKLY, None, Calendar(time(8), 6)),
        ("weekly", Frequency.WEEKLY, None, Calendar(time(8), 0)),
    ],
)
def test_policies_are_read(text: str, frequency: Frequency, windows: Windows | None, calendar: Calendar | None) -> None:
    policy = parse_policy(text)
    assert policy.frequency is frequency
    assert windows in (None, policy.windows)
    assert calendar in (None, policy.calendar)


def test_all_examples_are_policies_of_that_name() -> None:
    assert [policy.name for policy in parse_policies(EXAMPLES)] == list(EXAMPLES)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "there is none of that name; write immediate, cooldown=4m"),
        ("hourly", "there is none of that name; write immediate, cooldown=4m"),
        ("immediate@08:00", "immediate has no time"),
        ("cooldown=4 minutes", '"4 minutes" is not a duration; write 4m'),
        ("cooldown=", "is not a duration"),
        ("cooldown=0s", "for none at all write immediate"),
        ("cooldown=367d", "is not between 1s and 366d"),
        ("cool_down=4m", "no setting 'cool_down'; did you mean cooldown?"),
        ("cooldown=4m,", "no setting ''"),
        ("cooldown=4m,cooldown=5m", "cooldown is given 2 times"),
        ("max_stale=1h", "max_stale needs a cooldown beside it"),
        ("cooldown=1h,max_stale=4m", "max_stale is shorter than cooldown"),
        ("daily@8", '"8" is not a time of day; write 08:00'),
        ("daily@monday 08:00", "daily has no weekday"),
        ("weekly@someday 08:00", '"someday" is not a weekday'),
        ("weekly@monday 08:00 09:00", "one weekday and one time of day are enough"),
        ("weekly@monday tuesday", "one weekday and one time of day are enough"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_write(text: str, what: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_policy(text)
    assert str(caught.value).startswith(f"policy {text!r}: ")
    assert what in str(caught.value)


def test_all_faults_of_all_policies_come_at_once() -> None:
    with pytest.raises(BadInput) as caught:
        parse_policies(["hourly", "cooldown=4m", "daily@8"])
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["policy 'hourly'", "policy 'daily@8'"]


def test_at_least_one_policy_is_needed() -> None:
    with pytest.raises(BadInput, match="no policy given; write for instance --policy cooldown=4m"):
        parse_policies([])


@given(st.text(max_size=40))
def test_any_text_is_a_policy_or_refused_in_words(text: str) -> None:
    try:
        policy = parse_policy(text)
    except BadInput:
        return
    assert policy.name == " ".join(text.split())


@given(st.integers(1, 10_000), st.integers(0, 10_000))
def test_windows_are_what_was_written(cooldown: int, more: int) -> None:
    policy = parse_policy(f"cooldown={cooldown}s,max_stale={cooldown + more}s")
    assert policy.windows == Windows(timedelta(seconds=cooldown), timedelta(seconds=cooldown + more))


def test_the_catalogue_of_a_policy_has_its_one_reason_by_mail_to_its_one_user_type() -> None:
    catalogue = parse_policy("weekly@fri 17:00").catalogue()
    assert list(catalogue.user_types) == [USER_TYPE]
    assert list(catalogue.reasons) == [REASON]
    assert catalogue.reasons[REASON].channels == {USER_TYPE: (Channel.EMAIL,)}
    assert catalogue.reasons[REASON].frequency is Frequency.WEEKLY
    assert catalogue.calendar == Calendar(time(17), 4)


@pytest.mark.parametrize(
    ("policy", "sure"),
    [
        (parse_policy("cooldown=4m"), FOUR_MINUTES),
        (parse_policy("cooldown=4m,max_stale=5m"), FOUR_MINUTES),
        (parse_policy("daily@08:00"), timedelta(0)),
    ],
)
def test_how_long_a_message_is_sure_to_stay_open(policy: Policy, sure: timedelta) -> None:
    assert policy.open_for() == sure


def test_an_immediate_message_is_never_joined_so_nothing_comes_too_late() -> None:
    assert parse_policy("immediate").open_for() > timedelta(days=365_000)
