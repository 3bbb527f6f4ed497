"""What the product's own code is asked, while it is at it: in threads that are in nobody's way, and counted."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from threading import Lock, Thread
from time import monotonic
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

from hark.errors import SourceFailed

P = ParamSpec("P")
T = TypeVar("T")

MOST_UNANSWERED = 16
"""Questions past their time-out that one callable may still be at: one that hangs takes up no more threads.

Those that are in time are not counted: there are no more of them than loops that ask, and a busy product is none that
hangs.
"""

MOST_THREADS = min(32, (os.cpu_count() or 1) + 4)
"""Threads that what is handed to the loop's pool gets for one question: as many as that pool has."""


@dataclass(slots=True, eq=False)
class Question:
    """What a callable, `of`, is asked; `given_up`: whoever asked waits no longer for an answer.

    `begun` is on this process's own clock; `hands` are its task, the threads that are still at it, and what is to be
    done for it: by `threads` threads now, and `waiting` for one of them.
    """

    of: str
    about: object
    timeout: timedelta
    given_up: bool = False
    begun: float = field(default_factory=monotonic)
    hands: int = 0
    threads: int = 0
    waiting: deque[Callable[[], object]] = field(default_factory=deque)

    @property
    def is_late(self) -> bool:
        """Whether it was to have come to its end; it may have been answered, and left threads behind."""
        return self.given_up or monotonic() >= self.begun + self.timeout.total_seconds()


_under_way: defaultdict[str, set[Question]] = defaultdict(set)
_counting = Lock()
_asked: ContextVar[Question | None] = ContextVar("hark_question", default=None)
"""What the code that runs here is asked: tasks that it makes, and calls of the loop's that it schedules, inherit it."""


def unanswered(of: str, within: timedelta) -> list[object]:
    """What a callable was asked about in vain, not longer ago than that, and still is at."""
    since = monotonic() - within.total_seconds()
    with _counting:
        return [each.about for each in _under_way[of] if each.given_up and each.begun >= since]


@contextmanager
def at_work(question: Question) -> Iterator[None]:
    """For the time of a block, the product's code is at a question in this task, which is no other's.

    What it hands to the loop's pool of threads (`asyncio.to_thread`) runs in as many of the question's own instead: in
    that pool names are looked up, mails written and connections opened, by all that the process does.

    Raises:
        SourceFailed: it still is at `MOST_UNANSWERED` questions that it was to have answered.
    """
    _begin(question)
    try:
        _asked.set(question)
        _keep_free(asyncio.get_running_loop())
        yield
    finally:
        _let_go(question)


async def in_a_thread(question: Question, ask: Callable[[], Any]) -> Any:
    """What a function gives, run in a thread of its own: one that hangs is in nobody's way.

    Not in the loop's pool of threads, which all functions and the look-ups of names share, and which the end of the
    process waits for.
    """
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    _start(question, partial(copy_context().run, _answer, question.of, ask, answer))
    return await answer


def raised_in(error: BaseException) -> str:
    """The kind of an error and the line of the product's that raised it, without its words, which may quote data."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" in {trace.tb_frame.f_code.co_name}, line {trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}{place}"


# Counting ------------------------------------------------------------------------------------------------------------


def _begin(question: Question) -> None:
    with _counting:
        under_way = _under_way[question.of]
        if sum(each.is_late for each in under_way) >= MOST_UNANSWERED:
            raise SourceFailed(f"{question.of} is still at {MOST_UNANSWERED} earlier questions, and past its time-out")
    _take_up(question)


def _take_up(question: Question) -> None:
    with _counting:
        question.hands += 1
        _under_way[question.of].add(question)


def _let_go(question: Question) -> None:
    with _counting:
        question.hands -= 1
        if not question.hands:
            _under_way[question.of].discard(question)


# Threads -------------------------------------------------------------------------------------------------------------


def _start(question: Question, work: Callable[[], object]) -> None:
    """A thread that is at a question until its work is done; the process does not wait for it."""

    def live() -> None:
        try:
            work()
        finally:
            _let_go(question)

    _take_up(question)
    try:
        Thread(target=live, name=f"hark {question.of}", daemon=True).start()
    except BaseException:
        _let_go(question)
        raise


def _start_in_turn(question: Question, work: Callable[[], object]) -> None:
    """As soon as one of a question's `MOST_THREADS` is free."""
    with _counting:
        if question.threads >= MOST_THREADS:
            question.hands += 1
            question.waiting.append(work)
            return
        question.threads += 1
    try:
        _start(question, partial(_live_in_turns, question, work))
    except BaseException:
        with _counting:
            question.threads -= 1
        raise


def _live_in_turns(question: Question, work: Callable[[], object] | None) -> None:
    while work is not None:
        work()
        with _counting:
            work = question.waiting.popleft() if question.waiting else None
            if work is None:
                question.threads -= 1
            else:
                question.hands -= 1


def _answer(of: str, ask: Callable[[], Any], answer: asyncio.Future[Any]) -> None:
    """What such a thread does. Whoever asked may have gone meanwhile, and their loop with them."""
    try:
        tell = partial(_told, answer.set_result, answer, ask())
    except BaseException as error:
        tell = partial(_told, answer.set_exception, answer, _as_failure(of, error))
    with suppress(RuntimeError):
        answer.get_loop().call_soon_threadsafe(tell)


def _as_failure(of: str, error: BaseException) -> Exception:
    """A future takes no StopIteration, and what is no `Exception` would end more than the question."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return SourceFailed(f"{of} raised {raised_in(error)}", of_the_data=True)


def _told(how: Callable[[Any], None], answer: asyncio.Future[Any], what: object) -> None:
    if not answer.done():
        how(what)


# The loop's pool -----------------------------------------------------------------------------------------------------

_kept_free: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
"""For loops that are not asyncio's own, and do not show their pool."""


def _keep_free(loop: asyncio.AbstractEventLoop) -> None:
    # Asyncio makes it at its first use, and has no word to ask for it by; who has set one of their own keeps it.
    pool: Executor | None = getattr(loop, "_default_executor", None)
    if isinstance(pool, _Beside) or (pool is None and loop in _kept_free):
        return
    loop.set_default_executor(_Beside(pool or ThreadPoolExecutor(thread_name_prefix="asyncio")))
    _kept_free.add(loop)


class _Beside(ThreadPoolExecutor):
    """A loop's pool; what is handed to it by code that is at a question runs beside it, in that question's threads.

    A `ThreadPoolExecutor` because asyncio takes no other; it has no thread itself.
    """

    def __init__(self, pool: Executor) -> None:
        super().__init__(max_workers=1)
        self._pool = pool

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See `concurrent.futures.Executor`."""
        question = _asked.get()
        if question is None:
            return self._pool.submit(fn, *args, **kwargs)
        future: Future[T] = Future()
        _start_in_turn(question, partial(_fulfil, future, partial(fn, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `concurrent.futures.Executor`; for what is at a question nobody waits."""
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


def _fulfil(future: Future[T], work: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)
