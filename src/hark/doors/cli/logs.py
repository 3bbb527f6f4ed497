"""Logs on stderr without personal data: what happened, how often, where; never whose, never a message's words."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from functools import partial
from typing import Any

from hark import logs
from hark.errors import without_words


def log_to_stderr(level: str) -> None:
    """Send structlog's lines to stderr: as JSON for programs, aligned on a terminal."""
    # Whoever works says that Postgres is away, once; the pool would say so for each attempt to connect.
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    logs.before_the_first_line(partial(_set_up, level))


def _set_up(level: str) -> None:
    import structlog

    on_terminal = sys.stderr.isatty()
    shape: Any = structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            without_data,
            shape,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def without_data(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Put in place of an exception its kind and where it came from: its text may quote rows, and rows are people."""
    error = event.pop("exc_info", None)
    if not isinstance(error, BaseException):
        return event
    return {**{name: value for name, value in event.items() if value is not None}, **without_words(error)}
