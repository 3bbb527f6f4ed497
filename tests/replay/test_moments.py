"""Times as histories write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hark.replay.moments import EARLIEST, LATEST, parse_moment

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SOME_TIME = datetime(2004, 4, 15, 14, 56, 1, tzinfo=UTC)

moments = st.integers(-2208902400 * 10**6, 32503593600 * 10**6).map(
    lambda number: EPOCH + timedelta(microseconds=number)
)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    "text",
    [
        "1082040961",
        "1082040961.0",
        "1082040961000",
        "1082040961000000",
        "2004-04-15T14:56:01Z",
        "2004-04-15 14:56:01",
        "2004-04-15T16:56:01+02:00",
        "2004-04-15 14:56:01.000000+00",
        "20040415T145601Z",
    ],
)
def test_one_moment_written_in_many_ways(text: str) -> None:
    assert parse_moment(text) == SOME_TIME


@given(moments)
def test_seconds_with_a_fraction_are_exact_to_the_microsecond(moment: datetime) -> None:
    microseconds = (moment - EPOCH) // timedelta(microseconds=1)
    sign = "-" if microseconds < 0 else ""
    text = f"{sign}{abs(microseconds) // 10**6}.{abs(microseconds) % 10**6:06}"
    assert parse_moment(text) == moment
    assert parse_moment(text + "9") == moment


@given(moments, offsets)
def test_iso_times_are_read_in_their_zone_and_given_back_in_utc(moment: datetime, offset: timezone) -> None:
    read = parse_moment(moment.astimezone(offset).isoformat())
    assert read == moment
    assert read.tzinfo is UTC


@given(st.integers(10**11, 10**14 - 1))
def test_whole_numbers_too_large_for_seconds_are_milliseconds(milliseconds: int) -> None:
    moment = EPOCH + timedelta(milliseconds=milliseconds)
    if moment < LATEST:
        assert parse_moment(str(milliseconds)) == moment


@pytest.mark.parametrize(
    "text", ["yesterday", "2004-13-01", "12:30", "nan", "1e9", "1,5", "١٢٣", "0001-01-01T00:00+14:00"]
)
def test_what_is_no_time_is_named_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a time; expected a Unix time like 1082040961 or an ISO time"):
        parse_moment(text)


@pytest.mark.parametrize(
    "text", ["9" * 18, "-99999999999", "3000-01-01T00:00:00Z", "1899-12-31T23:59:59Z", "9999-12-31"]
)
def test_times_out_of_all_proportion_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not between the years 1900 and 2999"):
        parse_moment(text)


def test_the_first_and_the_last_moment_that_are_read() -> None:
    assert parse_moment("1900-01-01T00:00:00Z") == EARLIEST
    assert parse_moment("2999-12-31T23:59:59.999999Z") < LATEST


def test_an_empty_time_is_called_empty() -> None:
    with pytest.raises(ValueError, match="is empty"):
        parse_moment("")


@given(st.text())
def test_any_text_is_a_time_in_range_or_refused(text: str) -> None:
    try:
        moment = parse_moment(text)
    except ValueError:
        return
    assert EARLIEST <= moment < LATEST
