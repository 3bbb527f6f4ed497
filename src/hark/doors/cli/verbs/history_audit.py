"""Whether the graph is what the facts say, and the facts what the sources have: of all users, or of one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hark.doors.cli import asking
from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import HISTORY, Call, verb
from hark.doors.cli.output import Column
from hark.errors import BadInput

if TYPE_CHECKING:
    from hark.clock import Clock
    from hark.history.audit import Check, Report
    from hark.history.audit.baseline import Difference
    from hark.history.audit.certificate import Amounts, Certificate
    from hark.history.projection.neo4j_graph import Neo4jGraph
    from hark.history.sources.reach import Sources
    from hark.postgres.database import Database

_SAMPLE = 20


@dataclass(frozen=True, slots=True)
class _Audited:
    """A report, and what became of the baseline that it was compared with."""

    report: Report
    difference: Difference | None

    def as_json(self) -> Mapping[str, Any]:
        """The report's own fields, and the difference beside them."""
        fields = {name: getattr(self.report, name) for name in self.report.__slots__}
        return {**fields, "difference": self.difference}


@dataclass(frozen=True, slots=True)
class _Reach:
    """What an audit can ask; `graph`, `sources`: None if they are not set."""

    database: Database
    clock: Clock
    graph: Neo4jGraph | None
    sources: Sources | None


def add_to(group: typer.Typer) -> None:
    """Hang the verbs into `hark history`."""
    verb(group, "audit", panel=HISTORY, example="hark history audit --save before.json")(audit)
    verb(group, "user", panel=HISTORY, example="hark history user bob")(user)


async def audit(
    call: Call,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Keep the report, to compare a later one with it.")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option("--compare", metavar="FILE", help="Say what became of a report that was kept.")
    ] = None,
    sample: Annotated[
        str | None,
        typer.Option("--sample", metavar="N", help="For how many users to ask the sources, or all; 20 if any is set."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the report as JSON there, too.")
    ] = None,
) -> ExitCode:
    """Compare the graph with the facts, user by user, and the facts of some users with the sources. It only reads.

    It may run beside everything else: what moves meanwhile is looked at again. Exit code 1: something is CRITICAL, or
    the graph did not grow by what the facts did, between two reports of a time when all stood still. Without a graph,
    what can be seen in Postgres is looked at.
    """
    many = _sample(call, sample)
    from hark.history.audit import Audit
    from hark.history.audit.baseline import difference, read_baseline

    before = read_baseline(compare) if compare else None
    _see_where(save, output)
    async with _reach(call, sources=many != 0) as reach:
        with call.output.progress("comparing users") as told:
            auditing = Audit(reach.database, reach.graph, reach.clock.now(), reach.sources, told=told)
            report = await auditing.everything(many)
    audited = _Audited(report, difference(before, report) if before else None)
    _write(audited, save, output)
    _show(call, audited)
    as_expected = audited.difference is None or audited.difference.as_expected
    return ExitCode.DONE if report.good and as_expected else ExitCode.NOT_GOOD


async def user(
    call: Call, user: Annotated[str, typer.Argument(metavar="USER", help="Whose; their id.", show_default=False)]
) -> ExitCode:
    """One user's certificate: facts, graph, versions and sources, and whether they agree. Exit code 1: they do not."""
    from hark.history.audit.certificate import certify

    async with _reach(call, sources=True) as reach:
        found = await certify(reach.database, reach.graph, user, now=reach.clock.now(), sources=reach.sources)
    call.output.show(found, _certificate_lines(found))
    return ExitCode.DONE if found.good else ExitCode.NOT_GOOD


def _sample(call: Call, sample: str | None) -> int | None:
    """How many users the sources are asked for; None: all."""
    if sample is None:
        return _SAMPLE if asking.is_set(call.settings) else 0
    return asking.how_many(call.settings, "--sample", sample)


@asynccontextmanager
async def _reach(call: Call, *, sources: bool) -> AsyncIterator[_Reach]:
    from hark.clock import DatabaseClock
    from hark.history.projection.neo4j_graph import open_graph

    settings = call.settings
    async with call.session() as session, AsyncExitStack() as opened:
        clock = await DatabaseClock.start(session.database)
        graph = None
        if settings.graph_url is not None:
            graph = await opened.enter_async_context(open_graph(settings.graph_url, patience=settings.graph_timeout))
        asked = None
        if sources and asking.is_set(settings):
            asked = await opened.enter_async_context(asking.open_sources(settings, session.database, clock))
        yield _Reach(session.database, clock, graph, asked)


def _see_where(*paths: Path | None) -> None:
    """Not only after an hour that there is no such directory."""
    for path in paths:
        if path is not None and not path.absolute().parent.is_dir():
            raise BadInput(f"{path} cannot be written: there is no directory {path.parent}; give another path")


def _write(audited: _Audited, save: Path | None, output: Path | None) -> None:
    import json

    from hark.doors.cli.output import as_json
    from hark.history.audit.baseline import kept
    from hark.lists.writing import written_whole

    text = as_json(audited)
    written = ((save, kept(json.loads(text))), (output, text + "\n"))
    for path, said in written:
        if path is not None:
            with written_whole(path) as file:
                file.write(said)


def _show(call: Call, audited: _Audited) -> None:
    call.output.show(audited, _headline(audited.report))
    if call.output.json:
        return
    call.output.table(audited.report.checks, _check_columns(), empty="nothing was looked at")
    for line in _findings(audited.report):
        call.output.show(line, [line])
    if audited.difference is not None:
        call.output.show(audited.difference, _difference_lines(audited.difference))


def _headline(report: Report) -> Iterator[str]:
    compared = ", ".join(f"{many:,} {of}" for of, many in report.compared.items() if many and of != "constraints")
    yield f"{report.severity}: {report.score:g} of 100; compared: {compared or 'nothing'}"
    if not report.graph:
        yield "no graph is set: only what can be seen in Postgres was looked at"
    products = report.known.get("products", 0)
    if products:
        known = ", ".join(f"{many:,} {what}" for what, many in report.known.items() if what.startswith("with "))
        yield f"of {products:,} products: {known}"
    if report.brought:
        said = ", ".join(f"{_run(each.run)} {each.facts:,} ({each.alone:,} alone)" for each in report.brought)
        yield f"facts that count, by who said them: {said}"


def _run(run: int) -> str:
    return f"run {run}" if run else "live"


def _check_columns() -> Sequence[Column[Check]]:
    return (
        Column("check", lambda each: each.name.value),
        Column("outcome", lambda each: each.severity.value),
        Column("found", lambda each: f"{each.count:,}", right=True),
        Column("of", lambda each: f"{each.compared:,} {each.of}", right=True),
        Column("what to do", lambda each: each.mend),
    )


def _findings(report: Report) -> Iterator[str]:
    for check in report.checks:
        for each in check.examples:
            yield f"  {check.name}: {each.id}: {each.cause}"
        if check.examples and check.count > len(check.examples):
            yield f"  {check.name}: and {check.count - len(check.examples):,} more"


def _difference_lines(found: Difference) -> Iterator[str]:
    yield f"since {found.since.isoformat()}: score {found.score_before:g}, now {found.score_after:g}"
    for total in found.totals:
        if (total.facts_before, total.held_before) != (total.facts_after, total.held_after):
            held = "" if total.held_after is None else f"; graph {total.held_before} to {total.held_after:,}"
            verdict = "" if total.expected else ": NOT what the facts grew by"
            if total.apart and found.moved:
                verdict = f" ({total.apart:+,} against the facts, while things moved)"
            yield f"  {total.name}: facts {total.facts_before:,} to {total.facts_after:,}{held}{verdict}"
    if found.moved and any(total.apart for total in found.totals):
        yield "  things moved while one of the two was made: its totals are of no one moment, so no growth is judged"
    for run in found.runs:
        if run.facts_before != run.facts_after:
            brought = f"{run.facts_after - run.facts_before:+,} facts, {run.alone_after - run.alone_before:+,} alone"
            yield f"  {_run(run.run)}: {brought}"
    for each in found.turned:
        yield f"  {each.name}: {each.before} ({each.count_before:,}) before, {each.after} ({each.count_after:,}) now"


def _certificate_lines(found: Certificate) -> Iterator[str]:
    yield f"{found.user}: {_STANDINGS[found.standing.value]}"
    if found.version is not None:
        held = "" if found.held is None else f"; the graph holds {found.held}, and {found.marked} is marked"
        yield f"  versions  facts {found.version}{held}"
        more = f"{found.facts:,} facts in all, {found.deleted:,} deleted, {found.before:,} before the window"
        yield f"  facts     {_amounts(found.by_facts)}; {more}"
    if found.by_graph is not None:
        yield f"  graph     {_amounts(found.by_graph)}"
    if found.brought:
        said = ", ".join(f"{_run(each.run)} {each.facts:,}" for each in found.brought)
        yield f"  said by   {said}"
    yield f"  sources   {found.sources}"
    for each in found.findings:
        yield f"  {each.severity}  {each.check}: {each.cause}"


_STANDINGS = {
    "agrees": "facts and graph agree",
    "differs": "facts and graph do not agree",
    "waiting": "facts are on their way into the graph",
    "unknown": "neither facts nor graph know them",
    "no graph": "known by facts; there is no graph",
}


def _amounts(amounts: Amounts | None) -> str:
    if amounts is None:
        return "nothing"
    totals = ", ".join(f"{total:,} {currency}" for currency, total in amounts.totals.items())
    where = f"{amounts.categories:,} categories, {amounts.stores:,} stores"
    return f"{amounts.purchases:,} purchases in {where}{f', {totals} (minor units)' if totals else ''}"
