"""`hark doctor`: which settings are in force and from where, what can be reached, what to do next."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from hark.catalogue import Catalogue, load_catalogue
from hark.channels.smtp import Timeouts, parse_server
from hark.channels.smtp.opening import NotOpened, open_session
from hark.config import InForce, Settings, explain_settings, unknown_variables
from hark.doors import product_sources, reports, zones
from hark.doors.cli.exits import ExitCode, as_harks_own
from hark.doors.cli.frame import Call
from hark.doors.cli.services import tried
from hark.doors.cli.session import server
from hark.errors import BadInput, HarkError
from hark.postgres.database import Database, open_database
from hark.postgres.migrate import migrations

_PATIENCE = Timeouts(connect=5, command=5)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: whether it is good, what was found, and what to do about it.

    What only `warns` is good enough to go on with.
    """

    what: str
    good: bool
    found: str
    todo: str = ""
    warns: bool = field(default=False, kw_only=True)

    @property
    def word(self) -> str:
        """How it is, in a word."""
        return ("WARN" if self.warns else "ok") if self.good else "BAD"


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the doctor found."""

    good: bool
    settings: list[InForce]
    checks: list[Check]
    next: list[str]


async def examine(call: Call) -> ExitCode:
    """Look at everything that Hark needs, and say what was found."""
    settings = explain_settings(call.flags, os.environ, Path.cwd())
    catalogue, first = _catalogue(call.settings)
    checks = [
        *_variables(),
        first,
        *await _database(call, catalogue),
        await _mail_server(call.settings, catalogue),
        *await _services(call.settings),
    ]
    todo = [check.todo for check in checks if check.todo]
    good = all(check.good for check in checks)
    call.output.show(Findings(good, settings, checks, todo), _lines(settings, checks, todo))
    return ExitCode.DONE if good else ExitCode.NOT_GOOD


def _variables() -> Iterator[Check]:
    for line in unknown_variables(os.environ):
        yield Check("environment", False, line, "set the variable that was meant")


def _catalogue(settings: Settings) -> tuple[Catalogue | None, Check]:
    path = settings.catalogue
    if path is None:
        todo = "write a hark.toml, and name it with --catalogue or HARK_CATALOGUE"
        return None, Check("catalogue", False, "none is named, and this directory has no hark.toml", todo)
    try:
        catalogue = load_catalogue(path, os.environ)
    except BadInput as error:
        return None, Check("catalogue", False, str(error), f"hark catalogue check {path}")
    found = f"{path}: {len(catalogue.reasons)} reasons for {len(catalogue.user_types)} user types"
    return catalogue, Check("catalogue", True, found)


async def _database(call: Call, catalogue: Catalogue | None) -> list[Check]:
    try:
        with server(call.settings, call.output) as dsn:
            return await _tables(dsn, call.settings, catalogue)
    except HarkError as error:
        return [Check("database", False, str(error), "start Postgres, or set HARK_DATABASE_URL to one that runs")]
    except Exception as error:
        told = as_harks_own(error)
        if told is None:
            raise
        return [Check("database", False, str(told), "")]


async def _tables(dsn: str, settings: Settings, catalogue: Catalogue | None) -> list[Check]:
    async with open_database(dsn, size=1, patience=timedelta(0)) as database:
        async with database.connection() as connection:
            version = connection.info.server_version
        reached = Check("database", True, f"Postgres {version // 10000}.{version % 10000} answers")
        missing = {migration.name for migration in migrations()} - await reports.applied_migrations(database)
        if missing:
            return [reached, Check("tables", False, f"missing: {', '.join(sorted(missing))}", "hark migrate")]
        now = await database.now()
        seen = await reports.pipeline(database, now)
        clocks = await _clocks(database, now)
        asked = await _sources(database, settings, catalogue) if catalogue else []
    return [
        reached,
        Check("tables", True, "up to date"),
        clocks,
        *asked,
        Check("pipeline", True, *reports.advice(seen)[:1]),
    ]


async def _clocks(database: Database, now: datetime) -> Check:
    differing = await zones.differing(database, now)
    if not differing:
        return Check("time zones", True, "Postgres and Python know the same clocks for all recipients, for a year")
    todo = "bring the zone data of Postgres and of Python up to date: the system's, and the package tzdata"
    return Check("time zones", True, "\n".join(map(zones.in_words, differing)), todo, warns=True)


async def _sources(database: Database, settings: Settings, catalogue: Catalogue) -> list[Check]:
    if not product_sources.has_sources(catalogue):
        return []
    callables = product_sources.callable_faults(catalogue)
    async with product_sources.graph_for(settings, catalogue) as graph:
        asked = await product_sources.graph_faults(graph, catalogue)
    faults = [*callables, *await product_sources.query_faults(database, catalogue), *asked]
    if faults:
        return [Check("sources", False, "\n".join(product_sources.lines(faults)), "mend them: hark catalogue check")]
    return [Check("sources", True, "feeds and rechecks can be asked")]


async def _mail_server(settings: Settings, catalogue: Catalogue | None) -> Check:
    url = settings.smtp_url or (catalogue.email.smtp if catalogue and catalogue.email else None)
    if url is None:
        return Check("mail server", False, "none is set", "export HARK_SMTP_URL=smtp://HOST:PORT")
    try:
        host = parse_server(url)
        session = await open_session(host, host.tls_context(), _PATIENCE)
    except (NotOpened, BadInput) as error:
        return Check("mail server", False, str(error), "start it, or set HARK_SMTP_URL to one that runs")
    session.leave()
    return Check("mail server", True, f"{host.host}:{host.port} takes mail")


async def _services(settings: Settings) -> list[Check]:
    """The graph, the brokers and the sources, as far as they are set."""
    return [
        Check(each.what, False, each.fault, f"start it, or set {each.variable} to one that runs")
        if each.fault
        else Check(each.what, True, "it answers")
        for each in await tried(settings)
    ]


def _lines(settings: list[InForce], checks: list[Check], todo: list[str]) -> Iterator[str]:
    name_width = max(len(each.name) for each in settings)
    value_width = max(len(each.value) for each in settings)
    for each in settings:
        yield f"{each.name:<{name_width}}  {each.value:<{value_width}}  {each.origin}"
    yield ""
    what_width = max(len(check.what) for check in checks)
    for check in checks:
        first, *rest = check.found.splitlines() or [""]
        yield f"{check.word:<4} {check.what:<{what_width}}  {first}"
        yield from (f"{'':<{what_width + 7}}{line}" for line in rest)
    yield ""
    yield from (f"next: {line}" for line in todo or ["nothing: all is well"])
