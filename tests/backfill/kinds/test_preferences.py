"""The preference backfill: what becomes of whom."""

from __future__ import annotations

from tests.backfill.campus import Campus


async def test_appends_in_order_and_never_removes(campus: Campus) -> None:
    await campus.people({"ann": {"reply": ["email"]}, "bob": {"reply": []}, "cat": {}, "dan": {"like": ["in_app"]}})
    backfill = await campus.plan()
    await campus.apply(backfill)
    assert await campus.channels() == {
        "ann": {"reply": ["email", "push", "in_app"]},
        "bob": {"reply": ["push", "in_app"]},
        "cat": {"reply": ["email", "in_app", "push"]},
        "dan": {"like": ["in_app"], "reply": ["email", "in_app", "push"]},
    }
    assert await campus.state(backfill) == "APPLIED"
    assert (await campus.verified(backfill)).good
    assert await campus.state(backfill) == "VERIFIED"
    shown = await campus.shown(backfill)
    print(shown)
    await campus.undone(backfill)
    assert await campus.channels() == {
        "ann": {"reply": ["email"]},
        "bob": {"reply": []},
        "cat": {},
        "dan": {"like": ["in_app"]},
    }
