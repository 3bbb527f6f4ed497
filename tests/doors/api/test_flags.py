"""Flags over HTTP, told by what their callers see."""

from __future__ import annotations

from hark.access.keys import Scope
from tests.doors.api.callers import Office


async def made(office: Office) -> None:
    assert (await office.all.post("/v1/flags", {"name": "live"})).status == 201
    assert (await office.all.put("/v1/flags/live/segments/beta", {"ids": ["bob", "carol"]})).status == 200


async def lets_in(office: Office, user: str) -> tuple[bool, str | None]:
    (verdict,) = (await office.all.get(f"/v1/recipients/{user}/flags")).body["verdicts"]
    return verdict["because"] in ("enrolled", "segment"), verdict["segment"]


async def test_a_flag_is_made_changed_and_looked_at(office: Office) -> None:
    await made(office)
    assert await lets_in(office, "bob") == (True, "beta")
    changed = await office.all.post("/v1/flags/live/segments/beta/members", {"remove": ["bob"]})
    assert (changed.body["version"], changed.body["members"], changed.body["gone"]) == (3, 1, 1)
    assert await lets_in(office, "bob") == (False, None)
    assert (await office.all.put("/v1/flags/live/segments/some", {"rollout": 12.5})).body["version"] == 4
    assert (await office.all.put("/v1/flags/live/segments/staff", {"internal": ["@acme.example"]})).status == 200
    shown = (await office.all.get("/v1/flags/live")).body
    assert [(each["name"], each["kind"], each["share"]) for each in shown["segments"]] == [
        ("beta", "ids", None),
        ("some", "rollout", 12_500),
        ("staff", "internal", None),
    ]
    page = (await office.all.get("/v1/flags/live/members?limit=1")).body
    assert ([each["user_id"] for each in page["items"]], page["next"]) == (["carol"], "carol")
    assert (await office.all.delete("/v1/flags/live/segments/some", {"forget": True})).status == 200
    assert [each["name"] for each in (await office.all.get("/v1/flags?segment=staff")).body["items"]] == ["live"]


async def test_who_is_enrolled_is_let_in_and_waits_for_a_load(office: Office) -> None:
    await made(office)
    caller = await office.caller("shop", Scope.FLAGS)
    asked = {"flag": "live", "user_ids": ["dora", "dora"]}
    assert (await caller.post("/v1/enroll", asked)).body == {"flag": "live", "version": 3, "changed": 1}
    assert (await caller.post("/v1/enroll", asked)).body == {"flag": "live", "version": 3, "changed": 0}
    assert await lets_in(office, "dora") == (True, None)
    (row,) = await office.world.rows("select user_id, version, asked_by, backfill_id from hark.load_asked")
    assert tuple(row) == ("dora", 3, "shop", None)
    assert (await caller.delete("/v1/enroll", asked)).body["changed"] == 1
    assert await lets_in(office, "dora") == (False, None)
    assert [line for line in await office.audited() if line[0] == "shop"] == [
        ("shop", "enrol", "flag:live"),
        ("shop", "withdraw", "flag:live"),
    ]


async def test_nobody_is_enrolled_by_a_flag_that_is_off(office: Office) -> None:
    await made(office)
    await office.all.put("/v1/flags/live", {"on": False})
    refused = await office.all.post("/v1/enroll", {"flag": "live", "user_ids": ["dora"]})
    assert (refused.status, refused.body["type"]) == (422, "urn:hark:bad-input")
    assert refused.faults == [("body.flag", "live is off and lets nobody in; turn it on: hark flags on live")]
    assert await office.world.rows("select from hark.load_asked") == []


async def test_a_version_that_is_gone_is_a_conflict(office: Office) -> None:
    await made(office)
    late = await office.all.put("/v1/flags/live", {"on": False, "if_version": 1})
    assert (late.status, late.body["type"]) == (409, "urn:hark:not-now")
    assert "at version 2, not 1" in late.body["detail"]
    assert (await office.all.put("/v1/flags/live", {"on": False, "if_version": 2})).body["version"] == 3


async def test_what_is_not_there_is_not_found(office: Office) -> None:
    await made(office)
    for method, path, body in (
        ("GET", "/v1/flags/lvie", None),
        ("PUT", "/v1/flags/lvie", {"on": True}),
        ("GET", "/v1/flags/live/segments/bet/members", None),
        ("POST", "/v1/flags/live/segments/bet/members", {"add": ["bob"]}),
        ("DELETE", "/v1/flags/live/segments/bet", None),
    ):
        answer = await office.all.call(method, path, body)
        assert (answer.status, answer.body["type"]) == (404, "urn:hark:not-found"), path


async def test_what_is_wrong_is_refused(office: Office) -> None:
    await made(office)
    for path, body, said in (
        ("/v1/flags/live/segments/x", {"ids": ["a"], "rollout": 5}, "has several of ids, url, internal and rollout"),
        ("/v1/flags/live/segments/x", {"column": "id"}, "has column or format, which are of an object"),
        ("/v1/flags/live/segments/x", {"rollout": 0.00001}, "is too fine"),
        ("/v1/flags/live/segments/x", {"rollout": 101}, "expected at most 100"),
        ("/v1/flags/live/segments/x", {"internal": ["@"]}, "is no domain"),
        ("/v1/flags/live/segments/x", {"url": "s3://flags/x.csv"}, "object_stores allows nothing"),
        ("/v1/flags/live/segments/x", {"url": "/etc/passwd"}, "only the command line may read one"),
        ("/v1/flags/live/segments/x", {}, "there is no segment"),
    ):
        refused = await office.all.put(path, body)
        assert refused.status == 422 and any(said in what for _, what in refused.faults), (body, refused.body)
    nope = await office.all.post("/v1/enroll", {"flag": "nope", "user_ids": ["bob"]})
    assert (nope.status, [where for where, _ in nope.faults]) == (422, ["body.flag"])
    assert (await office.all.get("/v1/flags/live")).body["flag"]["version"] == 2
