"""What people bought: the graph that it is projected to, made ready and written anew."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import HISTORY, Call, verb
from hark.doors.cli.verbs import history_audit
from hark.errors import BadInput

if TYPE_CHECKING:
    from hark.clock import Clock
    from hark.history.projection import Projector
    from hark.history.projection.neo4j_graph import Neo4jGraph
    from hark.history.projection.rebuild import Marked, Rebuild
    from hark.postgres.database import Database

NO_GRAPH = "no graph is set, so Postgres answers; HARK_GRAPH_URL=neo4j://USER:PASSWORD@HOST:7687 sets one"

_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class _Made:
    """Whether a graph is set, and made ready therefore."""

    graph: bool


@dataclass(slots=True)
class _Rebuilt:
    """What was marked to be written anew, and what of it was written here: the rest, a worker elsewhere has written.

    Attributes:
        marked_users, marked_products: all of them.
        left_users, left_products: how many of them are not written.
        refused: how many of these the graph will not have; `whom`: the first of them.
        removed: twins, and what no fact knows.
    """

    graph: bool
    marked_users: int = 0
    marked_products: int = 0
    left_users: int = 0
    left_products: int = 0
    users: int = 0
    products: int = 0
    lines: int = 0
    refused: int = 0
    whom: Sequence[str] = ()
    removed: int = 0

    def line(self) -> str:
        """For people."""
        return (
            f"{self.marked_users:,} users and {self.marked_products:,} products were marked to be written anew, and"
            f" {self._far()}; {self.removed:,} removed that were twins, or that no fact knows{self._refused()}"
        )

    def _refused(self) -> str:
        if not self.refused:
            return ""
        more = f" and {self.refused - len(self.whom):,} more" if self.refused > len(self.whom) else ""
        told = f"; {self.refused:,} of these were refused by the graph, as the log says: "
        return f"{told}{', '.join(self.whom)}{more}"

    def _far(self) -> str:
        if self.left_users or self.left_products:
            far = f"{self.left_users:,} users and {self.left_products:,} products are not written"
        else:
            far = "all are written"
        if self.users >= self.marked_users and self.products >= self.marked_products:
            return f"{far}, with {self.lines:,} purchases"
        here = f"{self.users:,} users and {self.products:,} products" if self.users or self.products else "none"
        return f"{far}: {here} by this command, the others by a worker"


def add_to(app: typer.Typer) -> None:
    """Hang the verbs into the command."""
    group = typer.Typer(help="What people bought, and the graph of it.", rich_markup_mode=None)
    verb(group, "init", panel=HISTORY, example="hark history init")(init)
    verb(group, "rebuild", panel=HISTORY, example="hark history rebuild --user bob")(rebuild)
    history_audit.add_to(group)
    app.add_typer(group, name="history", rich_help_panel=HISTORY)


async def init(call: Call) -> None:
    """Make the graph ready: what keeps its users, products, categories and stores unique.

    Safe to run again. A graph that has twins already is refused, and says which; hark history rebuild makes one of
    them.
    """
    if call.settings.graph_url is None:
        call.output.show(_Made(graph=False), [NO_GRAPH])
        return
    async with _graph(call) as graph:
        await graph.prepare()
    call.output.show(_Made(graph=True), ["the graph is ready"])


async def rebuild(
    call: Call, user: Annotated[str | None, typer.Option("--user", metavar="USER", help="Only this user.")] = None
) -> ExitCode:
    """Write the graph anew from the facts: of one user, or all of it.

    Whatever was done to it by hand or by others is gone then, also users that no fact knows, and twins that came in
    where constraints were missing. It goes on while events come in, and waits for none of these. Interrupted, what is
    marked by then is written by the next worker. Exit code 1: the graph refused some, who are named.
    """
    from hark.doors.cli.logs import log_to_stderr

    if call.settings.graph_url is None:
        call.output.show(_Rebuilt(graph=False), [NO_GRAPH])
        return ExitCode.DONE
    log_to_stderr(call.settings.log_level)
    call.go_on = "what is marked by now is written by the next worker; the same command goes on"
    done = _Rebuilt(graph=True)
    async with call.session() as session, _graph(call) as graph:
        await _rebuild(call, session.database, graph, user, done)
    call.output.show(done, [done.line()])
    return ExitCode.NOT_GOOD if done.left_users or done.left_products else ExitCode.DONE


@asynccontextmanager
async def _graph(call: Call) -> AsyncIterator[Neo4jGraph]:
    from hark.history.projection.neo4j_graph import open_graph

    settings = call.settings
    assert settings.graph_url is not None
    async with open_graph(settings.graph_url, patience=settings.graph_timeout) as graph:
        yield graph


async def _rebuild(call: Call, database: Database, graph: Neo4jGraph, user: str | None, done: _Rebuilt) -> None:
    from hark.clock import DatabaseClock
    from hark.history.projection.rebuild import Rebuild

    clock = await DatabaseClock.start(database)
    rebuilding = Rebuild(database, graph, clock)
    if user is not None and not await rebuilding.knows(user):
        raise BadInput(f"{user}: neither facts nor graph know them, so there is nothing to rebuild; is the id right?")
    done.removed = await rebuilding.make_ready()
    marked = await (rebuilding.everything() if user is None else rebuilding.user(user))
    if marked is None:
        done.removed += 1
        return
    done.marked_users, done.marked_products = marked.users, marked.products
    await _write(call, _projector(call, database, graph, clock), rebuilding, marked, done)
    left = await rebuilding.left(marked, user)
    done.left_users, done.left_products, done.refused, done.whom = left.users, left.products, left.refused, left.whom
    if user is None:
        done.removed += await rebuilding.forget_strangers()


def _projector(call: Call, database: Database, graph: Neo4jGraph, clock: Clock) -> Projector:
    from hark.history.projection import Projector
    from hark.history.projection.projector import Sizes
    from hark.postgres.holder import worker_name

    settings = call.settings
    return Projector(
        database, graph, clock, f"{worker_name()}/rebuild", settings.lease, Sizes(nodes=settings.graph_chunk)
    )


async def _write(call: Call, projector: Projector, rebuilding: Rebuild, marked: Marked, done: _Rebuilt) -> None:
    """Write what is marked; while a worker is the one that projects, only wait for it."""
    import asyncio

    total = marked.users + marked.products
    try:
        with call.output.progress("writing anew", total) as told:
            while True:
                step = await projector.step()
                done.users += step.users
                done.products += step.products
                done.lines += step.lines
                waiting = await rebuilding.waiting(marked)
                told(total - waiting.users - waiting.products)
                if waiting.users + waiting.products == 0 or not (step.more or step.beaten or step.next_at):
                    return
                if step.next_at is not None:
                    await asyncio.sleep(_LOOK_S)
    finally:
        await projector.leave()
