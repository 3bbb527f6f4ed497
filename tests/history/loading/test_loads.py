"""Loads: what is planned, what comes of it, what is quarantined, put off, skipped, verified and taken back."""

from __future__ import annotations

from tests.history.loading.yard import Yard


async def test_a_load_brings_all_that_the_sources_have_and_ends(yard: Yard) -> None:
    backfill = await yard.plan()
    assert await yard.outcomes(backfill) == {"load": 12}
    assert await yard.facts() == {}
    assert await yard.apply(backfill) == "APPLIED"
    assert await yard.facts() == yard.bought()
    assert sorted(map(str, yard.asked("purchase"))) == sorted(map(str, yard.asked("shop"))) == yard.users
    assert (await yard.course(backfill)).stage == "DONE"
    seen = await yard.verified(backfill)
    assert seen.good and seen.compared == seen.holding == 12
