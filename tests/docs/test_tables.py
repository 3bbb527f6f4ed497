"""Every table and function of the schema is documented, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "tables.md"


def documented(section: str) -> set[str]:
    parts = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]
    rows = [
        line for part in parts if part.startswith("Functions") == (section == "functions") for line in part.splitlines()
    ]
    cells = [row.split("|")[1] for row in rows if row.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`(\w+)", cell)}


def test_tables(database: str) -> None:
    with psycopg.connect(database) as connection:
        names = connection.execute("select tablename from pg_tables where schemaname = 'hark'").fetchall()
    assert documented("tables") == {name for (name,) in names}


def test_functions(database: str) -> None:
    with psycopg.connect(database) as connection:
        names = connection.execute("select proname from pg_proc where pronamespace = 'hark'::regnamespace").fetchall()
    assert documented("functions") == {name for (name,) in names}
