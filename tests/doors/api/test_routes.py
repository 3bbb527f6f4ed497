"""What each route does, told by what its caller sees."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, time, timedelta

import pytest

from hark.access.keys import Scope
from hark.catalogue import Channel, Frequency
from tests.doors.api.callers import Office
from tests.world import MONDAY_NOON


def person(name: str, **more: object) -> dict[str, object]:
    return {"id": name, "user_type": "Students", "address": f"{name}@school.example", "confirmed": True, **more}


async def introduced(office: Office, *names: str) -> None:
    put = await office.all.put("/v1/recipients", {"recipients": [person(name) for name in names]})
    assert (put.status, put.body) == (200, {"written": len(names)})


# What happened --------------------------------------------------------------------------------------------------------


async def test_what_is_published_is_mailed(office: Office) -> None:
    await introduced(office, "bob")
    event = {"reason": "mention", "to": ["bob"], "actor": "alice", "about": "post:7", "payload": {"n": 1}}
    published = await office.all.post("/v1/events", event)
    assert published.status == 201
    office.world.clock.move_to(datetime.now(UTC) + timedelta(minutes=1))  # publish goes by the database's own clock
    await office.world.drain()
    (mail,) = office.world.recorder.accepted
    assert mail.address == "bob@school.example"
    told = await office.all.get(f"/v1/explain/bob/{published.body['event']}")
    assert (told.body["telling"], told.body["steps"][-1]["what"]) == ("sent", "sent")


async def test_a_key_makes_publishing_safe_to_repeat(office: Office) -> None:
    event = {"reason": "mention", "to": ["bob"], "key": "share:981"}
    first, again = await office.all.post("/v1/events", event), await office.all.post("/v1/events", event)
    assert first.body == again.body
    other = await office.all.post("/v1/events", {**event, "to": ["carol"]})
    assert (other.status, other.body["type"]) == (409, "urn:hark:key-reused")
    assert len(await office.world.rows("select from hark.event")) == 1


async def test_an_unknown_reason_is_refused_with_those_there_are(office: Office) -> None:
    refused = await office.all.post("/v1/events", {"reason": "mentoin", "to": ["bob"]})
    assert (refused.status, refused.body["type"]) == (422, "urn:hark:unknown-reason")
    assert "mention" in refused.body["detail"]


async def test_an_event_keeps_its_time(office: Office) -> None:
    await office.all.post(
        "/v1/events", {"reason": "mention", "to": ["bob"], "occurred_at": "2026-03-01T10:00:00+02:00"}
    )
    (row,) = await office.world.rows("select occurred_at from hark.event")
    assert row.occurred_at.isoformat() == "2026-03-01T08:00:00+00:00"


# Who and what ---------------------------------------------------------------------------------------------------------


async def test_recipients_are_put_and_looked_at(office: Office) -> None:
    await office.all.put(
        "/v1/recipients", {"recipients": [person("bob", attributes={"team": "Blue"}, zone="Asia/Tokyo")]}
    )
    bob = (await office.all.get("/v1/recipients/bob")).body
    assert (bob["zone"], bob["attributes"], bob["reach"]) == ("Asia/Tokyo", {"team": "Blue"}, "ok")
    assert (await office.all.get("/v1/recipients/carol")).status == 404


async def test_recipients_are_put_all_or_none(office: Office) -> None:
    refused = await office.all.put(
        "/v1/recipients", {"recipients": [person("bob"), person("carol", user_type="Student", zone="Mars")]}
    )
    assert refused.status == 422
    assert [what.partition(";")[0] for _, what in refused.faults] == ["no time zone 'Mars'", "no user type 'Student'"]
    assert (await office.all.get("/v1/recipients/bob")).status == 404


async def test_when_digests_come_is_written_shown_and_forgotten_as_all_else(office: Office) -> None:
    person = {"id": "bob", "user_type": "Students", "digest_at": "07:30", "digest_weekday": "friday"}
    await office.all.put("/v1/recipients", {"recipients": [person]})
    bob = (await office.all.get("/v1/recipients/bob")).body
    assert (bob["digest_at"], bob["digest_weekday"]) == ("07:30", "friday")
    (row,) = await office.world.rows("select digest_at, digest_weekday from hark.recipient")
    assert (row.digest_at, row.digest_weekday) == (time(7, 30), 4)
    await office.all.put("/v1/recipients", {"recipients": [{**person, "digest_at": None, "digest_weekday": None}]})
    bob = (await office.all.get("/v1/recipients/bob")).body
    assert (bob["digest_at"], bob["digest_weekday"]) == (None, None)


async def test_a_morning_that_is_none_is_refused(office: Office) -> None:
    person = {"id": "bob", "user_type": "Students", "digest_at": "25:00", "digest_weekday": 4}
    refused = await office.all.put("/v1/recipients", {"recipients": [person]})
    assert refused.status == 422
    assert [where for where, _ in refused.faults] == [
        "body.recipients[0].digest_at",
        "body.recipients[0].digest_weekday",
    ]
    assert "is not a text" in refused.faults[1][1]


async def test_subscribers_are_told_unless_muted(office: Office) -> None:
    await introduced(office, "bob", "carol")
    pairs = [{"recipient": "bob", "entity": "post:7"}, {"recipient": "carol", "entity": "post:7", "muted": True}]
    assert (await office.all.put("/v1/subscriptions", {"subscriptions": pairs})).body == {"changed": 2}
    assert (await office.all.put("/v1/subscriptions", {"subscriptions": pairs})).body == {"changed": 0}
    await office.all.post("/v1/events", {"reason": "mention", "entities": ["post:7"]})
    await office.world.fan_out()
    assert await office.world.names_told() == {"bob": 1}


async def test_subscriptions_are_listed_in_pages_and_removed(office: Office) -> None:
    pairs = [{"recipient": "bob", "entity": f"post:{n}"} for n in range(3)]
    await office.all.put("/v1/subscriptions", {"subscriptions": pairs})
    page = (await office.all.get("/v1/subscriptions?recipient=bob&limit=2")).body
    rest = (await office.all.get(f"/v1/subscriptions?recipient=bob&limit=2&after={page['next']}")).body
    assert [each["entity"] for each in [*page["items"], *rest["items"]]] == ["post:0", "post:1", "post:2"]
    assert rest["next"] is None
    assert (await office.all.delete("/v1/subscriptions", {"subscriptions": pairs[:2]})).body == {"changed": 2}
    left = (await office.all.get("/v1/subscriptions?recipient=bob")).body["items"]
    assert left == [
        {"entity": "post:2", "muted": False, "followed": True, "since": MONDAY_NOON.isoformat().replace("+00:00", "Z")}
    ]


async def test_a_muted_subscription_speaks_again_only_when_told_to(office: Office) -> None:
    async def put(**more: object) -> bool:
        pair = {"recipient": "bob", "entity": "post:7", **more}
        await office.all.put("/v1/subscriptions", {"subscriptions": [pair]})
        return bool((await office.all.get("/v1/subscriptions?recipient=bob")).body["items"][0]["muted"])

    assert [await put(muted=True), await put(), await put(muted=False)] == [True, True, False]


async def test_a_mute_that_is_taken_back_leaves_nothing_behind(office: Office) -> None:
    for muted in (True, False):
        pair = {"recipient": "bob", "entity": "post:77", "muted": muted}
        assert (await office.all.put("/v1/subscriptions", {"subscriptions": [pair]})).body == {"changed": 1}
    assert (await office.all.get("/v1/subscriptions?recipient=bob")).body["items"] == []


async def test_a_frequency_that_a_feed_cannot_have_is_bad_input_and_no_missing_reason(office: Office) -> None:
    await introduced(office, "bob")
    await office.world.execute("insert into hark.feed values ('round_up', 10, '0')")
    refused = await office.all.put("/v1/recipients/bob/preferences/round_up", {"frequency": "immediate"})
    assert refused.status == 422
    assert "round_up comes as a digest: daily, weekly or never, not immediate" in str(refused.body)
    assert (await office.all.put("/v1/recipients/bob/preferences/gone", {"frequency": "daily"})).status == 404


async def test_choices_are_stored_and_forgotten(office: Office) -> None:
    await introduced(office, "bob")
    path = "/v1/recipients/bob/preferences/comment"
    before = (await office.all.get(path)).body
    assert before["chosen"] == {"channels": None, "frequency": None, "malformed": False}
    assert (before["told_by"], before["frequency"], before["why"]) == (
        ["email", "in_app"],
        "batched",
        "default_channels",
    )
    after = (await office.all.put(path, {"channels": ["in_app"], "frequency": "daily"})).body
    assert after["chosen"] == {"channels": ["in_app"], "frequency": "daily", "malformed": False}
    assert (after["told_by"], after["frequency"], after["why"]) == (["in_app"], "daily", "own_channels")
    assert (await office.all.put(path, {"frequency": "never"})).body["chosen"]["channels"] == ["in_app"]
    assert (await office.all.delete(path)).status == 204
    assert (await office.all.get(path)).body == before
    every = (await office.all.get("/v1/recipients/bob/preferences")).body["choices"]
    assert [each["reason"] for each in every] == ["comment", "mention", "news", "round_up"]


async def test_choices_that_cannot_be_read_say_so(office: Office) -> None:
    await introduced(office, "bob")
    await office.world.execute(
        "insert into hark.preference values ('bob', %s, '{}', now())", '{"comment": "email", "mention": []}'
    )
    comment, mention, *_ = (await office.all.get("/v1/recipients/bob/preferences")).body["choices"]
    assert (comment["chosen"]["malformed"], comment["told_by"]) == (True, [])
    assert (mention["chosen"], mention["told_by"]) == (
        {"channels": [], "frequency": None, "malformed": False},
        [],
    )


async def test_nobody_knows_what_a_stranger_is_told(office: Office) -> None:
    choice = (await office.all.get("/v1/recipients/nobody/preferences/comment")).body
    assert (choice["told_by"], choice["why"]) == ([], "unknown_recipient")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_reason_that_is_not_there_is_not_found(office: Office, method: str) -> None:
    wish = {"frequency": "daily"} if method == "PUT" else None
    assert (await office.all.call(method, "/v1/recipients/bob/preferences/nope", wish)).status == 404


# The inbox ------------------------------------------------------------------------------------------------------------


async def test_the_inbox_is_listed_read_and_put_away(office: Office) -> None:
    await introduced(office, "bob")
    events = [await office.world.publish("mention", to=["bob"], about=f"post:{n}") for n in range(4)]
    await office.world.fan_out()
    page = (await office.all.get("/v1/recipients/bob/inbox?limit=3")).body
    rest = (await office.all.get(f"/v1/recipients/bob/inbox?limit=3&before={page['next']}")).body
    assert [item["event_id"] for item in [*page["items"], *rest["items"]]] == events[::-1]
    assert (page["unread"], rest["next"]) == (4, None)

    async def mark(verb: str, **which: object) -> object:
        return (await office.all.post(f"/v1/recipients/bob/inbox/{verb}", which)).body

    assert await mark("seen", events=events) == {"changed": 4, "unread": 4}
    assert await mark("read", events=events[:1]) == {"changed": 1, "unread": 3}
    assert await mark("archive", events=events[1:2]) == {"changed": 1, "unread": 2}
    assert await mark("read", up_to=events[2]) == {"changed": 2, "unread": 1}
    assert (await office.all.get("/v1/recipients/bob/inbox/unread")).body == {"unread": 1}
    unread = (await office.all.get("/v1/recipients/bob/inbox?unread=true")).body["items"]
    assert [item["event_id"] for item in unread] == events[3:]


# To look at -----------------------------------------------------------------------------------------------------------


async def test_deliveries_come_filtered_and_in_pages(office: Office) -> None:
    await introduced(office, "bob", "carol")
    for name in ("bob", "carol", "bob"):
        await office.world.publish("mention", to=[name])
        await office.world.drain()
        office.world.clock.advance(timedelta(minutes=1))
    page = (await office.all.get("/v1/deliveries?limit=2&state=SENT")).body
    rest = (await office.all.get(f"/v1/deliveries?limit=2&state=SENT&before={page['next']}")).body
    assert [line["recipient_id"] for line in [*page["items"], *rest["items"]]] == ["bob", "carol", "bob"]
    since = (MONDAY_NOON + timedelta(seconds=90)).isoformat().replace("+", "%2B")
    assert len((await office.all.get(f"/v1/deliveries?since={since}&recipient=bob")).body["items"]) == 1
    assert (await office.all.get("/v1/deliveries?outcome=refused")).body == {"items": [], "next": None}


async def test_an_event_that_is_not_there_is_not_found(office: Office) -> None:
    assert (await office.all.get("/v1/explain/bob/77")).status == 404


async def test_every_change_is_in_the_audit_log(office: Office) -> None:
    shop = await office.caller("shop", Scope.PUBLISH, Scope.SUBSCRIBE)
    pair = {"subscriptions": [{"recipient": "bob", "entity": "post:1"}]}
    await shop.put("/v1/recipients", {"recipients": [person("bob")]})
    await shop.put("/v1/subscriptions", pair)
    event = (await shop.post("/v1/events", {"reason": "mention", "entities": ["post:1"]})).body["event"]
    await shop.put(
        "/v1/recipients/bob/preferences/comment", {"channels": [Channel.IN_APP], "frequency": Frequency.DAILY}
    )
    await shop.delete("/v1/recipients/bob/preferences/comment")
    for verb in ("seen", "read", "archive"):
        await shop.post(f"/v1/recipients/bob/inbox/{verb}", {"events": [event]})
    await shop.delete("/v1/subscriptions", pair)
    assert await office.audited() == [
        ("shop", "recipients.put", "recipient:bob"),
        ("shop", "subscribe", "recipient:bob"),
        ("shop", "publish", f"event:{event}"),
        ("shop", "preference.set", "recipient:bob"),
        ("shop", "preference.reset", "recipient:bob"),
        ("shop", "inbox.seen", "recipient:bob"),
        ("shop", "inbox.read", "recipient:bob"),
        ("shop", "inbox.archive", "recipient:bob"),
        ("shop", "unsubscribe", "recipient:bob"),
    ]
    by_shop = (await office.all.get("/v1/audit?who=shop&what=publish")).body["items"]
    assert [(line["detail"], line["target"]) for line in by_shop] == [({"reason": "mention"}, f"event:{event}")]


async def test_what_is_refused_or_only_looked_at_is_not_in_it(office: Office) -> None:
    await office.all.post("/v1/events", {"reason": "nope", "to": ["bob"]})
    await office.all.put("/v1/recipients", {"recipients": [person("bob", zone="Mars")]})
    await office.all.put("/v1/recipients/bob/preferences/nope", {"frequency": "daily"})
    await office.all.get("/v1/recipients/bob")
    assert await office.audited() == []


# Health ---------------------------------------------------------------------------------------------------------------


async def test_it_lives_and_is_ready(office: Office) -> None:
    assert (
        (await office.stranger.get("/healthz")).body == (await office.stranger.get("/readyz")).body == {"status": "ok"}
    )
    await office.world.execute("delete from hark.migration where name = '0008_keys'")
    behind = await office.stranger.get("/readyz")
    assert (behind.status, behind.body["type"]) == (503, "urn:hark:unreachable")
    assert "0008_keys" in behind.body["detail"]
    assert behind.headers["retry-after"]


# Its description ------------------------------------------------------------------------------------------------------


NOT_HERE = ("urn:hark:unknown-reason", "urn:hark:not-now")
"""What an example may meet that is well formed: another catalogue, and a flag at another version."""


async def test_each_example_of_the_description_can_be_sent(office: Office) -> None:
    whole = (await office.stranger.get("/openapi.json")).body
    tried = 0
    for path, methods in whole["paths"].items():
        for method, operation in methods.items():
            sent = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            for example in sent.get("examples", []):
                known = path.format(recipient="bob", reason="comment", number=1, flag="history-live", segment="beta")
                answer = await office.all.call(method.upper(), known, example)
                assert answer.status in (200, 201, 202) or answer.body["type"] in NOT_HERE, answer.body
                tried += 1
    assert tried == 22


async def test_the_description_refers_to_nothing_that_it_does_not_have(office: Office) -> None:
    whole = (await office.stranger.get("/openapi.json")).body
    used = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(whole)))
    assert {ref.removeprefix("#/components/schemas/") for ref in used} <= set(whole["components"]["schemas"])
    assert "#/components/schemas/Problem" in used
