"""What is wrong with one delivery, or with the mail server, is not the others' trouble, and each ends as it should."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from hark.delivery.handover import Prepared
from hark.rendering import Message
from tests.chaos.crew import Crew
from tests.chaos.ledger import OwnSink, SmtpSink, free_port, own_sink, smtp_sink
from tests.chaos.nursery import Nursery
from tests.chaos.scene import Scene, Tally, audit
from tests.servers import eventually
from tests.world import Recorder, World, students

pytestmark = pytest.mark.chaos

PEOPLE = 30
POISONED_ADDRESSES = [
    "no address at all",
    "two@at@signs.example",
    "x@example\r\nBcc: victim@example",
    "@",
    "",
    "a" * 999,
]


def test_a_poisoned_payload_holds_up_nobody(scene: Scene, sink: SmtpSink, crew: Crew) -> None:
    scene.enrol(PEOPLE)
    for number in range(1, PEOPLE + 1):
        scene.publish_to("ratio", [f"s{number}"], {"won": 1, "played": 0 if number == 15 else 2})
    worker = crew.hire()
    worker.work()
    eventually(lambda: _ends(scene)["SENT", "accepted"] == PEOPLE - 1, "the 29 neighbours are sent")
    worker.rest()
    ((recipient, state, why),) = scene.rows(
        "select recipient_id, state, why from hark.delivery where outcome <> 'accepted'"
    )
    assert (recipient, state) == ("s15", "PENDING")
    assert why == "rendering failed: reason ratio, template text, line 1: ZeroDivisionError"
    assert sum(sink.taken().values()) == PEOPLE - 1


@pytest.mark.parametrize("address", POISONED_ADDRESSES)
def test_a_poisoned_address_holds_up_nobody(address: str, scene: Scene, sink: SmtpSink, crew: Crew) -> None:
    scene.enrol(PEOPLE)
    scene.rows("update hark.recipient set address = %s where id = 's15' returning id", address)
    scene.publish("comment", "only")
    worker = crew.hire()
    worker.work()
    scene.settles()
    worker.rest()
    assert audit(scene, sink.taken()) == Tally(accepted=PEOPLE - 1, canceled=1)
    assert scene.rows("select recipient_id from hark.delivery where state = 'CANCELED'") == [("s15",)]


ENDS = {
    "fine": ("SENT", "accepted", 1),
    "gone": ("CANCELED", "refused", 0),
    "policy": ("CANCELED", "refused", 0),
    "spam": ("CANCELED", "refused", 0),
    "busy": ("SENT", "accepted", 1),
    "full": ("SENT", "accepted", 1),
    "cut": ("SENT", "accepted", 1),
    "torn": ("SENT", "unknown", 0),
    "mute": ("SENT", "unknown", 0),
    "vanish": ("SENT", "unknown", 0),
    "swallow": ("SENT", "unknown", 1),
}
"""How a delivery ends, by what the mail server does with it (`WISHES`), and how often it is taken."""


def test_each_ends_as_the_mail_server_says(nursery: Nursery, scene: Scene, tmp_path: Path) -> None:
    names = [f"{kind}-{number}" for number in range(3) for kind in ENDS]
    scene.enrol_as(*names)
    scene.publish_to("mention", names)
    with own_sink(nursery, tmp_path) as sink, Crew(nursery, scene.dsn, sink.url) as crew:
        worker = crew.hire(backoff_s=0.2, final_dot_s=1.0)
        worker.work()
        scene.settles()
        worker.rest()
        tally = audit(scene, sink.taken())
        taken = sink.recipients()
    ended = {name: (state, outcome) for name, state, outcome in scene.rows(_ENDED)}
    assert {name: (*ended[name], taken[f"{name}@school.example"]) for name in names} == {
        name: ENDS[name.partition("-")[0]] for name in names
    }
    assert tally == Tally(accepted=12, unknown_taken=3, unknown_lost=9, canceled=9)
    suppressed = {name for (name,) in scene.rows("select id from hark.recipient where suppressed is not null")}
    assert suppressed == {"gone-0", "gone-1", "gone-2"}, "only those whose address itself was refused"


NOT_TAKEN = ("PENDING", "none")


@pytest.mark.parametrize(
    ("options", "ends"),
    [
        (("-f", "RCPT"), {("CANCELED", "refused")}),
        (("-f", "."), {("CANCELED", "refused")}),
        (("-r", "RCPT"), {NOT_TAKEN}),
        (("-r", "."), {NOT_TAKEN}),
        (("-q", "RCPT"), {NOT_TAKEN}),
        (("-q", "."), {("SENT", "unknown"), NOT_TAKEN}),  # after a few of them, no more are tried
        (("-Q", "MAIL"), {NOT_TAKEN}),
        (("-Q", "."), {NOT_TAKEN}),
    ],
)
def test_postfix_says_no(options: tuple[str, str], ends: set[tuple[str, str]], nursery: Nursery, scene: Scene) -> None:
    scene.enrol(PEOPLE)
    scene.publish("comment", "only")
    with smtp_sink(*options) as sink, Crew(nursery, scene.dsn, sink.url) as crew:
        worker = crew.hire(tells_attempts=True, backoff_s=3600)
        worker.work()
        worker.child.wait_for("attempted")
        worker.rest()
    assert _ends(scene).keys() == ends
    assert _ends(scene).total() == PEOPLE


def test_the_mail_server_is_killed(times: int, nursery: Nursery, scene: Scene, tmp_path: Path) -> None:
    moments = random.Random(20)
    scene.enrol(PEOPLE)
    port = free_port()
    with Crew(nursery, scene.dsn, f"smtp://127.0.0.1:{port}") as crew:
        workers = [crew.hire(backoff_s=0.2) for _ in range(2)]
        for worker in workers:
            worker.work()
        for number in range(times):
            with own_sink(nursery, tmp_path, port=port) as sink:
                grows = _grows(sink)
                scene.publish("mention", *(f"{number}/{each}" for each in range(3)))
                eventually(grows, "it takes mail")
                time.sleep(moments.uniform(0, 0.05))  # waits for nothing: the moment is the point
        with own_sink(nursery, tmp_path, port=port) as sink:
            scene.settles()
            for worker in workers:
                worker.rest()
            tally = audit(scene, sink.taken())
    assert tally.total == 3 * PEOPLE * times
    assert tally.unknown <= 8 * times, "more than what the eight connections had handed over and unanswered"
    assert tally.canceled == 0
    print(tally)


def test_a_slow_mail_server_costs_no_attempts(nursery: Nursery, scene: Scene, tmp_path: Path) -> None:
    """One claim takes several leases to hand over; what waits behind it is not taken for lost."""
    scene.enrol(PEOPLE)
    scene.publish("comment", "only")
    with own_sink(nursery, tmp_path, seconds_a_mail=0.15) as sink, Crew(nursery, scene.dsn, sink.url) as crew:
        workers = [crew.hire(lease_s=1.5) for _ in range(2)]
        for worker in workers:
            worker.work()
        scene.settles()
        for worker in workers:
            worker.rest()
        assert audit(scene, sink.taken()) == Tally(accepted=PEOPLE)
    assert scene.rows("select distinct attempt from hark.delivery") == [(1,)]


def _grows(sink: OwnSink) -> Callable[[], bool]:
    before = sink.size()
    return lambda: sink.size() > before


_ENDED = "select recipient_id, state, outcome from hark.delivery"


def _ends(scene: Scene) -> Counter[tuple[str, str]]:
    return Counter((state, outcome) for _, state, outcome in scene.rows(_ENDED))


class _Touchy(Recorder):
    """A channel with a bug: one address is too much for it."""

    def prepare(self, message: Message) -> Prepared:
        """What no channel should ever do."""
        if message.address.startswith("s015@"):
            raise KeyError(message.address)
        return Recorder.prepare(self, message)


async def test_a_fault_that_nobody_foresaw_holds_up_nobody(world: World) -> None:
    world.recorder = _Touchy(world.clock)
    people = students(PEOPLE)
    await world.know(*people)
    await world.publish("mention", to=[each.id for each in people])
    await world.fan_out()
    await world.attempt()
    bad = [row for row in await world.deliveries() if row.outcome != "accepted"]
    assert [(row.recipient_id, row.state, row.attempt) for row in bad] == [("s015", "PENDING", 1)]
    assert "KeyError" in bad[0].why
    assert "s015@" not in bad[0].why
