"""The demo of purchases: the same for the same seed, held beside a fold of its own, and a run from start to end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from hark.doors.cli.exits import ExitCode
from hark.doors.demo.history import ledger
from hark.doors.demo.history.ledger import Line
from hark.doors.demo.history.run import Wish, made_up, people_of
from hark.doors.demo.history.till import People, Till
from hark.history.answers import Purchase, ShopsIn
from hark.history.live.contracts import Contract, News, Topics, Unreadable
from hark.history.sandbox.goods import Goods, Item, Order, Receipt
from hark.postgres.embedded.processes import every_process
from tests.doors.commands import Desk
from tests.servers import scratch_folder

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
TOPICS = Topics({"pipeline-v1-processed-receipt-events": Contract.RECEIPTS, "factoid-stream": Contract.FACTOIDS})
PATIENCE_S = 300


def receipt(version: int, *products: str, number: str = "r", **more: object) -> Receipt:
    """Each line for 1.00."""
    row = Receipt("ann", number, "north", NOW, tuple(Item(each, 100) for each in products), version)
    return replace(row, **more)  # type: ignore[arg-type]


def answered(lines: ledger.Lines) -> list[Purchase]:
    """These lines as Postgres answers them."""
    return [
        Purchase(
            user,
            key,
            None,
            line.product_id,
            None,
            None,
            None,
            line.store_id,
            line.amount_minor,
            line.currency,
            Decimal(line.quantity),
            line.at,
        )
        for (user, key), line in lines.items()
    ]


def summed(goods: Goods, lines: ledger.Lines) -> list[ShopsIn]:
    """Their sums by category, in the same way."""
    return [
        ShopsIn(user, category, None, each.purchases, Decimal(each.quantity), each.totals, NOW, NOW)
        for (user, category), each in ledger.sums(lines, goods).items()
    ]


def keys(lines: Iterable[tuple[str, str]]) -> list[str]:
    return sorted(key for _, key in lines)


# The fold -------------------------------------------------------------------------------------------------------------


def test_the_newest_word_of_a_receipt_holds_in_whatever_order_they_come() -> None:
    words: Sequence[Receipt | Order] = (receipt(1, "tea", "ham"), receipt(3, "tea"), receipt(2, "tea", "ham", "rye"))
    for order in (words, words[::-1], (*words, *words)):
        assert keys(ledger.fold(order)) == ["receipt:r:1"]


def test_what_was_taken_back_is_gone_and_an_order_is_no_receipt() -> None:
    order = Order("ann", "r", None, NOW, Item("tea", 250, 2), version=1, currency="EUR")
    folded = ledger.fold([receipt(1, "tea"), receipt(2, deleted=True), order])
    assert folded == {("ann", "order:r"): Line("tea", None, 250, "EUR", 2, NOW)}


def test_what_differs_is_told_and_what_does_not_is_not() -> None:
    goods = made_up(Wish())
    product = min(goods.products)
    lines = ledger.fold([receipt(1, product, "no-such", product)])
    bought, sums = answered(lines), summed(goods, lines)
    assert ledger.compare("now", lines, goods, bought, sums) == ledger.Compared("now", 3, 1, True, [])
    for wrong in (bought[1:], [replace(bought[0], amount_minor=101), *bought[1:]], [replace(bought[0], user_id="bob")]):
        assert not ledger.compare("now", lines, goods, wrong, sums).equal
    for less in ([], [replace(sums[0], totals={"USD": 199})], [replace(sums[0], quantity=Decimal("1.5"))]):
        assert not ledger.compare("now", lines, goods, bought, less).equal


# The till -------------------------------------------------------------------------------------------------------------


def rung_up(folder: Path, seed: int) -> tuple[Till, People]:
    """All that is bought in a demo, at once."""
    goods, chance = made_up(Wish(seed=seed)), Random(seed)
    people = people_of(goods, chance)
    till = Till(goods, people, folder / f"{seed}-{len(list(folder.iterdir()))}.jsonl", chance, lambda: NOW)
    till.before()
    for happens in till.meanwhile():
        happens()
    return till, people


def test_the_same_seed_buys_the_same(tmp_path: Path) -> None:
    one, again, other = (rung_up(tmp_path, seed)[0].path.read_text() for seed in (3, 3, 4))
    assert one == again != other


def test_the_stream_says_what_the_sources_keep_and_one_message_cannot_be_taken(tmp_path: Path) -> None:
    till, people = rung_up(tmp_path, 1)
    read = [TOPICS.read("", line) for line in till.path.read_bytes().splitlines()]
    assert len(read) == till.lines
    assert sum(isinstance(each, Unreadable) for each in read) == 1
    told = {each.user_id for each in read if isinstance(each, News)}
    assert told & set(people.beta) and told & set(people.shoppers) and told >= set(people.strangers)
    assert not {row.user_id for row in till.said} & set(people.strangers)
    kept = ledger.fold(ledger.of_sources(till.goods, people.cohort))
    assert ledger.fold(till.said).items() <= kept.items()
    assert any(row.deleted for row in till.said) and len(till.said) > len({(row.id, row.version) for row in till.said})


def test_everybody_is_somebody_once() -> None:
    people = people_of(made_up(Wish(users=20)), Random(1))
    assert len(people.cohort) == len(set(people.cohort)) == 20
    assert not set(people.cohort) & set(people.strangers)


# The command ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_ends_equal_to_the_last_line_and_leaves_nothing_behind(desk: Desk) -> None:
    scratch = scratch_folder("hark-test-demo-")
    process = desk.spawn("demo", "history", "--users", "20", "--json", TMPDIR=str(scratch))
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    ran = json.loads(out)
    assert ran["good"] and ran["users"] == ran["verified"] == 20
    assert [each["equal"] for each in ran["compared"]] == [True] * 3
    after_load, healed, undone = (each["lines"] for each in ran["compared"])
    assert after_load == healed > undone > 0
    assert [each["severity"] for each in ran["audits"]] == ["OK", "CRITICAL", "OK"]
    (found,) = ran["audits"][1]["found"]
    assert ran["fault"]["user"] in found and ran["fault"]["key"] in found
    assert ran["stages"][-1] == "DONE" and "LOAD" in ran["stages"]
    assert ran["recorded"] and ran["left_out"] and ran["dead"] == 1
    assert list(scratch.iterdir()) == []
    assert [process for process in every_process() if str(scratch) in process.arguments] == []
    scratch.rmdir()


@pytest.mark.slow
def test_the_command_says_so_when_the_fold_differs(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    fold = ledger.fold
    monkeypatch.setattr(ledger, "fold", lambda words: dict(list(fold(words).items())[1:]))
    ran = desk.hark("demo", "history", "--users", "20")
    assert ran.code == ExitCode.NOT_GOOD
    assert "NOT EQUAL" in ran.out and "did NOT all come as it should" in ran.out
    assert "is Line(" in ran.err and "should be nothing" in ran.err
