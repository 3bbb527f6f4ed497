"""The segments of flags: who is in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from hark.doors.cli.frame import WHO, Call, verb
from hark.doors.cli.output import Column, local
from hark.doors.cli.verbs.backfill_words import who_does_it
from hark.errors import BadInput

if TYPE_CHECKING:
    from hark.flags import Author, Changed, Listed, Named, Rule
    from hark.flags.listing import Member
    from hark.lists import File
    from hark.postgres.database import Database

Texts = list[str] | None

FlagName = Annotated[str, typer.Argument(metavar="FLAG", help="The flag's name.")]
SegmentName = Annotated[str, typer.Argument(metavar="SEGMENT", help="The segment's name.")]
IfVersion = Annotated[
    int | None, typer.Option("--if-version", metavar="N", min=1, help="Only if the flag is at this version.")
]
Ids = Annotated[Texts, typer.Option("--ids", metavar="A,B", help="Users by their ids, with commas between.")]
AFile = Annotated[str | None, typer.Option("--file", metavar="FILE", help="Those of a file, read this once.")]
ColumnName = Annotated[str | None, typer.Option("--column", metavar="NAME", help="Which column of it has the ids.")]
Format = Annotated[str | None, typer.Option("--format", metavar="FORMAT", help="csv, lines or parquet; none: look.")]


def add_to(group: typer.Typer) -> None:
    """Hang the verbs into `hark flags`."""
    segment = typer.Typer(help="Who is in the segments of a flag.", rich_markup_mode=None)
    verb(segment, "set", panel=WHO, example="hark flags segment set history-live some --rollout 25")(set_segment)
    verb(segment, "add", panel=WHO, example="hark flags segment add history-live beta --ids carol,dora")(add)
    verb(segment, "remove", panel=WHO, example="hark flags segment remove history-live beta --ids bob")(remove)
    verb(segment, "members", panel=WHO, example="hark flags segment members history-live beta")(members)
    group.add_typer(segment, name="segment", rich_help_panel=WHO)


async def set_segment(
    call: Call,
    flag: FlagName,
    segment: SegmentName,
    ids: Ids = None,
    file: AFile = None,
    source: Annotated[
        str | None, typer.Option("--from", metavar="URL", help="Those of an object, read again when it changes.")
    ] = None,
    internal: Annotated[
        bool, typer.Option("--internal", help="Our own people, as the setting internal_users has them.")
    ] = False,
    rollout: Annotated[
        str | None, typer.Option("--rollout", metavar="PERCENT", help="A share of everybody; growing it only adds.")
    ] = None,
    column: ColumnName = None,
    format_: Format = None,
    if_version: IfVersion = None,
) -> None:
    """Say what a segment of a flag is made of, whoever was in it before. It is made if it is new.

    With nothing but its name, a segment that is there becomes part of the flag as it is.
    """
    given = [ids is not None, file is not None, source is not None, internal, rollout is not None]
    if given.count(True) > 1:
        raise BadInput("--ids, --file, --from, --internal and --rollout exclude each other; give one of them")
    async with call.session(size=1) as session:
        from hark import flags
        from hark.lists import FileReach

        rule = _rule(call, ids, file, source, rollout, column, format_, internal=internal)
        reach = FileReach.of(call.settings, local=True)
        who = await author(session.database, if_version)
        changed = await flags.set_segment(session.database, flag, segment, rule, who, reach=reach)
    say(call, changed)


async def add(
    call: Call,
    flag: FlagName,
    segment: SegmentName,
    ids: Ids = None,
    file: AFile = None,
    column: ColumnName = None,
    format_: Format = None,
    if_version: IfVersion = None,
) -> None:
    """Let users be in a segment, too."""
    users = _users(ids, file, column, format_)
    if users is None:
        raise BadInput("say whom: --ids bob,carol, or --file people.csv")
    async with call.session(size=1) as session:
        from hark import flags
        from hark.lists import FileReach

        who = await author(session.database, if_version)
        reach = FileReach.of(call.settings, local=True)
        changed = await flags.add_users(session.database, flag, segment, users, who, reach=reach)
    say(call, changed)


async def remove(
    call: Call,
    flag: FlagName,
    segment: SegmentName,
    ids: Ids = None,
    file: AFile = None,
    column: ColumnName = None,
    format_: Format = None,
    forget: Annotated[
        bool, typer.Option("--forget", help="With no users named: forget the segment and its members, too.")
    ] = False,
    if_version: IfVersion = None,
) -> None:
    """Let users be in a segment no more; with none named, take the segment out of the flag."""
    users = _users(ids, file, column, format_)
    if users is not None and forget:
        raise BadInput("--forget is of a whole segment; leave it out, or leave out --ids and --file")
    async with call.session(size=1) as session:
        from hark import flags
        from hark.lists import FileReach

        who = await author(session.database, if_version)
        reach = FileReach.of(call.settings, local=True)
        if users is None:
            changed = await flags.remove_segment(session.database, flag, segment, who, forget=forget)
        else:
            changed = await flags.remove_users(session.database, flag, segment, users, who, reach=reach)
    say(call, changed)


async def members(
    call: Call,
    flag: FlagName,
    segment: SegmentName,
    after: Annotated[str, typer.Option("--after", metavar="USER", help="Only those behind this one.")] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="At most so many.")] = 50,
) -> None:
    """List who is in a segment. Of a rollout: the recipients that are known."""
    async with call.session(size=1) as session:
        from hark.flags import listing

        page = await listing.segment_members(session.database, flag, segment, after=after, limit=limit)
    call.output.table(page, _member_columns(), empty="nobody")
    if len(page) == limit:
        call.output.note(f"there may be more: add --after {page[-1].user_id}")


# What the verbs of flags share ----------------------------------------------------------------------------------------


async def author(database: Database, if_version: int | None = None) -> Author:
    """Whoever sits at the command line."""
    from hark.flags import Author

    return Author(f"cli:{who_does_it(None)}", await database.now(), if_version)


def say(call: Call, changed: Changed) -> None:
    """What a change came to."""
    counts = f", {changed.joined:,} joined, {changed.gone:,} left" if changed.joined or changed.gone else ""
    was = "" if changed.moved else " (nothing to change)"
    call.output.show(changed, [f"{changed.flag}: version {changed.version}{counts}{was}"])


def split(option: str, ids: Texts) -> list[str]:
    """Ids out of what was given, each once.

    Raises:
        BadInput: it was given, and names nobody.
    """
    named = [each for text in ids or () for each in (part.strip() for part in text.split(",")) if each]
    if ids and not named:
        raise BadInput(f"{option}: names nobody; write {option} bob,carol")
    return list(dict.fromkeys(named))


def _users(ids: Texts, file: str | None, column: str | None, kind: str | None) -> Named | Listed | None:
    from hark.flags import Listed, Named

    if ids is not None and file is not None:
        raise BadInput("--ids and --file exclude each other; put all of them into the file")
    if ids is not None:
        return Named(split("--ids", ids))
    return None if file is None else Listed(_file(file, column, kind))


def _rule(
    call: Call,
    ids: Texts,
    file: str | None,
    source: str | None,
    rollout: str | None,
    column: str | None,
    kind: str | None,
    *,
    internal: bool,
) -> Rule | None:
    from hark.doors.cli.reading import parsed
    from hark.flags import Internal, Kept, Rollout, parse_percent

    if source is not None:
        if "://" not in source:
            raise BadInput("--from: is a path; write s3://bucket/key, or --file for a file that is read this once")
        return Kept(_file(source, column, kind))
    if internal:
        return Internal(_internal(call.settings.internal_users))
    share = parsed(rollout, parse_percent, "--rollout")
    return Rollout(share) if share is not None else _users(ids, file, column, kind)


def _internal(words: Sequence[str]) -> Sequence[str]:
    if not words:
        raise BadInput("--internal: the setting internal_users is empty; set HARK_INTERNAL_USERS=@acme.example")
    return words


def _file(url: str, column: str | None, kind: str | None) -> File:
    from hark.catalogue.wording import no_such, quoted
    from hark.lists import File, Format

    if kind is not None and kind not in set(Format):
        raise BadInput(f"--format: {quoted(kind)}: {no_such('format', kind, Format)}")
    return File(url, Format(kind) if kind else None, column)


def _member_columns() -> list[Column[Member]]:
    return [Column("user", lambda each: each.user_id), Column("since", lambda each: local(each.since))]
