"""Every query is one that Postgres accepts, the schema file is the migrations, and what is hot goes by its index."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from enum import StrEnum
from importlib import resources
from pathlib import Path

import psycopg
import pytest

import hark
from hark.access.keys import Scope
from hark.backfill.cohort.kept import CohortState
from hark.backfill.cohort.members import members_query
from hark.backfill.cohort.spec import Buyers, Difference, Everyone, Flag, Ids, Segment, Union
from hark.backfill.cohort.staging import MAKE_TABLES
from hark.backfill.kinds import history
from hark.backfill.kinds.preferences import JOURNALED, STANDING
from hark.backfill.spans import EXTENT
from hark.backfill.states import TRANSITIONS as BACKFILL_TRANSITIONS
from hark.backfill.states import BatchState, Fate
from hark.backfill.states import State as BackfillState
from hark.batching import FAN_OUT_BEGUN, FAN_OUT_BEGUN_NARROWER, FAN_OUT_FRESH
from hark.catalogue import Category, Channel, Feed, Frequency, SqlSource
from hark.delivery.ask import QUESTIONS, query_of
from hark.delivery.states import TRANSITIONS, Result, State
from hark.digests.coverage import Base
from hark.digests.planning import ASK, DUE_AHEAD, FEW, PLAN_ASKED, plan_by_sql
from hark.digests.pruning import LOOK, PRUNE
from hark.digests.shown import NEXT
from hark.flags.rules import SegmentKind
from hark.flags.segments import MAKE_INCOMING
from hark.history import facts
from hark.history.loading.course import Stage
from hark.history.loading.steps import StepState
from hark.inbox import ARCHIVE, MARK_ALL_READ, MARK_READ
from hark.postgres.embedded.programs import find_programs
from hark.postgres.queries import Queries, Query, UnknownQuery, in_schema
from hark.preferences import Reach, Why
from tests.servers import Postgres

A_FEED = Feed(
    SqlSource(
        "select recipient_id, '1' as key, 1 as rank, since_at as at, '' as actor, '' as about, '{}' as payload from due"
    )
)
BOB = Ids(("bob",))
CHAINS = {
    "staging.members": members_query(
        Difference(Union((Everyone(), Buyers(), BOB, Flag("live"))), Segment("beta")), [BOB]
    )[0],
    "planning.ask": ASK,
    "planning.due_ahead": DUE_AHEAD,
    "planning.plan": plan_by_sql(A_FEED),
    "planning.plan_of_few": plan_by_sql(A_FEED, few=True),
    "planning.plan_asked": PLAN_ASKED,
    "shown.next": NEXT,
    "pruning.look": LOOK,
    "pruning.prune": PRUNE,
    "batching.fan_out_fresh": FAN_OUT_FRESH,
    "batching.fan_out_begun": FAN_OUT_BEGUN,
    "batching.fan_out_begun_narrower": FAN_OUT_BEGUN_NARROWER,
    "inbox.mark_read": MARK_READ,
    "inbox.mark_all_read": MARK_ALL_READ,
    "inbox.archive": ARCHIVE,
    "ask.questions": QUESTIONS,
    "ask.answers": query_of(SqlSource("select n, null as why, null as payload from asked"), "recheck.test"),
    "spans.extent": EXTENT,
    "preferences.standing": STANDING,
    "preferences.journaled": JOURNALED,
    "history.standing": history.STANDING,
    "history.undoing": history.UNDOING,
}
PREPARABLE = re.compile(r"\s*(--.*\n\s*)*(select|insert|update|delete|with|merge|values)\b", re.IGNORECASE)
PLACEHOLDER = re.compile(r"%\((\w+)\)s")


def files() -> Iterator[Queries]:
    for path in Path(hark.__path__[0]).rglob("*.sql"):
        if path.parent.name != "migrations" and path.name != "schema.sql":
            yield Queries(path)


def all_queries() -> dict[str, Query]:
    whole = {
        query.name: query
        for queries in files()
        for query in queries.values()
        if not query.part and PREPARABLE.match(query.sql)
    }
    # The ends of chains, and what calls a function that exists only while a replay runs.
    ends = {
        *("engine.play", "batching.fan_out", "inbox.changed", "ask.questions", "ask.answers"),
        *("planning.plan", "planning.ask", "shown.next", "pruning.look", "pruning.prune"),
    }
    return {name: query for name, query in whole.items() if name not in ends} | CHAINS


def test_a_few_are_as_many_in_the_statement_as_in_the_code() -> None:
    assert f"generate_series(1, {FEW})" in all_queries()["planning.plan_of_few"].sql


def numbered(sql: str) -> str:
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    return PLACEHOLDER.sub(number, sql).replace("%%", "%")


@pytest.mark.parametrize("name", sorted(all_queries()))
def test_postgres_prepares_every_query(name: str, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        if name.startswith("staging."):
            connection.execute(MAKE_TABLES.sql.encode())
        if name.startswith("segments."):
            connection.execute(MAKE_INCOMING.sql.encode())
        if name.startswith("facts."):
            connection.execute(facts.MAKE_TABLE.sql.encode())
        connection.execute(f"prepare q as {numbered(all_queries()[name].sql)}".encode())


def test_an_unknown_query_is_refused_by_name() -> None:
    with pytest.raises(UnknownQuery, match=r"batching\.sql has no query named 'nope'"):
        Queries(resources.files("hark") / "batching.sql")["nope"]  # type: ignore[arg-type]


def test_schema_file_gives_the_same_tables_as_the_migrations(database: str, postgres: Postgres) -> None:
    whole = (resources.files("hark.postgres") / "schema.sql").read_text()
    from_migrations = dumped(postgres, database)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("alter schema hark rename to migrated")
        connection.execute("create schema hark")
        connection.execute("create table hark.migration (like migrated.migration including all)")
        connection.execute(whole.encode())
        connection.execute("drop schema migrated cascade")
    assert dumped(postgres, database) == from_migrations


def dumped(postgres: Postgres, dsn: str) -> list[str]:
    done = subprocess.run(
        [find_programs(postgres.bin_dir).bin_dir / "pg_dump", "--schema-only", "--schema=hark", "--no-owner", dsn],
        check=True,
        capture_output=True,
        text=True,
    )
    return [line for line in done.stdout.splitlines() if line and not line.startswith(("--", "\\"))]


@pytest.mark.parametrize(
    ("type_name", "enum"),
    [
        ("channel", Channel),
        ("frequency", Frequency),
        ("category", Category),
        ("reach", Reach),
        ("why", Why),
        ("delivery_state", State),
        ("outcome", Result),
        ("cohort_state", CohortState),
        ("scope", Scope),
        ("digest_base", Base),
        ("segment_kind", SegmentKind),
        ("backfill_state", BackfillState),
        ("batch_state", BatchState),
        ("backfill_outcome", Fate),
        ("fact_kind", facts.Kind),
        ("history_stage", Stage),
        ("history_step_state", StepState),
    ],
)
def test_enums_are_the_same_in_python_and_in_postgres(type_name: str, enum: type[StrEnum], database: str) -> None:
    with psycopg.connect(database) as connection:
        labels = connection.execute(
            "select enumlabel from pg_enum e join pg_type t on t.oid = e.enumtypid"
            " where t.typname = %s and t.typnamespace = 'hark'::regnamespace",
            [type_name],
        ).fetchall()
    assert {label for (label,) in labels} == {member.value for member in enum}


def test_transitions_are_the_same_in_python_and_in_postgres(database: str) -> None:
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "select from_state::text, from_outcome::text, to_state::text, to_outcome::text, sentence"
            " from hark.delivery_transition"
        ).fetchall()
    told = {(t.from_state, t.from_outcome, t.to_state, t.to_outcome, t.sentence) for t in TRANSITIONS}
    assert set(rows) == told


def test_a_backfills_transitions_are_the_same_in_python_and_in_postgres(database: str) -> None:
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "select from_state::text, to_state::text, sentence from hark.backfill_transition"
        ).fetchall()
    assert set(rows) == {(t.from_state, t.to_state, t.sentence) for t in BACKFILL_TRANSITIONS}


def test_no_query_asks_the_clock() -> None:
    asking = [
        name
        for name, query in all_queries().items()
        if re.search(r"\b(now|clock_timestamp|statement_timestamp|current_timestamp)\b\s*\(", query.sql)
    ]
    assert asking == ["database.clock"]


def test_a_scratch_schema_takes_every_table_along() -> None:
    for name, query in all_queries().items():
        assert "hark." not in in_schema(query.sql, "scratch"), name
