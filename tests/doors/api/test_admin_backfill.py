"""Backfills over HTTP: what is asked reaches the engine, what it refuses is a conflict, and all of it is audited."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from hark.access import keys
from hark.access.keys import Scope
from hark.backfill.cohort import FileReach
from hark.config import Settings
from hark.doors.api import build_api
from hark.doors.api.backfills import CohortAsked, PaceAsked
from hark.doors.api.engine import Engine
from hark.flags import Author, create
from hark.history.live.lag import LagReport
from tests.doors.api.callers import Caller, Office
from tests.world import World

ASKED = {"reasons": ["comment"], "channels": ["email"], "user_types": ["Students"], "cohort": {"ids": ["bob"]}}
VERBS = ("approve", "apply", "pause", "resume", "cancel", "speed", "retry", "verify", "undo")


@asynccontextmanager
async def in_earnest(world: World, engine: Engine | None = None) -> AsyncIterator[Caller]:
    """Somebody at the door to the engine itself."""
    engine = engine or Engine(world.database, world.catalogue, world.clock, FileReach())
    app = build_api(world.database, world.catalogue, Settings(), world.clock, engine)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://hark.example") as client:
        new = await keys.create(world.database, "ann", [Scope.BACKFILL], world.clock.now())
        yield Caller(client, new.key)


async def planned(caller: Caller, **more: object) -> int:
    made = await caller.post("/admin/backfill", {**ASKED, **more})
    assert made.status == 202
    return int(made.body["head"]["id"])


async def test_what_is_asked_reaches_the_engine(office: Office) -> None:
    cohort = {"urls": ["s3://cohorts/a.csv"], "except_segments": ["left"], "column": "user"}
    await planned(office.all, cohort=cohort, rate=500, adaptive=False, window="20:00-06:00", batch_size=50)
    (asked,) = office.engine.asked
    assert asked.pace == PaceAsked(500, False, "20:00-06:00")
    assert asked.cohort == CohortAsked(False, (), ("s3://cohorts/a.csv",), (), (), (), (), ("left",), "user", None)
    assert (asked.reasons, asked.channels, asked.user_types) == (("comment",), ("email",), ("Students",))
    assert (asked.batch_size, asked.create_rows) == (50, False)


async def test_it_is_planned_approved_by_another_applied_and_steered(office: Office) -> None:
    ann, ben = await office.caller("ann", Scope.BACKFILL), await office.caller("ben", Scope.BACKFILL)
    number = await planned(ann)
    own = await ann.post(f"/admin/backfill/{number}/approve", None)
    assert own.status == 403
    assert "another one must approve it" in own.body["detail"]
    states = []
    for caller, verb in ((ben, "approve"), (ann, "apply"), (ben, "pause"), (ann, "resume"), (ben, "cancel")):
        states.append((await caller.post(f"/admin/backfill/{number}/{verb}", None)).body["head"]["state"])
    assert states == ["APPROVED", "APPLYING", "PAUSED", "APPLYING", "CANCELED"]
    assert (await ann.get(f"/admin/backfill/{number}")).body["head"]["created_by"] == "ann"


async def test_only_the_plan_that_was_looked_at_is_applied(office: Office) -> None:
    number = await planned(office.all)
    other = await office.all.post(f"/admin/backfill/{number}/apply", {"hash": "xyz"})
    assert (other.status, other.body["type"], other.body["detail"]) == (409, "urn:hark:not-now", "another plan")
    assert (await office.all.post(f"/admin/backfill/{number}/apply", {"hash": "abc"})).status == 202


async def test_what_cannot_be_done_now_is_a_conflict(office: Office) -> None:
    number = await planned(office.all)
    refused = await office.all.post(f"/admin/backfill/{number}/resume", None)
    assert (refused.status, refused.body["detail"]) == (409, f"backfill {number} is PLANNED")


async def test_of_its_speed_what_is_left_out_stays_and_null_clears(office: Office) -> None:
    number = await planned(office.all, rate=500, window="20:00-06:00")
    done = await office.all.post(f"/admin/backfill/{number}/speed", {"rate": 50.5})
    head = done.body["head"]
    assert (head["rate"], head["adaptive"], head["window"]) == (50.5, True, "20:00-06:00")
    done = await office.all.post(f"/admin/backfill/{number}/speed", {"window": None, "rate": None, "adaptive": False})
    head = done.body["head"]
    assert (head["rate"], head["adaptive"], head["window"]) == (None, False, None)
    refused = await office.all.post(f"/admin/backfill/{number}/speed", {"window": "never"})
    assert (refused.status, refused.body["detail"]) == (422, "'never' is not a window; write 20:00-06:00")


async def test_it_is_verified_and_undone(office: Office) -> None:
    number = await planned(office.all)
    found = (await office.all.post(f"/admin/backfill/{number}/verify", None)).body
    assert (found["good"], found["astray"][0]["recipient_id"]) == (True, "bob")
    undoing = (await office.all.post(f"/admin/backfill/{number}/undo", None)).body["head"]
    assert (undoing["undoes"], undoing["id"]) == (number, number + 1)


async def test_failures_and_backfills_come_in_pages(office: Office) -> None:
    numbers = [await planned(office.all) for _ in range(3)]
    page = (await office.all.get("/admin/backfill?limit=2")).body
    rest = (await office.all.get(f"/admin/backfill?limit=2&before={page['next']}")).body
    assert [each["id"] for each in [*page["items"], *rest["items"]]] == numbers[::-1]
    failed = (await office.all.get(f"/admin/backfill/{numbers[0]}/failures?limit=2")).body
    more = (await office.all.get(f"/admin/backfill/{numbers[0]}/failures?after={failed['next']}")).body
    assert [each["recipient_id"] for each in [*failed["items"], *more["items"]]] == ["bob", "carol", "dora"]


async def test_for_whom_it_does_not_hold_comes_in_pages(office: Office) -> None:
    number = await planned(office.all)
    path = f"/admin/backfill/{number}/astray"
    page = (await office.all.get(f"{path}?limit=2")).body
    rest = (await office.all.get(f"{path}?limit=2&after={page['next']}")).body
    assert [each["recipient_id"] for each in [*page["items"], *rest["items"]]] == ["bob", "carol", "dora"]
    assert rest["next"] is None
    lost = (await office.all.get(f"{path}?unexplained=true")).body["items"]
    assert lost == [{"recipient_id": "carol", "explained": False, "why": "chose otherwise"}]
    assert (await office.all.call("POST", f"/admin/backfill/{number}/verify?limit=0")).status == 422
    found = (await office.all.call("POST", f"/admin/backfill/{number}/verify?limit=1")).body
    assert len(found["astray"]) == 1
    await office.all.post(f"/admin/backfill/{number}/apply", None)
    refused = await office.all.get(path)
    assert (refused.status, refused.body["type"]) == (409, "urn:hark:not-now")
    assert (await office.all.get("/admin/backfill/77/astray")).status == 404


@pytest.mark.parametrize("verb", VERBS)
async def test_one_that_is_not_there_is_not_found(verb: str, office: Office) -> None:
    body = {"rate": 1} if verb == "speed" else None
    assert (await office.all.post(f"/admin/backfill/77/{verb}", body)).status == 404
    assert (await office.all.get("/admin/backfill/77/failures")).status == 404


async def test_all_that_is_wrong_is_told_at_once(office: Office) -> None:
    wrong = {"reasons": [], "chanels": ["email"], "user_types": "Students", "cohort": {"id": ["bob"]}, "rate": 0}
    refused = await office.all.post("/admin/backfill", {**wrong, "batch_size": 0})
    assert [where for where, _ in refused.faults] == [
        "body.rate",
        "body.reasons",
        "body.channels",
        "body.user_types",
        "body.cohort.id",
        "body.batch_size",
        "body.chanels",
    ]
    assert ("body.cohort.id", "no such field; did you mean ids?") in refused.faults
    refused = await office.all.post("/admin/backfill", {**ASKED, "reasons": ["nope"]})
    assert refused.faults == [("body.reasons", '"nope": no such reason'), ("body.channels", "none")]


async def test_what_the_catalogue_does_not_know_is_told_with_what_is_no_body(world: World) -> None:
    wrong = {
        "reasons": ["coment"],
        "channels": ["sms", "push", "push"],
        "user_types": ["students"],
        "cohort": {"segments": ["nope"]},
        "rate": 0,
        "window": "25:00-26:00",
        "batch_size": -1,
        "zzz": 1,
    }
    async with in_earnest(world) as caller:
        refused = await caller.post("/admin/backfill", wrong)
        assert refused.status == 422
        assert sorted(refused.faults) == [
            ("body.batch_size", "is -1, expected at least 1"),
            ("body.channels", '"push" is named twice'),
            ("body.channels", '"sms": no such channel; there is email, in_app, push'),
            ("body.cohort.segments[0]", '"nope": no such segment; there is none'),
            ("body.rate", "is 0, expected at least 0.001"),
            ("body.reasons", '"coment": no such reason; did you mean comment?'),
            ("body.user_types", '"students": no such user type; did you mean Students?'),
            ("body.window", '"25:00" is not a time of day; write 08:00'),
            ("body.window", '"26:00" is not a time of day; write 08:00'),
            ("body.zzz", next(what for where, what in refused.faults if where == "body.zzz")),
        ]
        sound = {**wrong, "rate": 1, "batch_size": 1, "cohort": {"ids": ["bob"]}}
        sound.pop("zzz")
        refused = await caller.post("/admin/backfill", sound)
        names = {"body.channels", "body.reasons", "body.user_types", "body.window"}
        assert {where for where, _ in refused.faults} == names


async def test_of_what_is_no_body_only_the_rest_is_looked_at(world: World) -> None:
    async with in_earnest(world) as caller:
        refused = await caller.post("/admin/backfill", {"reasons": ["coment", 5], "channels": [], "cohort": {"id": 1}})
        assert sorted(refused.faults) == [
            ("body.channels", "has 0 of them, expected at least 1"),
            ("body.cohort.id", "no such field; did you mean ids?"),
            ("body.reasons", '"coment": no such reason; did you mean comment?'),
            ("body.reasons[1]", "is 5, expected a text"),
            ("body.user_types", "is missing"),
        ]


@pytest.mark.parametrize("slip", [{"segment": ["beta"]}, {"ids": [5]}, {"format": 5}])
async def test_segments_that_are_missing_are_told_beside_a_slip_in_the_cohort(
    slip: dict[str, object], world: World
) -> None:
    cohort = {"segments": ["nope"], "except_segments": ["no"], **slip}
    async with in_earnest(world) as caller:
        refused = await caller.post("/admin/backfill", {**ASKED, "cohort": cohort})
    told = {where for where, _ in refused.faults}
    (name,) = slip
    assert any(where.startswith(f"body.cohort.{name}") for where in told)
    assert told >= {"body.cohort.segments[0]", "body.cohort.except_segments[0]"}


@pytest.mark.parametrize(("cohort", "said"), [(None, "null"), (["bob"], "a list"), (5, "5")])
async def test_a_cohort_that_is_no_object_is_named_and_no_content_type_asked_for(
    cohort: object, said: str, office: Office
) -> None:
    refused = await office.all.post("/admin/backfill", {**ASKED, "cohort": cohort})
    assert refused.faults == [("body.cohort", f"is {said}, expected an object")]


OUTSIDE = "may not be read: object_stores allows nothing; add its place to that setting"


@pytest.mark.parametrize("slip", [{}, {"rate": 0}, {"batch_size": "many"}])
async def test_all_that_is_wrong_with_a_cohort_is_told_at_once_each_at_its_place(
    slip: dict[str, object], world: World
) -> None:
    cohort = {
        "ids": ["bob", "a\u0001b"],
        "segments": ["nope"],
        "flags": ["nof"],
        "urls": ["gs://bad/x", "file:///etc/passwd", "nourl"],
        "except_ids": ["d\n"],
        "except_segments": ["nope"],
        "column": "x",
        "format": "xls",
    }
    async with in_earnest(world) as caller:
        refused = await caller.post("/admin/backfill", {**ASKED, "cohort": cohort, **slip})
        told = [each for each in refused.faults if each[0].startswith("body.cohort")]
        assert {each[0] for each in refused.faults if each not in told} == {f"body.{name}" for name in slip}
        assert told == [
            ("body.cohort.ids[1]", '"a\\u0001b" has a control character'),
            ("body.cohort.urls[0]", f'"gs://bad/x" {OUTSIDE}'),
            ("body.cohort.urls[1]", f'"file:///etc/passwd" {OUTSIDE}'),
            ("body.cohort.urls[2]", '"nourl" is a path, and only the command line may read one; write s3://bucket/key'),
            ("body.cohort.except_ids[0]", '"d\\n" has a control character'),
            ("body.cohort.format", '"xls": no such format; there is csv, lines, parquet'),
            ("body.cohort.segments[0]", '"nope": no such segment; there is none'),
            ("body.cohort.except_segments[0]", '"nope": no such segment; there is none'),
            ("body.cohort.flags[0]", '"nof": no such flag; there is none'),
        ]


async def test_everyone_and_some_and_how_to_read_nothing_are_told_at_once(world: World) -> None:
    cohort = {"everyone": True, "segments": ["nope"], "column": "x", "format": "xls"}
    async with in_earnest(world) as caller:
        refused = await caller.post("/admin/backfill", {**ASKED, "cohort": cohort, "reasons": ["coment"]})
        assert [where for where, _ in refused.faults] == [
            "body.reasons",
            "body.cohort",
            "body.cohort.column",
            "body.cohort.format",
            "body.cohort.format",
            "body.cohort.segments[0]",
        ]
        nobody = await caller.post("/admin/backfill", {**ASKED, "cohort": {"except_ids": ["bob"]}})
        assert nobody.faults == [("body.cohort", "say whose: ids, urls, segments, flags, or everyone: true")]


async def test_of_whom_a_load_is_all_faults_are_told_each_at_its_place(world: World) -> None:
    async with in_earnest(world) as caller:
        refused = await caller.post("/admin/backfill", {"user_ids": ["bob", "a\u0001b"], "rate_limit": 900})
        assert [where for where, _ in refused.faults] == ["body.user_ids[1]", "body.rate_limit"]
        refused = await caller.post("/admin/backfill", {"s3_uri": "s3://mine/x"})
        assert refused.faults == [("body.s3_uri", f'"s3://mine/x" {OUTSIDE}')]


async def test_all_that_is_wrong_with_a_change_of_pace_is_told_at_once(office: Office) -> None:
    number = await planned(office.all)
    refused = await office.all.post(f"/admin/backfill/{number}/speed", {"rate": -5, "window": "x", "foo": 1})
    assert {where for where, _ in refused.faults} == {"body.rate", "body.window", "body.foo"}
    refused = await office.all.post(f"/admin/backfill/{number}/speed", {"rate": -5, "window": "20:00-06:00"})
    assert {where for where, _ in refused.faults} == {"body.rate"}


@pytest.mark.parametrize("kind", ["prefs", 5, None])
async def test_of_a_kind_that_is_none_both_kinds_are_named(kind: object, office: Office) -> None:
    refused = await office.all.post("/admin/backfill", {**ASKED, "kind": kind})
    assert dict(refused.faults)["body.kind"].endswith("is no kind of backfill; there is preferences and history")


async def test_who_did_what_is_audited_also_what_was_refused(office: Office) -> None:
    ann = await office.caller("ann", Scope.BACKFILL)
    number = await planned(ann)
    await ann.post(f"/admin/backfill/{number}/approve", None)
    await ann.post(f"/admin/backfill/{number}/apply", None)
    assert await office.audited() == [
        ("ann", "backfill.create", f"backfill:{number}"),
        ("ann", "backfill.approve", f"backfill:{number}"),
        ("ann", "backfill.apply", f"backfill:{number}"),
    ]


async def test_the_audit_log_tells_what_was_done_from_what_was_refused(office: Office) -> None:
    ann = await office.caller("ann", Scope.BACKFILL)
    number = await planned(ann, cohort={"ids": ["bob", "carol"], "segments": ["beta"]})
    await ann.post("/admin/backfill", {**ASKED, "reasons": ["nope"]})
    await ann.post(f"/admin/backfill/{number}/approve", None)
    await ann.post(f"/admin/backfill/{number}/resume", None)
    await ann.post(f"/admin/backfill/{number}/apply", None)
    log = (await office.all.get("/v1/audit?who=ann")).body["items"][::-1]
    assert log[0]["detail"]["cohort"] == {"ids": 2, "segments": ["beta"]}
    assert [(each["what"], "refused" in each["detail"]) for each in log] == [
        ("backfill.create", False),
        ("backfill.create", True),
        ("backfill.approve", True),
        ("backfill.resume", True),
        ("backfill.apply", False),
    ]
    assert log[3]["detail"] == {"refused": f"backfill {number} is PLANNED"}


async def test_all_are_held_and_who_did_so_is_audited(office: Office) -> None:
    ann = await office.caller("ann", Scope.BACKFILL)
    for stopped, turned in ((True, True), (True, False), (False, True)):
        answer = await ann.post("/admin/backfill/stop-all", {"stopped": stopped})
        assert answer.body == {"stopped": stopped, "turned": turned}
    assert await office.audited() == [("ann", "backfill.stop_all", "all backfills")] * 3
    assert (await ann.post("/admin/backfill/stop-all", {})).status == 422


async def test_loads_are_asked_for_as_they_were(office: Office) -> None:
    for body in (
        {"user_ids": ["bob"], "rate_limit": 10, "lookback_days": 365},
        {"s3_uri": "s3://cohorts/beta.csv"},
        {"source": "neo4j"},
    ):
        assert (await office.all.post("/admin/backfill", body)).status == 202
    named, kept, everyone = office.engine.loads
    assert named.cohort is not None and named.cohort.ids == ("bob",)
    assert kept.cohort is not None and kept.cohort.urls == ("s3://cohorts/beta.csv",)
    assert (everyone.cohort, everyone.everyone, everyone.rate_limit, everyone.lookback_days) == (None, True, 10, 365)


async def test_what_is_wrong_with_a_load_is_told_where_it_is(office: Office) -> None:
    refused = await office.all.post("/admin/backfill", {"user_ids": ["bob"], "rate_limit": 0, "lookbackdays": 3})
    assert {(each["where"], each["what"]) for each in refused.body["faults"]} == {
        ("body.rate_limit", "is 0, expected at least 1"),
        ("body.lookbackdays", "no such field; did you mean lookback_days?"),
    }
    both = await office.all.post("/admin/backfill", {"user_ids": ["bob"], "source": "neo4j"})
    assert both.status == 422 and "one of user_ids, s3_uri and source" in both.body["detail"]
    assert both.faults == [
        ("body", "say whose, by one of user_ids, s3_uri and source, not by user_ids and source at once")
    ]
    nobody = await office.all.post("/admin/backfill", {"rate_limit": 10})
    whose = ("body", "say whose, by one of user_ids, s3_uri and source")
    assert (nobody.status, nobody.faults) == (422, [whose])
    every = await office.all.post(
        "/admin/backfill", {"user_ids": [], "rate_limit": 0, "lookback_days": -1, "x": 1, "kind": "history"}
    )
    assert every.faults[0] == whose
    assert {where for where, _ in every.faults} == {"body", "body.rate_limit", "body.lookback_days", "body.x"}
    twice = await office.all.post("/admin/backfill", {"user_ids": ["bob"], "source": "neo4j", "rate_limit": 0})
    assert [where for where, _ in twice.faults] == ["body", "body.rate_limit"]
    slip = await office.all.post("/admin/backfill", {"source": "mysql", "rate_limit": 0})
    assert {where for where, _ in slip.faults} == {"body.source", "body.rate_limit"}


async def test_a_body_that_names_nothing_is_told_of_both_that_it_may_be(office: Office) -> None:
    refused = await office.all.post("/admin/backfill", {})
    where = [where for where, _ in refused.faults]
    assert where == ["body", "body.reasons", "body.channels", "body.user_types", "body.cohort"]
    assert refused.faults[0][1].startswith("names nothing: a load of purchases says whose, by one of user_ids, s3_uri")
    assert refused.body["detail"].startswith("body names nothing: a load of purchases")
    named = await office.all.post("/admin/backfill", {"kind": "preferences"})
    assert [where for where, _ in named.faults] == where[1:], "that it is no load is said"


async def test_what_has_ended_goes_at_no_speed_and_nothing_is_no_change(world: World) -> None:
    async with in_earnest(world) as caller:
        asked = {**ASKED, "cohort": {"everyone": True}}
        number = (await caller.post("/admin/backfill", asked)).body["job_id"]
        empty = await caller.post(f"/admin/backfill/{number}/speed", {})
        assert (empty.status, empty.faults) == (
            422,
            [("body", "names nothing that is to be different; send rate, adaptive or window")],
        )
        assert (await caller.post(f"/admin/backfill/{number}/cancel", None)).status == 200
        ended = await caller.post(f"/admin/backfill/{number}/speed", {"rate": 5})
        assert (ended.status, ended.body["type"]) == (409, "urn:hark:not-now")
        assert "it has ended" in ended.body["detail"]


BEHIND = "unified-worker-receipts is 7 behind, and nobody is in it (empty): run hark ingest"


def looked_at(world: World, report: LagReport) -> Engine:
    """The engine, and what it finds of the stream."""

    async def lag() -> LagReport:
        return report

    return Engine(world.database, world.catalogue, world.clock, FileReach(), lag=lag)


@pytest.mark.parametrize(
    ("unreachable", "status", "kind"), [(False, 409, "urn:hark:not-now"), (True, 503, "urn:hark:unreachable")]
)
async def test_a_stream_that_is_behind_stops_a_load_unless_that_is_to_be_ignored(
    world: World, unreachable: bool, status: int, kind: str
) -> None:
    engine = looked_at(world, LagReport(True, faults=[BEHIND, "and more"], unreachable=unreachable))
    async with in_earnest(world, engine) as ann:
        refused = await ann.post("/admin/backfill", {"user_ids": ["bob"]})
        assert (refused.status, refused.body["type"]) == (status, kind)
        assert [each["what"] for each in refused.body["faults"]] == [BEHIND, "and more"]
        assert refused.body["detail"].startswith(BEHIND) and '"ignore_lag": true' in refused.body["detail"]
        assert (await ann.get("/admin/backfill")).body["items"] == []
        slip = await ann.post("/admin/backfill", {"user_ids": ["bob"], "rate_limit": 900})
        assert slip.status == 422  # is told before the stream is looked at
        assert (await ann.post("/admin/backfill", {"user_ids": ["bob"], "ignore_lag": True})).status == 202


async def test_a_lag_that_only_grows_is_in_the_answer(world: World) -> None:
    async with in_earnest(world, looked_at(world, LagReport(True, warnings=["it grows"]))) as ann:
        made = await ann.post("/admin/backfill", {"user_ids": ["bob"]})
        assert (made.status, made.body["warnings"]) == (202, ["it grows"])
        assert (await ann.get(f"/admin/backfill/{made.body['job_id']}")).body["warnings"] == []


async def test_a_load_without_a_flag_where_the_stream_goes_by_one_is_warned_of(world: World) -> None:
    engine = Engine(world.database, world.catalogue, world.clock, FileReach(), gate="live")
    async with in_earnest(world, engine) as ann:
        (said,) = (await ann.post("/admin/backfill", {"user_ids": ["bob"]})).body["warnings"]
        assert said.startswith("no flag is named: whom live does not let in") and said.endswith('"flag": "live"')
        await create(world.database, "live", Author("olga", world.clock.now()))
        assert (await ann.post("/admin/backfill", {"user_ids": ["bob"], "flag": "live"})).body["warnings"] == []
