"""Chains of backfills, undos, choices and what is written behind Hark: who took what, and whose what stands is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hark.backfill.forgetting import forget
from hark.backfill.undo import undo
from hark.errors import BadInput
from tests.backfill.campus import Campus

SAID = {"another backfill changed it since": "taken", "chose otherwise since": "chose"}


@dataclass(slots=True)
class Chain:
    """What happens, in turn, to one user who chose `email`; each backfill and undo has a number, from 1.

    `+push`: a backfill adds it; `-1`: an undo of the first; `=email,push`: so it is written behind Hark; `!email`: so
    they choose.
    """

    campus: Campus
    name: str
    backfills: list[int] = field(default_factory=list)

    async def run(self, steps: Sequence[str]) -> None:
        """Do all of it."""
        for step in steps:
            self.campus.clock.advance(timedelta(minutes=1))
            await self._step(step[0], step[1:])

    async def _step(self, what: str, named: str) -> None:
        channels = [channel for channel in named.split(",") if channel]
        if what == "=":
            await self.campus.run(
                "update hark.preference set channels = jsonb_build_object('like', to_jsonb(%s::text[]))"
                " where recipient_id = %s",
                channels,
                self.name,
            )
        elif what == "!":
            await self.campus.choose(self.name, "like", channels)
        else:
            did = await (self._added(channels) if what == "+" else self._undone(int(named)))
            self.backfills += [did] if did is not None else []

    async def _added(self, channels: list[str]) -> int:
        backfill = await self.campus.plan(["like"], channels, members=[self.name])
        await self.campus.apply(backfill)
        return backfill

    async def _undone(self, which: int) -> int | None:
        """None: there is none of that number, or it changed nothing."""
        if which > len(self.backfills) or await self.whose(which) == "nothing":
            return None
        return await self.campus.undone(self.backfills[which - 1])

    async def held(self) -> list[str]:
        """What they have."""
        (held,) = await self.campus.column(
            "select channels -> 'like' from hark.preference where recipient_id = %s", self.name
        )
        return list(held)

    async def verdict(self, which: int) -> str:
        """What verifying says: `holds`, `taken` by a backfill, `chose`, or that nothing says why: `lost`."""
        seen = await self.campus.verified(self.backfills[which - 1])
        if not seen.astray:
            return "holds"
        return SAID[seen.astray[0].why] if seen.astray[0].explained else "lost"

    async def whose(self, which: int) -> str:
        """What an undo would do."""
        try:
            back = await undo(self.campus.database, self.backfills[which - 1], who="olga", now=self.campus.clock.now())
        except BadInput:
            return "nothing"
        await self.campus.planned(back)
        ((_, outcome),) = await self.campus.counts(back)
        return outcome

    async def all(self) -> list[tuple[str, str]]:
        """Both, of each."""
        numbers = range(1, len(self.backfills) + 1)
        return [(await self.verdict(which), await self.whose(which)) for which in numbers]


MINE, OTHERS, CHANGED = "restore", "backfilled_since", "changed_since"

CHAINS: dict[str, list[tuple[str, str]]] = {
    # what was gone before another one came was not taken by that
    "+push =email +in_app": [("lost", CHANGED), ("holds", MINE)],
    "+push =email +push -2": [("lost", CHANGED), ("taken", OTHERS), ("holds", MINE)],
    "+push =email +push =email": [("lost", CHANGED), ("lost", CHANGED)],
    "+push -1": [("taken", OTHERS), ("holds", MINE)],
    "+push -1 +in_app": [("taken", OTHERS), ("taken", OTHERS), ("holds", MINE)],
    "+push -1 =": [("lost", OTHERS), ("lost", CHANGED)],
    # what another one gave anew is that one's
    "+push -1 +push": [("holds", OTHERS), ("taken", OTHERS), ("holds", MINE)],
    "+push =email +push": [("holds", CHANGED), ("holds", MINE)],
    "+push -1 +push -3": [("taken", OTHERS), ("holds", MINE), ("taken", OTHERS), ("holds", MINE)],
    "+push -1 +push +in_app =email,push": [("holds", OTHERS), ("taken", OTHERS), ("holds", OTHERS), ("lost", CHANGED)],
    # what was restored is one's own, and what was undone and restored as though neither had been
    "+push -1 -2": [("holds", MINE), ("taken", OTHERS), ("holds", MINE)],
    "+push -1 -2 =email": [("lost", CHANGED), ("holds", OTHERS), ("lost", CHANGED)],
    "+push -1 -2 -1": [("taken", OTHERS), ("holds", OTHERS), ("taken", OTHERS), ("holds", MINE)],
    "+push -1 -2 -3": [("taken", OTHERS), ("holds", MINE), ("taken", OTHERS), ("holds", MINE)],
    "+push -1 -2 -3 -4": [("holds", MINE), ("taken", OTHERS), ("holds", MINE), ("taken", OTHERS), ("holds", MINE)],
    "+push +in_app -2": [("holds", MINE), ("taken", OTHERS), ("holds", MINE)],
    "+push +in_app -2 -1": [("taken", OTHERS), ("taken", OTHERS), ("taken", OTHERS), ("holds", MINE)],
    "+push +in_app =email,push": [("holds", OTHERS), ("lost", CHANGED)],
    # what somebody chose is theirs, and says why
    "+push !email": [("chose", CHANGED)],
    "+push !email,push": [("holds", CHANGED)],
    "+push -1 !email,push": [("holds", CHANGED), ("chose", CHANGED)],
    "+push !email +push =email": [("chose", CHANGED), ("lost", CHANGED)],
    # a promise that others had kept already
    "+push +push -1": [("taken", OTHERS), ("taken", "nothing"), ("holds", MINE)],
    "+push +push =email": [("lost", CHANGED), ("lost", "nothing")],
}


@pytest.mark.parametrize("steps", CHAINS)
async def test_who_took_what_and_whose_what_stands_is(campus: Campus, steps: str) -> None:
    await campus.people({"ann": {"like": ["email"]}})
    chain = Chain(campus, "ann")
    await chain.run(steps.split())
    assert await chain.all() == CHAINS[steps]


async def test_a_second_undo_leaves_alone_what_another_backfill_gave_since(campus: Campus) -> None:
    await campus.people({"ann": {"like": ["email"]}})
    chain = Chain(campus, "ann")
    await chain.run(["+push", "-1", "+push", "-1"])
    assert await chain.held() == ["email", "push"]
    assert (await chain.verdict(3), await chain.whose(3)) == ("holds", MINE)


async def test_an_undo_that_was_planned_before_leaves_alone_what_came_since(campus: Campus) -> None:
    await campus.people({"ann": {"like": ["email"]}})
    chain = Chain(campus, "ann")
    await chain.run(["+push"])
    late = await undo(campus.database, chain.backfills[0], who="olga", now=campus.clock.now())
    await campus.planned(late)
    await chain.run(["-1", "+push"])
    await campus.apply(late)
    assert await chain.held() == ["email", "push"]
    assert await campus.column("select why from hark.backfill_item where backfill_id = %s", late) == [
        "another backfill changed it since"
    ]


async def test_what_others_had_given_by_the_time_of_the_plan_is_taken_by_their_undo(campus: Campus) -> None:
    """The second was asked for before the first was applied, and looked at them afterwards."""
    await campus.people({"ann": {"like": ["email"]}})
    chain = Chain(campus, "ann")
    second = await campus.ask(["like"], ["push"])
    await chain.run(["+push"])
    campus.clock.advance(timedelta(minutes=1))
    await campus.planned(second)
    await campus.apply(second)
    await chain.run(["-1"])
    seen = await campus.verified(second)
    assert seen.whys == {"another backfill changed it since": 1}


STEP = st.sampled_from(["+push", "+in_app", "-1", "-2", "-3", "=email", "=email,push", "="])


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(STEP, max_size=5), more=st.lists(STEP.filter(lambda step: step[0] != "="), max_size=3))
async def test_what_is_undone_is_as_though_it_had_not_been_and_what_is_lost_stays_lost(
    campus: Campus, steps: list[str], more: list[str]
) -> None:
    (others,) = await campus.column("select count(*) from hark.recipient")
    chain = Chain(campus, f"u{others}")
    await campus.people({chain.name: {"like": ["email"]}})
    await chain.run(["+push", *steps])

    before = await chain.all()
    await chain.run(["+in_app"])
    if await chain.whose(len(chain.backfills)) == MINE:
        await chain.run([f"-{len(chain.backfills)}"])
        assert (await chain.all())[: len(before)] == before

    lost = [which for which, (verdict, _) in enumerate(before, 1) if verdict == "lost"]
    await chain.run(more)
    assert {await chain.verdict(which) for which in lost} <= {"lost", "holds"}


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(STEP, max_size=5), order=st.permutations(range(6)))
async def test_what_is_forgotten_changes_nothing_for_what_is_not(
    campus: Campus, steps: list[str], order: list[int]
) -> None:
    (others,) = await campus.column("select count(*) from hark.recipient")
    chain = Chain(campus, f"u{others}")
    await campus.people({chain.name: {"like": ["email"]}})
    await chain.run(["+push", *steps])
    numbers = range(1, len(chain.backfills) + 1)
    before = {which: await chain.whose(which) for which in numbers}
    await campus.run("update hark.backfill set state = 'CANCELED', ended_at = created_at where state = 'PLANNED'")

    forgotten = set()
    for which in [each + 1 for each in order if each < len(chain.backfills)]:
        with suppress(BadInput):
            await forget(campus.database, chain.backfills[which - 1], who="paul", now=campus.clock.now())
            forgotten.add(which)
    for which in set(numbers) - forgotten:
        assert await chain.whose(which) in (before[which], "nothing")
