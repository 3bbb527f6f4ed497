"""Waits grow, are bounded, differ between deliveries and repeat in a replay."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from hark.delivery.backoff import Backoff

attempts = st.integers(1, 10_000)
deliveries = st.integers(1, 2**63 - 1)
backoffs = st.builds(
    lambda base, more: Backoff(timedelta(seconds=base), timedelta(seconds=base + more)),
    st.integers(1, 600),
    st.integers(0, 100_000),
)


@given(backoffs, attempts, deliveries)
def test_a_wait_lies_within_a_fifth_of_its_doubled_base_or_cap(backoff: Backoff, attempt: int, delivery: int) -> None:
    doubled = min(backoff.base.total_seconds() * 2.0 ** min(attempt - 1, 64), backoff.cap.total_seconds())
    wait = backoff.wait(attempt, delivery).total_seconds()
    assert doubled * 0.8 - 0.001 <= wait <= doubled * 1.2 + 0.001


@given(attempts, deliveries)
def test_the_same_attempt_of_the_same_delivery_waits_the_same(attempt: int, delivery: int) -> None:
    assert Backoff().wait(attempt, delivery) == Backoff().wait(attempt, delivery)


def test_a_thousand_deliveries_do_not_come_back_at_once() -> None:
    waits = sorted(Backoff().wait(10, delivery).total_seconds() for delivery in range(1000))
    tenth = (waits[-1] - waits[0]) / 10
    in_each_tenth = [
        sum(waits[0] + n * tenth <= wait <= waits[0] + (n + 1) * tenth for wait in waits) for n in range(10)
    ]
    assert all(60 < count < 140 for count in in_each_tenth)


def test_attempts_last_for_a_day_and_a_half_and_then_end() -> None:
    backoff = Backoff()
    waits = [backoff.wait(attempt, 1) for attempt in range(1, backoff.max_attempts)]
    assert timedelta(hours=30) < sum(waits, timedelta()) < timedelta(hours=44)
    assert not backoff.used_up(backoff.max_attempts - 1)
    assert backoff.used_up(backoff.max_attempts)
    assert backoff.used_up(backoff.max_attempts + 1)
