"""Commands run as people run them: in a directory with a catalogue, against a database of the test's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import IO, Any

import psycopg
import pytest

from hark.doors.cli.app import run
from tests.servers import Postgres

PEOPLE = """id,user_type,address,confirmed,zone,attributes.team
bob,Students,bob@school.example,true,Europe/Berlin,Blue
carol,Mentors,carol@school.example,yes,,
dora,Employers,,no,Asia/Kolkata,Red
"""
HISTORY = "actor,recipient,time\nalice,bob,1300000000\ncarol,bob,1300000060\nbob,alice,1300009000\n"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[Any]:
        """Its output as JSON, one object a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def only(self) -> Any:
        """The only object of its output."""
        (each,) = self.objects
        return each


@dataclass(frozen=True, slots=True)
class Desk:
    """A directory to work in and a database to work on."""

    directory: Path
    dsn: str
    capture: pytest.CaptureFixture[str]

    def hark(self, *arguments: str) -> Ran:
        """Run a command in this process."""
        self.capture.readouterr()
        code = run(list(arguments))
        said = self.capture.readouterr()
        return Ran(code, said.out, said.err)

    def spawn(
        self,
        *arguments: str,
        out: IO[str] | int = subprocess.PIPE,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        **environment: str,
    ) -> subprocess.Popen[str]:
        """Start a command in a process of its own; `out`: where its stdout goes; `stdin`: what it reads."""
        return subprocess.Popen(
            [sys.executable, "-c", "from hark.doors.cli import main; main()", *arguments],
            cwd=self.directory,
            env=self._environment(environment),
            stdin=stdin,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
        )

    def hark_alone(self, *arguments: str, **environment: str) -> Ran:
        """Run a command in a process of its own, to its end."""
        process = self.spawn(*arguments, **environment)
        out, err = process.communicate(timeout=120)
        return Ran(process.returncode, out, err)

    def ask(self, sql: str, *params: object) -> Any:
        """The first value of a query."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            row = connection.execute(sql.encode(), params).fetchone()
        return None if row is None else row[0]

    def execute(self, sql: str) -> None:
        """Do something to the database."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(sql.encode())

    def write(self, name: str, text: str) -> Path:
        """A file in the directory."""
        path = self.directory / name
        path.write_text(text)
        return path

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        return {**os.environ, "HARK_DATABASE_URL": self.dsn, **more}


@pytest.fixture(scope="session")
def furnished(postgres: Postgres, template: str) -> str:
    """The name of a database that has the sample catalogue: for cloning, since installing it takes a while."""
    name = postgres.create_database(template)
    with resources.as_file(resources.files("hark") / "sample" / "hark.toml") as catalogue:
        assert run(["migrate", "--database-url", postgres.dsn(name), "--catalogue", str(catalogue)]) == 0
    return name


@pytest.fixture
def desk(
    postgres: Postgres,
    furnished: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Desk]:
    """A desk with the sample catalogue, and files of a few people and a little history; nobody is in the database."""
    name = postgres.create_database(furnished)
    database = postgres.dsn(name)
    for name in [name for name in os.environ if name.startswith("HARK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HARK_DATABASE_URL", database)
    monkeypatch.setenv("TZ", "UTC")
    with resources.as_file(resources.files("hark") / "sample") as sample:
        shutil.copytree(sample, tmp_path, dirs_exist_ok=True)
    (tmp_path / "people.csv").write_text(PEOPLE)
    (tmp_path / "history.csv").write_text(HISTORY)
    monkeypatch.chdir(tmp_path)
    yield Desk(tmp_path, database, capsys)
    postgres.drop_database(name)
