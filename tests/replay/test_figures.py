"""Waits in words."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hark.replay.figures import spell


@pytest.mark.parametrize(
    ("wait", "words"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=2.54), "2.5s"),
        (timedelta(seconds=3), "3s"),
        (timedelta(seconds=59.6), "1m"),
        (timedelta(minutes=4), "4m"),
        (timedelta(minutes=25, seconds=21), "25m 21s"),
        (timedelta(hours=1, seconds=59), "1h"),
        (timedelta(hours=23, minutes=59, seconds=59), "23h 59m"),
        (timedelta(days=6, hours=23, minutes=59), "6d 23h"),
        (timedelta(days=400), "400d"),
    ],
)
def test_waits_are_told_in_their_two_largest_units(wait: timedelta, words: str) -> None:
    assert spell(wait) == words


@given(st.timedeltas(timedelta(seconds=10), timedelta(days=365)))
def test_what_is_told_is_never_more_than_one_smaller_unit_off(wait: timedelta) -> None:
    units = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1), "s": timedelta(seconds=1)}
    told = spell(wait).split()
    value = sum((int(part[:-1]) * units[part[-1]] for part in told), timedelta(0))
    finer = {"d": units["h"], "h": units["m"], "m": units["s"], "s": units["s"]}[told[0][-1]]
    assert abs(wait - value) <= finer
