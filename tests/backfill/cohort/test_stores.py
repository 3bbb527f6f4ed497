"""Cohorts out of S3 and Google's store, through real servers of their protocols."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hark.backfill.cohort import CohortWords, FileReach, Staged, cohort_of, stage, unchanged
from hark.errors import BadInput, HarkError, Unreachable
from hark.lists.sources import open_source
from tests.backfill.cohort.object_servers import (
    environment_of,
    free_port,
    full_size,
    gcs_server,
    put_gcs,
    s3_server,
)
from tests.backfill.cohort.stores import aws
from tests.world import World

pytestmark = pytest.mark.slow
LINES = 5_000_000 if full_size() else 100_000


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url:
        aws("s3", url).create_bucket(Bucket="cohorts")
        yield url


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with gcs_server(tmp_path_factory.mktemp("gcs")) as url:
        yield url


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme in ("s3", "gs"):
        for name, value in environment_of(scheme).items():
            monkeypatch.setenv(name, value)


def put_s3(url: str, key: str, data: bytes) -> None:
    aws("s3", url).put_object(Bucket="cohorts", Key=key, Body=data)


def reach(scheme: str, endpoint: str) -> FileReach:
    return FileReach((f"{scheme}://cohorts",), {scheme: endpoint})


async def staged(world: World, url: str, where: FileReach, **given: Any) -> Staged:
    cohort = cohort_of(CohortWords(urls=[url]))
    return await stage(world.database, cohort, user_types=None, now=world.clock.now(), reach=where, **given)


async def refused(world: World, url: str, where: FileReach, **given: Any) -> HarkError:
    with pytest.raises(HarkError) as caught:
        await staged(world, url, where, **given)
    assert await world.rows("select * from hark.cohort") == []
    assert "hunter2" not in str(caught.value) and "\n" not in str(caught.value)
    return caught.value


async def test_s3(world: World, s3: str) -> None:
    await world.know("bob", "cy")
    data = gzip.compress(b"id,x\n") + gzip.compress(b"bob,1\nnobody,2\n" * (LINES // 2))
    put_s3(s3, "a b/people.csv.gz", data)
    found = await staged(world, "s3://cohorts/a b/people.csv.gz", reach("s3", s3))
    assert (found.rows, found.members, found.unknown, found.duplicates) == (LINES, 1, 1, LINES - 2)
    [seen] = found.objects
    assert (seen.sha256, seen.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert seen.etag.strip('"') == hashlib.md5(data, usedforsecurity=False).hexdigest()


async def test_gcs(world: World, gcs: str) -> None:
    await world.know("bob", "cy")
    put_gcs(gcs, "cohorts", "people.csv", b"id\n" + b"bob\ncy\n" * (LINES // 2))
    found = await staged(world, "gs://cohorts/people.csv", reach("gs", gcs))
    assert (found.rows, found.members, found.duplicates) == (LINES, 2, LINES - 2)
    assert found.objects[0].etag
    await unchanged(world.database, found.cohort_id, reach=reach("gs", gcs))
    put_gcs(gcs, "cohorts", "people.csv", b"id\ncy\n")
    with pytest.raises(BadInput, match="was changed since the plan"):
        await unchanged(world.database, found.cohort_id, reach=reach("gs", gcs))


async def test_gcs_with_gzip_as_its_encoding_is_read_as_it_is_stored(world: World, gcs: str) -> None:
    """Else it would be unpacked on its way: its size is not that of its body then, and no body can be gone on with."""
    await world.know("bob", "cy")
    data = gzip.compress(b"id\n" + b"bob\nnobody\n" * (LINES // 2))
    put_gcs(gcs, "cohorts", "packed.csv", data, encoding="gzip")
    found = await staged(world, "gs://cohorts/packed.csv", reach("gs", gcs))
    assert (found.rows, found.members, found.unknown) == (LINES, 1, 1)
    [seen] = found.objects
    assert (seen.sha256, seen.size) == (hashlib.sha256(data).hexdigest(), len(data))
    await unchanged(world.database, found.cohort_id, reach=reach("gs", gcs))


async def test_parquet(world: World, s3: str, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    await world.know("bob", "7")
    pq.write_table(pa.table({"user": ["bob", "bob", None]}), tmp_path / "p")
    put_s3(s3, "people", (tmp_path / "p").read_bytes())
    cohort = cohort_of(CohortWords(urls=["s3://cohorts/people"], column="user"))
    found = await stage(world.database, cohort, user_types=["Students"], now=world.clock.now(), reach=reach("s3", s3))
    assert (found.members, found.duplicates, found.bad) == (1, 1, 1)


async def test_no_credentials(world: World, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    error = await refused(world, "s3://cohorts/people.csv", reach("s3", s3))
    assert "the environment has no credentials for s3://; set AWS_ACCESS_KEY_ID and" in str(error)


async def test_a_server_that_is_not_there(world: World) -> None:
    error = await refused(world, "s3://cohorts/people.csv", reach("s3", f"http://127.0.0.1:{free_port()}"))
    assert isinstance(error, Unreachable)


@pytest.mark.parametrize("address", ["http://169.254.169.254", "http://[fe80::1]"])
async def test_link_local_servers_are_refused_wherever_they_are_named(
    world: World, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "never a store" in str(await refused(world, "s3://cohorts/x", reach("s3", address)))
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    assert "never a store" in str(await refused(world, "s3://cohorts/x", FileReach(("s3://cohorts",))))


def test_a_name_is_no_way_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: [(2, 1, 6, "", ("169.254.169.254", 0))])
    with pytest.raises(BadInput, match="link-local"), open_source("s3://cohorts/x", reach("s3", "http://store.acme")):
        pass
