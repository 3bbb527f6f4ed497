"""What there is to see of flags: lists, one of them whole, who they let in and why."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from hark.catalogue.wording import no_such, quoted
from hark.errors import BadInput
from hark.flags.changes import check_known, no_flag
from hark.flags.gate import Report, reports
from hark.flags.rules import SegmentKind, in_percent
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

PAGE = 5000


@dataclass(frozen=True, slots=True)
class FlagLine:
    """One flag as lists show it. `enrolled`: how many were, one by one."""

    name: str
    version: int
    is_on: bool
    enrolled: int
    created_at: datetime
    changed_at: datetime
    segments: Sequence[str]


@dataclass(frozen=True, slots=True)
class SegmentLine:
    """One segment of a flag.

    Attributes:
        members: how many; of a rollout nobody knows.
        share: of a rollout, in 100,000ths.
        since: when it became part of the flag.
        looked_at: when it was last looked at where its members come from; `trouble`: what stood in the way.
    """

    name: str
    version: int
    kind: str
    members: int
    url: str | None
    format: str | None
    file_column: str | None
    etag: str | None
    internal: Sequence[str] | None
    share: int | None
    since: datetime
    changed_at: datetime
    looked_at: datetime | None
    trouble: str | None

    @property
    def made_of(self) -> str:
        """In words."""
        match SegmentKind(self.kind):
            case SegmentKind.OBJECT:
                return str(self.url)
            case SegmentKind.INTERNAL:
                return f"internal: {', '.join(self.internal or ())}"
            case SegmentKind.ROLLOUT:
                return in_percent(self.share or 0)
            case _:
                return "ids"


@dataclass(frozen=True, slots=True)
class FlagShown:
    """All of a flag: what it is made of, and which processes act on which version of it."""

    flag: FlagLine
    segments: Sequence[SegmentLine]
    gates: Sequence[Report]


@dataclass(frozen=True, slots=True)
class Member:
    """A user who is in. `since`: from when on without a gap; null: from before that was kept, or nobody can say."""

    user_id: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a flag says of a user, and because of what (`enrolled`, `segment`; `off`, `in_none`)."""

    user_id: str
    flag: str
    version: int
    because: str
    segment: str | None

    @property
    def lets_in(self) -> bool:
        """Whether they are let in."""
        return self.because in ("enrolled", "segment")


async def flags(
    database: Database,
    *,
    is_on: bool | None = None,
    segment: str | None = None,
    after: str = "",
    limit: int = 50,
) -> list[FlagLine]:
    """One page of the flags, by name: only those that are on (or off), only those that have a segment."""
    given = {"is_on": is_on, "segment": segment, "after": after, "limit": limit}
    return await database.fetch(_SQL["flags"], FlagLine, given)


async def show(database: Database, flag: str) -> FlagShown:
    """One flag.

    Raises:
        BadInput: there is none of that name.
    """
    found = await database.fetch(_SQL["flag"], FlagLine, {"flag": flag})
    if not found:
        raise no_flag(flag, [each.name for each in await flags(database, limit=1000)])
    segments = await database.fetch(_SQL["segments"], SegmentLine, {"flag": flag})
    return FlagShown(found[0], segments, await reports(database, flag))


async def members(database: Database, flag: str, *, after: str = "", limit: int = 50) -> list[Member]:
    """One page of those whom a flag lets in, by id. Of a rollout: those recipients that are known.

    Raises:
        BadInput: there is no such flag.
    """
    await check_known(database, flag)
    return await _members(database, flag, after, limit)


async def all_members(database: Database, flag: str) -> AsyncIterator[Sequence[Member]]:
    """All whom a flag lets in, a page at a time; raises what `members` does.

    A page is of one moment; who joins or leaves meanwhile may be in or not.
    """
    await check_known(database, flag)
    after = ""
    while page := await _members(database, flag, after, PAGE):
        yield page
        after = page[-1].user_id


async def segment_members(
    database: Database, flag: str, segment: str, *, after: str = "", limit: int = 50
) -> list[Member]:
    """One page of those who are in a segment of a flag, by id.

    Raises:
        BadInput: there is no such flag, or it has no such segment.
    """
    parts = {each.name: each for each in (await show(database, flag)).segments}
    if segment not in parts:
        raise BadInput(f"{quoted(segment)}: {no_such(f'segment of flag {flag}', segment, parts)}")
    rolls = parts[segment].kind == SegmentKind.ROLLOUT
    query = _SQL["rolled_members" if rolls else "segment_members"]
    return await database.fetch(query, Member, {"segment": segment, "after": after, "limit": limit})


async def check(database: Database, users: Sequence[str], *, flag: str | None = None) -> list[Verdict]:
    """What each flag, or one, says of each of these users, and why; by flags, then users.

    Raises:
        BadInput: there is no such flag.
    """
    if flag is not None:
        await check_known(database, flag)
    return await database.fetch(_SQL["check"], Verdict, {"users": sorted(set(users)), "flag": flag})


async def _members(database: Database, flag: str, after: str, limit: int) -> list[Member]:
    return await database.fetch(_SQL["members"], Member, {"flag": flag, "after": after, "limit": limit}, prepare=False)
