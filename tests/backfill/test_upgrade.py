"""What an upgrade makes of backfills that an older Hark planned."""

from __future__ import annotations

import psycopg
import pytest

from hark.backfill.states import State
from hark.postgres.migrate import migrate, migrations
from tests.servers import Postgres

OF_OLD = """
insert into hark.backfill (kind, request, cohort_id, state, hash, batch_size, adaptive, compared, next_at,
                           created_by, created_at, changed_by, changed_at)
select 'preferences', '{}', 1, state, 'of old', 5, false, 1, now(), 'olga', now(), 'olga', now()
  from unnest(enum_range(null::hark.backfill_state)) as state;
insert into hark.backfill_batch (backfill_id, number, state, due_at, members, to_change, digest, changed_at)
select id, 1, 'FAILED', now(), 0, 0, 'of old', now() from hark.backfill;
"""


@pytest.fixture
def of_old(postgres: Postgres) -> str:
    """A database as it was before digests were made in Postgres, with a backfill in every state."""
    dsn = postgres.dsn(postgres.create_database())
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("create schema hark")
        connection.execute(
            "create table hark.migration (name text primary key, applied_at timestamptz not null default now())"
        )
        for migration in migrations():
            if migration.name < "0026":
                connection.execute(migration.sql.encode())
                connection.execute("insert into hark.migration (name) values (%s)", [migration.name])
        connection.execute(OF_OLD.encode())
    return dsn


async def test_what_an_older_version_planned_is_as_planned_in_every_state(of_old: str) -> None:
    await migrate(of_old)
    with psycopg.connect(of_old) as connection:
        rows = connection.execute(
            "select f.state::text, b.digest = hark.backfill_digest(f.id, 1), f.hash <> 'of old'"
            " from hark.backfill f join hark.backfill_batch b on b.backfill_id = f.id"
        ).fetchall()
    assert set(rows) == {(str(state), True, True) for state in State}
