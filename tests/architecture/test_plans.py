"""Hot queries go by their index: their plans are looked at on tables with rows in them, statistics and all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import ClientCursor
from psycopg.types.json import Jsonb

from hark.batching import FAN_OUT_BEGUN, FAN_OUT_BEGUN_NARROWER, FAN_OUT_FRESH
from hark.catalogue import Feed, SqlSource
from hark.delivery.ask import query_of
from hark.digests.planning import plan_by_sql
from hark.postgres.database import SESSION
from hark.postgres.queries import Query
from tests.architecture.test_sql import PLACEHOLDER, all_queries, numbered
from tests.servers import Postgres

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HELD = {"recipients": [f"user-{n:06}" for n in range(1, 201)], "ids": list(range(1, 201)), "attempts": [1] * 200}
ASKED = {
    "reason": "r",
    "numbers": list(range(1, 401)),
    "recipients": [f"user-{n:06}" for n in range(1, 401)],
    "deliveries": list(range(1, 401)),
    "events": [n if n <= 200 else None for n in range(1, 401)],
    "keys": ["k" if n > 200 else None for n in range(1, 401)],
}

FILL = """
insert into hark.user_type values ('Students', '');
insert into hark.reason values
    ('r', 'R', 'batched', '4m', '1h', '08:00', 0, 'r', 'activity', false, 1, 'f'),
    ('s', 'S', 'batched', '4m', '1h', '08:00', 0, 's', 'activity', false, 2, 'f');
insert into hark.facet values ('r', 0, 's', 'post');
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
insert into hark.recipient_rate select id, 'email', array_fill(now(), array[20]), 1 from hark.recipient;
insert into hark.digest (recipient_id, reason, period, delivery_id, since, since_at, until, until_at, missed, items,
                         keys, total, planned_at)
select recipient_id, 'r', '2026-11-24', id, pg_current_snapshot(), now(), pg_current_snapshot(), now(), 0,
       '[["k", "2026-11-24T12:00:00Z", null, null, {}]]', '{k}', 1,
       timestamptz '2026-11-24' + id / 200 * interval '1s' from hark.delivery;
insert into hark.api_key (prefix, name, hash, scopes, created_at)
select 'prefix' || n, 'key' || n, decode(repeat('00', 32), 'hex'), '{read}', now() from generate_series(1, 20000) n;
insert into hark.audit (at, who, what, target)
select now(), 'key' || n, 'publish', 'event:1' from generate_series(1, 20000) n;
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
update hark.recipient set zone = 'Etc/GMT+' || right(id, 2)::int % 12 where right(id, 1) <> '0';
insert into hark.digest (recipient_id, reason, period, delivery_id, since, since_at, until, until_at, missed, items,
                         keys, total, planned_at)
select d.recipient_id, 'r', date '2026-11-20' - n, d.id, '10:10:', now(), '10:10:', now(), 0, '[]', '{k}', 1,
       timestamptz '2026-11-20' - n * interval '1 day' + d.id / 200 * interval '1s'
  from hark.delivery d, generate_series(1, 3) n;
insert into hark.walk (slot_id, reason, due_at, period, missed, opened_at, retry_at)
select id, 'r', timestamptz '2026-11-23 12:00Z', '2026-11-23', 0, now(), timestamptz '2026-11-23 12:00Z' from hark.slot;
insert into hark.history_user (user_id, version, projected, changed_at, ahead_since)
select id, 2, case when id like '%00' then 1 else 2 end, now(), case when id like '%00' then now() end
  from hark.recipient;
insert into hark.product (product_id, version, projected)
select 'p' || n, 2, case when n % 100 = 0 then 1 else 2 end from generate_series(1, 60000) n;
insert into hark.fact (user_id, key, kind, product_id, quantity, occurred_at, version, live, moved_at)
select id, 'order:' || id || n, 'order', 'p' || n, 1, now(), 1, true, n from hark.recipient, generate_series(1, 2) n;
"""

BEGUN = {
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
    "has_narrower": False,
    "after": "user-020000",
    "upto": "user-040000",
    "now": NOW,
}

WHO = HELD["recipients"]
PRODUCTS = [f"p{n}" for n in range(1, 201)]
SWITCHED = {
    "recipients": WHO,
    "reasons": ["r"] * 200,
    "frequencies": ["daily"] * 200,
    "own": [True] * 200,
    "held_recipients": WHO,
    "held_ids": HELD["ids"],
    "now": NOW,
}

SLOT = {
    "slot": 1,
    "reason": "r",
    "frequency": "daily",
    "zone": "Etc/GMT+3",
    "digest_at": None,
    "digest_weekday": None,
    "due_at": NOW,
    "period": NOW.date(),
    "missed": 0,
    "failures_left": 0,
    "reached": "user-020000",
    "chunk": 200,
    "expected": 200,
    "ago": NOW - timedelta(days=1),
    "answered_by": NOW,
    "overlap": timedelta(days=1),
    "reserve": 20,
    "tried_once": 1_000,
    "tried_twice": 10_000,
    "keys_kept": 10,
    "at_least_once": False,
    "until": None,
    "until_at": NOW,
    "now": NOW,
}

PRODUCT = """
create table public.follow (user_id text # primary key, post text # not null);
create table public.post (key text # primary key, author text # not null, hidden boolean not null);
insert into public.follow select id, 'post:' || id from hark.recipient;
insert into public.post select 'post:' || id, 'author of ' || id, false from hark.recipient;
create index on public.post (author);
analyze public.follow;
analyze public.post
"""
FEED_OF_PRODUCT = """
select due.recipient_id, post.key, 1 as rank, due.since_at as at, post.author as actor, post.key as about,
       null::jsonb as payload
  from due
  join public.follow on follow.user_id = due.recipient_id
  join public.post on post.key = follow.post
"""
RECHECK_OF_PRODUCT = """
select asked.n, case when post.hidden then 'hidden' end as why, null::jsonb as payload
  from asked
  left join public.post on post.key = asked.key
  left join public.follow on follow.user_id = asked.recipient_id
  left join public.post same on same.key = asked.about
  left join public.post theirs on theirs.author = asked.actor
  left join public.post named on named.key = asked.entities[1]
"""

LISTED = {"before": NOW, "recipient": None, "reason": None, "states": None, "limit": 50}
OLD = {
    "before": NOW,
    "planned_at": NOW - timedelta(days=7),
    "recipient": "",
    "reason": "",
    "period": NOW.date(),
    "limit": 500,
}

HOT: dict[str, dict[str, Any]] = {
    "claim.claim_due": {"channel": "email", "now": NOW, "lease_until": NOW, "worker": "w", "limit": 200},
    "claim.claim_within": {
        "channel": "email",
        "now": NOW,
        "lease_until": NOW,
        "worker": "w",
        "limit": 200,
        "burst": 5,
        "interval_us": 10_417,
    },
    "claim.next_due": {"channel": "email"},
    "recheck.recheck": {**HELD, "shown": 50, "noted": 1000, "asked": []},
    "digested.digested": HELD,
    "ask.questions": ASKED,
    "ask.answers": ASKED,
    "settle.mark": {**HELD, "whys": [""] * 200, "left_out": [None] * 200, "silent": [None] * 200, "now": NOW},
    "cap.mark_within": {
        **HELD,
        "whys": [""] * 200,
        "left_out": [None] * 200,
        "silent": [None] * 200,
        "counts": [True] * 200,
        "cap": 20,
        "per_us": 86_400_000_000,
        "over": "",
        "now": NOW,
    },
    "cap.uncount": {"recipients": HELD["recipients"], "channel": "email", "at": NOW},
    "reports.deliveries_newest": {
        "before": 2**63 - 1,
        "recipient": None,
        "state": None,
        "outcome": None,
        "since": None,
        "limit": 50,
    },
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
    "keys.by_prefix": {"prefix": "prefix7"},
    "audit.listed": {"who": "key7", "what": None, "before": 2**62, "limit": 50},
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
    "planner.taken": {"now": NOW, "reasons": ["r"], "lent_until": NOW},
    "planning.expected": {**SLOT, "few": 500},
    "planning.ask": SLOT,
    "planning.plan": SLOT,
    "planning.plan_of_few": SLOT,
    "batching.ahead": {},
    "shown.next": {**SLOT, "recipient": "user-000001"},
    "preferences.standing": {"cohort": 1, "after": "user-000100", "size": 500, "members": 500, "reasons": ["r", "s"]},
    "preferences.journaled": {"cohort": 1, "after": "user-000100", "size": 500, "members": 500, "undoes": 1},
    "preferences.apply": {"backfill": 1, "batch": 7, "only": None, "now": NOW},
    "preferences.verify": {"backfill": 1, "batch": 7},
    "batches.claim": {"backfill": 1, "now": NOW, "max_attempts": 5, "lease_until": NOW, "worker": "w"},
    "batches.fence": {"backfill": 1, "number": 100, "attempt": 1, "worker": "w"},
    "batches.settle": {
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
    "shown.listed": LISTED,
    "pruning.look": OLD,
    "pruning.prune": OLD,
    "batching.fan_out_fresh": {"events": 500, "pairs": 100, "now": NOW},
    "batching.chunk_ahead": {"pairs": 20000},
    "batching.fan_out_begun": BEGUN,
    "batching.fan_out_begun_narrower": {**BEGUN, "entities": ["post:1", "post:0001"], "has_narrower": True},
    "audience.put_recipients": {
        "ids": WHO,
        "user_types": ["Students"] * 200,
        "addresses": ["a@b.example"] * 200,
        "confirmed": [True] * 200,
        "opted_in": [True] * 200,
        "active": [True] * 200,
        "zones": ["Asia/Tokyo"] * 200,
        "locales": ["en"] * 200,
        "attributes": ["{}"] * 200,
        "digest_ats": [None] * 200,
        "digest_weekdays": [None] * 200,
        "now": NOW,
    },
    "audience.mute": {"recipients": WHO, "entities": ["post:1"] * 200, "now": NOW},
    "switching.held": SWITCHED,
    "switching.held_alone": SWITCHED,
    "switching.moved": SWITCHED,
    "switching.given_up": SWITCHED,
    "reports.preferences": {"recipient": "user-000001"},
    "changes.products_ahead": {"limit": 200},
    "changes.users_ahead": {"limit": 200, "cap": 2000},
    "rebuild.next_mark": {},
    "rebuild.waiting": {"mark": -3},
    "rebuild.left": {"mark": -3, "user": None, "limit": 20},
    "rebuild.users_anew": {"after": "user-030000", "limit": 200, "now": NOW, "mark": -3},
    "rebuild.products_anew": {"after": "p3", "limit": 200, "mark": -3},
    "rebuild.products_of_anew": {"user": "user-000001", "mark": -3},
    "changes.mark_products": {"ids": PRODUCTS, "marked": [1] * 200, "versions": [2] * 200},
    "sweep.agree_products": {"ids": PRODUCTS, "marked": [1] * 200, "held": [2] * 200},
    "facts.lock_given": {"users": WHO},
    "audience.subscriptions": {"recipient": "user-000001", "after": "", "muted": None, "kind": None, "limit": 50},
}
LARGE = {
    *("digest", "event", "recipient", "preference", "subscription", "notification", "inbox", "delivery"),
    *("recipient_rate", "api_key", "audit", "backfill_item", "cohort_member", "history_user", "fact", "product"),
}
AHEAD = ("delivery_lease", "history_user_ahead", "product_ahead")
"""Indexes of no more than what is being sent or projected just now."""
FAN_OUTS = ["batching.fan_out_fresh", "batching.fan_out_begun", "batching.fan_out_begun_narrower"]


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


@pytest.mark.parametrize("name", ["planning.expected", "planning.plan_of_few", "batching.ahead", "facts.lock_given"])
def test_a_plan_that_is_kept_goes_by_its_index(name: str, filled: psycopg.Connection[Any]) -> None:
    scanned = {
        node["Relation Name"] for node in nodes(kept_plan(filled, all_queries()[name], HOT[name])) if whole(node)
    }
    assert scanned & LARGE == set()


@pytest.mark.parametrize("collation", ["default", "C"])
def test_what_is_asked_of_a_product_goes_by_the_products_own_indexes(
    collation: str, filled: psycopg.Connection[Any]
) -> None:
    """A product's text has the database's collation, as a rule, and its indexes serve no comparison by another one."""
    with filled.transaction(force_rollback=True):
        filled.execute(PRODUCT.replace("#", f'collate "{collation}"'))
        feed = plan(filled, plan_by_sql(Feed(SqlSource(FEED_OF_PRODUCT))), SLOT)
        recheck = plan(filled, query_of(SqlSource(RECHECK_OF_PRODUCT), "recheck.product"), ASKED)
        read = {node["Relation Name"] for each in (feed, recheck) for node in nodes(each) if "Relation Name" in node}
        scanned = {node["Relation Name"] for each in (feed, recheck) for node in nodes(each) if whole(node)}
    assert {"follow", "post"} <= read
    assert scanned & {"follow", "post"} == set()


@pytest.mark.parametrize("name", [*FAN_OUTS, "batching.chunk_ahead"])
def test_lists_are_never_compared_each_with_each_however_short_they_are_taken_for(name: str, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        for setting, value in SESSION.items():
            connection.execute("select set_config(%s, %s, false)", [setting, value])
        loops = [node for node in nodes(plan(connection, all_queries()[name], HOT[name])) if is_loop(node)]
    repeated = {node.get("CTE Name") for loop in loops for node in nodes(loop["Plans"][1])}
    assert repeated <= {None, "picked"}


def test_the_fan_outs_are_what_workers_run() -> None:
    run = {FAN_OUT_FRESH.sql, FAN_OUT_BEGUN.sql, FAN_OUT_BEGUN_NARROWER.sql}
    assert run <= {query.sql for query in all_queries().values()}


def plan(connection: psycopg.Connection[Any], query: Query, given: dict[str, Any]) -> dict[str, Any]:
    row = connection.execute(f"explain (format json) {query.sql}".encode(), given).fetchone()
    assert row is not None
    found: dict[str, Any] = row[0][0]["Plan"]
    return found


def kept_plan(connection: psycopg.Connection[Any], query: Query, given: dict[str, Any]) -> dict[str, Any]:
    """The plan that a session keeps, made for whatever may be given."""
    values = {name: given[name] for name in PLACEHOLDER.findall(query.sql)}
    listed = f"({', '.join(f'%({name})s' for name in values)})" if values else ""
    with connection.transaction(force_rollback=True):
        connection.execute("set local plan_cache_mode = force_generic_plan")
        connection.execute(f"prepare kept as {numbered(query.sql)}".encode())
        explained = ClientCursor(connection).execute(f"explain (format json) execute kept{listed}".encode(), values)
        row = explained.fetchone()
    connection.execute("deallocate kept")
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
    """Whether a node reads a whole table, or a whole index of more than what is being sent or projected just now."""
    if "Index" in node["Node Type"]:
        return "Index Cond" not in node and node.get("Index Name") not in AHEAD
    return node["Node Type"] == "Seq Scan"
