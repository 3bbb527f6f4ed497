"""From words to members: who is known, once each, and a count of everything else."""

from __future__ import annotations

import asyncio
import csv
import gzip
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hark.audience import Recipient
from hark.backfill.cohort import (
    Cohort,
    CohortState,
    CohortWords,
    Difference,
    Everyone,
    File,
    FileReach,
    Ids,
    Segment,
    Staged,
    Union,
    cohort_of,
    export_faults,
    faults_of,
    forget,
    load,
    put_segment,
    stage,
    unchanged,
)
from hark.backfill.cohort.spec import Who
from hark.errors import FAULTS_SHOWN, BadInput, Fault, FileFaults, Unreachable
from tests.world import World

HERE = FileReach(local=True)
PEOPLE = ["bob", "cy", "di", "ed"]


async def know_people(world: World) -> None:
    await world.know(*PEOPLE, Recipient("fay", "Employers"), Recipient("gus", "Employers"))


async def staged(world: World, who: Who, *, types: list[str] | None = None, **given: object) -> Staged:
    reach = given.pop("reach", HERE)
    assert isinstance(reach, FileReach)
    return await stage(world.database, Cohort(who), user_types=types, now=world.clock.now(), reach=reach, **given)  # type: ignore[arg-type]


async def members(world: World, cohort: Staged) -> list[str]:
    rows = await world.rows(
        "select recipient_id from hark.cohort_member where cohort_id = %s order by 1", cohort.cohort_id
    )
    found = [row.recipient_id for row in rows]
    assert len(found) == cohort.members
    return found


async def nothing_is_left(world: World) -> bool:
    tables = ("hark.cohort", "hark.cohort_member", "hark.cohort_fault")
    counts = [(await world.rows(f"select count(*) as n from {table}"))[0].n for table in tables]
    return counts == [0, 0, 0]


def written(folder: Path, data: str | bytes, name: str = "people") -> str:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return str(path)


class TestWhoIsMeant:
    async def test_everyone_of_the_user_types(self, world: World) -> None:
        await know_people(world)
        assert await members(world, await staged(world, Everyone(), types=["Students"])) == PEOPLE
        assert (await staged(world, Everyone(), types=["Employers", "Students"])).members == 6
        assert (await staged(world, Everyone())).members == 6
        assert (await staged(world, Everyone(), types=[])).members == 0

    async def test_those_named(self, world: World) -> None:
        await know_people(world)
        found = await staged(world, Ids(("cy", "bob", "cy", "nobody", "fay")), types=["Students"])
        assert await members(world, found) == ["bob", "cy"]
        assert (found.rows, found.duplicates, found.unknown, found.other_types) == (5, 1, 1, 1)
        assert found.faults == (Fault(4, "ids", "nobody: no such user"),)

    async def test_those_of_a_file(self, world: World, tmp_path: Path) -> None:
        await know_people(world)
        path = written(tmp_path, "x,id\n1,bob\n2,nobody\n3\n,\n4,bob\n5,fay\n6,di\n7,nobody\n")
        found = await staged(world, File(path), types=["Students"])
        assert await members(world, found) == ["bob", "di"]
        counts = found.rows, found.members, found.duplicates, found.unknown, found.other_types, found.bad, found.blank
        assert counts == (8, 2, 2, 1, 1, 1, 1)
        assert found.faults == (
            Fault(3, path, "nobody: no such user"),
            Fault(4, path, '"3": has 1 cells, and the first line names 2 columns'),
        )

    async def test_an_empty_file_means_nobody(self, world: World, tmp_path: Path) -> None:
        await know_people(world)
        for data in (b"", b"id\n", b"\n\n", b"\xef\xbb\xbf", gzip.compress(b"")):
            found = await staged(world, File(written(tmp_path, data)))
            assert (found.members, await members(world, found)) == (0, [])

    async def test_those_of_a_segment(self, world: World) -> None:
        await know_people(world)
        assert await put_segment(world.database, "beta", ["bob", "fay", "nobody", "bob"], world.clock.now()) == 1
        assert await members(world, await staged(world, Segment("beta"))) == ["bob", "fay"]
        assert await put_segment(world.database, "beta", ["fay", "di"], world.clock.now()) == 2
        assert await members(world, await staged(world, Segment("beta"), types=["Students"])) == ["di"]
        with pytest.raises(BadInput, match='"bet": no such segment; did you mean beta'):
            await staged(world, Segment("bet"))

    async def test_a_segment_is_of_users_with_ids(self, world: World) -> None:
        with pytest.raises(BadInput, match=r'"\\n" is no name for a segment\n"" has no id'):
            await put_segment(world.database, "\n", ["bob", ""], world.clock.now())

    async def test_of_several_lists_each_once_without_those_left_out(self, world: World, tmp_path: Path) -> None:
        await know_people(world)
        path = written(tmp_path, "di\nbob\nnobody\n")
        found = await stage(
            world.database,
            cohort_of(CohortWords(ids=["bob,cy"], files=[path], except_ids=["cy,ed,stranger"])),
            user_types=["Students"],
            now=world.clock.now(),
            reach=HERE,
        )
        assert await members(world, found) == ["bob", "di"]
        assert (found.rows, found.duplicates, found.unknown, found.excluded) == (5, 1, 1, 1)
        assert (found.excluded_unknown, found.warnings) == (1, ())
        assert found.faults == (
            Fault(3, path, "nobody: no such user"),
            Fault(3, "except_ids", "stranger: no such user"),
        )

    async def test_whoever_is_to_be_left_out_and_is_unknown_is_told(self, world: World, tmp_path: Path) -> None:
        await know_people(world)
        path = written(tmp_path, "id\nstranger\nbob\nStranger\nstranger\n")
        found = await staged(world, Difference(Everyone(), File(path)), types=["Students"])
        assert await members(world, found) == ["cy", "di", "ed"]
        assert (found.rows, found.unknown, found.excluded_unknown, found.warnings) == (0, 0, 2, ())
        assert found.faults == (
            Fault(2, path, "stranger: no such user"),
            Fault(4, path, "Stranger: no such user"),
        )
        told = [fault async for page in faults_of(world.database, found.cohort_id) for fault in page]
        assert [(each.list, each.line) for each in told] == [(path, 2), (path, 4)]

    @pytest.mark.parametrize(
        ("of", "left_out", "idle"),
        [
            (Everyone(), "bob", False),
            (Everyone(), "stranger", True),
            (Everyone(), "fay", True),
            (Everyone(), "", True),
            (Ids(("cy",)), "cy", False),
            (Ids(("cy",)), "bob", True),
            (Ids(("no",)), "no", True),
            (Segment("beta"), "bob", False),
            (Segment("beta"), "cy", True),
            (Union((Segment("beta"), Ids(("cy",)))), "cy", False),
            (Union((Segment("beta"), Ids(("cy",)))), "di", True),
        ],
    )
    async def test_a_list_that_leaves_out_nobody_is_warned_of(
        self, of: Who, left_out: str, idle: bool, world: World, tmp_path: Path
    ) -> None:
        await know_people(world)
        await put_segment(world.database, "beta", ["bob", "no"], world.clock.now())
        path = written(tmp_path, f"id\n{left_out}\n")
        found = await staged(world, Difference(of, Union((Ids(("ed", "bob", "cy")), File(path)))), types=["Students"])
        said = f"{path} leaves out nobody: none of whom it names is meant"
        assert (said in found.warnings) == idle
        assert not any(each.startswith("except_ids leaves") for each in found.warnings) or of == Ids(("no",))
        assert (await load(world.database, found.cohort_id)).warnings == found.warnings

    async def test_of_strangers_nobody_is_unknown_and_an_idle_list_is_warned_of(self, world: World) -> None:
        await know_people(world)
        who = Difference(Ids(("new", "bob")), Union((Ids(("new",)), Ids(("other",)))))
        found = await staged(world, who, strangers=True)
        assert await members(world, found) == ["bob"]
        assert (found.excluded_unknown, found.faults, len(found.warnings)) == (0, (), 1)

    async def test_everyone_but_some(self, world: World) -> None:
        await know_people(world)
        await put_segment(world.database, "staff", ["bob"], world.clock.now())
        but = Difference(Everyone(), Union((Segment("staff"), Ids(("di",)))))
        assert await members(world, await staged(world, but, types=["Students"])) == ["cy", "ed"]

    async def test_who_is_to_be_left_out_must_be_known(self, world: World, tmp_path: Path) -> None:
        await know_people(world)
        path = written(tmp_path, "id,x\nbob,1\ncy\n")
        with pytest.raises(FileFaults, match=f"{path}:3 .*(\n.*)?names whom to leave out, so each of its lines must"):
            await staged(world, Difference(Everyone(), File(path)))
        assert await nothing_is_left(world)

    async def test_ids_are_taken_as_they_are(self, world: World, tmp_path: Path) -> None:
        odd = ["a\\b", "\\N", "\\.", "it's", 'q"q', " x", "%s", "Zoë", "NULL"]
        await world.know(*(Recipient(each, "Students") for each in odd))
        found = await staged(world, File(written(tmp_path, "\n".join(odd))))
        assert await members(world, found) == sorted(odd)


def trees(folder: Path) -> st.SearchStrategy[Who]:
    """Cohorts of any shape; their files are written into a folder."""
    numbers = count()

    def as_file(listed: list[str]) -> File:
        return File(written(folder, "\n".join(["id", *listed]), f"list{next(numbers)}"))

    names = st.lists(st.sampled_from([*PEOPLE, "fay", "gus", "no1", "no2"]), max_size=6)
    lists = names.map(lambda listed: Ids(tuple(listed))) | names.map(as_file)
    return st.recursive(
        lists | st.sampled_from([Segment("beta"), Everyone()]),
        lambda inner: (
            st.builds(Union, st.lists(inner, min_size=1, max_size=3).map(tuple)) | st.builds(Difference, inner, inner)
        ),
        max_leaves=5,
    )


LINES = [b"bob", b"cy", b"fay", b"no", b"", b"x\x00", b'"bob"', b'"', b"a,b", b"\xff"]


class TestModel:
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    async def test_members_are_what_sets_of_python_say(self, world: World, tmp_path: Path, data: st.DataObject) -> None:
        await know_people(world)
        await put_segment(world.database, "beta", ["bob", "fay", "nobody"], world.clock.now())
        tree = trees(tmp_path)
        who = data.draw(tree)
        found = await staged(world, who, types=["Students"])
        assert await members(world, found) == sorted(meant(who) & set(PEOPLE))

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        lines=st.lists(st.sampled_from(LINES), max_size=40),
        left_out=st.lists(st.sampled_from(["bob", "no", "fay"]), max_size=2),
    )
    async def test_rows_add_up(self, world: World, tmp_path: Path, lines: list[bytes], left_out: list[str]) -> None:
        await know_people(world)
        listed: Who = File(written(tmp_path, b"\n".join([b"id", *lines, b""])))
        who = Difference(listed, Ids(tuple(left_out))) if left_out else listed
        found = await staged(world, who, types=["Students"])
        assert found.rows == sum(
            (found.members, found.duplicates, found.unknown, found.other_types, found.excluded, found.bad, found.blank)
        )
        assert found.rows <= len(lines)
        told = [fault async for page in faults_of(world.database, found.cohort_id) for fault in page]
        assert len(told) == found.bad + found.unknown + found.excluded_unknown


def meant(who: Who) -> set[str]:
    match who:
        case Everyone():
            return {*PEOPLE, "fay", "gus"}
        case Ids(ids):
            return set(ids)
        case File(url):
            return set(Path(url).read_text().splitlines()[1:])
        case Segment():
            return {"bob", "fay"}
        case Union(parts):
            return set().union(*(meant(part) for part in parts))
        case Difference(of, without):
            return meant(of) - meant(without)


class TestFaults:
    async def test_the_first_are_told_and_all_can_be_had(self, world: World, tmp_path: Path) -> None:
        await know_people(world)
        path = written(tmp_path, "id\nbob\n" + "".join(f'=no{n}, "x"\n' for n in range(7000)))
        found = await staged(world, File(path, None, "id"))
        assert (found.bad, found.unknown, len(found.faults)) == (7000, 0, FAULTS_SHOWN)
        out = tmp_path / "faults.csv"
        assert await export_faults(world.database, found.cohort_id, out) == 7000
        with out.open(newline="") as file:
            rows = list(csv.reader(file))
        assert rows[0] == ["list", "line", "what", "text"]
        assert [int(row[1]) for row in rows[1:]] == list(range(3, 7003))
        assert rows[1] == [path, "3", "has 2 cells, and the first line names 1 columns", '"=no0, \\"x\\""']

    async def test_a_place_that_cannot_be_written_to_is_refused(self, world: World, tmp_path: Path) -> None:
        found = await staged(world, Ids(("nobody",)))
        with pytest.raises(BadInput, match="cannot be written"):
            await export_faults(world.database, found.cohort_id, tmp_path / "none" / "faults.csv")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
    async def test_a_full_disk_leaves_nothing(self, world: World, tmp_path: Path) -> None:
        found = await staged(world, Ids(("nobody",)))
        (tmp_path / "faults.csv").symlink_to("/dev/full")
        with pytest.raises(Unreachable, match="No space left"):
            await export_faults(world.database, found.cohort_id, tmp_path / "faults.csv")
        assert os.listdir(tmp_path) == ["faults.csv"]  # noqa: PTH208

    async def test_a_disk_that_fills_up_in_the_middle_leaves_nothing_and_harms_nothing(
        self, world: World, tmp_path: Path, small_disk: Path
    ) -> None:
        found = await staged(world, File(written(tmp_path, "".join(f"no{n}\n" for n in range(12_000)))))
        with pytest.raises(Unreachable, match=r"faults\.csv cannot be written: No space left .* nothing of it is left"):
            await export_faults(world.database, found.cohort_id, small_disk / "faults.csv")
        assert os.listdir(small_disk) == []  # noqa: PTH208
        assert await export_faults(world.database, found.cohort_id, tmp_path / "faults.csv") == 12_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=128k", "tmpfs", place], capture_output=True).returncode
    ):
        pytest.skip("a file system cannot be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


class TestSources:
    async def test_what_was_read_is_kept(self, world: World, tmp_path: Path) -> None:
        data = gzip.compress(b"bob\n")
        found = await staged(world, File(written(tmp_path, data, "people.gz")))
        [seen] = found.objects
        assert (seen.url, seen.sha256, seen.size) == (
            str(tmp_path / "people.gz"),
            hashlib.sha256(data).hexdigest(),
            len(data),
        )

    async def test_unchanged(self, world: World, tmp_path: Path) -> None:
        await know_people(world)
        await put_segment(world.database, "beta", ["bob"], world.clock.now())
        path = written(tmp_path, "bob\n")
        found = await staged(world, Union((File(path), Segment("beta"), Ids(("di",)))))
        await unchanged(world.database, found.cohort_id, reach=HERE)
        os.utime(path)
        await unchanged(world.database, found.cohort_id, reach=HERE)  # touched, but its bytes are the same
        written(tmp_path, "cy\n")
        await put_segment(world.database, "beta", ["di"], world.clock.now())
        with pytest.raises(BadInput) as refused:
            await unchanged(world.database, found.cohort_id, reach=HERE)
        assert str(refused.value).splitlines() == [
            "segment beta was changed since the plan (version 1, now 2); plan again",
            f"{path} was changed since the plan (its SHA-256 is another one); plan again",
        ]
        os.unlink(path)  # noqa: PTH108
        with pytest.raises(BadInput, match=r"cannot be read: No such file or directory.*plan again"):
            await unchanged(world.database, found.cohort_id, reach=HERE)

    async def test_forgotten(self, world: World) -> None:
        await know_people(world)
        found = await staged(world, Ids(("bob", "nobody")))
        assert await forget(world.database, found.cohort_id)
        assert not await forget(world.database, found.cohort_id)
        again = await load(world.database, found.cohort_id)
        assert (again.state, again.members, again.faults) == (CohortState.FORGOTTEN, 1, ())
        assert await world.rows("select * from hark.cohort_member") == []
        with pytest.raises(BadInput, match="was forgotten"):
            await unchanged(world.database, found.cohort_id, reach=HERE)
        with pytest.raises(BadInput, match="there is no cohort 999"):
            await load(world.database, 999)

    @pytest.mark.parametrize(
        ("make", "what"),
        [
            (lambda path: None, "cannot be read: No such file or directory"),
            (lambda path: path.mkdir(), "is not a plain file"),
            (os.mkfifo, "is not a plain file"),
            (lambda path: path.write_bytes(b"PK\x03\x04x"), "is a ZIP archive or an Excel file"),
            (lambda path: path.write_bytes(gzip.compress(b"id\nbob\ncy")[:-9]), "its gzip data ends in the middle"),
            (lambda path: path.write_bytes(b"name,x\na,b"), "no such column"),
        ],
    )  # fmt: skip
    async def test_what_cannot_be_read_stages_nothing(
        self, world: World, tmp_path: Path, make: Callable[[Path], object], what: str
    ) -> None:
        make(tmp_path / "people")
        with pytest.raises(BadInput, match=what):
            await staged(world, Union((Ids(("bob",)), File(str(tmp_path / "people")))))
        assert await nothing_is_left(world)

    async def test_a_file_that_is_written_to_meanwhile_stages_nothing(self, world: World, tmp_path: Path) -> None:
        path = Path(written(tmp_path, "bob\n" * 200_000))

        def write(_rows: int) -> None:
            with path.open("ab") as file:
                file.write(b"cy\n")

        with pytest.raises(BadInput, match="was changed while it was read; nothing was staged"):
            await staged(world, File(str(path)), progress=write)
        assert await nothing_is_left(world)
        assert (await staged(world, File(str(path)))).rows > 200_000

    async def test_canceled_halfway_leaves_nothing_and_the_connection_works(self, world: World, tmp_path: Path) -> None:
        path = written(tmp_path, "bob\n" * 500_000)
        begun = asyncio.Event()
        work = asyncio.create_task(staged(world, File(path), progress=lambda _rows: begun.set()))
        await begun.wait()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert await nothing_is_left(world)
        assert (await staged(world, File(path))).rows == 500_000

    async def test_no_transaction_is_open_while_a_file_is_read(self, world: World, tmp_path: Path) -> None:
        path = written(tmp_path, "bob\n" * 200_000)
        open_ones: list[int] = []
        query = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null"  # noqa: E501
        with psycopg.connect(world.dsn, autocommit=True) as other:

            def look(_rows: int) -> None:
                row = other.execute(query).fetchone()
                assert row is not None
                open_ones.append(row[0])

            await staged(world, File(path), progress=look)
        assert len(open_ones) > 2 and set(open_ones) == {0}

    async def test_many_at_once_do_not_meet(self, world: World) -> None:
        await know_people(world)
        both = await asyncio.gather(*(staged(world, Ids((name,))) for name in PEOPLE))
        assert [await members(world, each) for each in both] == [[name] for name in PEOPLE]


async def test_progress_is_told(world: World, tmp_path: Path) -> None:
    told: list[int] = []
    await staged(world, File(written(tmp_path, "bob\n" * 300_000)), progress=told.append)
    assert told == sorted(told) and told[-1] == 300_000 and len(told) > 3
