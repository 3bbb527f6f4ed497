"""Segments whose members come from elsewhere, kept as that is: an object is read again when its ETag is another one,
internal users are looked up again now and then. One process looks, and all see the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from hark.access import audit
from hark.access.audit import Act
from hark.clock import Clock
from hark.errors import HarkError
from hark.flags import segments
from hark.flags.rules import Internal, Kept, Rule, SegmentKind
from hark.flags.segments import Change, Held
from hark.lists import File, FileReach, Format, etag_now
from hark.lists.reading import watched
from hark.logs import Log
from hark.postgres.database import Database
from hark.postgres.queries import Queries, Query

_SQL = Queries.beside(__file__)
_log = Log(__name__)


@dataclass(frozen=True, slots=True)
class _At:
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Looked:
    """One look at a segment: what changed (None: nothing), and what stood in the way (its members stay)."""

    segment: str
    change: Change | None = None
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Watcher:
    """Looks at segments when their time has come. `who` stands in the audit log, for what it changes."""

    database: Database
    clock: Clock
    reach: FileReach
    who: str

    async def look(self) -> Looked | None:
        """Look at the one that is due the longest; None: none is due."""
        now = self.clock.now()
        periods = {"objects": segments.OBJECTS_LOOKED_AT, "internal": segments.INTERNAL_LOOKED_AT}
        due = await self.database.fetch(_SQL["claim"], Held, {"now": now, **periods})
        return await self._look_at(due[0]) if due else None

    async def next_at(self) -> datetime | None:
        """When one is due."""
        return (await self.database.one(_SQL["next"], _At)).at

    async def _look_at(self, seen: Held) -> Looked:
        try:
            rule = _rule(seen)
            if isinstance(rule, Kept) and await self._etag(rule.file.url) == seen.etag:
                await self._note(_SQL["same"], seen)
                return Looked(seen.name)
            return Looked(seen.name, await self._read(seen, rule))
        except HarkError as error:
            trouble = str(error).splitlines()[0]
            _log.warning("segment_cannot_be_read", segment=seen.name, error=type(error).__name__)
            await self._note(_SQL["trouble"], seen, trouble=trouble)
            return Looked(seen.name, trouble=trouble)

    async def _etag(self, url: str) -> str:
        return await watched(url, lambda _beat: etag_now(url, self.reach))

    async def _read(self, seen: Held, rule: Rule) -> Change | None:
        schema = self.database.schema
        async with segments.incoming(self.database) as connection:
            etag = await segments.bring(connection, rule, self.reach, schema=schema)
            async with connection.transaction():
                now = self.clock.now()
                held = await segments.held(connection, seen.name, schema=schema)
                if held is None or _is_other(held, seen):
                    return None  # somebody said otherwise meanwhile, or has read a newer one
                change = await segments.replace_members(connection, held, rule, now, schema=schema, etag=etag)
                if not change.flags and not change.joined and not change.gone:
                    return None
                detail = {"members": change.members, "joined": change.joined, "gone": change.gone}
                one = self.database.by(connection)
                await audit.record(one, now, self.who, Act.SEGMENT_LOOK, f"segment:{seen.name}", detail)
        return change

    async def _note(self, query: Query, seen: Held, **given: object) -> None:
        await self.database.execute(query, {"segment": seen.name, "now": self.clock.now(), **given})


def _rule(seen: Held) -> Rule:
    if seen.kind == SegmentKind.OBJECT:
        assert seen.url is not None
        return Kept(File(seen.url, Format(seen.format) if seen.format else None, seen.file_column))
    return Internal(tuple(seen.internal or ()))


def _is_other(held: Held, seen: Held) -> bool:
    return replace(held, version=seen.version) != seen
