"""Every measurement runs and answers in full, at sizes that say nothing about speed."""

from __future__ import annotations

import asyncio
import json
import math
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from bench.book import Book, Machine, Row
from bench.contest import Question, Rounds, Target, answer, take_turns
from bench.result import Result
from bench.run import SCRIPTS, scripts
from bench.smtp_programs import NotInstalled

from bench import contest, fanout, projection, replay
from hark.history.projection.neo4j_graph import open_graph

TINY = 0.0002
MACHINE = Machine(cores=2, memory_gb=8, postgres="18.6", python="3.11.7")
FASTER = Question("fanout", "How fast?", "rows/s", True, "a loop", "a statement", "Once.")
QUICKER = replace(FASTER, name="poll_idle", unit="ms", higher_is_better=False)


def row(script: str, hark: float = 50.0, **other: Any) -> Row:
    question = replace(FASTER, name=script)
    reached = {"hark": Rounds((hark,)), "peer": Rounds((10.0,)), "limit": Rounds((100.0,))}
    return Row.of(script, answer(question, reached, {"rows": 1000}, **other), MACHINE, scale=1.0, load=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", scripts())
def test_a_script_answers_in_full(name: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(contest, "ROUNDS", 1)
    monkeypatch.setattr(fanout, "READINGS", 3)
    monkeypatch.setattr(projection, "WARM_UP", 0)
    monkeypatch.setattr(replay, "BY_HAND", 100)
    if name in ("projection", "projection_lag"):
        server = _emptied(request.getfixturevalue("graph_url"))
        monkeypatch.setattr(import_module(f"bench.{name}"), "graph_server", lambda **_slow: nullcontext(server))
    try:
        results = import_module(f"bench.{name}").measure(TINY)
    except NotInstalled as lacking:
        pytest.skip(str(lacking))
    assert results[0].name == name
    for result in results:
        assert_whole(result, name)


@dataclass(frozen=True)
class _Server:
    url: str


def _emptied(url: str) -> _Server:
    """The session's Neo4j: to start one for each script takes longer than they do."""

    async def empty() -> None:
        async with open_graph(url) as graph:
            await graph.ask(projection.EMPTY)

    asyncio.run(empty())
    return _Server(url)


def assert_whole(result: Result, script: str) -> None:
    assert result.name.startswith(script)
    assert result.question.endswith("?") and result.unit and result.notes and result.sizes
    figures = {"hark": result.hark, "peer": result.peer, "limit": result.limit}
    for contestant, figure in figures.items():
        if figure is not None:
            low, high = result.spread[contestant]
            assert math.isfinite(figure) and 0 < low <= figure <= high
    assert (result.peer is None) == (result.peer_name == "")
    assert (result.limit is None) == (result.limit_name == "")
    assert result.met is None and not result.target, "no target holds at these sizes"


def test_every_question_has_its_script() -> None:
    assert set(scripts()) <= set(SCRIPTS)


# What is made of the figures ------------------------------------------------------------------------------------------


async def test_contestants_take_turns() -> None:
    seen: list[str] = []

    async def turn(name: str) -> float:
        seen.append(name)
        return float(len(seen))

    reached = await take_turns({"limit": lambda: turn("limit"), "hark": lambda: turn("hark")}, rounds=3)
    assert seen == ["limit", "hark"] * 3
    assert (reached["hark"].median, reached["hark"].spread) == (4.0, (2.0, 6.0))


@pytest.mark.parametrize(
    ("question", "target", "hark", "met", "words"),
    [
        (FASTER, Target(share_of_limit=0.75), 75.0, True, "≥ 0.75 of the limit"),
        (FASTER, Target(share_of_limit=0.75), 74.9, False, "≥ 0.75 of the limit"),
        (QUICKER, Target(share_of_limit=0.5), 200.0, True, "≥ 0.5 of the limit"),
        (FASTER, Target(figure=2500), 2499.0, False, "≥ 2,500 rows/s"),
        (QUICKER, Target(figure=1), 1.0, True, "≤ 1 ms"),
        (QUICKER, Target(figure=1), 1.01, False, "≤ 1 ms"),
    ],
)
def test_a_target_is_met_or_missed(question: Question, target: Target, hark: float, met: bool, words: str) -> None:
    reached = {"hark": Rounds((hark,)), "limit": Rounds((100.0,))}
    result = answer(question, reached, {}, target)
    assert (result.met, result.target) == (met, words)


def test_ratios_say_how_many_times_as_good_whichever_way_is_up() -> None:
    reached = {"hark": Rounds((50.0,)), "peer": Rounds((10.0,)), "limit": Rounds((100.0,))}
    faster, quicker = answer(FASTER, reached, {}), answer(QUICKER, reached, {})
    assert (faster.to_peer, faster.to_limit) == (5.0, 0.5)
    assert (quicker.to_peer, quicker.to_limit) == (0.2, 2.0)


# The book -------------------------------------------------------------------------------------------------------------


def test_measuring_one_script_anew_keeps_the_rows_of_the_others(tmp_path: Path) -> None:
    as_json, as_markdown = tmp_path / "results.json", tmp_path / "RESULTS.md"
    Book().with_rows("claim", [row("claim")]).with_rows("fanout", [row("fanout")]).save(as_json, as_markdown, SCRIPTS)
    Book.load(as_json).with_rows("fanout", [row("fanout", hark=60.0)]).save(as_json, as_markdown, SCRIPTS)
    kept = Book.load(as_json)
    assert [(each.script, each.result.hark) for each in kept.rows] == [("fanout", 60.0), ("claim", 50.0)]
    assert kept.rows[1] == row("claim")


def test_a_row_says_what_was_asked_reached_and_where(tmp_path: Path) -> None:
    as_json, as_markdown = tmp_path / "results.json", tmp_path / "RESULTS.md"
    Book((row("fanout", target=Target(share_of_limit=0.75)),)).save(as_json, as_markdown, SCRIPTS)
    (stored,) = json.loads(as_json.read_text())["rows"]
    assert (stored["result"]["to_peer"], stored["result"]["to_limit"]) == (5.0, 0.5)
    assert stored["machine"] == {"cores": 2, "memory_gb": 8, "postgres": "18.6", "python": "3.11.7"}
    shown = as_markdown.read_text()
    assert "| fanout | rows/s | 50 | 10 | 5.00 | 100 | 0.50 | ≥ 0.75 of the limit: **missed** |" in shown
    assert "2 cores, 8 GB, Postgres 18.6, Python 3.11.7; load before 0.1, scale 1" in shown
