"""Messages in Avro, framed by a schema registry's number, and a double that speaks the registry's documented API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import fastavro
import pytest

from hark.config import brokers
from hark.errors import BadInput, Unreachable
from hark.guarded.client import Guarded
from hark.history.live import dead
from hark.history.live.contracts import News, Unreadable
from hark.history.live.ingest import Ingestor
from hark.history.live.schemas import Schemas, open_schemas
from tests.guarded.serving import Asked, said, serving
from tests.history.live.events import FACTOIDS, RECEIPTS, factoid, value
from tests.history.live.stream import TOPICS, Consumer, ingestor
from tests.history.live.topics import Topics, reading, soon
from tests.history.shopping import Shop
from tests.world import LOOPBACK

AT = datetime(2026, 11, 27, 9, tzinfo=UTC)
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
WHEN = {"type": "long", "logicalType": "timestamp-millis"}
FACTOID = {
    "type": "record",
    "name": "Factoid",
    "namespace": "shop",
    "fields": [
        {"name": "user_id", "type": "string"},
        {"name": "summaryID", "type": "string"},
        {"name": "store", "type": ["null", "string"], "default": None},
        {"name": "product_id", "type": "string"},
        {"name": "amount", "type": ["null", MONEY], "default": None},
        {"name": "currency", "type": "string"},
        {"name": "quantity", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 3}},
        {"name": "occurred_at", "type": WHEN},
        {"name": "version", "type": "long"},
        {"name": "deleted", "type": "boolean", "default": False},
        {"name": "more", "type": ["null", "double", "bytes"], "default": None},
    ],
}
LINE = {
    "type": "record",
    "name": "shop.Line",
    "fields": [
        {"name": "line", "type": "int"},
        {"name": "product_id", "type": "string"},
        {"name": "quantity", "type": "int"},
        {"name": "amount_minor", "type": "long"},
    ],
}
RECEIPT = {
    "type": "record",
    "name": "shop.Receipt",
    "fields": [
        *({"name": name, "type": "string"} for name in ("user_id", "receipt_id", "store_id", "currency")),
        {"name": "purchased_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "version", "type": "long"},
        {"name": "lines", "type": {"type": "array", "items": "shop.Line"}},
    ],
}
ORDER = {
    "user_id": "ann",
    "summaryID": "o1",
    "store": "web",
    "product_id": "tea",
    "amount": Decimal("4.50"),
    "currency": "EUR",
    "quantity": Decimal("1.5"),
    "occurred_at": AT,
    "version": 3,
}


@dataclass(slots=True)
class Registry:
    """Schemas by their numbers, and by subject and version; what it was asked, and what goes wrong."""

    schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    subjects: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    status: int = 200
    login: str | None = None

    def answer(self, asked: Asked) -> bytes:
        path = asked.line.split()[1]
        self.asked.append(path)
        self.login = asked.headers.get("authorization")
        if self.status != 200:
            return said({"error_code": self.status, "message": "no"}, f"{self.status} No")
        found = self.subjects.get(path)
        if path.startswith("/schemas/ids/"):
            found = self.schemas.get(int(path.rpartition("/")[2]))
        if found is None:
            return said({"error_code": 40403, "message": "Schema not found"}, "404 Not Found")
        return said(found)


@dataclass(slots=True)
class Reader:
    """What reads messages of a registry."""

    registry: Registry
    schemas: Schemas

    async def read(self, *values: bytes, topic: str = FACTOIDS) -> list[News | Unreadable]:
        topics = replace(TOPICS, schemas=self.schemas)
        await topics.prepare(values)
        return [topics.read(topic, each) for each in values]

    async def cause(self, message: bytes, topic: str = FACTOIDS) -> str:
        (found,) = await self.read(message, topic=topic)
        assert isinstance(found, Unreadable)
        return found.cause


@asynccontextmanager
async def registered(login: str | None = None) -> AsyncIterator[Reader]:
    registry = Registry(
        {
            7: {"schema": json.dumps(FACTOID)},
            8: {"schema": json.dumps(RECEIPT), **REFERS},
        }
    )
    registry.subjects["/subjects/lines%2Fof-receipts/versions/2"] = {"schema": json.dumps(LINE), "version": 2, "id": 3}
    async with serving(registry.answer) as server:
        client = Guarded(LOOPBACK)
        yield Reader(registry, open_schemas(server.url(""), login, client))
        await client.close()


REFERS = {"references": [{"name": "shop.Line", "subject": "lines/of-receipts", "version": 2}]}


def framed(number: int, schema: Any, content: object) -> bytes:
    body = BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema), content)
    return b"\0" + number.to_bytes(4, "big") + body.getvalue()


async def test_avro_says_what_json_says() -> None:
    async with registered() as reader:
        in_avro, in_json = await reader.read(
            framed(7, FACTOID, ORDER), value({**factoid("o1", version=3), "quantity": "1.5"})
        )
        assert in_avro == in_json
        assert isinstance(in_avro, News)
        (fact,) = in_avro.facts
        assert (fact.amount_minor, fact.quantity, fact.occurred_at) == (450, Decimal("1.500"), AT)


async def test_schemas_may_refer_to_others_and_each_is_asked_for_once() -> None:
    content = {
        "user_id": "ann",
        "receipt_id": "r1",
        "store_id": "north",
        "currency": "EUR",
        "purchased_at": AT,
        "version": 2,
        "lines": [{"line": 1, "product_id": "milk", "quantity": 2, "amount_minor": 258}],
    }
    message = framed(8, [LINE, RECEIPT], content)
    message = message[:5] + message[6:]  # of a union's branch the writer says which it is
    async with registered("key:secret") as reader:
        found = await reader.read(message, message, topic=RECEIPTS)
        assert [news.facts[0].key for news in found if isinstance(news, News)] == ["receipt:r1:1"] * 2
        await reader.read(message, topic=RECEIPTS)
        assert reader.registry.asked == ["/schemas/ids/8", "/subjects/lines%2Fof-receipts/versions/2"]
        assert reader.registry.login == "Basic a2V5OnNlY3JldA=="


async def test_what_cannot_be_read_has_its_cause() -> None:
    whole = framed(7, FACTOID, ORDER)
    async with registered() as reader:
        reader.registry.schemas[9] = {"schema": 'syntax = "proto3";', "schemaType": "PROTOBUF"}
        reader.registry.schemas[10] = {"schema": '{"type": "nonsense"}'}
        reader.registry.schemas[11] = {
            "schema": json.dumps(RECEIPT),
            "references": [{"name": "shop.Line", "subject": "gone", "version": 1}],
        }
        reader.registry.schemas[12] = {"schema": "{"}
        for message, cause in {
            whole[:20]: "it is not what its schema 7 says: EOFError",
            whole + b"!": "it is not what its schema 7 says: 1 bytes are left behind it",
            framed(7, FACTOID, {**ORDER, "more": float("nan")}): "it is not what its schema 7 says: ValueError",
            framed(7, FACTOID, {**ORDER, "more": b"raw"}): "it is not what its schema 7 says: TypeError",
            framed(7, FACTOID, {**ORDER, "currency": "euros"}): "currency string should match pattern",
            b"\0\0\0\0\5" + whole[5:]: "its schema 5 is not in the registry, which says 40403",
            b"\0\0\0\0\x09" + whole[5:]: "its schema 9 cannot be used: it is of type PROTOBUF; only AVRO is read",
            b"\0\0\0\0\x0a" + whole[5:]: "its schema 10 cannot be used: it is no Avro schema",
            b"\0\0\0\0\x0b" + whole[5:]: "its schema 11 cannot be used: it refers to one that is not in the registry",
            b"\0\0\0\0\x0c" + whole[5:]: "its schema 12 cannot be used",
            b"\0\0": "it is no JSON",
        }.items():
            assert cause in await reader.cause(message)


async def test_without_a_registry_it_is_said_which_setting_is_missing() -> None:
    found = TOPICS.read(FACTOIDS, framed(7, FACTOID, ORDER))
    assert isinstance(found, Unreadable) and "schema_registry_url" in found.cause


@pytest.mark.parametrize("status", [401, 403, 500, 503])
async def test_a_registry_that_is_away_is_waited_for(status: int) -> None:
    message = framed(7, FACTOID, ORDER)
    async with registered() as reader:
        reader.registry.status = status
        with pytest.raises(Unreachable, match=f"answers {status}"):
            await reader.read(message)
        reader.registry.status = 200
        assert isinstance((await reader.read(message))[0], News)


async def test_what_is_no_registry_is_said_so() -> None:
    async with registered() as reader:
        reader.registry.schemas[7] = {"hello": "world"}
        with pytest.raises(Unreachable, match="schema_registry_url"):
            await reader.read(framed(7, FACTOID, ORDER))


async def test_a_dead_letter_in_avro_is_replayed_once_its_schema_is_there(shop: Shop) -> None:
    def taker(reader: Reader) -> Ingestor:
        made = ingestor(shop.database)
        made.topics = replace(TOPICS, schemas=reader.schemas)
        return made

    async with registered() as reader:
        kept = reader.registry.schemas.pop(7)
        place = Consumer(taker(reader), FACTOIDS)
        await place.begin()
        assert (await place.take(framed(7, FACTOID, ORDER))).dead == 1
        (letter,) = await dead.page(shop.database, dead.Filter(), 10)
        assert "its schema 7 is not in the registry" in letter.cause
        reader.registry.schemas[7] = kept
        reader.schemas = replace(reader.schemas, _known={})  # another process, or a minute later
        assert (await dead.replay(taker(reader), [letter.id])).recorded == 1
        assert [row.key for row in await shop.rows("select key from hark.fact")] == ["order:o1"]


async def test_avro_from_a_broker_is_read_by_its_schema(bought: Shop, topics: Topics) -> None:
    topics.factoids(framed(7, FACTOID, ORDER))
    async with registered() as reader, reading(topics, bought.database, number=1, schemas=reader.schemas) as of_broker:

        async def taken() -> int:
            return sum(each.messages for each in of_broker.taken)

        await soon(taken, "the message is taken")
    assert [row.key for row in await bought.rows("select key from hark.fact")] == ["order:o1"]


def test_a_login_has_two_parts() -> None:
    assert brokers.login("key:secret") == "key:secret"
    for wrong in ("key", "key:", ":secret", "a b:c"):
        with pytest.raises(BadInput):
            brokers.login(wrong)
