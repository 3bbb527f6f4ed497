"""Backfills over real HTTP, from `hark serve`: planned, approved and applied by its worker, verified and undone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from tests.doors.commands import Desk
from tests.doors.test_backfill import PEOPLE, having_push
from tests.doors.test_serve import Served, serving
from tests.servers import eventually

ASKED = {
    "reasons": ["app_shared"],
    "channels": ["push"],
    "user_types": ["Students"],
    "cohort": {"everyone": True, "except_ids": ["u0900", "u0899,u0898"]},
    "batch_size": 100,
}


@dataclass(frozen=True, slots=True)
class Operator:
    """Someone with a key for backfills."""

    served: Served
    key: str

    def call(self, method: str, path: str, body: object = None) -> httpx2.Response:
        """Call."""
        given = {} if body is None else {"json": body}
        headers = {"Authorization": f"Bearer {self.key}"}
        return self.served.client.request(method, f"/admin/backfill{path}", headers=headers, **given)

    def shown(self, number: int) -> Any:
        """One backfill."""
        return self.call("GET", f"/{number}").json()

    def asked(self, **more: object) -> int:
        """A backfill that is asked for; its number."""
        made = self.call("POST", "", {**ASKED, **more})
        assert made.status_code == 202, made.text
        assert made.json()["head"]["state"] in ("PLANNING", "PLANNED")
        return int(made.json()["head"]["id"])

    def waits_for(self, number: int, state: str) -> Any:
        """It as it is in this state."""
        eventually(lambda: self.shown(number)["head"]["state"] == state, f"backfill {number} is {state}")
        return self.shown(number)


@dataclass(frozen=True, slots=True)
class Campus:
    """A desk with 900 students, a `hark serve`, and two operators."""

    desk: Desk
    ann: Operator
    ben: Operator


@pytest.fixture
def campus(desk: Desk) -> Iterator[Campus]:
    desk.execute(PEOPLE)
    desk.write("hark.toml", (desk.directory / "hark.toml").read_text() + "\n[backfills]\napproval_over = 10\n")
    keys = [desk.hark("keys", "create", name, "--scopes", "backfill,audit").out.strip() for name in ("ann", "ben")]
    with serving(desk) as served:
        yield Campus(desk, *(Operator(served, key) for key in keys))


def test_planned_approved_by_another_applied_verified_and_undone(campus: Campus) -> None:
    ann, ben = campus.ann, campus.ben
    number = ann.asked()
    planned = ann.waits_for(number, "PLANNED")
    assert (planned["totals"]["to_change"], planned["cohort"]["members"], planned["needs_approval"]) == (899, 899, True)
    assert [(each["outcome"], each["users"]) for each in planned["counts"]] == [("append", 899)]
    assert planned["cohort"]["unknown"] == 0
    eventually(lambda: ann.shown(number)["estimate"] is not None, "it was rehearsed")
    assert having_push(campus.desk) == 0

    assert ann.call("POST", f"/{number}/apply").status_code == 409
    own = ann.call("POST", f"/{number}/approve")
    assert (own.status_code, own.json()["type"]) == (403, "urn:hark:no-scope")
    assert ben.call("POST", f"/{number}/approve").json()["head"]["approved_by"] == "ben"
    assert ann.call("POST", f"/{number}/apply", {"hash": "other"}).status_code == 409
    assert ann.call("POST", f"/{number}/apply", {"hash": planned["head"]["hash"]}).status_code == 202
    assert ann.waits_for(number, "APPLIED")["totals"]["applied"] == having_push(campus.desk) == 899

    verified = ben.call("POST", f"/{number}/verify").json()
    assert (verified["good"], verified["compared"], verified["holding"]) == (True, 899, 899)
    undoing = ben.call("POST", f"/{number}/undo")
    assert undoing.status_code == 202
    back = undoing.json()["head"]["id"]
    ben.waits_for(back, "PLANNED")
    ann.call("POST", f"/{back}/approve")
    ben.call("POST", f"/{back}/apply")
    ben.waits_for(back, "APPLIED")
    assert having_push(campus.desk) == 0
    assert ben.shown(number)["head"]["undone_by"] == [back]

    log = campus.desk.hark("keys", "audit", "--json").objects
    done = [(line["who"], line["what"]) for line in reversed(log) if line["what"].startswith("backfill.")]
    assert done == [
        ("ann", "backfill.create"),
        ("ann", "backfill.apply"),
        ("ann", "backfill.approve"),
        ("ben", "backfill.approve"),
        ("ann", "backfill.apply"),
        ("ann", "backfill.apply"),
        ("ben", "backfill.verify"),
        ("ben", "backfill.undo"),
        ("ann", "backfill.approve"),
        ("ben", "backfill.apply"),
    ]

    campus.desk.hark("backfill", "forget", str(number), "--apply")
    refused = ben.call("GET", f"/{number}/failures")
    assert (refused.status_code, "was forgotten" in refused.json()["detail"]) == (409, True)


def test_all_that_is_wrong_is_told_before_anything_is_kept(campus: Campus) -> None:
    wrong = {"reasons": ["app_shard"], "user_types": ["Student"], "window": "8-9"}
    faults = campus.ann.call("POST", "", {**ASKED, **wrong, "cohort": {"everyone": True, "ids": ["u0001"]}}).json()
    said = {fault["where"]: fault["what"] for fault in faults["faults"]}
    assert said["body.reasons"] == '"app_shard": no such reason; did you mean app_shared?'
    assert said["body.user_types"] == '"Student": no such user type; did you mean Students?'
    assert said["body.cohort"].startswith("everyone is everybody already")
    assert "is not a time of day" in said["body.window"]
    assert campus.ann.call("POST", "", {**ASKED, "cohort": {"except_ids": ["u0001"]}}).status_code == 422
    assert campus.desk.ask("select count(*) from hark.backfill") == 0


def test_files_of_the_server_and_of_others_are_not_read(campus: Campus) -> None:
    for url in ("/etc/passwd", "people.csv", "file:///etc/passwd", "s3://theirs/ids.csv", "http://x/"):
        for where, cohort in (("urls", {}), ("except_urls", {"everyone": True})):
            refused = campus.ann.call("POST", "", {**ASKED, "cohort": {**cohort, where: [url]}})
            assert refused.status_code == 422, url
            assert refused.json()["faults"][0]["where"] == f"body.cohort.{where}[0]", url
    assert campus.desk.ask("select count(*) from hark.backfill") == 0


def test_a_segment_that_is_not_there_is_refused_at_once(campus: Campus) -> None:
    refused = campus.ann.call("POST", "", {**ASKED, "cohort": {"segments": ["beta"]}})
    assert refused.status_code == 422
    said = {"where": "body.cohort.segments[0]", "what": '"beta": no such segment; there is none'}
    assert refused.json()["faults"] == [said]
    assert campus.desk.ask("select count(*) from hark.backfill") == 0


def test_all_are_held_and_let_go_on(campus: Campus) -> None:
    number = campus.ann.asked(cohort={"ids": ["u0001", "u0002"]})
    campus.ann.waits_for(number, "PLANNED")
    assert campus.ben.call("POST", "/stop-all", {"stopped": True}).json() == {"stopped": True, "turned": True}
    assert campus.ben.call("POST", "/stop-all", {"stopped": True}).json() == {"stopped": True, "turned": False}
    campus.ann.call("POST", f"/{number}/apply")
    assert campus.ann.shown(number)["totals"]["applied"] == 0
    assert campus.ben.call("POST", "/stop-all", {"stopped": False}).json() == {"stopped": False, "turned": True}
    assert campus.ann.waits_for(number, "APPLIED")["totals"]["applied"] == 2
    assert having_push(campus.desk) == 2


def test_its_pace_is_changed_and_what_is_wrong_with_it_refused(campus: Campus) -> None:
    number = campus.ann.asked()
    campus.ann.waits_for(number, "PLANNED")
    done = campus.ann.call("POST", f"/{number}/speed", {"rate": 50, "window": "20:00-06:00 Europe/Berlin"}).json()
    assert (done["head"]["rate"], done["head"]["window"]) == (50, "20:00-06:00 Europe/Berlin")
    faster = campus.ann.call("POST", f"/{number}/speed", {"rate": 80}).json()
    assert (faster["head"]["rate"], faster["head"]["window"]) == (80, "20:00-06:00 Europe/Berlin")
    assert campus.ann.call("POST", f"/{number}/speed", {"window": "8-9"}).status_code == 422
    assert campus.ann.call("POST", f"/{number}/pause").status_code == 409
    assert campus.ann.call("POST", f"/{number}/cancel").json()["head"]["state"] == "CANCELED"
    assert campus.ann.call("GET", f"/{number}/failures").json() == {"items": [], "next": None}
