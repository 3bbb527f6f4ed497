"""What came of the evening."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hark.doors.demo.evening import Passed
from hark.doors.explain import as_lines, explain
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)


@dataclass(frozen=True, slots=True)
class Summary:
    """The demo in figures, with one message and one explanation to look at.

    `mails_one_by_one` is how many mails there would have been with one for each notification; `waiting` are daily and
    weekly messages whose hour did not come. `seconds` is how long it took, by the clock on the wall.
    """

    events: int
    notifications: int
    mails_one_by_one: int
    mails: int
    read_in_app: int
    canceled: int
    waiting: int
    biggest_to: str
    biggest_items: int
    biggest: str
    explained: Sequence[str]
    mail_dir: Path
    seconds: float


@dataclass(frozen=True, slots=True)
class Found:
    """A delivery worth showing, and one of its events."""

    recipient_id: str
    id: int
    items: int
    event: int


@dataclass(frozen=True, slots=True)
class _Mailed:
    notifications: int


@dataclass(frozen=True, slots=True)
class _Waiting:
    messages: int


async def biggest(database: Database) -> Found:
    """The message with the most notifications."""
    return await database.one(_SQL["biggest"], Found)


async def summed_up(
    database: Database, passed: Passed, shown: Found, text: str, now: datetime, mail_dir: Path, seconds: float
) -> Summary:
    """Sum the evening up.

    Args:
        shown: the biggest message, and `text`, what stands in it.
        now: the evening's time.
        seconds: how long it took.
    """
    left_out = await database.fetch(_SQL["left_out"], Found)
    story = left_out[0] if left_out else shown
    return Summary(
        events=passed.events,
        notifications=passed.notifications,
        mails_one_by_one=(await database.one(_SQL["mailed"], _Mailed)).notifications,
        mails=passed.mails,
        read_in_app=passed.read_in_app,
        canceled=passed.canceled,
        waiting=(await database.one(_SQL["waiting"], _Waiting)).messages,
        biggest_to=shown.recipient_id,
        biggest_items=shown.items,
        biggest=text,
        explained=as_lines(await explain(database, story.recipient_id, story.event, now)),
        mail_dir=mail_dir,
        seconds=seconds,
    )
