"""What the tests of loads say, in short: the sandbox as the sources, runs over it, and what must come of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from hark.backfill import control
from hark.backfill.cohort import CohortWords
from hark.backfill.kinds.loading import KIND, Loading
from hark.backfill.listing import counts
from hark.backfill.loads import LoadWords, Starter, ask_load, order_load
from hark.backfill.run import Runner
from hark.backfill.throttle import Readings
from hark.backfill.undo import undo
from hark.backfill.verify import Verified, verify
from hark.config import Settings
from hark.durations import parse_rate
from hark.history.facts import Fact, record_facts
from hark.history.loading.course import Shown, shown
from hark.history.sandbox.faults import Kind
from hark.history.sandbox.made_up import MadeUp
from hark.lists import FileReach
from tests.history.sources.scene import Scene, open_scene
from tests.world import LOOPBACK

USERS = 12
OFTEN = parse_rate("1000/s")


class Calm:
    """Probes of a database that nothing disturbs."""

    async def read(self, now: datetime) -> Readings:
        """All is well."""
        return Readings(probe=timedelta(milliseconds=1))


@dataclass(slots=True)
class Yard:
    """The sandbox, and loads of it into one database."""

    scene: Scene
    settings: Settings

    @property
    def database(self) -> Any:
        """Where it is loaded into."""
        return self.scene.database

    @property
    def users(self) -> list[str]:
        """All of the sandbox's."""
        return list(self.scene.goods.users)

    # When -----------------------------------------------------------------------------------------------------------

    def words(self, users: Sequence[str] | None = None, **given: Any) -> LoadWords:
        """A load of these users, or all, as quick as can be."""
        cohort = CohortWords(ids=[",".join(self.users if users is None else users)])
        return LoadWords(**{"cohort": cohort, "rate_limit": 500, "batch_size": 5, **given})

    async def plan(self, users: Sequence[str] | None = None, **given: Any) -> int:
        """Ask for a load, and plan it to the end."""
        words, now = self.words(users, **given), self.scene.clock.now()
        ordered = await order_load(self.database, None, words, who="olga", now=now, allowed=OFTEN, reach=FileReach())
        await self.planned(ordered.backfill)
        return ordered.backfill

    async def planned(self, backfill: int) -> None:
        """Plan one to the end."""
        runner = self.runner()
        while (await control.stand(self.database, backfill)).state == "PLANNING":
            await runner.step_any()
        await runner.close()

    async def ask(self, words: LoadWords) -> int:
        """Ask for one as it is asked for over HTTP."""
        now = self.scene.clock.now()
        return await ask_load(self.database, None, words, who="key", now=now, allowed=OFTEN, reach=FileReach())

    async def started(self, backfill: int) -> None:
        """Let it be applied."""
        await control.apply(self.database, backfill, who="olga", now=self.scene.clock.now())

    async def apply(self, backfill: int) -> str:
        """Apply it to the end; its state then."""
        await self.started(backfill)
        return await self.run_out(backfill)

    async def run_out(self, backfill: int, runner: Runner | None = None, *, quickly: bool = True) -> str:
        """Step until it is over; its state then. `quickly`: what waits for its turn is due at once."""
        runner = runner or self.runner()
        try:
            while not (stepped := await runner.step(backfill)).over:
                if not stepped.did:
                    await asyncio.sleep(0.02)
                    if quickly:
                        await self.hurry()
        finally:
            await runner.close()
        return await self.state(backfill)

    async def hurry(self) -> None:
        """What waits for a later moment is due now."""
        await self.run("update hark.backfill_batch set due_at = now() where state = 'WAITING'")
        await self.run("update hark.history_step set due_at = now() where state = 'WAITING' and due_at > now()")

    async def loaded(self, users: Sequence[str] | None = None, **given: Any) -> int:
        """Load these users, or all, to the end."""
        backfill = await self.plan(users, **given)
        await self.apply(backfill)
        return backfill

    async def undone(self, backfill: int) -> int:
        """Take it back, to the end; the run that did."""
        back = await undo(self.database, backfill, who="olga", now=self.scene.clock.now())
        await self.planned(back)
        await self.apply(back)
        return back

    async def verified(self, backfill: int) -> Verified:
        """Read again."""
        return await verify(self.database, backfill, who="olga", now=self.scene.clock.now())

    async def live(self, *facts: Fact) -> None:
        """What the stream brings."""
        async with self.database.connection() as connection:
            await record_facts(connection, facts, now=self.scene.clock.now(), by=None)

    def loading(self, **given: Any) -> Loading:
        """What a worker can do of loads."""
        return Loading(self.database, self.scene.clock, self.settings, self.scene.client, "hand/1", **given)

    def runner(self, worker: str = "hand/1", *, loading: Loading | None = None, **given: Any) -> Runner:
        """A worker."""
        outside = {KIND: loading or self.loading()}
        return Runner(self.database, self.scene.clock, worker, **{"probes": Calm(), "outside": outside, **given})

    def starter(self) -> Starter:
        """What begins loads by themselves."""
        return Starter(self.database, self.scene.clock, FileReach(), self.settings.source_rate)

    def fault(self, kind: Kind, **given: Any) -> None:
        """Let something go wrong from now on."""
        self.scene.fault(kind, **given)

    def mended(self) -> None:
        """Let nothing go wrong any more."""
        self.scene.sandbox.faults.every.clear()

    # Then -----------------------------------------------------------------------------------------------------------

    async def facts(self) -> dict[str, set[str]]:
        """The keys of what each user bought, as it is held."""
        rows = await self.rows("select user_id, key from hark.fact where not deleted")
        held: dict[str, set[str]] = {}
        for user, key in rows:
            held.setdefault(user, set()).add(key)
        return held

    def bought(self, users: Sequence[str] | None = None, *, days: int = 365) -> dict[str, set[str]]:
        """The keys of what each user bought, as the primary has it."""
        since = since_of(self.scene.clock.now(), days)
        every = {user: {line[0] for line in self.scene.goods.lines(user, since)} for user in users or self.users}
        return {user: keys for user, keys in every.items() if keys}

    async def state(self, backfill: int) -> str:
        """Where it is."""
        return str((await control.stand(self.database, backfill)).state)

    async def outcomes(self, backfill: int) -> dict[str, int]:
        """How many users get which outcome."""
        return {each.outcome: each.users for each in await counts(self.database, backfill)}

    async def course(self, backfill: int) -> Shown:
        """Where its course is."""
        found = await shown(self.database, backfill)
        assert found is not None
        return found

    def asked(self, source: str = "purchase") -> list[str | None]:
        """About whom a source was asked, in order."""
        return [each.user for each in self.scene.arrivals(source).every]

    async def rows(self, sql: str, *params: object) -> list[Any]:
        """All rows of a query."""
        async with self.database.connection() as connection:
            return list(await (await connection.execute(sql.encode(), params)).fetchall())

    async def run(self, sql: str, *params: object) -> None:
        """A statement."""
        async with self.database.connection() as connection:
            await connection.execute(sql.encode(), params)


def since_of(now: datetime, days: int) -> datetime:
    """The start of a look-back."""
    return (now - timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)


@asynccontextmanager
async def open_yard(dsn: str, users: int = USERS, **settings: Any) -> AsyncIterator[Yard]:
    """A sandbox of made-up users, and what loads from it."""
    goods = MadeUp(users=users, receipts=6, orders=0.4).goods()
    async with open_scene(dsn, goods) as scene:
        made = Settings(
            purchase_url=scene.url,
            shop_url=scene.url,
            source_rate=OFTEN,
            source_patience=timedelta(seconds=2),
            http_allow_private=LOOPBACK,
        )
        yield Yard(scene, replace(made, **settings))


def like(rows: Mapping[str, set[str]]) -> dict[str, int]:
    """How many of each."""
    return {user: len(keys) for user, keys in rows.items()}
