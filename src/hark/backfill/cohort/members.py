"""From the tree of a cohort to the one statement that writes its members."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hark.backfill.cohort.spec import Buyers, Difference, Everyone, Flag, Ids, Listed, Segment, Union, Who
from hark.lists import File
from hark.postgres.queries import Queries, Query

_SQL = Queries(Path(__file__).with_name("staging.sql"))


def members_query(who: Who, lists: Sequence[Listed]) -> tuple[Query, dict[str, object]]:
    """The statement, and what its placeholders stand for besides `cohort` and `user_types`.

    Args:
        lists: the cohort's lists in the order of their numbers.
    """
    given: dict[str, object] = {}
    numbers = {id(each): number for number, each in enumerate(lists)}
    picked = _picked(who, numbers, given)
    put = _SQL["put_members"].sql
    return Query("staging.put_members", f"{put}\n(\n{picked}\n) picked"), given


def meant_query(leaves: Sequence[Who], lists: Sequence[Listed]) -> tuple[Query, dict[str, object]]:
    """Which lists name a member of any of these: the statement, and what its placeholders stand for, as above."""
    given: dict[str, object] = {}
    numbers = {id(each): number for number, each in enumerate(lists)}
    picked = _picked(Union(tuple(leaves)), numbers, given)
    asked = _SQL["count_meant"].sql
    return Query("staging.count_meant", f"{asked}\n(\n{picked}\n) picked where picked.recipient_id = n.id)"), given


def _picked(who: Who, numbers: dict[int, int], given: dict[str, object]) -> str:
    match who:
        case Everyone():
            return _SQL["everyone"].sql
        case Buyers():
            return _SQL["buyers"].sql
        case Ids() | File():
            return _with(_SQL["listed"], "list", numbers[id(who)], given)
        case Segment(name):
            return _with(_SQL["in_segment"], "segment", name, given)
        case Flag(name):
            return _with(_SQL["in_flag"], "flag", name, given)
        case Union(parts):
            return "\nunion\n".join(f"({_picked(part, numbers, given)})" for part in parts)
        case Difference(of, without):
            return f"({_picked(of, numbers, given)})\nexcept\n({_picked(without, numbers, given)})"


def _with(part: Query, name: str, value: object, given: dict[str, object]) -> str:
    """The part with its placeholder numbered, as it may stand in the statement more than once."""
    numbered = f"{name}_{len(given)}"
    given[numbered] = value
    return part.sql.replace(f"%({name})s", f"%({numbered})s")
