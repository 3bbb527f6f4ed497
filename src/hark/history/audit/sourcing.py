"""Facts against the sources: of a few users, or all, whether the facts are what the sources have.

The source is asked first, then the facts: what the live stream brought in between is newer than the source's answer,
and no fault. What differs is asked for once more, and only what differs again is told: the stream may be a little late.
It is the same difference if it is of the same purchase and kind, whatever the versions are by then: a source moves on
with whatever anybody buys.

The facts lack something only as far back as a load brought it. Whose load has not come yet, though the stream tells of
them, has a past in the sources that nobody has asked for; that is said as it is, and is no fault.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from hark.errors import NotNow, SourceFailed, Unreachable
from hark.history import window
from hark.history.audit.report import Finding, Findings, Name
from hark.history.audit.walking import Pause
from hark.history.facts import Fact, Snapshot
from hark.history.sources.reach import Sources
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

_PAGE = 500
_AGAIN = 500
_KEPT = 20_000
"""How many users are asked for again at once, and about how many differences are kept of them until then."""

_FIELDS = ("product_id", "store_id", "amount_minor", "currency", "quantity", "occurred_at")


@dataclass(frozen=True, slots=True)
class _Recorded:
    user_id: str
    key: str
    version: int
    product_id: str | None
    store_id: str | None
    amount_minor: int | None
    currency: str | None
    quantity: Decimal | None
    occurred_at: datetime | None
    deleted: bool


@dataclass(frozen=True, slots=True)
class _Loaded:
    kind: str
    since: datetime


@dataclass(frozen=True, slots=True)
class _User:
    id: str


@dataclass(frozen=True, slots=True)
class _Difference:
    """What is told if another look finds it as well. `key`: of which purchase; empty: of the user as a whole."""

    check: Name
    user: str
    key: str
    cause: str = field(compare=False)

    @property
    def finding(self) -> Finding:
        """As it is told."""
        return Finding(self.check, self.user, f"{self.key}: {self.cause}" if self.key else self.cause)


@dataclass(slots=True)
class AgainstSources:
    """Asks the sources for users, at the rate that all workers share, and holds the facts against what they answer.

    Attributes:
        since: how far back they are asked, and loads claim to have brought all; None: the sources are asked as far back
            as the window, and the facts must have what lies as far back as each user was loaded.
        told: is told of each user that was asked for.
    """

    database: Database
    sources: Sources
    findings: Findings
    pause: Pause
    since: datetime | None = None
    told: Callable[[], object] = lambda: None

    async def sample(self, many: int | None) -> None:
        """So many users, each as likely as any other; None: all. As many again whom the facts do not know at all."""
        await self._ask_all(self._users("known", many))
        await self._ask_all(self._users("unknown", many))

    async def of_run(self, run: int, many: int | None) -> None:
        """So many of the users whom a run loaded, each as likely as any other; None: all."""
        await self._ask_all(self._users("of_run", many, run=run))

    async def user(self, user: str) -> list[Finding]:
        """What the facts of one user have otherwise than the sources; empty as well if none is set.

        Raises:
            NotNow, Unreachable: a source does not answer now.
            SourceFailed: it answers what it should not.
        """
        first = await self._differences(user)
        if not first:
            return []
        await self.pause()
        return await self._differs_again(user, first)

    async def _ask_all(self, users: AsyncIterator[str]) -> None:
        """Two questions a user; those that differ are asked for again at the end, or when there are many."""
        again: dict[str, list[_Difference]] = {}
        async for user in users:
            if first := await self._first(user):
                again[user] = first
            self.told()
            if len(again) >= _AGAIN or sum(map(len, again.values())) >= _KEPT:
                await self._ask_again(again)
        await self._ask_again(again)

    async def _first(self, user: str) -> list[_Difference]:
        try:
            found = await self._differences(user)
        except (NotNow, Unreachable, SourceFailed) as error:
            self._away(user, error)
            return []
        self.findings.looked_at("users at sources")
        return found

    async def _ask_again(self, users: dict[str, list[_Difference]]) -> None:
        if not users:
            return
        await self.pause()
        for user, first in users.items():
            try:
                if found := await self._differs_again(user, first):
                    self.findings.found(found)
            except (NotNow, Unreachable, SourceFailed) as error:
                self._away(user, error)
        users.clear()

    async def _differs_again(self, user: str, first: Collection[_Difference]) -> list[Finding]:
        before = set(first)
        return [each.finding for each in await self._differences(user) if each in before]

    def _away(self, user: str, error: Exception) -> None:
        self.findings.found([Finding(Name.SOURCE_AWAY, user, str(error).partition("\n")[0])])

    async def _users(self, which: str, many: int | None, **given: object) -> AsyncIterator[str]:
        if many is not None:
            for row in await self.database.fetch(_SQL[f"some_{which}"], _User, {"many": many, **given}):
                yield row.id
            return
        after = ""
        query = _SQL[f"all_{which}"]
        while rows := await self.database.fetch(query, _User, {"after": after, "limit": _PAGE, **given}):
            for row in rows:
                yield row.id
            after = rows[-1].id

    async def _differences(self, user: str) -> list[_Difference]:
        since = self.since or await window.starts_at(self.database)
        snapshots = await self._asked(user, since)
        # First how far back they are loaded: whoever is loaded between the two statements has the facts of it, too.
        reaches = await self._reaches(user)
        rows = await self.database.fetch(_SQL["facts"], _Recorded, {"user": user})
        if not rows and not reaches:
            return _never_loaded(user, snapshots)
        found = [each for snapshot in snapshots for each in _compared(snapshot, rows, self._reach(reaches, snapshot))]
        return [*found, *_not_yet(user, snapshots, rows, reaches)] if self.since is None else found

    async def _reaches(self, user: str) -> dict[str, datetime]:
        """How far back a user is loaded, by the kind of facts; of a kind that nobody loaded, nothing."""
        return {row.kind: row.since for row in await self.database.fetch(_SQL["loaded"], _Loaded, {"user": user})}

    def _reach(self, reaches: Mapping[str, datetime], snapshot: Snapshot) -> datetime | None:
        return self.since or reaches.get(snapshot.kind)

    async def _asked(self, user: str, since: datetime) -> list[Snapshot]:
        """What the sources that are set have of a user."""
        found = []
        if self.sources.knows("purchase"):
            found.append((await self.sources.purchase.receipts(user, since)).snapshot)
        if self.sources.knows("shop"):
            found.append((await self.sources.shop.orders(user, since)).snapshot)
        return found


def _never_loaded(user: str, snapshots: Sequence[Snapshot]) -> list[_Difference]:
    lacking = sum(not fact.deleted for snapshot in snapshots for fact in snapshot.facts)
    cause = f"has {lacking} purchases in the sources, and no facts"
    return [_Difference(Name.SOURCE_UNKNOWN, user, "", cause)] * bool(lacking)


def _not_yet(
    user: str, snapshots: Sequence[Snapshot], rows: Sequence[_Recorded], reaches: Mapping[str, datetime]
) -> list[_Difference]:
    """What no load has come to, of whom the stream or an earlier load told something."""
    known = {row.key for row in rows if not row.deleted}
    facts = [fact for each in snapshots if each.kind not in reaches for fact in each.facts]
    lacking = sum(not fact.deleted and fact.key not in known for fact in facts)
    cause = f"has {lacking} purchases in the sources that are not loaded yet"
    return [_Difference(Name.SOURCE_UNKNOWN, user, "", cause)] * bool(lacking)


def _compared(snapshot: Snapshot, rows: Sequence[_Recorded], reach: datetime | None) -> Iterator[_Difference]:
    """One user's facts of one kind against what its source has.

    Args:
        reach: how far back the facts must have all; None: they need not have anything; what they have must be right.
    """
    has = {fact.key: fact for fact in snapshot.facts if not fact.deleted}
    recorded = {row.key: row for row in rows if row.key.startswith(f"{snapshot.kind}:")}
    yield from _lacking(snapshot, has, recorded, reach)
    for key, row in recorded.items():
        if key not in has and _should_be_there(snapshot, row):
            cause = f"the facts have it, in version {row.version}; its source, at {snapshot.version}, has not"
            yield _Difference(Name.SOURCE_EXTRA, snapshot.user_id, key, cause)


def _lacking(
    snapshot: Snapshot, has: Mapping[str, Fact], recorded: Mapping[str, _Recorded], reach: datetime | None
) -> Iterator[_Difference]:
    for key, fact in has.items():
        row = recorded.get(key)
        if row is None or (row.deleted and row.version <= fact.version):
            if reach is not None and fact.occurred_at is not None and fact.occurred_at >= reach:
                cause = f"its source has it, in version {fact.version}; the facts do not"
                yield _Difference(Name.SOURCE_MISSING, snapshot.user_id, key, cause)
        elif not row.deleted and row.version <= fact.version and (other := _other(fact, row)):
            yield _Difference(Name.SOURCE_DIFFERS, snapshot.user_id, key, other)


def _should_be_there(snapshot: Snapshot, row: _Recorded) -> bool:
    """Whether a source that lists all since a time, as of a version, must have what the facts have."""
    return (
        not row.deleted
        and row.version <= snapshot.version
        and row.occurred_at is not None
        and row.occurred_at >= snapshot.since
    )


def _other(fact: Fact, row: _Recorded) -> str:
    """What is other; the version alone is no difference to anybody who reads purchases."""
    wrong = [(name, getattr(fact, name), getattr(row, name)) for name in _FIELDS]
    return "; ".join(
        f"{name} is {_short(is_)} in the facts, {_short(be)} in its source" for name, be, is_ in wrong if be != is_
    )


def _short(value: Any) -> str:
    return "nothing" if value is None else str(value)[:80]
