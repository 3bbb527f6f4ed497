"""Whatever is muted, hidden or shown again: what always was wanted is listed once, or is one of the others told of."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from hark import audience
from hark.audience import Subscription
from hark.catalogue import SqlSource
from hark.digests import coverage
from tests.digests.forum import front_page, open_forum, post
from tests.machines import WorldMachine, live
from tests.servers import Postgres
from tests.world import NEWS, World

DAY = timedelta(days=1)
UNLESS_HIDDEN = SqlSource(
    "select asked.n, case when hidden.key is not null then 'hidden' end as why, null::jsonb as payload"
    "  from asked left join public.hidden on hidden.key = asked.key"
)
_LISTED = re.compile(r"alice: (\w+)")


class Mornings(WorldMachine):
    """Ada's mornings: posts of every rank, some of them muted or hidden, before or after they are planned."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = False
        self.posted: dict[str, Any] = {}
        self.unwanted: list[str] = []

    @initialize(cap=st.integers(1, 3), asked=st.booleans())
    def begin(self, cap: int, asked: bool) -> None:
        self.asked = asked
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

    @rule(count=st.integers(1, 9), how=st.sampled_from(["muted", "hidden", "not yet"]))
    def publish_what_is_not_wanted(self, count: int, how: str) -> None:
        """It ranks before all else; and some of it is muted or hidden only later, if at all."""
        keys = [f"p{len(self.posted) + n}" for n in range(count)]
        self.publish(count, score=3)
        self.unwanted += keys
        if how != "not yet":
            (self.mute if how == "muted" else self.hide)(0, count, True)

    @rule()
    def tell_news(self) -> None:
        self.run(self.world.publish("news", to=["ada"]))

    @rule(back=st.integers(0, 5), count=st.integers(1, 9), muted=st.booleans())
    def mute(self, back: int, count: int, muted: bool) -> None:
        given = [Subscription("ada", key) for key in self.of_the_unwanted(back, count)]
        self.run(audience.mute(self.world.database, given, self.world.clock.now(), muted=muted))

    @rule(back=st.integers(0, 5), count=st.integers(1, 9), hidden=st.booleans())
    def hide(self, back: int, count: int, hidden: bool) -> None:
        change = (
            "insert into public.hidden select unnest(%s::text[]) on conflict do nothing"
            if hidden
            else "delete from public.hidden where key = any(%s)"
        )
        self.run(self.world.execute(change, self.of_the_unwanted(back, count)))

    def of_the_unwanted(self, back: int, count: int) -> list[str]:
        return list(reversed(self.unwanted))[back : back + count]

    @rule()
    def plan_the_next_morning(self) -> None:
        """So that what comes next comes between planning and sending."""
        now = self.world.clock.now()
        at = now.replace(hour=7, minute=55) + (DAY if (now.hour, now.minute) >= (7, 55) else timedelta(0))
        self.run(self.world.run_until(at))

    @rule(days=st.integers(1, 2))
    def let_mornings_come(self, days: int) -> None:
        self.run(self.world.run_until(self.world.clock.now() + days * DAY))

    def in_the_end(self) -> None:
        self.publish_what_is_not_wanted(7, "hidden" if self.asked else "muted")
        self.publish(2, 0)
        self.run(self.world.run_until(self.world.clock.now() + 4 * DAY))
        self.what_was_wanted_was_said()
        assert self.run(_faults(self.world)) == []

    def what_was_wanted_was_said(self) -> None:
        mails = self.world.recorder.accepted
        listed = [key for mail in mails for key in _LISTED.findall(mail.text) if key.startswith("p")]
        assert len(listed) == len(set(listed)), "nothing is listed twice"
        cut = [mail.at for mail in mails if _LISTED.search(mail.text) and mail.text.rstrip().endswith("more")]
        for key in self.posted.keys() - set(self.unwanted) - set(listed):
            assert any(at > self.posted[key] for at in cut), f"{key} is in no mail"


async def _faults(world: World) -> list[str]:
    return [fault.sentence() async for fault in coverage.faults(world.database, world.clock.now())]


@pytest.mark.slow
def test_what_is_wanted_is_in_a_mail_or_said_to_be_one_of_those_behind(postgres: Postgres, world_template: str) -> None:
    live(Mornings, postgres, world_template, lives=8, steps=15)
