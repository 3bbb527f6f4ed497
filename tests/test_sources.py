"""Callables of the product's: one that hangs is in nobody's way, nor in that of the process's end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import pytest

from hark import questions
from hark.catalogue import PythonSource
from hark.errors import SourceFailed
from hark.questions import MOST_THREADS, MOST_UNANSWERED
from hark.sources import Asking, call, unanswered
from tests.servers import REPOSITORY, eventually

HURRIED = Asking(timeout=timedelta(seconds=0.05))
IN_A_MOMENT = Asking(timeout=timedelta(seconds=0.5))
PATIENT = Asking(timeout=timedelta(seconds=60))
_let_go = threading.Event()
_gone = threading.Semaphore(0)


@pytest.fixture(autouse=True)
def _nothing_hangs_for_ever() -> Iterator[None]:
    yield
    _let_go.set()


def hangs(question: object) -> object:
    _let_go.wait()
    _gone.release()
    return question


def answers(question: object) -> object:
    return question


def stops(question: object) -> object:
    return next(iter(()))


def cancels(question: object) -> object:
    raise asyncio.CancelledError


def ends(question: object) -> object:
    sys.exit(3)


async def cancels_itself(question: object) -> object:
    raise asyncio.CancelledError


async def ends_itself(question: object) -> object:
    sys.exit(3)


async def will_not_be_stopped(question: object) -> object:
    while not _let_go.is_set():
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.01)
    return question


async def hangs_in_the_loops_pool(question: object) -> object:
    return await asyncio.to_thread(hangs, question)


async def hangs_behind_its_answer(question: object) -> object:
    asyncio.get_running_loop().run_in_executor(None, hangs, question)
    return question


async def asks_each(question: list[int]) -> object:
    return await asyncio.gather(*(asyncio.to_thread(_one_of_many, each) for each in question))


def _one_of_many(n: int) -> tuple[int, int]:
    with _many:
        _kept["at_once"] += 1
        at_once = _kept["at_once"]
    time.sleep(0.001)
    with _many:
        _kept["at_once"] -= 1
    return n, at_once


async def looks_up(question: object) -> object:
    _kept["loop"] = asyncio.get_running_loop()
    return await asyncio.to_thread(lambda: (question, _kept["here"].get()))


_kept: dict[str, Any] = {"here": ContextVar("here", default="nowhere"), "at_once": 0}
_many = threading.Lock()


def test_one_that_hangs_holds_up_no_other_and_is_not_asked_without_end() -> None:
    asyncio.run(_hang())


async def _hang() -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    _let_go.clear()
    for _ in range(MOST_UNANSWERED):
        with pytest.raises(SourceFailed, match="did not answer within"):
            await call(PythonSource("tests.test_sources:hangs"), 1, HURRIED)
    assert await call(PythonSource("tests.test_sources:answers"), 2, PATIENT) == 2
    with pytest.raises(SourceFailed, match=f"is still at {MOST_UNANSWERED} earlier questions"):
        await call(PythonSource("tests.test_sources:hangs"), 3, PATIENT)

    _let_go.set()
    for _ in range(MOST_UNANSWERED):
        assert await asyncio.to_thread(_gone.acquire, timeout=60)
    eventually(lambda: not _counted("tests.test_sources:hangs"), "its threads have ended")
    assert await call(PythonSource("tests.test_sources:hangs"), 4, PATIENT) == 4


def _counted(path: str) -> int:
    return len(questions._under_way[path])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("stops", "StopIteration"),
        ("cancels", "CancelledError"),
        ("cancels_itself", "CancelledError"),
        ("ends", "SystemExit"),
        ("ends_itself", "SystemExit"),
    ],
)
async def test_what_it_raises_is_named_whatever_it_is(name: str, kind: str) -> None:
    with pytest.raises(SourceFailed, match=f"raised {kind}"):
        await call(PythonSource(f"tests.test_sources:{name}"), 1, PATIENT)


class Lazily:
    """What is read only when it is gone through, as a query of an ORM's."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __iter__(self) -> Iterator[object]:
        if self.how == "ends":
            sys.exit(3)
        if self.how == "hangs":
            _let_go.wait()
        if self.how == "breaks":
            raise ValueError("secret")
        return iter([threading.current_thread() is threading.main_thread()])


def lazily(how: str) -> object:
    return Lazily(how)


async def lazily_itself(how: str) -> object:
    return Lazily(how)


@pytest.mark.parametrize("name", ["lazily", "lazily_itself"])
async def test_what_is_read_lazily_is_read_where_it_may_break_and_hang(name: str) -> None:
    source = PythonSource(f"tests.test_sources:{name}")
    assert await call(source, "answers", PATIENT) == [False]
    with pytest.raises(SourceFailed, match="raised ValueError in __iter__, line") as failed:
        await call(source, "breaks", PATIENT)
    assert failed.value.of_the_data and "secret" not in str(failed.value)
    with pytest.raises(SourceFailed, match="raised SystemExit"):
        await call(source, "ends", PATIENT)
    _let_go.clear()
    with pytest.raises(SourceFailed, match="did not answer within") as failed:
        await call(source, "hangs", HURRIED)
    assert failed.value.too_slow
    _let_go.set()


async def test_one_that_is_busy_and_in_time_is_asked_as_often_as_is_wanted() -> None:
    _let_go.clear()
    source = PythonSource("tests.test_sources:hangs")
    asking = [asyncio.create_task(call(source, n, PATIENT)) for n in range(3 * MOST_UNANSWERED)]
    await asyncio.to_thread(eventually, lambda: _counted(source.path) == len(asking), "all are asked")
    _let_go.set()
    assert await asyncio.gather(*asking) == list(range(len(asking)))


@pytest.mark.parametrize("name", ["hangs_in_the_loops_pool", "will_not_be_stopped"])
async def test_one_that_is_async_and_hangs_is_not_asked_without_end_either(name: str) -> None:
    source = PythonSource(f"tests.test_sources:{name}")
    _let_go.clear()
    for _ in range(MOST_UNANSWERED):
        with pytest.raises(SourceFailed, match="did not answer within"):
            await call(source, ["bob"], HURRIED)
    with pytest.raises(SourceFailed, match=f"is still at {MOST_UNANSWERED} earlier questions"):
        await call(source, ["bob"], PATIENT)
    assert unanswered(source, timedelta(hours=1)) == [["bob"]] * MOST_UNANSWERED

    _let_go.set()
    await asyncio.to_thread(eventually, lambda: not _counted(source.path), "it is at none any more")
    assert await call(source, ["bob"], PATIENT) == ["bob"]


async def test_the_loops_own_pool_is_left_to_others_by_all_that_hang() -> None:
    """Names are looked up there, mails written, connections to Postgres opened."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    _let_go.clear()
    with pytest.raises(SourceFailed, match="did not answer within"):
        await call(PythonSource("tests.test_sources:hangs_in_the_loops_pool"), 1, HURRIED)
    async with asyncio.timeout(60):
        assert await loop.getaddrinfo("localhost", 25)


async def test_what_one_question_hands_to_the_loops_pool_gets_no_more_threads_than_that_has() -> None:
    source, people = PythonSource("tests.test_sources:asks_each"), list(range(200))
    answered = await call(source, people, PATIENT)
    assert isinstance(answered, list)
    assert [n for n, _ in answered] == people
    assert 1 < max(at_once for _, at_once in answered) <= MOST_THREADS
    await asyncio.to_thread(eventually, lambda: not _counted(source.path), "it is at none any more")


async def test_threads_behind_an_answer_are_not_counted_before_its_time_was_out() -> None:
    source = PythonSource("tests.test_sources:hangs_behind_its_answer")
    _let_go.clear()
    for n in range(MOST_UNANSWERED + 1):
        assert await call(source, n, PATIENT) == n
    assert unanswered(source, timedelta(hours=1)) == []
    for n in range(MOST_UNANSWERED):
        await call(source, n, IN_A_MOMENT)
    at_it = questions._under_way[source.path]
    await asyncio.to_thread(eventually, lambda: sum(each.is_late for each in at_it) == MOST_UNANSWERED, "time is out")
    with pytest.raises(SourceFailed, match=f"is still at {MOST_UNANSWERED} earlier questions"):
        await call(source, 0, PATIENT)


async def test_one_that_is_async_is_run_in_the_loop_of_whoever_asks_and_in_their_context() -> None:
    """Clients of the product's belong to that loop."""
    _kept["here"].set("here")
    assert await call(PythonSource("tests.test_sources:looks_up"), 1, PATIENT) == (1, "here")
    assert _kept["loop"] is asyncio.get_running_loop()


async def test_one_that_will_not_be_stopped_is_not_waited_for() -> None:
    _let_go.clear()
    with pytest.raises(SourceFailed, match="did not answer within"):
        await call(PythonSource("tests.test_sources:will_not_be_stopped"), 1, HURRIED)
    _let_go.set()


async def test_whoever_asks_may_be_stopped() -> None:
    _let_go.clear()
    asking = asyncio.create_task(call(PythonSource("tests.test_sources:will_not_be_stopped"), 1, PATIENT))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    _let_go.set()


def test_a_process_ends_though_a_callable_hangs() -> None:
    program = """
import asyncio
from tests.test_sources import HURRIED, PythonSource, SourceFailed, call
async def ask():
    try:
        await call(PythonSource("tests.test_sources:hangs"), 1, HURRIED)
    except SourceFailed as failed:
        print(failed)
asyncio.run(ask())
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=True
    )
    assert "did not answer within 0.05 s" in ran.stdout
