"""Flags: who is let in, and what of. `hark flags segment` changes who; see flag_segments.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import WHO, Call, verb
from hark.doors.cli.output import Column, local
from hark.doors.cli.verbs import flag_segments
from hark.doors.cli.verbs.flag_segments import FlagName, IfVersion, author, say, split
from hark.errors import BadInput

if TYPE_CHECKING:
    from hark.flags.gate import Report
    from hark.flags.listing import FlagLine, FlagShown, SegmentLine, Verdict
    from hark.postgres.database import Database

Texts = list[str] | None
Ids = Annotated[Texts, typer.Option("--ids", metavar="A,B", help="Users by their ids, with commas between.")]


@dataclass(frozen=True, slots=True)
class _Exported:
    flag: str
    version: int
    users: int
    extra: int
    file: str


@dataclass(frozen=True, slots=True)
class _Waited:
    flag: str
    version: int
    effective: bool
    behind: Sequence[Report]


def add_to(app: typer.Typer) -> None:
    """Hang the verbs into the command."""
    group = typer.Typer(help="Flags and segments: who is let in, by which version.", rich_markup_mode=None)
    verb(group, "list", panel=WHO, example="hark flags list --on")(show_all)
    verb(group, "show", panel=WHO, example="hark flags show history-live")(show)
    verb(group, "create", panel=WHO, example="hark flags create new-digest")(create)
    verb(group, "on", panel=WHO, example="hark flags on history-live")(turn_on)
    verb(group, "off", panel=WHO, example="hark flags off history-live --if-version 2")(turn_off)
    flag_segments.add_to(group)
    verb(group, "check", panel=WHO, example="hark flags check bob --flag history-live")(check)
    verb(group, "enrol", panel=WHO, example="hark flags enrol history-live --ids dora")(enrol)
    verb(
        group,
        "export",
        panel=WHO,
        example="hark flags export --flag history-live --extra-ids dora,carol -o cohort.txt",
    )(export)
    verb(group, "wait", panel=WHO, example="hark flags wait history-live --timeout 10s")(wait)
    app.add_typer(group, name="flags", rich_help_panel=WHO)


async def show_all(
    call: Call,
    on: Annotated[
        bool | None, typer.Option("--on/--off", help="Only those that are on, or off.", show_default=False)
    ] = None,
    segment: Annotated[
        str | None, typer.Option("--segment", metavar="NAME", help="Only those that have this segment.")
    ] = None,
    after: Annotated[str, typer.Option("--after", metavar="FLAG", help="Only those behind this one.")] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="At most so many.")] = 50,
) -> None:
    """List flags: their versions, whether they are on, their segments."""
    async with call.session(size=1) as session:
        from hark.flags import listing

        page = await listing.flags(session.database, is_on=on, segment=segment, after=after, limit=limit)
    call.output.table(page, _flag_columns(), empty="no such flags: hark flags create NAME makes one")
    if len(page) == limit:
        call.output.note(f"there may be more: add --after {page[-1].name}")


async def show(call: Call, flag: FlagName) -> None:
    """One flag: its segments and what they are made of, and which processes act on which version of it."""
    async with call.session(size=1) as session:
        from hark.flags import listing

        seen = await listing.show(session.database, flag)
    if call.output.json:
        call.output.show(seen, [])
        return
    call.output.show(seen, [_headline(seen)])
    call.output.table(seen.segments, _segment_columns(), empty="no segments")
    for line in [*_troubles(seen), *(str(each) for each in seen.gates)]:
        call.output.note(line)


async def create(call: Call, flag: FlagName) -> None:
    """Make a flag. It lets nobody in until it has segments, or somebody is enrolled."""
    async with call.session(size=1) as session:
        from hark import flags

        changed = await flags.create(session.database, flag, await author(session.database))
    say(call, changed)


async def turn_on(call: Call, flag: FlagName, if_version: IfVersion = None) -> None:
    """Turn a flag on again."""
    await _turn(call, flag, if_version, on=True)


async def turn_off(call: Call, flag: FlagName, if_version: IfVersion = None) -> None:
    """Turn a flag off: it lets nobody in, and forgets nobody."""
    await _turn(call, flag, if_version, on=False)


async def check(
    call: Call,
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's id.")],
    flag: Annotated[str | None, typer.Option("--flag", metavar="FLAG", help="Only of this one.")] = None,
) -> ExitCode:
    """Whether each flag lets a user in, and why. With --flag: exit code 1 if it does not."""
    async with call.session(size=1) as session:
        from hark.flags import listing

        verdicts = await listing.check(session.database, [user], flag=flag)
    call.output.table(verdicts, _verdict_columns(), empty="no flags")
    return ExitCode.NOT_GOOD if flag is not None and not verdicts[0].lets_in else ExitCode.DONE


async def enrol(
    call: Call,
    flag: FlagName,
    ids: Ids = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take their enrolment back.")] = False,
    no_load: Annotated[bool, typer.Option("--no-load", help="Ask for no load of their past.")] = False,
    if_version: IfVersion = None,
) -> None:
    """Enrol users one by one, and ask for a load of their past."""
    users = split("--ids", ids)
    if not users:
        raise BadInput("say whom: --ids bob,carol")
    async with call.session(size=1) as session:
        from hark import flags

        who = await author(session.database, if_version)
        if withdraw:
            done = await flags.withdraw(session.database, flag, users, who)
        else:
            done = await flags.enrol(session.database, flag, users, who, load=not no_load)
    what = "withdrawn" if withdraw else "enrolled"
    call.output.show(done, [f"{done.flag}: {done.changed:,} {what}; version {done.version}"])


async def export(
    call: Call,
    flag: Annotated[str, typer.Option("--flag", metavar="FLAG", help="Whose members.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Where to: one id a line, as cohorts are read.")
    ],
    extra_ids: Annotated[
        Texts, typer.Option("--extra-ids", metavar="A,B", help="These, too, whether they are in or not.")
    ] = None,
) -> None:
    """Write all whom a flag lets in to a file, once each. Of a rollout: the recipients that are known."""
    extra = split("--extra-ids", extra_ids)
    async with call.session(size=1) as session:
        from hark.flags import listing

        version = (await listing.show(session.database, flag)).flag.version
        users, added = await _export(call, session.database, flag, extra, output)
    done = _Exported(flag, version, users + added, added, str(output))
    call.output.show(done, [f"{done.users:,} users written to {output} ({added:,} of them extra)"])


async def wait(
    call: Call,
    flag: FlagName,
    version: Annotated[
        int | None, typer.Option("--version", metavar="N", min=1, help="Of the flag; none: the one it has now.")
    ] = None,
    at_most: Annotated[
        str, typer.Option("--timeout", metavar="DURATION", help="How long to wait at most, as 30s.")
    ] = "1m",
) -> ExitCode:
    """Wait until all processes that act on a flag act on a version of it. Exit code 1: some are still behind."""
    from hark.durations import parse_duration

    lasts = parse_duration(at_most)
    async with call.session(size=1) as session:
        waited = await _wait(session.database, flag, version, lasts)
    ends = "is effective everywhere" if waited.effective else f"is not effective after {at_most}"
    call.output.show(waited, [f"version {waited.version} of {flag} {ends}"])
    if not call.output.json:
        for each in waited.behind:
            call.output.note(str(each))
    return ExitCode.DONE if waited.effective else ExitCode.NOT_GOOD


# The parts ------------------------------------------------------------------------------------------------------------


async def _turn(call: Call, flag: str, if_version: int | None, *, on: bool) -> None:
    async with call.session(size=1) as session:
        from hark import flags

        changed = await flags.turn(session.database, flag, await author(session.database, if_version), on=on)
    say(call, changed)


async def _export(call: Call, database: Database, flag: str, extra: Sequence[str], path: Path) -> tuple[int, int]:
    """How many the flag lets in, and how many of the others were written, too."""
    from hark.flags import listing
    from hark.lists.writing import written_whole

    wanted, users = set(extra), 0
    with written_whole(path) as file, call.output.progress("users") as told:
        async for page in listing.all_members(database, flag):
            ids = [each.user_id for each in page]
            file.writelines(f"{each}\n" for each in ids)
            wanted.difference_update(ids)
            users += len(ids)
            told(users)
        file.writelines(f"{each}\n" for each in sorted(wanted))
    return users, len(wanted)


async def _wait(database: Database, flag: str, version: int | None, lasts: timedelta) -> _Waited:
    from hark.clock import DatabaseClock
    from hark.flags import listing, wait_until_effective

    has = (await listing.show(database, flag)).flag.version
    if version is not None and version > has:
        raise BadInput(f"--version: flag {flag} has no version {version} yet; it is at version {has}")
    clock = await DatabaseClock.start(database)
    behind = await wait_until_effective(database, flag, version or has, clock, deadline=clock.now() + lasts)
    return _Waited(flag, version or has, not behind, behind)


def _headline(seen: FlagShown) -> str:
    flag = seen.flag
    return (
        f"{flag.name}: version {flag.version}, {'on' if flag.is_on else 'off'}, {flag.enrolled:,} enrolled,"
        f" changed {local(flag.changed_at)}"
    )


def _troubles(seen: FlagShown) -> list[str]:
    return [f"{each.name} cannot be read: {each.trouble}" for each in seen.segments if each.trouble]


def _flag_columns() -> list[Column[FlagLine]]:
    return [
        Column("flag", lambda line: line.name),
        Column("version", lambda line: line.version, right=True),
        Column("", lambda line: "on" if line.is_on else "off"),
        Column("enrolled", lambda line: f"{line.enrolled:,}", right=True),
        Column("segments", lambda line: ", ".join(line.segments)),
        Column("changed", lambda line: local(line.changed_at)),
    ]


def _segment_columns() -> list[Column[SegmentLine]]:
    return [
        Column("segment", lambda line: line.name),
        Column("version", lambda line: line.version, right=True),
        Column("made of", lambda line: line.made_of),
        Column("members", lambda line: "" if line.kind == "rollout" else f"{line.members:,}", right=True),
        Column("since", lambda line: local(line.since)),
        Column("looked at", lambda line: local(line.looked_at)),
    ]


def _verdict_columns() -> list[Column[Verdict]]:
    return [
        Column("flag", lambda line: line.flag),
        Column("version", lambda line: line.version, right=True),
        Column("", lambda line: "in" if line.lets_in else "out"),
        Column("because", lambda line: f"segment {line.segment}" if line.segment else line.because),
    ]
