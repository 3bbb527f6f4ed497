"""Streams on a real broker: what is written is taken once, whoever comes, goes, pauses, stalls or is killed."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import Producer

from hark import flags
from hark.clock import DatabaseClock
from hark.flags import Author, FlagGate, Named, wait_until_effective
from hark.history.live import dead, lag, positions, switch
from hark.history.live.dead import Filter
from hark.history.live.positions import ends_now, passed
from hark.lists import FileReach
from hark.postgres.database import Database
from tests.history.live.events import factoid, receipt, value
from tests.history.live.topics import Topics, reading, soon
from tests.history.shopping import NOW, Shop

pytestmark = pytest.mark.slow


async def all_passed(database: Database, topics: Topics, group: str | None = None) -> bool:
    ends = await ends_now(database, topics.settings)
    return await passed(database, [end for end in ends if group in (None, end.group)])


async def came_to_the_end(database: Database, topics: Topics, number: int = 0) -> None:
    group = positions.streams(topics.settings)[number].group
    ends = [end for end in await ends_now(database, topics.settings) if end.group == group]
    await soon(lambda: passed(database, ends), f"{group} comes to {ends}")


async def keys(shop: Shop) -> set[str]:
    return {row.key for row in await shop.rows("select key from hark.fact where not deleted")}


async def letters(database: Database) -> int:
    return len(await dead.page(database, Filter(), 1000))


async def test_both_topics_are_taken_to_their_ends(bought: Shop, topics: Topics) -> None:
    topics.receipts(receipt("r1", "milk", "tea"), b"{", receipt("r2", "milk", user="bob"))
    topics.factoids(factoid("b1"), factoid("b2", user="bob"))
    database = bought.database
    assert not await all_passed(database, topics)
    async with reading(topics, database), reading(topics, database, number=1):
        await soon(lambda: all_passed(database, topics), "both come to their ends")
        report = await lag.preflight(database, topics.settings)
        assert [each.lag for each in report.groups] == [0, 0]
        assert report.is_good
    assert await keys(bought) == {"receipt:r1:1", "receipt:r1:2", "receipt:r2:1", "order:b1", "order:b2"}
    assert await letters(database) == 1
    left = await lag.preflight(database, topics.settings)
    assert [each.lag for each in left.groups] == [0, 0]
    assert [fault.partition(" ")[2] for fault in left.faults] == [
        "is not behind, but nobody is in it (empty): run hark ingest"
    ] * 2


async def test_it_goes_on_where_postgres_says_whatever_the_brokers_say(bought: Shop, topics: Topics) -> None:
    topics.receipts(*(b"{" for _ in range(6)))
    async with reading(topics, bought.database):
        await came_to_the_end(bought.database, topics)
    assert await letters(bought.database) == 6
    topics.receipts(b"{", receipt("r1", "milk"))
    async with reading(topics, bought.database):
        await came_to_the_end(bought.database, topics)
    assert await letters(bought.database) == 7
    assert await keys(bought) == {"receipt:r1:1"}


async def test_a_restored_database_takes_again_what_it_lacks(bought: Shop, topics: Topics) -> None:
    topics.receipts(receipt("r1", "milk"), receipt("r2", "milk"), partition=0)
    async with reading(topics, bought.database):
        await came_to_the_end(bought.database, topics)
    async with bought.database.connection() as connection:
        await connection.execute("delete from hark.fact where key like 'receipt:r2%'")
        await connection.execute("update hark.ingest_position set position = 1 where partition = 0")
    async with reading(topics, bought.database):
        await came_to_the_end(bought.database, topics)
    assert await keys(bought) == {"receipt:r1:1", "receipt:r2:1"}


async def test_two_share_and_one_that_leaves_hands_over(bought: Shop, topics: Topics) -> None:
    database = bought.database
    async with reading(topics, database, chunk=7) as one:
        topics.receipts(*(receipt(f"a{n}", "milk") for n in range(40)), b"{")
        await came_to_the_end(database, topics)
        async with reading(topics, database, chunk=7) as two:
            await soon(lambda: _true(len(two.stream._next) == 1 == len(one.stream._next)), "they share")
            topics.receipts(*(receipt(f"b{n}", "milk") for n in range(40)), b"{", b"{")
            await came_to_the_end(database, topics)
            assert sum(each.messages for each in two.taken) == 21
        topics.receipts(*(receipt(f"c{n}", "milk") for n in range(40)))
        await came_to_the_end(database, topics)
    assert len(await keys(bought)) == 120
    assert await letters(database) == 3
    assert sum(each.messages for reader in (one, two) for each in reader.taken) == 123


async def _true(it: bool) -> bool:
    return it


async def test_paused_nothing_is_taken_and_resumed_it_goes_on(bought: Shop, topics: Topics) -> None:
    database = bought.database
    async with reading(topics, database) as reader:
        topics.receipts(receipt("r1", "milk"))
        await came_to_the_end(database, topics)
        assert await switch.pause(database, "test", now=await database.now())
        await soon(lambda: _true(reader.stream._paused), "it pauses")
        topics.receipts(*(receipt(f"p{n}", "milk") for n in range(10)))
        for _ in range(10):
            await asyncio.sleep(0.1)
        assert await keys(bought) == {"receipt:r1:1"}
        report = await lag.preflight(database, topics.settings)
        assert report.groups[0].lag == 10
        assert "paused by test" in report.warnings[0]
        assert await switch.resume(database)
        await came_to_the_end(database, topics)
    assert len(await keys(bought)) == 11


async def test_the_database_goes_away_and_comes_back(bought: Shop, topics: Topics) -> None:
    async with bought.database.connection() as connection:
        await connection.execute("alter table hark.fact rename to gone")
    async with reading(topics, bought.database) as reader:
        topics.receipts(receipt("r1", "milk"), b"{")
        await soon(lambda: _true(reader.stream._batch is not None), "it has something that it cannot write")
        async with bought.database.connection() as connection:
            await connection.execute("alter table hark.gone rename to fact")
        await came_to_the_end(bought.database, topics)
    assert await keys(bought) == {"receipt:r1:1"}
    assert await letters(bought.database) == 1


async def test_the_broker_is_killed_and_comes_back(bought: Shop, topics: Topics) -> None:
    database, broker = bought.database, topics.broker
    async with reading(topics, database):
        topics.receipts(receipt("r1", "milk"), b"{")
        await came_to_the_end(database, topics)
        await asyncio.to_thread(broker.java.kill)
        report = await lag.preflight(database, topics.settings)
        assert (report.unreachable, report.is_good, len(report.faults)) == (True, False, 2)
        await asyncio.to_thread(broker.java.start)
        topics.receipts(receipt("r2", "milk"), receipt("r3", "milk"))
        await came_to_the_end(database, topics)
    assert await keys(bought) == {"receipt:r1:1", "receipt:r2:1", "receipt:r3:1"}
    assert await letters(database) == 1


async def test_markers_of_transactions_are_passed(bought: Shop, topics: Topics) -> None:
    producer = Producer(
        {"bootstrap.servers": topics.broker.address, "transactional.id": f"t{topics.number}", "log_level": 0}
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topics.settings.ingest_receipts_topic, value(receipt("r1", "milk")), partition=0)
    producer.commit_transaction(30)
    producer.begin_transaction()
    producer.produce(topics.settings.ingest_receipts_topic, value(receipt("r2", "milk")), partition=0)
    producer.flush(30)
    producer.abort_transaction(30)
    async with reading(topics, bought.database):
        await came_to_the_end(bought.database, topics)
    assert await keys(bought) == {"receipt:r1:1"}


async def test_an_idle_stream_acts_on_a_new_version_of_its_flag(bought: Shop, topics: Topics) -> None:
    database, author, reach = bought.database, Author("test", NOW), FileReach()
    await flags.create(database, "live", author)
    await flags.set_segment(database, "live", "first", Named(["ann"]), author, reach=reach)
    clock = await DatabaseClock.start(database)
    async with reading(topics, database, gate=FlagGate(database, clock, "live", "test")):
        topics.receipts(receipt("r1", "milk"), receipt("r2", "milk", user="bob"))
        await came_to_the_end(database, topics)
        changed = await flags.add_users(database, "live", "first", Named(["bob"]), author, reach=reach)
        deadline = clock.now().replace(year=2999)
        assert not await wait_until_effective(database, "live", changed.version, clock, deadline=deadline)
        topics.receipts(receipt("r3", "milk", user="bob"))
        await came_to_the_end(database, topics)
    assert await keys(bought) == {"receipt:r1:1", "receipt:r3:1"}


async def test_a_group_that_is_behind_and_nobody_in_it_is_a_fault(bought: Shop, topics: Topics) -> None:
    topics.receipts(receipt("r1", "milk"))
    report = await lag.preflight(bought.database, topics.settings)
    assert not report.is_good
    assert "is 1 behind, and nobody is in it (dead)" in report.faults[0]
    assert "is not behind, but nobody is in it (dead)" in report.faults[1]
    assert not report.unreachable


async def test_a_group_that_all_have_left_is_a_fault_though_it_is_not_behind(bought: Shop, topics: Topics) -> None:
    topics.receipts(receipt("r1", "milk"))
    async with reading(topics, bought.database):
        await soon(lambda: all_passed(bought.database, topics), "it comes to the end")
    report = await lag.preflight(bought.database, topics.settings)
    assert [each.lag for each in report.groups] == [0, 0]
    assert "is not behind, but nobody is in it (empty): run hark ingest" in report.faults[0]
    assert not report.is_good
