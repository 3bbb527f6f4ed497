"""Cohorts that workers stage: once, by one of them, and for a backfill that still waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hark.backfill import control
from hark.backfill.cohort import Cohort, Difference, Everyone, File, FileReach, Ids, Staged, stage
from hark.backfill.cohort.spec import Who
from hark.backfill.enlist import enlist
from hark.backfill.ordering import PreferenceWords, ask_preferences
from hark.errors import BadInput
from hark.postgres.database import open_database
from tests.backfill.campus import CATALOGUE, Campus


async def asked(campus: Campus, who: Who, reach: FileReach = FileReach()) -> int:  # noqa: B008
    words = PreferenceWords(
        reasons=["reply"], channels=["push"], user_types=["Students"], cohort=lambda: Cohort(who), batch_size=2
    )
    now = campus.clock.now()
    return await ask_preferences(campus.database, CATALOGUE, words, who="olga", now=now, reach=reach)


async def enlisted(campus: Campus, backfill: int, reach: FileReach = FileReach()) -> bool:  # noqa: B008
    return await enlist(campus.database, backfill, reach=reach, now=campus.clock.now())


async def test_a_worker_stages_plans_and_measures(campus: Campus) -> None:
    await campus.people({name: {"reply": ["email"]} for name in ("ann", "bob", "eve")})
    backfill = await asked(campus, Difference(Everyone(), Ids(("eve",))))
    assert (await campus.shown(backfill)).head.cohort_id is None
    runner = campus.runner()
    while await campus.state(backfill) == "PLANNING":
        assert (await runner.step(backfill)).did
    seen = await campus.shown(backfill)
    assert (seen.head.state, seen.totals.members, seen.totals.to_change) == ("PLANNED", 2, 2)
    assert seen.estimate is not None
    await campus.apply(backfill)
    assert (await campus.channels())["bob"] == {"reply": ["email", "push"]}
    assert await campus.column("select to_stage from hark.backfill") == [None]


async def test_of_two_workers_one_stages(campus: Campus) -> None:
    await campus.people({"ann": {}})
    backfill = await asked(campus, Everyone())
    done = await asyncio.gather(*(enlisted(campus, backfill) for _ in range(4)))
    assert done.count(True) == 1
    assert await campus.column("select count(*) from hark.cohort") == [1]


async def test_a_worker_that_dies_lets_go_of_it(campus: Campus) -> None:
    await campus.people({"ann": {}})
    backfill = await asked(campus, Everyone())
    async with open_database(campus.dsn) as elsewhere, elsewhere.connection() as other:
        await other.execute("select pg_advisory_lock(1751216748, %s)", [backfill])
        assert not await enlisted(campus, backfill)
        assert await campus.column("select pg_terminate_backend(%s, 30000)", other.info.backend_pid) == [True]
        assert await enlisted(campus, backfill)


async def test_one_that_was_called_off_while_it_was_staged_keeps_no_cohort(
    campus: Campus, monkeypatch: pytest.MonkeyPatch
) -> None:
    await campus.people({"ann": {}})
    backfill = await asked(campus, Everyone())

    async def staged_too_late(*given: Any, **named: Any) -> Staged:
        await control.cancel(campus.database, backfill, who="olga", now=campus.clock.now())
        return await stage(*given, **named)

    monkeypatch.setattr("hark.backfill.enlist.stage", staged_too_late)
    assert await enlisted(campus, backfill)
    assert await campus.state(backfill) == "CANCELED"
    assert await campus.column("select cohort_id from hark.backfill") == [None]
    assert await campus.column("select count(*) from hark.cohort_member") == [0]


async def test_a_list_that_is_gone_fails_it_and_says_so(campus: Campus, tmp_path: Path) -> None:
    reach = FileReach(stores=(f"file://{tmp_path}",))
    backfill = await asked(campus, File(f"file://{tmp_path}/people.csv"), reach)
    assert (await campus.runner(reach=reach).step(backfill)).did
    seen = await campus.shown(backfill)
    assert seen.head.state == "FAILED"
    assert seen.head.why.startswith("not planned: ")
    assert "people.csv" in seen.head.why


async def test_a_worker_that_may_read_less_than_who_asked_refuses(campus: Campus, tmp_path: Path) -> None:
    backfill = await asked(campus, File(f"file://{tmp_path}/people.csv"), FileReach(stores=(f"file://{tmp_path}",)))
    await campus.runner().step(backfill)
    assert "may not be read" in (await campus.shown(backfill)).head.why


@asynccontextmanager
async def a_store(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FileReach]:
    """A store that says this much and no more, and never hangs up; from where it may be read."""
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    hung = asyncio.Event()

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await hung.wait()
        writer.close()

    async with await asyncio.start_server(answers, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield FileReach(stores=("s3://cohorts",), endpoints={"s3": f"http://127.0.0.1:{port}"})
        hung.set()


SILENT = b""
TRICKLING = (
    b'HTTP/1.1 200 OK\r\nETag: "a"\r\nLast-Modified: Mon, 05 Jan 2026 12:00:00 GMT\r\nContent-Length: 99\r\n\r\nid\nann'
)


@pytest.mark.parametrize("answer", [SILENT, TRICKLING])
async def test_a_store_that_hangs_holds_up_no_other_run_and_its_own_can_be_called_off(
    campus: Campus, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    await campus.people({"ann": {"reply": ["email"]}})
    async with a_store(answer, monkeypatch) as reach:
        hanging = await asked(campus, File("s3://cohorts/people"), reach)
        other = await asked(campus, Everyone())
        runner = campus.runner(reach=reach)
        while await campus.state(other) == "PLANNING":
            await runner.step_any()
            await asyncio.sleep(0.01)
        assert await campus.state(hanging) == "PLANNING"
        await control.cancel(campus.database, hanging, who="olga", now=campus.clock.now())
        await runner.step_any()
        assert await lock_is_free(campus, hanging)


async def test_a_worker_that_ends_waits_for_no_store(campus: Campus, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_store(SILENT, monkeypatch) as reach:
        hanging = await asked(campus, File("s3://cohorts/people"), reach)
        runner = campus.runner(reach=reach)
        while await lock_is_free(campus, hanging):
            await runner.step_any()
        await runner.close()
        assert await lock_is_free(campus, hanging)
    assert await campus.state(hanging) == "PLANNING"


@pytest.mark.parametrize("answer", [SILENT, TRICKLING])
async def test_a_store_that_gives_nothing_for_too_long_fails_it_and_says_so(
    campus: Campus, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr("hark.lists.reading.PATIENCE", timedelta(seconds=0.5))
    async with a_store(answer, monkeypatch) as reach:
        backfill = await asked(campus, File("s3://cohorts/people"), reach)
        assert (await campus.runner(reach=reach).step(backfill)).did
    assert (await campus.shown(backfill)).head.why == (
        "not planned: s3://cohorts/people gave nothing for 0.5 s; try again later; ask for it again once it answers"
    )


async def lock_is_free(campus: Campus, backfill: int) -> bool:
    held = "select count(*) from pg_locks where locktype = 'advisory' and classid = 1751216748 and objid = %s"
    return await campus.column(held, backfill) == [0]


async def test_what_lies_outside_is_refused_at_once_and_all_of_it(campus: Campus) -> None:
    with pytest.raises(BadInput) as caught:
        await asked(campus, Difference(File("/etc/passwd"), File("s3://theirs/ids")))
    assert len(str(caught.value).splitlines()) == 2
    assert await campus.column("select count(*) from hark.backfill") == [0]
