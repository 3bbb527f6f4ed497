"""The order in which a load is right, kept in the database: any worker goes on where another one stopped.

SEGMENT    whom the flag does not let in yet is put into a segment of this run's; a flag that is off is waited for
EFFECTIVE  everybody who goes by the flag acts on that: from here on the stream drops nothing of them
LOAD       both steps of each user, read from the primary, each with its watermark; whose are done is marked as loaded
STREAM     what the stream had when the last was loaded is recorded
GRAPH      the graph has each user as they were loaded, or newer
AUDIT      the facts and the graph of the run's users are compared

A flag that is turned off holds the run until it is on again, and then its version of that time is waited for. Of whom
the run had loaded by then the stream has dropped things: they are counted at the end, and the next plan loads them.

An undo takes back, waits for the graph, and lets out last whom the run had let in (TAKE_OUT).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from hark.clock import Clock
from hark.flags import Author, FlagReader, Named, add_users, behind, is_off, remove_segment, remove_users, set_segment
from hark.flags.listing import check
from hark.history.loading.seams import Audit, Audited, End, NoStream, Stream
from hark.lists import FileReach
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

_LOOK_AGAIN = timedelta(milliseconds=500)
_LONGEST_SAID = 1000


class Stage(StrEnum):
    """Where a load is: `hark.history_run.stage`."""

    SEGMENT = "SEGMENT"
    EFFECTIVE = "EFFECTIVE"
    LOAD = "LOAD"
    STREAM = "STREAM"
    GRAPH = "GRAPH"
    AUDIT = "AUDIT"
    TAKE_OUT = "TAKE_OUT"
    DONE = "DONE"


SAID = {
    Stage.SEGMENT: "users are let in by the flag",
    Stage.EFFECTIVE: "waits until all who go by the flag act on it",
    Stage.LOAD: "users are loaded",
    Stage.STREAM: "waits until the live stream is past where it was when the last user was loaded",
    Stage.GRAPH: "waits until the graph has it",
    Stage.AUDIT: "facts and graph are compared",
    Stage.TAKE_OUT: "whom the run had let in is let out",
    Stage.DONE: "all is done",
}
"""Each stage in words."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a load, as far as its course must know.

    Attributes:
        flag: whom it is to let in; None: everybody is let in already.
        enrolled: the version of the flag from which on all of its users are in: nobody has to be let in.
        undoes: the run that it takes back.
        page: its users behind an id, the next few thousand, in order.
    """

    id: int
    flag: str | None
    enrolled: int | None
    undoes: int | None
    page: Callable[[str], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Wait:
    """What is waited for, and when to look again."""

    stage: Stage
    until: datetime


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a run is."""

    stage: str
    reached: str
    flag_version: int | None
    ends: list[dict[str, Any]] | None
    waits_for: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Shown:
    """What there is to see of a run's course; the counts are of steps."""

    stage: str
    flag_version: int | None
    ends: list[dict[str, Any]] | None
    audit: dict[str, Any] | None
    waits_for: str
    changed_at: datetime
    waiting: int
    done: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class _Held:
    held: bool


@dataclass(frozen=True, slots=True)
class _Flag:
    version: int
    is_on: bool
    on_since: datetime


@dataclass(frozen=True, slots=True)
class _Count:
    users: int


@dataclass(frozen=True, slots=True)
class _User:
    user_id: str


@dataclass(frozen=True, slots=True)
class _Relied:
    user_id: str
    relied_on: bool


@dataclass(slots=True)
class Course:
    """Moves runs along, a short step at a time; nothing waits in here, and no transaction is left open.

    Attributes:
        who: this worker, for the audit logs.
        graph: whether there is one.
        audit: None: there is none to be had.
    """

    database: Database
    clock: Clock
    who: str
    graph: bool
    stream: Stream = field(default_factory=NoStream)
    audit: Audit | None = None
    _audits: dict[int, asyncio.Task[Audited]] = field(default_factory=dict, init=False, repr=False)

    async def before(self, run: Run) -> Wait | None:
        """What stands in the way of its users being loaded; None: nothing."""
        found = await self._stand(run)
        match Stage(found.stage):
            case Stage.SEGMENT:
                return await self._let_in(run, found)
            case Stage.EFFECTIVE:
                return await self._see_it_effective(run, found)
            case Stage.LOAD:
                return await self._see_it_on(run, found)
            case Stage.STREAM | Stage.GRAPH | Stage.AUDIT | Stage.TAKE_OUT | Stage.DONE:
                # Some that had failed are loaded after all: the flag, and what follows, is looked at anew.
                anew = Stage.LOAD if run.flag is None or run.undoes is not None else Stage.SEGMENT
                await self._move(run, Stage(found.stage), anew)
                return None if anew is Stage.LOAD else self._at_once(anew)

    async def outside(self, flag: str | None, users: Sequence[str]) -> list[str]:
        """Whom of these a flag does not let in, as it is now: they are not to be loaded."""
        verdicts = [] if flag is None else await check(self.database, users, flag=flag)
        return [each.user_id for each in verdicts if not each.lets_in]

    async def is_on(self, connection: AsyncConnection[Any], run: int, flag: str | None) -> bool:
        """Whether a flag has been on since its version was seen to be effective.

        Asked in each transaction that records what was loaded: what was asked for since may lack what the stream
        dropped.
        """
        if flag is None:
            return True
        given = {"run": run, "flag": flag}
        return bool(await fetch(connection, _SQL["still"], _Held, given, schema=self.database.schema))

    async def after(self, run: Run) -> Wait | None:
        """What stands in the way of its end, once all of its users are done; None: nothing."""
        found = await self._stand(run)
        match Stage(found.stage):
            case Stage.LOAD if run.undoes is not None:
                return await self._move(run, Stage.LOAD, Stage.GRAPH, "what only that run had said is taken back")
            case Stage.LOAD:
                return await self._look_at_stream(run)
            case Stage.STREAM:
                return await self._follow_stream(run, found)
            case Stage.GRAPH:
                return await self._follow_graph(run)
            case Stage.AUDIT:
                return await self._compare(run)
            case Stage.TAKE_OUT:
                return await self._take_out(run)
            case Stage.DONE:
                return None
            case _:
                return await self.before(run) or self._again(Stage(found.stage))

    async def close(self) -> None:
        """Compare no further; another worker begins anew."""
        for task in self._audits.values():
            task.cancel()
        await asyncio.gather(*self._audits.values(), return_exceptions=True)
        self._audits.clear()

    # The stages ------------------------------------------------------------------------------------------------------

    async def _let_in(self, run: Run, found: Stand) -> Wait | None:
        if run.flag is None:
            return await self._move(run, Stage.SEGMENT, Stage.LOAD, "no flag is to be set")
        at, flag = self.clock.now(), await self._flag(run.flag)
        if not flag.is_on:
            return await self._wait_for(run, Stage.SEGMENT, is_off(run.flag))
        if run.enrolled is not None:
            said, version = "its users are enrolled", max(run.enrolled, flag.version)
            return await self._move(run, Stage.SEGMENT, Stage.EFFECTIVE, said, version=version, at=at)
        async with self._alone(run) as mine:
            if not mine:
                return self._again(Stage.SEGMENT)
            users = await run.page(found.reached)
            if not users:
                said = f"all are let in by version {flag.version} of {run.flag}"
                return await self._move(run, Stage.SEGMENT, Stage.EFFECTIVE, said, version=flag.version, at=at)
            await self._let_page_in(run, run.flag, users)
        return self._at_once(Stage.SEGMENT)

    async def _let_page_in(self, run: Run, flag: str, users: Sequence[str]) -> None:
        flags = await FlagReader(self.database, frozenset([flag])).refresh()
        if not flags.flags[flag].is_on:
            return  # it lets nobody in: who is outside is not known until it is on again
        outside = [user for user in users if not flags.decide(flag, user).lets_in]
        version = flags.version(flag)
        if outside:
            await self._has_segment(run, flag)
            added = await add_users(
                self.database, flag, segment_of(run.id), Named(outside), self._author(), reach=FileReach()
            )
            version = added.version
        given = {"run": run.id, "reached": users[-1], "version": version, "now": self.clock.now()}
        await self.database.execute(_SQL["let_in"], given)

    async def _has_segment(self, run: Run, flag: str) -> None:
        """Make the run's segment, unless it is there: then it has members already."""
        segment = segment_of(run.id)
        if not await self.database.fetch(_SQL["segment"], _Held, {"flag": flag, "segment": segment}):
            await set_segment(self.database, flag, segment, Named(()), self._author(), reach=FileReach())

    async def _see_it_effective(self, run: Run, found: Stand) -> Wait | None:
        assert run.flag is not None and found.flag_version is not None
        at = self.clock.now()
        if (wait := await self._see_it_on(run, found)) is not None:
            return wait
        late = await behind(self.database, run.flag, found.flag_version, self.clock.now())
        if late:
            return await self._wait_for(run, Stage.EFFECTIVE, "; ".join(map(str, late)), at=at)
        said = f"version {found.flag_version} of {run.flag} is effective everywhere"
        return await self._move(run, Stage.EFFECTIVE, Stage.LOAD, said, at=at)

    async def _see_it_on(self, run: Run, found: Stand) -> Wait | None:
        """A flag that is off, or was since this stage began, lets its users in anew."""
        if run.flag is None or run.undoes is not None:
            return None
        flag = await self._flag(run.flag)
        if flag.is_on and flag.on_since <= found.changed_at:
            return None
        said = f"{run.flag} was off for a time" if flag.is_on else is_off(run.flag)
        return await self._move(run, Stage(found.stage), Stage.SEGMENT, said)

    async def _look_at_stream(self, run: Run) -> Wait:
        ends = await self.stream.ends_now()
        said = "all are loaded" + await self._dropped(run)
        if ends:
            said += f"; the stream has {len(ends)} partitions to pass"
        return await self._move(run, Stage.LOAD, Stage.STREAM, said, ends=[asdict(end) for end in ends])

    async def _dropped(self, run: Run) -> str:
        """Of whom the stream dropped things after they were loaded, since the flag was off."""
        given = {"run": run.id, "flag": run.flag}
        (dropped,) = await self.database.fetch(_SQL["dropped"], _Count, given)
        if not dropped.users:
            return ""
        return (
            f"; {dropped.users:,} of them before {run.flag} was off for a time, when the stream took nothing of them:"
            f" plan a load with --flag {run.flag} once it is on, which is of these"
        )

    async def _follow_stream(self, run: Run, found: Stand) -> Wait:
        ends = [End(**each) for each in found.ends or ()]
        if ends and not await self.stream.passed(ends):
            return await self._wait_for(
                run, Stage.STREAM, ", ".join(f"{e.topic}/{e.partition}@{e.offset}" for e in ends)
            )
        return await self._move(run, Stage.STREAM, Stage.GRAPH, "the stream has passed" if ends else "no stream is set")

    async def _follow_graph(self, run: Run) -> Wait:
        ahead = _SQL["not_projected" if run.undoes is None else "not_taken_back"]
        if self.graph and await self.database.fetch(ahead, _User, {"run": run.id}):
            return await self._wait_for(run, Stage.GRAPH, "the projector")
        then = Stage.AUDIT if run.undoes is None else Stage.TAKE_OUT
        return await self._move(run, Stage.GRAPH, then, "the graph has it" if self.graph else "no graph is set")

    async def _compare(self, run: Run) -> Wait:
        if self.audit is None:
            return await self._move(run, Stage.AUDIT, Stage.DONE, "not compared: there is no audit")
        if run.id not in self._audits:
            work = self.audit(run.id, self.clock.now())
            self._audits[run.id] = asyncio.ensure_future(work)
        if not self._audits[run.id].done():
            return self._again(Stage.AUDIT)
        seen = self._audits.pop(run.id).result()
        return await self._move(run, Stage.AUDIT, Stage.DONE, seen.said, audit=seen.kept)

    async def _take_out(self, run: Run) -> Wait | None:
        """By one worker: another one comes back later, and then finds that it is done."""
        assert run.undoes is not None
        async with self._alone(run) as mine:
            if not mine:
                return self._again(Stage.TAKE_OUT)
            if (stage := Stage((await self._stand(run)).stage)) is not Stage.TAKE_OUT:
                return None if stage is Stage.DONE else self._at_once(stage)
            said = "it had let nobody in" if run.flag is None else await self._let_out(run.undoes, run.flag)
            return await self._move(run, Stage.TAKE_OUT, Stage.DONE, said)

    async def _let_out(self, undone: int, flag: str) -> str:
        """Whom another run relies on stays in; a segment that is part of another flag too is not forgotten."""
        segment = segment_of(undone)
        members = await self.database.fetch(
            _SQL["relied_on"], _Relied, {"run": undone, "flag": flag, "segment": segment}
        )
        out = [each.user_id for each in members if not each.relied_on]
        if not members:
            return "nobody is let in by it any more"
        if len(out) == len(members):
            elsewhere = await self.database.fetch(_SQL["elsewhere"], _Held, {"flag": flag, "segment": segment})
            await remove_segment(self.database, flag, segment, self._author(), forget=not elsewhere)
        elif out:
            await remove_users(self.database, flag, segment, Named(out), self._author(), reach=FileReach())
        return f"{len(out):,} are let out; {len(members) - len(out):,} stay, for others loaded them since"

    # Moving along ----------------------------------------------------------------------------------------------------

    async def _stand(self, run: Run) -> Stand:
        if (found := await standing(self.database, run.id)) is not None:
            return found
        first = Stage.LOAD if run.undoes is not None else Stage.SEGMENT
        given = {"run": run.id, "stage": first, "version": None, "now": self.clock.now()}
        await self.database.execute(_SQL["begin"], given)
        return await self.database.one(_SQL["stand"], Stand, {"run": run.id})

    async def _move(
        self,
        run: Run,
        was: Stage,
        to: Stage,
        detail: str = "",
        *,
        ends: Sequence[dict[str, Any]] | None = None,
        audit: dict[str, Any] | None = None,
        version: int | None = None,
        at: datetime | None = None,
    ) -> Wait:
        """Go from a stage to another. `at`: from when on the flag is to stay as it was read; None: now."""
        given = {
            "run": run.id,
            "was": was,
            "to": to,
            "ends": None if ends is None else Jsonb(list(ends)),
            "audit": None if audit is None else Jsonb(audit),
            "version": version,
            "who": self.who,
            "said": f"now {to}",
            "detail": detail[:_LONGEST_SAID],
            "now": at or self.clock.now(),
        }
        await self.database.execute(_SQL["move"], given)
        return self._at_once(to)

    async def _wait_for(self, run: Run, stage: Stage, what: str, *, at: datetime | None = None) -> Wait:
        """Say what a stage waits for. `at`: see `_move`."""
        given = {"run": run.id, "stage": stage, "waits_for": what[:_LONGEST_SAID], "now": at or self.clock.now()}
        await self.database.execute(_SQL["wait_for"], given)
        return self._again(stage)

    async def _flag(self, flag: str) -> _Flag:
        return await self.database.one(_SQL["flag"], _Flag, {"flag": flag})

    @asynccontextmanager
    async def _alone(self, run: Run) -> AsyncIterator[bool]:
        """Whether no other worker lets users in or out for this run, for the time of a block."""
        async with self.database.connection() as connection:
            (lock,) = await fetch(connection, _SQL["hold"], _Held, {"run": run.id})
            try:
                yield lock.held
            finally:
                if lock.held:
                    await fetch(connection, _SQL["let_go"], _Held, {"run": run.id})

    def _author(self) -> Author:
        return Author(self.who, self.clock.now())

    def _again(self, stage: Stage) -> Wait:
        return Wait(stage, self.clock.now() + _LOOK_AGAIN)

    def _at_once(self, stage: Stage) -> Wait:
        return Wait(stage, self.clock.now())


def segment_of(run: int) -> str:
    """The segment that a run lets its users in by."""
    return f"history-{run}"


async def standing(database: Database, run: int) -> Stand | None:
    """Where a run is, without counting its steps; None: its course has not begun."""
    found = await database.fetch(_SQL["stand"], Stand, {"run": run})
    return found[0] if found else None


async def shown(database: Database, run: int) -> Shown | None:
    """What there is to see of a run's course; None: it has not begun."""
    found = await database.fetch(_SQL["shown"], Shown, {"run": run})
    return found[0] if found else None
