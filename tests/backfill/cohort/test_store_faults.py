"""What stores do wrong or refuse, told by real servers of their protocols: nothing is staged, and the object is named.

Where a server has no way of its own to go wrong so, a proxy before it does it; all else is still the server's.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import random
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hark.backfill.cohort import CohortWords, Staged, cohort_of, stage, unchanged
from hark.errors import BadInput, HarkError, Unreachable
from tests.backfill.cohort.meddling import ALWAYS, DENIED_BY_GOOGLE
from tests.backfill.cohort.object_servers import environment_of
from tests.backfill.cohort.stores import KEY, Store, aws, azure_store, gcs_store, s3_store
from tests.world import World

ROWS = 6_000


@pytest.fixture(scope="module")
def s3() -> Iterator[Store]:
    with s3_store() as one:
        yield one


@pytest.fixture(scope="module")
def gs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with gcs_store(tmp_path_factory.mktemp("gcs")) as one:
        yield one


@pytest.fixture(scope="module")
def az() -> Iterator[Store]:
    with azure_store() as one:
        yield one


@pytest.fixture(params=["s3", "gs", "az"])
def store(request: pytest.FixtureRequest) -> Store:
    one: Store = request.getfixturevalue(request.param)
    return one


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme in ("s3", "gs", "az"):
        for name, value in environment_of(scheme).items():
            monkeypatch.setenv(name, value)


def ids() -> list[str]:
    """Ids that do not pack well, so that all parts of a body count; the last one is known."""
    some = random.Random(5)
    return [*(f"u{n}{some.getrandbits(64):x}" for n in range(ROWS - 1)), "bob"]


def csv() -> bytes:
    return "\n".join(["id", *ids()]).encode()


def packed() -> bytes:
    """Two members, of which the second is by far the longer: the middle of the whole lies within it."""
    data = csv()
    return gzip.compress(data[:50_000]) + gzip.compress(data[50_000:])


def parquet() -> bytes:
    whole = io.BytesIO()
    pq.write_table(pa.table({"id": ids()}), whole)
    return whole.getvalue()


FORMATS = pytest.mark.parametrize("content", [csv, packed, parquet])


async def staged(world: World, store: Store, server: str = "") -> Staged:
    cohort = cohort_of(CohortWords(urls=[store.url]))
    reach = store.reach(server)
    return await stage(world.database, cohort, user_types=None, now=world.clock.now(), reach=reach)


async def refused(world: World, store: Store, server: str = "") -> HarkError:
    with pytest.raises(HarkError) as caught:
        await staged(world, store, server)
    assert await world.rows("select * from hark.cohort") == []
    told(caught.value, store)
    return caught.value


def told(error: HarkError, store: Store) -> None:
    """In one line that names the object, and no secret."""
    assert str(error).startswith(store.url)
    assert "hunter2" not in str(error) and "\n" not in str(error)


def forbidden(store: Store) -> str:
    return f"{store.url} may not be read (403); grant reading it to the credentials in the environment"


# Bodies that break off ------------------------------------------------------------------------------------------------


@FORMATS
async def test_a_body_that_breaks_off_once_is_gone_on_with(
    world: World, store: Store, content: Callable[[], bytes]
) -> None:
    await world.know("bob")
    data = content()
    store.put(KEY, data)
    proxy = store.meddler(cuts=1)
    with proxy as server:
        found = await staged(world, store, server)
    assert (found.rows, found.members, found.unknown, found.duplicates) == (ROWS, 1, ROWS - 1, 0)
    [seen] = found.objects
    assert (seen.sha256, seen.size) == (hashlib.sha256(data).hexdigest(), len(data))
    rest = f"bytes={len(data) // 2}-{len(data) - 1}"
    assert proxy.asked == [("GET", ""), ("GET", rest), ("HEAD", "")]


@FORMATS
async def test_bodies_that_always_break_off_are_given_up(
    world: World, store: Store, content: Callable[[], bytes]
) -> None:
    store.put(KEY, content())
    proxy = store.meddler(cuts=ALWAYS)
    with proxy as server:
        error = await refused(world, store, server)
    assert isinstance(error, Unreachable)
    assert "broke off: " in str(error) and str(error).endswith("; nothing was staged; try again")
    assert len([method for method, _ in proxy.asked if method == "GET"]) == 4


@pytest.mark.parametrize("store", ["s3", "gs"], indirect=True)  # Azure signs the range, too
async def test_a_body_that_begins_anew_in_its_middle_is_refused(world: World, store: Store) -> None:
    """Else the line at its seam would be made of two that do not belong together."""
    store.put(KEY, csv())
    with store.meddler(cuts=1, deaf=True) as server:
        error = await refused(world, store, server)
    assert isinstance(error, Unreachable) and "broke off" in str(error)


# Objects that change --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [0, 1])
async def test_an_object_that_is_replaced_while_it_is_read(world: World, store: Store, cuts: int) -> None:
    """Whole, or between two of its parts; by one of the same size, so that its second half fits to the first."""
    store.put(KEY, csv())
    other = csv().replace(b"u", b"v")
    with store.meddler(cuts=cuts, meanwhile=lambda: store.put(KEY, other)) as server:
        error = await refused(world, store, server)
    assert isinstance(error, BadInput)
    assert "was changed while it was read; nothing was staged" in str(error)


async def test_an_object_that_is_locked_between_two_of_its_parts(world: World, store: Store) -> None:
    store.put(KEY, csv())
    proxy = store.meddler(cuts=1, meanwhile=lambda: setattr(proxy, "denied", DENIED_BY_GOOGLE))
    with proxy as server:
        error = await refused(world, store, server)
    assert isinstance(error, BadInput) and str(error) == forbidden(store)


async def test_an_object_that_is_replaced_after_the_plan(world: World, store: Store) -> None:
    store.put(KEY, csv())
    found = await staged(world, store)
    assert found.objects[0].etag
    store.put(KEY, csv())
    await unchanged(world.database, found.cohort_id, reach=store.reach())
    store.put(KEY, csv().replace(b"u", b"v"))
    with pytest.raises(BadInput, match=r"was changed since the plan .*; plan again") as caught:
        await unchanged(world.database, found.cohort_id, reach=store.reach())
    told(caught.value, store)


async def test_an_object_that_is_deleted_between_two_of_its_parts(world: World, s3: Store) -> None:
    s3.put(KEY, csv())
    with s3.meddler(cuts=1, meanwhile=lambda: aws("s3", s3.server).delete_object(Bucket="cohorts", Key=KEY)) as server:
        error = await refused(world, s3, server)
    assert str(error) == f"{s3.url}: there is no such object (404); check its bucket and key"


# Objects that nobody may read, or that are not there ------------------------------------------------------------------


async def test_what_is_not_there(world: World, store: Store) -> None:
    store.put("other", b"x")
    none = replace(store, key="none")
    error = await refused(world, none)
    assert isinstance(error, BadInput)
    assert str(error) == f"{none.url}: there is no such object (404); check its bucket and key"


async def test_what_google_denies(world: World, gs: Store) -> None:
    """Its server here lets everybody do everything, so the proxy says what Google says."""
    gs.put(KEY, csv())
    with gs.meddler(denied=DENIED_BY_GOOGLE) as server:
        assert str(await refused(world, gs, server)) == forbidden(gs)
        found = await staged(world, gs)
        with pytest.raises(BadInput) as caught:
            await unchanged(world.database, found.cohort_id, reach=gs.reach(server))
    assert str(caught.value) == f"{forbidden(gs)} (it was read for the plan); plan again"


async def test_what_azure_denies(world: World, az: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    az.put(KEY, csv())
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", base64.b64encode(b"another key").decode())
    assert str(await refused(world, az)) == forbidden(az)


async def test_what_amazon_denies(world: World, s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """By policies: who may put objects there may not get them; granted that, the same key may; without it, no more."""
    s3.put(KEY, csv())
    writer = Writer(s3.server)
    for name, value in writer.environment().items():
        monkeypatch.setenv(name, value)
    with writer.held_to_policies():
        assert str(await refused(world, s3)) == forbidden(s3)
    writer.may("s3:GetObject")
    with writer.held_to_policies():
        found = await staged(world, s3)
        await unchanged(world.database, found.cohort_id, reach=s3.reach())
    writer.may("s3:PutObject")
    with writer.held_to_policies(), pytest.raises(BadInput) as caught:
        await unchanged(world.database, found.cohort_id, reach=s3.reach())
    assert str(caught.value) == f"{forbidden(s3)} (it was read for the plan); plan again"


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
async def test_whom_amazon_does_not_know(world: World, s3: Store, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    s3.put(KEY, csv())
    writer = Writer(s3.server)
    writer.may("s3:GetObject")
    for each, value in {**writer.environment(), name: "hunter2"}.items():
        monkeypatch.setenv(each, value)
    with writer.held_to_policies():
        assert str(await refused(world, s3)) == forbidden(s3)


class Writer:
    """A user of AWS who may put objects, and what else is granted."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.iam = aws("iam", server)
        self.name = f"writer-{uuid4()}"
        self.iam.create_user(UserName=self.name)
        self.key = self.iam.create_access_key(UserName=self.name)["AccessKey"]
        self.may("s3:PutObject")

    def may(self, *actions: str) -> None:
        """Grant these alone."""
        statement = [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statement})
        self.iam.put_user_policy(UserName=self.name, PolicyName="granted", PolicyDocument=policy)

    def environment(self) -> dict[str, str]:
        """Its credentials."""
        return {"AWS_ACCESS_KEY_ID": self.key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": self.key["SecretAccessKey"]}

    @contextmanager
    def held_to_policies(self) -> Iterator[None]:
        """For the time of a block, the server looks at signatures and policies."""
        self._look_after(b"0")
        try:
            yield
        finally:
            self._look_after(b"inf")

    def _look_after(self, requests: bytes) -> None:
        plain = {"Content-Type": "text/plain"}
        asked = urllib.request.Request(f"{self.server}/moto-api/reset-auth", requests, plain)
        urllib.request.urlopen(asked, timeout=30).close()
