"""The recorder answers as it is told, and remembers or only counts."""

from __future__ import annotations

import pytest

from hark.channels import Outbound
from hark.channels.mime import MimeBuilder
from hark.channels.recorder import Recorder
from hark.delivery.handover import Outcome, Prepared, Verdict
from hark.errors import Undeliverable

from .examples import SENDER, message

REFUSED = Outcome(Verdict.REFUSED, "recorder: no", bad_address=True)


async def test_it_accepts_and_keeps_everything() -> None:
    recorder = Recorder()
    sent = [recorder.prepare(message(number)) for number in range(3)]
    outcomes = await recorder.send(sent)
    assert [outcome.verdict for outcome in outcomes] == [Verdict.ACCEPTED] * 3
    assert (recorder.accepted, recorder.batches, recorder.sent) == (3, 1, sent)
    assert recorder.prepared == [message(number) for number in range(3)]


async def test_it_answers_as_it_is_told() -> None:
    def answer(prepared: Prepared) -> Outcome:
        return REFUSED if prepared.delivery_id == 2 else Outcome(Verdict.ACCEPTED, "yes")

    recorder = Recorder(answer)
    outcomes = await recorder.send([recorder.prepare(message(number)) for number in (1, 2, 3)])
    assert outcomes[1] == REFUSED
    assert recorder.verdicts == {Verdict.ACCEPTED: 2, Verdict.REFUSED: 1}


async def test_it_can_count_only() -> None:
    recorder = Recorder(keep=False)
    await recorder.send([recorder.prepare(message(number)) for number in range(5)])
    assert (recorder.accepted, recorder.sent, recorder.prepared) == (5, [], [])


def test_it_builds_as_the_real_channel_would() -> None:
    recorder = Recorder(build=MimeBuilder(SENDER).build)
    assert recorder.prepare(message()).payload.startswith(b"From: Acme <hello@acme.example>\r\n")
    with pytest.raises(Undeliverable):
        recorder.prepare(message(subject="a\r\nBcc: b"))


async def test_whoever_wants_a_channel_takes_it() -> None:
    async def hand_over(channel: Outbound) -> list[Outcome]:
        return await channel.send([channel.prepare(message())])

    assert (await hand_over(Recorder()))[0].verdict is Verdict.ACCEPTED
