"""The HTTP door to a small world, and callers with keys of this or that scope."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx2
import pytest

from hark.access import keys
from hark.access.keys import Scope
from hark.config import Settings
from hark.doors.api import build_api
from tests.doors.api.engine import Engine
from tests.world import World


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: Any
    headers: httpx2.Headers

    @property
    def faults(self) -> list[tuple[str, str]]:
        """Of a problem: where and what."""
        return [(fault["where"], fault["what"]) for fault in self.body["faults"]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Someone with a key, or without."""

    client: httpx2.AsyncClient
    key: str | None

    async def call(self, method: str, path: str, json: object = None, **given: Any) -> Answer:
        """Call, and check what every answer must be."""
        headers = {**({"Authorization": f"Bearer {self.key}"} if self.key else {}), **given.pop("headers", {})}
        more: dict[str, Any] = {} if json is None else {"json": json}
        response = await self.client.request(method, path, headers=headers, **more, **given)
        kind = response.headers.get("content-type", "")
        if response.status_code >= 400:
            assert kind == "application/problem+json"
            assert set(response.json()) == {"type", "title", "status", "detail", "faults"}
            assert response.json()["status"] == response.status_code
        body = response.json() if response.content else None
        return Answer(response.status_code, body, response.headers)

    async def get(self, path: str, **given: Any) -> Answer:
        return await self.call("GET", path, **given)

    async def put(self, path: str, json: object) -> Answer:
        return await self.call("PUT", path, json)

    async def post(self, path: str, json: object) -> Answer:
        return await self.call("POST", path, json)

    async def delete(self, path: str, json: object = None) -> Answer:
        return await self.call("DELETE", path, json)


@dataclass(frozen=True, slots=True)
class Office:
    """A world with its HTTP door open."""

    world: World
    client: httpx2.AsyncClient
    all: Caller
    engine: Engine

    async def caller(self, name: str, *scopes: Scope) -> Caller:
        """Someone with a new key."""
        new = await keys.create(self.world.database, name, scopes, self.world.clock.now())
        return Caller(self.client, new.key)

    @property
    def stranger(self) -> Caller:
        """Someone without a key."""
        return Caller(self.client, None)

    async def audited(self) -> list[tuple[str, str, str]]:
        """Who did what to what, oldest first."""
        page = await self.all.get("/v1/audit")
        assert page.status == HTTPStatus.OK
        return [(line["who"], line["what"], line["target"]) for line in reversed(page.body["items"])]


@asynccontextmanager
async def opened(world: World) -> AsyncIterator[Office]:
    """The door to a world."""
    engine = Engine()
    app = build_api(world.database, world.catalogue, Settings(), world.clock, engine)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://hark.example") as client:
        new = await keys.create(world.database, "all", Scope, world.clock.now())
        yield Office(world, client, Caller(client, new.key), engine)


@pytest.fixture
async def office(world: World) -> AsyncIterator[Office]:
    """A world with its HTTP door open, and someone who may do everything."""
    async with opened(world) as office:
        yield office
