"""Whatever a source does, its history comes whole or not at all: each fault of the sandbox, over real HTTP."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from hark.delivery.backoff import Backoff
from hark.errors import Blocked, NotNow, SourceFailed, Unreachable
from hark.guarded.client import Guarded
from hark.history.facts import Fact
from hark.history.facts import Kind as FactKind
from hark.history.sandbox.faults import Kind
from hark.history.sandbox.goods import Item, Receipt
from hark.history.sources.contracts import ReadFrom
from hark.history.sources.loaded import Loaded
from hark.history.sources.pace import Breaker
from hark.history.sources.purchase import PurchaseHistory
from tests.history.sources.scene import SINCE, UNTIL, USER, Scene, bought

A_RECEIPT = Receipt(USER, "new", "store-01", UNTIL - timedelta(days=1), (Item("fido-tea", 350),))


def told(loaded: Loaded) -> dict[str, tuple[Any, ...]]:
    """What became facts, as `bought` has it."""
    return {
        fact.key: (fact.store_id, fact.occurred_at, fact.currency, fact.product_id, fact.amount_minor, fact.quantity)
        for fact in loaded.snapshot.facts
        if not fact.deleted
    }


def receipts(key: str) -> bool:
    return key.startswith("receipt:")


async def whole(scene: Scene, **given: Any) -> Loaded:
    """A user's receipts, which must be all of them."""
    loaded = await scene.purchase(**given).receipts(USER, SINCE)
    assert told(loaded) == bought(scene.goods, USER, receipts) != {}
    return loaded


async def refused(scene: Scene, **given: Any) -> str:
    with pytest.raises(SourceFailed) as caught:
        await scene.purchase(**given).receipts(USER, SINCE)
    return str(caught.value)


class TestWell:
    async def test_receipts_come_as_facts(self, scene: Scene) -> None:
        loaded = await whole(scene)
        snapshot = loaded.snapshot
        assert (snapshot.user_id, snapshot.kind, snapshot.since) == (USER, FactKind.RECEIPT, SINCE)
        assert snapshot.version == scene.goods.receipts.version
        assert loaded.read_from is ReadFrom.PRIMARY
        assert all(fact.whole for fact in snapshot.facts)

    async def test_orders_come_as_facts(self, scene: Scene) -> None:
        loaded = await scene.shop().orders(USER, SINCE)
        assert told(loaded) == bought(scene.goods, USER, lambda key: not receipts(key))
        assert loaded.snapshot.kind is FactKind.ORDER

    @pytest.mark.parametrize("page_size", [1, 2, 3])
    async def test_page_by_page(self, scene: Scene, page_size: int) -> None:
        loaded = await whole(scene, page_size=page_size)
        assert loaded.pages == -(-loaded.rows // page_size)
        assert (loaded.doubled, loaded.anew) == (0, 0)

    async def test_who_never_bought_has_an_empty_history(self, scene: Scene) -> None:
        loaded = await scene.purchase().receipts("nobody", SINCE)
        assert loaded.snapshot.facts == []
        assert loaded.snapshot.version == scene.goods.receipts.version

    async def test_a_receipt_that_was_taken_back_is_gone(self, scene: Scene) -> None:
        row = scene.goods.receipts.put(Receipt(USER, "old", None, UNTIL - timedelta(days=9), (), deleted=True))
        loaded = await scene.purchase().receipts(USER, SINCE)
        assert Fact.gone(USER, "old", row.version) in loaded.snapshot.facts

    @pytest.mark.parametrize("user", ["a/b", "a b&user_id=c", "ü%2F?#", "…" * 80])
    async def test_any_id_can_be_asked_for(self, scene: Scene, user: str) -> None:
        scene.goods.receipts.put(Receipt(user, "r", None, UNTIL - timedelta(days=1), A_RECEIPT.lines))
        loaded = await scene.purchase().receipts(user, SINCE)
        assert [fact.user_id for fact in loaded.snapshot.facts] == [user]

    async def test_a_token_is_shown(self, scene: Scene) -> None:
        scene.sandbox.token = "s3cret"
        await whole(scene, token="s3cret")
        said = await refused(scene, token="other")
        assert "its token is not set, or not the right one" in said
        assert "other" not in said

    async def test_products_and_categories_are_asked_for_in_bulk_and_once(self, scene: Scene) -> None:
        known = list(scene.goods.products)
        found = await scene.products(at_once=50).lookup([*known, "fido-nothing", *known])
        assert [each.product_id for each in found] == [*known, "fido-nothing"]
        assert (found[-1].name, found[-1].category_id) == (None, None)
        assert found[0].name == scene.goods.products[known[0]].name
        assert len(scene.arrivals("product").every) == -(-(len(known) + 1) // 50)
        (leaf, none) = await scene.categories().lookup([str(found[0].category_id), "cat-none"])
        assert leaf.hierarchy == scene.goods.categories[leaf.category_id]
        assert none.hierarchy == ()


class TestTooMany:
    @pytest.mark.parametrize("said", [None, "0", "0.05", "soon", "-3", "Fri, 27 Nov 2015 08:00:00 GMT"])
    async def test_is_asked_again(self, scene: Scene, said: str | None) -> None:
        scene.fault(Kind.TOO_MANY, times=7, retry_after=said)
        await whole(scene)
        assert scene.statuses() == [429] * 7 + [200]
        assert scene.counts["purchase"].too_many == 7

    async def test_is_left_alone_by_everybody_for_as_long_as_it_says(self, scene: Scene) -> None:
        scene.fault(Kind.TOO_MANY, times=1, retry_after="0.7")
        await whole(scene)
        other = scene.purchase()
        await other.receipts(USER, SINCE)
        refusal, after, *_ = scene.arrivals("purchase").every
        assert after.at - refusal.at >= 0.7

    async def test_for_longer_than_a_question_has_patience_is_told_until_when(self, scene: Scene) -> None:
        scene.fault(Kind.TOO_MANY, times=1, retry_after="9999999999999999999999")
        before = scene.clock.now()
        for _ in range(2):
            with pytest.raises(NotNow, match="purchase asked to be left alone") as caught:
                await scene.purchase(patience=timedelta(seconds=1)).receipts(USER, SINCE)
            assert timedelta(hours=23) < caught.value.at - before <= timedelta(hours=25)
        assert scene.statuses() == [429]

    async def test_without_an_end_is_given_up_when_patience_is(self, scene: Scene) -> None:
        scene.fault(Kind.TOO_MANY)
        with pytest.raises(NotNow, match="status 429"):
            await scene.purchase(patience=timedelta(milliseconds=300)).receipts(USER, SINCE)
        assert set(scene.statuses()) == {429}

    async def test_one_source_is_not_left_alone_for_another(self, scene: Scene) -> None:
        scene.fault(Kind.TOO_MANY, source="shop", times=1, retry_after="60")
        with pytest.raises(NotNow):
            await scene.shop(patience=timedelta(seconds=1)).orders(USER, SINCE)
        await whole(scene)


class TestFailing:
    @pytest.mark.parametrize("kind", [Kind.ERROR, Kind.UNAVAILABLE, Kind.CUT, Kind.HALF, Kind.PAGE])
    async def test_for_now_is_tried_again(self, scene: Scene, kind: Kind) -> None:
        scene.fault(kind, times=3)
        await whole(scene, page_size=2)
        assert scene.counts["purchase"].failed == 3

    @pytest.mark.parametrize(
        ("kind", "why"),
        [
            (Kind.ERROR, "status 500"),
            (Kind.UNAVAILABLE, "status 503"),
            (Kind.CUT, "broke off"),
            (Kind.HALF, "a body that is no JSON, or only the beginning of one"),
            (Kind.PAGE, "a body that does not say that it is JSON"),
        ],
    )
    async def test_for_good_is_given_up(self, scene: Scene, kind: Kind, why: str) -> None:
        scene.fault(kind)
        with pytest.raises(Unreachable, match=f"purchase failed 4 times, the last time with: .*{why}"):
            await scene.purchase().receipts(USER, SINCE)
        assert len(scene.statuses()) == 4

    async def test_slowly_is_waited_for_and_too_slowly_is_not(self, scene: Scene) -> None:
        scene.fault(Kind.SLOW, times=1, seconds=0.3)
        await whole(scene)
        scene.fault(Kind.SLOW, times=1, seconds=5)
        await whole(scene, timeout=timedelta(milliseconds=200))
        assert scene.counts["purchase"].failed == 1

    async def test_503_with_retry_after_is_left_alone(self, scene: Scene) -> None:
        scene.fault(Kind.UNAVAILABLE, times=1, retry_after="0.5")
        await whole(scene)
        refusal, after = scene.arrivals("purchase").every
        assert after.at - refusal.at >= 0.5

    async def test_several_times_in_a_row_is_left_alone_by_everybody(self, scene: Scene) -> None:
        breaker = Breaker(threshold=3, rest=timedelta(minutes=5))
        scene.fault(Kind.ERROR)
        for _ in range(2):
            with pytest.raises(NotNow, match="purchase failed several times in a row"):
                await scene.purchase(breaker=breaker, patience=timedelta(minutes=1)).receipts(USER, SINCE)
        assert scene.statuses() == [500] * 3

    async def test_and_then_tried_by_one_request(self, scene: Scene) -> None:
        breaker = Breaker(threshold=3, rest=timedelta(milliseconds=300))
        scene.fault(Kind.ERROR, times=4)
        await whole(scene, breaker=breaker, backoff=Backoff(base=timedelta(milliseconds=5), max_attempts=9))
        moments = [each.at for each in scene.arrivals("purchase").every]
        assert scene.statuses() == [500] * 4 + [200]
        assert moments[3] - moments[2] >= 0.3
        assert moments[4] - moments[3] >= 0.6

    async def test_nobody_there(self, scene: Scene) -> None:
        gone = PurchaseHistory(replace(scene.polite("purchase"), url="http://127.0.0.1:9"))
        with pytest.raises(Unreachable, match="purchase failed 4 times"):
            await gone.receipts(USER, SINCE)

    async def test_a_private_address_is_not_called(self, scene: Scene) -> None:
        strict = PurchaseHistory(replace(scene.polite("purchase"), client=Guarded()))
        with pytest.raises(Blocked, match="http_allow_private"):
            await strict.receipts(USER, SINCE)
        assert scene.statuses() == []


class TestPages:
    async def test_that_come_twice_are_merged_and_counted(self, scene: Scene) -> None:
        scene.fault(Kind.DOUBLED)
        loaded = await whole(scene, page_size=2)
        assert loaded.doubled > 0

    @pytest.mark.parametrize(
        ("kind", "why"),
        [
            (Kind.ENDLESS, "next_cursor came before: its pages have no end"),
            (Kind.GROWING, "next_cursor 3 pages without a new row: no end"),
        ],
    )
    async def test_without_end_are_refused(self, scene: Scene, kind: Kind, why: str) -> None:
        scene.fault(kind)
        assert why in await refused(scene, page_size=3)
        assert len(scene.statuses()) < 20

    async def test_that_move_are_read_anew(self, scene: Scene) -> None:
        """A receipt of long ago is written after the first page: the others slide on."""
        scene.fault(Kind.SHIFT)
        source = scene.purchase(page_size=2)
        loaded = await told_between(scene, source, times=1)
        assert loaded.anew == 1
        assert told(loaded) == bought(scene.goods, USER, receipts)
        assert "receipt:late-0:1" in told(loaded)

    async def test_that_never_stand_still_are_given_up(self, scene: Scene) -> None:
        scene.fault(Kind.SHIFT)
        with pytest.raises(SourceFailed, match="purchase never stood still: its list moved in each of 4 readings"):
            await told_between(scene, scene.purchase(page_size=2), times=99)

    async def test_are_of_one_moment_whatever_is_written_meanwhile(self, scene: Scene) -> None:
        before, version = bought(scene.goods, USER, receipts), scene.goods.receipts.version
        loaded = await told_between(scene, scene.purchase(page_size=2), times=99)
        assert told(loaded) == before
        assert loaded.snapshot.version == version < scene.goods.receipts.version


async def told_between(scene: Scene, source: PurchaseHistory, times: int) -> Loaded:
    """All receipts, while one is written after each first page."""
    get, written = source.polite.get, 0

    async def writing(path: str, question: dict[str, str], model: Any) -> Any:
        nonlocal written
        page = await get(path, question, model)
        if "cursor" not in question and written < times:
            old = Receipt(USER, f"late-{written}", None, SINCE + timedelta(seconds=written), A_RECEIPT.lines)
            scene.goods.receipts.put(old)
            written += 1
        return page

    watched = SimpleNamespace(source=source.polite.source, get=writing)
    return await PurchaseHistory(watched, source.page_size).receipts(USER, SINCE)  # type: ignore[arg-type]


class TestContract:
    async def test_what_a_replica_answers_is_not_taken_for_the_primarys(self, scene: Scene) -> None:
        scene.fault(Kind.REPLICA)
        assert "read_from is not primary, which was asked for" in await refused(scene)

    async def test_a_replica_that_was_asked_for_says_how_far_it_is(self, scene: Scene) -> None:
        row = scene.goods.receipts.put(A_RECEIPT)
        scene.goods.receipts.behind = 1
        loaded = await scene.purchase().receipts(USER, SINCE, read_from=ReadFrom.REPLICA)
        assert loaded.snapshot.version == row.version - 1
        assert "receipt:new:1" not in told(loaded)

    async def test_another_users_history_is_refused(self, scene: Scene) -> None:
        scene.fault(Kind.STRANGER)
        assert "user_id is not the user that was asked for" in await refused(scene)

    async def test_floats_are_refused_each_with_its_place_and_none_with_its_value(self, scene: Scene) -> None:
        scene.fault(Kind.FLOATS)
        said = await refused(scene)
        lines = len(bought(scene.goods, USER, receipts))
        assert "receipts[0].lines[0].amount is a number with a point; write it as a text" in said
        assert said.count("is a number with a point") == min(lines, 50)
        assert len(scene.statuses()) == 1

    async def test_a_wrong_path_is_no_use_trying_again(self, scene: Scene) -> None:
        wrong = PurchaseHistory(replace(scene.polite("purchase"), url=f"{scene.url}/elsewhere"))
        with pytest.raises(SourceFailed, match="status 404: its URL does not lead to it"):
            await wrong.receipts(USER, SINCE)
