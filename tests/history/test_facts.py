"""Facts: the highest word of each key holds, whatever order it comes in."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from psycopg import AsyncConnection

from hark.errors import BadInput
from hark.history.facts import Fact, Kind, Moved, Snapshot, line_key, record_facts, record_snapshots
from tests.history.shopping import JANUARY, NOW, Shop, line, order


async def test_what_is_bought_is_a_fact_and_moves_its_user_on_once_a_batch(shop: Shop) -> None:
    recorded = await shop.record(line("9", 1), line("9", 2, product="tea"), order("7", user="bob"))
    assert recorded.new == 3
    assert recorded.moved == (Moved("ann", 1), Moved("bob", 1))
    rows = await shop.rows("select * from hark.fact where key = 'receipt:9:2'")
    assert [(r.user_id, r.kind, r.product_id, r.amount_minor, r.live, r.runs, r.moved_at) for r in rows] == [
        ("ann", "receipt", "tea", 129, True, [], 1)
    ]


async def test_what_comes_again_changes_nothing(shop: Shop) -> None:
    await shop.record(line("9"))
    recorded = await shop.record(line("9"), line("9"))
    assert (recorded.given, recorded.same, recorded.moved) == (1, 1, ())
    assert await shop.version() == 1


async def test_the_higher_version_holds_whichever_comes_first(shop: Shop) -> None:
    await shop.record(line("9", version=2, amount=200))
    await shop.record(line("9", version=1, amount=100))
    await shop.record(line("9", version=3, amount=300), line("9", version=2, amount=200))
    rows = await shop.rows("select version, amount_minor, moved_at from hark.fact")
    assert [(r.version, r.amount_minor, r.moved_at) for r in rows] == [(3, 300, 2)]
    assert await shop.version() == 2


SAME_VERSION = [
    line("9"),
    line("9", product="tea"),
    line("9", amount=130),
    line("9", deleted=True),
    line("9", store=None),
]


@pytest.mark.parametrize("words", list(itertools.permutations(SAME_VERSION[:3])))
async def test_words_of_one_version_end_the_same_in_any_order(shop: Shop, words: tuple[Fact, ...]) -> None:
    for word in words:
        await shop.record(word)
    rows = await shop.rows("select product_id, amount_minor from hark.fact")
    assert [(r.product_id, r.amount_minor) for r in rows] == [("tea", 129)]


async def test_words_of_one_version_in_one_batch_end_as_in_many(shop: Shop) -> None:
    await shop.record(*SAME_VERSION[:3])
    rows = await shop.rows("select product_id, amount_minor from hark.fact")
    assert [(r.product_id, r.amount_minor) for r in rows] == [("tea", 129)]


@pytest.mark.parametrize("first", [0, 1])
async def test_of_one_version_a_deletion_wins(shop: Shop, first: int) -> None:
    words = [line("9"), line("9", deleted=True)]
    await shop.record(words[first])
    await shop.record(words[1 - first])
    assert await shop.alive() == {}


async def test_a_deletion_may_come_before_what_it_deletes_and_say_no_more_than_that(shop: Shop) -> None:
    recorded = await shop.record(Fact("ann", "receipt:9:1", 2, deleted=True))
    assert (recorded.new, recorded.moved) == (1, ())
    await shop.record(line("9", version=1))
    assert await shop.alive() == {}
    await shop.record(line("9", version=3))
    assert await shop.alive() == {"receipt:9:1": 3}


async def test_a_key_of_another_user_is_quarantined_once(shop: Shop) -> None:
    await shop.record(line("9"))
    for _ in range(2):
        recorded = await shop.record(line("9", user="bob", version=7), line("8", user="bob"))
    assert recorded.moved == ()
    assert await shop.alive("ann") == {"receipt:9:1": 1}
    assert await shop.alive("bob") == {"receipt:8:1": 1}
    rows = await shop.rows(
        "select user_id, key, version, owner, fact ->> 'product_id' as product from hark.fact_refused"
    )
    assert [tuple(r) for r in rows] == [("bob", "receipt:9:1", 7, "ann", "milk")]


@pytest.mark.parametrize("names", [*itertools.permutations(["ann", "bob", "zoe"])], ids="-".join)
@pytest.mark.parametrize("cut", [False, True], ids=["in one batch", "one by one"])
async def test_a_new_key_is_whose_who_first_claims_it_wherever_the_stream_is_cut(
    shop: Shop, names: Sequence[str], cut: bool
) -> None:
    claims = [line("9", user=user, version=9 - place) for place, user in enumerate([*names, names[0]])]
    for batch in [[each] for each in claims] if cut else [claims]:
        await shop.record(*batch)
    assert {user: await shop.alive(user) for user in names if await shop.alive(user)} == {names[0]: {"receipt:9:1": 9}}
    refused = await shop.rows("select user_id, owner from hark.fact_refused order by 1")
    assert [tuple(each) for each in refused] == [(user, names[0]) for user in sorted(names[1:])]


async def test_an_owners_word_holds_whoever_else_claims_the_key_in_the_same_batch(shop: Shop) -> None:
    await shop.record(line("9", user="bob"))
    recorded = await shop.record(line("9", user="ann", version=5), line("9", user="bob", version=2))
    assert (recorded.changed, recorded.refused, recorded.moved) == (1, 1, (Moved("bob", 2),))
    assert await shop.alive("bob") == {"receipt:9:1": 2}
    assert [r.user_id for r in await shop.rows("select user_id from hark.fact_refused")] == ["ann"]


# Loads ----------------------------------------------------------------------------------------------------------------


async def test_a_load_brings_what_it_lists_and_buries_what_it_lacks(shop: Shop) -> None:
    await shop.record(line("1", version=3), line("2", version=4), order("5"))
    recorded = await shop.load(line("1", version=3), line("3", version=9), version=10)
    assert (recorded.new, recorded.same, recorded.gone) == (1, 1, 1)
    assert recorded.moved == (Moved("ann", 2),)
    assert await shop.alive() == {"receipt:1:1": 3, "receipt:3:1": 9, "order:5": 1}
    assert [tuple(r) for r in await shop.rows("select version, moved_at from hark.fact where deleted")] == [(10, 2)]


async def test_what_is_newer_than_a_load_or_older_than_its_look_back_is_left_alone(shop: Shop) -> None:
    await shop.record(line("1", version=11), line("2", at=JANUARY - timedelta(days=1)))
    await shop.load(version=10)
    assert await shop.alive() == {"receipt:1:1": 11, "receipt:2:1": 1}


async def test_what_a_load_lacked_is_not_brought_back_by_old_news(shop: Shop) -> None:
    await shop.load(version=10)
    recorded = await shop.record(line("1", version=10))
    assert (recorded.stale, recorded.moved, await shop.alive()) == (1, (), {})
    await shop.record(line("1", version=11))
    assert await shop.alive() == {"receipt:1:1": 11}


async def test_an_older_load_that_comes_late_brings_nothing_back(shop: Shop) -> None:
    await shop.load(version=10)
    await shop.load(line("1", version=3), version=5)
    assert await shop.alive() == {}


async def test_what_is_left_of_earlier_loads_is_what_no_later_one_says_as_well(shop: Shop) -> None:
    for version, since in ((5, JANUARY), (7, JANUARY - timedelta(days=9)), (9, JANUARY), (8, NOW)):
        await shop.load(version=version, since=since)
    rows = await shop.rows("select version, since from hark.fact_snapshot order by version")
    assert [r.version for r in rows] == [7, 8, 9]


# Whole receipts -------------------------------------------------------------------------------------------------------


async def amounts(shop: Shop) -> dict[str, int]:
    rows = await shop.rows("select key, amount_minor from hark.fact where not deleted")
    return {row.key: row.amount_minor for row in rows}


@pytest.mark.parametrize("held", [100, 140])
async def test_a_forced_loads_word_holds_over_what_loads_said_in_the_same_version(shop: Shop, held: int) -> None:
    await shop.load(line("r1", amount=held, whole=True), line("r2"), by=1)
    again = await shop.load(line("r1", amount=120, whole=True), line("r2"), by=2, corrects=True)
    assert (again.changed, again.same, [each.version for each in again.moved]) == (1, 1, [2])
    assert await amounts(shop) == {"receipt:r1:1": 120, "receipt:r2:1": 129}
    once_more = await shop.load(line("r1", amount=120, whole=True), line("r2"), by=3, corrects=True)
    assert (once_more.changed, once_more.moved) == (0, ())


async def test_a_forced_load_brings_back_what_loads_had_deleted_in_that_version_and_nothing_older(
    shop: Shop,
) -> None:
    await shop.load(line("r1", deleted=True), line("r2", version=7, amount=5), by=1)
    await shop.load(line("r1"), line("r2", version=6, amount=9), by=2, corrects=True)
    assert await amounts(shop) == {"receipt:r1:1": 129, "receipt:r2:1": 5}


@pytest.mark.parametrize("said", [100, 140])
async def test_stream_and_forced_load_end_the_same_whichever_comes_first(shop: Shop, said: int) -> None:
    async def stream(receipt: str) -> None:
        await shop.record(line(receipt, amount=said))

    async def load(receipt: str) -> None:
        kept = [line(each, amount=120) for each in ("r1", "r2") if each <= receipt]
        await shop.load(*kept, by=1, corrects=True)

    await stream("r1")
    await load("r1")
    await load("r2")
    await stream("r2")
    assert await amounts(shop) == dict.fromkeys(("receipt:r1:1", "receipt:r2:1"), max(said, 120))


async def test_a_whole_receipt_buries_the_lines_that_it_lacks(shop: Shop) -> None:
    await shop.record(*(line("9", number, whole=True) for number in (1, 2, 3)), line("91", 1))
    recorded = await shop.record(line("9", 1, version=2, whole=True))
    assert (recorded.changed, recorded.gone) == (1, 2)
    assert await shop.alive() == {"receipt:9:1": 2, "receipt:91:1": 1}


async def test_a_whole_receipt_is_not_undone_by_an_older_one(shop: Shop) -> None:
    await shop.record(line("9", 1, version=2, whole=True))
    recorded = await shop.record(*(line("9", number, whole=True) for number in (1, 2)))
    assert (recorded.same, recorded.stale) == (1, 1)
    assert await shop.alive() == {"receipt:9:1": 2}


async def test_two_versions_of_a_receipt_may_come_at_once(shop: Shop) -> None:
    await shop.record(line("9", 1, whole=True), line("9", 2, whole=True), line("9", 1, version=2, whole=True))
    assert await shop.alive() == {"receipt:9:1": 2}


@pytest.mark.parametrize("first", [0, 1])
async def test_a_receipt_that_is_gone_takes_all_its_lines_along(shop: Shop, first: int) -> None:
    batches = [[line("9", number, whole=True) for number in (1, 2)], [Fact.gone("ann", "9", 2)]]
    await shop.record(*batches[first])
    await shop.record(*batches[1 - first])
    assert await shop.alive() == {}
    await shop.record(line("9", 1, version=3, whole=True))
    assert await shop.alive() == {"receipt:9:1": 3}


# Undo -----------------------------------------------------------------------------------------------------------------


async def test_undo_takes_back_what_only_that_run_brought(shop: Shop) -> None:
    await shop.record(line("1"), line("2"))
    await shop.load(line("1"), line("2", version=2), line("3"), line("4"), line("5"), by=1)
    await shop.record(line("4"))
    await shop.load(*(line(receipt) for receipt in ("1", "2", "3", "4")), line("5"), line("6"), by=2, version=101)
    undone = await shop.undo(2, "ann")
    assert (undone.taken, undone.moved) == (1, (Moved("ann", 4),))
    undone = await shop.undo(1, "ann")
    assert undone.taken == 2
    assert await shop.alive() == {"receipt:1:1": 1, "receipt:2:1": 2, "receipt:4:1": 1}
    assert (await shop.undo(1, "ann")).moved == ()


async def test_what_was_taken_back_comes_again_with_whoever_speaks_of_it(shop: Shop) -> None:
    await shop.load(line("1", version=5), line("2", version=5), by=1)
    await shop.undo(1, "ann")
    await shop.record(line("1", version=3))
    assert await shop.alive() == {"receipt:1:1": 3}
    await shop.load(line("1", version=5), by=2)
    assert await shop.alive() == {"receipt:1:1": 5}
    await shop.record(line("2", version=4))
    assert await shop.alive() == {"receipt:1:1": 5}


# Bad input ------------------------------------------------------------------------------------------------------------

GOOD = line("9")
BAD = {
    "user id": replace(GOOD, user_id=""),
    "key": replace(GOOD, key="receipt:9"),
    "version": replace(GOOD, version=-1),
    "lacks": replace(GOOD, product_id=None),
    "product id": replace(GOOD, product_id="p" * 256),
    "store id": replace(GOOD, store_id=""),
    "both an amount": replace(GOOD, currency=None),
    "minor units": replace(GOOD, amount_minor=2**63),
    "capital letters": replace(GOOD, currency="eur"),
    "decimals": line("9", quantity="0.0001"),
    "zone": replace(GOOD, occurred_at=NOW.replace(tzinfo=None)),
}


async def test_what_cannot_be_is_refused_with_all_its_faults(shop: Shop) -> None:
    with pytest.raises(BadInput) as refused:
        await shop.record(line("8"), *BAD.values())
    told = str(refused.value).splitlines()
    assert len(told) == len(BAD)
    assert all(what in text for what, text in zip(BAD, told, strict=True))
    assert await shop.rows("select from hark.fact") == []


async def test_a_load_lists_its_own_users_facts_only(shop: Shop) -> None:
    strange = Snapshot("ann", Kind.RECEIPT, JANUARY, 5, [line("1", user="bob"), order("7"), line("2", version=6)])
    with pytest.raises(BadInput, match="newer than its version") as refused:
        await shop.load_all(strange)
    assert len(str(refused.value).splitlines()) == 3


async def test_odd_texts_are_kept_as_they_are(shop: Shop) -> None:
    odd = line("a\tb\\c\nd", product="\\N", store="µ\r:")
    await shop.record(odd)
    (row,) = await shop.rows("select key, product_id, store_id from hark.fact")
    assert tuple(row) == (odd.key, odd.product_id, odd.store_id)


async def test_of_one_batch_the_same_word_holds_as_of_many(shop: Shop) -> None:
    """Which of several words about one key is the highest is decided in two places, and alike."""
    words = [
        line("r", product="tea"),
        line("r", product="zoë"),
        line("r", store=None),
        line("r", amount=None, currency=None),
        line("r", amount=-5),
        line("r", quantity="0.5"),
        line("r", at=NOW - timedelta(hours=1)),
        line("r", version=0, product="zz"),
    ]
    held = set()
    for turn in range(len(words)):
        turned = [*words[turn:], *words[:turn]]
        at_once, one_by_one = f"at-once-{turn}", f"one-by-one-{turn}"
        await shop.record(*(replace(word, key=line_key(at_once, 1)) for word in turned))
        for word in turned:
            await shop.record(replace(word, key=line_key(one_by_one, 1)))
        held |= {tuple(row) for row in await shop.rows(_CONTENT, f"receipt:%{turn}:1")}
    assert len(held) == 1
    given = await shop.record(*(replace(word, key=line_key("again", 1)) for word in words))
    assert (given.given, given.new, given.same) == (1, 1, 0)


_CONTENT = (
    "select product_id, store_id, amount_minor, currency, quantity, occurred_at, version, deleted"
    " from hark.fact where key like %s"
)


FILL = """
alter table hark.fact set (autovacuum_enabled = false);
alter table hark.history_user set (autovacuum_enabled = false);
insert into hark.history_user (user_id, changed_at, ahead_since)
select 'u' || n, now(), now() from generate_series(1, 8000) n;
insert into hark.fact (user_id, key, kind, product_id, quantity, occurred_at, version, live)
select 'u' || n % 8000 + 1, 'receipt:' || n || ':1', 'receipt', 'milk', 1, now(), 1, true
  from generate_series(1, 200000) n
"""


async def explain_all(connection: AsyncConnection[Any], explained: list[str]) -> None:
    """Append the plan of each statement from now on, as it went."""
    await connection.execute("load 'auto_explain'")
    for setting in ("log_min_duration = 0", "log_analyze = on", "log_timing = off", "log_level = notice"):
        await connection.execute(f"set auto_explain.{setting}".encode())
    connection.add_notice_handler(lambda told: explained.append(told.message_primary or ""))


@pytest.mark.parametrize("counted", [False, True], ids=["before anybody counted", "counted"])
@pytest.mark.parametrize("loaded", [False, True], ids=["live", "loaded"])
async def test_what_is_recorded_is_looked_up_however_many_facts_there_are(
    shop: Shop, counted: bool, loaded: bool
) -> None:
    explained: list[str] = []
    async with shop.database.connection() as connection:
        for statement in FILL.split(";"):
            await connection.execute(statement.encode())
        if counted:
            await connection.execute("analyze")
        await explain_all(connection, explained)
        given = [line(f"new{n}", user=f"u{n // 20 + 1}") for n in range(4_000)]
        if loaded:
            snapshots = [Snapshot(each.user_id, Kind.RECEIPT, JANUARY, 100, [each]) for each in given[:1]]
            await record_snapshots(connection, snapshots, now=NOW, by=1)
        else:
            await record_facts(connection, given, now=NOW, by=None)
    (plan,) = [each for each in explained if "Planned anew each time" in each]
    assert "fact_key" in plan
    assert not re.findall(r"Seq Scan on (?:hark\.)?(?:fact|history_user)\b", plan)


async def test_nothing_is_compared_one_by_one_though_it_was_prepared_when_there_was_nothing(shop: Shop) -> None:
    """A statement that was planned for good while its table was empty is not planned anew when that has grown."""
    explained: list[str] = []
    async with shop.database.connection() as connection:
        for begun in range(2):
            await connection.execute("truncate hark.fact, hark.history_user")
            await connection.execute("alter table hark.history_user set (autovacuum_enabled = false)")
            await connection.execute("vacuum analyze hark.fact, hark.history_user")
            if begun:
                await explain_all(connection, explained)
            for batch in range(15):
                given = [line(f"{batch}-{n}", user=f"user-{batch * 1_000 + n}") for n in range(1_000)]
                await record_facts(connection, given, now=NOW, by=None)
    assert "history_user" in explained[-1]
    assert not re.findall(r"Rows Removed by (?:Join )?Filter: \d{5,}", "\n".join(explained))
