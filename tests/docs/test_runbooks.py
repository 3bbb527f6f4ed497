"""What runbooks tell operators to type can be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from hark.doors.cli.app import run

RUNBOOKS = Path(__file__).resolve().parents[2] / "docs" / "runbooks"
BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(language: str) -> Iterator[str]:
    for page in sorted(RUNBOOKS.glob("*.md")):
        yield from (block["body"] for block in BLOCK.finditer(page.read_text()) if block["language"] == language)


@pytest.mark.parametrize("statement", list(blocks("sql")))
def test_the_database_understands(statement: LiteralString, database: str) -> None:
    with psycopg.connect(database) as connection:
        assert connection.execute(statement).fetchall() == []


COMMANDS = [line for body in blocks("") for line in body.splitlines() if line.startswith("hark ")]


@pytest.mark.parametrize("line", COMMANDS)
def test_the_command_line_understands(
    line: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARK_DATABASE_URL", database)
    assert run(shlex.split(line)[1:]) == 0
