"""Dead letters: messages that live ingestion could not take, looked at, replayed, dropped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import HISTORY, INGESTING, Call, verb
from hark.doors.cli.output import Column, local
from hark.doors.cli.verbs.backfill_words import LARGEST, OutFile, write_all
from hark.errors import BadInput

if TYPE_CHECKING:
    from hark.history.live.dead import DeadLine, DeadShown, Filter
    from hark.postgres.database import Database

Number = Annotated[int, typer.Argument(metavar="ID", min=1, max=LARGEST, help="Its number.")]
Numbers = Annotated[list[int] | None, typer.Argument(metavar="ID", min=1, max=LARGEST, help="Their numbers.")]
Group = Annotated[
    str | None, typer.Option("--group", metavar="GROUP", help="Only of this group; of a file: jsonl:NAME.")
]
Topic = Annotated[str | None, typer.Option("--topic", metavar="TOPIC", help="Only of this topic.")]
Cause = Annotated[str | None, typer.Option("--cause", metavar="TEXT", help="Only those whose cause has these words.")]
Since = Annotated[str | None, typer.Option("--since", metavar="TIME", help="Only those since: 1h ago, or a time.")]
All = Annotated[bool, typer.Option("--all", help="All that the other options name.")]

_EXPORTED_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class _Replayed:
    """`recorded`: taken now; `left_out`: of users who are not let in; `dead`: still not to be taken."""

    replayed: int
    recorded: int
    left_out: int
    dead: int


@dataclass(frozen=True, slots=True)
class _Dropped:
    dropped: int


def add_to(group: typer.Typer) -> None:
    """Hang the verbs into `hark ingest`."""
    dead = typer.Typer(help="Messages that could not be taken.", rich_markup_mode=None)
    verb(dead, "list", panel=HISTORY, example="hark ingest dead list --since 1d --cause amount")(show_all)
    verb(dead, "show", panel=HISTORY, example="hark ingest dead show 1")(show)
    verb(dead, "replay", panel=HISTORY, example="hark ingest dead replay --all", of=INGESTING)(replay)
    verb(dead, "drop", panel=HISTORY, example="hark ingest dead drop 1")(drop)
    group.add_typer(dead, name="dead", rich_help_panel=HISTORY)


async def show_all(
    call: Call,
    group: Group = None,
    topic: Topic = None,
    cause: Cause = None,
    since: Since = None,
    after: Annotated[
        int, typer.Option("--after", metavar="ID", min=0, max=LARGEST, help="Only those behind this one.")
    ] = 0,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="At most so many.")] = 50,
    output: OutFile = None,
) -> None:
    """List dead letters: from where, when, and all that is wrong with each. What they say is shown by show alone."""
    from hark.history.live import dead

    async with call.session(size=1) as session:
        which = await _Which(group, topic, cause, since).read(session.database, after)
        if output is not None:
            await write_all(call, output, _export(session.database, which, output))
            return
        page = await dead.page(session.database, which, limit)
    call.output.table(page, _columns(), empty="no dead letters")
    if len(page) == limit:
        call.output.note(f"there may be more: add --after {page[-1].id}")


async def show(call: Call, number: Number) -> None:
    """One dead letter, with what it says."""
    from hark.history.live import dead

    async with call.session(size=1) as session:
        seen = await dead.show(session.database, number)
    call.output.show(_shown(seen), _in_words(seen))


async def replay(
    call: Call,
    numbers: Numbers = None,
    all_: All = False,
    group: Group = None,
    topic: Topic = None,
    cause: Cause = None,
    since: Since = None,
) -> ExitCode:
    """Take dead letters again, as if they came now.

    Exit code 1: some still cannot be taken; they stay, with the cause of now.
    """
    from hark.doors.cli.ingesting import open_ingestor
    from hark.history.live import dead
    from hark.history.live.ingest import Taken

    which = _named(numbers, all_, _Which(group, topic, cause, since))
    call.go_on = "what is replayed by now is gone from the list; the same command goes on"
    done = Taken()
    async with call.session(size=4) as session, open_ingestor(call.settings, session.database, "replay") as ingestor:
        with call.output.progress("letters") as told:
            async for ids in _chunks(session.database, numbers, which):
                done += await dead.replay(ingestor, ids)
                told(done.messages)
    replayed = _Replayed(done.messages, done.recorded, done.left_out, done.dead)
    call.output.show(
        replayed,
        [
            f"{done.messages:,} letters replayed: {done.recorded:,} recorded, {done.left_out:,} of users who are not"
            f" let in, {done.dead:,} still dead"
        ],
    )
    return ExitCode.NOT_GOOD if done.dead else ExitCode.DONE


async def drop(
    call: Call,
    numbers: Numbers = None,
    all_: All = False,
    group: Group = None,
    topic: Topic = None,
    cause: Cause = None,
    since: Since = None,
) -> None:
    """Throw dead letters away."""
    from hark.history.live import dead

    which = _named(numbers, all_, _Which(group, topic, cause, since))
    dropped = 0
    async with call.session(size=2) as session:
        async for ids in _chunks(session.database, numbers, which):
            dropped += await dead.drop(session.database, ids)
    call.output.show(_Dropped(dropped), [f"{dropped:,} letters dropped"])


# The parts ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Which:
    """What narrows it down, as it was said."""

    group: str | None
    topic: str | None
    cause: str | None
    since: str | None

    async def read(self, database: Database, after: int = 0) -> Filter:
        """The same, understood."""
        from hark.doors.cli import reading
        from hark.history.live.dead import Filter

        begin = None if self.since is None else reading.since(self.since, await database.now())
        return Filter(self.group, self.topic, self.cause, begin, after)


def _named(numbers: Sequence[int] | None, all_: bool, which: _Which) -> _Which:
    """Nobody shall mean all by saying nothing."""
    if numbers and (all_ or which != _Which(None, None, None, None)):
        raise BadInput("name letters by their numbers, or by --all and what narrows it; not both")
    if not numbers and not all_:
        raise BadInput("say which: their numbers, as hark ingest dead list shows them, or --all")
    return which


async def _chunks(database: Database, numbers: Sequence[int] | None, named: _Which) -> AsyncIterator[list[int]]:
    """The letters that are there now; one that dies again meanwhile keeps its number, and is not met twice."""
    from dataclasses import replace

    from hark.history.live.dead import AT_ONCE, page

    if numbers:
        for begin in range(0, len(numbers), AT_ONCE):
            yield sorted(set(numbers))[begin : begin + AT_ONCE]
        return
    which = await named.read(database)
    while found := await page(database, which, AT_ONCE):
        yield [each.id for each in found]
        which = replace(which, after=found[-1].id)


async def _export(database: Database, which: Filter, path: object) -> int:
    from dataclasses import fields, replace
    from pathlib import Path

    from hark.history.live.dead import DeadLine, page
    from hark.lists.writing import written

    assert isinstance(path, Path)
    names, rows = [each.name for each in fields(DeadLine)], 0
    with written(path, names) as write:
        while found := await page(database, which, _EXPORTED_AT_ONCE):
            write([[getattr(each, name) for name in names] for each in found])
            rows += len(found)
            which = replace(which, after=found[-1].id)
    return rows


def _shown(seen: DeadShown) -> dict[str, object]:
    return {
        **{name: getattr(seen, name) for name in ("id", "group_name", "topic", "partition", "at_offset", "cause")},
        **{name: getattr(seen, name) for name in ("written_at", "died_at", "tries")},
        "value": seen.text,
    }


def _in_words(seen: DeadShown) -> list[str]:
    where = f"{seen.topic or 'a line'}, partition {seen.partition}, offset {seen.at_offset}, read by {seen.group_name}"
    causes = [f"  {each}" for each in seen.cause.split("; ")]
    return [
        f"letter {seen.id}: {where}",
        f"written {local(seen.written_at) or 'nobody knows when'}, dead since {local(seen.died_at)},"
        f" tried {seen.tries} times",
        *causes,
        "" if seen.text is None else seen.text,
    ]


def _columns() -> list[Column[DeadLine]]:
    return [
        Column("id", lambda line: line.id, right=True),
        Column("died", lambda line: local(line.died_at)),
        Column("group", lambda line: line.group_name),
        Column("topic", lambda line: line.topic),
        Column("partition", lambda line: line.partition, right=True),
        Column("offset", lambda line: line.at_offset, right=True),
        Column("tries", lambda line: line.tries, right=True),
        Column("cause", lambda line: line.cause),
    ]
