"""Several workers share the work, one of them stalls: nothing is sent twice."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from hark.delivery.attempt import Step
from tests.chaos.conftest import FULL
from tests.chaos.crew import Crew, Hand
from tests.chaos.ledger import SmtpSink, own_sink
from tests.chaos.nursery import Nursery
from tests.chaos.scene import Scene, Tally, audit
from tests.chaos.worker_child import LEASE_S, REAP_S
from tests.servers import eventually

pytestmark = pytest.mark.chaos

PEOPLE = int(os.environ.get("HARK_CHAOS_DELIVERIES") or (100_000 if FULL else 2_000))
STALL_S = 120.0 if FULL else 0.0
"""How long a worker is stalled once, at least; else only until others have done what it held."""
PATIENCE_S = 1800.0

Chunks = dict[str, int]
STALLS_AT = (Step.CLAIM, Step.RENDER, Step.MARK, Step.HAND_OVER)
LARGE: Chunks = {"claim_chunk": 200, "send_chunk": 50}


def _begin(scene: Scene, hands: list[Hand]) -> None:
    scene.enrol(PEOPLE)
    scene.publish("mention", "to all")
    for hand in hands:
        hand.work()


def _finish(scene: Scene, hands: list[Hand]) -> None:
    scene.settles(PATIENCE_S)
    for hand in hands:
        hand.rest()


def _shares(scene: Scene, hands: list[Hand]) -> bool:
    workers = scene.one("select count(distinct worker) from hark.delivery where outcome = 'accepted'")
    return bool(workers == len(hands))


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_share(workers: int, nursery: Nursery, scene: Scene, tmp_path: Path) -> None:
    with own_sink(nursery, tmp_path) as sink, Crew(nursery, scene.dsn, sink.url) as crew:
        hands = [crew.hire(**LARGE) for _ in range(workers)]
        _begin(scene, hands)
        _finish(scene, hands)
        assert audit(scene, sink.taken()) == Tally(accepted=PEOPLE)
        assert _shares(scene, hands), "one of them did nothing, so that this shows nothing"


def test_a_worker_stalls(nursery: Nursery, scene: Scene, tmp_path: Path) -> None:
    """Wherever it stands still with what it holds, others do what it had not marked, and only that."""
    lease = {"lease_s": LEASE_S, "reap_s": REAP_S} if FULL else {}
    scene.enrol(PEOPLE // len(STALLS_AT))
    with own_sink(nursery, tmp_path) as sink, Crew(nursery, scene.dsn, sink.url) as crew:
        stalling, *others = hands = [crew.hire(**LARGE, **lease) for _ in range(3)]
        for step in STALLS_AT:
            scene.publish("mention", step.value)
            stalling.halt_at(step.value)
            stalling.work()
            stalling.stands_at(step.value)
            stalling.child.freeze()
            stalling.go_on()
            for hand in others:
                hand.work()
            _stay_stalled(scene, stalling, STALL_S if step is Step.CLAIM else 0.0)
            stalling.child.thaw()
            _finish(scene, hands)
        assert audit(scene, sink.taken()) == Tally(accepted=len(STALLS_AT) * (PEOPLE // len(STALLS_AT)))


def test_workers_share_and_postfix_counts(nursery: Nursery, scene: Scene, sink: SmtpSink) -> None:
    with Crew(nursery, scene.dsn, sink.url) as crew:
        hands = [crew.hire(**LARGE) for _ in range(2)]
        _begin(scene, hands)
        _finish(scene, hands)
        assert audit(scene, sink.taken()) == Tally(accepted=PEOPLE)


def _stay_stalled(scene: Scene, hand: Hand, at_least_s: float) -> None:
    until = time.monotonic() + at_least_s
    others_have_it = "nothing that it had claimed and not marked is left to it"
    eventually(lambda: time.monotonic() >= until and scene.holds(hand.name) == 0, others_have_it, PATIENCE_S)
