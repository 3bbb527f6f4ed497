"""Calls that are refused: by whom, with which problem, with all faults at once; and none of them changes anything."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from hark import audience
from hark.access import keys
from hark.access.keys import Scope
from hark.doors.api.limits import LONGEST_BODY
from tests.doors.api.callers import Answer, Caller, Office
from tests.flags.testing import flag_of

EVENT = {"reason": "mention", "to": ["bob"]}
PAIRS = {"subscriptions": [{"recipient": "bob", "entity": "post:1"}]}
PERSON = {"recipients": [{"id": "bob", "user_type": "Students"}]}
MARK = {"events": [1]}
BACKFILL = {"reasons": ["mention"], "channels": ["email"], "user_types": ["Students"], "cohort": {"everyone": True}}

GUARDED: list[tuple[str, str, object, Scope]] = [
    ("POST", "/v1/events", EVENT, Scope.PUBLISH),
    ("PUT", "/v1/subscriptions", PAIRS, Scope.SUBSCRIBE),
    ("DELETE", "/v1/subscriptions", PAIRS, Scope.SUBSCRIBE),
    ("GET", "/v1/subscriptions?recipient=bob", None, Scope.READ),
    ("PUT", "/v1/recipients", PERSON, Scope.SUBSCRIBE),
    ("GET", "/v1/recipients/bob", None, Scope.READ),
    ("GET", "/v1/recipients/bob/preferences", None, Scope.READ),
    ("GET", "/v1/recipients/bob/preferences/mention", None, Scope.READ),
    ("PUT", "/v1/recipients/bob/preferences/mention", {"frequency": "daily"}, Scope.SUBSCRIBE),
    ("DELETE", "/v1/recipients/bob/preferences/mention", None, Scope.SUBSCRIBE),
    ("GET", "/v1/recipients/bob/inbox", None, Scope.READ),
    ("GET", "/v1/recipients/bob/inbox/unread", None, Scope.READ),
    ("POST", "/v1/recipients/bob/inbox/seen", MARK, Scope.SUBSCRIBE),
    ("POST", "/v1/recipients/bob/inbox/read", MARK, Scope.SUBSCRIBE),
    ("POST", "/v1/recipients/bob/inbox/archive", MARK, Scope.SUBSCRIBE),
    ("GET", "/v1/explain/bob/1", None, Scope.READ),
    ("GET", "/v1/deliveries", None, Scope.READ),
    ("GET", "/v1/audit", None, Scope.AUDIT),
    ("POST", "/admin/backfill", BACKFILL, Scope.BACKFILL),
    ("GET", "/admin/backfill", None, Scope.BACKFILL),
    ("GET", "/admin/backfill/{planned}", None, Scope.BACKFILL),
    ("GET", "/admin/backfill/{planned}/failures", None, Scope.BACKFILL),
    ("POST", "/admin/backfill/{planned}/approve", None, Scope.BACKFILL),
    ("POST", "/admin/backfill/{planned}/apply", None, Scope.BACKFILL),
    ("POST", "/admin/backfill/{applying}/pause", None, Scope.BACKFILL),
    ("POST", "/admin/backfill/{paused}/resume", None, Scope.BACKFILL),
    ("POST", "/admin/backfill/{planned}/cancel", None, Scope.BACKFILL),
    ("POST", "/admin/backfill/{planned}/speed", {"rate": 5}, Scope.BACKFILL),
    ("POST", "/admin/backfill/{applied}/retry", None, Scope.BACKFILL),
    ("POST", "/admin/backfill/{planned}/verify", None, Scope.BACKFILL),
    ("GET", "/admin/backfill/{applied}/astray", None, Scope.BACKFILL),
    ("POST", "/admin/backfill/{planned}/undo", None, Scope.BACKFILL),
    ("POST", "/admin/backfill/stop-all", {"stopped": True}, Scope.BACKFILL),
]
FLAGS: list[tuple[str, str, object, Scope]] = [
    ("GET", "/v1/flags", None, Scope.READ),
    ("GET", "/v1/flags/live", None, Scope.READ),
    ("GET", "/v1/flags/live/members", None, Scope.READ),
    ("GET", "/v1/flags/live/segments/beta/members", None, Scope.READ),
    ("GET", "/v1/recipients/bob/flags", None, Scope.READ),
    ("POST", "/v1/flags", {"name": "news"}, Scope.FLAGS),
    ("PUT", "/v1/flags/live", {"on": False}, Scope.FLAGS),
    ("PUT", "/v1/flags/live/segments/beta", {"ids": ["cy"]}, Scope.FLAGS),
    ("POST", "/v1/flags/live/segments/beta/members", {"add": ["cy"]}, Scope.FLAGS),
    ("DELETE", "/v1/flags/live/segments/beta", {"forget": True}, Scope.FLAGS),
    ("POST", "/v1/enroll", {"flag": "live", "user_ids": ["cy"]}, Scope.FLAGS),
    ("DELETE", "/v1/enroll", {"flag": "live", "user_ids": ["cy"]}, Scope.FLAGS),
]
GUARDED += FLAGS
STATES = ("planned", "applying", "paused", "applied")
TABLES = (
    *("event", "recipient", "subscription", "preference", "notification", "audit"),
    *("flag", "segment", "segment_member", "flag_segment", "enrolled", "load_asked"),
)


@pytest.fixture
async def known(office: Office) -> AsyncIterator[Office]:
    """An office in which bob and his event are known."""
    await office.world.know("bob")
    await office.world.publish("mention", to=["bob"])
    await office.world.fan_out()
    await flag_of(office.world, beta=["bob"])
    yield office


async def everything(office: Office) -> list[Any]:
    return [await office.world.rows(f"select t::text from hark.{name} t order by 1") for name in TABLES]


# Who may what ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path", "body", "scope"), GUARDED, ids=lambda value: str(value)[:40])
async def test_each_route_opens_to_its_scope_alone(
    method: str, path: str, body: object, scope: Scope, known: Office
) -> None:
    path = path.format(**known.engine.one_in_each(STATES))
    before = await everything(known)
    for other in set(Scope) - {scope}:
        refused = await (await known.caller(f"only-{other}", other)).call(method, path, body)
        assert (refused.status, refused.body["type"]) == (403, "urn:hark:no-scope")
        assert f"this needs the scope {scope}" in refused.body["detail"]
    unknown = await known.stranger.call(method, path, body)
    assert (unknown.status, unknown.body["type"]) == (401, "urn:hark:no-key")
    assert unknown.headers["www-authenticate"].startswith("Bearer")
    assert await everything(known) == before
    assert (await (await known.caller(f"only-{scope}", scope)).call(method, path, body)).status < 300


async def test_no_route_is_left_out_of_that(office: Office) -> None:
    paths = (await office.stranger.get("/openapi.json")).body["paths"]
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    tried = {(method, path.partition("?")[0]) for method, path, _, _ in GUARDED}
    assert len(described) - 2 == len(tried)  # /healthz and /readyz open to all


@pytest.mark.parametrize(
    "sent",
    ["", "Bearer", "Bearer ", "Basic Ym9iOmJvYg==", "hark_aaaaaaaa_" + "x" * 43, "Bearer hark_aaaaaaaa_" + "x" * 43],
)
async def test_what_is_no_key_is_refused(sent: str, office: Office) -> None:
    refused = await office.stranger.get("/v1/deliveries", headers={"Authorization": sent})
    assert (refused.status, refused.body["type"]) == (401, "urn:hark:no-key")


async def test_a_revoked_key_is_refused_at_once_and_never_said_back(office: Office) -> None:
    caller = await office.caller("shop", Scope.READ)
    assert (await caller.get("/v1/deliveries")).status == 200
    await keys.revoke(office.world.database, "shop", office.world.clock.now())
    refused = await caller.get("/v1/deliveries")
    assert (refused.status, refused.body["detail"]) == (401, "the key shop was revoked")
    assert caller.key is not None
    assert caller.key not in json.dumps(refused.body)


async def test_who_calls_is_settled_before_the_body_is_read(office: Office) -> None:
    async def body() -> AsyncIterator[bytes]:
        for read in (True,):
            assert not read
        yield b""

    headers = {"Content-Type": "application/json"}
    assert (await office.stranger.call("POST", "/v1/events", content=body(), headers=headers)).status == 401


async def test_a_parameter_that_a_route_does_not_have_is_refused_and_nothing_is_done(known: Office) -> None:
    states = known.engine.one_in_each(STATES)
    before = await everything(known)
    for method, path, body, _ in GUARDED:
        sent = path.format(**states)
        refused = await known.all.call(method, f"{sent}{'&' if '?' in sent else '?'}drury=1", body)
        assert refused.status == 422, (method, path)
        assert refused.faults[0][0] == "query.drury", (method, path)
    assert await everything(known) == before


async def test_what_is_wrong_with_a_query_is_told_with_what_is_wrong_with_a_body(office: Office) -> None:
    refused = await office.all.call("POST", "/v1/events?dry_run=true", {"to": ["bob"], "reason": 5})
    assert refused.faults == [
        ("query.dry_run", "no such parameter; there is none"),
        ("body.reason", "is 5, expected a text"),
    ]


# What is wrong with it ------------------------------------------------------------------------------------------------


async def test_all_faults_are_told_at_once_each_with_its_place(office: Office) -> None:
    event = {
        "reson": "mention",
        "to": ["bob", 7, ""],
        "entities": "post:7",
        "actor": "a" * 256,
        "about": "x\0y",
        "payload": [],
        "occurred_at": "yesterday",
    }
    refused = await office.all.post("/v1/events", event)
    assert refused.status == 422
    assert refused.body["type"] == "urn:hark:bad-input"
    assert refused.faults == [
        ("body.reason", "is missing"),
        ("body.to[1]", "is 7, expected a text"),
        ("body.to[2]", "is empty, expected at least one character"),
        ("body.entities", 'is "post:7", expected a list'),
        ("body.actor", "has more than 255 characters"),
        ("body.about", "has a NUL character, which Postgres cannot store"),
        ("body.payload", "is a list, expected an object"),
        ("body.occurred_at", '"yesterday" is not a time; write 2026-11-23T14:02:11+01:00'),
        ("body.reson", "no such field; did you mean reason?"),
    ]
    assert refused.body["detail"] == "body.reason is missing (and 8 more)"


WRONG: list[tuple[str, str, object, str, str]] = [
    ("POST", "/v1/events", {"reason": "mention"}, "body", "names nobody in to or entities"),
    ("POST", "/v1/events", {**EVENT, "occurred_at": "2026-03-01T10:00:00"}, "body.occurred_at", "has no zone"),
    ("POST", "/v1/events", {**EVENT, "occurred_at": "0001-01-01T00:00:00+05:00"}, "body.occurred_at", "1900 and 9998"),
    ("POST", "/v1/events", {**EVENT, "occurred_at": 1700000000}, "body.occurred_at", "is not a time"),
    ("POST", "/v1/events", {**EVENT, "to": ["bob"] * 10_001}, "body.to", "has more than 10000 of them"),
    ("POST", "/v1/events", {**EVENT, "payload": {"a": "\0"}}, "body.payload", "NUL"),
    ("POST", "/v1/events", [EVENT], "body", "is a list, expected an object"),
    ("PUT", "/v1/subscriptions", {"subscriptions": []}, "body.subscriptions", "has 0 of them, expected at least 1"),
    (
        "PUT",
        "/v1/subscriptions",
        {"subscriptions": PAIRS["subscriptions"] * 1001},
        "body.subscriptions",
        "1000 of them",
    ),
    (
        "PUT",
        "/v1/subscriptions",
        {"subscriptions": [{"recipient": "bob", "entity": "post:1", "entitty": "post:1"}]},
        "body.subscriptions[0].entitty",
        "did you mean entity?",
    ),
    (
        "PUT",
        "/v1/subscriptions",
        {"subscriptions": [{**PAIRS["subscriptions"][0], "muted": "yes"}]},
        "body.subscriptions[0].muted",
        'is "yes", expected true or false',
    ),
    (
        "PUT",
        "/v1/recipients",
        {"recipients": [{**PERSON["recipients"][0], "address": "bob"}]},
        "body.recipients[0].address",
        '"bob"',
    ),
    (
        "PUT",
        "/v1/recipients",
        {"recipients": [{"id": "b\nob", "user_type": "Students"}]},
        "body.recipients[0].id",
        "control",
    ),
    ("PUT", "/v1/recipients/bob/preferences/mention", {}, "body", "chooses nothing"),
    ("PUT", "/v1/recipients/bob/preferences/mention", {"channels": ["email"] * 2}, "body", "names a channel twice"),
    ("PUT", "/v1/recipients/bob/preferences/mention", {"channels": ["mail"]}, "body.channels[0]", "'email', 'in_app'"),
    ("POST", "/v1/recipients/bob/inbox/read", {}, "body", "either events or up_to"),
    ("POST", "/v1/recipients/bob/inbox/read", {"events": [1], "up_to": 1}, "body", "either events or up_to"),
    ("POST", "/v1/recipients/bob/inbox/seen", {"events": [0]}, "body.events[0]", "is 0, expected at least 1"),
    ("POST", "/v1/recipients/bob/inbox/seen", {"events": [2**63]}, "body.events[0]", "expected at most"),
    ("POST", "/v1/recipients/bob/inbox/seen", {"events": [True]}, "body.events[0]", "is true, expected a whole number"),
    ("GET", "/v1/deliveries?limt=3", None, "query.limt", "did you mean limit?"),
    ("GET", "/v1/deliveries?limit=0", None, "query.limit", 'is "0", expected at least 1'),
    ("GET", "/v1/deliveries?state=SEND", None, "query.state", "expected 'PENDING', 'SENDING', 'SENT' or 'CANCELED'"),
    ("GET", "/v1/deliveries?recipient=a%00b", None, "query.recipient", "NUL"),
    ("GET", "/v1/deliveries?since=2026", None, "query.since", "is not a time"),
    ("GET", "/v1/subscriptions", None, "query.recipient", "is missing"),
    ("GET", "/v1/subscriptions?recipient=a&after=%00", None, "query.after", "NUL"),
    ("GET", "/v1/recipients/a%00b", None, "path.recipient", "NUL"),
    ("GET", "/v1/recipients/%ff", None, "path.recipient", "not UTF-8"),
    ("GET", "/v1/explain/bob/one", None, "path.event", 'is "one", expected a whole number'),
    ("GET", "/v1/explain/bob/99999999999999999999", None, "path.event", "expected at most"),
]


@pytest.mark.parametrize(("method", "path", "body", "where", "what"), WRONG, ids=lambda value: str(value)[:30])
async def test_a_fault_says_where_and_how_to_mend_it(
    method: str, path: str, body: object, where: str, what: str, known: Office
) -> None:
    before = await everything(known)
    refused = await known.all.call(method, path, body)
    assert refused.status == 422
    ((at, said),) = refused.faults
    assert at == where
    assert what in said
    assert await everything(known) == before


async def sent(caller: Caller, content: bytes, kind: str | None = "application/json") -> Answer:
    headers = {} if kind is None else {"Content-Type": kind}
    return await caller.call("POST", "/v1/events", content=content, headers=headers)


@pytest.mark.parametrize(
    "content",
    [b"{", b"\xff\xfe", b'{"a": 1}}', b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"],
    ids=["cut", "bytes", "twice", "deep", "long number"],
)
async def test_what_is_no_json_is_refused(content: bytes, office: Office) -> None:
    assert (await sent(office.all, content)).status == 400


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
async def test_what_is_not_called_json_is_refused(kind: str | None, office: Office) -> None:
    refused = await sent(office.all, json.dumps(EVENT).encode(), kind)
    assert refused.faults == [("body", "is no JSON, expected an object; send JSON, and Content-Type: application/json")]


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        (b'{"a": NaN}', "has NaN"),
        (b'{"a": "\\ud800"}', "UTF-8"),
        (b'{"a": ' + b"[" * 101 + b"]" * 101 + b"}", "nested deeper than 100 levels"),
        (b'{"a": ' + b"[" * 800 + b"]" * 800 + b"}", "nested deeper than 100 levels"),
        (b'{"a": "' + b"x" * 262_144 + b'"}', "at most 262144"),
    ],
    ids=["nan", "surrogate", "deep", "deeper", "large"],
)
async def test_a_payload_that_cannot_be_kept_is_refused(payload: bytes, what: str, office: Office) -> None:
    refused = await sent(office.all, b'{"reason": "mention", "to": ["bob"], "payload": ' + payload + b"}")
    assert refused.status == 422
    assert what in refused.faults[0][1]


async def test_half_a_character_is_refused(office: Office) -> None:
    refused = await sent(office.all, b'{"reason": "mention", "to": ["\\ud800"]}')
    assert refused.faults == [("body.to[0]", "has bytes or half characters that are not UTF-8")]


async def test_a_body_that_is_too_long_is_refused(office: Office) -> None:
    refused = await sent(office.all, b" " * (LONGEST_BODY + 1))
    assert (refused.status, refused.body["type"]) == (413, "urn:hark:too-large")

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b" " * (LONGEST_BODY // 4)

    headers = {"Content-Type": "application/json"}
    refused = await office.all.call("POST", "/v1/events", content=pieces(), headers=headers)
    assert (refused.status, refused.body["type"]) == (413, "urn:hark:too-large")


async def test_of_very_many_faults_the_first_are_told(office: Office) -> None:
    refused = await office.all.post("/v1/events", {"reason": "mention", "to": list(range(500))})
    assert len(refused.faults) == 101
    assert refused.faults[-1] == ("", "and 400 more")


async def test_paths_and_methods_that_are_not_there(office: Office) -> None:
    assert (await office.all.get("/v2/events")).body["type"] == "urn:hark:not-found"
    assert (await office.all.get("/v1/deliveries/")).status == 404
    refused = await office.all.get("/v1/events")
    assert (refused.status, refused.headers["allow"]) == (405, "POST")


# Ids ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a/b", "a/inbox", "..", "a b", "a?b#c", "100%25", "Zoë", "{id}", "😀"])
async def test_ids_may_be_made_of_anything(name: str, office: Office) -> None:
    from urllib.parse import quote

    await audience.put_recipients(
        office.world.database, [audience.Recipient(name, "Students")], office.world.clock.now()
    )
    path = quote(name, safe="").replace(".", "%2E")
    found = await office.all.get(f"/v1/recipients/{path}")
    assert (found.status, found.body["id"]) == (200, name)
    assert (await office.all.get(f"/v1/recipients/{path}/inbox/unread")).body == {"unread": 0}


# When Hark cannot -----------------------------------------------------------------------------------------------------


async def test_a_database_that_is_away_is_unavailable(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(*_: object, **__: object) -> object:
        raise psycopg.OperationalError("secret host is down")

    monkeypatch.setattr("hark.doors.reports.deliveries", gone)
    refused = await office.all.get("/v1/deliveries")
    assert (refused.status, refused.body["type"]) == (503, "urn:hark:unreachable")
    assert "secret" not in json.dumps(refused.body)
    assert refused.headers["retry-after"]


async def test_a_fault_of_the_program_tells_nobody_whose_data_it_met(
    office: Office, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from hark.doors.cli.logs import log_to_stderr

    async def broken(*_: object, **__: object) -> object:
        raise RuntimeError("bob@school.example")

    monkeypatch.setattr("hark.doors.profiles.profile", broken)
    log_to_stderr("info")
    refused = await office.all.get("/v1/recipients/bob")
    assert (refused.status, refused.body["type"]) == (500, "about:blank")
    (line,) = capfd.readouterr().err.splitlines()
    told = json.loads(line)
    assert (told["event"], told["error"]) == ("call_failed", "RuntimeError")
    assert told["route"] == "/v1/recipients/{recipient:segment}"
    assert "bob" not in line + json.dumps(refused.body)
