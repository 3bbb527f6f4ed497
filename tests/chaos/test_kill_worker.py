"""kill -9 of a worker, wherever it stands: each delivery is accepted once or counted unknown, and none is left."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from hark.config import Settings
from hark.delivery.attempt import Step
from hark.worker import REAPED_AT_ONCE
from tests.chaos.crew import Crew, Hand
from tests.chaos.ledger import SmtpSink, own_sink
from tests.chaos.nursery import Nursery
from tests.chaos.scene import STUCK_AFTER_S, Scene, Tally, audit
from tests.chaos.worker_child import FAN_OUT, LEASE_S, REAP_S

pytestmark = pytest.mark.chaos

PEOPLE = 30
AT_ONCE = 10
"""How many deliveries are marked and handed over together: what a kill can leave unknown."""

DOOMED = {"lease_s": 0.3, "reap_s": 3600.0}
"""Its lease is over soon after it is dead; nobody else runs before, and it takes nothing back itself."""

LEFT_UNKNOWN = {
    Step.MARK: Tally(unknown_lost=AT_ONCE),
    Step.HAND_OVER: Tally(unknown_taken=AT_ONCE),
}
"""What a kill leaves behind when this step is done; after any other step, nothing."""


def _finish(scene: Scene, survivor: Hand) -> None:
    survivor.work()
    scene.settles()
    survivor.rest()


@pytest.mark.parametrize("step", Step)
def test_killed_after_each_step(step: Step, times: int, scene: Scene, sink: SmtpSink, crew: Crew) -> None:
    scene.enrol(PEOPLE)
    survivor = crew.hire()
    for number, victim in enumerate(crew.victims(times, halts=(step.value,), **DOOMED)):
        scene.publish("comment", *(f"{number}/{each}" for each in range(3)))
        victim.work()
        victim.stands_at(step.value)
        victim.child.kill()
        _finish(scene, survivor)
    left = LEFT_UNKNOWN.get(step, Tally())
    unknown_taken, unknown_lost = left.unknown_taken * times, left.unknown_lost * times
    accepted = PEOPLE * times - unknown_taken - unknown_lost
    assert audit(scene, sink.taken()) == Tally(accepted, unknown_taken, unknown_lost)


def test_killed_in_the_middle_of_the_hand_over(times: int, scene: Scene, sink: SmtpSink, crew: Crew) -> None:
    moments = random.Random(20)
    scene.enrol(PEOPLE)
    survivor = crew.hire()
    for number, victim in enumerate(crew.victims(times, halts=(Step.MARK.value,), **DOOMED)):
        scene.publish("comment", f"{number}")
        victim.work()
        victim.stands_at(Step.MARK.value)
        victim.go_on()
        time.sleep(moments.uniform(0, 0.1))  # waits for nothing: the moment is the point
        victim.child.kill()
        _finish(scene, survivor)
    tally = audit(scene, sink.taken())
    assert tally.total == PEOPLE * times
    assert tally.unknown <= AT_ONCE * times
    assert tally.canceled == 0
    print(tally)


def test_killed_while_the_answer_is_on_its_way(nursery: Nursery, scene: Scene, tmp_path: Path) -> None:
    scene.enrol(PEOPLE)
    with own_sink(nursery, tmp_path, halt_at=15) as sink, Crew(nursery, scene.dsn, sink.url) as crew:
        victim, survivor = crew.hire(), crew.hire()
        scene.publish("comment", "only")
        victim.work()
        sink.child.wait_for("holds")
        victim.child.kill()
        sink.child.tell("go on")
        _finish(scene, survivor)
        tally = audit(scene, sink.taken())
    assert (tally.accepted, tally.unknown) == (PEOPLE - AT_ONCE, AT_ONCE)
    assert tally.unknown_taken >= 5, "the mails that the sink had taken of the second ten are not among the unknown"


def test_killed_during_fan_out(times: int, scene: Scene, sink: SmtpSink, crew: Crew) -> None:
    scene.enrol(200)
    survivor = crew.hire()
    for number, victim in enumerate(crew.victims(times, fan_out_chunk=30, halts=(FAN_OUT, FAN_OUT))):
        scene.publish("mention", f"{number}")
        victim.work()
        victim.stands_at(FAN_OUT)
        victim.go_on()
        victim.stands_at(FAN_OUT)
        victim.child.kill()
        _finish(scene, survivor)
    tally = audit(scene, sink.taken())
    assert tally.total == 200 * times
    assert scene.one("select count(*) from hark.notification") == 200 * times


def test_nothing_is_stuck_after_45_seconds_by_default() -> None:
    lease_s = max(LEASE_S, Settings().lease.total_seconds())
    assert lease_s + REAP_S + 5 <= STUCK_AFTER_S, "too little is left to send what was taken back"


def test_killed_with_the_default_lease(times: int, scene: Scene, sink: SmtpSink, crew: Crew) -> None:
    if times < 20:
        pytest.skip("takes a whole lease: in full only")
    scene.enrol(PEOPLE)
    victim = crew.hire(lease_s=LEASE_S, reap_s=REAP_S, halts=(Step.CLAIM.value,))
    survivor = crew.hire(lease_s=LEASE_S, reap_s=REAP_S)
    scene.publish("comment", "only")
    victim.work()
    victim.stands_at(Step.CLAIM.value)
    survivor.work()
    victim.child.kill()
    scene.settles(STUCK_AFTER_S)
    survivor.rest()
    assert audit(scene, sink.taken()) == Tally(accepted=PEOPLE)


def test_many_workers_died_at_once(scene: Scene, crew: Crew) -> None:
    """One that looks for them once an hour takes back all that they held at its first look."""
    held = 2 * REAPED_AT_ONCE + 10
    scene.rows(
        "insert into hark.delivery (recipient_id, channel, batch_group, frequency, gathering, at_least_once, due_at,"
        " stale_at, items, first_event, last_event, created_at, changed_at, state, attempt, worker, lease_until)"
        " select 's' || n, 'email', '@immediate', 'immediate', false, false, now(), now(), 1, 1, 1, now(), now(),"
        "        'SENDING', 1, 'dead/' || n / 200, now() from generate_series(1, %s) n returning id",
        held,
    )
    survivor = crew.hire(reap_s=3600, claim_chunk=200)
    survivor.work()
    scene.settles()
    survivor.rest()
    assert scene.one("select count(*) from hark.delivery where state = 'CANCELED' and attempt = 2") == held
