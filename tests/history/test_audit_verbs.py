"""`hark history audit` and `hark history user`, from the command line, on a real graph."""

from __future__ import annotations

import asyncio
import json

import pytest

from hark.doors.cli.exits import ExitCode
from hark.postgres.database import open_database
from tests.doors.commands import Desk, desk, furnished
from tests.history.shopping import Shop, line, order
from tests.history.test_history_verbs import ask, shopped

__all__ = ["desk", "furnished", "shopped"]


def buy(dsn: str, *, by: int) -> None:
    async def bought() -> None:
        async with open_database(dsn, size=1) as database:
            await Shop(database).record(line("r9"), order("o1", user="cid"), by=by)

    asyncio.run(bought())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing moves while these tests look."""
    monkeypatch.setattr("hark.history.audit.walking.PAUSE_S", 0.0)


def test_an_audit_that_is_good_is_kept_and_compared_with_later(shopped: Desk, graph_url: str, quick: None) -> None:
    shopped.hark("history", "rebuild")
    before = shopped.hark("history", "audit", "--save", "before.json", "-o", "report.json", "--json")
    assert (before.code, before.only["severity"], before.only["score"]) == (ExitCode.DONE, "OK", 100.0)
    assert json.loads((shopped.directory / "report.json").read_text()) == before.only
    buy(shopped.dsn, by=12)
    shopped.hark("history", "rebuild")
    after = shopped.hark("history", "audit", "--compare", "before.json", "--json")
    assert after.code == ExitCode.DONE, after.err
    totals = {each["name"]: each for each in after.only["difference"]["totals"]}
    assert totals["PURCHASED"] == {
        "name": "PURCHASED",
        "facts_before": 2,
        "facts_after": 4,
        "held_before": 2,
        "held_after": 4,
        "expected": True,
        "apart": 0,
    }
    assert after.only["difference"]["runs"] == [
        {"run": 0, "facts_before": 2, "facts_after": 2, "alone_before": 2, "alone_after": 2},
        {"run": 12, "facts_before": 0, "facts_after": 2, "alone_before": 0, "alone_after": 2},
    ]
    ask(graph_url, "MATCH (:User {user_id: 'ann'})-[r:PURCHASED]->() DELETE r")
    worse = shopped.hark("history", "audit", "--compare", "before.json")
    assert worse.code == ExitCode.NOT_GOOD
    assert "PURCHASED: facts 2 to 4; graph 2 to 2: NOT what the facts grew by" in worse.out
    assert "missing edge: OK (0) before, CRITICAL (2) now" in worse.out
    assert "run 12: +2 facts, +2 alone" in worse.out
    assert "missing edge: ann: PURCHASED receipt:r1:1: the facts have it" in worse.out


def test_a_baseline_that_was_made_while_things_moved_is_no_false_alarm(
    shopped: Desk, graph_url: str, quick: None
) -> None:
    shopped.hark("history", "rebuild")
    buy(shopped.dsn, by=12)  # not projected yet: the facts are ahead of the graph
    moving = shopped.hark("history", "audit", "--save", "before.json", "--json")
    assert moving.only["facts"]["PURCHASED"] - moving.only["held"]["PURCHASED"] == 2
    shopped.hark("history", "rebuild")
    rest = shopped.hark("history", "audit", "--compare", "before.json")
    assert rest.code == ExitCode.DONE, rest.out
    assert "NOT what the facts grew by" not in rest.out
    buy(shopped.dsn, by=13)
    beside = shopped.hark("history", "audit", "--compare", "before.json", "--json")
    assert beside.code == ExitCode.DONE
    assert beside.only["difference"]["moved"] is True
    ask(graph_url, "MATCH (:User {user_id: 'bob'})-[r:PURCHASED]->() DELETE r")
    worse = shopped.hark("history", "audit", "--compare", "before.json")
    assert worse.code == ExitCode.NOT_GOOD
    assert "missing edge: OK (0) before, CRITICAL (1) now" in worse.out


def test_a_users_certificate(shopped: Desk, graph_url: str, quick: None) -> None:
    shopped.hark("history", "rebuild")
    good = shopped.hark("history", "user", "ann")
    assert good.code == ExitCode.DONE
    assert good.out.splitlines() == [
        "ann: facts and graph agree",
        "  versions  facts 1; the graph holds 1, and 1 is marked",
        "  facts     1 purchases in 0 categories, 1 stores, 129 EUR (minor units);"
        " 1 facts in all, 0 deleted, 0 before the window",
        "  graph     1 purchases in 0 categories, 1 stores, 129 EUR (minor units)",
        "  said by   live 1",
        "  sources   not asked",
    ]
    ask(graph_url, "MATCH (:User {user_id: 'ann'})-[r:SHOPS_AT]->() SET r.count = 7")
    bad = shopped.hark("history", "user", "ann", "--json")
    assert (bad.code, bad.only["standing"]) == (ExitCode.NOT_GOOD, "differs")
    assert bad.only["findings"] == [
        {"check": "wrong total", "id": "ann", "cause": "SHOPS_AT north: count is 7 in the graph, 1 by the facts"}
    ]
    ask(graph_url, "CREATE (:User {user_id: 'eve'})")
    assert shopped.hark("history", "user", "eve", "--json").only["standing"] == "differs"
    assert shopped.hark("history", "user", "nobody").out.startswith("nobody: neither facts nor graph know them")


def test_who_is_on_their_way(shopped: Desk, quick: None) -> None:
    waiting = shopped.hark("history", "user", "ann", "--json")
    assert (waiting.code, waiting.only["standing"]) == (ExitCode.NOT_GOOD, "waiting")
    assert shopped.hark("history", "audit").code == ExitCode.DONE


def test_without_a_graph(desk: Desk) -> None:
    buy(desk.dsn, by=3)
    ran = desk.hark("history", "audit")
    assert ran.code == ExitCode.DONE
    assert "no graph is set: only what can be seen in Postgres was looked at" in ran.out
    assert desk.hark("history", "user", "ann").out.startswith("ann: known by facts; there is no graph")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--sample", "some"), "--sample some: is neither a whole number nor all; write --sample 100"),
        (("--sample", "10"), "--sample 10: no source is set to be asked: set HARK_PURCHASE_URL or HARK_SHOP_URL"),
        (("--compare", "none.json"), "none.json: No such file or directory; --compare takes a file that --save wrote"),
        (("--compare", "hark.toml"), "hark.toml: it: Invalid JSON"),
        (("--save", "no/where.json"), "no/where.json cannot be written"),
    ],
)
def test_bad_input_is_said(desk: Desk, words: tuple[str, str], says: str) -> None:
    ran = desk.hark("history", "audit", *words)
    assert ran.code == ExitCode.BAD_INPUT
    assert ran.err.startswith(says)


def test_a_baseline_of_another_format_is_none(desk: Desk) -> None:
    desk.hark("history", "audit", "--save", "before.json")
    text = (desk.directory / "before.json").read_text().replace("hark-history-audit/1", "mine/7")
    desk.write("other.json", text)
    ran = desk.hark("history", "audit", "--compare", "other.json")
    assert ran.code == ExitCode.BAD_INPUT
    assert "its format is 'mine/7', not 'hark-history-audit/1'" in ran.err
