"""Backfills: planned, approved, applied, steered, verified and undone, as at the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import Body as Sent
from fastapi import Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Discriminator, Field, Tag, ValidationError

from hark.access.audit import Act
from hark.access.keys import Scope
from hark.backfill.control import HasEnded
from hark.backfill.failures import Failure
from hark.backfill.kinds.history import LOOK_BACK_DAYS, MOST_DAYS, MOST_RATE, RATE
from hark.backfill.listing import Line
from hark.catalogue.wording import quoted
from hark.doors.api.backfills import (
    Backfills,
    CohortAsked,
    LoadAsked,
    PaceAsked,
    PreferencesAsked,
    Shown,
    SpeedAsked,
    Verified,
)
from hark.doors.api.door import Door, Visit, Visiting, guarded
from hark.doors.api.fields import AT_ONCE, LARGEST, After, Before, Body, Flag, Limit, Name, Number, Text, Word
from hark.doors.api.pages import Page
from hark.doors.api.problems import ApiFault, Kind, Refusal, bad_input, not_found, refusal, responses
from hark.doors.api.sound import places, without
from hark.doors.api.wording import shape
from hark.errors import BadInput, HarkError

_STEERED = responses(
    HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, s409="Not as it stands now: `detail` says what to do instead."
)
_EXAMPLE = {
    "reasons": ["comment_reply"],
    "channels": ["email"],
    "user_types": ["Students"],
    "cohort": {"ids": ["bob", "carol"]},
    "rate": 2000,
    "window": "20:00-06:00 Europe/Berlin",
}

_OF_A_LIST = {
    "reasons": ["app_shared"],
    "channels": ["push", "in_app"],
    "user_types": ["Students", "Employers"],
    "cohort": {"urls": ["s3://cohorts/beta.csv"], "column": "user_id", "except_segments": ["opted-out"]},
    "create_rows": True,
    "batch_size": 500,
}

_LOADS = (
    {"user_ids": ["bob", "carol"], "rate_limit": 10, "lookback_days": 365},
    {"s3_uri": "s3://cohorts/beta.csv"},
    {"source": "neo4j"},
)

_BRIEF = 500
"""Characters of a refusal that the audit log keeps."""

_FIELDS = {
    "--reason": "body.reasons",
    "--channels": "body.channels",
    "--user-types": "body.user_types",
    "--batch-size": "body.batch_size",
    "--rate": "body.rate",
    "--window": "body.window",
    "cohort": "body.cohort",
    "body": "body",
}

Rate = Annotated[float | None, Field(strict=True, ge=0.001, le=10_000_000, allow_inf_nan=False)]


class Cohort(Body):
    """Whose: the union of all that is named, without all that is excepted."""

    everyone: Flag = Field(default=False, description="All users of the user types.")
    ids: list[Name] = Field(default=[], max_length=10_000, description="Users, one by one; more are an object.")
    urls: list[Text] = Field(default=[], max_length=AT_ONCE, description="Objects: s3://, gs:// or az://.")
    segments: list[Word] = Field(default=[], max_length=AT_ONCE, description="Saved segments, by name.")
    flags: list[Word] = Field(default=[], max_length=AT_ONCE, description="Whoever these flags let in.")
    except_ids: list[Name] = Field(default=[], max_length=10_000, description="But not these users.")
    except_urls: list[Text] = Field(default=[], max_length=AT_ONCE, description="Nor those in these objects.")
    except_segments: list[Word] = Field(default=[], max_length=AT_ONCE, description="Nor those in these segments.")
    column: Word | None = Field(default=None, description="Which column of the objects has the ids; left out: id.")
    format: Word | None = Field(default=None, description="csv, lines or parquet; left out: as it looks.")


class Pace(Body):
    """How fast and when."""

    rate: Rate = Field(
        default=None, description="Users a second, of all workers together; null: as the database bears."
    )
    adaptive: Flag = Field(default=True, description="Give way to live work, and to a database that grows slow.")
    window: Word | None = Field(default=None, description="The hours to work in, 20:00-06:00 Europe/Berlin; null: any.")


class Speed(Body):
    """What is to be different of how fast and when. What is left out stays as it is."""

    rate: Rate = Field(default=None, description="Users a second; null: no rate any more, as the database bears.")
    adaptive: Flag = Field(default=True, description="Give way to live work, and to a database that grows slow.")
    window: Word | None = Field(
        default=None, description="The hours to work in, 20:00-06:00 Europe/Berlin; null: no hours any more."
    )


class Asked(Pace):
    """A backfill to plan."""

    kind: Literal["preferences"] = Field(default="preferences", description="Of what kind.")
    reasons: list[Word] = Field(min_length=1, max_length=AT_ONCE, description="For these reasons.")
    channels: list[Word] = Field(min_length=1, max_length=AT_ONCE, description="To append; none is ever taken away.")
    user_types: list[Word] = Field(min_length=1, max_length=AT_ONCE, description="For users of these types only.")
    cohort: Cohort = Field(description="Whose preferences.")
    create_rows: Flag = Field(default=False, description="Also for users who never chose anything.")
    batch_size: int = Field(default=500, strict=True, ge=1, le=10_000, description="Users of one transaction.")


class AskedLoad(Body):
    """A load of what people bought. One of `user_ids`, `s3_uri` and `source` says whose."""

    kind: Literal["history"] = Field(default="history", description="Of what kind.")
    user_ids: list[Name] = Field(default=[], max_length=100_000, description="These users; more are an object.")
    s3_uri: Text | None = Field(default=None, description="Those in an object: s3://bucket/key, an id a line or CSV.")
    source: Literal["neo4j"] | None = Field(default=None, description="neo4j: everyone in the graph.")
    flag: Word | None = Field(
        default=None, description="Let them in by this flag first; null: they are let in already."
    )
    rate_limit: int = Field(
        default=RATE, strict=True, ge=1, le=MOST_RATE, description="Users, and requests to each source, a second."
    )
    lookback_days: int = Field(default=LOOK_BACK_DAYS, strict=True, ge=1, le=MOST_DAYS, description="How far back.")
    force: Flag = Field(default=False, description="Also who was loaded within 7 days.")


_ONLY_LOADS = ("user_ids", "s3_uri", "source", "lookback_days", "rate_limit", "flag", "force")


def _shape(sent: object) -> str:
    """Which of the two a body is, by its kind, or else by the names in it."""
    kind = sent.get("kind") if isinstance(sent, Mapping) else getattr(sent, "kind", None)
    named = isinstance(sent, Mapping) and any(name in sent for name in _ONLY_LOADS) and "reasons" not in sent
    return _LOAD if kind == "history" or (kind is None and named) else _PREFERENCES


_PREFERENCES, _LOAD = shape("Asked"), shape("AskedLoad")
Wanted = Annotated[Asked, Tag(_PREFERENCES)] | Annotated[AskedLoad, Tag(_LOAD)]


class Applying(Body):
    """Which plan to apply."""

    hash: Word | None = Field(default=None, description="Of the plan that was looked at; another one is refused.")


_ANY_PLAN = Applying()


class Switch(Body):
    """Whether all backfills are held."""

    stopped: Flag = Field(description="true: hold them all; false: let them go on.")


class Switched(BaseModel):
    """How the switch stands now, and whether it stood otherwise before."""

    stopped: bool
    turned: bool


class Which(Body):
    """Which backfills to list."""

    before: Before = None
    limit: Limit = 50


class WhichFailures(Body):
    """Which failures to list."""

    after: After = ""
    limit: Limit = 100


async def _rest(door: Door, error: RequestValidationError) -> list[ApiFault]:
    """What the engine would say of the sound part of a body of preferences that has faults."""
    if door.backfills is None or not isinstance(error.body, Mapping) or _shape(error.body) != _PREFERENCES:
        return []
    faulty = places(error.errors(), whole=("cohort",))
    sound = {name: value for name, value in without(error.body, faulty).items() if value != []}
    try:
        asked = Asked.model_validate({**_SOUND, **sound})
    except ValidationError:
        return []
    unknown = {f"body.{name}" for name in _SOUND if name not in sound}
    unknown |= {"body.cohort"} if any(place[0] == "cohort" for place in faulty) else set()
    told = [_of_body(line, asked.cohort) for line in await door.backfills.faults(_wanted(asked))]
    return [each for each in told if each.where not in unknown]


_SOUND: Mapping[str, object] = {"reasons": ["-"], "channels": ["-"], "user_types": ["-"], "cohort": {}}
"""Stands in for what is not sound; what the engine says of it is not told."""

router = guarded(Scope.BACKFILL, "backfills", {"create": _rest})


@router.post("/admin/backfill", status_code=HTTPStatus.ACCEPTED)
async def create(
    visit: Visiting,
    asked: Annotated[Wanted, Discriminator(_shape), Sent(examples=[_EXAMPLE, _OF_A_LIST, *_LOADS])],
) -> Shown:
    """Ask for a backfill. Of preferences, workers plan it: look at it until it is PLANNED; nothing is changed so far.

    A load of what people bought begins by itself once it is planned; `job_id` is its number.
    """
    return await (_load(visit, asked) if isinstance(asked, AskedLoad) else _preferences(visit, asked))


async def _load(visit: Visit, asked: AskedLoad) -> Shown:
    told = asked.model_dump(include={"rate_limit", "lookback_days", "flag", "source", "s3_uri"}, exclude_none=True)
    told |= {"user_ids": len(asked.user_ids)} if asked.user_ids else {}
    try:
        made = await _backfills(visit).load(_load_asked(asked), visit.caller.name)
    except BadInput as error:
        await visit.note(visit.database, Act.BACKFILL_CREATE, "no backfill", {**told, "refused": str(error)[:_BRIEF]})
        raise bad_input([_of_load(line) for line in str(error).splitlines()]) from None
    await _note(visit, made.head.id, Act.BACKFILL_CREATE, told)
    return made


def _load_asked(asked: AskedLoad) -> LoadAsked:
    """Whose: said once.

    Raises:
        BadInput: nobody is named, or several ways at once.
    """
    said = [name for name in ("user_ids", "s3_uri", "source") if getattr(asked, name)]
    if len(said) != 1:
        raise BadInput("cohort: say whose, by one of user_ids, s3_uri and source" + (f", not {said}" if said else ""))
    urls = (asked.s3_uri,) if asked.s3_uri else ()
    cohort = None if asked.source else CohortAsked(False, tuple(asked.user_ids), urls, (), (), (), (), (), None, None)
    return LoadAsked(cohort, asked.source is not None, asked.flag, asked.rate_limit, asked.lookback_days, asked.force)


def _of_load(line: str) -> ApiFault:
    option, _, what = line.partition(": ")
    where = {"--flag": "body.flag", "--rate-limit": "body.rate_limit", "--lookback-days": "body.lookback_days"}
    return ApiFault(where[option], what) if option in where else ApiFault("", line.removeprefix("cohort: "))


async def _preferences(visit: Visit, asked: Asked) -> Shown:
    told = {**asked.model_dump(include={"reasons", "channels", "user_types"}), "cohort": _in_short(asked.cohort)}
    try:
        made = await _backfills(visit).create(_wanted(asked), visit.caller.name)
    except BadInput as error:
        await visit.note(visit.database, Act.BACKFILL_CREATE, "no backfill", {**told, "refused": str(error)[:_BRIEF]})
        raise bad_input([_of_body(line, asked.cohort) for line in str(error).splitlines()]) from None
    await _note(visit, made.head.id, Act.BACKFILL_CREATE, told)
    return made


def _wanted(asked: Asked) -> PreferencesAsked:
    return PreferencesAsked(
        tuple(asked.reasons),
        tuple(asked.channels),
        tuple(asked.user_types),
        asked.create_rows,
        cohort_of_body(asked.cohort),
        asked.batch_size,
        _pace(asked),
    )


@router.post("/admin/backfill/stop-all")
async def stop_all(visit: Visiting, switch: Annotated[Switch, Sent(examples=[{"stopped": True}])]) -> Switched:
    """Hold all backfills at once, or let them go on. When this returns, none that is held is writing anything."""
    await visit.note(visit.database, Act.BACKFILL_STOP_ALL, "all backfills", {"stopped": switch.stopped})
    turned = await _backfills(visit).stop_all(visit.caller.name, stopped=switch.stopped)
    return Switched(stopped=switch.stopped, turned=turned)


@router.get("/admin/backfill")
async def listed(visit: Visiting, which: Annotated[Which, Query()]) -> Page[Line]:
    """List backfills, newest first."""
    page = await _backfills(visit).list(before=which.before or LARGEST, limit=which.limit)
    return Page(items=[*page], next=page[-1].id if len(page) == which.limit else None)


@router.get("/admin/backfill/{number:segment}", responses=responses(HTTPStatus.NOT_FOUND))
async def show(visit: Visiting, number: Number) -> Shown:
    """One backfill: its plan, how far it is, what held it up."""
    return await _found(visit, number)


@router.get("/admin/backfill/{number:segment}/failures", responses=responses(HTTPStatus.NOT_FOUND))
async def failures(visit: Visiting, number: Number, which: Annotated[WhichFailures, Query()]) -> Page[Failure]:
    """List whom the plan meant to change and who was not: drifted or quarantined, and why."""
    await _found(visit, number)
    page = await _backfills(visit).failures(number, after=which.after, limit=which.limit)
    return Page(items=[*page], next=page[-1].recipient_id if len(page) == which.limit else None)


@router.post("/admin/backfill/{number:segment}/approve", responses=_STEERED)
async def approve(visit: Visiting, number: Number) -> Shown:
    """Agree to a plan; with another key than the one that asked for it."""
    async with _steering(visit, number, Act.BACKFILL_APPROVE) as backfills:
        if (await _found(visit, number)).head.created_by == visit.caller.name:
            detail = f"backfill {number} was planned with the key {visit.caller.name}: another one must approve it"
            raise refusal(Kind.NO_SCOPE, HTTPStatus.FORBIDDEN, detail)
        return await backfills.approve(number, visit.caller.name)


@router.post("/admin/backfill/{number:segment}/apply", responses=_STEERED, status_code=HTTPStatus.ACCEPTED)
async def apply(visit: Visiting, number: Number, applying: Applying = _ANY_PLAN) -> Shown:
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
    await _found(visit, number)
    told = speed.model_dump(exclude_unset=True)
    try:
        if not told:
            raise BadInput("body: names nothing that is to be different; send rate, adaptive or window")
        done = await _backfills(visit).speed(number, _speed(speed), visit.caller.name)
    except BadInput as error:
        await _note(visit, number, Act.BACKFILL_SPEED, {**told, "refused": str(error)[:_BRIEF]})
        if isinstance(error, HasEnded):
            raise refusal(Kind.NOT_NOW, HTTPStatus.CONFLICT, str(error)) from None
        raise bad_input([_of_body(line, Cohort()) for line in str(error).splitlines()]) from None
    await _note(visit, number, Act.BACKFILL_SPEED, told)
    return done


@router.post("/admin/backfill/{number:segment}/retry", responses=_STEERED, status_code=HTTPStatus.ACCEPTED)
async def retry(visit: Visiting, number: Number) -> Shown:
    """Apply what failed once more, and only that."""
    async with _steering(visit, number, Act.BACKFILL_RETRY) as backfills:
        return await backfills.retry(number, visit.caller.name)


@router.post("/admin/backfill/{number:segment}/verify", responses=_STEERED)
async def verify(visit: Visiting, number: Number) -> Verified:
    """Read the cohort again: how many hold, and each that does not, with why. Takes as long as the reading does."""
    async with _steering(visit, number, Act.BACKFILL_VERIFY) as backfills:
        return await backfills.verify(number, visit.caller.name)


@router.post("/admin/backfill/{number:segment}/undo", responses=_STEERED, status_code=HTTPStatus.ACCEPTED)
async def undo(visit: Visiting, number: Number) -> Shown:
    """Plan to take back what it did and nobody changed since. The answer is the backfill that will, once applied."""
    async with _steering(visit, number, Act.BACKFILL_UNDO) as backfills:
        return await backfills.undo(number, visit.caller.name)


@asynccontextmanager
async def _steering(visit: Visit, number: int, what: Act) -> AsyncIterator[Backfills]:
    """Steer a backfill that is there; what cannot be done to it as it stands is a conflict."""
    await _found(visit, number)
    refused: dict[str, object] = {}
    try:
        yield _backfills(visit)
    except BadInput as error:
        refused = {"refused": str(error)[:_BRIEF]}
        raise refusal(Kind.NOT_NOW, HTTPStatus.CONFLICT, str(error)) from None
    except Exception as error:
        refused = {"refused": str(error)[:_BRIEF] if isinstance(error, Refusal | HarkError) else type(error).__name__}
        raise
    finally:
        await _note(visit, number, what, refused)


def _of_body(line: str, cohort: Cohort) -> ApiFault:
    """A fault of the engine's, which speaks of options and URLs, by the field that it is of."""
    option, _, what = line.partition(": ")
    if where := _FIELDS.get(option.partition(".")[0]):
        return ApiFault(where, what)
    for name in ("urls", "except_urls", "segments", "except_segments", "flags"):
        for place, each in enumerate(getattr(cohort, name)):
            if line.startswith(quoted(each)):
                return ApiFault(f"body.cohort.{name}.{place}", line)
    return ApiFault("", line)


def _in_short(cohort: Cohort) -> dict[str, object]:
    """Whom somebody asked for, for the audit log: of users that are named one by one, how many."""
    named = cohort.model_dump(exclude_defaults=True)
    return {name: len(value) if name in ("ids", "except_ids") else value for name, value in named.items()}


async def _note(visit: Visit, number: int, what: Act, detail: Mapping[str, object] | None = None) -> None:
    """When it is done, or was refused: that somebody tried is worth knowing, too."""
    await visit.note(visit.database, what, f"backfill:{number}", detail)


async def _found(visit: Visit, number: int) -> Shown:
    found = await _backfills(visit).show(number)
    if found is None:
        raise not_found(f"there is no backfill {number}; GET /admin/backfill lists those there are")
    return found


def _backfills(visit: Visit) -> Backfills:
    assert visit.door.backfills is not None, "build_api leaves these routes out where there is no engine"
    return visit.door.backfills


def _pace(pace: Pace) -> PaceAsked:
    return PaceAsked(pace.rate, pace.adaptive, pace.window)


def _speed(speed: Speed) -> SpeedAsked:
    named = speed.model_fields_set
    return SpeedAsked(
        speed.rate,
        any_rate="rate" in named and speed.rate is None,
        adaptive=speed.adaptive if "adaptive" in named else None,
        window=speed.window,
        any_time="window" in named and speed.window is None,
    )


def cohort_of_body(cohort: Cohort) -> CohortAsked:
    """What the engine is asked for by this part of a body."""
    return CohortAsked(
        cohort.everyone,
        tuple(cohort.ids),
        tuple(cohort.urls),
        tuple(cohort.segments),
        tuple(cohort.flags),
        tuple(cohort.except_ids),
        tuple(cohort.except_urls),
        tuple(cohort.except_segments),
        cohort.column,
        cohort.format,
    )
