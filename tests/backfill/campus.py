"""A campus to try backfills on: who is there, what they chose, and what a backfill makes of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hark import preferences
from hark.backfill import control
from hark.backfill.cohort import Cohort, Everyone
from hark.backfill.kinds.preferences import read_preferences
from hark.backfill.listing import Member, Shown, counts, members, show
from hark.backfill.plan import create, plan_chunk
from hark.backfill.request import Notify, Order, Pace
from hark.backfill.run import Runner
from hark.backfill.throttle import Readings
from hark.backfill.undo import undo
from hark.backfill.verify import Verified, verify
from hark.catalogue import Calendar, Catalogue, Channel, Feed, Frequency, SqlSource
from hark.clock import VirtualClock
from hark.postgres.database import Database, open_database
from tests.world import MONDAY_NOON, reason

CATALOGUE = Catalogue(
    user_types={"Students": "", "Employers": "", "Admins": ""},
    reasons={
        each.name: each
        for each in (
            reason("reply", types=("Students", "Employers")),
            reason("like", channels=(Channel.IN_APP,)),
            reason("tip", channels=(Channel.EMAIL,)),
            reason(
                "page",
                channels=(Channel.IN_APP,),
                frequency=Frequency.DAILY,
                feed=Feed(SqlSource("select 1"), 10, timedelta(0)),
            ),
            reason("done", types=("Admins",), channels=(Channel.IN_APP,)),
        )
    },
    email=None,
    calendar=Calendar(),
)
"""`reply`: by e-mail and in app, for students and employers; `like`, `tip` and the feed `page`: for students;
`done`: for admins."""


class Calm:
    """Probes of a database that nothing disturbs."""

    async def read(self, now: datetime) -> Readings:
        """All is well."""
        return Readings(probe=timedelta(milliseconds=1))


@dataclass(slots=True)
class Campus:
    """Hark with a few people on a database of its own; time stands still unless it is moved."""

    dsn: str
    database: Database
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(MONDAY_NOON))

    async def people(self, chosen: Mapping[str, object], user_type: str = "Students") -> None:
        """People, with what they have in `channels`; None: no row."""
        ids = sorted(chosen)
        await self.run(
            "insert into hark.recipient (id, user_type, updated_at) select id, %s, %s from unnest(%s::text[]) id",
            user_type,
            self.clock.now(),
            ids,
        )
        having = [name for name in ids if chosen[name] is not None]
        await self.run(
            "insert into hark.preference (recipient_id, channels, updated_at)"
            " select id, held, %s from unnest(%s::text[], %s::jsonb[]) given(id, held)",
            self.clock.now(),
            having,
            [json.dumps(chosen[name]) for name in having],
        )

    async def cohort(self, members: Sequence[str] | None = None) -> int:
        """A staged cohort of these, or of all; its id."""
        ids = sorted(members) if members is not None else await self.column("select id from hark.recipient order by id")
        (cohort,) = await self.column(
            "insert into hark.cohort (spec, members, staged_at) values (%s::jsonb, %s, %s) returning id",
            json.dumps(Cohort(Everyone()).as_json()),
            len(ids),
            self.clock.now(),
        )
        await self.run("insert into hark.cohort_member select %s, id from unnest(%s::text[]) id", cohort, ids)
        return int(cohort)

    async def ask(
        self,
        reasons: Sequence[str] = ("reply",),
        channels: Sequence[str] = ("push", "in_app"),
        *,
        user_types: Sequence[str] = ("Students",),
        members: Sequence[str] | None = None,
        create_rows: bool = False,
        batch_size: int = 3,
        who: str = "olga",
        pace: Pace = Pace(),  # noqa: B008
        approval_over: int | None = None,
        notify: Notify | None = None,
    ) -> int:
        """Ask for a backfill; its id."""
        asked = read_preferences(
            CATALOGUE, reasons=reasons, channels=channels, user_types=user_types, create_rows=create_rows
        )
        order = Order(
            "preferences",
            asked.to_json(),
            await self.cohort(members),
            who,
            batch_size,
            pace,
            approval_over,
            notify,
        )
        return await create(self.database, order, self.clock.now())

    async def plan(self, *given: Any, **named: Any) -> int:
        """Ask for one, and plan it to the end."""
        backfill = await self.ask(*given, **named)
        await self.planned(backfill)
        return backfill

    async def planned(self, backfill: int) -> None:
        """Plan it to the end."""
        while await plan_chunk(self.database, backfill, self.clock.now()):
            pass

    async def apply(self, backfill: int, who: str = "olga") -> None:
        """Let it be applied, and do so to the end."""
        await control.apply(self.database, backfill, who=who, now=self.clock.now())
        await self.run_out(backfill)

    async def run_out(self, backfill: int) -> None:
        """Step until it is over; time passes where it waits."""
        runner = self.runner()
        while not (stepped := await runner.step(backfill)).over:
            if stepped.obstacle is not None:
                self.clock.move_to(max(stepped.obstacle.until, self.clock.now()))

    async def undone(self, backfill: int) -> int:
        """Take it back, to the end; the id of what did."""
        back = await undo(self.database, backfill, who="olga", now=self.clock.now())
        await self.planned(back)
        await self.apply(back)
        return back

    async def verified(self, backfill: int) -> Verified:
        """Read again."""
        return await verify(self.database, backfill, who="olga", now=self.clock.now())

    async def shown(self, backfill: int) -> Shown:
        """All there is to see."""
        return await show(self.database, backfill)

    def runner(self, worker: str = "hand/1", **given: Any) -> Runner:
        """A worker of its own."""
        return Runner(self.database, self.clock, worker, **{"probes": Calm(), **given})

    async def channels(self) -> dict[str, Any]:
        """What everybody has in `channels`."""
        rows = await self.rows("select recipient_id, channels from hark.preference order by recipient_id")
        return dict(rows)

    async def members(self, backfill: int, outcome: str) -> list[Member]:
        """Who has an outcome in the plan."""
        return await members(self.database, backfill, outcome)

    async def choose(self, name: str, reason: str, channels: Sequence[str]) -> None:
        """Somebody chooses for themselves, a little later."""
        self.clock.advance(timedelta(seconds=1))
        chosen = [Channel(channel) for channel in channels]
        await preferences.choose(self.database, name, reason, self.clock.now(), channels=chosen)

    async def counts(self, backfill: int) -> dict[tuple[str, str], int]:
        """How many users get which outcome for which reason."""
        found: Counter[tuple[str, str]] = Counter()
        for count in await counts(self.database, backfill):
            found[count.subject, count.outcome] += count.users
        return dict(found)

    async def state(self, backfill: int) -> str:
        """Where it is."""
        (state,) = await self.column("select state::text from hark.backfill where id = %s", backfill)
        return str(state)

    async def rows(self, sql: str, *params: object) -> list[Any]:
        """All rows of a query."""
        async with self.database.connection() as connection:
            return await (await connection.execute(sql.encode(), params)).fetchall()

    async def column(self, sql: str, *params: object) -> list[Any]:
        """The first column of a query."""
        return [row[0] for row in await self.rows(sql, *params)]

    async def run(self, sql: str, *params: object) -> None:
        """A statement."""
        async with self.database.connection() as connection:
            await connection.execute(sql.encode(), params)


@asynccontextmanager
async def open_campus(dsn: str) -> AsyncIterator[Campus]:
    """A campus on a migrated, empty database."""
    async with open_database(dsn) as database:
        await preferences.install(database, CATALOGUE)
        yield Campus(dsn, database)
