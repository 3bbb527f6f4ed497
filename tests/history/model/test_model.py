"""The published way of loading beside a live stream comes out wrong; ours only right; and what is needed for that.

Every interleaving of one user's load (receipts, then orders), the stream, the flag's way to the consumers, projectors,
the sweep and one fault of a kind is searched. A state is judged when it has settled: nothing is left to be done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.history.model.buying import DELETION, NEWS, Script
from tests.history.model.ours import Ours, Projector, State
from tests.history.model.published import Published
from tests.history.model.published import State as PublishedState
from tests.history.model.search import Found, search

ALONE = (Projector(),)
"""One projector; the start has two, of which one may stall wherever it is."""
FAULTS = {
    "none": State(),
    "a crash": State(crashes=1),
    "redelivery": State(redeliveries=1),
    "a restored graph": State(projectors=ALONE, restores=1),
}


def our_way(system: Ours, start: State) -> Found[State]:
    return search(start, progress=system.progress, faults=system.faults, right=system.right, alike=system.alike)


def published_way(system: Published, right: Callable[[PublishedState], bool]) -> str:
    found = search(PublishedState(), progress=system.progress, faults=system.faults, right=right)
    return "\n".join(found.trace or ())


# The published way ----------------------------------------------------------------------------------------------------


def test_the_published_way_loses_what_comes_while_it_loads() -> None:
    system = Published(NEWS[:2])
    assert published_way(system, system.complete).splitlines() == [
        "operator: lag is 0; sets the flag",
        "flag: reaches the consumers",
        "load: reads the source at version 1",
        "source: a new order at B",
        "stream: counts a new order at B",
        "load: overwrites the counts with A=1 B=0",
    ]


def test_the_published_way_counts_twice_what_it_loaded_and_then_hears_of() -> None:
    system = Published(NEWS[:2])
    trace = published_way(system, system.sparing).splitlines()
    assert len(trace) == 6
    assert trace[-2:] == ["load: overwrites the counts with A=1 B=1", "stream: counts a new order at B"]


@pytest.mark.parametrize("fault", ["complete", "sparing"])
def test_waiting_for_the_flag_does_not_mend_it(fault: str) -> None:
    system = Published(NEWS[:2], waits=True)
    assert published_way(system, getattr(system, fault)) != ""


# Ours -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [NEWS, DELETION], ids=["news", "deletion"])
@pytest.mark.parametrize("fault", FAULTS)
def test_ours_comes_out_right(script: Script, fault: str) -> None:
    found = our_way(Ours(script), FAULTS[fault])
    assert found.trace is None
    assert found.settled > 1


@pytest.mark.slow
def test_ours_comes_out_right_with_two_projectors_and_a_restored_graph() -> None:
    assert our_way(Ours(NEWS), State(restores=1)).trace is None


BEGINS, RESTORED = State(projectors=ALONE), State(projectors=ALONE, restores=1)
NEEDED = {
    "after_effective": BEGINS,
    "from_primary": BEGINS,
    "compare_and_set": RESTORED,
    "sweep": RESTORED,
}
"""What is needed by itself, and where that is seen."""


def without(*conditions: str) -> Ours:
    """Ours, with these left out and nothing else."""
    return Ours(NEWS, **dict.fromkeys(conditions, False))


@pytest.mark.parametrize("condition", NEEDED)
def test_each_condition_is_needed_though_all_others_hold(condition: str) -> None:
    assert our_way(without(condition), NEEDED[condition]).trace is not None


def test_a_guarded_mark_or_a_sweep_is_needed_though_nothing_is_restored() -> None:
    """What an unguarded mark lets through, the sweep heals: each does without the other, and one of them must be."""
    assert our_way(without("guarded_mark", "sweep"), BEGINS).trace is not None
    assert our_way(without("guarded_mark"), BEGINS).trace is None
    assert our_way(without("sweep"), BEGINS).trace is None


@pytest.mark.slow
@pytest.mark.parametrize("script", [NEWS, DELETION], ids=["news", "deletion"])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_sweep_heals_whatever_an_unguarded_mark_lets_through(script: Script, fault: str) -> None:
    """So the guard is not needed to come out right in the end, but to come out right without waiting for a sweep."""
    assert our_way(Ours(script, guarded_mark=False), FAULTS[fault]).trace is None


def test_without_a_version_a_user_there_is_nothing_to_compare() -> None:
    """No condition of its own: what compares versions goes with it, and that is how it comes out wrong."""
    found = our_way(without("versioned"), BEGINS)
    assert found.trace is not None
    assert found.trace == our_way(without("compare_and_set", "guarded_mark", "sweep"), BEGINS).trace


@pytest.mark.slow
def test_without_a_restored_graph_no_sweep_is_needed() -> None:
    assert our_way(without("sweep"), State()).trace is None


def test_compare_and_set_is_what_stops_a_projector_that_stalled() -> None:
    found = our_way(replace(Ours(NEWS, sweep=False), compare_and_set=False), State())
    assert found.trace is not None
    assert any(step.startswith("projector 2") for step in found.trace)
