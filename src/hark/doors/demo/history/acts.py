"""What happens in the demo, one act after the other, each by what the verb of the same name uses."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from hark.backfill.cohort import CohortWords
from hark.backfill.loads import LoadWords
from hark.backfill.verify import verify
from hark.clock import Clock
from hark.doors.demo.history import ledger
from hark.doors.demo.history.ledger import Compared, Lines
from hark.doors.demo.history.loads import WHO, Loads
from hark.doors.demo.history.show import Show
from hark.doors.demo.history.stream import Stream, wait_until
from hark.doors.demo.history.summary import Audited, Fault, Summary
from hark.doors.demo.history.till import People, Till
from hark.flags import Author, FlagReader, Named, create, set_segment
from hark.history.answers import purchased, shops_in
from hark.history.audit import Audit, Name, Report, Severity
from hark.history.live import dead
from hark.history.loading.course import Stage
from hark.history.sandbox.goods import Goods
from hark.history.sources.reach import Sources
from hark.history.tending import Tender
from hark.lists import FileReach
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

FLAG = "history-live"
RATE = 10
"""Users a second: slow enough for something to happen meanwhile."""
_BATCH = 5
_BETWEEN_S = 0.12
_BETA = "beta"


@dataclass(frozen=True, slots=True)
class Place:
    """Where it all happens."""

    database: Database
    clock: Clock
    goods: Goods
    people: People
    sources: Sources
    tender: Tender


@dataclass(slots=True)
class Acts:
    """Everything, in its order.

    Attributes:
        meanwhile: how many messages were written while users were loaded.
    """

    at: Place
    loads: Loads
    stream: Stream
    till: Till
    show: Show
    chance: Random
    meanwhile: int = 0
    audits: list[Audited] = field(default_factory=list)
    compared: list[Compared] = field(default_factory=list)

    async def all(self) -> Summary:
        """Play them to the end."""
        await self.live_before()
        first = await self.plan_a_load()
        await self.load(first)
        stages = tuple(self.loads.stages)
        verified = await self.look(first)
        fault = await self.break_something()
        again = await self.heal(fault)
        await self.take_back(again, first)
        return self._summary(stages, verified, fault, await self._let_in())

    # The acts --------------------------------------------------------------------------------------------------------

    async def live_before(self) -> None:
        """Some people are let in, and all of them buy."""
        self.show.act("A stream of purchases; the flag lets in a few (hark ingest purchases.jsonl)")
        self.till.before()
        await self.stream.read_up_to(self.till.lines)
        self.show.say(self.stream.tally.line())
        for letter in await dead.page(self.at.database, dead.Filter(), limit=5):
            self.show.say(f"{letter.topic}: {letter.cause} (hark ingest dead list)")

    async def plan_a_load(self) -> int:
        """What a load would do; nobody is asked for yet."""
        self.show.act(f"A load of {len(self.at.people.cohort)} users, planned (hark backfill history --dry-run)")
        planned = await self.loads.plan(self._words(self.at.people.cohort))
        self.show.plan(planned)
        return planned.head.id

    async def load(self, backfill: int) -> None:
        """Apply it, while people go on buying."""
        self.show.act(f"Loaded while the stream goes on (hark backfill apply {backfill})")
        with self.show.progress(self.stream.tally):
            async with asyncio.TaskGroup() as tasks:
                buying = tasks.create_task(self._buy_meanwhile())
                done = await self.loads.apply(backfill)
                if Stage.LOAD not in self.loads.stages:
                    buying.cancel()
            await self.stream.read_up_to(self.till.lines)
        self.show.ended(done)
        self.show.say(f"the stream: {self.stream.tally.line()}")

    async def look(self, backfill: int) -> int:
        """What people bought, whether that is what the load left, and what the sources have; who holds."""
        self.show.act("What they bought, as Postgres answers it (no graph is needed)")
        await self._tend()
        users = self._liveliest(3)
        database = self.at.database
        self.show.answers(await shops_in(database, users), await purchased(database, users[:1]))
        self.show.act("Is it right? (hark backfill verify, hark history audit --sample all)")
        seen = await verify(database, backfill, who=WHO, now=self.at.clock.now())
        self.show.say(f"read again: {seen.holding:,} of {seen.compared:,} users are as the load left them")
        await self._audit("after the load")
        await self._compare("after the load", self._all_that_is_known())
        return seen.compared if seen.good else 0

    async def break_something(self) -> Fault:
        """A fact is deleted behind Hark's back."""
        user = max(self.at.people.quiet, key=lambda each: len(self._bought_by(each)))
        key = self.chance.choice(self._bought_by(user))
        self.show.act("A fault is planted: a row of hark.fact is deleted behind Hark's back")
        await self.at.database.execute(_SQL["plant"], {"user": user, "key": key})
        self.show.say(f"gone: {key} of {user}")
        report = await self._audit("after the fault")
        found = [each for each in report.checks if each.severity is not Severity.OK]
        named = [(each.name, example.id) for each in found for example in each.examples]
        just_that = named == [(Name.SOURCE_MISSING, user)] and found[0].examples[0].cause.startswith(f"{key}:")
        return Fault(user, key, just_that)

    async def heal(self, fault: Fault) -> int:
        """What the audit says to do: load that user anew."""
        self.show.act(f"Healed (hark backfill history --ids {fault.user} --flag {FLAG} --force --apply)")
        planned = await self.loads.plan(self._words([fault.user], force=True))
        self.show.ended(await self.loads.apply(planned.head.id))
        await self._audit("after it was healed")
        await self._compare("after it was healed", self._all_that_is_known())
        return planned.head.id

    async def take_back(self, *runs: int) -> None:
        """Undo the loads, the last one first."""
        self.show.act(f"All of it taken back (hark backfill undo {', '.join(map(str, runs))})")
        for run in runs:
            planned = await self.loads.plan_undo(run)
            self.show.ended(await self.loads.apply(planned.head.id))
        await self._compare("after the undo", ledger.fold(self.till.said))

    # Their parts -----------------------------------------------------------------------------------------------------

    async def _buy_meanwhile(self) -> None:
        """From when on everybody is let in: what is said from then on must be taken."""
        stages = self.loads.stages
        await wait_until(lambda: Stage.LOAD in stages)
        begun = self.till.lines
        for happens in self.till.meanwhile():
            happens()
            if stages[-1] is Stage.LOAD:
                self.meanwhile = self.till.lines - begun
            await asyncio.sleep(_BETWEEN_S)

    def _words(self, users: Sequence[str], *, force: bool = False) -> LoadWords:
        cohort = CohortWords(ids=[",".join(users)])
        return LoadWords(cohort=cohort, flag=FLAG, rate_limit=RATE, batch_size=_BATCH, force=force, adaptive=False)

    async def _tend(self) -> None:
        """What a worker's loops do: ask what products are called, and where they stand."""
        for chunk in self.at.tender.chunks().values():
            while (await chunk()).more:
                pass

    async def _audit(self, when: str) -> Report:
        now = self.at.clock.now()
        report = await Audit(self.at.database, None, now, self.at.sources).everything(None)
        found = [
            f"{check.severity} {check.name}: {each.id}: {each.cause}"
            for check in report.checks
            for each in check.examples
        ]
        users = report.compared.get("users at sources", 0)
        self.audits.append(Audited(when, report.severity, report.score, users, found))
        self.show.audited(report)
        return report

    async def _compare(self, what: str, expected: Lines) -> None:
        users = [*self.at.people.cohort, *self.at.people.strangers]
        database, goods = self.at.database, self.at.goods
        held, sums = await purchased(database, users), await shops_in(database, users)
        found = ledger.compare(what, expected, goods, held, sums)
        self.compared.append(found)
        self.show.compared(found)

    def _all_that_is_known(self) -> Lines:
        """Of those who are loaded: what the sources keep, and what the stream said."""
        return ledger.fold([*ledger.of_sources(self.at.goods, self.at.people.cohort), *self.till.said])

    def _bought_by(self, user: str) -> list[str]:
        return [key for _, key in ledger.fold(ledger.of_sources(self.at.goods, [user]))]

    def _liveliest(self, many: int) -> list[str]:
        by_lines = sorted(self.at.people.cohort, key=lambda each: -len(self._bought_by(each)))
        return by_lines[:many]

    def _summary(self, stages: Sequence[str], verified: int, fault: Fault, let_in: int) -> Summary:
        people, tally = self.at.people, self.stream.tally
        good = (
            all(each.equal for each in self.compared)
            and [each.severity is Severity.OK for each in self.audits] == [True, False, True]
            and fault.found
            and verified == len(people.cohort)
            and let_in == len(people.beta)
        )
        return Summary(
            users=len(people.cohort),
            messages=tally.messages,
            recorded=tally.recorded,
            left_out=tally.left_out,
            dead=tally.dead,
            meanwhile=self.meanwhile,
            stages=stages,
            verified=verified,
            audits=self.audits,
            fault=fault,
            compared=self.compared,
            let_in=let_in,
            good=good,
        )

    async def _let_in(self) -> int:
        now = await FlagReader(self.at.database, frozenset([FLAG])).refresh()
        return sum(now.decide(FLAG, user).lets_in for user in self.at.people.cohort)


async def make_flag(database: Database, clock: Clock, users: Sequence[str]) -> None:
    """A flag that lets these in: `hark flags create`, `hark flags segment set`."""
    author = Author(WHO, clock.now())
    await create(database, FLAG, author)
    await set_segment(database, FLAG, _BETA, Named(list(users)), author, reach=FileReach())
