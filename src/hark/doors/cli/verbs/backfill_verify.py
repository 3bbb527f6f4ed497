"""`hark backfill verify`: whether what a backfill did still holds; of a load, whether its sources still say so, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hark.doors.cli import asking
from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import Call
from hark.doors.cli.verbs.backfill_words import Id, OutFile, Target, Who, who_does_it
from hark.errors import BadInput

if TYPE_CHECKING:
    from hark.backfill.kind import Astray
    from hark.backfill.verify import Verified
    from hark.history.audit.loads import AtSources
    from hark.postgres.database import Database


@dataclass(frozen=True, slots=True)
class _Both:
    """What was found, and what the sources say."""

    seen: Verified
    sources: AtSources

    def as_json(self) -> Mapping[str, Any]:
        """The fields of what was found, and the sources beside them."""
        return {**{each.name: getattr(self.seen, each.name) for each in fields(self.seen)}, "sources": self.sources}


async def verify(
    call: Call,
    backfill: Id,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=0, max=100_000, help="Name so many of those that do not hold.")
    ] = 20,
    sources: Annotated[
        str | None,
        typer.Option("--sources", metavar="N", help="Of a load: ask the sources again for so many users, or all."),
    ] = None,
    output: OutFile = None,
    who: Who = None,
) -> ExitCode:
    """Read the cohort again: how many hold, and each that does not, with why.

    With --sources also whether the facts of a load's users are what their sources have now, as an audit compares them.
    """
    from hark.doors.cli import backfill_pages as pages

    many = 0 if sources is None else asking.how_many(call.settings, "--sources", sources)
    target = None if output is None else Target.of(output)
    async with call.session(size=2) as session:
        since = None if sources is None else await _since(session.database, backfill)
        seen = await _look(call, session.database, backfill, limit, output, who)
        asked = None if since is None else await _ask(call, session.database, backfill, since, many)
    found: object = seen if asked is None else _Both(seen, asked)
    call.output.show(found, [*pages.verified(seen), *(() if asked is None else pages.at_sources(asked))])
    if target is not None:
        call.output.note(target.said(seen.explained + seen.unexplained))
    return ExitCode.DONE if seen.good and (asked is None or asked.good) else ExitCode.NOT_GOOD


async def _look(
    call: Call, database: Database, backfill: int, limit: int, output: Path | None, who: str | None
) -> Verified:
    from hark.backfill.verify import verify as look

    now = await database.now()
    with _astray(output) as written, call.output.progress("verifying") as told:
        return await look(database, backfill, who=who_does_it(who), now=now, shown=limit, progress=told, told=written)


async def _ask(call: Call, database: Database, backfill: int, since: datetime, many: int | None) -> AtSources:
    from hark.clock import DatabaseClock
    from hark.doors.cli.logs import log_to_stderr
    from hark.history.audit.loads import load_at_sources

    log_to_stderr(call.settings.log_level)
    clock = await DatabaseClock.start(database)
    async with asking.open_sources(call.settings, database, clock) as sources:
        with call.output.progress("asking the sources") as told:
            return await load_at_sources(database, sources, backfill, since=since, many=many, told=told)


async def _since(database: Database, backfill: int) -> datetime:
    """How far back a load reached.

    Raises:
        BadInput: it is none, or none that still holds.
    """
    from hark.backfill.kinds.history import load_of

    found = await load_of(database, backfill)
    if found is None:
        raise BadInput(f"--sources: backfill {backfill} is no load of purchases; leave it out: no source has that")
    return datetime.fromisoformat(found.since)


@contextmanager
def _astray(output: Path | None) -> Iterator[Callable[[Astray], None]]:
    """Where those that do not hold are written to, if anywhere."""
    from hark.lists.writing import written

    if output is None:
        yield lambda _each: None
        return
    with written(output, ("user", "explained", "why")) as write:
        yield lambda each: write([(each.recipient_id, "yes" if each.explained else "no", each.why)])
