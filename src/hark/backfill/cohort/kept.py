"""A cohort that was staged: what is known of it, whether its sources are still the same, and all its faults."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from hark.backfill.cohort.parsing import cohort_from_json
from hark.backfill.cohort.spec import Cohort, lists_of
from hark.errors import FAULTS_SHOWN, BadInput, Fault
from hark.lists import FileReach
from hark.lists.reading import Beat, watched
from hark.lists.sources import ObjectSeen, etag_now, open_source
from hark.lists.writing import written
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

_PAGE = 5000
SEGMENT, FLAG = "segment:", "flag:"
"""What the name of a segment, or of a flag, is led by where it stands among objects; its ETag is its version."""


class CohortState(StrEnum):
    """What is left of a cohort: all, or only its counts."""

    STAGED = "STAGED"
    FORGOTTEN = "FORGOTTEN"


@dataclass(frozen=True, slots=True)
class Staged:
    """A cohort that was staged.

    Attributes:
        members: who is meant, each once: known, of the user types asked for, and not left out.
        rows: what the lists that add had, not counting a table's first line; for a cohort of such lists alone it is
            members + duplicates + unknown + other_types + excluded + bad + blank.
        duplicates: rows that name somebody again.
        unknown: users that Hark does not know.
        other_types: known users of other types.
        excluded: users of the lists that the cohort leaves out again.
        bad: rows that name nobody, as they cannot be read.
        blank: empty rows.
        excluded_unknown: users to leave out that Hark does not know; like all of them, not among `rows`.
        faults: the first of the bad and unknown rows, with their lines.
        warnings: the lists to leave out that leave out nobody, in words.
        objects: what was read, and how to tell whether it is still the same.
    """

    cohort_id: int
    cohort: Cohort
    user_types: tuple[str, ...] | None
    state: CohortState
    members: int
    rows: int
    duplicates: int
    unknown: int
    other_types: int
    excluded: int
    bad: int
    blank: int
    excluded_unknown: int
    faults: tuple[Fault, ...]
    warnings: tuple[str, ...]
    objects: tuple[ObjectSeen, ...]
    staged_at: datetime


@dataclass(frozen=True, slots=True)
class ListFault:
    """A row of a list that is bad, or names somebody unknown. `text` is the id, or how the row begins."""

    list: str
    line: int
    what: str
    text: str


@dataclass(frozen=True, slots=True)
class _Row:
    cohort_id: int
    spec: Mapping[str, Any]
    user_types: Sequence[str] | None
    state: str
    members: int
    rows: int
    duplicates: int
    unknown: int
    other_types: int
    excluded: int
    bad: int
    blank: int
    excluded_unknown: int
    leaving_nobody: Sequence[int]
    objects: Sequence[Mapping[str, Any]]
    staged_at: datetime


@dataclass(frozen=True, slots=True)
class _FaultRow:
    list: int
    line: int
    what: str
    text: str


@dataclass(frozen=True, slots=True)
class _Version:
    name: str
    version: int


async def load(database: Database, cohort_id: int) -> Staged:
    """A cohort that was staged.

    Raises:
        BadInput: there is none with this id.
    """
    found = await database.fetch(_SQL["cohort"], _Row, {"cohort": cohort_id})
    if not found:
        raise BadInput(f"there is no cohort {cohort_id}")
    [row] = found
    cohort = cohort_from_json(row.spec)
    first = await _faults(database, cohort_id, (-1, 0), FAULTS_SHOWN)
    names = _list_names(cohort)
    return Staged(
        cohort_id=cohort_id,
        cohort=cohort,
        user_types=None if row.user_types is None else tuple(row.user_types),
        state=CohortState(row.state),
        members=row.members,
        rows=row.rows,
        duplicates=row.duplicates,
        unknown=row.unknown,
        other_types=row.other_types,
        excluded=row.excluded,
        bad=row.bad,
        blank=row.blank,
        excluded_unknown=row.excluded_unknown,
        faults=tuple(Fault(each.line, names[each.list], f"{each.text}: {each.what}") for each in first),
        warnings=tuple(
            f"{names[each]} leaves out nobody: none of whom it names is meant" for each in row.leaving_nobody
        ),
        objects=tuple(ObjectSeen(**each) for each in row.objects),
        staged_at=row.staged_at,
    )


async def forget(database: Database, cohort_id: int) -> bool:
    """Delete who the members were and what was wrong with whom, and keep the counts; whether there was anything."""
    return await database.execute(_SQL["forget"], {"cohort": cohort_id}) == 1


# Still the same? ------------------------------------------------------------------------------------------------------


async def unchanged(database: Database, cohort_id: int, *, reach: FileReach) -> None:
    """Make sure that what a cohort was staged from is still what it was.

    By ETag (of a file: its inode, time and size); where that is another, by the content's SHA-256, so that the same
    file uploaded once more is no change. A segment has a version, and so has a flag.

    Raises:
        BadInput: all that was changed or is gone, one a line; or the cohort was forgotten.
        Unreachable: a store does not answer.
    """
    staged = await load(database, cohort_id)
    if staged.state is CohortState.FORGOTTEN:
        raise BadInput(f"cohort {cohort_id} was forgotten; plan again")
    faults = await _changed(database, staged.objects, SEGMENT)
    faults += await _changed(database, staged.objects, FLAG)
    for each in staged.objects:
        if not each.url.startswith((SEGMENT, FLAG)) and (
            fault := await watched(each.url, partial(_change, each, reach))
        ):
            faults.append(fault)
    if faults:
        raise BadInput("\n".join(faults))


async def _changed(database: Database, objects: Sequence[ObjectSeen], kind: str) -> list[str]:
    """The segments, or the flags, that have another version by now."""
    what = kind.removesuffix(":")
    seen = {each.url.removeprefix(kind): each.etag for each in objects if each.url.startswith(kind)}
    found = await database.fetch(_SQL[f"{what}s"], _Version, {"names": sorted(seen)}) if seen else []
    now = {each.name: str(each.version) for each in found}
    return [
        f"{what} {name} was changed since the plan (version {was}, now {now.get(name, 'gone')}); plan again"
        for name, was in seen.items()
        if now.get(name) != was
    ]


def _change(seen: ObjectSeen, reach: FileReach, beat: Beat) -> str:
    """What has become of one file or object; empty: it is what it was."""
    try:
        if etag_now(seen.url, reach) == seen.etag or _hash_of(seen.url, reach, beat) == seen.sha256:
            return ""
    except BadInput as refusal:
        return f"{refusal} (it was read for the plan); plan again"
    return f"{seen.url} was changed since the plan (its SHA-256 is another one); plan again"


def _hash_of(url: str, reach: FileReach, beat: Beat) -> str:
    whole = hashlib.sha256()
    with open_source(url, reach) as source:
        source.beat = beat
        for block in source.blocks():
            whole.update(block)
    return whole.hexdigest()


# All faults -----------------------------------------------------------------------------------------------------------


async def faults_of(database: Database, cohort_id: int) -> AsyncIterator[Sequence[ListFault]]:
    """All rows that are bad or name somebody unknown, in order, a page at a time."""
    names = _list_names((await load(database, cohort_id)).cohort)
    after = (-1, 0)
    while page := await _faults(database, cohort_id, after, _PAGE):
        yield [ListFault(names[each.list], each.line, each.what, each.text) for each in page]
        after = page[-1].list, page[-1].line


async def export_faults(database: Database, cohort_id: int, path: Path) -> int:
    """Write all faults of a cohort as CSV with the columns list, line, what, text; how many there are.

    The file is there when it is whole, and not before.

    Raises:
        BadInput: there is no such cohort, or the file cannot be written there.
        Unreachable: the disk is full.
    """
    count = 0
    with written(path, ("list", "line", "what", "text")) as write:
        async for page in faults_of(database, cohort_id):
            write([[each.list, each.line, each.what, each.text] for each in page])
            count += len(page)
    return count


async def _faults(database: Database, cohort_id: int, after: tuple[int, int], limit: int) -> list[_FaultRow]:
    given = {"cohort": cohort_id, "list": after[0], "line": after[1], "limit": limit}
    return await database.fetch(_SQL["faults_after"], _FaultRow, given)


def _list_names(cohort: Cohort) -> list[str]:
    """What people call each list, by its number."""
    return [getattr(each.listed, "url", "ids" if each.adds else "except_ids") for each in lists_of(cohort.who)]
