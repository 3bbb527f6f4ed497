"""Loads driven through SQS, as moto serves it: messages are hints, and what becomes of them changes nothing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

import boto3
import pytest

from hark.backfill import control
from hark.backfill.kinds import loading
from hark.backfill.kinds.history import queues_of
from hark.errors import BadInput
from hark.history.fact import Kind
from hark.history.loading import driven, queue
from hark.history.loading.queue import (
    Depth,
    Hint,
    QueueAway,
    QueueRefused,
    Received,
    StepQueue,
    check_queue,
    check_url,
    open_queue,
)
from tests.backfill.cohort.object_servers import free_port
from tests.backfill.cohort.object_servers import s3_server as aws_server
from tests.history.loading.yard import Yard

AMAZONS = "https://sqs.eu-west-1.amazonaws.com/123456789012/steps"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with aws_server() as url:
        yield url


@dataclass(frozen=True, slots=True)
class Queued:
    """A queue on a server, seen by another client than Hark's."""

    url: str
    client: Any

    async def depth(self) -> Depth:
        return await check_queue(self.url)

    def put(self, *bodies: str) -> None:
        for body in bodies:
            self.client.send_message(QueueUrl=self.url, MessageBody=body)


@pytest.fixture
def queued(server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Queued:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "anything")
    monkeypatch.setattr(queue, "WAIT_S", 0)
    monkeypatch.setattr(driven, "_OTHERS_S", 0)
    monkeypatch.setattr(loading, "_QUEUE_WAIT", timedelta(milliseconds=50))
    client = boto3.client("sqs", endpoint_url=server, region_name="us-east-1")
    name = f"q{abs(hash(request.node.name)) % 10**9}"
    return Queued(client.create_queue(QueueName=name)["QueueUrl"], client)


async def test_a_load_is_driven_through_a_queue_which_is_empty_in_the_end(yard: Yard, queued: Queued) -> None:
    backfill = await yard.plan(queue_url=queued.url)
    assert await queued.depth() == Depth(0, 0)
    await yard.started(backfill)
    assert await queues_of(yard.database, [backfill]) == [queued.url]
    assert await yard.run_out(backfill) == "APPLIED"
    assert await yard.facts() == yard.bought()
    assert sorted(map(str, yard.asked("purchase"))) == sorted(map(str, yard.asked("shop"))) == yard.users
    assert await queued.depth() == Depth(0, 0)
    assert await queues_of(yard.database, [backfill]) == []
    assert (await yard.verified(backfill)).good


async def test_two_workers_share_all_steps_of_all_batches(yard: Yard, queued: Queued) -> None:
    backfill = await yard.plan(queue_url=queued.url)
    await yard.started(backfill)
    hands = [yard.run_out(backfill, yard.runner(name)) for name in ("one", "two")]
    assert await asyncio.gather(*hands) == ["APPLIED", "APPLIED"]
    assert await yard.facts() == yard.bought()
    assert await yard.rows("select count(*)::int from hark.history_step where state = 'DONE'") == [(24,)]


@dataclass(slots=True)
class Unreliable:
    """A queue that loses, doubles, delays and forgets to delete, by a seeded chance."""

    inner: StepQueue
    chance: Random = field(default_factory=lambda: Random(6))
    late: list[Hint] = field(default_factory=list)

    async def send(self, hints: Sequence[Hint]) -> None:
        sent: list[Hint] = self.late
        self.late = []
        for hint in hints:
            fate = self.chance.random()
            if fate < 0.3:
                continue
            if fate < 0.5:
                self.late.append(hint)
            sent += [hint, hint] if fate > 0.8 else [hint]
        self.chance.shuffle(sent)
        await self.inner.send(sent)

    async def receive(self) -> list[Received]:
        if self.chance.random() < 0.1:
            raise QueueAway("the queue does not answer")
        return await self.inner.receive()

    async def delete(self, messages: Sequence[Received]) -> None:
        await self.inner.delete([each for each in messages if self.chance.random() < 0.7])

    async def leave(self, messages: Sequence[Received], seconds: int) -> None:
        await self.inner.leave(messages, seconds)

    def close(self) -> None:
        self.inner.close()


async def test_messages_that_are_lost_doubled_late_or_come_again_change_nothing(
    yard: Yard, queued: Queued, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "open_queue", lambda url: Unreliable(open_queue(url)))
    monkeypatch.setattr(driven, "AGAIN", timedelta(milliseconds=200))
    monkeypatch.setattr(queue, "HIDDEN_S", 2)
    backfill = await yard.plan(queue_url=queued.url)
    assert await yard.apply(backfill) == "APPLIED"
    assert await yard.facts() == yard.bought()
    steps = await yard.rows(
        "select key, count(*)::int from hark.history_step where state = 'DONE' group by key order by 1"
    )
    assert steps == [(f"receipt-{backfill}", 12), (f"shop-{backfill}", 12)]
    assert (await yard.verified(backfill)).good


async def test_what_a_canceled_run_left_is_cleared_away_and_what_is_nobodys_stays(yard: Yard, queued: Queued) -> None:
    first = await yard.plan(queue_url=queued.url)
    await yard.started(first)
    await yard.run(
        "insert into hark.history_step (user_id, key, backfill_id, kind, due_at)"
        " values ('user-000001', 'shop-' || %s, %s, 'order', now())",
        str(first),
        first,
    )
    await control.cancel(yard.database, first, who="olga", now=yard.scene.clock.now())
    strange = ["not ours", '{"user_id": "bob"}', '{"step": "shop-x", "user_id": "bob"}', "[]"]
    queued.put(*strange, Hint(first, "user-000001", Kind.ORDER).to_text(), Hint(999, "bob", Kind.RECEIPT).to_text())
    assert await yard.apply(await yard.plan(queue_url=queued.url)) == "APPLIED"
    depth = await queued.depth()
    assert depth.waiting + depth.in_flight == len(strange)
    assert yard.asked("shop").count("user-000001") == 1


async def test_a_queue_that_is_away_is_waited_for(yard: Yard, queued: Queued, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def first_away(url: str) -> StepQueue:
        opened.append(url)
        if len(opened) < 4:
            raise QueueRefused("pip install 'hark[sqs]'")
        return open_queue(url)

    monkeypatch.setattr(loading, "open_queue", first_away)
    backfill = await yard.plan(queue_url=queued.url)
    assert await yard.apply(backfill) == "APPLIED"
    assert len(opened) >= 4
    assert await yard.outcomes(backfill) == {"load": 12}


# Before anything begins -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("sqs.eu-west-1.amazonaws.com/1/q", "is no queue's URL"),
        ("ftp://sqs.example/1/q", "is no queue's URL"),
        ("https://sqs.example/q", "is no queue's URL"),
        ("https://sqs.example:x/1/q", "is no queue's URL"),
        ("https://ann:secret@sqs.example/1/q", "is no queue's URL"),
        ("https://sqs.example/1/q?x=1", "is no queue's URL"),
        (AMAZONS + ".fifo", "is a FIFO queue"),
    ],
)
def test_what_is_no_url_of_a_queue(url: str, what: str) -> None:
    with pytest.raises(BadInput, match=what):
        check_url(url)


def test_requests_are_signed_for_the_region_of_the_queue() -> None:
    for host in (
        "sqs.eu-west-1.amazonaws.com",
        "vpce-1.sqs.eu-west-1.vpce.amazonaws.com",
        "eu-west-1.queue.amazonaws.com",
    ):
        opened = open_queue(f"https://{host}/1/q")
        assert opened.client.meta.region_name == "eu-west-1"
        opened.close()


async def test_a_queue_that_is_not_there_or_not_reached_is_said_so(queued: Queued) -> None:
    with pytest.raises(QueueRefused, match="there is no queue"):
        await check_queue(queued.url + "-none")
    with pytest.raises(QueueAway, match="does not answer"):
        await check_queue(f"http://127.0.0.1:{free_port()}/1/q")


async def test_without_the_library_it_is_said_which_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(QueueRefused, match="hark\\[sqs\\]"):
        await check_queue(AMAZONS)


def test_a_hint_is_read_as_it_was_written() -> None:
    for kind in Kind:
        hint = Hint(12, "bob “the” builder", kind)
        assert Hint.from_text(hint.to_text()) == hint
    assert '"step": "receipt-12"' in Hint(12, "bob", Kind.RECEIPT).to_text()
