"""Whom a body means: from its fields to a cohort, with all that is wrong at once, each fault at its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hark.backfill.cohort import (
    MOST_PARTS,
    Cohort,
    Difference,
    Everyone,
    File,
    FileReach,
    Flag,
    Format,
    Ids,
    Segment,
    Union,
    Who,
    missing_names,
    within,
)
from hark.catalogue.wording import no_such, quoted
from hark.doors.api.backfills import CohortAsked
from hark.errors import FAULTS_SHOWN, BadInput
from hark.lists import id_fault
from hark.postgres.database import Database


def cohort_asked(asked: CohortAsked, reach: FileReach) -> Cohort:
    """Whom a caller means.

    Args:
        reach: from where objects may be read.

    Raises:
        BadInput: all that is wrong with it, one a line, as `cohort.ids[0]: …`.
    """
    if faults := list(_faults(asked, reach)):
        raise BadInput("\n".join(faults))
    kind = Format(asked.format) if asked.format else None
    added = _parts(asked.ids, asked.urls, asked.segments, kind, asked.column)
    added += [Flag(name) for name in asked.flags]
    taken = _parts(asked.except_ids, asked.except_urls, asked.except_segments, kind, asked.column)
    who: Who = Everyone() if asked.everyone else Union(tuple(added))
    return Cohort(Difference(who, Union(tuple(taken))) if taken else who)


async def check_named(asked: CohortAsked, database: Database) -> None:
    """Make sure that the segments and flags that a caller names are there, whatever else is wrong.

    Raises:
        BadInput: all that are not, one a line, as `cohort.segments[0]: …`.
    """
    parts = [Segment(name) for name in (*asked.segments, *asked.except_segments)]
    missing = await missing_names(database, Union((*parts, *(Flag(name) for name in asked.flags))))
    named: dict[str, type[Segment] | type[Flag]] = {"segments": Segment, "except_segments": Segment, "flags": Flag}
    faults = [
        f"cohort.{field}[{place}]: {missing[part]}"
        for field, kind in named.items()
        for place, name in enumerate(getattr(asked, field))
        if (part := kind(name)) in missing
    ]
    if faults:
        raise BadInput("\n".join(faults))


def _parts(
    ids: Sequence[str], urls: Sequence[str], segments: Sequence[str], kind: Format | None, column: str | None
) -> list[Who]:
    return [
        *([Ids(tuple(ids))] if ids else []),
        *(File(url, kind, column) for url in urls),
        *(Segment(name) for name in segments),
    ]


def _faults(asked: CohortAsked, reach: FileReach) -> Iterator[str]:
    yield from _whose_faults(asked)
    yield from _id_faults("ids", asked.ids)
    yield from _url_faults("urls", asked.urls, reach)
    yield from _id_faults("except_ids", asked.except_ids)
    yield from _url_faults("except_urls", asked.except_urls, reach)
    yield from _file_faults(asked)


def _whose_faults(asked: CohortAsked) -> Iterator[str]:
    named = bool(asked.ids or asked.urls or asked.segments or asked.flags)
    if asked.everyone and named:
        yield "cohort: everyone is everybody already; leave it out, or leave out ids, urls, segments and flags"
    if not asked.everyone and not named:
        yield "cohort: say whose: ids, urls, segments, flags, or everyone: true"
    lists = (asked.urls, asked.segments, asked.flags, asked.except_urls, asked.except_segments)
    if (parts := sum(map(len, lists))) > MOST_PARTS - 2:
        yield f"cohort: has {parts} objects, segments and flags, at most {MOST_PARTS - 2}; put several into one object"


def _id_faults(field: str, ids: Sequence[str]) -> Iterator[str]:
    faults = [
        f"cohort.{field}[{place}]: {quoted(each)} {why}" for place, each in enumerate(ids) if (why := id_fault(each))
    ]
    yield from faults[:FAULTS_SHOWN]
    if len(faults) > FAULTS_SHOWN:
        yield f"cohort.{field}: and {len(faults) - FAULTS_SHOWN:,} more of them are no ids"


def _url_faults(field: str, urls: Sequence[str], reach: FileReach) -> Iterator[str]:
    for place, url in enumerate(urls):
        try:
            within(Cohort(File(url)), reach)
        except BadInput as refusal:
            yield f"cohort.{field}[{place}]: {refusal}"


def _file_faults(asked: CohortAsked) -> Iterator[str]:
    read = bool(asked.urls or asked.except_urls)
    for field in ("column", "format"):
        if getattr(asked, field) is not None and not read:
            yield f"cohort.{field}: is of objects, and there is none; add urls, or leave it out"
    if asked.format is not None and asked.format not in list(Format):
        yield f"cohort.format: {quoted(asked.format)}: {no_such('format', asked.format, list(Format))}"
    if asked.column is not None and asked.format == Format.LINES:
        yield 'cohort.column: lines have no columns; leave it out, or send "format": "csv"'
