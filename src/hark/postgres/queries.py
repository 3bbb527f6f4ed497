"""Named SQL: each `.sql` file is read once, when its module is imported; an unknown name fails there and then.

    -- name: claim_due
    select …

A statement that several stages share is a chain of common table expressions, each in the file of the stage that owns it
(`-- part: matched`), put together by `chain`.

Placeholders are psycopg's `%(name)s`. Tables are written `hark.table`; a replay runs the very same text in a scratch
schema, by `Query.text`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hark.errors import HarkError

SCHEMA = "hark"

_NAME = re.compile(r"^-- (name|part): *(\S+) *$", re.MULTILINE)
_QUALIFIED = re.compile(rf"\b{SCHEMA}\.(?=[a-z_])")
_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class UnknownQuery(HarkError):
    """A module asked for a query that its `.sql` file does not name."""


@dataclass(frozen=True, slots=True)
class Query:
    """One named statement, or a `part` of one. `name` is `file.statement`, as error messages and plans show it."""

    name: str
    sql: str
    part: bool = False

    def text(self, schema: str = SCHEMA) -> str:
        """The statement as it runs against the tables of `schema`."""
        return in_schema(self.sql, schema)


class Queries(Mapping[str, Query]):
    """The statements of one `.sql` file by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._by_name = dict(_parse(path))

    @classmethod
    def beside(cls, module_file: str) -> Queries:
        """The statements of the `.sql` file that stands beside a module: `Queries.beside(__file__)`."""
        return cls(Path(module_file).with_suffix(".sql"))

    def __getitem__(self, name: str) -> Query:
        try:
            return self._by_name[name]
        except KeyError:
            known = ", ".join(sorted(self._by_name))
            raise UnknownQuery(f"{self.path.name} has no query named {name!r}; it has {known}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)


@lru_cache(maxsize=512)
def in_schema(sql: str, schema: str) -> str:
    """The same SQL against another schema than `hark`.

    Raises:
        ValueError: `schema` is not a plain lower-case name.
    """
    if schema == SCHEMA:
        return sql
    if not _SCHEMA_NAME.fullmatch(schema):
        raise ValueError(f"{schema!r} is not a plain schema name")
    return _QUALIFIED.sub(f"{schema}.", sql)


def _parse(path: Path) -> Iterator[tuple[str, Query]]:
    pieces = _NAME.split(path.read_text(encoding="utf-8"))
    for kind, name, sql in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        yield name, Query(f"{path.stem}.{name}", sql.strip().rstrip(";"), part=kind == "part")


def chain(*parts: Query, end: Query) -> Query:
    """One statement out of the parts that stages own: each part reads what the ones before it name; `end` closes it."""
    expressions = ",\n".join(part.sql for part in parts)
    return Query(f"{parts[0].name}…{end.name}", f"with {expressions}\n{end.sql}")
