"""Whether a query can stand inside of a larger statement: what can be seen of it without a database."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""
      (?P<blank>   \s+ | --[^\n]* )
    | (?P<comment> /\* )
    | (?P<escaped> [eE]'(?:[^'\\]|\\.|'')*' )
    | (?P<text>    '(?:[^']|'')*' | "(?:[^"]|"")*" )
    | (?P<dollar>  \$(?P<tag>(?:[^\W\d]\w*)?)\$ )
    | (?P<numbered>\$\d+ )
    | (?P<open>    [eE]?' | " )
    | (?P<word>    [^\W\d][\w$]* )
    | (?P<number>  \d[\w.]* )
    | (?P<sign>    . )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"/\*|\*/")
_FIRST = ("select", "with")

Fault = tuple[int, str]
"""A line of the query, from 1, and what is wrong there."""


def sql_faults(sql: str) -> list[Fault]:
    """What keeps a query from being one part of a larger statement; empty: nothing that shows without a database.

    It must be one `select` (or `with … select`) without a semicolon, with every quote, comment and parenthesis closed.
    """
    if "\0" in sql:
        return [(sql.count("\n", 0, sql.index("\0")) + 1, "has a zero byte; is it a query?")]
    found = list(_faults(sql))
    return found or ([] if has_words(sql) else [(1, "has no query in it; write one select")])


def has_words(sql: str) -> bool:
    """Whether there is anything but blanks and comments."""
    return any(True for _ in _words(sql))


def names(sql: str, word: str) -> bool:
    """Whether a query says that word, in any case; not in a text or a comment."""
    return any(kind == "word" and said.lower() == word for _, kind, said in _words(sql))


def _faults(sql: str) -> Iterator[Fault]:
    depth: list[int] = []
    first = True
    for at, kind, said in _words(sql):
        line = sql.count("\n", 0, at) + 1
        if first and (kind != "word" or said.lower() not in _FIRST):
            yield line, "is no query; begin with select or with"
        first = False
        match kind, said:
            case "open", _:
                yield line, f"a {said} is opened here and never closed"
            case "numbered", _:
                yield line, f"{said} is a parameter, and a query is given none; it reads the table that it is asked by"
            case "sign", ";":
                yield line, "has a semicolon; it is part of a larger statement, so leave the semicolon out"
            case "sign", "(":
                depth.append(line)
            case "sign", ")" if not depth:
                yield line, "a ) closes nothing"
            case "sign", ")":
                depth.pop()
    yield from ((line, "a ( is opened here and never closed") for line in depth)


def _words(sql: str) -> Iterator[tuple[int, str, str]]:
    """All that is neither a blank nor a comment, with where it begins and of which kind it is."""
    at = 0
    while match := _TOKEN.match(sql, at):
        kind, said = str(match.lastgroup if match.lastgroup != "tag" else "dollar"), match[0]
        end = _end(sql, match, kind)
        if end is None:
            yield at, "open", said
            return
        if kind == "open":
            yield at, kind, said
            return
        if kind not in ("blank", "comment"):
            yield at, kind, said
        at = end


def _end(sql: str, match: re.Match[str], kind: str) -> int | None:
    """Where a token ends; None: nowhere."""
    if kind == "dollar":
        closes = sql.find(match[0], match.end())
        return closes + len(match[0]) if closes >= 0 else None
    return _comment_end(sql, match.end()) if kind == "comment" else match.end()


def _comment_end(sql: str, at: int) -> int | None:
    """Comments nest in Postgres."""
    depth = 1
    while depth:
        sign = _COMMENT.search(sql, at)
        if sign is None:
            return None
        depth += 1 if sign[0] == "/*" else -1
        at = sign.end()
    return at
