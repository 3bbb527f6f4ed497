"""Logs, by way of structlog, which is loaded when the first line is written.

It takes 5 MB, and most commands end without a line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

_first: list[Callable[[], None]] = []
"""What is done before the next line; one at most."""
_turn = Lock()


@dataclass(frozen=True, slots=True)
class Log:
    """Writes lines of structlog's under the name of a module."""

    name: str

    def debug(self, event: str, **said: object) -> None:
        """For whoever looks closely."""
        _logger(self.name).debug(event, **said)

    def info(self, event: str, **said: object) -> None:
        """How it goes."""
        _logger(self.name).info(event, **said)

    def warning(self, event: str, **said: object) -> None:
        """What is not as it should be, and is got over."""
        _logger(self.name).warning(event, **said)

    def error(self, event: str, **said: object) -> None:
        """What somebody has to see to."""
        _logger(self.name).error(event, **said)


def before_the_first_line(set_up: Callable[[], None] | None) -> None:
    """Have structlog set up by this before a line is written, and not at all if none is; None: as it is."""
    _first[:] = [] if set_up is None else [set_up]


def _logger(name: str) -> Any:
    import structlog

    with _turn:
        while _first:
            _first.pop()()
    return structlog.get_logger(name)
