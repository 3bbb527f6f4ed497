"""How the process of a worker ends, though a product's own threads or tasks do not."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Timer

from hark.doors.cli.exits import ExitCode, code_of
from hark.errors import HarkError

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


@contextmanager
def ending_soon() -> Iterator[None]:
    """`end_soon` for what ends by an exception."""
    try:
        yield
    except HarkError as error:
        end_soon(code_of(error))
        raise
    except asyncio.CancelledError:
        end_soon(ExitCode.INTERRUPTED)
        raise
    except Exception:
        end_soon(ExitCode.NOT_GOOD)
        raise


def _end(code: ExitCode) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
