"""Facts against the sources, as the sandbox serves them: what differs is told of whom it is; what is newer is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from hark.history import window
from hark.history.audit import Audit, Name, Report
from hark.history.audit.certificate import Standing, certify
from hark.history.audit.walking import Pause
from hark.history.facts import Fact, record_facts, record_snapshots
from hark.history.sandbox.faults import Kind
from tests.history.audit_world import counted, found, no_pause
from tests.history.sources.scene import SINCE, UNTIL, Scene, open_scene

ANN, BOB, CID = "user-000003", "user-000004", "user-000006"


@dataclass(slots=True)
class Loaded:
    """Two users whose facts are what the sources have."""

    scene: Scene

    @property
    def sources(self) -> Any:
        """Both that know what people buy."""
        purchase, shop = self.scene.purchase(), self.scene.shop()
        return SimpleNamespace(purchase=purchase, shop=shop, knows=lambda _source: True)

    async def load(self, *users: str, since: datetime = SINCE, run: int = 1) -> None:
        """What the sources have is recorded, as a load does it."""
        sources = self.sources
        for user in users:
            snapshots = [
                (await sources.purchase.receipts(user, since)).snapshot,
                (await sources.shop.orders(user, since)).snapshot,
            ]
            async with self.scene.database.connection() as connection:
                await record_snapshots(connection, snapshots, now=UNTIL, by=run)
            await self.execute("update hark.history_user set last_loaded_at = %s where user_id = %s", UNTIL, user)

    async def record(self, *facts: Fact) -> None:
        """What comes live."""
        async with self.scene.database.connection() as connection:
            await record_facts(connection, facts, now=UNTIL, by=None)

    async def audit(self, sample: int | None = None, pause: Pause = no_pause, sources: Any = None) -> Report:
        """All is audited, without a graph."""
        return await Audit(self.scene.database, None, UNTIL, sources or self.sources, pause).everything(sample)

    async def facts(self, user: str) -> list[Fact]:
        """What the source has of a user's receipts."""
        return list((await self.sources.purchase.receipts(user, SINCE)).snapshot.facts)

    async def execute(self, sql: str, *params: object) -> None:
        """Something is done behind Hark's back."""
        async with self.scene.database.connection() as connection:
            await connection.execute(sql.encode(), params)


@dataclass(slots=True)
class MovingOn:
    """Receipts of a source that somebody buys at between any two questions."""

    source: Any
    bought: int = 0

    async def receipts(self, user: str, since: datetime) -> Any:
        """What it has, as of one purchase more than before."""
        answer = await self.source.receipts(user, since)
        self.bought += 1
        return replace(answer, snapshot=replace(answer.snapshot, version=answer.snapshot.version + self.bought))


@pytest.fixture
async def loaded(database: str) -> AsyncIterator[Loaded]:
    async with open_scene(database) as scene:
        made = Loaded(scene)
        await window.roll(scene.database, now=UNTIL, look_back=UNTIL - SINCE, limit=10)
        await made.load(ANN, BOB)
        yield made


async def test_facts_that_are_what_the_sources_have(loaded: Loaded) -> None:
    report = await loaded.audit()
    assert (found(report), report.compared["users at sources"], report.score) == ({}, 2, 100)


async def test_what_differs_is_told_of_whom_and_how(loaded: Loaded) -> None:
    missing, wrong, *_ = await loaded.facts(ANN)
    await loaded.execute(
        "insert into hark.fact (user_id, key, kind, product_id, quantity, occurred_at, version, live)"
        " values (%s, 'receipt:none:1', 'receipt', 'milk', 1, %s, 0, true)",
        *(BOB, UNTIL - timedelta(days=9)),
    )
    await loaded.execute("delete from hark.fact where key = %s", missing.key)
    await loaded.execute(
        "update hark.fact set product_id = 'soap', amount_minor = null, currency = null where key = %s", wrong.key
    )
    report = await loaded.audit()
    assert found(report)["missing in facts"] == [
        (ANN, f"{missing.key}: its source has it, in version {missing.version}; the facts do not")
    ]
    assert found(report)["source differs"] == [
        (
            ANN,
            f"{wrong.key}: product_id is soap in the facts, {wrong.product_id} in its source;"
            f" amount_minor is nothing in the facts, {wrong.amount_minor} in its source;"
            f" currency is nothing in the facts, {wrong.currency} in its source",
        )
    ]
    ((user, cause),) = found(report)["not in source"]
    assert user == BOB
    assert cause.startswith("receipt:none:1: the facts have it, in version 0; its source, at ")
    assert not report.good


async def test_what_is_not_in_a_source_is_told_though_others_buy_there_meanwhile(loaded: Loaded) -> None:
    await loaded.execute(
        "insert into hark.fact (user_id, key, kind, product_id, quantity, occurred_at, version, live)"
        " values (%s, 'receipt:none:1', 'receipt', 'milk', 1, %s, 0, true)",
        *(BOB, UNTIL - timedelta(days=9)),
    )
    sources = loaded.sources
    sources.purchase = MovingOn(sources.purchase)
    certificate = await _certified(loaded, BOB, sources=sources)
    assert (certificate.sources, [each.check for each in certificate.findings]) == ("differs", [Name.SOURCE_EXTRA])
    assert counted(await loaded.audit(sources=sources)) == {Name.SOURCE_EXTRA: 1}
    assert sources.purchase.bought == 5  # of the certificate two; of the audit one each, and of whom differed one more


async def test_only_what_differs_in_both_looks_is_told(loaded: Loaded) -> None:
    late, stays, between, *_ = await loaded.facts(ANN)

    async def lack(*facts: Fact) -> None:
        keys = [each.key for each in facts]
        await loaded.execute("update hark.fact set deleted = key = any (%s) where user_id = %s", keys, ANN)

    await lack(late)
    assert found(await loaded.audit(pause=partial(lack, between))) == {}
    await lack(late, stays)
    only = [(ANN, f"{stays.key}: its source has it, in version {stays.version}; the facts do not")]
    assert found(await loaded.audit(pause=partial(lack, stays, between))) == {"missing in facts": only}
    await lack(late, stays)
    certificate = await _certified(loaded, ANN, pause=partial(lack, stays, between))
    assert [(each.id, each.cause) for each in certificate.findings] == only


async def test_what_the_stream_brought_meanwhile_is_newer_and_no_fault(loaded: Loaded) -> None:
    one, other, *_ = await loaded.facts(ANN)
    newer = 10**12
    await loaded.record(
        Fact(ANN, "receipt:fresh:1", newer, "milk", None, None, None, one.quantity, UNTIL),
        Fact(ANN, one.key, newer, "soap", None, None, None, one.quantity, one.occurred_at),
        Fact(ANN, other.key, newer, deleted=True),
    )
    assert found(await loaded.audit()) == {}


async def test_users_of_the_sources_who_were_never_loaded(loaded: Loaded) -> None:
    people = ("user-000005", "stranger")
    for user in people:
        await loaded.execute(
            "insert into hark.recipient (id, user_type, updated_at) values (%s, 'Students', now())", user
        )
    report = await loaded.audit(sample=10)
    ((user, cause),) = found(report)["never loaded"]
    assert user == "user-000005"
    assert cause.endswith("purchases in the sources, and no facts")
    assert report.good


async def test_whom_the_stream_tells_of_before_their_load_comes(loaded: Loaded) -> None:
    (fact, *past) = await loaded.facts(CID)
    assert past
    await loaded.record(fact)
    report = await loaded.audit()
    ((user, cause),) = found(report)["never loaded"]
    assert user == CID
    assert cause.endswith("purchases in the sources that are not loaded yet")
    assert (report.good, set(found(report))) == (True, {"never loaded"})
    waits = await _certified(loaded, CID)
    assert (waits.sources, waits.good) == ("not loaded yet", True)
    await loaded.execute("update hark.fact set product_id = 'soap' where key = %s", fact.key)
    assert set(found(await loaded.audit())) == {"never loaded", "source differs"}
    assert (await _certified(loaded, CID)).sources == "differs"


async def test_whose_load_was_undone_is_not_loaded(loaded: Loaded) -> None:
    await loaded.execute("update hark.fact set deleted = true, version = -1 where user_id = %s", ANN)
    assert "missing in facts" in found(await loaded.audit())
    await loaded.execute("update hark.history_user set last_loaded_at = null where user_id = %s", ANN)
    assert set(found(await loaded.audit())) == {"never loaded"}


async def test_only_what_was_loaded_must_be_there(loaded: Loaded) -> None:
    all_of_them = await loaded.facts(CID)
    times = sorted(fact.occurred_at for fact in all_of_them if fact.occurred_at is not None)
    since = times[len(times) // 2]
    inside = [fact for fact in all_of_them if fact.occurred_at and fact.occurred_at >= since]
    assert 0 < len(inside) < len(all_of_them)
    await loaded.load(CID, since=since)
    assert found(await loaded.audit()) == {}
    assert (await _certified(loaded, CID)).sources == "agrees"
    await loaded.execute("delete from hark.fact where key = %s", inside[0].key)
    assert [user for user, _ in found(await loaded.audit())["missing in facts"]] == [CID]


async def test_a_user_of_whom_all_that_was_loaded_is_gone(loaded: Loaded) -> None:
    await loaded.execute("delete from hark.fact where user_id = %s", ANN)
    assert {user for user, _ in found(await loaded.audit())["missing in facts"]} == {ANN}


async def test_a_source_that_is_away_is_said_and_is_nobodys_fault(loaded: Loaded) -> None:
    loaded.scene.fault(Kind.UNAVAILABLE, source="purchase")
    report = await loaded.audit(sample=2)
    assert counted(report) == {Name.SOURCE_AWAY: 2}
    assert report.good
    certificate = await _certified(loaded, ANN)
    assert certificate.sources.startswith("purchase ")
    assert not certificate.good


async def test_a_certificate_says_what_the_sources_have(loaded: Loaded) -> None:
    agrees = await _certified(loaded, ANN)
    assert (agrees.standing, agrees.sources, agrees.good) == (Standing.NO_GRAPH, "agrees", True)
    assert agrees.by_facts is not None
    assert agrees.by_facts.purchases == agrees.facts - agrees.deleted - agrees.before
    (missing, *_) = await loaded.facts(ANN)
    await loaded.execute("delete from hark.fact where key = %s", missing.key)
    differs = await _certified(loaded, ANN)
    assert (differs.sources, differs.good) == ("differs", False)
    assert [each.check for each in differs.findings] == [Name.SOURCE_MISSING]


async def test_of_a_user_whom_nobody_knows_there_is_no_good_certificate(loaded: Loaded) -> None:
    mistyped = await _certified(loaded, f"{ANN}x")
    assert (mistyped.standing, mistyped.good) == (Standing.UNKNOWN, False)


async def _certified(loaded: Loaded, user: str, *, sources: Any = None, pause: Pause = no_pause) -> Any:
    asked = sources or loaded.sources
    return await certify(loaded.scene.database, None, user, now=UNTIL, sources=asked, pause=pause)
