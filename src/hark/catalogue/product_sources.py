"""`feed` and `recheck` of a reason: whom to ask, by SQL, in Python or over HTTP; of a feed also by Cypher."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from hark.catalogue.cypher_text import cypher_faults
from hark.catalogue.mail_settings import expanded
from hark.catalogue.model import USUAL_CAP, CypherSource, Feed, FeedSource, PythonSource, Source, SqlSource, UrlSource
from hark.catalogue.nodes import Node, Table
from hark.catalogue.sql_text import names, sql_faults
from hark.catalogue.template_sources import read_beside
from hark.catalogue.wording import quoted, shown
from hark.durations import format_duration, parse_duration
from hark.errors import BadInput
from hark.guarded.urls import url_fault

SOURCE_KEYS = ("sql", "python", "url")
FEED_SOURCES = (*SOURCE_KEYS, "cypher")
FEED_KEYS = (*FEED_SOURCES, "cap", "overlap")
LARGEST_CAP = 50
LONGEST_OVERLAP = timedelta(days=30)

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_EXAMPLES = {
    "sql": 'sql = "feeds/NAME.sql"',
    "python": 'python = "package.module:function"',
    "url": 'url = "https://HOST/PATH"',
    "cypher": 'cypher = "feeds/NAME.cypher"',
}
_DAY = timedelta(days=1)


def read_feed(node: Node, folder: Path, environment: Mapping[str, str]) -> Feed:
    """Read `feed = { sql = "feeds/front_page.sql", cap = 10, overlap = "1d" }`."""
    table = node.table(FEED_KEYS)
    source = _read(table, FEED_SOURCES, folder, environment)
    cap, overlap = table.get("cap"), table.get("overlap")
    usual = timedelta(0) if isinstance(source, SqlSource) else _DAY
    back = overlap.parsed(_overlap, usual, '"1d"') if overlap else usual
    if not back and isinstance(source, SqlSource) and _by_times_only(source.sql):
        table.node.fault(
            'knows only since_at, so what is committed late would be missed; add overlap = "1d", or ask by since'
        )
    return Feed(source=source, cap=_cap(cap) if cap else USUAL_CAP, overlap=back)


def read_source(table: Table, folder: Path, environment: Mapping[str, str]) -> Source:
    """Read the one of `sql`, `python` and `url` that a table has.

    Args:
        folder: the directory of hark.toml; no query comes from outside of it.
        environment: where `${NAME}` in a URL comes from.
    """
    source = _read(table, SOURCE_KEYS, folder, environment)
    assert not isinstance(source, CypherSource)
    return source


def _read(table: Table, keys: Sequence[str], folder: Path, environment: Mapping[str, str]) -> FeedSource:
    stated = [table.children[key] for key in keys if key in table.children]
    if not stated and isinstance(table.node.value, dict) and len(table.children) == len(table.node.value):
        table.node.fault(f"names no source; write {', '.join(_EXAMPLES[key] for key in keys)}")
    for extra in stated[1:]:
        extra.fault(f"is a second source beside {stated[0].name}; leave one of them out")
    return _source(stated[0], folder, environment) if stated else PythonSource("")


def _by_times_only(sql: str) -> bool:
    return names(sql, "since_at") and not names(sql, "since")


def _source(node: Node, folder: Path, environment: Mapping[str, str]) -> FeedSource:
    match node.name:
        case "sql":
            return _query(node, folder)
        case "python":
            return PythonSource(_path(node))
        case "cypher":
            return _cypher(node, folder)
    return UrlSource(_url(node, environment))


def _query(node: Node, folder: Path) -> SqlSource:
    name = node.line_of_text(longest=255)
    text = read_beside(node, name, folder, "query") if name else None
    for line, fault in sql_faults(text) if text is not None else ():
        node.fault(f"line {line} of {quoted(name)[1:-1]}: {fault}")
    return SqlSource(text or "", name)


def _cypher(node: Node, folder: Path) -> CypherSource:
    name = node.line_of_text(longest=255)
    text = read_beside(node, name, folder, "query") if name else None
    for what in cypher_faults(text) if text is not None else ():
        node.fault(f"{quoted(name)[1:-1]}: {what}")
    return CypherSource(text or "", name)


def _path(node: Node) -> str:
    path = node.line_of_text(longest=255)
    if path and not _PATH.fullmatch(path):
        node.fault(f"{quoted(path)} names no function; write package.module:function")
    return path


def _url(node: Node, environment: Mapping[str, str]) -> str:
    url = expanded(node, environment)
    if url and (fault := url_fault(url)):
        node.fault(fault)
    return url


def _cap(node: Node) -> int:
    number = node.value
    if isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= LARGEST_CAP:
        return number
    node.fault(f"{shown(number)} is not a whole number from 1 to {LARGEST_CAP}, without quotes")
    return 1


def _overlap(text: str) -> timedelta:
    overlap = parse_duration(text)
    if overlap > LONGEST_OVERLAP:
        raise BadInput(f"{quoted(text)} is longer than {format_duration(LONGEST_OVERLAP)}; write less")
    return overlap
