"""How fast does a preference backfill run, with its journal, beside one statement that does all of it at once?"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bench.command import PREFERENCES, peak_of, written
from bench.contest import Question, Rounds, Target, answer, stopwatch, take_turns
from bench.ground import Connection, bare, catalogue, fresh_hark, reason, settle_down
from bench.result import Result
from hark.backfill import control
from hark.backfill.kinds.preferences import read_preferences
from hark.backfill.plan import create, plan_chunk
from hark.backfill.request import Order, Pace
from hark.backfill.run import Runner
from hark.backfill.verify import verify
from hark.catalogue import Catalogue, Channel
from hark.clock import DatabaseClock
from hark.postgres.database import Database

USERS = 2_000_000
LOOPED = 5_000
"""Users of the per-user loop, which is too slow for more."""
REASONS = ("reply", "like", "tip")
CHANNELS = ("push", "in_app")
DATABASE = "bench_backfill"

APPLY = Question(
    name="backfill_preferences",
    question="How fast does a preference backfill of three reasons apply its plan, in batches of 500 with a journal?",
    unit="users/s",
    higher_is_better=True,
    peer_name="a loop over the users: SELECT … FOR UPDATE, merge in Python, UPDATE, INSERT into the journal, COMMIT",
    limit_name="a single UPDATE over all users, in one transaction, that writes the same journal",
    notes=(
        "The limit merges in SQL, looks at no plan and leaves nothing behind to pause, resume or fence. Hark claims "
        "each batch, guards each user by what the plan saw, keeps counts a batch, and commits each; one worker, in "
        "this process, without throttle. Every user changes."
    ),
)
PLAN = Question(
    name="backfill_preferences_plan",
    question="How fast is it planned?",
    unit="users/s",
    higher_is_better=True,
    peer_name="",
    limit_name="reading the same rows in the order of their ids, with what they hold for the reasons, thrown away",
    notes="The plan is stored whole: who gets what, as rows of users who are alike.",
)
MEMORY = Question(
    name="backfill_preferences_memory",
    question="How much memory does the command line take at most, from a list and its plan to an undo's?",
    unit="MB",
    higher_is_better=False,
    peer_name="",
    limit_name="",
    notes=(
        "The largest peak (VmHWM) of the processes of `hark backfill preferences --file … --apply`, `verify`, `undo` "
        "and `list`, Python and libraries included; the list is a CSV of all users, an id a line."
    ),
)
AGAIN = Question(
    name="backfill_preferences_again",
    question="How many rows does the same backfill write when it is planned and applied once more?",
    unit="rows + 1",
    higher_is_better=False,
    peer_name="",
    limit_name="",
    notes=(
        "Rows of hark.preference and hark.backfill_item that the second run writes, plus one to make a figure of it: 1 "
        "is none."
    ),
)

SEED = """
insert into hark.recipient (id, user_type, address, confirmed, updated_at)
select 'user-' || lpad(n::text, 8, '0'), 'Students', 'user' || n || '@school.example', true, now()
  from generate_series(1, {users}) n;
insert into hark.cohort (spec, staged_at) values ('{{}}', now());
insert into hark.cohort_member select 1, id from hark.recipient;
"""
FILL = """
insert into hark.preference (recipient_id, channels, updated_at)
select id, case n % 4 when 0 then '{{"reply": ["email"], "like": ["in_app"], "other": ["email"]}}'
                      when 1 then '{{"reply": [], "tip": ["email", "in_app"], "like": ["email"]}}'
                      when 2 then '{{"other": ["email", "in_app"]}}'
                      else '{{"reply": ["in_app"], "like": ["email", "in_app"], "tip": []}}' end::jsonb, now()
  from (select id, right(id, 8)::int as n from hark.recipient) r order by id
"""
SINGLE = """
with merged as (
    select p.recipient_id,
           jsonb_strip_nulls(jsonb_build_object('reply', p.channels -> 'reply', 'like', p.channels -> 'like',
                                                'tip', p.channels -> 'tip')) as before,
           jsonb_build_object('reply', reply || {reply}, 'like', likes || {likes}, 'tip', tip || {tip}) as after
      from hark.cohort_member m
      join hark.recipient r on r.id = m.recipient_id and r.user_type = 'Students'
      join hark.preference p on p.recipient_id = m.recipient_id
     cross join lateral (select coalesce(p.channels -> 'reply', '["email"]') as reply,
                                coalesce(p.channels -> 'like', '["email"]') as likes,
                                coalesce(p.channels -> 'tip', '["email"]') as tip) held
     where m.cohort_id = 1
),
changed as (
    update hark.preference p
       set channels = p.channels || m.after, updated_at = now()
      from merged m
     where m.recipient_id = p.recipient_id
    returning p.recipient_id, m.before, m.after
)
insert into hark.backfill_item (recipient_id, backfill_id, batch, outcome, before, after, at)
select recipient_id, 0, 0, 'applied', before, after, now() from changed
"""
LACKING = """(case when {0} ? 'push' then case when {0} ? 'in_app' then '[]' else '["in_app"]' end
                  when {0} ? 'in_app' then '["push"]' else '["push", "in_app"]' end::jsonb)"""


def measure(scale: float) -> list[Result]:
    """Plan, apply, apply again, and what memory that takes."""
    return asyncio.run(_measure(max(int(USERS * scale), 400), scale))


def _catalogue() -> Catalogue:
    return catalogue(*(reason(name, Channel.EMAIL) for name in REASONS))


@dataclass(slots=True)
class _Field:
    database: Database
    raw: Connection
    users: int
    planned: list[float]

    async def hark(self) -> float:
        """Plan, and apply with one worker; the rate of the latter."""
        await self._clear()
        backfill, clock = await self._plan()
        await control.apply(self.database, backfill, who="bench", now=clock.now())
        runner = Runner(self.database, clock, "bench/1")
        with stopwatch() as watch:
            while not (await runner.step(backfill)).over:
                pass
        return self.users / watch.seconds

    async def verify(self) -> None:
        """What was applied last holds for everybody."""
        newest = await self._newest()
        seen = await verify(self.database, newest, who="bench", now=await self.database.now())
        assert seen.holding == seen.compared == self.users, seen

    async def again(self) -> float:
        """Rows that the same backfill writes a second time."""
        since = await self.database.now()
        backfill, clock = await self._plan()
        await control.apply(self.database, backfill, who="bench", now=clock.now())
        runner = Runner(self.database, clock, "bench/1")
        while not (await runner.step(backfill)).over:
            pass
        return await self._written(since) + 1

    async def peak(self) -> float:
        """The most memory that any of the commands took which one runs from a list to an undo's plan, in MB."""
        await self._clear()
        with tempfile.TemporaryDirectory() as folder:
            people = str(written(Path(folder) / "people.csv", self.users))
            peaks = [await peak_of(DATABASE, *PREFERENCES, "--file", people, "--apply")]
        newest = str(await self._newest())
        for verb in ("verify", "undo"):
            peaks.append(await peak_of(DATABASE, "backfill", verb, newest))
        return max(*peaks, await peak_of(DATABASE, "backfill", "list"))

    async def limit(self) -> float:
        """One statement."""
        await self._clear()
        with stopwatch() as watch:
            await self.raw.execute(SINGLE.format(**{name: LACKING.format(name) for name in ("reply", "likes", "tip")}))
        return self.users / watch.seconds

    async def loop(self, users: int) -> float:
        """One user after the other, as most scripts do it."""
        await self._clear()
        ids = await (await self.raw.execute("select id from hark.recipient order by id limit %s", [users])).fetchall()
        with stopwatch() as watch:
            for (user,) in ids:
                await self._one(user)
        return users / watch.seconds

    async def read(self) -> float:
        """What planning must read."""
        query = (
            "select count(*), count(p.channels -> 'reply'), count(p.channels -> 'like'), count(p.channels -> 'tip')"
            " from (select m.recipient_id from hark.cohort_member m where m.cohort_id = 1 order by 1) m"
            " join hark.recipient r on r.id = m.recipient_id left join hark.preference p on p.recipient_id = r.id"
        )
        with stopwatch() as watch:
            await (await self.raw.execute(query)).fetchall()
        return self.users / watch.seconds

    async def _newest(self) -> int:
        row = await (await self.raw.execute("select max(id) from hark.backfill")).fetchone()
        assert row is not None
        return int(row[0])

    async def _one(self, user: str) -> None:
        from psycopg.types.json import Jsonb

        async with self.raw.transaction():
            query = "select channels from hark.preference where recipient_id = %s for update"
            row = await (await self.raw.execute(query, [user])).fetchone()
            assert row is not None
            held = {reason: row[0].get(reason, ["email"]) for reason in REASONS}
            after = {reason: [*had, *(c for c in CHANNELS if c not in had)] for reason, had in held.items()}
            await self.raw.execute(
                "update hark.preference set channels = %s, updated_at = now() where recipient_id = %s",
                [Jsonb({**row[0], **after}), user],
            )
            await self.raw.execute(
                "insert into hark.backfill_item (recipient_id, backfill_id, batch, outcome, before, after, at)"
                " values (%s, 0, 0, 'applied', %s, %s, now())",
                [user, Jsonb(held), Jsonb(after)],
            )

    async def _plan(self) -> tuple[int, DatabaseClock]:
        clock = await DatabaseClock.start(self.database)
        asked = read_preferences(_catalogue(), reasons=REASONS, channels=CHANNELS, user_types=["Students"])
        order = Order("preferences", asked.to_json(), 1, "bench", pace=Pace(adaptive=False))
        backfill = await create(self.database, order, clock.now())
        with stopwatch() as watch:
            while await plan_chunk(self.database, backfill, clock.now()):
                pass
        self.planned.append(self.users / watch.seconds)
        return backfill, clock

    async def _written(self, since: datetime) -> float:
        query = (
            "select (select count(*) from hark.preference where updated_at >= %s)"
            " + (select count(*) from hark.backfill_item where at >= %s)"
        )
        row = await (await self.raw.execute(query, [since, since])).fetchone()
        return float(row[0]) if row else 0.0

    async def _clear(self) -> None:
        await self.raw.execute("truncate hark.preference, hark.backfill_item, hark.backfill_batch, hark.backfill_part")
        await self.raw.execute(FILL.format())
        await settle_down(
            self.raw, "hark.preference", "hark.backfill_item", "hark.backfill_batch", "hark.backfill_part"
        )


async def _measure(users: int, scale: float) -> list[Result]:
    async with fresh_hark(DATABASE, _catalogue()) as database, bare(DATABASE) as raw:
        await raw.execute(SEED.format(users=users))
        await settle_down(raw, "hark.recipient", "hark.cohort_member")
        field = _Field(database, raw, users, [])
        looped = min(LOOPED, users)
        # Hark comes last: what it did is verified, and then done again.
        applied = await take_turns({"limit": field.limit, "peer": lambda: field.loop(looped), "hark": field.hark})
        await field.verify()
        planned = {"hark": Rounds(tuple(field.planned))}
        planned |= await take_turns({"limit": field.read})
        rewritten = await take_turns({"hark": field.again}, rounds=1)
        memory = await take_turns({"hark": field.peak}, rounds=1)
    target, small, none = (
        (Target(share_of_limit=0.6), Target(figure=60), Target(figure=1)) if scale >= 1 else (None,) * 3
    )
    sizes = {"users": users, "reasons": len(REASONS)}
    return [
        answer(APPLY, applied, {**sizes, "users of the loop": looped}, target),
        answer(PLAN, planned, sizes),
        answer(MEMORY, memory, sizes, small),
        answer(AGAIN, rewritten, sizes, none),
    ]
