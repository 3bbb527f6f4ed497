"""How fast: live work always wins, what cannot be read holds, and both ways are quick."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from hark.backfill.throttle import Limits, Readings, Throttle, Why, next_throttle

LIMITS = Limits()
MS = timedelta(milliseconds=1)
CALM = Readings(probe=MS, statement=timedelta(microseconds=30))

durations = st.timedeltas(timedelta(0), timedelta(seconds=30))
readings = st.builds(
    Readings,
    probe=durations,
    statement=st.none() | durations,
    replica_lag=durations,
    lock_waits=st.integers(0, 50),
    live=st.integers(0, 10_000),
    traffic=st.floats(0, 1e6),
    unreadable=st.sampled_from([(), (), ("probe",)]),
)


def after(throttle: Throttle, *seen: Readings) -> Throttle:
    for each in seen:
        throttle = next_throttle(throttle, each, LIMITS)
    return throttle


@given(st.lists(readings, min_size=1))
def test_live_work_always_wins_and_what_cannot_be_read_holds(seen: list[Readings]) -> None:
    throttle = after(Throttle(), *seen)
    last = seen[-1]
    assert throttle.hold == (
        bool(last.unreadable)
        or last.live > LIMITS.live
        or last.replica_lag > LIMITS.replica_lag
        or last.lock_waits > LIMITS.lock_waits
    )
    if last.unreadable:
        assert throttle.why is Why.UNREADABLE
    elif last.live > LIMITS.live:
        assert throttle.why is Why.LIVE
    assert 0 <= throttle.rest <= LIMITS.longest_rest


@given(st.lists(readings), readings)
def test_whatever_is_waited_for_has_a_reason(seen: list[Readings], last: Readings) -> None:
    throttle = after(Throttle(), *seen, last)
    assert (throttle.why is None) == (not throttle.hold and throttle.rest == 0)


@given(st.lists(readings))
def test_whatever_has_been_ten_calm_readings_bring_full_speed_back(seen: list[Readings]) -> None:
    calm = Readings(probe=timedelta(0), statement=timedelta(0))
    assert after(Throttle(), *seen, *([calm] * 10)).rest == 0


@given(readings, readings)
def test_a_worse_probe_never_makes_it_faster(seen: Readings, worse: Readings) -> None:
    was = after(Throttle(), CALM, seen)
    better, other = (next_throttle(was, Readings(probe=probe), LIMITS) for probe in sorted((seen.probe, worse.probe)))
    assert better.rest <= other.rest


def test_a_database_twenty_times_as_slow_is_felt_within_ten_readings_and_got_over_as_soon() -> None:
    slow = Readings(probe=20 * MS, statement=timedelta(microseconds=600))
    throttle = after(Throttle(), *([CALM] * 5))
    assert throttle.rest == 0
    throttle = after(throttle, *([slow] * 10))
    assert (throttle.rest, throttle.why) == (LIMITS.longest_rest, Why.PROBE)
    assert after(throttle, *([CALM] * 10)).rest == 0


def test_slow_statements_are_rested_for_until_a_batch_shows_that_they_are_quick_again() -> None:
    throttle = after(Throttle(), CALM, Readings(probe=MS, statement=timedelta(milliseconds=1)))
    assert (throttle.rest, throttle.why) == (1.0, Why.STATEMENTS)
    assert after(throttle, *([Readings(probe=MS)] * 10)).rest == 1.0
    assert after(throttle, *([CALM] * 3)).rest == 0


def test_it_rests_the_longer_the_more_is_published_and_no_more_when_nothing_is() -> None:
    rests = [after(Throttle(), Readings(probe=MS, traffic=rate)) for rate in (10, 50, 200, 500, 50_000)]
    assert [each.rest for each in rests] == [0, 0.5, 2, 4, 4]
    assert [each.why for each in rests] == [None, *([Why.TRAFFIC] * 4)]
    assert after(rests[-1], *([CALM] * 5)).rest == 0


def test_a_machine_that_is_slower_for_good_is_got_used_to() -> None:
    slow = Readings(probe=20 * MS)
    assert after(Throttle(), CALM, *([slow] * 400)).rest == 0
