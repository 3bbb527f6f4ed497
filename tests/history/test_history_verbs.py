"""`hark history`: the graph made ready and written anew, from the command line."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hark.doors.cli.exits import ExitCode
from hark.doors.cli.verbs import history
from hark.errors import GraphRefused
from hark.history.projection import Projector, Stepped
from hark.history.projection.graph import Node
from hark.history.projection.neo4j_graph import Neo4jGraph, open_graph
from hark.history.projection.rebuild import Marked, Rebuild
from hark.history.projection.sending import Changes
from hark.postgres.database import open_database
from tests.doors.commands import Desk, desk, furnished
from tests.history.shopping import Shop, line

__all__ = ["desk", "furnished"]

EMPTY = "MATCH (n) DETACH DELETE n"
BOUGHT = "MATCH (u:User)-[r:PURCHASED]->() RETURN u.user_id, r.key ORDER BY r.key"


def ask(url: str, cypher: str) -> list[tuple[Any, ...]]:
    async def asked() -> list[tuple[Any, ...]]:
        async with open_graph(url) as graph:
            return await graph.ask(cypher)

    return asyncio.run(asked())


def buy(dsn: str) -> None:
    async def bought() -> None:
        async with open_database(dsn, size=1) as database:
            await Shop(database).record(line("r1"), line("r2", user="bob"))

    asyncio.run(bought())


@pytest.fixture
def shopped(desk: Desk, graph_url: str, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Two users bought something, and the graph is empty."""
    ask(graph_url, EMPTY)
    monkeypatch.setenv("HARK_GRAPH_URL", graph_url)
    buy(desk.dsn)
    return desk


def test_a_graph_is_made_ready_as_often_as_one_likes(shopped: Desk, graph_url: str) -> None:
    for _ in range(2):
        assert shopped.hark("history", "init", "--json").only == {"graph": True}
    names = {row[0] for row in ask(graph_url, "SHOW CONSTRAINTS YIELD name RETURN name")}
    assert {"hark_user", "hark_product", "hark_category", "hark_store"} <= names


def test_all_is_written_anew_and_then_one_user(shopped: Desk, graph_url: str) -> None:
    ask(graph_url, "CREATE (:User {user_id: 'eve'})")
    everything = shopped.hark("history", "rebuild", "--json")
    assert everything.code == ExitCode.DONE
    told = {"graph": True, "users": 2, "products": 1, "lines": 2, "refused": 0, "whom": [], "removed": 1}
    marked = {"marked_users": 2, "marked_products": 1, "left_users": 0, "left_products": 0}
    assert everything.only == {**told, **marked}
    ask(graph_url, "MATCH (:User {user_id: 'bob'})-[r]->() DELETE r")
    assert shopped.hark("history", "rebuild", "--user", "bob", "--json").only["users"] == 1
    assert ask(graph_url, BOUGHT) == [("ann", "receipt:r1:1"), ("bob", "receipt:r2:1")]


def test_who_is_unknown_to_facts_and_graph_is_named_and_nothing_is_done(shopped: Desk, graph_url: str) -> None:
    ran = shopped.hark("history", "rebuild", "--user", "nosuch")
    assert ran.code == ExitCode.BAD_INPUT
    assert ran.out == ""
    assert ran.err == "nosuch: neither facts nor graph know them, so there is nothing to rebuild; is the id right?\n"


def test_who_is_only_in_the_graph_is_removed(shopped: Desk, graph_url: str) -> None:
    ask(graph_url, "CREATE (:User {user_id: 'eve'})-[:PURCHASED {key: 'receipt:z:1'}]->(:Product {product_id: 'gin'})")
    ran = shopped.hark("history", "rebuild", "--user", "eve", "--json")
    assert (ran.code, ran.only["removed"]) == (ExitCode.DONE, 1)
    assert ask(graph_url, "MATCH (u:User {user_id: 'eve'}) RETURN u") == []


def test_what_a_worker_elsewhere_wrote_anew_is_said_to_be_written(
    shopped: Desk, graph_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has done it before the command comes to look."""
    everything = Rebuild.everything

    async def by_a_worker(self: Rebuild) -> Marked:
        marked = await everything(self)
        worker = Projector(self.database, self.graph, self.clock, "worker/1")
        while (await worker.step()).more:
            pass
        await worker.leave()
        return marked

    monkeypatch.setattr(Rebuild, "everything", by_a_worker)
    ran = shopped.hark("history", "rebuild")
    assert ran.code == ExitCode.DONE
    marked = "2 users and 1 products were marked to be written anew, and all are written: none by this command, the"
    assert f"{marked} others by a worker; 0 removed" in ran.out
    assert len(ask(graph_url, BOUGHT)) == 2


@pytest.fixture
def beside_a_stream(shopped: Desk, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Before each step of the projector, and after it, somebody buys something; how many steps there were."""
    steps, step = [0], Projector.step

    async def beside(self: Projector) -> Stepped:
        steps[0] += 1
        assert steps[0] < 20, "it does not end"
        shop = Shop(self.database)
        await shop.record(line(f"before{steps[0]}", user="zoe", product=f"b{steps[0]}"))
        done = await step(self)
        await shop.record(line(f"after{steps[0]}", user="zoe", product=f"a{steps[0]}"))
        return done

    monkeypatch.setattr(Projector, "step", beside)
    return steps


def refuse(monkeypatch: pytest.MonkeyPatch, *refused: str) -> None:
    write = Neo4jGraph.write

    async def picky(self: Neo4jGraph, node: Node, changes: Changes) -> set[str]:
        if {*refused} & {*changes.ids}:
            raise GraphRefused("the graph refuses: no such luck")
        return await write(self, node, changes)

    monkeypatch.setattr(Neo4jGraph, "write", picky)


@pytest.mark.parametrize("words", [[], ["--user", "bob"]])
def test_what_comes_in_meanwhile_is_not_waited_for(
    shopped: Desk, graph_url: str, beside_a_stream: list[int], words: list[str]
) -> None:
    ask(graph_url, "CREATE (:User {user_id: 'eve'})")
    ran = shopped.hark("history", "rebuild", *words, "--json")
    assert (ran.code, ran.only["left_users"], ran.only["left_products"]) == (ExitCode.DONE, 0, 0)
    assert ran.only["removed"] == (0 if words else 1)
    assert ("bob", "receipt:r2:1") in ask(graph_url, BOUGHT)


def test_whom_the_graph_refuses_is_named_and_not_waited_for_beside_a_stream(
    shopped: Desk, graph_url: str, beside_a_stream: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(graph_url, "CREATE (:User {user_id: 'eve'})")
    refuse(monkeypatch, "bob", "milk")
    ran = shopped.hark("history", "rebuild")
    assert ran.code == ExitCode.NOT_GOOD
    assert "marked to be written anew, and 1 users and 1 products are not written" in ran.out
    assert "; 2 of these were refused by the graph, as the log says: user bob, product milk\n" in ran.out
    assert ("ann", "receipt:r1:1") in ask(graph_url, BOUGHT)
    assert ask(graph_url, "MATCH (u:User {user_id: 'eve'}) RETURN u") == []


def test_whom_the_graph_refuses_is_no_matter_to_another_one(
    shopped: Desk, beside_a_stream: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "bob")
    assert shopped.hark("history", "rebuild").code == ExitCode.NOT_GOOD
    beside_a_stream[0] = 0
    ran = shopped.hark("history", "rebuild", "--user", "ann", "--json")
    assert (ran.code, ran.only["left_users"]) == (ExitCode.DONE, 0)


def test_whom_the_graph_refuses_of_a_worker_elsewhere_is_named_and_not_waited_for(
    shopped: Desk, graph_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "bob", "milk")
    monkeypatch.setattr(history, "_LOOK_S", 0.0)
    steps, step = [0], Projector.step

    async def after_a_worker(self: Projector) -> Stepped:
        steps[0] += 1
        assert steps[0] < 20, "it does not end"
        await step(Projector(self.database, self.graph, self.clock, "worker/1"))
        return await step(self)

    monkeypatch.setattr(Projector, "step", after_a_worker)
    ran = shopped.hark("history", "rebuild", "--json")
    assert ran.code == ExitCode.NOT_GOOD
    told = {name: ran.only[name] for name in ("users", "left_users", "left_products", "whom")}
    assert told == {"users": 0, "left_users": 1, "left_products": 1, "whom": ["user bob", "product milk"]}
    assert ask(graph_url, BOUGHT) == [("ann", "receipt:r1:1")]


def test_a_graph_that_is_away_is_said_so(shopped: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_GRAPH_URL", "bolt://127.0.0.1:1")
    ran = shopped.hark("history", "init")
    assert ran.code == ExitCode.UNREACHABLE
    assert ran.err.startswith("the graph cannot be reached")


def test_without_a_graph_postgres_answers(desk: Desk) -> None:
    for words in (["init"], ["rebuild"], ["rebuild", "--user", "bob"]):
        ran = desk.hark("history", *words)
        assert ran.code == ExitCode.DONE
        assert "Postgres answers" in ran.out


def test_twins_are_refused_by_init_and_made_one_by_rebuild(shopped: Desk, graph_url: str) -> None:
    assert shopped.hark("history", "rebuild").code == ExitCode.DONE
    ask(graph_url, "DROP CONSTRAINT hark_user IF EXISTS")
    ask(graph_url, "CREATE (:User {user_id: 'bob'})")
    try:
        refused = shopped.hark("history", "init")
        assert refused.code == ExitCode.NOT_GOOD
        assert "several nodes of one id: User bob; hark history rebuild" in refused.err
        audit = shopped.hark("history", "audit", "--json")
        assert audit.code == ExitCode.NOT_GOOD
        assert {each["name"] for each in audit.only["checks"] if each["count"]} >= {"twin node", "constraints"}
        healed = shopped.hark("history", "rebuild", "--json")
        assert healed.code == ExitCode.DONE and healed.only["removed"] == 1
        assert ask(graph_url, BOUGHT) == [("ann", "receipt:r1:1"), ("bob", "receipt:r2:1")]
        assert shopped.hark("history", "audit", "--json").only["score"] == 100
    finally:
        ask(graph_url, EMPTY)
        assert shopped.hark("history", "init").code == ExitCode.DONE
