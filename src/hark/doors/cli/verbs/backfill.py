"""Backfills: what an operator changes for many users."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import BACKFILLS, Call, verb
from hark.doors.cli.output import Column, local

if TYPE_CHECKING:
    from hark.backfill.control import Stand
    from hark.backfill.failures import FailedBatch, Failure
    from hark.backfill.listing import Line, Member
    from hark.backfill.ordering import PreferenceWords
    from hark.postgres.database import Database

_LARGEST = 2**63 - 1

Id = Annotated[int, typer.Argument(metavar="BACKFILL", min=1, max=_LARGEST, help="Its number.")]
Who = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Who does this, for the audit log; else your login.")
]
Detach = Annotated[bool, typer.Option("--detach", help="Leave the work to workers; do not wait for it.")]
Rate = Annotated[
    float | None, typer.Option("--rate", metavar="N", help="Users a second at most; else as the database bears.")
]
Adaptive = Annotated[
    bool, typer.Option("--adaptive/--not-adaptive", help="Give way to live work and to a slow database.")
]
Hours = Annotated[
    str | None,
    typer.Option("--window", metavar="HOURS", help="Only then: 20:00-06:00, or 20:00-06:00 Europe/Berlin."),
]


@dataclass(frozen=True, slots=True)
class _Switch:
    stopped: bool
    turned: bool


def add_to(app: typer.Typer) -> None:
    """Hang the verbs into the command."""
    group = typer.Typer(help="Change much for many: plan, apply, verify, undo.", rich_markup_mode=None)
    first = "hark backfill preferences --reason app_shared --channels push --user-types Students --create-rows"
    examples = {
        "preferences": (preferences, first),
        "list": (show_all, "hark backfill list"),
        "show": (show, "hark backfill show 1"),
        "apply": (apply, "hark backfill apply 1"),
        "approve": (approve, "hark backfill approve 1 --as olga"),
        "pause": (pause, "hark backfill pause 1"),
        "resume": (resume, "hark backfill resume 1 --detach"),
        "cancel": (cancel, "hark backfill cancel 1"),
        "speed": (speed, 'hark backfill speed 1 --rate 500 --window "20:00-06:00 Europe/Berlin"'),
        "verify": (verify, "hark backfill verify 1"),
        "undo": (undo, "hark backfill undo 1"),
        "failures": (failures, "hark backfill failures 1"),
        "stop-all": (stop_all, "hark backfill stop-all"),
    }
    for name, (function, example) in examples.items():
        verb(group, name, panel=BACKFILLS, example=example)(function)  # type: ignore[arg-type]
    app.add_typer(group, name="backfill", rich_help_panel=BACKFILLS)


async def preferences(
    call: Call,
    reason: Annotated[
        list[str] | None, typer.Option("--reason", metavar="REASON", help="For this reason; repeat it.")
    ] = None,
    channels: Annotated[
        str | None, typer.Option("--channels", metavar="NAMES", help="What to add, in this order: push,in_app.")
    ] = None,
    user_types: Annotated[
        str | None, typer.Option("--user-types", metavar="TYPES", help="Only users of these: Students,Employers.")
    ] = None,
    everyone: Annotated[
        bool, typer.Option("--all", help="All users of the types; so it is when nobody is named.")
    ] = False,
    ids: Annotated[list[str] | None, typer.Option("--ids", metavar="IDS", help="These users, with commas.")] = None,
    file: Annotated[
        list[str] | None, typer.Option("--file", metavar="FILE", help="Those in a CSV, text or Parquet file.")
    ] = None,
    url: Annotated[
        list[str] | None, typer.Option("--from", metavar="URL", help="Those in an object: s3://bucket/key.")
    ] = None,
    segment: Annotated[list[str] | None, typer.Option("--segment", metavar="NAME", help="Those of a segment.")] = None,
    except_ids: Annotated[list[str] | None, typer.Option("--except-ids", metavar="IDS", help="But not these.")] = None,
    except_file: Annotated[
        list[str] | None, typer.Option("--except-file", metavar="FILE", help="But not those in a file or object.")
    ] = None,
    except_segment: Annotated[
        list[str] | None, typer.Option("--except-segment", metavar="NAME", help="But not those of a segment.")
    ] = None,
    column: Annotated[
        str | None, typer.Option("--column", metavar="COLUMN", help="Which column of the files has the ids; else id.")
    ] = None,
    file_format: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="csv, lines or parquet; else as it looks.")
    ] = None,
    create_rows: Annotated[
        bool, typer.Option("--create-rows", help="Also for users who have no preferences at all yet.")
    ] = False,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", metavar="N", help="Users a transaction; else 500.")
    ] = None,
    rate: Rate = None,
    adaptive: Adaptive = True,
    window: Hours = None,
    apply_now: Annotated[bool, typer.Option("--apply", help="Apply the plan at once; else it is only shown.")] = False,
    detach: Detach = False,
    who: Who = None,
) -> ExitCode:
    """Add channels to what many users chose for some reasons: shown first, then applied.

    Without --apply nothing is changed: what would be is stored as a plan, for hark backfill apply.
    """
    from hark.backfill.cohort import CohortWords
    from hark.backfill.ordering import PreferenceWords

    cohort = CohortWords(
        everyone=everyone,
        ids=ids or (),
        files=file or (),
        urls=url or (),
        segments=segment or (),
        except_ids=except_ids or (),
        except_files=except_file or (),
        except_segments=except_segment or (),
        column=column,
        format=file_format,
    )
    words = PreferenceWords(
        reasons=reason or (),
        channels=_names(channels),
        user_types=_names(user_types),
        cohort=cohort,
        create_rows=create_rows,
        batch_size=batch_size,
        rate=rate,
        adaptive=adaptive,
        window=window,
        apply=apply_now,
    )
    return await _order(call, words, _who(who), detach=detach)


async def _order(call: Call, words: PreferenceWords, who: str, *, detach: bool) -> ExitCode:
    from hark.backfill.ordering import order_preferences
    from hark.doors.cli import backfill_pages as pages
    from hark.doors.cli import backfilling

    async with backfilling.bench(call, install=True) as at:
        with call.output.progress("reading the cohort") as told:
            ordered = await order_preferences(
                at.database,
                at.session.need_catalogue(),
                words,
                who=who,
                now=at.clock.now(),
                reach=at.reach,
                environment=os.environ,
                progress=told,
            )
        call.go_on = f"hark backfill apply {ordered.backfill} once it is planned; workers plan it by themselves"
        plan = await backfilling.plan(at, ordered.backfill)
        if at.stop.event.is_set():
            return at.stop.end(call)
        if not ordered.apply or not backfilling.is_good(plan):
            call.output.show(backfilling.Planned(plan, ordered.staged), pages.plan(plan, ordered.staged))
            return ExitCode.DONE if backfilling.is_good(plan) else ExitCode.NOT_GOOD
        for line in pages.plan(plan, ordered.staged):
            call.output.note(line)
        code = await backfilling.start(at, ordered.backfill, who, plan.head.hash, detach=detach)
        await _say(call, at.database, ordered.backfill)
        return code


async def show_all(
    call: Call,
    before: Annotated[
        int | None, typer.Option("--before", metavar="ID", min=1, max=_LARGEST, help="Only those older than this one.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="At most so many.")] = 50,
) -> None:
    """List backfills, newest first."""
    from hark.backfill.listing import backfills

    async with call.session(size=1) as session:
        page = await backfills(session.database, before=before or _LARGEST, limit=limit)
    call.output.table(page, _line_columns(), empty="there are no backfills")


async def show(
    call: Call,
    backfill: Id,
    outcome: Annotated[
        str | None,
        typer.Option("--outcome", metavar="OUTCOME", help="List the users with this outcome instead: malformed."),
    ] = None,
    after: Annotated[str, typer.Option("--after", metavar="ID", help="Only users behind this id.")] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="At most so many.")] = 50,
) -> None:
    """Show a plan, how far it is applied, what held it up, and who did what."""
    from hark.backfill.listing import members

    async with call.session(size=1) as session:
        if outcome is None:
            await _say(call, session.database, backfill)
            return
        page = await members(session.database, backfill, outcome, after=after, limit=limit)
    call.output.table(page, _member_columns(), empty="no such users")


async def apply(
    call: Call,
    backfill: Id,
    plan_hash: Annotated[
        str | None, typer.Option("--hash", metavar="HASH", help="Of the plan that you looked at; refuse another.")
    ] = None,
    detach: Detach = False,
    who: Who = None,
) -> ExitCode:
    """Apply a plan, exactly as it was shown; or take part in one that is being applied."""
    from hark.doors.cli import backfilling

    async with backfilling.bench(call) as at:
        code = await backfilling.start(at, backfill, _who(who), plan_hash, detach=detach)
        await _say(call, at.database, backfill)
        return code


async def approve(call: Call, backfill: Id, who: Who = None) -> None:
    """Agree to a plan, as a second person."""
    from hark.backfill import control

    async with call.session(size=1) as session:
        now = await session.database.now()
        _say_stand(call, await control.approve(session.database, backfill, who=_who(who), now=now))


async def pause(call: Call, backfill: Id, who: Who = None) -> None:
    """Stop after the batches under way. When this returns, nothing is being written."""
    from hark.backfill import control

    async with call.session(size=1) as session:
        now = await session.database.now()
        _say_stand(call, await control.pause(session.database, backfill, who=_who(who), now=now))


async def resume(call: Call, backfill: Id, detach: Detach = False, who: Who = None) -> ExitCode:
    """Go on where it was paused."""
    from hark.backfill import control
    from hark.doors.cli import backfilling

    async with backfilling.bench(call) as at:
        await control.resume(at.database, backfill, who=_who(who), now=at.clock.now())
        code = await backfilling.take_part(at, backfill, detach=detach)
        await _say(call, at.database, backfill)
        return code


async def cancel(call: Call, backfill: Id, who: Who = None) -> None:
    """Call it off. What was applied stays; hark backfill undo takes it back."""
    from hark.backfill import control

    async with call.session(size=1) as session:
        now = await session.database.now()
        _say_stand(call, await control.cancel(session.database, backfill, who=_who(who), now=now))


async def speed(
    call: Call, backfill: Id, rate: Rate = None, adaptive: Adaptive = True, window: Hours = None, who: Who = None
) -> None:
    """Change how fast and when, also while it runs. What is left out has its default again."""
    from hark.backfill import control
    from hark.backfill.ordering import read_pace

    pace = read_pace(rate, adaptive=adaptive, window=window)
    async with call.session(size=1) as session:
        now = await session.database.now()
        _say_stand(call, await control.speed(session.database, backfill, pace, who=_who(who), now=now))


async def verify(
    call: Call,
    backfill: Id,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=0, max=100_000, help="Name so many of those that do not hold.")
    ] = 20,
    who: Who = None,
) -> ExitCode:
    """Read the cohort again: how many hold, and each that does not, with why."""
    from hark.backfill.verify import verify as look
    from hark.doors.cli import backfill_pages as pages

    async with call.session(size=2) as session:
        now = await session.database.now()
        with call.output.progress("verifying") as told:
            seen = await look(session.database, backfill, who=_who(who), now=now, shown=limit, progress=told)
    call.output.show(seen, pages.verified(seen))
    return ExitCode.DONE if seen.good else ExitCode.NOT_GOOD


async def undo(
    call: Call,
    backfill: Id,
    apply_now: Annotated[bool, typer.Option("--apply", help="Apply it at once; else it is only planned.")] = False,
    detach: Detach = False,
    who: Who = None,
) -> ExitCode:
    """Take back what a backfill did and nobody changed since: planned as a backfill of its own."""
    from hark.backfill.undo import undo as take_back
    from hark.doors.cli import backfill_pages as pages
    from hark.doors.cli import backfilling

    async with backfilling.bench(call, install=True) as at:
        over = at.session.catalogue.backfills.approval_over if at.session.catalogue else None
        number = await take_back(at.database, backfill, who=_who(who), now=at.clock.now(), approval_over=over)
        call.go_on = f"hark backfill apply {number} once it is planned; workers plan it by themselves"
        plan = await backfilling.plan(at, number)
        if at.stop.event.is_set():
            return at.stop.end(call)
        if not apply_now or not backfilling.is_good(plan):
            call.output.show(backfilling.Planned(plan, None), pages.plan(plan, None))
            return ExitCode.DONE if backfilling.is_good(plan) else ExitCode.NOT_GOOD
        code = await backfilling.start(at, number, _who(who), plan.head.hash, detach=detach)
        await _say(call, at.database, number)
        return code


async def failures(
    call: Call,
    backfill: Id,
    retry: Annotated[bool, typer.Option("--retry", help="Apply what was quarantined again, and only that.")] = False,
    after: Annotated[str, typer.Option("--after", metavar="ID", help="Only users behind this id.")] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="At most so many.")] = 50,
    detach: Detach = False,
    who: Who = None,
) -> ExitCode:
    """List whom the plan meant to change and who was not: drifted or quarantined, and why."""
    from hark.backfill import failures as failing
    from hark.doors.cli import backfilling

    if not retry:
        async with call.session(size=1) as session:
            page = await failing.failures(session.database, backfill, after=after, limit=limit)
            given_up = await failing.failed_batches(session.database, backfill)
        call.output.table(page, _failure_columns(), empty="nobody failed")
        _note_batches(call, given_up)
        return ExitCode.DONE
    async with backfilling.bench(call) as at:
        users = await failing.retry_failures(at.database, backfill, who=_who(who), now=at.clock.now())
        call.output.note(f"{users:,} users are applied again")
        code = await backfilling.take_part(at, backfill, detach=detach)
        await _say(call, at.database, backfill)
        return code


async def stop_all(
    call: Call,
    release: Annotated[bool, typer.Option("--release", help="Let them go on.")] = False,
    who: Who = None,
) -> None:
    """Hold all backfills at once. When this returns, none is writing anything."""
    from hark.backfill import control

    async with call.session(size=2) as session:
        now = await session.database.now()
        turned = await control.stop_all(session.database, stopped=not release, who=_who(who), now=now)
    said = "all backfills may go on" if release else "all backfills are held; hark backfill stop-all --release"
    call.output.show(_Switch(not release, turned), [said if turned else f"so it was already: {said}"])


def _who(name: str | None) -> str:
    """Whoever is logged in, unless told otherwise."""
    if name is not None:
        return name
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return f"uid {os.getuid()}"


def _names(text: str | None) -> list[str]:
    from hark.backfill.request import names

    return list(names(text))


async def _say(call: Call, database: Database, backfill: int) -> None:
    from hark.backfill.listing import show as look
    from hark.doors.cli import backfill_pages as pages

    seen = await look(database, backfill)
    call.output.show(seen, pages.shown(seen))


def _say_stand(call: Call, stand: Stand) -> None:
    call.output.show(stand, [f"backfill {stand.id} is {stand.state}"])


def _note_batches(call: Call, batches: list[FailedBatch]) -> None:
    for batch in batches:
        call.output.note(f"batch {batch.number} with {batch.members:,} users was given up: {batch.why}")


def _line_columns() -> list[Column[Line]]:
    return [
        Column("id", lambda line: line.id, right=True),
        Column("kind", lambda line: line.kind if line.undoes is None else f"undo of {line.undoes}"),
        Column("state", lambda line: line.state),
        Column("users", lambda line: f"{line.members:,}", right=True),
        Column("to change", lambda line: f"{line.to_change:,}", right=True),
        Column("by", lambda line: line.created_by),
        Column("created", lambda line: local(line.created_at)),
        Column("why", lambda line: line.why),
    ]


def _member_columns() -> list[Column[Member]]:
    return [
        Column("user", lambda member: member.recipient_id),
        Column("type", lambda member: member.user_type or ""),
        Column("outcome", lambda member: ", ".join(f"{on}: {what}" for on, what in member.outcomes.items())),
    ]


def _failure_columns() -> list[Column[Failure]]:
    return [
        Column("user", lambda failure: failure.recipient_id),
        Column("batch", lambda failure: failure.batch, right=True),
        Column("outcome", lambda failure: failure.outcome),
        Column("at", lambda failure: local(failure.at)),
        Column("why", lambda failure: failure.why or ""),
    ]
