"""How what works until it is told otherwise is told to end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import Call
from hark.doors.cli.output import Output

T = TypeVar("T")


class Stop:
    """Told by a signal to end: what is under way is finished first; told twice, at once; once more, as if killed."""

    def __init__(self, output: Output) -> None:
        self.event = asyncio.Event()
        self.interrupted = False
        self._hurried = False
        self._output = output
        self._task = asyncio.current_task()

    def __enter__(self) -> Stop:
        for sign in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(sign, self._told, sign)
        return self

    def __exit__(self, *_: object) -> None:
        for sign in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(sign)

    def _told(self, sign: signal.Signals) -> None:
        self.interrupted = sign is signal.SIGINT
        if self._hurried:
            os._exit(ExitCode.INTERRUPTED)
        if self.event.is_set() and self._task is not None:
            self._hurried = True
            self._task.cancel()
            return
        self._output.note("stopping: what is under way is finished first; again: at once")
        self.event.set()

    async def unless_told(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What a work comes to that can be left half done; None: told to end before, and it was left."""
        task, told = asyncio.ensure_future(work), asyncio.ensure_future(self.event.wait())
        try:
            await asyncio.wait((task, told), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for each in (task, told):
                each.cancel()
            await asyncio.wait((task, told))

    def end(self, call: Call) -> ExitCode:
        """How the command ends, once all is finished."""
        if self.interrupted:
            call.output.note(f"interrupted; {call.go_on}")
        return ExitCode.INTERRUPTED if self.interrupted else ExitCode.DONE
