"""How fast do live events become facts?"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from tests.broker import broker

from bench.contest import Question, Target, answer, stopwatch, take_turns
from bench.ground import Connection, bare, catalogue, fresh_hark, reason, settle_down
from bench.result import Result
from hark.catalogue import Channel
from hark.clock import DatabaseClock
from hark.config import Settings
from hark.history.facts import Fact
from hark.history.live.contracts import Contract, News, Topics
from hark.history.live.gates import Open
from hark.history.live.ingest import Ingestor, Taken
from hark.history.live.kafka import Stream
from hark.history.live.positions import End, ends_now, passed, streams
from hark.history.live.switch import Watched
from hark.history.products import CategoryAnswer, ProductAnswer, put_categories, put_products
from hark.postgres.database import Database

EVENTS = 200_000
LOOPED = 3_000
"""Events of the peer, which is too slow for more."""
USERS, PRODUCTS, STORES = 50_000, 5_000, 200
PARTITIONS = 4
DATABASE = "bench_ingest"
NOW = datetime(2026, 11, 27, tzinfo=UTC)

SPEED = Question(
    name="ingest",
    question="How fast are live events taken from a broker and recorded, each user's version moved on?",
    unit="events/s",
    higher_is_better=True,
    peer_name="the same events, an INSERT … ON CONFLICT a purchased line, a COMMIT an event",
    limit_name="poll and json.loads of the same events, nothing recorded",
    notes=(
        "Kafka 4 on the same machine, four partitions a topic; half of the events are receipts of two lines, half shop "
        "orders, one in ten was there before. One process reads both topics; it is timed from when it has taken the "
        "first chunk of each, the limit from its first message. Products are known already. Hark checks each event "
        "against its contract, keeps the highest version of each line, and moves positions with the facts. "
        "Neither peer nor limit checks anything."
    ),
)
ONE = """
insert into hark.fact (user_id, key, kind, product_id, store_id, amount_minor, currency, quantity, occurred_at,
                       version, live, runs, moved_at)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, true, '{}', 1)
    on conflict (user_id, key) do update
   set product_id = excluded.product_id, amount_minor = excluded.amount_minor, quantity = excluded.quantity,
       version = excluded.version, moved_at = fact.moved_at + 1
 where excluded.version > fact.version
"""


def measure(scale: float) -> list[Result]:
    """Ingestion beside the poll alone, and beside a row an INSERT."""
    return asyncio.run(_measure(max(int(EVENTS * scale), 20_000), scale))


async def _measure(events: int, scale: float) -> list[Result]:
    with broker(heap="768m") as kafka:
        settings = replace(Settings(), kafka_brokers=kafka.address)
        _write(settings, events)
        async with (
            fresh_hark(DATABASE, catalogue(reason("by_mail", Channel.EMAIL))) as database,
            bare(DATABASE) as raw,
        ):
            await _know_products(database)
            field = _Field(database, raw, settings, events)
            looped = min(LOOPED, events)
            reached = await take_turns({"limit": field.limit, "hark": field.hark, "peer": lambda: field.loop(looped)})
    target = Target(figure=10_000) if scale >= 1 else None
    return [answer(SPEED, reached, {"events": events, "events of the peer": looped}, target)]


async def _know_products(database: Database) -> None:
    known = [ProductAnswer(f"product-{n:05}", f"Product {n}", f"category-{n % 50}") for n in range(PRODUCTS)]
    await put_products(database, known, now=NOW)
    await put_categories(
        database, [CategoryAnswer(f"category-{n}", ["food", f"category-{n}"]) for n in range(50)], now=NOW
    )


# What is written ------------------------------------------------------------------------------------------------------


def _events(events: int) -> Iterator[tuple[str, dict[str, object]]]:
    """A contract's name, and an event of it."""
    chance = random.Random(7)
    for place in range(events):
        again = place % 10 == 9
        of = place - 2 * chance.randrange(1, 5) if again else place
        given = random.Random(of)
        said: dict[str, object] = {
            "user_id": f"user-{given.randrange(USERS):08}",
            "currency": "EUR",
            "version": 2 if again and place % 20 == 9 else 1,
        }
        at = (NOW - timedelta(seconds=given.randrange(86_400 * 300))).isoformat()
        if of % 2:
            yield "factoids", {**said, **_order(of, at, given)}
        else:
            yield "receipts", {**said, **_receipt(of, at, given)}


def _order(of: int, at: str, given: random.Random) -> dict[str, object]:
    product = f"product-{given.randrange(PRODUCTS):05}"
    return {"summaryID": f"order-{of}", "store": "web", "product_id": product, "amount": "4.50", "occurred_at": at}


def _receipt(of: int, at: str, given: random.Random) -> dict[str, object]:
    lines = [
        {"line": n, "product_id": f"product-{given.randrange(PRODUCTS):05}", "quantity": 1, "amount_minor": 129}
        for n in (1, 2)
    ]
    store = f"store-{given.randrange(STORES):03}"
    return {"receipt_id": f"receipt-{of}", "store_id": store, "purchased_at": at, "lines": lines}


def _write(settings: Settings, events: int) -> None:
    admin = AdminClient({"bootstrap.servers": settings.kafka_brokers})
    topics = [each.topic for each in streams(settings)]
    for future in admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics]).values():
        future.result(30)
    producer = Producer({"bootstrap.servers": settings.kafka_brokers, "linger.ms": 20})
    for what, said in _events(events):
        topic = settings.ingest_receipts_topic if what == "receipts" else settings.ingest_factoids_topic
        while True:
            try:
                producer.produce(topic, json.dumps(said), key=str(said["user_id"]))
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(60) == 0


# Who reads it ---------------------------------------------------------------------------------------------------------

_rounds = count()


@dataclass(frozen=True, slots=True)
class _Field:
    database: Database
    raw: Connection
    settings: Settings
    events: int

    async def hark(self) -> float:
        """Both streams, to their ends."""
        await self._empty()
        settings = self._fresh()
        clock = await DatabaseClock.start(self.database)
        taken = 0

        def tell(done: Taken) -> None:
            nonlocal taken
            taken += done.messages

        reading = [self._stream(settings, clock, number, tell) for number in range(2)]
        ends = await ends_now(self.database, settings)
        await asyncio.gather(*map(self._begun, reading))
        begun = taken
        with stopwatch() as watch:
            await asyncio.gather(*(self._to_its_end(each, ends) for each in reading))
        for each in reading:
            await each.close()
        assert taken == self.events
        return (self.events - begun) / watch.seconds

    async def _begun(self, stream: Stream) -> None:
        """It has joined its group, and taken a first chunk."""
        while not (await stream.step()).more:
            pass

    def _stream(self, settings: Settings, clock: DatabaseClock, number: int, tell: Callable[[Taken], None]) -> Stream:
        topics = Topics(
            {
                settings.ingest_receipts_topic: Contract.RECEIPTS,
                settings.ingest_factoids_topic: Contract.FACTOIDS,
            }
        )
        ingestor = Ingestor(self.database, clock, Open(), topics, tell)
        return Stream(
            settings, ingestor, Watched(self.database, clock), streams(settings)[number], settings.ingest_chunk
        )

    async def _to_its_end(self, stream: Stream, ends: tuple[End, ...]) -> None:
        mine = [each for each in ends if each.topic == stream.streamed.topic]
        while not await passed(self.database, mine):
            await stream.step()

    async def limit(self) -> float:
        """Poll and parse."""
        return await asyncio.to_thread(self._poll)

    def _poll(self) -> float:
        settings = self._fresh()
        consumer = Consumer(
            {
                "bootstrap.servers": settings.kafka_brokers,
                "group.id": settings.ingest_receipts_group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        consumer.subscribe([settings.ingest_receipts_topic, settings.ingest_factoids_topic])
        while not (first := consumer.consume(1, 1.0)):
            pass
        begun = seen = len(first)
        with stopwatch() as watch:
            while seen < self.events:
                for each in consumer.consume(settings.ingest_chunk, 0.2):
                    json.loads(each.value())
                    seen += 1
        consumer.close()
        return (self.events - begun) / watch.seconds

    async def loop(self, events: int) -> float:
        """A statement a line, a commit an event."""
        await self._empty()
        rows = [[_row(fact) for fact in facts] for facts in _facts(events)]
        with stopwatch() as watch:
            for event in rows:
                async with self.raw.transaction():
                    for row in event:
                        await self.raw.execute(ONE, row)
        return events / watch.seconds

    async def _empty(self) -> None:
        await self.raw.execute("truncate hark.fact, hark.history_user, hark.ingest_position, hark.ingest_dead")
        await settle_down(self.raw, "hark.fact", "hark.history_user", "hark.product")

    def _fresh(self) -> Settings:
        number = next(_rounds)
        return replace(
            self.settings, ingest_receipts_group=f"receipts-{number}", ingest_factoids_group=f"factoids-{number}"
        )


def _facts(events: int) -> Iterator[list[Fact]]:
    topics = Topics({"receipts": Contract.RECEIPTS, "factoids": Contract.FACTOIDS})
    for what, said in _events(events):
        news = topics.read(what, json.dumps(said).encode())
        assert isinstance(news, News)
        yield list(news.facts)


def _row(fact: Fact) -> tuple[object, ...]:
    return (
        *(fact.user_id, fact.key, fact.kind.value, fact.product_id, fact.store_id, fact.amount_minor, fact.currency),
        *(fact.quantity, fact.occurred_at, fact.version),
    )
