"""What a feed breaks on: whether the feed is at fault or the server, or perhaps one recipient; and in which words."""

from __future__ import annotations

import psycopg

from hark.errors import HarkError, SourceFailed
from hark.postgres.database import is_of_the_data

Broken = psycopg.Error | SourceFailed
"""What a feed says, in whatever way it is asked, when it breaks."""

_OF_THE_SERVER = ("08", "40", "53", "55P03", "57P", "58")
"""SQLSTATEs that say something of the server, not of the feed."""

_OF_ONES_DATA = ("21", "P0")
"""SQLSTATEs, beside those of `is_of_the_data`, that speak of somebody's rows: more of them than a subquery may give,
and what a function of the product's refuses."""

_QUOTES_NO_VALUE = ("22012", "42", "57")
"""SQLSTATEs whose words tell of the query or the server, never of a row."""


def is_the_feeds(error: Exception) -> bool:
    """Whether a feed is at fault, not the server that everything runs on."""
    if isinstance(error, psycopg.Error):
        return error.sqlstate is not None and not error.sqlstate.startswith(_OF_THE_SERVER)
    return isinstance(error, HarkError)


def is_of_some(error: Broken) -> bool:
    """Whether somebody's data may be at fault, so that the feed answers for others."""
    if isinstance(error, SourceFailed):
        return error.of_the_data
    return is_of_the_data(error) or (error.sqlstate or "").startswith(_OF_ONES_DATA)


def is_too_slow(error: Broken) -> bool:
    """Whether it was given up because it took too long."""
    return error.too_slow if isinstance(error, SourceFailed) else error.sqlstate == "57014"


def in_words(error: Exception) -> str:
    """What a feed broke on, for people; of what Postgres says nothing that may quote a value."""
    if isinstance(error, psycopg.Error):
        said = error.diag.message_primary or ""
        quotes_none = (error.sqlstate or "").startswith(_QUOTES_NO_VALUE) or said.startswith("hark: ")
        return f"{name_of(error)}: {said}" if quotes_none else name_of(error)
    return str(error)


def name_of(error: Exception) -> str:
    """Which kind of fault it is, without its words."""
    sqlstate = f" ({error.sqlstate})" if isinstance(error, psycopg.Error) else ""
    return f"{type(error).__name__}{sqlstate}"
