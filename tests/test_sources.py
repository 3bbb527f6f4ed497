"""Callables of the product's: one that hangs is in nobody's way, nor in that of the process's end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from hark import sources
from hark.catalogue import PythonSource
from hark.errors import SourceFailed
from hark.sources import AT_ONCE, Asking, call
from tests.servers import REPOSITORY, eventually

HURRIED = Asking(timeout=timedelta(seconds=0.05))
PATIENT = Asking(timeout=timedelta(seconds=60))
_let_go = threading.Event()
_gone = threading.Semaphore(0)


def hangs(question: object) -> object:
    _let_go.wait()
    _gone.release()
    return question


def answers(question: object) -> object:
    return question


def stops(question: object) -> object:
    return next(iter(()))


def test_one_that_hangs_holds_up_no_other_and_is_not_asked_without_end() -> None:
    asyncio.run(_hang())


async def _hang() -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    _let_go.clear()
    for _ in range(AT_ONCE):
        with pytest.raises(SourceFailed, match="did not answer within"):
            await call(PythonSource("tests.test_sources:hangs"), 1, HURRIED)
    assert await call(PythonSource("tests.test_sources:answers"), 2, PATIENT) == 2
    with pytest.raises(SourceFailed, match=f"is still busy with {AT_ONCE} earlier questions"):
        await call(PythonSource("tests.test_sources:hangs"), 3, PATIENT)

    _let_go.set()
    for _ in range(AT_ONCE):
        assert await asyncio.to_thread(_gone.acquire, timeout=60)
    eventually(lambda: not _counted("tests.test_sources:hangs"), "its threads have ended")
    assert await call(PythonSource("tests.test_sources:hangs"), 4, PATIENT) == 4


def _counted(path: str) -> int:
    return sources._under_way[path]


async def test_what_it_raises_is_named_whatever_it_is() -> None:
    with pytest.raises(SourceFailed, match="raised RuntimeError"):
        await call(PythonSource("tests.test_sources:stops"), 1, PATIENT)


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
