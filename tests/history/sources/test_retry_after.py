"""Retry-After in every form that servers write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hark.history.sources.retry_after import LONGEST, parse_date, retry_after

NOW = datetime(2026, 11, 27, 8, tzinfo=UTC)
SECONDS = st.integers(
    int(datetime(1980, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2060, 1, 1, tzinfo=UTC).timestamp())
)
MOMENTS = SECONDS.map(lambda at: datetime.fromtimestamp(at, UTC))
FORMS = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y")


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("007", 7),
        ("1.5", 1.5),
        ("0.0000001", 0),
        ("86401", 86_400),
        ("9" * 300, 86_400),
        ("Fri, 27 Nov 2026 08:01:30 GMT", 90),
        ("fri, 27 nov 2026 08:01:30 utc", 90),
        ("Fri, 27 Nov 2026 08:01:30 +0000", 90),
        ("Friday, 27-Nov-26 08:01:30 GMT", 90),
        ("Fri Nov 27 08:01:30 2026", 90),
        ("Tue Dec  1 08:00:00 2026", 86_400),
        ("Fri, 27 Nov 2026 08:00:60 GMT", 59),
        ("Fri, 27 Nov 2015 08:00:00 GMT", 0),
        ("Fri, 27 Nov 9999 08:00:00 GMT", 86_400),
    ],
)
def test_is_understood(said: str, seconds: float) -> None:
    assert retry_after(said, None, NOW) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "said",
    [
        *(
            None,
            "",
            "soon",
            "-1",
            "-0.5",
            "+5",
            "1e3",
            "1,5",
            "0x10",
            "١٢",
            "NaN",
            "inf",
            "5 seconds",
            "1.",
            ".5",
            "5;q=1",
        ),
        *("Fri, 32 Nov 2026 08:00:00 GMT", "Fri, 27 Now 2026 08:00:00 GMT", "Fri, 27 Nov 2026 25:00:00 GMT"),
        *("Fri, 27 Nov 2026 08:00:00 CET", "2026-11-27T08:00:00Z", "Fri, 27 Nov 0000 08:00:00 GMT"),
    ],
)
def test_nonsense_says_nothing(said: str | None) -> None:
    assert retry_after(said, None, NOW) is None


def test_a_date_is_counted_from_the_servers_own_clock() -> None:
    """Whose clock is a year off is waited for no longer."""
    assert retry_after("Mon, 01 Jan 2024 00:00:10 GMT", "Mon, 01 Jan 2024 00:00:00 GMT", NOW) == timedelta(seconds=10)
    assert retry_after("Fri, 27 Nov 2026 08:00:10 GMT", "nonsense", NOW) == timedelta(seconds=10)


@settings(deadline=None)
@given(MOMENTS, st.sampled_from(FORMS))
def test_dates_are_read_as_they_were_written(at: datetime, form: str) -> None:
    near = at.replace(day=1)  # two figures of a year are understood from here
    assert parse_date(at.strftime(form), near) == at
    assert parse_date(format_datetime(at, usegmt=True), near) == at


@settings(deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
@example("9" * 401, "")
@example("1." + "9" * 400, "")
def test_whatever_is_said_comes_to_a_wait_within_bounds_or_to_none(said: str, date: str) -> None:
    wait = retry_after(said, date, NOW)
    assert wait is None or timedelta(0) <= wait <= LONGEST


@settings(deadline=None)
@given(st.decimals(0, 100_000, places=6))
def test_fractions_are_kept(seconds: object) -> None:
    assert retry_after(f"{seconds:f}", None, NOW) == min(timedelta(seconds=float(str(seconds))), LONGEST)
