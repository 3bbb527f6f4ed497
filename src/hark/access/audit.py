"""The audit log: who changed what. A change and its line are one transaction: neither is there without the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from psycopg.types.json import Jsonb

from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

_NEWEST = 2**63 - 1


class Act(StrEnum):
    """What was done."""

    PUBLISH = "publish"
    RECIPIENTS_PUT = "recipients.put"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    PREFERENCE_SET = "preference.set"
    PREFERENCE_RESET = "preference.reset"
    INBOX_SEEN = "inbox.seen"
    INBOX_READ = "inbox.read"
    INBOX_ARCHIVE = "inbox.archive"
    KEY_CREATE = "key.create"
    KEY_ROTATE = "key.rotate"
    KEY_REVOKE = "key.revoke"
    BACKFILL_CREATE = "backfill.create"
    BACKFILL_APPROVE = "backfill.approve"
    BACKFILL_APPLY = "backfill.apply"
    BACKFILL_PAUSE = "backfill.pause"
    BACKFILL_RESUME = "backfill.resume"
    BACKFILL_CANCEL = "backfill.cancel"
    BACKFILL_SPEED = "backfill.speed"
    BACKFILL_RETRY = "backfill.retry"
    BACKFILL_VERIFY = "backfill.verify"
    BACKFILL_UNDO = "backfill.undo"
    BACKFILL_STOP_ALL = "backfill.stop_all"
    FLAG_CREATE = "flag.create"
    FLAG_TURN = "flag.turn"
    SEGMENT_SET = "segment.set"
    SEGMENT_ADD = "segment.add"
    SEGMENT_CUT = "segment.cut"
    SEGMENT_REMOVE = "segment.remove"
    SEGMENT_LOOK = "segment.look"
    ENROL = "enrol"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log: `who` is the name of a key, or `cli:` and the user who sat at the command line."""

    id: int
    at: datetime
    who: str
    what: str
    target: str
    detail: Mapping[str, object]


async def record(
    database: Database, now: datetime, who: str, what: Act, target: str, detail: Mapping[str, object] | None = None
) -> None:
    """Write a line. Give the database of the change's own transaction (`Database.as_one`).

    Args:
        target: what was changed, as `event:42`, `recipient:bob`, or `12 recipients`.
        detail: more of it, as JSON can say it; no addresses, no payloads, no keys.
    """
    given = {"now": now, "who": who, "what": what, "target": target, "detail": Jsonb(dict(detail or {}))}
    await database.execute(_SQL["record"], given)


async def listed(
    database: Database, *, who: str | None = None, what: str | None = None, before: int = _NEWEST, limit: int = 50
) -> list[Entry]:
    """One page of the log, newest first.

    Args:
        who: only the lines of this one.
        what: only this kind of change.
        before: only lines older than this one: the last `id` of the page before.
        limit: the page's size.
    """
    given = {"who": who, "what": what, "before": before, "limit": limit}
    # Planned with the values given, so that each filter finds its index.
    return await database.fetch(_SQL["listed"], Entry, given, prepare=False)
