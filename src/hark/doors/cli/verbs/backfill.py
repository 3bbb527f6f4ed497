"""Backfills: what an operator changes for many users."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hark.doors.cli import queues
from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import BACKFILLS, Call, verb
from hark.doors.cli.output import Column, local
from hark.doors.cli.verbs import backfill_steering as steering
from hark.doors.cli.verbs.backfill_history import history
from hark.doors.cli.verbs.backfill_preferences import preferences
from hark.doors.cli.verbs.backfill_verify import verify
from hark.doors.cli.verbs.backfill_words import (
    LARGEST,
    Detach,
    Id,
    OutFile,
    Who,
    say,
    who_does_it,
    write_all,
)
from hark.errors import BadInput

if TYPE_CHECKING:
    from hark.backfill.cohort import ListFault
    from hark.backfill.failures import FailedBatch, Failure
    from hark.backfill.forgetting import Forgettable
    from hark.backfill.listing import Line, Member
    from hark.postgres.database import Database


def add_to(app: typer.Typer) -> None:
    """Hang the verbs into the command."""
    group = typer.Typer(help="Change much for many: plan, apply, verify, undo.", rich_markup_mode=None)
    first = "hark backfill preferences --reason app_shared --channels push --user-types Students --all --create-rows"
    examples = {
        "preferences": (preferences, first),
        "history": (history, "hark backfill history --ids bob,carol --lookback-days 365 --rate-limit 10"),
        "list": (show_all, "hark backfill list"),
        "show": (show, "hark backfill show 1"),
        "apply": (steering.apply, "hark backfill apply 1"),
        "approve": (steering.approve, "hark backfill approve 1 --as olga"),
        "pause": (steering.pause, "hark backfill pause 1"),
        "resume": (steering.resume, "hark backfill resume 1 --detach"),
        "cancel": (steering.cancel, "hark backfill cancel 1"),
        "speed": (steering.speed, 'hark backfill speed 1 --rate 500 --window "20:00-06:00 Europe/Berlin"'),
        "verify": (verify, "hark backfill verify 1"),
        "undo": (undo, "hark backfill undo 1"),
        "failures": (failures, "hark backfill failures 1"),
        "forget": (forget, "hark backfill forget 1"),
        "stop-all": (steering.stop_all, "hark backfill stop-all"),
    }
    for name, (function, example) in examples.items():
        verb(group, name, panel=BACKFILLS, example=example)(function)  # type: ignore[arg-type]
    app.add_typer(group, name="backfill", rich_help_panel=BACKFILLS)


async def show_all(
    call: Call,
    before: Annotated[
        int | None, typer.Option("--before", metavar="ID", min=1, max=LARGEST, help="Only those older than this one.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="At most so many.")] = 50,
) -> None:
    """List backfills, newest first."""
    from hark.backfill.listing import are_held, backfills
    from hark.doors.cli.backfill_pages import HELD

    async with call.session(size=1) as session:
        page = await backfills(session.database, before=before or LARGEST, limit=limit)
        held = await are_held(session.database)
        asked = await queues.ask(session.database, [line.id for line in page])
    call.output.table(page, _line_columns(), empty="there are no backfills")
    if held:
        call.output.note(HELD)
    for queue in asked:
        call.output.note(queue.line())


async def forget(
    call: Call,
    backfill: Annotated[
        int | None, typer.Argument(metavar="[BACKFILL]", min=1, max=LARGEST, help="Its number; else what is nobody's.")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Do so; else say what would be forgotten.")] = False,
    who: Who = None,
) -> None:
    """Forget who the users of an ended backfill were, and what they had; the counts stay.

    It cannot be verified, undone or applied again then. Without a number: cohorts that were staged a day ago or more
    for a backfill that was never asked for, because what staged them was killed.
    """
    from hark.backfill import forgetting

    async with call.session(size=1) as session:
        now = await session.database.now()
        if backfill is None:
            cohorts = await forgetting.ownerless(session.database, now=now)
            if apply:
                await forgetting.forget_ownerless(session.database, now=now)
            call.output.show(_Ownerless(apply, cohorts), [_of_nobody(len(cohorts), apply)])
            return
        found = await forgetting.forgettable(session.database, backfill)
        if apply:
            await forgetting.forget(session.database, backfill, who=who_does_it(who), now=now)
    call.output.show(_Forgotten(apply, found), [_of_one(found, apply)])


@dataclass(frozen=True, slots=True)
class _Ownerless:
    applied: bool
    cohorts: list[int]


@dataclass(frozen=True, slots=True)
class _Forgotten:
    applied: bool
    forgotten: Forgettable


def _of_nobody(cohorts: int, applied: bool) -> str:
    return f"{cohorts:,} cohorts that no backfill is of {'are' if applied else 'would be'} forgotten{_how(applied)}"


def _of_one(found: Forgettable, applied: bool) -> str:
    if found.forgotten and not (found.members or found.journaled or found.faults):
        return f"backfill {found.backfill} was forgotten before: nothing is left of who its users were"
    kept = "; its cohort stays, for another backfill is of it" if found.shared else ""
    also = f"{kept}{_outlived(found.outlived)}{_how(applied)}"
    return (
        f"of backfill {found.backfill}, {found.members:,} users of its plan, {found.journaled:,} of its journal and"
        f" {found.faults:,} bad rows {'are' if applied else 'would be'} forgotten{also}"
    )


def _outlived(backfills: tuple[int, ...]) -> str:
    """Of which it would not be known any more what came since."""
    if not backfills:
        return ""
    ones = f"backfill{'s' * bool(backfills[1:])} {' and '.join(map(str, backfills))}"
    return f"; {ones}, of the same reasons, can then not be undone: what came since is not known any more"


def _how(applied: bool) -> str:
    return "" if applied else "; nothing was changed, --apply does so"


async def show(
    call: Call,
    backfill: Id,
    outcome: Annotated[
        str | None,
        typer.Option("--outcome", metavar="OUTCOME", help="List the users with this outcome instead: malformed."),
    ] = None,
    faults: Annotated[
        bool, typer.Option("--faults", help="List the bad lines of its lists, and whom Hark does not know, instead.")
    ] = False,
    left: Annotated[
        bool, typer.Option("--left", help="With -o: write whom a load has not loaded, for --resume-from.")
    ] = False,
    after: Annotated[
        str | None, typer.Option("--after", metavar="ID", help="With --outcome: only users behind this id.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", metavar="N", min=1, max=100_000, help="With --outcome or --faults: at most so many; 50."
        ),
    ] = None,
    output: OutFile = None,
) -> None:
    """Show what was asked for and for whom, the plan, how far it is applied, what held it up, and who did what."""
    lists = {"--outcome": outcome is not None, "--faults": faults, "--left": left}
    _check_shown([name for name, said in lists.items() if said], after, limit, output)
    async with call.session(size=1) as session:
        if left and output is not None:
            await _left(call, session.database, backfill, output)
        elif faults:
            await _faults(call, session.database, backfill, limit or _PAGE, output)
        elif outcome is not None:
            await _members(call, session.database, backfill, outcome, _Page(after or "", limit or _PAGE, output))
        else:
            await say(call, session.database, backfill)


_PAGE = 50


def _check_shown(lists: list[str], after: str | None, limit: int | None, output: Path | None) -> None:
    """What is asked to be listed is one thing, and what is said of its pages has a meaning.

    Raises:
        BadInput: all of which that is not so.
    """
    faults = []
    if len(lists) > 1:
        faults.append(f"{' and '.join(lists)} do not go together; list one after the other")
    if output is not None and not lists:
        faults.append("-o: say what to write: --outcome OUTCOME, --faults or --left")
    if lists == ["--left"] and output is None:
        faults.append("--left: say where to write them: -o FILE")
    if after is not None and (output is not None or lists != ["--outcome"]):
        faults.append("--after: is of a page of --outcome; leave it out")
    if limit is not None and (output is not None or not lists or "--left" in lists):
        faults.append("--limit: is of a page of --outcome or --faults; leave it out: -o writes all of it")
    if faults:
        raise BadInput("\n".join(faults))


@dataclass(frozen=True, slots=True)
class _Page:
    """Which users of many, or all of them in a file."""

    after: str
    limit: int
    output: Path | None


async def _faults(call: Call, database: Database, backfill: int, limit: int, output: Path | None) -> None:
    from hark.backfill import control
    from hark.backfill.cohort import export_faults, faults_of

    cohort = (await control.remembered(database, backfill)).cohort_id
    if cohort is None:
        raise BadInput(f"the lists of backfill {backfill} are not read yet; look again when it is planned")
    if output is not None:
        await write_all(call, output, export_faults(database, cohort, output))
        return
    first: list[ListFault] = []
    async for page in faults_of(database, cohort):
        first += page
        if len(first) >= limit:
            break
    call.output.table(first[:limit], _fault_columns(), empty="nothing is wrong with its lists")


async def _left(call: Call, database: Database, backfill: int, output: Path) -> None:
    from hark.backfill import control
    from hark.backfill.kinds.history import export_left, load_of

    await control.remembered(database, backfill)
    if await load_of(database, backfill) is None:
        raise BadInput(
            f"--left: backfill {backfill} is no load of purchases; hark backfill failures {backfill} has whom it left"
        )
    await write_all(call, output, export_left(database, backfill, output))


async def _members(call: Call, database: Database, backfill: int, outcome: str, page: _Page) -> None:
    from hark.backfill.control import remembered
    from hark.backfill.listing import counts, export_members, members
    from hark.doors.cli import backfill_pages as pages

    await remembered(database, backfill)
    pages.check_outcome(await counts(database, backfill), outcome)
    if page.output is not None:
        await write_all(call, page.output, export_members(database, backfill, outcome, page.output))
        return
    found = await members(database, backfill, outcome, after=page.after, limit=page.limit)
    call.output.table(found, _member_columns(), empty="no such users")


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
        number = await take_back(at.database, backfill, who=who_does_it(who), now=at.clock.now(), approval_over=over)
        call.go_on = pages.planned_by(number)
        plan = await backfilling.plan(at, number)
        if at.stop.event.is_set():
            return at.stop.end(call)
        if not apply_now or not backfilling.is_good(plan):
            call.output.show(plan, pages.plan(plan, None))
            return ExitCode.DONE if backfilling.is_good(plan) else ExitCode.NOT_GOOD
        code = await backfilling.start(at, number, who_does_it(who), plan.head.hash, detach=detach)
        await say(call, at.database, number)
        return code


async def failures(
    call: Call,
    backfill: Id,
    retry: Annotated[bool, typer.Option("--retry", help="Apply what was quarantined again, and only that.")] = False,
    after: Annotated[str, typer.Option("--after", metavar="ID", help="Only users behind this id.")] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="At most so many.")] = 50,
    output: OutFile = None,
    detach: Detach = False,
    who: Who = None,
) -> ExitCode:
    """List whom the plan meant to change and who was not: drifted or quarantined, and why."""
    from hark.backfill import failures as failing
    from hark.doors.cli import backfilling

    if retry and output is not None:
        raise BadInput("--retry and -o do not go together; write them first, then retry")
    if not retry:
        async with call.session(size=1) as session:
            if output is not None:
                await write_all(call, output, failing.export_failures(session.database, backfill, output))
                return ExitCode.DONE
            page = await failing.failures(session.database, backfill, after=after, limit=limit)
            given_up = await failing.failed_batches(session.database, backfill)
        call.output.table(page, _failure_columns(), empty="nobody failed")
        _note_batches(call, given_up)
        return ExitCode.DONE
    async with backfilling.bench(call) as at:
        users = await failing.retry_failures(at.database, backfill, who=who_does_it(who), now=at.clock.now())
        call.output.note(f"{users:,} users are applied again")
        code = await backfilling.take_part(at, backfill, detach=detach)
        await say(call, at.database, backfill)
        return code


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
        Column("outcome", lambda member: member.said),
    ]


def _fault_columns() -> list[Column[ListFault]]:
    return [
        Column("list", lambda fault: fault.list),
        Column("line", lambda fault: fault.line, right=True),
        Column("what", lambda fault: fault.what),
        Column("text", lambda fault: fault.text),
    ]


def _failure_columns() -> list[Column[Failure]]:
    return [
        Column("user", lambda failure: failure.recipient_id),
        Column("batch", lambda failure: failure.batch, right=True),
        Column("outcome", lambda failure: failure.outcome),
        Column("at", lambda failure: local(failure.at)),
        Column("why", lambda failure: failure.why or ""),
    ]
