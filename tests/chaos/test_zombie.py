"""SIGSTOP of a worker past its lease, SIGCONT when another has done its work: the zombie writes and sends nothing."""

from __future__ import annotations

import pytest

from hark.delivery.attempt import Step
from tests.chaos.crew import Crew, Hand
from tests.chaos.ledger import SmtpSink
from tests.chaos.scene import Scene, Tally, audit
from tests.servers import eventually

pytestmark = pytest.mark.chaos

PEOPLE = 30
AT_ONCE = 10
STOPPED_SOON = {"lease_s": 0.3, "reap_s": 3600.0}
"""Its lease is over soon after it is stopped; nobody else runs before, and it takes nothing back itself."""


def _freeze_at(step: Step, scene: Scene, zombie: Hand) -> None:
    """Let it work up to a step, and stand still there, with the word to go on in its ear already."""
    zombie.work()
    zombie.stands_at(step.value)
    zombie.child.freeze()
    zombie.go_on()


def _thaw(zombie: Hand) -> str:
    """Let it go on; what it came to with what it held when it was stopped."""
    zombie.child.thaw()
    return zombie.child.wait_for("attempted")


@pytest.mark.parametrize("step", [Step.CLAIM, Step.RECHECK, Step.RENDER])
def test_stopped_before_the_mark(step: Step, scene: Scene, sink: SmtpSink, crew: Crew) -> None:
    scene.enrol(PEOPLE)
    zombie, other = crew.hire(halts=(step.value,), tells_attempts=True, **STOPPED_SOON), crew.hire()
    scene.publish("comment", "a", "b", "c")
    _freeze_at(step, scene, zombie)
    other.work()
    scene.settles()
    other.rest()
    assert audit(scene, sink.taken()) == Tally(accepted=PEOPLE)
    before = scene.record()

    assert _thaw(zombie) == f"{PEOPLE} 0"
    zombie.rest()

    assert scene.record() == before
    assert audit(scene, sink.taken()) == Tally(accepted=PEOPLE)


@pytest.mark.parametrize("step", [Step.CLAIM, Step.RECHECK, Step.RENDER])
def test_stopped_while_another_holds_what_it_held(step: Step, scene: Scene, sink: SmtpSink, crew: Crew) -> None:
    scene.enrol(PEOPLE)
    zombie = crew.hire(halts=(step.value,), tells_attempts=True, **STOPPED_SOON)
    other = crew.hire(halts=(Step.RENDER.value,), lease_s=60)
    scene.publish("comment", "only")
    _freeze_at(step, scene, zombie)
    other.work()
    other.stands_at(Step.RENDER.value)
    before = scene.record()

    assert _thaw(zombie) == f"{PEOPLE} 0"

    assert scene.record() == before
    assert not sink.taken()
    other.go_on()
    scene.settles()
    other.rest()
    zombie.rest()
    assert audit(scene, sink.taken()) == Tally(accepted=PEOPLE)


@pytest.mark.parametrize(("step", "handed_over"), [(Step.MARK, 0), (Step.HAND_OVER, AT_ONCE)])
def test_stopped_behind_the_mark(step: Step, handed_over: int, scene: Scene, sink: SmtpSink, crew: Crew) -> None:
    """What is marked is its own for ever: nobody else sends it, and it does so once."""
    scene.enrol(PEOPLE)
    zombie, other = crew.hire(halts=(step.value,), tells_attempts=True, **STOPPED_SOON), crew.hire()
    scene.publish("comment", "only")
    _freeze_at(step, scene, zombie)
    other.work()
    scene.settles()
    other.rest()
    unknown = Tally(PEOPLE - AT_ONCE, unknown_taken=handed_over, unknown_lost=AT_ONCE - handed_over)
    assert audit(scene, sink.taken()) == unknown

    assert _thaw(zombie) == f"{PEOPLE} {AT_ONCE}"

    assert audit(scene, sink.taken()) == Tally(accepted=PEOPLE)


def test_stopped_so_long_that_at_least_once_sends_again(scene: Scene, sink: SmtpSink, crew: Crew) -> None:
    """Its word about the first attempt comes too late to be about the second."""
    scene.enrol(AT_ONCE)
    zombie = crew.hire(halts=(Step.HAND_OVER.value,), tells_attempts=True)
    other = crew.hire(answer_wait_s=0.5)
    scene.publish("receipt", "only")
    _freeze_at(Step.HAND_OVER, scene, zombie)
    other.work()
    accepted_again = "select count(*) from hark.delivery where attempt = 2 and outcome = 'accepted'"
    eventually(lambda: scene.one(accepted_again) == AT_ONCE, "all are sent again")
    other.rest()
    before = scene.record()

    _thaw(zombie)
    zombie.rest()

    assert scene.record() == before
    assert set(sink.taken().values()) == {2}
    assert scene.rows("select distinct state, outcome, attempt from hark.delivery") == [("SENT", "accepted", 2)]
