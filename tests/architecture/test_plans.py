"""Hot queries go by their index: their plans are looked at on tables with rows in them, statistics and all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from hark.batching import FAN_OUT_BEGUN, FAN_OUT_FRESH
from hark.postgres.database import SESSION
from hark.postgres.queries import Query
from tests.architecture.test_sql import all_queries
from tests.servers import Postgres

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HELD = {"recipients": [f"user-{n:06}" for n in range(1, 201)], "ids": list(range(1, 201)), "attempts": [1] * 200}

FILL = """
insert into hark.user_type values ('Students', '');
insert into hark.reason values
    ('r', 'R', 'batched', '4m', '1h', '08:00', 0, 'r', 'activity', false, 1, 'f'),
    ('s', 'S', 'batched', '4m', '1h', '08:00', 0, 's', 'activity', false, 2, 'f');
insert into hark.decision
select reason, 'Students', reach, choice, frequency, true, true, 'batched', false, 'default_channels'
  from unnest(array['r', 's']) reason, unnest(enum_range(null::hark.reach)) reach,
       generate_series(-2, 7) choice, unnest(array['default', 'never', 'daily']) frequency;
insert into hark.recipient (id, user_type, address, confirmed, updated_at)
select 'user-' || lpad(n::text, 6, '0'), 'Students', 'a@b.example', true, now() from generate_series(1, 60000) n;
insert into hark.preference select id, '{"s": ["email"]}', '{}', now() from hark.recipient where id like '%0';
insert into hark.preference select id, '{"t": []}', '{}', now() from hark.recipient where id not like '%0';
insert into hark.subscription select id, 'post:1', false, now() from hark.recipient;
insert into hark.subscription select id, 'post:' || right(id, 4), false, now() from hark.recipient;
insert into hark.event (reason, occurred_at, published_at, fanned_out_at)
select 'r', now(), now(), now() from generate_series(1, 20000);
insert into hark.event (reason, entities, occurred_at, published_at, chunks)
values ('r', '{post:1}', now(), now(), 0), ('r', '{post:1}', now(), now(), 1);
insert into hark.delivery (recipient_id, channel, batch_group, frequency, gathering, at_least_once, due_at, stale_at,
                           items, first_event, last_event, created_at, changed_at)
select id, 'email', 'r', 'batched', true, false, timestamptz '2026-11-24' + row_number() over () * interval '1s',
       'infinity', 3, 1, 3, now(), now() from hark.recipient;
insert into hark.notification (recipient_id, event_id, in_app, why, named, email_delivery, created_at)
select d.recipient_id, n, true, 'default_channels', false, d.id, now() from hark.delivery d, generate_series(1, 3) n;
insert into hark.inbox select id, 3 from hark.recipient;
insert into hark.cohort (spec, staged_at) values ('{}', now());
insert into hark.cohort_member select 1, id from hark.recipient;
insert into hark.backfill (kind, request, cohort_id, state, batch_size, adaptive, hash, next_at, created_by, created_at,
                           changed_by, changed_at)
values ('preferences', '{}', 1, 'APPLYING', 500, true, 'h', '2026-01-01', 'o', now(), 'o', now());
insert into hark.backfill_batch (backfill_id, number, state, due_at, members, to_change, applied, digest, changed_at)
select 1, n, case when n < 100 then 'DONE' else 'WAITING' end::hark.batch_state, '2026-01-01', 500, 500,
       case when n < 100 then 500 else 0 end, '', now()
  from generate_series(1, 120) n;
insert into hark.backfill_part
select 1, n, 1, 'Students', '{"r": "create"}', '{"user_type": "Students", "before": {}, "after": {"r": ["push"]}}',
       '{"at_least": {"r": ["push"]}}', 500,
       array(select 'user-' || lpad(m::text, 6, '0') from generate_series(n * 500 - 499, n * 500) m)
  from generate_series(1, 120) n;
insert into hark.backfill_item
select id, 1, right(id, 6)::int / 500 + 1, 'applied', '{}', '{"r": ["push"]}', null, now() from hark.recipient;
update hark.delivery set state = 'SENDING', gathering = false, attempt = 1, worker = 'w', lease_until = now()
 where id <= 500;
update hark.delivery set state = 'SENT', outcome = 'unknown', lease_until = null where id <= 250;
"""

HOT: dict[str, dict[str, Any]] = {
    "claim.claim_due": {"channel": "email", "now": NOW, "lease_until": NOW, "worker": "w", "limit": 200},
    "claim.next_due": {"channel": "email"},
    "recheck.recheck": {**HELD, "shown": 50, "noted": 1000},
    "settle.mark": {**HELD, "whys": [""] * 200, "left_out": [None] * 200, "now": NOW},
    "settle.settle": {
        **HELD,
        "states": ["SENT"] * 200,
        "outcomes": ["accepted"] * 200,
        "due_ats": [None] * 200,
        "whys": [""] * 200,
        "bad_recipients": [],
        "bad_addresses": [],
        "bad_whys": [],
        "now": NOW,
    },
    "reap.reap_lost": {"now": NOW, "limit": 1000, "max_attempts": 25},
    "reap.reap_unanswered": {"now": NOW, "before": NOW, "limit": 1000, "max_attempts": 25},
    "inbox.listed": {
        "recipient": "user-000001",
        "before": 2**62,
        "limit": 50,
        "unread": False,
        "archived": False,
        "reason": None,
    },
    "inbox.unread": {"recipient": "user-000001"},
    "inbox.mark_read": {"recipient": "user-000001", "events": [1], "now": NOW},
    "preferences.standing": {"cohort": 1, "after": "user-000100", "size": 500, "members": 500, "reasons": ["r", "s"]},
    "preferences.journaled": {"cohort": 1, "after": "user-000100", "size": 500, "members": 500, "undoes": 1},
    "preferences.apply": {"backfill": 1, "batch": 7, "only": None, "now": NOW},
    "preferences.verify": {"backfill": 1, "batch": 7},
    "run.claim": {"backfill": 1, "now": NOW, "max_attempts": 5, "lease_until": NOW, "worker": "w"},
    "run.fence": {"backfill": 1, "number": 100, "attempt": 1, "worker": "w"},
    "run.settle": {
        "backfill": 1,
        "number": 100,
        "attempt": 1,
        "worker": "w",
        "applied": 1,
        "drifted": 0,
        "quarantined": 0,
        "took": timedelta(0),
        "waited": Jsonb({}),
        "now": NOW,
    },
    "failures.failures": {"backfill": 1, "after": "", "limit": 100},
    "batching.fan_out_fresh": {"events": 500, "pairs": 100, "now": NOW},
    "batching.chunk_ahead": {"pairs": 20000},
    "batching.fan_out_begun": {
        "event": 20002,
        "reason": "r",
        "actor": None,
        "recipients": [],
        "entities": ["post:1"],
        "published_at": NOW,
        "batch_group": "r",
        "cooldown": timedelta(minutes=4),
        "max_stale": None,
        "due_time": time(8),
        "due_weekday": 0,
        "at_least_once": False,
        "after": "user-020000",
        "upto": "user-040000",
        "now": NOW,
    },
}
LARGE = {
    "event",
    "recipient",
    "preference",
    "subscription",
    "notification",
    "inbox",
    "delivery",
    "backfill_item",
    "cohort_member",
}


@pytest.fixture(scope="module")
async def filled(postgres: Postgres, template: str) -> Any:
    name = postgres.create_database(template)
    with psycopg.connect(postgres.dsn(name), autocommit=True) as connection:
        connection.execute(FILL)
        connection.execute("vacuum analyze")
        for setting, value in SESSION.items():
            connection.execute("select set_config(%s, %s, false)", [setting, value])
        yield connection
    postgres.drop_database(name)


@pytest.mark.parametrize("name", sorted(HOT))
def test_goes_by_its_index(name: str, filled: psycopg.Connection[Any]) -> None:
    scanned = {node["Relation Name"] for node in nodes(plan(filled, all_queries()[name], HOT[name])) if whole(node)}
    assert scanned & LARGE == set()


@pytest.mark.parametrize("name", ["batching.fan_out_fresh", "batching.fan_out_begun", "batching.chunk_ahead"])
def test_lists_are_never_compared_each_with_each_however_short_they_are_taken_for(name: str, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        for setting, value in SESSION.items():
            connection.execute("select set_config(%s, %s, false)", [setting, value])
        loops = [node for node in nodes(plan(connection, all_queries()[name], HOT[name])) if is_loop(node)]
    repeated = {node.get("CTE Name") for loop in loops for node in nodes(loop["Plans"][1])}
    assert repeated <= {None, "picked"}


def test_the_two_fan_outs_are_what_workers_run() -> None:
    assert {FAN_OUT_FRESH.sql, FAN_OUT_BEGUN.sql} <= {query.sql for query in all_queries().values()}


def plan(connection: psycopg.Connection[Any], query: Query, given: dict[str, Any]) -> dict[str, Any]:
    row = connection.execute(f"explain (format json) {query.sql}".encode(), given).fetchone()
    assert row is not None
    found: dict[str, Any] = row[0][0]["Plan"]
    return found


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from nodes(child)


def is_loop(node: dict[str, Any]) -> bool:
    return bool(node["Node Type"] == "Nested Loop")


def whole(node: dict[str, Any]) -> bool:
    """Whether a node reads a whole table, or a whole index of more than what is being sent just now."""
    if "Index" in node["Node Type"]:
        return not node.get("Index Cond") and node.get("Index Name") != "delivery_lease"
    return node["Node Type"] == "Seq Scan"
