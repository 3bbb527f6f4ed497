"""What can be told: the catalogue."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import WHO, Call, verb
from hark.doors.cli.output import Column
from hark.errors import BadInput, CatalogueFaults, Fault

if TYPE_CHECKING:
    from hark.catalogue import Catalogue, Reason

File = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="The catalogue; without it, the one that is set.", show_default=False),
]


@dataclass(frozen=True, slots=True)
class _Found:
    file: str
    good: bool
    reasons: int
    user_types: int
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class _Declared:
    name: str
    title: str
    channels: dict[str, list[str]]
    frequency: str
    cooldown: str
    max_stale: str | None
    group: str
    category: str
    at_least_once: bool
    narrower: Mapping[str, str]
    auto_subscribe: Sequence[str]


def add_to(app: typer.Typer) -> None:
    """Hang the verbs into the command."""
    group = typer.Typer(help="What can be told: check it, show it.", rich_markup_mode=None)
    verb(group, "check", panel=WHO, example="hark catalogue check hark.toml")(check)
    verb(group, "show", panel=WHO, example="hark catalogue show hark.toml")(show)
    app.add_typer(group, name="catalogue", rich_help_panel=WHO)


async def check(call: Call, file: File = None) -> ExitCode:
    """Look for faults: all of them at once, each with its line. Queries are prepared where a database is set."""
    from hark.catalogue import load_catalogue
    from hark.rendering import template_faults

    path = _path(call, file)
    try:
        catalogue = load_catalogue(path, os.environ)
    except CatalogueFaults as found:
        return _say_faults(call, path, found)
    if faults := [*template_faults(catalogue), *await _source_faults(call, catalogue)]:
        return _say_faults(call, path, CatalogueFaults(str(path), faults))
    found_good = _Found(str(path), True, len(catalogue.reasons), len(catalogue.user_types), ())
    line = f"{path}: no faults; {found_good.reasons} reasons for {found_good.user_types} user types"
    call.output.show(found_good, [line])
    return ExitCode.DONE


async def show(call: Call, file: File = None) -> None:
    """List the reasons: to whom, by which channels, how often."""
    from hark.catalogue import load_catalogue

    catalogue = load_catalogue(_path(call, file), os.environ)
    if call.output.json:
        call.output.table(_declared(catalogue), [], empty="")
        return
    call.output.table(list(catalogue.reasons.values()), _columns(), empty="no reasons")


async def _source_faults(call: Call, catalogue: Catalogue) -> list[Fault]:
    """What is wrong with feeds and rechecks; their queries are tried where a database is set."""
    from hark.doors import product_sources
    from hark.postgres.database import open_database

    if not product_sources.has_sources(catalogue):
        return []
    faults = [*product_sources.callable_faults(catalogue), *await _graph_faults(call, catalogue)]
    url = call.settings.database_url
    if url is None:
        call.output.note("queries are not tried: no database is set (HARK_DATABASE_URL)")
        return faults
    async with open_database(url, size=1) as database:
        return [*faults, *await product_sources.query_faults(database, catalogue)]


async def _graph_faults(call: Call, catalogue: Catalogue) -> list[Fault]:
    """What is wrong with feeds that ask the graph, where one is set."""
    from hark.doors import product_sources

    if not product_sources.asks_graph(catalogue):
        return []
    async with product_sources.graph_for(call.settings, catalogue) as graph:
        if graph is None:
            call.output.note("Cypher queries are not tried: no graph is set (HARK_GRAPH_URL)")
            return []
        return await product_sources.graph_faults(graph, catalogue)


def _path(call: Call, file: Path | None) -> Path:
    path = file or call.settings.catalogue
    if path is None:
        raise BadInput("no catalogue is named and this directory has no hark.toml; write hark catalogue check FILE")
    if not path.is_file():
        raise BadInput(f"{path} is no file; give the path of a catalogue")
    return path


def _say_faults(call: Call, path: Path, found: CatalogueFaults) -> ExitCode:
    call.output.show(_Found(str(path), False, 0, 0, found.faults), str(found).splitlines())
    return ExitCode.NOT_GOOD


def _columns() -> list[Column[Reason]]:
    return [
        Column("reason", lambda reason: reason.name),
        Column("title", lambda reason: reason.title),
        Column("to", _to),
        Column("how often", _rhythm),
        Column("group", lambda reason: reason.group),
        Column("category", lambda reason: reason.category),
    ]


def _to(reason: Reason) -> str:
    return "; ".join(f"{user_type}: {', '.join(channels)}" for user_type, channels in reason.channels.items())


def _rhythm(reason: Reason) -> str:
    from hark.durations import format_duration

    if reason.frequency != "batched":
        return str(reason.frequency)
    stale = f", at most {format_duration(reason.windows.max_stale)}" if reason.windows.max_stale else ""
    return f"batched, cool-down {format_duration(reason.windows.cooldown)}{stale}"


def _declared(catalogue: Catalogue) -> list[_Declared]:
    from hark.durations import format_duration

    return [
        _Declared(
            name=reason.name,
            title=reason.title,
            channels={user_type: [str(each) for each in channels] for user_type, channels in reason.channels.items()},
            frequency=str(reason.frequency),
            cooldown=format_duration(reason.windows.cooldown),
            max_stale=format_duration(reason.windows.max_stale) if reason.windows.max_stale else None,
            group=reason.group,
            category=str(reason.category),
            at_least_once=reason.at_least_once,
            narrower={facet.reason: facet.kind for facet in reason.narrower},
            auto_subscribe=reason.auto_subscribe,
        )
        for reason in catalogue.reasons.values()
    ]
