"""A chunk of live messages: all or nothing, decided by one view, and nothing is passed over."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection

from hark import flags
from hark.clock import VirtualClock
from hark.errors import Overtaken
from hark.flags import Author, FlagGate, Named, View
from hark.history.live import dead, ingest, positions
from hark.history.live.dead import Filter
from hark.history.live.gates import Everybody
from hark.history.live.ingest import Taken
from hark.history.live.positions import Displaced, End
from hark.lists import FileReach
from hark.postgres.database import Database
from tests.history.live.events import FACTOIDS, RECEIPTS, factoid, receipt, value
from tests.history.live.stream import GROUP, consumer, ingestor
from tests.history.shopping import NOW, Shop

REACH = FileReach()
BAD = b'{"user_id": "ann"'


async def position(database: Database) -> int:
    (known,) = await positions.positions(database, GROUP)
    return known.position


async def letters(database: Database) -> list[tuple[int, str]]:
    return [(each.at_offset, each.cause) for each in await dead.page(database, Filter(), 100)]


async def test_a_chunk_is_facts_letters_and_a_position(shop: Shop) -> None:
    stream = await consumer(shop.database)
    done = await stream.take(value(receipt("r1", "milk", "tea")), BAD, value(receipt("r2", "bread", user="bob")))
    assert done == Taken(messages=3, recorded=2, dead=1, changed=3)
    assert await shop.alive() == {"receipt:r1:1": 1, "receipt:r1:2": 1}
    assert await position(shop.database) == 3
    assert await letters(shop.database) == [(1, "it is no JSON, or only the beginning of some")]


async def test_a_correction_in_the_same_chunk_or_before_holds(shop: Shop) -> None:
    stream = await consumer(shop.database)
    await stream.take(value(receipt("r1", "milk", version=5)), value(receipt("r1", "milk", "tea", version=4)))
    assert await shop.alive() == {"receipt:r1:1": 5}
    await stream.take(value(receipt("r1", version=6)))
    assert await shop.alive() == {}


async def test_whoever_was_overtaken_writes_nothing(shop: Shop) -> None:
    stalled, other = await consumer(shop.database), await consumer(shop.database)
    await other.take(value(receipt("r1", "milk")), BAD)
    with pytest.raises(Displaced):
        await stalled.take(value(receipt("r1", "milk")), BAD, value(receipt("r2", "tea")))
    assert await shop.alive() == {"receipt:r1:1": 1}
    assert len(await letters(shop.database)) == 1
    await stalled.begin()
    await stalled.take(value(receipt("r2", "tea")))
    assert await position(shop.database) == 3


async def test_ends_are_passed_when_all_below_them_is_handled(shop: Shop) -> None:
    stream = await consumer(shop.database)
    ends = (End(GROUP, RECEIPTS, 0, 2), End("other", FACTOIDS, 3, 0))
    assert not await positions.passed(shop.database, ends)
    await stream.take(BAD)
    assert not await positions.passed(shop.database, ends)
    await stream.take(value(receipt("r1", "milk")))
    assert await positions.passed(shop.database, ends)
    assert not await positions.passed(shop.database, (*ends, End("other", FACTOIDS, 4, 1)))
    assert await positions.passed(shop.database, ())


# Gates ----------------------------------------------------------------------------------------------------------------


async def flag_of(database: Database, *users: str) -> FlagGate:
    author = Author("test", NOW)
    await flags.create(database, "live", author)
    await flags.set_segment(database, "live", "first", Named(users), author, reach=REACH)
    return FlagGate(database, VirtualClock(NOW), "live", "test")


async def test_only_those_who_are_let_in_are_recorded(shop: Shop) -> None:
    stream = await consumer(shop.database, await flag_of(shop.database, "ann"))
    done = await stream.take(value(receipt("r1", "milk")), value(receipt("r2", "milk", user="bob")))
    assert (done.recorded, done.left_out) == (1, 1)
    assert await shop.alive("bob") == {}
    await flags.add_users(shop.database, "live", "first", Named(["bob"]), Author("test", NOW), reach=REACH)
    await stream.take(value(receipt("r3", "milk", user="bob")))
    assert await shop.alive("bob") == {"receipt:r3:1": 1}


class Moving(FlagGate):
    """The flag moves on between the decision and its writing."""

    moves = 1

    async def fence(self, connection: AsyncConnection[Any], view: View) -> None:
        if self.moves:
            self.moves -= 1
            await flags.add_users(self.database, "live", "first", Named(["bob"]), Author("test", NOW), reach=REACH)
            await FlagGate.view(self)
        await super().fence(connection, view)


async def test_what_was_overtaken_is_decided_again(shop: Shop) -> None:
    made = await flag_of(shop.database, "ann")
    gate = Moving(made.database, made.clock, made.flag, made.name)
    stream = await consumer(shop.database, gate)
    done = await stream.take(value(receipt("r1", "milk")), value(receipt("r2", "milk", user="bob")))
    assert (done.recorded, done.left_out) == (2, 0)


class Restless:
    """A gate that is overtaken each time."""

    asked = 0

    async def view(self) -> Everybody:
        self.asked += 1
        return Everybody()

    async def fence(self, connection: AsyncConnection[Any], view: View) -> None:
        raise Overtaken("again")

    async def close(self) -> None:
        pass


async def test_one_that_never_comes_to_rest_gives_way_and_writes_nothing(shop: Shop) -> None:
    gate = Restless()
    stream = await consumer(shop.database, gate)
    with pytest.raises(Overtaken):
        await stream.take(value(receipt("r1", "milk")))
    assert 2 < gate.asked < 100
    assert await position(shop.database) == 0


# What breaks the database ---------------------------------------------------------------------------------------------

POISON = """
create function poison() returns trigger language plpgsql as $$ begin
    if new.product_id = 'poison' then raise exception 'cannot' using errcode = '22000'; end if;
    return new;
end $$;
create trigger poison before insert on hark.fact for each row execute function poison()
"""


async def execute(database: Database, sql: str) -> None:
    async with database.connection() as connection:
        await connection.execute(sql.encode())


async def test_what_breaks_a_chunk_is_found_and_buried_and_the_others_are_recorded(shop: Shop) -> None:
    await execute(shop.database, POISON)
    stream = await consumer(shop.database)
    values = [value(receipt(f"r{n}", "poison" if n in (2, 5) else "milk")) for n in range(9)]
    values[7] = BAD
    done = await stream.take(*values)
    assert (done.messages, done.recorded, done.dead) == (9, 6, 3)
    assert len(await shop.alive()) == 6
    assert await position(shop.database) == 9
    assert [offset for offset, _ in await letters(shop.database)] == [2, 5, 7]
    assert (await letters(shop.database))[0][1] == "the database does not take it: DataException (22000)"


async def test_a_database_that_is_away_is_waited_for(shop: Shop) -> None:
    await execute(shop.database, POISON.replace("22000", "57014"))
    stream = await consumer(shop.database)
    chunk = [value(receipt("r1", "milk")), value(receipt("r2", "poison"))]
    with pytest.raises(psycopg.errors.QueryCanceled):
        await stream.take(*chunk)
    assert await position(shop.database) == 0
    assert await letters(shop.database) == []
    await execute(shop.database, "drop trigger poison on hark.fact")
    await stream.take(*chunk)
    assert await shop.alive() == {"receipt:r1:1": 1, "receipt:r2:1": 1}


async def test_a_chunk_that_says_too_much_is_taken_in_parts(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "MOST_FACTS", 3)
    stream = await consumer(shop.database)
    told: list[Taken] = []
    stream.ingestor.tell = told.append
    done = await stream.take(*(value(receipt(f"r{n}", "milk", "tea")) for n in range(4)))
    assert (done.messages, done.changed, len(told)) == (4, 8, 4)
    assert await position(shop.database) == 4


# Dead letters ---------------------------------------------------------------------------------------------------------


async def test_replayed_a_letter_is_a_message_like_any_other(shop: Shop) -> None:
    await execute(shop.database, POISON)
    stream = await consumer(shop.database)
    await stream.take(value(receipt("r1", "poison")), BAD, None, value({"topic": "x"}))
    replaying = ingestor(shop.database)
    numbers = [each.id for each in await dead.page(shop.database, Filter(), 100)]
    done = await dead.replay(replaying, numbers)
    assert (done.messages, done.recorded, done.dead) == (4, 0, 4)
    await execute(shop.database, "drop trigger poison on hark.fact")
    done = await dead.replay(replaying, numbers)
    assert (done.recorded, done.dead) == (1, 3)
    assert await shop.alive() == {"receipt:r1:1": 1}
    left = await dead.page(shop.database, Filter(), 100)
    assert [(each.at_offset, each.tries) for each in left] == [(1, 3), (2, 3), (3, 3)]
    assert await dead.replay(replaying, numbers[:1]) == Taken()


async def test_a_letter_of_somebody_who_is_not_let_in_is_left_out(shop: Shop) -> None:
    await execute(shop.database, POISON)
    stream = await consumer(shop.database)
    await stream.take(value(receipt("r1", "poison")))
    await execute(shop.database, "drop trigger poison on hark.fact")
    (letter,) = await dead.page(shop.database, Filter(), 100)
    done = await dead.replay(ingestor(shop.database, await flag_of(shop.database, "bob")), [letter.id])
    assert (done.recorded, done.left_out) == (0, 1)
    assert await letters(shop.database) == []
    assert await shop.alive() == {}


async def test_an_old_letter_brings_nothing_back(shop: Shop) -> None:
    await execute(shop.database, POISON)
    stream = await consumer(shop.database)
    await stream.take(value(receipt("r1", "poison", version=1)))
    await execute(shop.database, "drop trigger poison on hark.fact")
    await stream.take(value(receipt("r1", "tea", version=2)))
    (letter,) = await dead.page(shop.database, Filter(), 100)
    await dead.replay(ingestor(shop.database), [letter.id])
    assert await shop.alive() == {"receipt:r1:1": 2}


async def test_letters_are_filtered_shown_and_dropped(shop: Shop) -> None:
    stream = await consumer(shop.database)
    await stream.take(BAD, value(factoid("b1", amount="1.234")))
    await stream.take(b"\xff", topic=FACTOIDS)
    database = shop.database
    of_topic = await dead.page(database, Filter(topic=FACTOIDS), 10)
    assert [each.at_offset for each in of_topic] == [2]
    assert [each.at_offset for each in await dead.page(database, Filter(cause="receipt_id"), 10)] == [1]
    assert await dead.page(database, Filter(group="nobody"), 10) == []
    assert (await dead.show(database, of_topic[0].id)).text == "\\xff"
    assert await dead.drop(database, [of_topic[0].id]) == 1
    assert len(await letters(database)) == 2
