"""Segments that are kept as what they come from: a file, an object of a store, users by their addresses."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from hark.access import audit
from hark.audience import Recipient
from hark.flags import FlagReader, Internal, Kept, Named, Watcher, looking, set_segment
from hark.flags.listing import show
from hark.flags.segments import INTERNAL_LOOKED_AT, OBJECTS_LOOKED_AT
from hark.lists import File, FileReach
from tests.backfill.cohort.hanging import SILENT, TRICKLING, a_store
from tests.backfill.cohort.object_servers import environment_of, s3_server
from tests.flags.testing import author, flag_of, let_in, written
from tests.world import World

PEOPLE = ["bob", "cy", "di"]


def watcher(world: World, reach: FileReach) -> Watcher:
    return Watcher(world.database, world.clock, reach, "worker:test")


@pytest.fixture
async def kept(world: World, tmp_path: Path) -> FileReach:
    """A flag with a segment that is kept as the file `list`, which has bob."""
    reach = FileReach((f"file://{tmp_path}",))
    written(tmp_path, "bob\n")
    await flag_of(world)
    rule = Kept(File(f"file://{tmp_path}/list"))
    await set_segment(world.database, "live", "beta", rule, author(world), reach=reach)
    return reach


async def test_what_is_not_due_is_not_looked_at(world: World, kept: FileReach) -> None:
    assert await watcher(world, kept).look() is None
    assert await watcher(world, kept).next_at() == world.clock.now() + OBJECTS_LOOKED_AT


async def test_a_file_that_changed_is_read_again(world: World, kept: FileReach, tmp_path: Path) -> None:
    assert await let_in(world, PEOPLE) == ["bob"]
    written(tmp_path, "cy\ndi\n")
    world.clock.advance(OBJECTS_LOOKED_AT)
    looked = await watcher(world, kept).look()
    assert looked is not None and looked.change is not None
    assert (looked.change.joined, looked.change.gone, looked.change.members) == (2, 1, 2)
    assert await let_in(world, PEOPLE) == ["cy", "di"]
    (line, *_) = await audit.listed(world.database)
    assert (line.who, line.what, line.target) == ("worker:test", "segment.look", "segment:beta")


async def test_a_file_that_did_not_change_is_not_read(
    world: World, kept: FileReach, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (await show(world.database, "live")).flag.version
    monkeypatch.setattr(looking.segments, "bring", None)
    world.clock.advance(OBJECTS_LOOKED_AT)
    looked = await watcher(world, kept).look()
    assert looked is not None and (looked.change, looked.trouble) == (None, None)
    shown = await show(world.database, "live")
    assert (shown.flag.version, shown.segments[0].looked_at) == (before, world.clock.now())


async def test_a_file_of_another_etag_and_the_same_ids_moves_no_version(
    world: World, kept: FileReach, tmp_path: Path
) -> None:
    before = await show(world.database, "live")
    os.utime(tmp_path / "list", (1, 1))
    world.clock.advance(OBJECTS_LOOKED_AT)
    await watcher(world, kept).look()
    after = await show(world.database, "live")
    assert after.flag.version == before.flag.version
    assert after.segments[0].etag != before.segments[0].etag


async def test_what_cannot_be_read_is_said_and_nobody_leaves(world: World, kept: FileReach, tmp_path: Path) -> None:
    for spoil, said in (
        (lambda: written(tmp_path, "cy\nd\x00i\n"), "NUL"),
        (lambda: (tmp_path / "list").unlink(), "cannot be read"),
    ):
        spoil()
        world.clock.advance(OBJECTS_LOOKED_AT)
        looked = await watcher(world, kept).look()
        assert looked is not None and looked.trouble is not None and said in looked.trouble
        assert (await show(world.database, "live")).segments[0].trouble == looked.trouble
        assert await let_in(world, PEOPLE) == ["bob"]
    written(tmp_path, "cy\n")
    world.clock.advance(OBJECTS_LOOKED_AT)
    await watcher(world, kept).look()
    assert (await show(world.database, "live")).segments[0].trouble is None
    assert await let_in(world, PEOPLE) == ["cy"]


@pytest.mark.parametrize("answer", [SILENT, TRICKLING])
async def test_a_store_that_hangs_is_given_up_and_nobody_leaves(
    world: World, kept: FileReach, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr("hark.lists.reading.PATIENCE", timedelta(seconds=0.5))
    await world.execute("update hark.segment set url = 's3://cohorts/people'")
    world.clock.advance(OBJECTS_LOOKED_AT)
    async with a_store(answer, monkeypatch) as reach:
        looked = await watcher(world, reach).look()
    assert looked is not None
    assert looked.trouble == "s3://cohorts/people gave nothing for 0.5 s; try again later"
    assert await let_in(world, PEOPLE) == ["bob"]


async def test_one_of_many_looks(world: World, kept: FileReach, tmp_path: Path) -> None:
    written(tmp_path, "cy\n")
    world.clock.advance(OBJECTS_LOOKED_AT)
    looked = await asyncio.gather(*(watcher(world, kept).look() for _ in range(3)))
    assert sum(each is not None for each in looked) == 1


async def test_what_was_read_of_an_older_rule_is_not_written(
    world: World, kept: FileReach, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody says what the segment is made of while the file is being read."""
    written(tmp_path, "cy\n")
    bring = looking.segments.bring

    async def bring_slowly(*given: Any, **more: Any) -> Any:
        monkeypatch.setattr(looking.segments, "bring", bring)
        etag = await bring(*given, **more)
        await set_segment(world.database, "live", "beta", Named(["di"]), author(world), reach=kept)
        return etag

    monkeypatch.setattr(looking.segments, "bring", bring_slowly)
    world.clock.advance(OBJECTS_LOOKED_AT)
    looked = await watcher(world, kept).look()
    assert looked is not None and looked.change is None
    assert await let_in(world, PEOPLE) == ["di"]


async def test_internal_users_are_looked_up_again(world: World) -> None:
    await flag_of(world, staff=Internal(("@acme.example",)))
    assert await let_in(world, ["ann"]) == []
    await world.know(Recipient("ann", "Students", "ann@acme.example", True))
    world.clock.advance(INTERNAL_LOOKED_AT)
    await watcher(world, FileReach()).look()
    assert await let_in(world, ["ann"]) == ["ann"]
    world.clock.advance(timedelta(seconds=1))
    assert await watcher(world, FileReach()).look() is None


# A real server of the store's protocol --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.mark.slow
async def test_an_object_of_a_store_is_read_when_its_etag_is_another(
    world: World, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment_of("s3").items():
        monkeypatch.setenv(name, value)
    names = {"aws_access_key_id": "key", "aws_secret_access_key": "hunter2", "region_name": "us-east-1"}
    store: Any = boto3.client("s3", endpoint_url=s3, **names)
    store.create_bucket(Bucket="flags")
    reach = FileReach(("s3://flags",), {"s3": s3})
    many = [f"u{n:06}" for n in range(20_000)]
    store.put_object(Bucket="flags", Key="beta.csv", Body="\n".join(["id", *many]).encode())
    await flag_of(world)
    rule = Kept(File("s3://flags/beta.csv"))
    set_ = await set_segment(world.database, "live", "beta", rule, author(world), reach=reach)
    assert set_.members == 20_000
    reader = FlagReader(world.database)
    assert (await reader.refresh()).decide("live", "u012345").lets_in

    world.clock.advance(OBJECTS_LOOKED_AT)
    looked = await watcher(world, reach).look()
    assert looked is not None and (looked.change, looked.trouble) == (None, None)

    store.put_object(Bucket="flags", Key="beta.csv", Body="\n".join(["id", *many[1:], "bob"]).encode())
    world.clock.advance(OBJECTS_LOOKED_AT)
    looked = await watcher(world, reach).look()
    assert looked is not None and looked.change is not None
    assert (looked.change.joined, looked.change.gone) == (1, 1)
    snapshot = await reader.refresh()
    assert [snapshot.decide("live", user).lets_in for user in ("bob", many[0], many[1])] == [True, False, True]

    store.delete_object(Bucket="flags", Key="beta.csv")
    world.clock.advance(OBJECTS_LOOKED_AT)
    looked = await watcher(world, reach).look()
    assert looked is not None and "no such object" in str(looked.trouble)
    assert (await reader.refresh()).decide("live", "bob").lets_in
