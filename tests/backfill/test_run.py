"""Runs: batches, leases and fences; pause, cancel and speed; what fails; who is told."""

from __future__ import annotations

import asyncio
from datetime import datetime, time, timedelta

import psycopg
import pytest
from structlog.testing import capture_logs

from hark.backfill import control, probes
from hark.backfill.batches import MAX_ATTEMPTS, MAX_LOCK_WAITS, Step
from hark.backfill.failures import failed_batches, failures, retry_failures
from hark.backfill.plan import plan_chunk
from hark.backfill.planning import MAX_ATTEMPTS as MAX_PLANNING
from hark.backfill.rehearse import rehearse
from hark.backfill.request import Notify, Pace, PaceChange
from hark.backfill.run import Runner
from hark.backfill.throttle import Readings, Why
from hark.backfill.undo import undo
from hark.backfill.windows import Window
from hark.errors import BadInput
from hark.postgres.database import open_database
from hark.postgres.queries import Queries
from tests.backfill.campus import Campus

POISON = """
create function hark.poison() returns trigger language plpgsql as $$
begin
    if new.recipient_id = any (array['u03', 'u07']) then raise exception 'poisoned' using errcode = '22023'; end if;
    return new;
end $$;
create trigger poison before update on hark.preference for each row execute function hark.poison();
"""


async def twelve(campus: Campus, **asked: object) -> int:
    """Twelve students in four batches, planned."""
    await campus.people({f"u{number:02}": {"reply": ["email"]} for number in range(12)})
    return await campus.plan(**asked)


async def given_push(campus: Campus) -> int:
    """How many have it."""
    (count,) = await campus.column("select count(*) from hark.preference where channels -> 'reply' ? 'push'")
    return int(count)


async def started(campus: Campus, backfill: int) -> None:
    await control.apply(campus.database, backfill, who="olga", now=campus.clock.now())


async def stepped_out(runner: Runner, backfill: int) -> None:
    over = False
    while not over:
        over = (await runner.step(backfill)).over


# Planning -------------------------------------------------------------------------------------------------------------


async def test_a_plan_writes_nothing_but_itself_and_its_hash_is_that_of_what_it_would_do(campus: Campus) -> None:
    first = await twelve(campus)
    again = await campus.plan()
    other = await campus.plan(channels=["push"])
    hashes = [(await control.stand(campus.database, each)).hash for each in (first, again, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert await given_push(campus) == 0
    assert await campus.rows("select * from hark.backfill_item") == []


async def test_two_who_plan_the_same_one_plan_it_once(campus: Campus) -> None:
    await campus.people({f"u{number:02}": {} for number in range(12)})
    backfill = await campus.ask()
    await asyncio.gather(campus.planned(backfill), campus.planned(backfill))
    await campus.planned(backfill)
    assert await campus.column("select members from hark.backfill where id = %s", backfill) == [12]
    assert await campus.column("select number from hark.backfill_batch order by number") == [1, 2, 3, 4]


async def test_a_rehearsal_measures_and_leaves_nothing_behind(campus: Campus) -> None:
    backfill = await twelve(campus)
    seen = await rehearse(campus.database, backfill, campus.clock.now())
    assert seen is not None and seen.users == 3 and seen.wal_bytes > 0 and seen.seconds > 0
    assert await given_push(campus) == 0
    estimate = (await campus.shown(backfill)).estimate
    assert estimate is not None and estimate.rows_locked == 3


async def test_an_empty_cohort_means_nobody(campus: Campus) -> None:
    await campus.people({"ann": {"reply": []}})
    backfill = await campus.plan(members=[])
    await campus.apply(backfill)
    assert await campus.state(backfill) == "APPLIED"
    assert await campus.channels() == {"ann": {"reply": []}}


async def test_what_cannot_be_planned_has_failed_and_changes_nothing(campus: Campus) -> None:
    await campus.people({"ann": {"reply": []}})
    backfill = await campus.ask()
    await campus.run("update hark.backfill set request = '{}'")
    assert (await campus.runner().step(backfill)).did
    assert await campus.rows("select state::text, why from hark.backfill") == [("FAILED", "not planned: KeyError")]
    with pytest.raises(BadInput, match="cannot be applied"):
        await started(campus, backfill)


# Approval -------------------------------------------------------------------------------------------------------------


async def test_a_large_one_needs_a_second_person(campus: Campus) -> None:
    backfill = await twelve(campus, approval_over=11)
    now = campus.clock.now()
    with pytest.raises(BadInput, match="more than 11 need a second person: let another one than olga"):
        await started(campus, backfill)
    with pytest.raises(BadInput, match="another person must approve it"):
        await control.approve(campus.database, backfill, who="olga", now=now)
    await control.approve(campus.database, backfill, who="paul", now=now)
    await campus.apply(backfill)
    assert await given_push(campus) == 12


async def approval_of_its_undo(campus: Campus, backfill: int, given: int | None) -> int | None:
    back = await undo(campus.database, backfill, who="olga", now=campus.clock.now(), approval_over=given)
    (over,) = await campus.column("select approval_over from hark.backfill where id = %s", back)
    return over  # type: ignore[no-any-return]


async def test_an_undo_needs_a_second_person_where_what_it_undoes_did_or_where_it_is_said_now(campus: Campus) -> None:
    backfill = await twelve(campus, approval_over=11)
    await control.approve(campus.database, backfill, who="paul", now=campus.clock.now())
    await campus.apply(backfill)
    assert [await approval_of_its_undo(campus, backfill, given) for given in (None, 5, 20)] == [11, 5, 11]

    back = await undo(campus.database, backfill, who="olga", now=campus.clock.now())
    await campus.planned(back)
    with pytest.raises(BadInput, match="more than 11 need a second person"):
        await started(campus, back)


async def test_an_undo_of_what_needed_nobody_needs_who_is_asked_for_now(campus: Campus) -> None:
    backfill = await twelve(campus)
    await campus.apply(backfill)
    assert [await approval_of_its_undo(campus, backfill, given) for given in (None, 5)] == [None, 5]


async def test_a_plan_of_another_hash_is_refused(campus: Campus) -> None:
    backfill = await twelve(campus)
    with pytest.raises(BadInput, match="another plan"):
        await control.apply(campus.database, backfill, who="olga", now=campus.clock.now(), plan_hash="0" * 64)


# Leases and fences ----------------------------------------------------------------------------------------------------


async def test_many_workers_share_a_run_and_each_user_is_changed_once(campus: Campus) -> None:
    await campus.people({f"u{number:03}": {"reply": ["email"]} for number in range(200)})
    backfill = await campus.plan(batch_size=7)
    await started(campus, backfill)

    await asyncio.gather(*(stepped_out(campus.runner(f"hand/{number}"), backfill) for number in range(4)))
    assert await given_push(campus) == 200
    assert await campus.column("select count(*) from hark.backfill_item where outcome = 'applied'") == [200]
    assert len(set(await campus.column("select worker from hark.backfill_batch"))) > 1
    assert (await campus.shown(backfill)).totals.applied == 200


async def test_who_lost_the_batch_to_another_writes_nothing(campus: Campus) -> None:
    backfill = await twelve(campus, batch_size=12)
    await started(campus, backfill)

    def taken_by_another(step: object) -> None:
        if step is Step.CLAIMED:
            with psycopg.connect(campus.dsn) as other:
                other.execute("update hark.backfill_batch set attempt = attempt + 1, worker = 'other'")

    assert not (await campus.runner("late", passed=taken_by_another).step(backfill)).did
    assert await given_push(campus) == 0
    assert await campus.rows("select state::text, worker, attempt from hark.backfill_batch") == [
        ("CLAIMED", "other", 2)
    ]

    campus.clock.advance(timedelta(minutes=1))
    await campus.run_out(backfill)
    assert await given_push(campus) == 12
    assert await campus.column("select attempt from hark.backfill_batch") == [3]


async def test_a_batch_that_comes_to_nothing_again_and_again_is_given_up_and_can_be_retried(campus: Campus) -> None:
    backfill = await twelve(campus, batch_size=6)
    await campus.run("update hark.backfill_batch set attempt = %s where number = 1", MAX_ATTEMPTS)
    await campus.apply(backfill)
    assert await campus.state(backfill) == "FAILED"
    assert [(batch.number, batch.members) for batch in await failed_batches(campus.database, backfill)] == [(1, 6)]
    assert await given_push(campus) == 6

    await campus.apply(backfill)
    assert (await campus.state(backfill), await given_push(campus)) == ("APPLIED", 12)


# Pause, cancel, speed, stop -------------------------------------------------------------------------------------------


async def test_paused_resumed_and_done(campus: Campus) -> None:
    backfill = await twelve(campus)
    await started(campus, backfill)
    runner = campus.runner()
    assert (await runner.step(backfill)).did
    await control.pause(campus.database, backfill, who="paul", now=campus.clock.now())
    assert (await runner.step(backfill)).over
    assert await given_push(campus) == 3
    await control.resume(campus.database, backfill, who="paul", now=campus.clock.now())
    await campus.run_out(backfill)
    assert await given_push(campus) == 12
    moves = [(event.who, event.to_state) for event in (await campus.shown(backfill)).events if event.to_state]
    assert moves[:3] == [("hand/1", "APPLIED"), ("paul", "APPLYING"), ("paul", "PAUSED")]


async def test_a_cancel_waits_for_the_batch_under_way_and_lets_no_other_begin(campus: Campus) -> None:
    backfill = await twelve(campus)
    await started(campus, backfill)
    canceled: list[int] = []

    async def cancel() -> None:
        await control.cancel(campus.database, backfill, who="paul", now=campus.clock.now())
        canceled.append(await given_push(campus))

    pending: list[asyncio.Task[None]] = []

    def passed(step: object) -> None:
        if step is Step.FENCED and not pending:
            pending.append(asyncio.ensure_future(cancel()))

    runner = campus.runner(passed=passed)
    await stepped_out(runner, backfill)
    await pending[0]
    assert canceled == [await given_push(campus)]
    assert await campus.state(backfill) == "CANCELED"
    assert await given_push(campus) in (3, 6)
    back = await campus.undone(backfill)
    assert await campus.state(back) == "APPLIED"
    assert await given_push(campus) == 0


async def test_a_cancel_and_the_end_race_and_exactly_one_of_them_is(campus: Campus) -> None:
    await campus.people({f"u{number:02}": {"reply": ["email"]} for number in range(12)})
    for _ in range(12):
        backfill = await campus.plan(batch_size=12, channels=["push"])
        await started(campus, backfill)
        runner = campus.runner()
        await runner.step(backfill)

        async def cancel(number: int) -> str:
            try:
                await control.cancel(campus.database, number, who="paul", now=campus.clock.now())
            except BadInput:
                return "refused"
            return "canceled"

        said, _ = await asyncio.gather(cancel(backfill), runner.step(backfill))
        ends = {"canceled": "CANCELED", "refused": "APPLIED"}
        assert await campus.state(backfill) == ends[said]
        ended = await campus.column(
            "select count(*) from hark.backfill_event where backfill_id = %s and to_state in ('APPLIED', 'CANCELED')",
            backfill,
        )
        assert ended == [1]
        await campus.run('update hark.preference set channels = \'{"reply": ["email"]}\'')


async def test_the_rate_is_kept_and_can_be_changed_while_it_runs(campus: Campus) -> None:
    backfill = await twelve(campus, pace=Pace(rate=1.0))
    await started(campus, backfill)
    begun = campus.clock.now()
    runner = campus.runner()
    assert (await runner.step(backfill)).did
    waiting = await runner.step(backfill)
    assert waiting.obstacle is not None
    assert (waiting.obstacle.why, waiting.obstacle.until) == (Why.RATE, begun + timedelta(seconds=3))
    await control.speed(campus.database, backfill, PaceChange(rate=1000.0), who="paul", now=campus.clock.now())
    assert (await runner.step(backfill)).did
    await campus.run_out(backfill)
    assert campus.clock.now() - begun < timedelta(seconds=1)


async def test_waiting_is_accounted_to_its_reason(campus: Campus) -> None:
    backfill = await twelve(campus, pace=Pace(rate=1.0))
    await campus.apply(backfill)
    waited = {each.why: each.seconds for each in (await campus.shown(backfill)).waited}
    assert waited == {"rate": pytest.approx(9.0)}  # after the last batch nothing is waited for


async def test_the_rate_counts_who_is_changed_not_who_is_looked_at(campus: Campus) -> None:
    await campus.people(
        {f"u{number:02}": {"reply": ["email"] if number % 4 == 0 else ["push"]} for number in range(16)}
    )
    backfill = await campus.plan(channels=["push"], batch_size=4, pace=Pace(rate=1.0))
    await rehearse(campus.database, backfill, campus.clock.now())
    estimate = (await campus.shown(backfill)).estimate
    begun = campus.clock.now()
    await campus.apply(backfill)
    assert await given_push(campus) == 16
    took = (campus.clock.now() - begun).total_seconds()
    assert estimate is not None and estimate.low == pytest.approx(4.0)
    assert took == pytest.approx(3.0)  # the last batch's second is waited for by nobody


async def test_what_speed_does_not_name_stays(campus: Campus) -> None:
    night = Window(time(20), time(6), "Europe/Berlin")
    backfill = await twelve(campus, pace=Pace(rate=5.0, window=night))

    async def changed(change: PaceChange) -> Pace:
        return await control.speed(campus.database, backfill, change, who="paul", now=campus.clock.now())

    assert await changed(PaceChange(rate=50.0)) == Pace(50.0, True, night)
    assert await changed(PaceChange(adaptive=False)) == Pace(50.0, False, night)
    assert await changed(PaceChange(any_time=True)) == Pace(50.0, False, None)
    assert await changed(PaceChange(any_rate=True, window=night)) == Pace(None, False, night)
    with pytest.raises(BadInput, match="nothing is to be changed"):
        await changed(PaceChange())
    with pytest.raises(BadInput, match="exclude each other"):
        await changed(PaceChange(window=night, any_time=True))
    await control.cancel(campus.database, backfill, who="paul", now=campus.clock.now())
    with pytest.raises(BadInput, match="is CANCELED: it has ended"):
        await changed(PaceChange(rate=1.0))


async def test_the_waits_of_a_batch_that_is_applied_again_are_added_to_its_first(campus: Campus) -> None:
    backfill = await twelve(campus, batch_size=12, pace=Pace(rate=1.0))
    await campus.run(POISON)
    await started(campus, backfill)
    await ahead(campus, 30)
    await campus.run_out(backfill)
    await campus.run("drop trigger poison on hark.preference")
    await retry_failures(campus.database, backfill, who="olga", now=campus.clock.now())
    await ahead(campus, 7)
    await campus.run_out(backfill)
    assert await waited(campus, backfill) == {"rate": pytest.approx(30 + 7)}


async def ahead(campus: Campus, seconds: int) -> None:
    """The next batch may begin so much later only."""
    await campus.run("update hark.backfill set next_at = %s", campus.clock.now() + timedelta(seconds=seconds))


async def waited(campus: Campus, backfill: int) -> dict[str, float]:
    return {each.why: each.seconds for each in (await campus.shown(backfill)).waited}


async def test_a_long_wait_is_seen_before_any_batch_is_done(campus: Campus) -> None:
    backfill = await twelve(campus)
    await started(campus, backfill)
    runner = campus.runner(probes=Unreadable())
    for _ in range(4):
        await runner.step(backfill)
        campus.clock.advance(timedelta(seconds=3))
    assert await waited(campus, backfill) == {"unreadable": pytest.approx(6)}
    await control.cancel(campus.database, backfill, who="paul", now=campus.clock.now())
    assert (await runner.step(backfill)).over
    assert await waited(campus, backfill) == {"unreadable": pytest.approx(12)}


async def test_a_wait_is_not_lost_with_the_batch_that_should_have_kept_it(campus: Campus) -> None:
    backfill = await twelve(campus, batch_size=12)
    await started(campus, backfill)
    await ahead(campus, 4)
    await campus.run("update hark.backfill set rate = 1000")
    dying: list[Step] = []

    def cut(step: object) -> None:
        if step is Step.SETTLED and not dying:
            dying.append(Step.SETTLED)
            raise psycopg.OperationalError("the connection broke")

    runner = campus.runner(passed=cut)
    await runner.step(backfill)
    campus.clock.advance(timedelta(seconds=4))
    assert not (await runner.step(backfill)).did
    campus.clock.advance(timedelta(seconds=1))
    assert (await runner.step(backfill)).did
    assert await waited(campus, backfill) == {"rate": pytest.approx(4), "retry": pytest.approx(1)}


async def test_a_database_that_is_away_is_waited_for_as_such(campus: Campus, monkeypatch: pytest.MonkeyPatch) -> None:
    backfill = await twelve(campus, batch_size=6, pace=Pace(rate=6.0))
    await started(campus, backfill)
    runner = campus.runner()
    assert (await runner.step(backfill)).did
    assert not (await runner.step(backfill)).did

    async def away(*_: object, **__: object) -> object:
        raise psycopg.OperationalError("the server closed the connection unexpectedly")

    for _ in range(3):
        with monkeypatch.context() as patched, pytest.raises(psycopg.OperationalError):
            patched.setattr(type(campus.database), "fetch", away)
            await runner.step(backfill)
        campus.clock.advance(timedelta(seconds=10))
    assert (await runner.step(backfill)).did
    assert await waited(campus, backfill) == {"database": pytest.approx(30)}


async def test_outside_its_window_it_waits_for_it(campus: Campus) -> None:
    night = Pace(window=Window(time(20), time(6), "Europe/Berlin"))
    backfill = await twelve(campus, pace=night)
    await started(campus, backfill)
    waiting = await campus.runner().step(backfill)
    assert waiting.obstacle is not None and waiting.obstacle.why is Why.WINDOW
    assert f"{waiting.obstacle.until:%H:%M}" == "19:00"
    await campus.run_out(backfill)
    assert await given_push(campus) == 12


async def test_stop_all_holds_everything_until_it_is_released(campus: Campus) -> None:
    backfill = await twelve(campus)
    await started(campus, backfill)
    assert await control.stop_all(campus.database, stopped=True, who="paul", now=campus.clock.now())
    assert not await control.stop_all(campus.database, stopped=True, who="paul", now=campus.clock.now())
    waiting = await campus.runner().step(backfill)
    assert waiting.obstacle is not None and waiting.obstacle.why is Why.STOPPED
    await control.stop_all(campus.database, stopped=False, who="paul", now=campus.clock.now())
    await campus.run_out(backfill)
    assert await given_push(campus) == 12


class Unreadable:
    """Probes that cannot read."""

    async def read(self, now: datetime) -> Readings:
        return Readings(probe=timedelta(milliseconds=1), unreadable=("replica lag",))


async def test_what_cannot_be_read_holds_it(campus: Campus) -> None:
    backfill = await twelve(campus)
    await started(campus, backfill)
    waiting = await campus.runner(probes=Unreadable()).step(backfill)
    assert waiting.obstacle is not None and waiting.obstacle.why is Why.UNREADABLE
    assert await given_push(campus) == 0


async def test_the_probes_read_the_database(campus: Campus) -> None:
    backfill = await twelve(campus)
    await started(campus, backfill)
    assert (await campus.runner(probes=None).step(backfill)).did
    await campus.run(
        "insert into hark.event (reason, occurred_at, published_at)"
        " select 'reply', %s, %s from generate_series(1, 200)",
        campus.clock.now() - timedelta(minutes=1),
        campus.clock.now() - timedelta(minutes=1),
    )
    waiting = await campus.runner(probes=None).step(backfill)
    assert waiting.obstacle is not None and waiting.obstacle.why is Why.LIVE


@pytest.mark.parametrize(
    ("replicas", "seen"),
    [
        ("('1 s', 'streaming', '0/1'), ('3 s', 'catchup', '0/1')", (3.0, 0, 0)),
        ("(null, 'streaming', pg_current_wal_lsn())", (0.0, 0, 0)),
        ("(null, 'streaming', '0/1'), ('1 s', 'streaming', '0/1')", (1.0, 0, 1)),
        ("(null, 'catchup', null), (null, 'backup', null)", (0.0, 0, 1)),
        ("(null, null, null)", (0.0, 1, 0)),
    ],
)
async def test_a_replica_that_is_behind_by_nobody_knows_how_much_is_not_one_that_is_not(
    campus: Campus, replicas: str, seen: tuple[float, int, int]
) -> None:
    made = f"from (select lag::interval, state::text, lsn::pg_lsn from (values {replicas}) v (lag, state, lsn))"
    told = Queries.beside(probes.__file__)["replica_lag"].sql
    assert await campus.rows(
        told.replace("from pg_stat_replication", f"{made} r (replay_lag, state, replay_lsn)").replace("%%", "%")
    ) == [seen]


# What fails -----------------------------------------------------------------------------------------------------------


async def test_who_makes_a_batch_fail_is_quarantined_and_the_others_are_done(campus: Campus) -> None:
    backfill = await twelve(campus, batch_size=12)
    await campus.run(POISON)
    await campus.apply(backfill)
    far = (await campus.shown(backfill)).totals
    assert (far.applied, far.drifted, far.quarantined) == (10, 0, 2)
    failed = await failures(campus.database, backfill)
    assert [(each.recipient_id, each.outcome, each.why) for each in failed] == [
        ("u03", "quarantined", "poisoned (22023)"),
        ("u07", "quarantined", "poisoned (22023)"),
    ]
    assert not (await campus.verified(backfill)).good

    await campus.run("drop trigger poison on hark.preference")
    before = await campus.column("select count(*) from hark.backfill_item where outcome = 'applied'")
    assert await retry_failures(campus.database, backfill, who="olga", now=campus.clock.now()) == 2
    await campus.run_out(backfill)
    far = (await campus.shown(backfill)).totals
    assert (far.applied, far.drifted, far.quarantined) == (12, 0, 0)
    assert before == [10]
    assert (await campus.verified(backfill)).good


async def test_with_nothing_failed_there_is_nothing_to_retry(campus: Campus) -> None:
    backfill = await twelve(campus)
    await campus.apply(backfill)
    with pytest.raises(BadInput, match="nothing of backfill"):
        await retry_failures(campus.database, backfill, who="olga", now=campus.clock.now())
    assert await campus.state(backfill) == "APPLIED"


HELD = "update hark.preference set updated_at = updated_at where recipient_id = 'u03'"


async def test_a_row_that_somebody_holds_keeps_neither_the_others_nor_a_pause(campus: Campus) -> None:
    backfill = await twelve(campus, batch_size=6)
    await started(campus, backfill)
    runner = campus.runner()
    with psycopg.connect(campus.dsn) as holding:
        holding.execute(HELD)
        for _ in ("the one that is held", "the next"):
            assert (await runner.step(backfill)).did
        for _ in range(MAX_ATTEMPTS + 1):
            campus.clock.advance(timedelta(minutes=1))
            assert (await runner.step(backfill)).did
            assert not (await runner.step(backfill)).did
        stepped = await runner.step(backfill)
        assert stepped.obstacle is not None and stepped.obstacle.why is Why.LOCK_WAITS
        assert await given_push(campus) == 6
        assert await campus.rows(
            "select state::text, why like 'LockNotAvailable%%' from hark.backfill_batch order by number"
        ) == [
            ("WAITING", True),
            ("DONE", False),
        ]
        assert (await waited(campus, backfill))["lock_waits"] > 60
        await control.pause(campus.database, backfill, who="paul", now=campus.clock.now())
        await control.resume(campus.database, backfill, who="paul", now=campus.clock.now())
        holding.rollback()
    await campus.run_out(backfill)
    assert (await campus.state(backfill), await given_push(campus)) == ("APPLIED", 12)


async def test_whose_row_is_held_for_ever_is_quarantined_in_the_end(campus: Campus) -> None:
    backfill = await twelve(campus, batch_size=12)
    await started(campus, backfill)
    await campus.run(
        "update hark.backfill_batch set attempt = %s, lock_waits = %s",
        MAX_LOCK_WAITS + MAX_ATTEMPTS - 1,
        MAX_LOCK_WAITS,
    )
    with psycopg.connect(campus.dsn) as holding:
        holding.execute(HELD)
        await campus.run_out(backfill)
        assert (await campus.state(backfill), await given_push(campus)) == ("APPLIED", 11)
        assert [(each.recipient_id, each.outcome) for each in await failures(campus.database, backfill)] == [
            ("u03", "quarantined")
        ]


async def test_a_rehearsal_waits_for_nobody(campus: Campus) -> None:
    backfill = await twelve(campus, batch_size=12)
    with psycopg.connect(campus.dsn) as holding:
        holding.execute(HELD)
        seen = await rehearse(campus.database, backfill, campus.clock.now())
    assert seen is not None and seen.users == 12
    assert await campus.rows("select * from hark.backfill_item") == []


async def test_who_makes_a_batch_fail_with_what_may_pass_is_found_at_its_last_attempt(campus: Campus) -> None:
    backfill = await twelve(campus, batch_size=12)
    await campus.run(POISON.replace("22023", "40001"))
    await campus.apply(backfill)
    assert (await campus.state(backfill), await given_push(campus)) == ("APPLIED", 10)
    assert [each.why for each in await failures(campus.database, backfill)] == ["poisoned (40001)"] * 2
    assert await campus.column("select attempt from hark.backfill_batch") == [MAX_ATTEMPTS]


async def test_one_that_cannot_be_planned_for_now_keeps_no_other_from_going_on(campus: Campus) -> None:
    await campus.people({f"u{number:02}": {"reply": ["email"]} for number in range(12)})
    full = await campus.ask(notify=Notify("done", ("olga",)))
    other = await campus.plan()
    await started(campus, other)
    await campus.run(
        "create function hark.full() returns trigger language plpgsql as $$ begin"
        f" if new.backfill_id = {full} then raise exception 'disk full' using errcode = '53100'; end if;"
        " return new; end $$"
    )
    await campus.run(
        "create trigger full_ before insert on hark.backfill_batch for each row execute function hark.full()"
    )
    runner = campus.runner()
    assert await any_step(runner)
    assert (await campus.shown(full)).head.why == "waits: DiskFull at attempt 1"
    while await any_step(runner):
        pass
    assert await given_push(campus) == 12

    campus.clock.advance(timedelta(minutes=11))
    with pytest.raises(psycopg.errors.DiskFull):
        await runner.step_any()
    assert await campus.column("select payload ->> 'why' from hark.event") == ["stalled: retry"]
    for _ in range(MAX_PLANNING):
        campus.clock.advance(timedelta(minutes=2))
        await any_step(runner)
    shown = await campus.shown(full)
    assert (shown.head.state, shown.head.why) == ("FAILED", "not planned: DiskFull")


async def test_what_planning_breaks_on_is_logged_without_its_words(campus: Campus) -> None:
    await campus.people({"zed": {}})
    await campus.ask()
    await campus.run("alter table hark.backfill_part add constraint short check (cardinality(members) > 4)")
    with capture_logs() as log:
        await campus.runner().step_any()
    (line,) = log
    assert (line["error"], line["sqlstate"]) == ("CheckViolation", "23514")
    assert "zed" not in str(line)


async def any_step(runner: Runner) -> bool:
    try:
        return (await runner.step_any()).did
    except psycopg.errors.DiskFull:
        return True


async def test_a_kind_of_a_newer_version_is_left_to_it(campus: Campus) -> None:
    newer, mine = await campus.ask(members=[]), await campus.ask(members=[])
    await campus.run("update hark.backfill set kind = 'newer' where id = %s", newer)
    runner = campus.runner()
    while (await runner.step_any()).did:
        pass
    assert (await campus.state(newer), await campus.state(mine)) == ("PLANNING", "PLANNED")
    with pytest.raises(BadInput, match="this version of Hark does not know"):
        await runner.step(newer)


async def test_a_plan_whose_planner_died_before_it_was_measured_is_measured_by_another(campus: Campus) -> None:
    backfill = await twelve(campus)
    assert (await campus.shown(backfill)).estimate is None
    runner = campus.runner()
    while (await runner.step_any()).did:
        pass
    assert (await campus.shown(backfill)).estimate is not None
    assert await campus.state(backfill) == "PLANNED"


async def test_planning_too_gives_way_and_stops_with_all(campus: Campus) -> None:
    await campus.people({"ann": {}})
    backfill = await campus.ask()
    waiting = await campus.runner(probes=Unreadable()).step(backfill)
    assert waiting.obstacle is not None and waiting.obstacle.why is Why.UNREADABLE
    await control.stop_all(campus.database, stopped=True, who="paul", now=campus.clock.now())
    waiting = await campus.runner().step(backfill)
    assert waiting.obstacle is not None and waiting.obstacle.why is Why.STOPPED


# The plan that is applied is the plan that was shown ------------------------------------------------------------------

MEDDLED = "update hark.backfill_part set members = array['u09', 'u10', 'u11'] where batch = 1"


async def test_a_batch_that_somebody_meddled_with_is_not_applied(campus: Campus) -> None:
    backfill = await twelve(campus)
    await campus.run(MEDDLED)
    await campus.apply(backfill)
    assert (await campus.state(backfill), await given_push(campus)) == ("FAILED", 9)
    (failed,) = await failed_batches(campus.database, backfill)
    assert (failed.number, failed.why) == (1, "is not what was planned: batch 1 was changed since; plan it anew")


async def test_of_two_who_start_it_at_the_same_moment_both_find_it_started(campus: Campus) -> None:
    backfill = await twelve(campus)
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and classid = 1751216747 and not granted"
    async with open_database(campus.dsn) as elsewhere, elsewhere.connection() as other:
        await other.execute("select pg_advisory_lock_shared(1751216747, %s)", [backfill])
        starts = [asyncio.ensure_future(started(campus, backfill)) for _ in range(2)]
        async with asyncio.timeout(30):
            both = False
            while not both:
                both = await campus.column(waiting) == [2]
        await other.execute("select pg_advisory_unlock_all()")
    await asyncio.gather(*starts)
    assert await campus.state(backfill) == "APPLYING"
    said = await campus.column("select who from hark.backfill_event where to_state = 'APPLYING'")
    assert said == ["olga"], "it was started once"


async def test_a_plan_whose_batches_are_others_is_not_begun(campus: Campus) -> None:
    backfill = await twelve(campus)
    await campus.run(MEDDLED)
    await campus.run("update hark.backfill_batch set digest = hark.backfill_digest(backfill_id, number)")
    with pytest.raises(BadInput, match="is not as it was planned"):
        await started(campus, backfill)


async def test_another_hash_is_refused_also_while_it_is_applied(campus: Campus) -> None:
    backfill = await twelve(campus)
    await started(campus, backfill)
    with pytest.raises(BadInput, match="another plan"):
        await control.apply(campus.database, backfill, who="olga", now=campus.clock.now(), plan_hash="0" * 64)


@pytest.mark.parametrize("who", ["olga ", " Olga", "OLGA", "ＯＬＧＡ"])
async def test_one_written_otherwise_is_no_second_person(campus: Campus, who: str) -> None:
    backfill = await twelve(campus, approval_over=1)
    with pytest.raises(BadInput, match="another person must approve it"):
        await control.approve(campus.database, backfill, who=who, now=campus.clock.now())


# Refusals -------------------------------------------------------------------------------------------------------------


async def test_what_cannot_be_done_now_is_refused_with_what_to_do_instead(campus: Campus) -> None:
    backfill = await twelve(campus)
    now = campus.clock.now()
    with pytest.raises(BadInput, match="PLANNED and cannot be paused; apply it, or cancel it"):
        await control.pause(campus.database, backfill, who="olga", now=now)
    with pytest.raises(BadInput, match="pause or cancel it first"):
        await undo(campus.database, backfill, who="olga", now=now)
    await control.cancel(campus.database, backfill, who="olga", now=now)
    with pytest.raises(BadInput, match="CANCELED and cannot be applied; it has ended"):
        await started(campus, backfill)
    with pytest.raises(BadInput, match="changed nothing"):
        await undo(campus.database, backfill, who="olga", now=now)
    with pytest.raises(BadInput, match="there is no backfill 99"):
        await control.pause(campus.database, 99, who="olga", now=now)


# Who is told ----------------------------------------------------------------------------------------------------------


async def test_its_end_is_published_once_with_the_end_itself(campus: Campus) -> None:
    await campus.people({"olga": {"reply": ["email"]}})
    backfill = await campus.plan(notify=Notify("done", ("olga",)))
    await campus.apply(backfill)
    events = await campus.rows("select reason, recipients, payload ->> 'state' from hark.event")
    assert events == [("done", ["olga"], "APPLIED")]


async def test_of_a_plan_that_failed_and_of_a_cancel_it_is_told_too(campus: Campus) -> None:
    await campus.people({"olga": {"reply": ["email"]}})
    notify = Notify("done", ("olga",))
    failing, canceled = await campus.ask(notify=notify), await campus.plan(notify=notify)
    await campus.run("update hark.backfill set request = '{}' where id = %s", failing)
    await campus.runner().step(failing)
    await control.cancel(campus.database, canceled, who="paul", now=campus.clock.now())
    assert await campus.rows("select about, payload ->> 'state' from hark.event order by id") == [
        (f"backfill:{failing}", "FAILED"),
        (f"backfill:{canceled}", "CANCELED"),
    ]


async def test_planning_that_stalls_is_told_of_once(campus: Campus) -> None:
    await campus.people({"olga": {"reply": ["email"]}})
    backfill = await campus.ask(notify=Notify("done", ("olga",)))
    runner = campus.runner(probes=Unreadable())
    for _ in range(5):
        await runner.step(backfill)
        campus.clock.advance(timedelta(minutes=5))
    assert await campus.column("select payload ->> 'why' from hark.event") == ["stalled: unreadable"]


async def test_a_notice_that_cannot_be_published_does_not_keep_it_from_ending(campus: Campus) -> None:
    await campus.people({"olga": {"reply": ["email"]}})
    backfill = await campus.plan(notify=Notify("no_such_reason", ("olga",)))
    await campus.apply(backfill)
    assert await campus.state(backfill) == "APPLIED"


async def test_a_run_that_stalls_is_told_of_once(campus: Campus) -> None:
    backfill = await twelve(campus, notify=Notify("done", ("olga",)))
    await started(campus, backfill)
    runner = campus.runner(probes=Unreadable())
    for _ in range(5):
        await runner.step(backfill)
        campus.clock.advance(timedelta(minutes=5))
    events = await campus.column("select payload ->> 'why' from hark.event")
    assert events == ["stalled: unreadable"]


async def test_a_worker_loop_plans_and_applies_whatever_there_is(campus: Campus) -> None:
    await campus.people({f"u{number:02}": {"reply": ["email"]} for number in range(12)})
    backfill = await campus.ask()
    runner = campus.runner()
    while (await runner.step_any()).did:
        pass
    assert await campus.state(backfill) == "PLANNED"
    assert not await plan_chunk(campus.database, backfill, campus.clock.now())
    await started(campus, backfill)
    while (await runner.step_any()).did:
        pass
    assert (await campus.state(backfill), await given_push(campus)) == ("APPLIED", 12)


# What waits for nothing -----------------------------------------------------------------------------------------------


async def test_a_run_of_which_nothing_is_left_ends_though_its_hours_are_over(campus: Campus) -> None:
    backfill = await twelve(campus, batch_size=12, pace=Pace(window=Window(time(11), time(13), "UTC")))
    await started(campus, backfill)
    runner = campus.runner()
    assert (await runner.step(backfill)).did
    campus.clock.advance(timedelta(hours=2))
    assert (await runner.step(backfill)).did
    assert await campus.state(backfill) == "APPLIED"


async def test_a_run_of_which_nothing_is_left_ends_though_its_rate_was_used(campus: Campus) -> None:
    backfill = await twelve(campus, batch_size=12, pace=Pace(rate=0.1))
    await started(campus, backfill)
    runner = campus.runner()
    assert (await runner.step(backfill)).did
    assert (await runner.step(backfill)).did
    assert await campus.state(backfill) == "APPLIED"


async def test_a_run_that_is_stopped_does_not_end(campus: Campus) -> None:
    backfill = await twelve(campus, batch_size=12)
    await started(campus, backfill)
    runner = campus.runner()
    assert (await runner.step(backfill)).did
    await control.stop_all(campus.database, stopped=True, who="olga", now=campus.clock.now())
    stepped = await runner.step(backfill)
    assert stepped.obstacle is not None and stepped.obstacle.why is Why.STOPPED
    assert await campus.state(backfill) == "APPLYING"


async def test_a_batch_whose_rows_are_held_lets_the_next_go_first(campus: Campus) -> None:
    backfill = await twelve(campus)
    await started(campus, backfill)
    runner = campus.runner()
    with psycopg.connect(campus.dsn) as other:
        other.execute("select from hark.preference where recipient_id = 'u00' for update")
        assert (await runner.step_any()).did
        assert (await runner.step_any()).did
        assert await campus.column("select number from hark.backfill_batch where state = 'DONE'") == [2]


@pytest.mark.parametrize("claimed", [False, True])
async def test_who_was_to_be_retried_and_was_not_is_quarantined_as_before(claimed: bool, campus: Campus) -> None:
    backfill = await twelve(campus, batch_size=4)
    await campus.run(POISON)
    await campus.apply(backfill)
    before, far = await failures(campus.database, backfill), (await campus.shown(backfill)).totals
    await retry_failures(campus.database, backfill, who="olga", now=campus.clock.now())
    if claimed:
        await campus.run(
            "update hark.backfill_batch set state = 'CLAIMED', worker = 'other/1', attempt = 1, lease_until = %s"
            " where backfill_id = %s and number = 1",
            campus.clock.now() + timedelta(minutes=1),
            backfill,
        )
    await control.cancel(campus.database, backfill, who="olga", now=campus.clock.now())
    assert await failures(campus.database, backfill) == before
    shown = await campus.shown(backfill)
    assert (shown.head.state, shown.totals.quarantined, shown.totals.left) == ("CANCELED", far.quarantined, 0)
    assert (await campus.verified(backfill)).whys == {"quarantined (22023)": 2}


async def test_who_are_retried_again_are_counted_again(campus: Campus) -> None:
    backfill = await twelve(campus, batch_size=12)
    await campus.run(POISON)
    await campus.apply(backfill)
    now = campus.clock.now()
    assert await retry_failures(campus.database, backfill, who="olga", now=now) == 2
    await campus.run("update hark.backfill_batch set state = 'FAILED', attempt = 5")
    await campus.run("update hark.backfill set state = 'FAILED'")
    assert await retry_failures(campus.database, backfill, who="olga", now=now) == 2
    await campus.run("drop trigger poison on hark.preference")
    await campus.run_out(backfill)
    assert (await campus.shown(backfill)).totals.applied == 12
