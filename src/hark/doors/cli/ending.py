"""How the process of a worker ends, though a product's own threads or tasks do not."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Awaitable
from contextlib import suppress
from threading import Event, Timer

from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import Call, let_go_of_what_cannot_be_said, refuse

_PATIENCE_S = 5.0
"""How long Python may take to end all that is left, which it would wait for without end."""

_own = Event()


def own_process() -> None:
    """Say that this process is the command's own: with it, it ends."""
    _own.set()


def end_soon(code: ExitCode) -> ExitCode:
    """That code; and the process ends with it in a few seconds, whatever is left in threads and tasks.

    What was asked of a product may hang: in a pool of its own, in the loop's, in a task that will not be canceled.
    """
    if _own.is_set():
        timer = Timer(_PATIENCE_S, _end, [code])
        timer.daemon = True
        timer.start()
    return code


async def ended(call: Call, work: Awaitable[ExitCode]) -> ExitCode:
    """The exit code of a work, with which the process ends soon, as in `end_soon`, however the work ended.

    What it has to say is said before that, be it an error's sentence or where a program failed: what hangs may leave
    nobody behind to say it.
    """
    try:
        code = await work
        sys.stdout.flush()
    except BrokenPipeError:
        end_soon(ExitCode.DONE)
        raise
    except asyncio.CancelledError:
        call.output.note(f"interrupted; {call.go_on}")
        return end_soon(ExitCode.INTERRUPTED)
    except Exception as error:
        return end_soon(_said(call, error))
    return end_soon(code)


def _said(call: Call, error: Exception) -> ExitCode:
    try:
        code = refuse(call.output, error)
    except Exception as fault:
        traceback.print_exception(fault)
        code = ExitCode.NOT_GOOD
    let_go_of_what_cannot_be_said()
    return code


def _end(code: ExitCode) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
