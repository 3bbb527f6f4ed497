"""Windows: open and closed, over midnight, over changes of clocks."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hark.backfill.windows import Window, parse_window
from hark.errors import BadInput

zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
minutes = st.builds(time, st.integers(0, 23), st.integers(0, 59))
windows = st.builds(Window, minutes, minutes, zones).filter(lambda window: window.opens != window.closes)
CHANGES = [
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 3, 8, 7, tzinfo=UTC),
    datetime(2026, 11, 1, 6, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),
]
"""Of Berlin's clocks, New York's and Lord Howe's, in UTC."""
moments = st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(windows, moments)
def test_it_opens_within_two_days_and_is_open_then(window: Window, now: datetime) -> None:
    opens = window.next_open(now)
    assert now <= opens <= now + timedelta(days=2)
    if window.is_open(now):
        assert opens == now


@given(windows, st.sampled_from(CHANGES), st.integers(-1500, 300))
def test_around_changes_of_clocks_it_opens_when_the_clocks_say_so_first(
    window: Window, change: datetime, minutes: int
) -> None:
    now = change + timedelta(minutes=minutes)
    opens = window.next_open(now)
    by_minutes = (now + timedelta(minutes=ahead) for ahead in range(3 * 24 * 60))
    assert opens == next(at for at in by_minutes if window.is_open(at))


@given(windows, st.sampled_from(CHANGES), st.integers(-300, 1500))
def test_around_changes_of_clocks_it_has_been_open_since_it_was_closed_last(
    window: Window, change: datetime, minutes: int
) -> None:
    now = change + timedelta(minutes=minutes)
    opened = window.opened(now)
    assert (opened is None) == (not window.is_open(now))
    if opened is not None:
        by_minutes = (now - timedelta(minutes=ago) for ago in range(3 * 24 * 60))
        assert opened - timedelta(minutes=1) == next(at for at in by_minutes if not window.is_open(at))


def test_what_clocks_skip_waits_for_the_next_day_and_what_they_repeat_opens_twice() -> None:
    skipped = parse_window("02:15-02:45 Europe/Berlin")
    assert skipped.next_open(datetime(2026, 3, 29, tzinfo=UTC)) == datetime(2026, 3, 30, 0, 15, tzinfo=UTC)
    repeated = parse_window("01:00-02:30 Europe/Berlin")
    assert repeated.next_open(datetime(2026, 10, 25, 0, 40, tzinfo=UTC)) == datetime(2026, 10, 25, 1, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "now", "opens"),
    [
        ("00:00-06:00 Europe/Berlin", datetime(2026, 3, 28, 9, 5, tzinfo=UTC), datetime(2026, 3, 28, 23, tzinfo=UTC)),
        (
            "00:00-03:00 Australia/Lord_Howe",
            datetime(2026, 4, 3, 22, 20, tzinfo=UTC),
            datetime(2026, 4, 4, 13, tzinfo=UTC),
        ),
        (
            "00:00-07:30 America/New_York",
            datetime(2026, 10, 31, 12, 40, tzinfo=UTC),
            datetime(2026, 11, 1, 4, tzinfo=UTC),
        ),
    ],
)
def test_the_day_before_a_change_of_clocks_it_opens_at_its_hour(text: str, now: datetime, opens: datetime) -> None:
    assert parse_window(text).next_open(now) == opens


@given(windows, moments)
def test_it_is_open_by_local_time_alone(window: Window, now: datetime) -> None:
    local = now.astimezone(ZoneInfo(window.zone)).time()
    inside = window.opens <= local < window.closes
    over_midnight = local >= window.opens or local < window.closes
    assert window.is_open(now) == (inside if window.opens < window.closes else over_midnight)


@given(windows)
def test_what_it_says_is_what_it_reads(window: Window) -> None:
    assert parse_window(str(window)) == window


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("20:00", "is not a window"),
        ("8-9", "write 08:00"),
        ("20:00-20:00", "closes when it opens"),
        ("20:00-06:00 Europe/Berlim", "no time zone"),
        ("20:00-06:00 ../etc", "no time zone"),
    ],
)
def test_what_is_no_window_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        parse_window(text)
