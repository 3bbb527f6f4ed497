"""Backfills: looked at, approved, applied, steered, verified and undone, as at the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated

from fastapi import Body as Sent
from fastapi import Query
from fastapi.exceptions import RequestValidationError

from hark.access.audit import Act
from hark.access.keys import Scope
from hark.backfill.control import HasEnded
from hark.backfill.failures import Failure
from hark.backfill.listing import Line
from hark.doors.api.backfills import Astray, Backfills, Shown, Verified
from hark.doors.api.door import Door, Visit, Visiting, guarded
from hark.doors.api.fields import LARGEST, Number
from hark.doors.api.pages import Page
from hark.doors.api.problems import ApiFault, Kind, Refusal, bad_input, refusal, responses
from hark.doors.api.routes.backfill_bodies import (
    ANY_PLAN,
    Applying,
    HowMany,
    Speed,
    Switch,
    Switched,
    Which,
    WhichAstray,
    WhichFailures,
    fault_of_body,
    faults_of_speed,
    speed_of_body,
)
from hark.doors.api.routes.backfill_visits import BRIEF, backfills_of, found_one, noted
from hark.doors.api.sound import places, without
from hark.errors import BadInput, HarkError

_STEERED = responses(
    HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, s409="Not as it stands now: `detail` says what to do instead."
)


async def _rest_of_speed(_door: Door, error: RequestValidationError) -> list[ApiFault]:
    """What is wrong with the sound part of a change of pace that has faults."""
    if not isinstance(error.body, Mapping):
        return []
    sound = without(error.body, places(error.errors(), whole=()))
    return faults_of_speed(Speed.model_validate(sound))


router = guarded(Scope.BACKFILL, "backfills", {"speed": _rest_of_speed})


@router.post("/admin/backfill/stop-all")
async def stop_all(visit: Visiting, switch: Annotated[Switch, Sent(examples=[{"stopped": True}])]) -> Switched:
    """Hold all backfills at once, or let them go on. When this returns, none that is held is writing anything."""
    await visit.note(visit.database, Act.BACKFILL_STOP_ALL, "all backfills", {"stopped": switch.stopped})
    turned = await backfills_of(visit).stop_all(visit.caller.name, stopped=switch.stopped)
    return Switched(stopped=switch.stopped, turned=turned)


@router.get("/admin/backfill")
async def listed(visit: Visiting, which: Annotated[Which, Query()]) -> Page[Line]:
    """List backfills, newest first."""
    page = await backfills_of(visit).list(before=which.before or LARGEST, limit=which.limit)
    return Page(items=[*page], next=page[-1].id if len(page) == which.limit else None)


@router.get("/admin/backfill/{number:segment}", responses=responses(HTTPStatus.NOT_FOUND))
async def show(visit: Visiting, number: Number) -> Shown:
    """One backfill: its plan, how far it is, what held it up."""
    return await found_one(visit, number)


@router.get("/admin/backfill/{number:segment}/failures", responses=_STEERED)
async def failures(visit: Visiting, number: Number, which: Annotated[WhichFailures, Query()]) -> Page[Failure]:
    """List whom the plan meant to change and who was not: drifted or quarantined, and why."""
    await found_one(visit, number)
    try:
        page = await backfills_of(visit).failures(number, after=which.after, limit=which.limit)
    except BadInput as error:
        raise refusal(Kind.NOT_NOW, HTTPStatus.CONFLICT, str(error)) from None
    return Page(items=[*page], next=page[-1].recipient_id if len(page) == which.limit else None)


@router.post("/admin/backfill/{number:segment}/approve", responses=_STEERED)
async def approve(visit: Visiting, number: Number) -> Shown:
    """Agree to a plan; with another key than the one that asked for it."""
    async with _steering(visit, number, Act.BACKFILL_APPROVE) as backfills:
        if (await found_one(visit, number)).head.created_by == visit.caller.name:
            detail = f"backfill {number} was planned with the key {visit.caller.name}: another one must approve it"
            raise refusal(Kind.NO_SCOPE, HTTPStatus.FORBIDDEN, detail)
        return await backfills.approve(number, visit.caller.name)


@router.post("/admin/backfill/{number:segment}/apply", responses=_STEERED, status_code=HTTPStatus.ACCEPTED)
async def apply(visit: Visiting, number: Number, applying: Applying = ANY_PLAN) -> Shown:
    """Let workers apply the plan, exactly as it was shown."""
    async with _steering(visit, number, Act.BACKFILL_APPLY) as backfills:
        return await backfills.apply(number, visit.caller.name, applying.hash)


@router.post("/admin/backfill/{number:segment}/pause", responses=_STEERED)
async def pause(visit: Visiting, number: Number) -> Shown:
    """Stop after the batches under way: when this returns, nothing is being written."""
    async with _steering(visit, number, Act.BACKFILL_PAUSE) as backfills:
        return await backfills.pause(number, visit.caller.name)


@router.post("/admin/backfill/{number:segment}/resume", responses=_STEERED)
async def resume(visit: Visiting, number: Number) -> Shown:
    """Go on where it was paused."""
    async with _steering(visit, number, Act.BACKFILL_RESUME) as backfills:
        return await backfills.resume(number, visit.caller.name)


@router.post("/admin/backfill/{number:segment}/cancel", responses=_STEERED)
async def cancel(visit: Visiting, number: Number) -> Shown:
    """Call it off. What was applied stays, and can be undone."""
    async with _steering(visit, number, Act.BACKFILL_CANCEL) as backfills:
        return await backfills.cancel(number, visit.caller.name)


@router.post("/admin/backfill/{number:segment}/speed", responses=_STEERED)
async def speed(
    visit: Visiting, number: Number, speed: Annotated[Speed, Sent(examples=[{"rate": 500, "adaptive": True}])]
) -> Shown:
    """Change how fast and when, also while it runs; what is left out stays as it is."""
    await found_one(visit, number)
    told = speed.model_dump(exclude_unset=True)
    try:
        if not told:
            raise BadInput("body: names nothing that is to be different; send rate, adaptive or window")
        done = await backfills_of(visit).speed(number, speed_of_body(speed), visit.caller.name)
    except BadInput as error:
        await noted(visit, number, Act.BACKFILL_SPEED, {**told, "refused": str(error)[:BRIEF]})
        if isinstance(error, HasEnded):
            raise refusal(Kind.NOT_NOW, HTTPStatus.CONFLICT, str(error)) from None
        raise bad_input([fault_of_body(line) for line in str(error).splitlines()]) from None
    await noted(visit, number, Act.BACKFILL_SPEED, told)
    return done


@router.post("/admin/backfill/{number:segment}/retry", responses=_STEERED, status_code=HTTPStatus.ACCEPTED)
async def retry(visit: Visiting, number: Number) -> Shown:
    """Apply what failed once more, and only that."""
    async with _steering(visit, number, Act.BACKFILL_RETRY) as backfills:
        return await backfills.retry(number, visit.caller.name)


@router.post("/admin/backfill/{number:segment}/verify", responses=_STEERED)
async def verify(visit: Visiting, number: Number, many: Annotated[HowMany, Query()]) -> Verified:
    """Read the cohort again: how many hold, and the first that do not, with why. Takes as long as the reading does.

    The unexplained are named before the others. All of them, in pages, has `GET …/astray`.
    """
    async with _steering(visit, number, Act.BACKFILL_VERIFY) as backfills:
        return await backfills.verify(number, visit.caller.name, shown=many.limit)


@router.get("/admin/backfill/{number:segment}/astray", responses=_STEERED)
async def astray(visit: Visiting, number: Number, which: Annotated[WhichAstray, Query()]) -> Page[Astray]:
    """List each user for whom it does not hold just now, with why. Nothing is kept: to verify it, `POST …/verify`."""
    await found_one(visit, number)
    try:
        page = await backfills_of(visit).astray(
            number, after=which.after, limit=which.limit, unexplained=which.unexplained
        )
    except BadInput as error:
        raise refusal(Kind.NOT_NOW, HTTPStatus.CONFLICT, str(error)) from None
    return Page(items=[*page], next=page[-1].recipient_id if len(page) == which.limit else None)


@router.post("/admin/backfill/{number:segment}/undo", responses=_STEERED, status_code=HTTPStatus.ACCEPTED)
async def undo(visit: Visiting, number: Number) -> Shown:
    """Plan to take back what it did and nobody changed since. The answer is the backfill that will, once applied."""
    async with _steering(visit, number, Act.BACKFILL_UNDO) as backfills:
        return await backfills.undo(number, visit.caller.name)


@asynccontextmanager
async def _steering(visit: Visit, number: int, what: Act) -> AsyncIterator[Backfills]:
    """Steer a backfill that is there; what cannot be done to it as it stands is a conflict."""
    await found_one(visit, number)
    refused: dict[str, object] = {}
    try:
        yield backfills_of(visit)
    except BadInput as error:
        refused = {"refused": str(error)[:BRIEF]}
        raise refusal(Kind.NOT_NOW, HTTPStatus.CONFLICT, str(error)) from None
    except Exception as error:
        refused = {"refused": str(error)[:BRIEF] if isinstance(error, Refusal | HarkError) else type(error).__name__}
        raise
    finally:
        await noted(visit, number, what, refused)
