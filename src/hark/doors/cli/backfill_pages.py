"""Backfills in lines for people: a plan, how far it is, what reading it again found."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hark.backfill.cohort import Staged
from hark.backfill.kinds.history import HISTORY
from hark.backfill.listing import Count, Estimate, Sample, Shown
from hark.backfill.states import ENDED, State
from hark.catalogue.wording import no_such
from hark.doors.cli.output import local, printable
from hark.doors.cli.queues import Asked
from hark.errors import BadInput, Fault
from hark.history.loading.course import SAID, Stage

if TYPE_CHECKING:
    from hark.backfill.verify import Verified
    from hark.history.audit.loads import AtSources

HELD = "all backfills are held; hark backfill stop-all --release lets them go on"

_FAULTS = 10
_UNKNOWN = re.compile(r"(.+): no such user")
_COLUMN = re.compile(r"(user|recipient|customer|member|account|student|uu|u)?[ _-]?(id|name|e?mail)?s?", re.IGNORECASE)

_SAID = {
    "append": "get them behind what they chose",
    "create": "chose nothing: get their type's defaults, and them",
    "unchanged": "have them: not touched",
    "no_default": "skipped: no default for their type",
    "malformed": "malformed: never touched (--outcome malformed lists them)",
    "no_row": "no row: not touched without --create-rows",
    "other_type": "not of these types any more: not touched",
    "unknown": "unknown by now: not touched",
    "restore": "get back what they had",
    "changed_since": "have chosen since, or were written behind Hark: not touched",
    "backfilled_since": "another backfill changed it since: not touched",
    "load": "are asked for, and what they bought is recorded",
    "recent": "were loaded within 7 days: left alone (--force loads them, too)",
    "undo": "lose what only that run had said of them",
}


def plan(seen: Shown, staged: Staged | None) -> Iterator[str]:
    """A plan, before anything was changed."""
    if staged is not None:
        yield from _cohort(staged)
    yield from _head(seen)
    yield from _counts(seen)
    yield from _samples(seen.samples)
    if seen.estimate is not None:
        yield from _estimate(seen.estimate)
    yield ""
    yield from (f"WARN {each}" for each in seen.warnings)
    yield _next(seen)


def shown(seen: Shown) -> Iterator[str]:
    """All there is to see of one."""
    if seen.cohort is not None:
        yield from _cohort(seen.cohort)
    yield from _head(seen)
    yield from _counts(seen)
    yield from _samples(seen.samples)
    if seen.estimate is not None and seen.totals.left and State(seen.head.state) not in ENDED:
        yield from _estimate(seen.estimate)
    yield from _far(seen)
    yield from _more(seen.more)
    yield ""
    for each in reversed(seen.events):
        move = f"{each.from_state or ''} → {each.to_state}" if each.to_state else each.what
        yield f"{local(each.at)}  {each.who:<12}  {move}  {each.detail}".rstrip()
    yield ""
    yield _next(seen)


def verified(seen: Verified) -> Iterator[str]:
    """What reading the cohort again found."""
    yield f"{seen.compared:,} compared, {seen.holding:,} hold, {seen.explained + seen.unexplained:,} do not"
    if seen.undone_by:
        last = seen.undone_by[-1]
        yield f"undone by {_and(seen.undone_by)}; hark backfill verify {last} says whether all of that holds"
    for why, users in sorted(seen.whys.items(), key=lambda each: (each[0] == "others", -each[1])):
        yield f"  {users:>10,}  {why}"
    for each in seen.astray:
        yield f"  {each.recipient_id}  {'' if each.explained else 'UNEXPLAINED: '}{each.why}"
    yield "" if seen.good else "nothing was compared" if not seen.compared else "not all of it is explained"


def at_sources(seen: AtSources) -> Iterator[str]:
    """What came of asking a load's sources again."""
    yield f"{seen.asked:,} users asked for at the sources"
    for check in seen.checks:
        if check.count:
            yield f"  {check.count:>10,}  {check.name}: {check.mend}"
        for example in check.examples:
            yield f"  {example.id}  {example.cause}"
    yield "" if seen.good else "nobody was asked for" if not seen.asked else "facts and sources do not agree"


def _cohort(staged: Staged) -> Iterator[str]:
    yield f"cohort {staged.cohort_id}: {staged.cohort}"
    found = {
        "duplicates": staged.duplicates,
        "unknown": staged.unknown,
        "of other types": staged.other_types,
        "left out": staged.excluded,
        "unknown to leave out": staged.excluded_unknown,
        "bad lines": staged.bad,
    }
    counts = "".join(f", {count:,} {what}" for what, count in found.items() if count)
    yield f"  {staged.members:,} users{counts}"
    for warning in staged.warnings:
        yield f"  warning: {warning}"
    for fault in staged.faults[:_FAULTS]:
        yield f"  {fault.where}:{fault.line}  {fault.what}{_hint(fault)}"
    more = staged.bad + staged.unknown + staged.excluded_unknown - len(staged.faults[:_FAULTS])
    if more > 0 and staged.faults:
        yield f"  … and {more:,} more"
    yield from _strange(staged)
    yield ""


def _strange(staged: Staged) -> Iterator[str]:
    """Why nobody at all is known, where the rows look like more than ids."""
    named = [found[1] for fault in staged.faults if (found := _UNKNOWN.fullmatch(fault.what))]
    if staged.members or not named:
        return
    if all(each[0] in "{[" for each in named):
        yield "  these rows look like JSON, which is not read: write an id a line, or CSV"
    elif all(len(each) > 1 and each[0] == each[-1] and each[0] in "\"'`" for each in named):
        yield "  the quotation marks are taken for parts of the ids: leave them out"


def _hint(fault: Fault) -> str:
    """Of a first line that names nobody, but may well be the name of a column."""
    if fault.line != 1 or (found := _UNKNOWN.match(fault.what)) is None or not _COLUMN.fullmatch(found[1]):
        return ""
    return f"; if that is the name of a column, write --column {found[1]}"


def _head(seen: Shown) -> Iterator[str]:
    head, undoes = seen.head, f", undoes {seen.head.undoes}" if seen.head.undoes else ""
    undone = f", undone by {', '.join(map(str, head.undone_by))}" if head.undone_by else ""
    yield f"backfill {head.id} ({head.kind}{undoes}{undone}) is {head.state}{f': {head.why}' if head.why else ''}"
    if head.hash:
        yield f"  plan {head.hash}"
    if asked := _asked(head.request):
        yield f"  asked for: {asked}"
    pace = [
        f"{head.rate:g} users/s" if head.rate else "as fast as the database bears" if head.adaptive else "full speed",
        *([head.window] if head.window else []),
    ]
    far = seen.totals
    yield f"  {far.members:,} users in {far.batches:,} batches of {head.batch_size:,}; {', '.join(pace)}"
    yield f"  {far.to_change:,} to change"


def _asked(request: Mapping[str, object]) -> str:
    """What a kind keeps of what was asked for, as far as it is names, or yes."""
    said = []
    for name, value in request.items():
        if isinstance(value, list) and value:
            said.append(f"{name.replace('_', ' ')} {', '.join(map(str, value))}")
        elif value is True:
            said.append(name.replace("_", " "))
    return "; ".join(said)


def check_outcome(seen: Iterable[Count], outcome: str) -> None:
    """Whether users may have this outcome.

    Args:
        seen: the counts of the plan; whatever is in it is one.

    Raises:
        BadInput: it is none.
    """
    known = {*_SAID, *(each.outcome for each in seen)}
    if outcome not in known:
        raise BadInput(f'--outcome: "{printable(outcome)}": {no_such("outcome", outcome, sorted(known))}')


def _counts(seen: Shown) -> Iterator[str]:
    if seen.counts:
        yield ""
    subjects = max((len(each.subject) for each in seen.counts), default=0)
    types = max((len(each.user_type or "-") for each in seen.counts), default=0)
    for each in seen.counts:
        said = _SAID.get(each.outcome, each.outcome)
        yield f"  {each.subject:<{subjects}}  {each.user_type or '-':<{types}}  {each.users:>12,}  {said}"


def _samples(samples: Sequence[Sample]) -> Iterator[str]:
    changing = [each for each in samples if each.after is not None or each.before is not None]
    if changing:
        yield ""
        yield "for instance"
    for each in changing:
        yield f"  {each.recipient_id}  {_brief(each.before)} → {_brief(each.after)}"


def _brief(choices: object) -> str:
    return "no row" if choices is None else json.dumps(choices, ensure_ascii=False)


def _estimate(cost: Estimate) -> Iterator[str]:
    low, high = (timedelta(seconds=round(seconds)) for seconds in (cost.low, cost.high))
    yield ""
    if not cost.rows_locked:
        about = f"{low}, by the rate" if low == high else f"{low}, by the rate, to {high}, as it went of late"
        yield f"will take about {about}: longer where users have many pages, or sources ask to wait"
        return
    yield (
        f"will take about {low} to {high}, write {cost.wal_bytes / 1e6:,.1f} MB of WAL, and lock"
        f" {cost.rows_locked:,} rows at a time for {cost.locked_seconds * 1000:,.0f} ms (one batch was rehearsed)"
    )


def _far(seen: Shown) -> Iterator[str]:
    far = seen.totals
    if not (far.applied or far.through or far.drifted or far.quarantined or seen.waited):
        return
    through = f"{far.through:,} loaded in batches that are not done yet, " if far.through else ""
    yield ""
    yield (
        f"{far.applied:,} applied, {through}{far.drifted:,} drifted, {far.quarantined:,} quarantined,"
        f" {far.left:,} left; {far.batches_done:,} of {far.batches:,} batches done"
    )
    if seen.head.compared is not None:
        yield f"read again: {seen.head.holding:,} of {seen.head.compared:,} hold"
    if seen.waited:
        yield "waited " + ", ".join(f"{each.seconds:,.1f} s for {each.why}" for each in seen.waited)


def _more(course: Mapping[str, Any] | None) -> Iterator[str]:
    """Of a load: its stage, whom it waits for, its steps."""
    if course is None or not course.keys() & {"stage", "queue"}:
        return
    yield ""
    if "stage" in course:
        yield f"{course['stage']}: {SAID[Stage(course['stage'])]}"
        if course["waits_for"]:
            yield f"waits for {course['waits_for']}"
        yield f"steps: {course['done']:,} done, {course['waiting']:,} waiting, {course['quarantined']:,} quarantined"
    if "queue" in course:
        yield Asked(**course["queue"]).line()


def _and(numbers: Sequence[int]) -> str:
    return " and ".join(map(str, numbers))


def _nothing(seen: Shown) -> str:
    """Why a plan would change nothing."""
    if (users := _let_in(seen)) and seen.head.undoes is not None:
        return (
            f"backfill {seen.head.undoes} loaded nobody, but {users:,} users are let in by it; next: hark backfill"
            f" apply {seen.head.id} lets them out"
        )
    if seen.head.undoes is not None:
        return f"nothing is left to take back of backfill {seen.head.undoes}: there is nothing to apply"
    if seen.totals.members:
        return "nothing is to be changed: there is nothing to apply"
    if seen.cohort is not None and seen.cohort.rows:
        return f"of {seen.cohort.rows:,} rows none names a user who is meant: there is nothing to apply"
    return "its list was empty, which means nobody: there is nothing to apply"


def _next(seen: Shown) -> str:
    number, state, undone_by = seen.head.id, State(seen.head.state), seen.head.undone_by
    if seen.head.forgotten_at is not None:
        return "who its users were is forgotten: it can be neither verified, undone nor applied again; plan a new one"
    if state in (State.PLANNED, State.APPROVED) and not seen.totals.to_change:
        return _nothing(seen)
    if state in (State.APPLIED, State.VERIFIED, State.CANCELED) and not _did(seen):
        idle = seen.head.undoes is not None and not seen.totals.to_change and not _let_in(seen)
        look = f"next: {_failed(seen)}hark backfill verify {number}; " if state is State.APPLIED and not idle else ""
        return f"{look}it changed nothing, so there is nothing to take back"
    if state in ENDED and undone_by:
        return f"undone by {_and(undone_by)}; hark backfill show {undone_by[-1]} says what it did"
    return _next_in(state, number, seen)


def _failed(seen: Shown) -> str:
    """Where those are told of who were to be changed and could not be."""
    return f"hark backfill failures {seen.head.id} says who failed; " if seen.totals.quarantined else ""


def _did(seen: Shown) -> bool:
    """Whether it changed anything; a load lets users in, and its steps are done, before its batches are."""
    return bool(seen.totals.applied or (seen.more or {}).get("done") or (_let_in(seen) and seen.head.undoes is None))


def _let_in(seen: Shown) -> int:
    """How many are in by the segment of a load, or of the one that it takes back."""
    return int((seen.more or {}).get("let_in", 0))


def planned_by(number: int) -> str:
    """How what is not planned yet comes to be so; the same wherever it is said."""
    return f"hark backfill apply {number} plans it; or wait for a worker, and hark backfill show {number}"


def _held(seen: Shown) -> str:
    """What comes first, where all backfills are held."""
    return "held with all; next: hark backfill stop-all --release, then " if seen.head.held_with_all else "next: "


def _next_in(state: State, number: int, seen: Shown) -> str:
    match state:
        case State.PLANNING:
            return f"{_held(seen)}{planned_by(number)}"
        case State.PLANNED if seen.needs_approval:
            return f"next: another person than {seen.head.created_by} runs hark backfill approve {number}"
        case State.PLANNED | State.APPROVED:
            return f"nothing was changed; {_held(seen)}hark backfill apply {number}"
        case State.APPLYING:
            return f"{_held(seen)}hark backfill show {number} again; hark backfill pause {number} holds it"
        case State.PAUSED:
            return f"{_held(seen)}hark backfill resume {number}"
        case State.APPLIED:
            return f"next: {_failed(seen)}hark backfill verify {number}; {_undo(seen, 'it back')}"
        case State.FAILED:
            return f"next: hark backfill failures {number}"
        case State.VERIFIED | State.CANCELED:
            return _undo(seen, "back what it did")


def _undo(seen: Shown, what: str) -> str:
    """How to take back what it did. An undo of a load is not undone: the sources have what it took back."""
    if seen.head.undoes is not None and seen.head.kind == HISTORY.name:
        return "a new load of the same users brings again what it took back: hark backfill history"
    if since := seen.head.forgotten_since:
        return f"it cannot be undone any more: what backfill {_and(since)} changed since is forgotten"
    return f"hark backfill undo {seen.head.id} takes {what}"
