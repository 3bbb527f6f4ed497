"""Replays through the real engine, against the same figures worked out without it, and against the known answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hark.errors import BadInput, FileFaults, Unreachable
from hark.postgres.database import Database
from hark.replay import History, PastEvent, Policy, Progress, open_history, parse_policies, parse_policy, replay
from hark.replay.run import play
from hark.replay.scratch import scratch
from tests.replay import oracle
from tests.servers import Postgres, data_file

MONDAY_NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
POLICIES = parse_policies(
    [
        "immediate",
        "cooldown=1s",
        "cooldown=4m",
        "cooldown=4m,max_stale=4m",
        "cooldown=4m,max_stale=10m",
        "cooldown=1h,max_stale=90m",
        "daily@12:00",
        "daily@23:59",
        "weekly@monday 12:00",
        "weekly@tuesday 00:00",
    ]
)
ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York", "Pacific/Apia")

policies = pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
lenient = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(scope="module")
async def tables(postgres: Postgres) -> AsyncIterator[Database]:
    """A scratch schema for many small runs: it takes longer to make than to run in."""
    name = postgres.create_database()
    async with scratch(postgres.dsn(name)) as database:
        yield database
    postgres.drop_database(name)


async def emptied(database: Database) -> Database:
    schema = database.schema
    names = ("event", "notification", "delivery", "delivery_history", "recipient")
    async with database.connection() as connection:
        await connection.execute(f"truncate {', '.join(f'{schema}.{name}' for name in names)}".encode())
    return database


def history_file(folder: Path, events: Sequence[PastEvent]) -> History:
    path = folder / "history.txt"
    path.write_text("".join(f"{event.actor} {event.recipient} {event.at.isoformat()}\n" for event in events))
    return open_history(path)


def schemas(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("select nspname from pg_namespace where nspname like 'hark%' order by 1").fetchall()
    return [name for (name,) in rows]


# Against figures worked out without the engine ------------------------------------------------------------------------

MOMENT = timedelta(microseconds=1)
edges = [240 * SECOND, 600 * SECOND, 3600 * SECOND, timedelta(days=1), timedelta(days=7)]
steps = st.sampled_from(
    [0 * SECOND, MOMENT, SECOND, *edges, *(edge - MOMENT for edge in edges), *(edge + MOMENT for edge in edges)]
) | st.timedeltas(timedelta(0), timedelta(days=3))


@st.composite
def small_histories(draw: st.DrawFn) -> list[PastEvent]:
    """Few recipients and many coincidences: at one instant, at the instant of closing, just before and behind it."""
    at = MONDAY_NOON
    events: list[PastEvent] = []
    for step in draw(st.lists(steps, min_size=1, max_size=40)):
        at += step
        events.append(PastEvent(draw(st.sampled_from("abc")), draw(st.sampled_from("abc") | st.none()), at))
    return events


def told(recipients: str, *seconds: float) -> list[PastEvent]:
    """One event for each letter, at so many seconds past noon."""
    times = [MONDAY_NOON + second * SECOND for second in seconds]
    return [PastEvent(name, None, at) for name, at in zip(recipients, times, strict=True)]


@lenient
@example(events=told("aa", 0, 240), policy=parse_policy("cooldown=4m"), zone="UTC", look_ahead=9)
@example(events=told("aa", 0, 240.000001), policy=parse_policy("cooldown=4m"), zone="UTC", look_ahead=9)
@example(events=told("abab", 0, 9, 241, 340), policy=parse_policy("cooldown=4m"), zone="UTC", look_ahead=9)
@example(
    events=told("aaaa", 0, 99, 300, 601), policy=parse_policy("cooldown=4m,max_stale=10m"), zone="UTC", look_ahead=32
)
@example(events=told("ab", 0, 0), policy=parse_policy("daily@12:00"), zone="UTC", look_ahead=9)
@given(
    events=small_histories(),
    policy=st.sampled_from(POLICIES),
    zone=st.sampled_from(ZONES),
    look_ahead=st.sampled_from([1, 2, 5, 32]),
)
async def test_small_histories(
    events: list[PastEvent], policy: Policy, zone: str, look_ahead: int, tables: Database
) -> None:
    figures = await play(await emptied(tables), events, policy, zone=zone, look_ahead=look_ahead)
    assert figures == oracle.figures(events, policy, zone)


def bursts(count: int, seed: int = 7) -> list[PastEvent]:
    """A look-alike of a busy product: some users are told much, in bursts, many things at one instant."""
    chance = random.Random(seed)
    at = MONDAY_NOON
    events: list[PastEvent] = []
    while len(events) < count:
        at += chance.choice((0, 0, 1, 7, 20, 60, 239, 240, 241, 900, 4000)) * SECOND
        recipient = f"u{int(chance.paretovariate(0.6)) % 200}"
        events.append(PastEvent(recipient, f"u{chance.randrange(200)}", at))
    return events


@policies
async def test_a_burst_of_thousands(policy: Policy, tables: Database) -> None:
    events = bursts(3_000)
    figures = await play(await emptied(tables), events, policy, zone="Europe/Berlin")
    assert figures == oracle.figures(events, policy, "Europe/Berlin")


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "messages"),
    [("cooldown=60s", 55_382), ("cooldown=240s", 46_297), ("cooldown=900s", 37_319), ("cooldown=3600s", 30_528)],
)
async def test_the_known_answers_of_the_college_messages(policy: str, messages: int, database: str) -> None:
    history = open_history(data_file("college-messages.txt"))
    [figures] = await replay(database, history, [parse_policy(policy)])
    assert (figures.events, figures.messages) == (59_835, messages)
    assert figures == oracle.figures(list(history), parse_policy(policy))


# What else a replay promises ------------------------------------------------------------------------------------------


async def test_several_policies_come_back_in_their_order_each_with_its_progress(database: str, tmp_path: Path) -> None:
    events = bursts(1_200)
    chosen = parse_policies(["daily@08:00", "immediate"])
    passed: list[Progress] = []
    figures = await replay(database, history_file(tmp_path, events), chosen, progress=passed.append)
    assert [each.policy for each in figures] == chosen
    assert [(each.number, each.of, each.total) for each in passed[:1]] == [(1, 2, 1_200)]
    for number, policy in enumerate(chosen, start=1):
        mine = [each.events for each in passed if each.number == number]
        assert mine[0] == 0
        assert mine[-1] == 1_200
        assert mine == sorted(mine)
        assert {each.policy for each in passed if each.number == number} == {policy}


async def test_a_message_to_oneself_counts_like_any_other(database: str, tmp_path: Path) -> None:
    history = history_file(tmp_path, [PastEvent("a", "a", MONDAY_NOON), PastEvent("a", "b", MONDAY_NOON)])
    [figures] = await replay(database, history, [parse_policy("immediate")])
    assert history.to_oneself == 1
    assert figures.messages == 2


async def test_users_days_begin_in_their_own_zone(database: str, tmp_path: Path) -> None:
    history = history_file(tmp_path, told("aa", 0, 8 * 3600))
    immediate = [parse_policy("immediate")]
    [in_utc] = await replay(database, history, immediate)
    [in_kolkata] = await replay(database, history, immediate, zone="Asia/Kolkata")
    assert (in_utc.user_days, in_utc.per_user_day.max) == (1, 2)
    assert (in_kolkata.user_days, in_kolkata.per_user_day.max) == (2, 1)


async def test_the_product_s_own_tables_are_not_touched_and_nothing_is_left(database: str, tmp_path: Path) -> None:
    await replay(database, history_file(tmp_path, told("a", 0)), [parse_policy("cooldown=4m")])
    assert schemas(database) == ["hark"]
    with psycopg.connect(database) as connection:
        assert connection.execute("select count(*) from hark.event").fetchone() == (0,)


async def test_a_database_without_hark_will_do(postgres: Postgres, tmp_path: Path) -> None:
    name = postgres.create_database()
    await replay(postgres.dsn(name), history_file(tmp_path, told("a", 0)), [parse_policy("cooldown=4m")])
    assert schemas(postgres.dsn(name)) == []
    postgres.drop_database(name)


async def test_nothing_is_left_when_the_history_turns_out_bad_on_the_way(database: str, tmp_path: Path) -> None:
    history = history_file(tmp_path, bursts(1_200))
    with history.path.open("a") as file:
        file.write("a b never\n")
    with pytest.raises(FileFaults, match="'never' is not a time"):
        await replay(database, history, [parse_policy("cooldown=4m")])
    assert schemas(database) == ["hark"]


async def test_nothing_is_left_when_it_is_interrupted(database: str, tmp_path: Path) -> None:
    under_way = asyncio.Event()
    run = asyncio.create_task(
        replay(
            database,
            history_file(tmp_path, bursts(3_000)),
            [parse_policy("cooldown=4m")],
            progress=lambda progress: under_way.set() if progress.events else None,
        )
    )
    await under_way.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert schemas(database) == ["hark"]


async def test_what_a_killed_replay_left_is_cleared_by_the_next(database: str, tmp_path: Path) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("create schema hark_replay_1 create table event (foreign_to_us int)")
    await replay(database, history_file(tmp_path, told("a", 0)), [parse_policy("cooldown=4m")])
    assert schemas(database) == ["hark"]


async def test_two_replays_at_once_do_not_meet(database: str, tmp_path: Path) -> None:
    history = history_file(tmp_path, bursts(1_000))
    chosen = parse_policies(["cooldown=4m", "daily@08:00"])
    both = await asyncio.gather(*(replay(database, history, [policy]) for policy in chosen))
    assert [figures for [figures] in both] == [oracle.figures(list(history), policy) for policy in chosen]
    assert schemas(database) == ["hark"]


async def test_an_unknown_zone_is_named(database: str, tmp_path: Path) -> None:
    history = history_file(tmp_path, told("a", 0))
    for zone in ("Europe/Bern", "../etc/passwd", ""):
        with pytest.raises(BadInput, match="write an IANA name like Europe/Berlin"):
            await replay(database, history, [parse_policy("immediate")], zone=zone)


async def test_a_server_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    history = history_file(tmp_path, told("a", 0))
    with pytest.raises(Unreachable):
        await replay(f"postgresql:///nothing?host={quote(str(tmp_path))}", history, [parse_policy("immediate")])


async def test_a_role_that_may_not_make_a_schema_is_told_what_it_needs(database: str, tmp_path: Path) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create role reader")
        connection.execute(f"alter database {connection.info.dbname} set role = reader".encode())
    history = history_file(tmp_path, told("a", 0))
    with pytest.raises(BadInput, match=r"permission denied for database .*; grant this role CREATE on the database"):
        await replay(database, history, [parse_policy("immediate")])
    with psycopg.connect(database, autocommit=True, options="-c role=none") as connection:
        connection.execute(f"alter database {connection.info.dbname} reset role".encode())
        connection.execute("drop role reader")
