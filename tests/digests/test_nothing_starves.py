"""Whatever is muted, hidden or shown again: what always was wanted is listed once, or is one of the others told of."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from hark import audience
from hark.audience import Subscription
from hark.catalogue import SqlSource
from hark.digests import coverage
from tests.digests.forum import front_page, open_forum, post
from tests.servers import Postgres
from tests.world import NEWS, World, open_world

DAY = timedelta(days=1)
UNLESS_HIDDEN = SqlSource(
    "select asked.n, case when hidden.key is not null then 'hidden' end as why, null::jsonb as payload"
    "  from asked left join public.hidden on hidden.key = asked.key"
)
_LISTED = re.compile(r"alice: (\w+)")


class Mornings(RuleBasedStateMachine):
    """Ada's mornings: posts of every rank, some of them muted or hidden, before or after they are planned."""

    postgres: Postgres
    template: str

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.name = self.postgres.create_database(self.template)
        self.entered = open_world(self.postgres.dsn(self.name))
        self.world: World = self.run(self.entered.__aenter__())
        self.posted: dict[str, Any] = {}
        self.unwanted: set[str] = set()

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @initialize(cap=st.integers(1, 3), asked=st.booleans())
    def begin(self, cap: int, asked: bool) -> None:
        page = replace(front_page(cap=cap), recheck=UNLESS_HIDDEN if asked else None)
        self.run(open_forum(self.world, page, NEWS))
        self.run(self.world.execute("create table public.hidden (key text primary key)"))
        self.run(self.world.know("ada"))
        self.run(self.world.plan())

    @rule(count=st.integers(1, 7), score=st.integers(0, 2))
    def publish(self, count: int, score: int) -> None:
        for _ in range(count):
            key = f"p{len(self.posted)}"
            self.run(post(self.world, key, score=score))
            self.posted[key] = self.world.clock.now()

    @rule(count=st.integers(1, 9), muted=st.booleans())
    def publish_what_is_not_wanted(self, count: int, muted: bool) -> None:
        """It ranks before all else."""
        first = len(self.posted)
        self.publish(count, score=3)
        (self.mute if muted else self.hide)(first, count, True)

    @rule()
    def tell_news(self) -> None:
        self.run(self.world.publish("news", to=["ada"]))

    @rule(first=st.integers(0, 20), count=st.integers(1, 9), muted=st.booleans())
    def mute(self, first: int, count: int, muted: bool) -> None:
        keys = [f"p{n}" for n in range(first, first + count)]
        self.unwanted.update(keys)
        given = [Subscription("ada", key) for key in keys]
        self.run(audience.mute(self.world.database, given, self.world.clock.now(), muted=muted))

    @rule(first=st.integers(0, 20), count=st.integers(1, 9), hidden=st.booleans())
    def hide(self, first: int, count: int, hidden: bool) -> None:
        keys = [f"p{n}" for n in range(first, first + count)]
        self.unwanted.update(keys)
        change = (
            "insert into public.hidden select unnest(%s::text[]) on conflict do nothing"
            if hidden
            else "delete from public.hidden where key = any(%s)"
        )
        self.run(self.world.execute(change, keys))

    @rule()
    def plan_the_next_morning(self) -> None:
        """So that what comes next comes between planning and sending."""
        now = self.world.clock.now()
        at = now.replace(hour=7, minute=55) + (DAY if (now.hour, now.minute) >= (7, 55) else timedelta(0))
        self.run(self.world.run_until(at))

    @rule(days=st.integers(1, 2))
    def let_mornings_come(self, days: int) -> None:
        self.run(self.world.run_until(self.world.clock.now() + days * DAY))

    def teardown(self) -> None:
        try:
            self.run(self.world.run_until(self.world.clock.now() + 4 * DAY))
            self.what_was_wanted_was_said()
            assert self.run(_faults(self.world)) == []
        finally:
            self.run(self.entered.__aexit__(None, None, None))
            self.loop.close()
            self.postgres.drop_database(self.name)

    def what_was_wanted_was_said(self) -> None:
        mails = self.world.recorder.accepted
        listed = [key for mail in mails for key in _LISTED.findall(mail.text) if key.startswith("p")]
        assert len(listed) == len(set(listed)), "nothing is listed twice"
        cut = [mail.at for mail in mails if _LISTED.search(mail.text) and mail.text.rstrip().endswith("more")]
        for key in self.posted.keys() - self.unwanted - set(listed):
            assert any(at > self.posted[key] for at in cut), f"{key} is in no mail"


async def _faults(world: World) -> list[str]:
    return [fault.sentence() async for fault in coverage.faults(world.database, world.clock.now())]


@pytest.fixture
def machine(postgres: Postgres, world_template: str) -> Iterator[type[Mornings]]:
    yield type("Machine", (Mornings,), {"postgres": postgres, "template": world_template})


@pytest.mark.slow
def test_what_is_wanted_is_in_a_mail_or_said_to_be_one_of_those_behind(machine: type[Mornings]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=10,
            stateful_step_count=15,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
