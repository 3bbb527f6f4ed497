"""The demo of purchases from start to end: a Postgres and a sandbox of its own, the acts, a summary."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from rich.console import Console

from hark.clock import DatabaseClock
from hark.config import Settings
from hark.doors.api.serving import serve, take_port, url_of
from hark.doors.cli.loads import loading
from hark.doors.demo.history.acts import FLAG, Acts, Place, make_flag
from hark.doors.demo.history.loads import WHO, Loads
from hark.doors.demo.history.show import Show
from hark.doors.demo.history.stream import following
from hark.doors.demo.history.summary import Summary
from hark.doors.demo.history.till import People, Till
from hark.doors.demo.show import scratch
from hark.durations import Rate
from hark.guarded.addresses import Allowed
from hark.guarded.client import Guarded
from hark.history.sandbox.app import Sandbox, build_sandbox
from hark.history.sandbox.goods import Goods
from hark.history.sandbox.made_up import MadeUp
from hark.history.sources.reach import Sources
from hark.history.tending import open_tender
from hark.postgres.database import Database, open_database
from hark.postgres.embedded import start
from hark.postgres.migrate import migrate

_HOST = "127.0.0.1"
_OFTEN = Rate(200, timedelta(seconds=1))
_CONNECTIONS = 12
_BETA, _SHOPPERS, _STRANGERS = 3, 10, 2
_DAYS = 360


@dataclass(frozen=True, slots=True)
class Wish:
    """What the demo is to be: how many users are loaded, and of which seed."""

    users: int = 30
    seed: int = 1


async def run_history_demo(wish: Wish, console: Console) -> Summary:
    """Run it, showing on `console` how far it is; nothing is left behind.

    Raises:
        Unreachable: Postgres could not be started.
    """
    began = time.monotonic()
    show = Show(console)
    show.say("Starting a Postgres, and the four sources in a sandbox, just for this: no Kafka, no Neo4j, no Java.")
    goods = made_up(wish)
    with scratch() as folder, start(folder, durable=False, keep=False) as server:
        await migrate(server.dsn)
        async with open_database(server.dsn, size=_CONNECTIONS) as database, _sandbox(goods) as url:
            file = _empty(folder.parent / "purchases.jsonl")
            played = await _play(database, _settings(url), goods, file, show, _chance(wish))
    return replace(played, seconds=round(time.monotonic() - began, 1))


def made_up(wish: Wish) -> Goods:
    """What people bought before, up to this day's beginning."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    many = wish.users + _STRANGERS
    return MadeUp(users=many, seed=wish.seed, receipts=10, days=_DAYS, orders=0.25, until=midnight).goods()


def people_of(goods: Goods, chance: Random) -> People:
    """Who is who; whoever is corrected or takes something back must have bought something."""
    *cohort, last, very_last = goods.users
    have = [user for user in cohort if any(len(row.lines) > 1 for row in goods.receipts.first(user))]
    chance.shuffle(have)
    beta, shoppers = have[:_BETA], have[_BETA : _BETA + _SHOPPERS]
    quiet = [user for user in cohort if user not in {*beta, *shoppers}]
    return People(beta, shoppers, quiet, [last, very_last])


@asynccontextmanager
async def _sandbox(goods: Goods) -> AsyncIterator[str]:
    """The four sources on the loopback, for the time of a block; where they are."""
    services, stopping = Sandbox(goods), asyncio.Event()
    listening = take_port(_HOST, 0, "let something else go of its ports")
    serving = asyncio.create_task(serve(build_sandbox(services), listening, stopping))
    try:
        yield url_of(listening)
    finally:
        stopping.set()
        await serving
        listening.close()


def _settings(url: str) -> Settings:
    return Settings(
        purchase_url=url,
        shop_url=url,
        product_url=url,
        category_url=url,
        source_rate=_OFTEN,
        http_allow_private=Allowed.parse([_HOST]),
        ingest_flag=FLAG,
    )


async def _play(
    database: Database, settings: Settings, goods: Goods, file: Path, show: Show, chance: Random
) -> Summary:
    clock, people = await DatabaseClock.start(database), people_of(goods, chance)
    await make_flag(database, clock, people.beta)
    async with (
        _client(settings) as client,
        open_tender(database, settings, clock, WHO) as tender,
        following(settings, database, file) as stream,
    ):
        outside = loading(database, settings, client, clock)
        return await Acts(
            Place(database, clock, goods, people, Sources(settings, database, clock, client), tender),
            Loads(database, clock, settings, outside, show),
            stream,
            Till(goods, people, file, chance, clock.now),
            show,
            chance,
        ).all()


def _empty(file: Path) -> Path:
    file.touch()
    return file


def _chance(wish: Wish) -> Random:
    return Random(f"{wish.seed}/demo")  # noqa: S311  (made up, not secret)


@asynccontextmanager
async def _client(settings: Settings) -> AsyncIterator[Guarded]:
    client = Guarded(settings.http_allow_private)
    try:
        yield client
    finally:
        await client.close()
