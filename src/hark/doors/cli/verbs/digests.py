"""Digests: list them, when the next one comes, prove what they cover."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import WHO, Call, verb
from hark.doors.cli.output import Column, local
from hark.errors import BadInput

if TYPE_CHECKING:
    from hark.digests.coverage import Compared, CoverageFault, Standing
    from hark.digests.pruning import Pruned
    from hark.digests.shown import DigestLine, NextDigest


class Shown(StrEnum):
    """Which digests to list."""

    OPEN = "open"
    SENT = "sent"
    CANCELED = "canceled"

    @property
    def states(self) -> tuple[str, ...]:
        """The states of such a digest's delivery."""
        return ("PENDING", "SENDING") if self is Shown.OPEN else (self.upper(),)


@dataclass(frozen=True, slots=True)
class _Verified:
    good: bool
    faults: int
    compared: Compared


@dataclass(frozen=True, slots=True)
class _Rebased:
    applied: bool
    standing: Standing


@dataclass(frozen=True, slots=True)
class _Pruned:
    applied: bool
    before: datetime
    pruned: Pruned


SHORTEST_KEPT = timedelta(days=1)
"""Digests younger than this are not pruned, whatever is asked."""

_NAMED = 5
"""How many of the items that a digest left out a table names."""

User = Annotated[str | None, typer.Option("--user", metavar="USER", help="Only this recipient's.")]


def add_to(app: typer.Typer) -> None:
    """Hang the verbs into the command."""
    group = typer.Typer(help="What feeds made of a morning: list, foretell, prove.", rich_markup_mode=None)
    verb(group, "list", panel=WHO, example="hark digests list --state open")(show)
    verb(group, "next", panel=WHO, example="hark digests next bob")(foretell)
    verb(group, "verify", panel=WHO, example="hark digests verify")(verify)
    verb(group, "prune", panel=WHO, example="hark digests prune --older 90d")(prune)
    verb(group, "rebase", panel=WHO, example="hark digests rebase")(rebase)
    app.add_typer(group, name="digests", rich_help_panel=WHO)


async def show(
    call: Call,
    user: User = None,
    reason: Annotated[str | None, typer.Option("--reason", metavar="REASON", help="Only of this reason.")] = None,
    state: Annotated[
        Shown | None, typer.Option("--state", metavar="STATE", help="Only open, sent or canceled ones.")
    ] = None,
    before: Annotated[
        str | None, typer.Option("--before", metavar="TIME", help="Only those planned up to then: the next page.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=10_000, help="At most so many.")] = 50,
) -> None:
    """List digests, newest first: what each covers, what became of it, and what its recheck left out."""
    until = _moment(before)
    async with call.session(size=1) as session:
        from hark.digests.shown import listed

        states = state.states if state else None
        lines = await listed(session.database, recipient=user, reason=reason, states=states, before=until, limit=limit)
    call.output.table(lines, _columns(), empty="no such digests")


async def foretell(
    call: Call,
    user: Annotated[str, typer.Argument(metavar="USER", help="The recipient's id.")],
) -> None:
    """When a user's next digests come, and of what is new since when; or why none will.

    One is sent only if there is something new by then.
    """
    async with call.session(size=1) as session:
        from hark.digests.shown import next_digests

        now = await session.database.now()
        found = await next_digests(session.database, user, now, call.settings.digest_lead)
    if found is None:
        raise BadInput(f"no recipient {user!r}; hark recipients list shows who is known")
    call.output.table(found, _next_columns(), empty="no reason of the catalogue has a feed, as far as planners know")


async def verify(call: Call) -> ExitCode:
    """Prove that each item was in exactly one sent digest: no gap, no overlap, nothing told twice, none left open.

    Exit code 1 when something is wrong, or when there is nothing to compare.
    """
    async with call.session(size=2) as session:
        from hark.digests import coverage

        counted = await coverage.compared(session.database)
        found = 0
        async for fault in coverage.faults(session.database, await session.database.now()):
            found += 1
            _say(call, fault)
    good = counted.sent > 0 and not found
    call.output.show(_Verified(good, found, counted), [_verdict(counted, found)])
    return ExitCode.DONE if good else ExitCode.NOT_GOOD


async def prune(
    call: Call,
    older: Annotated[
        str, typer.Option("--older", metavar="DURATION", help="Those that were planned longer ago, as 90d.")
    ] = "90d",
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without it, only show what would go.")] = False,
) -> None:
    """Remove old digests; what they covered stays covered, and messages stay as they are.

    The newest of each recipient and reason stays, and what lies within the feed's overlap before it: the next digest
    goes on from there. So does what is not sent or canceled yet.
    """
    age = _age(older)
    async with call.session(size=1) as session:
        from hark.digests import pruning

        before = await session.database.now() - age
        pruned = await pruning.prune(session.database, before, apply=apply)
    call.output.show(_Pruned(apply, before, pruned), [_what_went(pruned, older, apply)])


async def rebase(
    call: Call,
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without it, only show what would be.")] = False,
) -> None:
    """After a database was restored from a dump: begin what digests cover anew, here and now.

    What is new since each recipient's last digest, up to now, will be in none. Nothing else needs this.
    """
    async with call.session(size=1) as session:
        from hark.digests import coverage

        standing = await coverage.standing(session.database)
        if apply:
            await coverage.rebase(session.database, await session.database.now())
    call.output.show(_Rebased(apply, standing), _rebased(standing, apply))


def _say(call: Call, fault: CoverageFault) -> None:
    call.output.show(fault, [fault.sentence()])


def _verdict(counted: Compared, found: int) -> str:
    if not counted.sent:
        return f"nothing to compare: {counted.digests:,} digests, none of them sent"
    besides = f"{counted.canceled:,} canceled ones cover nothing"
    looked = f"{counted.sent:,} sent digests with {counted.keys:,} items compared ({besides})"
    return (
        f"{looked}: {found:,} faults" if found else f"{looked}: each begins where the one before ended, no item twice"
    )


def _moment(before: str | None) -> datetime | None:
    from hark.doors.cli.reading import moment

    return moment(before, "--before") if before else None


def _age(older: str) -> timedelta:
    from hark.doors.cli.reading import parsed
    from hark.durations import parse_duration

    age = parsed(older, parse_duration, "--older")
    assert age is not None
    if age < SHORTEST_KEPT:
        raise BadInput(f"--older: {older} is less than a day, and coverage goes on from there; write 90d")
    return age


def _what_went(pruned: Pruned, older: str, applied: bool) -> str:
    needed = pruned.old - pruned.needless
    if applied:
        return f"{pruned.needless:,} digests older than {older} removed; {needed:,} stay, for coverage needs them"
    more = "; --apply removes them" if pruned.needless else ""
    return f"{pruned.needless:,} digests older than {older} could go; {needed:,} stay, for coverage needs them{more}"


def _rebased(standing: Standing, applied: bool) -> list[str]:
    went = "went back" if standing.gone_back else "did not go back"
    lines = [
        f"transaction ids {went}: the newest moment knows of {standing.known_to}, the server is at {standing.now_at}"
    ]
    if applied:
        return [*lines, "what digests cover begins anew now"]
    if standing.gone_back:
        return [
            *lines,
            "planning is refused; hark digests rebase --apply begins anew now: what is new up to now is in no digest",
        ]
    return [*lines, "there is no need to rebase; --apply would leave what is new up to now out of every digest"]


def _columns() -> list[Column[DigestLine]]:
    return [
        Column("recipient", lambda line: line.recipient_id),
        Column("reason", lambda line: line.reason),
        Column("period", lambda line: line.period),
        Column("state", lambda line: line.state),
        Column("listed", lambda line: line.listed, right=True),
        Column("of", lambda line: line.total, right=True),
        Column("since", lambda line: local(line.since_at)),
        Column("until", lambda line: local(line.until_at)),
        Column("due", lambda line: local(line.due_at)),
        Column("delivery", lambda line: line.delivery_id, right=True),
        Column("", _remarks),
    ]


def _remarks(line: DigestLine) -> str:
    missed = f"{line.missed} mornings before it were missed" if line.missed else ""
    return "; ".join(each for each in (line.base or "", missed, line.why, _left_out(line)) if each)


def _left_out(line: DigestLine) -> str:
    if not line.left_out:
        return ""
    named = [f"{key} ({why})" for key, why in sorted(line.left_out.items())]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return f"left out: {', '.join(named[:_NAMED])}{more}"


def _next_columns() -> list[Column[NextDigest]]:
    return [
        Column("reason", lambda each: each.reason),
        Column("frequency", lambda each: each.frequency or ""),
        Column("next", lambda each: local(each.next_due) if each.comes else "none"),
        Column("since", lambda each: local(each.since_at) if each.comes else ""),
        Column("", _why),
    ]


def _why(each: NextDigest) -> str:
    if not each.comes:
        return each.why if each.email or each.reach == "ok" else f"{each.why}, {each.reach}"
    if each.open_delivery is not None:
        return f"delivery {each.open_delivery} holds one already; the next comes after it is sent or canceled"
    return "a planner has yet to see this morning" if each.next_due is None else "if there is something new"
