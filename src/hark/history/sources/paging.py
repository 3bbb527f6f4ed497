"""A user's history out of pages: whole and of one moment, or not at all.

Every page says the same `watermark`, the version up to which it has seen everything, and the same `total` of rows. A
list that moved while it was read (another watermark or total, or rows that are missing at its end) is read anew, a few
times. A page that comes twice, and rows that slid onto the next page, are merged and counted. What has no end is
refused: a cursor that comes again, more rows than the total, pages without a new row.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Generic, Protocol, TypeVar

from pydantic import Field, StringConstraints

from hark.errors import SourceFailed
from hark.history.sources.contracts import Part, ReadFrom, Version, answer_faults
from hark.sources import Name

PAGE_SIZE = 200
MOST_ROWS = 200_000
"""Of one user; more is a fault of the source."""
READ_ANEW = 3
"""How often a list that moves is begun again."""
NOTHING_NEW = 3
"""So many pages without a new row are taken for an end that never comes."""

Cursor = Annotated[str, StringConstraints(min_length=1, max_length=2000)]


class Page(Part):
    """What every page says."""

    user_id: Name
    read_from: ReadFrom = Field(strict=False)
    watermark: Version
    total: Annotated[int, Field(ge=0, le=MOST_ROWS)]
    next_cursor: Cursor | None = None


class Row(Protocol):
    """One row of a page."""

    @property
    def version(self) -> int:
        """The version of the source's row: the highest wins."""
        ...


R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True)
class Walked(Generic[R]):
    """A whole list.

    Attributes:
        watermark: everything up to this version was seen.
        pages: how many were read, those of lists that moved included.
        doubled: rows that came again.
        anew: how often it was begun again.
    """

    watermark: int
    read_from: ReadFrom
    rows: Sequence[R]
    pages: int
    doubled: int
    anew: int


@dataclass(slots=True)
class _Reading(Generic[R]):
    """One way through the pages."""

    source: str
    listed: str
    key: Callable[[R], str]
    rows: dict[str, R] = field(default_factory=dict)
    cursors: set[str] = field(default_factory=set)
    pages: int = 0
    doubled: int = 0
    stale: int = 0

    def take(self, page: Page, rows: Sequence[R]) -> None:
        """Merge a page.

        Raises:
            SourceFailed: a row contradicts itself, or there is no end.
        """
        before = len(self.rows)
        self.pages += 1
        contradicting = [place for place, row in enumerate(rows) if not self._merged(row)]
        if contradicting:
            faults = [
                (f"{self.listed}[{place}]", "is another than before, and of the same version")
                for place in contradicting
            ]
            raise answer_faults(self.source, faults)
        self.stale = 0 if len(self.rows) > before else self.stale + 1
        if len(self.rows) > page.total:
            raise answer_faults(self.source, [("total", f"is {page.total:,}, and there are more {self.listed}")])
        self._refuse_no_end(page)

    def _merged(self, row: R) -> bool:
        known = self.rows.get(self.key(row))
        self.doubled += known is not None
        if known is None or row.version > known.version:
            self.rows[self.key(row)] = row
        return known is None or row.version != known.version or row == known

    def _refuse_no_end(self, page: Page) -> None:
        cursor = page.next_cursor
        if cursor is None:
            return
        if cursor in self.cursors:
            raise answer_faults(self.source, [("next_cursor", "came before: its pages have no end")])
        self.cursors.add(cursor)
        if self.stale >= NOTHING_NEW:
            raise answer_faults(self.source, [("next_cursor", f"{self.stale} pages without a new row: no end")])


class _Moved(Exception):
    """The list is not the one that it was on the page before."""


async def walk(
    source: str,
    listed: str,
    user: str,
    page_at: Callable[[str | None], Awaitable[tuple[Page, Sequence[R]]]],
    key: Callable[[R], str],
) -> Walked[R]:
    """All of a user's rows.

    Args:
        source: whose they are, for messages.
        listed: what its rows are called, for messages.
        page_at: the page at a cursor; None: the first.
        key: what names a row for good.

    Raises:
        SourceFailed: it has no end, contradicts itself, is somebody else's, or never stands still.
    """
    pages = 0
    for anew in range(READ_ANEW + 1):
        reading = _Reading(source, listed, key)
        try:
            walked = await _way_through(reading, user, page_at)
        except _Moved:
            pages += reading.pages
            continue
        return replace(walked, pages=walked.pages + pages, anew=anew)
    raise SourceFailed(f"{source} never stood still: its list moved in each of {READ_ANEW + 1} readings")


async def _way_through(
    reading: _Reading[R], user: str, page_at: Callable[[str | None], Awaitable[tuple[Page, Sequence[R]]]]
) -> Walked[R]:
    page, rows = await page_at(None)
    first = page
    while True:
        _refuse_stranger(reading.source, page, user)
        if (page.watermark, page.total, page.read_from) != (first.watermark, first.total, first.read_from):
            raise _Moved
        reading.take(page, rows)
        if page.next_cursor is None:
            break
        page, rows = await page_at(page.next_cursor)
    if len(reading.rows) != first.total:
        raise _Moved
    return Walked(first.watermark, first.read_from, list(reading.rows.values()), reading.pages, reading.doubled, 0)


def _refuse_stranger(source: str, page: Page, user: str) -> None:
    if page.user_id != user:
        raise answer_faults(source, [("user_id", "is not the user that was asked for")])
