"""GCRA against a naive model: a list of all moments, looked through for every period there is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hark.delivery.gcra import LONG_AGO, Gcra
from hark.durations import Rate, parse_rate

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
PERIODS = [timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)]
RATES = st.builds(Rate, st.integers(1, 300), st.sampled_from(PERIODS))
ASKED = st.lists(st.tuples(st.integers(0, 400_000), st.integers(0, 60)), max_size=60)
"""How much later the next asks, in millionths of the period, and for how many."""


def gone(rate: Rate, asked: Sequence[tuple[int, int]]) -> list[datetime]:
    """When each of those went that GCRA let go."""
    gcra, tat, now = Gcra.of(rate), LONG_AGO, START
    went: list[datetime] = []
    for later, wanted in asked:
        now += rate.per * later / 1_000_000
        taken = min(gcra.free(tat, now), wanted)
        tat = gcra.after(tat, now, taken) if taken else tat
        went += [now] * taken
    return went


def most_in_any(period: timedelta, moments: Sequence[datetime]) -> int:
    return max((sum(start <= at < start + period for at in moments) for start in moments), default=0)


@given(RATES, ASKED)
def test_no_period_wherever_it_begins_has_more_than_the_rate_says(rate: Rate, asked: list[tuple[int, int]]) -> None:
    assert most_in_any(rate.per, gone(rate, asked)) <= rate.count


@given(RATES, ASKED, st.randoms(use_true_random=False))
def test_nor_when_workers_clocks_are_a_little_apart(rate: Rate, asked: list[tuple[int, int]], chance: object) -> None:
    gcra, tat, now = Gcra.of(rate), LONG_AGO, START
    went: list[datetime] = []
    for later, wanted in asked:
        now += rate.per * later / 1_000_000
        seen = now - rate.per * chance.random() / 100  # type: ignore[attr-defined]
        taken = min(gcra.free(tat, seen), wanted)
        tat = gcra.after(tat, seen, taken) if taken else tat
        went += [seen] * taken
    assert most_in_any(rate.per, went) <= rate.count


@given(RATES)
def test_who_always_asks_gets_nineteen_twentieths_of_the_rate_at_least(rate: Rate) -> None:
    gcra, tat, now = Gcra.of(rate), LONG_AGO, START
    went = 0
    while now < START + 3 * rate.per:
        taken = gcra.free(tat, now)
        tat = gcra.after(tat, now, taken) if taken else tat
        went += taken
        now = max(now, gcra.next_free(tat))
    assert 0.95 * 3 * rate.count - 3 <= went <= 3 * rate.count


@given(RATES, st.integers(0, 300))
def test_one_may_go_at_the_moment_that_is_said_and_none_before(rate: Rate, taken: int) -> None:
    gcra = Gcra.of(rate)
    tat = gcra.after(LONG_AGO, START, taken)
    at = gcra.next_free(tat)
    assert gcra.free(tat, at) >= 1
    assert gcra.free(tat, at - timedelta(microseconds=1)) == 0


@given(RATES)
def test_after_a_pause_a_burst_may_go_and_no_more(rate: Rate) -> None:
    gcra = Gcra.of(rate)
    assert gcra.free(LONG_AGO, START) == gcra.burst == max(1, rate.count // 20)


@pytest.mark.parametrize(
    ("text", "burst", "interval"),
    [
        ("100/s", 5, timedelta(microseconds=10_417)),
        ("10/s", 1, timedelta(milliseconds=100)),
        ("2/h", 1, timedelta(minutes=30)),
        ("1000000/s", 50_000, timedelta(microseconds=2)),
    ],
)
def test_what_a_rate_comes_to(text: str, burst: int, interval: timedelta) -> None:
    assert Gcra.of(parse_rate(text)) == Gcra(interval, burst)


def test_a_rate_that_was_lowered_lets_none_go_until_it_is_kept() -> None:
    quick, slow = Gcra.of(parse_rate("100/s")), Gcra.of(parse_rate("1/h"))
    tat = slow.after(LONG_AGO, START, 1)
    assert quick.free(tat, START) == 0
    assert quick.free(tat, START + timedelta(hours=1)) == 5
