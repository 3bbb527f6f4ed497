"""What people write for durations, rates and times is read, written back the same, and mended when it is wrong."""

from __future__ import annotations

from datetime import time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hark.durations import (
    WEEKDAYS,
    Rate,
    format_duration,
    format_local_time,
    format_rate,
    format_weekday,
    parse_duration,
    parse_local_time,
    parse_rate,
    parse_weekday,
    rate_in_words,
)
from hark.errors import BadInput

PERIODS = [timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)]


class TestDurations:
    @pytest.mark.parametrize(
        ("text", "seconds"), [("90s", 90), ("4m", 240), ("1h", 3600), ("7d", 604800), ("20ms", 0.02), ("0s", 0)]
    )
    def test_are_a_number_and_a_unit(self, text: str, seconds: float) -> None:
        assert parse_duration(text) == timedelta(seconds=seconds)

    @pytest.mark.parametrize(
        ("duration", "text"),
        [
            (timedelta(seconds=90), "90s"),
            (timedelta(minutes=90), "90m"),
            (timedelta(hours=24), "1d"),
            (timedelta(hours=36), "36h"),
            (timedelta(milliseconds=1500), "1500ms"),
            (timedelta(seconds=1, microseconds=3), "1s"),
            (timedelta(microseconds=3), "0s"),
        ],
    )
    def test_are_written_in_the_largest_unit_that_divides_them(self, duration: timedelta, text: str) -> None:
        assert format_duration(duration) == text

    @pytest.mark.parametrize(
        ("text", "meant"),
        [
            ("4 minutes", "4m"),
            ("4 min", "4m"),
            ("4M", "4m"),
            (" 4m ", "4m"),
            ("240", "4m"),
            ("1h30m", "90m"),
            ("1 hour and 30 minutes", "90m"),
            ("1.5h", "90m"),
            ("2 hrs", "2h"),
            ("250 milliseconds", "250ms"),
            ("-4m", "4m"),
        ],
    )
    def test_that_are_nearly_right_are_mended(self, text: str, meant: str) -> None:
        with pytest.raises(BadInput) as caught:
            parse_duration(text)
        assert str(caught.value) == f'"{text}" is not a duration; write {meant}'

    @pytest.mark.parametrize("text", ["", "soon", "4 parsecs", "4m later", "m", "٤m", "4\u202em", "0", "1e9d", "4x 3m"])
    def test_that_are_none_are_told_how_to_be(self, text: str) -> None:
        with pytest.raises(BadInput, match=r"is not a duration; write (90s, 4m, 1h or 7d|0s)$"):
            parse_duration(text)

    def test_too_long_for_the_calendar_is_refused(self) -> None:
        with pytest.raises(BadInput, match="longer than the calendar"):
            parse_duration("1000000000d")

    def test_a_negative_one_cannot_be_written(self) -> None:
        with pytest.raises(ValueError, match="negative"):
            format_duration(timedelta(seconds=-1))

    @given(st.integers(min_value=0, max_value=timedelta.max // timedelta(milliseconds=1)))
    def test_read_back_as_written(self, milliseconds: int) -> None:
        duration = timedelta(milliseconds=milliseconds)
        assert parse_duration(format_duration(duration)) == duration

    @given(st.text() | st.from_regex(r"[0-9. ]{0,12}[a-z]{0,8}[0-9 ]{0,5}[a-z]{0,8}"))
    def test_any_text_is_read_or_refused_in_ascii(self, text: str) -> None:
        try:
            assert parse_duration(text) >= timedelta(0)
        except BadInput as refusal:
            assert str(refusal).isascii()
            assert str(refusal).isprintable()

    @given(
        st.from_regex(
            r"[1-9][0-9]{0,3}(\.5)? ?(s|sec|secs|seconds|m|min|mins|minutes|h|hour|hours|d|day|days)", fullmatch=True
        )
    )
    def test_what_is_advised_is_a_duration(self, text: str) -> None:
        try:
            parse_duration(text)
        except BadInput as refusal:
            assert parse_duration(str(refusal).rpartition("write ")[2]) > timedelta(0)


class TestRates:
    @pytest.mark.parametrize(
        ("text", "rate"),
        [
            ("100/s", Rate(100, PERIODS[0])),
            ("30/m", Rate(30, PERIODS[1])),
            ("2/h", Rate(2, PERIODS[2])),
            ("5/d", Rate(5, PERIODS[3])),
        ],
    )
    def test_are_a_count_and_a_period(self, text: str, rate: Rate) -> None:
        assert parse_rate(text) == rate

    @pytest.mark.parametrize(
        ("text", "meant"), [("100 / sec", "100/s"), ("2 per hour", "2/h"), ("5 a day", "5/d"), ("9/S", "9/s")]
    )
    def test_that_are_nearly_right_are_mended(self, text: str, meant: str) -> None:
        with pytest.raises(BadInput, match=f"is not a rate; write {meant}$"):
            parse_rate(text)

    @pytest.mark.parametrize("text", ["", "0/s", "100", "/s", "1/2s", "many/s", "-1/s", "1/w"])
    def test_that_are_none_are_told_how_to_be(self, text: str) -> None:
        with pytest.raises(BadInput, match="is not a rate; write 100/s, 30/m, 2/h or 5/d"):
            parse_rate(text)

    @pytest.mark.parametrize(
        ("text", "words"),
        [("100/s", "100 a second"), ("1000/m", "1,000 a minute"), ("2/h", "2 an hour"), ("20/d", "20 a day")],
    )
    def test_are_told_in_words(self, text: str, words: str) -> None:
        assert rate_in_words(parse_rate(text)) == words

    def test_of_an_odd_period_cannot_be_written(self) -> None:
        with pytest.raises(ValueError, match="per second, minute, hour or day"):
            format_rate(Rate(1, timedelta(seconds=2)))

    @given(st.builds(Rate, st.integers(1, 999_999_999), st.sampled_from(PERIODS)))
    def test_read_back_as_written(self, rate: Rate) -> None:
        assert parse_rate(format_rate(rate)) == rate


class TestTimesOfDay:
    @given(st.times().map(lambda at: at.replace(second=0, microsecond=0)))
    def test_read_back_as_written(self, at: time) -> None:
        assert parse_local_time(format_local_time(at)) == at

    @pytest.mark.parametrize(
        ("text", "meant"),
        [
            ("8:00", "08:00"),
            ("8 am", "08:00"),
            ("12am", "00:00"),
            ("8pm", "20:00"),
            ("08:00:00", "08:00"),
            ("8.30", "08:30"),
        ],
    )
    def test_that_are_nearly_right_are_mended(self, text: str, meant: str) -> None:
        with pytest.raises(BadInput, match=f"is not a time of day; write {meant}$"):
            parse_local_time(text)

    @pytest.mark.parametrize("text", ["", "24:00", "noon", "08:60", "13pm", "0 am", "08:00Z"])
    def test_that_are_none_are_told_how_to_be(self, text: str) -> None:
        with pytest.raises(BadInput, match=r"is not a time of day; write 08:00$"):
            parse_local_time(text)


class TestWeekdays:
    @pytest.mark.parametrize("number", range(7))
    def test_read_back_as_written(self, number: int) -> None:
        assert parse_weekday(format_weekday(number)) == number
        assert parse_weekday(WEEKDAYS[number][:3].upper()) == number

    @pytest.mark.parametrize("text", ["", "mo", "funday", "8"])
    def test_that_are_none_are_told_how_to_be(self, text: str) -> None:
        with pytest.raises(BadInput, match="write monday, tuesday"):
            parse_weekday(text)
