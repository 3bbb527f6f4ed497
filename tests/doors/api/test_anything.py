"""Whatever is sent: no answer is a 500, and every refusal is a problem that says what to mend."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hark.postgres.database import open_database
from tests.doors.api.callers import Office, opened
from tests.doors.api.test_refusals import GUARDED
from tests.flags.testing import flag_of
from tests.servers import Postgres
from tests.world import open_world

NASTY = ["", "\0", "\ud800", "a/b", "..", "é", "\u202e", "x" * 256, "bob", "comment", "post:1", "email", "daily", "1"]
NAMED = ("bob", "mention", "1", "live", "beta")
"""What paths name: anything can stand in its place."""
WORDS = st.one_of(st.sampled_from(NASTY), st.text(max_size=20))
NUMBERS = st.one_of(
    st.integers(-1, 3), st.sampled_from([2**31, 2**63 - 1, 2**63, 10**400, -(2**64)]), st.floats(), st.booleans()
)
LEAVES = st.one_of(st.none(), WORDS, NUMBERS)
NAMES = [
    *("reason", "to", "entities", "actor", "about", "payload", "key", "occurred_at", "subscriptions", "recipient"),
    *("entity", "muted", "recipients", "id", "user_type", "address", "confirmed", "active", "zone", "locale"),
    *("attributes", "channels", "frequency", "events", "up_to", "reasons", "user_types", "cohort", "rate", "window"),
    *("ids", "urls", "hash", "batch_size", "everyone", "limit", "before", "after", "state", "outcome", "since", "who"),
    *("flag", "user_ids", "load", "add", "remove", "rollout", "internal", "url", "if_version", "on", "forget", "name"),
]
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=8,
)


def spoilt(good: Any) -> st.SearchStrategy[Any]:
    """A good body, with anything in the place of any of its parts."""
    if isinstance(good, dict):
        kept = st.fixed_dictionaries({}, optional={name: spoilt(value) for name, value in good.items()})
        more = st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=2)
        return st.one_of(st.just(good), st.builds(lambda a, b: {**a, **b}, kept, more), ANYTHING)
    if isinstance(good, list):
        return st.one_of(st.just(good), st.lists(spoilt(good[0]), max_size=3), ANYTHING)
    return st.one_of(st.just(good), st.just(good), ANYTHING)


FULL = {
    "/v1/events": {
        "reason": "comment",
        "to": ["bob"],
        "entities": ["post:1"],
        "actor": "alice",
        "about": "post:1",
        "payload": {"a": 1},
        "key": "k",
        "occurred_at": "2026-03-01T10:00:00Z",
    },
    "/v1/recipients": {
        "recipients": [
            {
                "id": "bob",
                "user_type": "Students",
                "address": "bob@school.example",
                "confirmed": True,
                "zone": "UTC",
                "locale": "en",
                "attributes": {"a": 1},
            }
        ]
    },
    "/v1/recipients/bob/preferences/mention": {"channels": ["email"], "frequency": "daily"},
    "/v1/subscriptions": {"subscriptions": [{"recipient": "bob", "entity": "post:1", "muted": True}]},
}


def encoded(text: str) -> str:
    """As a URL has it; dots too, for clients take `..` out of paths."""
    return quote(text.encode("utf-8", "surrogatepass"), safe="").replace(".", "%2E")


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, str, bytes]:
    """A call of one of the routes, good in parts."""
    method, path, body, _ = draw(st.sampled_from(GUARDED))
    path, _, _ = path.partition("?")
    segments = [
        draw(st.one_of(st.just(each), st.just(each), WORDS)) if each in NAMED else each
        for each in path.format(planned=1, applying=1, paused=1, applied=1).split("/")
    ]
    sent = "/".join(encoded(each) or "%00" for each in segments[1:])
    query = draw(st.dictionaries(st.sampled_from(NAMES), st.one_of(WORDS, NUMBERS.map(str)), max_size=2))
    asked = "&".join(f"{name}={encoded(value)}" for name, value in query.items())
    content = draw(spoilt(FULL.get(path, body))) if body is not None else None
    said = json.dumps(content).encode() if content is not None else b""
    return (
        method,
        f"/{sent}?{asked}",
        draw(st.one_of(st.just(said), st.just(said), st.just(said), st.binary(max_size=20))),
    )


@pytest.fixture(scope="module")
async def office(postgres: Postgres, world_template: str) -> AsyncIterator[Office]:
    """One office for all examples: what they leave behind is more to stumble over."""
    name = postgres.create_database(world_template)
    async with open_database(postgres.dsn(name)), open_world(postgres.dsn(name)) as world, opened(world) as office:
        office.engine.one_in_each(("planned",))
        await flag_of(world, beta=["bob"])
        yield office
    postgres.drop_database(name)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(call=calls())
async def test_whatever_is_sent_is_answered(call: tuple[str, str, bytes], office: Office) -> None:
    method, path, content = call
    headers = {"Content-Type": "application/json"} if content else {}
    answer = await office.all.call(method, path, content=content, headers=headers)
    assert answer.status < 500, answer.body
    if answer.status >= 400:
        assert answer.body["detail"]
        assert answer.status in (400, 403, 404, 409, 422)
