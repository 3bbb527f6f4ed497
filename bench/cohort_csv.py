"""How fast does a CSV file become a cohort, and how much memory does that take?"""

from __future__ import annotations

import asyncio
import csv
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from bench.command import PREFERENCES, peak_of
from bench.contest import Question, Target, Turn, answer, stopwatch, take_turns
from bench.ground import REPOSITORY, Connection, bare, catalogue, fresh_hark, reason, server, settle_down
from bench.result import Result
from hark.backfill.cohort import CohortWords, FileReach, cohort_of, forget, stage
from hark.catalogue import Channel
from hark.postgres.database import Database, open_database

LINES = 5_000_000
KNOWN = 2_000_000
LOOPED = 5_000
"""Lines of the per-row loop, which is too slow for more."""
DATABASE = "bench_cohort_csv"
BLOCK = 256 * 1024

SPEED = Question(
    name="cohort_csv",
    question="How fast does a CSV file of users become a cohort: read, checked, duplicates removed, strangers listed?",
    unit="lines/s",
    higher_is_better=True,
    peer_name="a loop over csv.reader: SELECT the user, INSERT … ON CONFLICT, in one transaction",
    limit_name="raw COPY of the file into a temporary table, then INSERT … SELECT DISTINCT … JOIN in order of ids",
    notes=(
        "Two columns, ids in random order, two in five lines name somebody again and one in a hundred a stranger. The "
        "limit checks nothing, knows no line numbers and counts nothing; it has the same work_mem and writes the same "
        "members through the same index. Hark also hashes the file and stores every stranger with its line."
    ),
)
MEMORY = Question(
    name="cohort_csv_memory",
    question="And how much memory does `hark backfill preferences` take at most that reads it and plans?",
    unit="MB",
    higher_is_better=False,
    peer_name="a process that holds the column as a list, as [row['id'] for row in csv.DictReader(file)]",
    limit_name="a process that has only imported Hark and opened the database",
    notes=(
        "The peak of the resident set (VmHWM) of a process of its own, Python and libraries included; of Hark it is "
        "the command line's, from the file to the plan."
    ),
)

SEED = """
insert into hark.recipient (id, user_type, updated_at)
select 'user-' || lpad(n::text, 8, '0'), 'Students', now() from generate_series(1, {known}) n
"""
RAW_TABLES = """
drop table if exists raw_line, raw_member;
create temp table raw_line (id text collate "C", name text);
create table raw_member (cohort_id bigint, recipient_id text collate "C", primary key (cohort_id, recipient_id))
"""
RAW_COPY = "copy raw_line from stdin (format csv, header)"
RAW_MEMBERS = """
insert into raw_member
select 1, id from (select distinct id from raw_line) line join hark.recipient using (id) order by id
"""


def measure(scale: float) -> list[Result]:
    """Staging a file beside raw COPY, and beside what one would write first."""
    return asyncio.run(_measure(max(int(LINES * scale), 200), max(int(KNOWN * scale), 100), scale))


async def _measure(lines: int, known: int, scale: float) -> list[Result]:
    reasons = catalogue(reason("by_mail", Channel.EMAIL))
    async with fresh_hark(DATABASE, reasons) as database, bare(DATABASE) as raw:
        await raw.execute(SEED.format(known=known))
        await settle_down(raw, "hark.recipient")
        with tempfile.TemporaryDirectory() as folder:
            path = _written(Path(folder) / "people.csv", lines, known)
            field = _Field(database, raw, path, lines)
            speed = await take_turns({"limit": field.limit, "hark": field.hark, "peer": field.peer})
            memory = await take_turns({name: field.memory_of(name) for name in ("limit", "hark", "peer")})
    sizes = {"lines": lines, "known users": known}
    speedy, small = (Target(share_of_limit=0.5), Target(figure=60)) if scale >= 1 else (None, None)
    looped = min(LOOPED, lines)
    return [
        answer(SPEED, speed, {**sizes, "lines of the loop": looped}, speedy),
        answer(MEMORY, memory, sizes, small),
    ]


def _written(path: Path, lines: int, known: int) -> Path:
    chance = random.Random(5)
    with path.open("w") as file:
        file.write("id,name\n")
        for _ in range(lines):
            number = chance.randrange(1, known * 101 // 100)
            file.write(f"user-{number:08},Somebody\n")
    return path


@dataclass(frozen=True, slots=True)
class _Field:
    database: Database
    raw: Connection
    path: Path
    lines: int

    async def hark(self) -> float:
        with stopwatch() as watch:
            cohort_id = await _stage(self.database, self.path, self.lines)
        await forget(self.database, cohort_id)
        await settle_down(self.raw, "hark.cohort_member", "hark.cohort_fault")
        return self.lines / watch.seconds

    async def limit(self) -> float:
        await self.raw.execute(RAW_TABLES)
        await settle_down(self.raw, "raw_member")
        with stopwatch() as watch:
            await self.raw.execute("set work_mem = '64MB'")
            async with (
                self.raw.cursor() as cursor,
                cursor.copy("copy raw_line from stdin (format csv, header)") as copy,
            ):
                for block in _blocks(self.path):
                    await copy.write(block)
            await self.raw.execute("analyze raw_line")
            await self.raw.execute(RAW_MEMBERS)
        return self.lines / watch.seconds

    async def peer(self) -> float:
        await self.raw.execute(RAW_TABLES)
        count = 0
        with stopwatch() as watch:
            async with self.raw.transaction():
                for name in _column(self.path, LOOPED):
                    count += 1
                    found = await self.raw.execute("select id from hark.recipient where id = %s", [name])
                    if await found.fetchone():
                        put = "insert into raw_member values (1, %s) on conflict do nothing"
                        await self.raw.execute(put, [name])
        return count / watch.seconds

    def memory_of(self, contestant: str) -> Turn:
        async def turn() -> float:
            if contestant == "hark":
                return await peak_of(DATABASE, *PREFERENCES, "--file", str(self.path))
            return await asyncio.to_thread(_peak_of, contestant, self.path, self.lines)

        return turn


async def _stage(database: Database, path: Path, lines: int) -> int:
    cohort = cohort_of(CohortWords(files=[str(path)]))
    reach, now = FileReach(local=True), datetime.now(UTC)
    staged = await stage(database, cohort, user_types=["Students"], now=now, reach=reach)
    assert staged.rows == lines == staged.members + staged.duplicates + staged.unknown
    return staged.cohort_id


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def _column(path: Path, limit: int | None) -> Iterator[str]:
    with path.open(newline="") as file:
        yield from (row["id"] for row in islice(csv.DictReader(file), limit))


# Processes of their own -----------------------------------------------------------------------------------------------


def _peak_of(contestant: str, path: Path, lines: int) -> float:
    given = f"{contestant!r}, {str(path)!r}, {lines}, {server().dsn_of(DATABASE)!r}"
    command = [sys.executable, "-c", f"from bench.cohort_csv import child; child({given})"]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    return float(done.stdout)


def child(contestant: str, path: str, lines: int, dsn: str) -> None:
    """What a process of its own does; prints its peak in MB."""
    if contestant == "peer":
        held = list(_column(Path(path), None))
        assert len(held) == lines
    else:
        asyncio.run(_open(dsn))
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak
    print(int(peak[1]) / 1024)


async def _open(dsn: str) -> None:
    async with open_database(dsn, size=1):
        pass
