"""Flags and segments: who is let in, and by which version; and users enrolled one by one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import Annotated

from fastapi import Body as Sent
from fastapi import Query
from pydantic import BaseModel, Field, model_validator

from hark import flags
from hark.access.keys import Scope
from hark.catalogue.wording import no_such, quoted
from hark.doors.api.door import Visit, Visiting, guarded
from hark.doors.api.fields import AT_ONCE, After, Body, Flag, Limit, Name, Number, Text, Word, fault
from hark.doors.api.pages import Page
from hark.doors.api.problems import ApiFault, Kind, bad_input, not_found, refusal, responses
from hark.errors import BadInput, OutOfDate
from hark.flags import Author, Changed, Enrolment, Internal, Kept, Named, Rollout, Rule, listing, parse_percent
from hark.flags.listing import FlagLine, FlagShown, Member, Verdict
from hark.lists import File, FileReach, Format

router = guarded(Scope.FLAGS, "flags")
reading = guarded(Scope.READ, "flags")

_ONE = "/v1/flags/{flag:segment}"
_SEGMENT = "/v1/flags/{flag:segment}/segments/{segment:segment}"
_NOT_FOUND = responses(HTTPStatus.NOT_FOUND)
_CHANGED = responses(
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    s409="The flag is not at `if_version` any more: look at it again.",
)

Percent = Annotated[float, Field(strict=True, ge=0, le=100, allow_inf_nan=False)]
IfVersion = Annotated[
    Number | None, Field(strict=True, description="Only if the flag is at this version; left out: whatever it is at.")
]


class NewFlag(Body):
    """A flag to make."""

    name: Word = Field(description="Letters, digits, dots and dashes, as history-live.")


class Turning(Body):
    """On or off."""

    on: Flag = Field(description="false: it lets nobody in, and forgets nobody.")
    if_version: IfVersion = None


class Made(Body):
    """What a segment is made of: one of these; with none, a segment that is there becomes part of the flag as it is."""

    ids: list[Name] | None = Field(default=None, max_length=10_000, description="Users; more are an object.")
    url: Text | None = Field(default=None, description="An object, read again when it changes: s3://, gs:// or az://.")
    column: Word | None = Field(default=None, description="Which column of the object has the ids; left out: id.")
    format: Word | None = Field(default=None, description="csv, lines or parquet; left out: as it looks.")
    internal: list[Word] | None = Field(
        default=None, max_length=AT_ONCE, description="Our own people: ids, and domains as @acme.example."
    )
    rollout: Percent | None = Field(default=None, description="A share of everybody, in percent; growing it only adds.")
    if_version: IfVersion = None

    @model_validator(mode="after")
    def _one(self) -> Made:
        given = [self.ids, self.url, self.internal, self.rollout]
        if sum(each is not None for each in given) > 1:
            raise fault("has several of ids, url, internal and rollout; give one of them")
        if self.url is None and (self.column is not None or self.format is not None):
            raise fault("has column or format, which are of an object; give url, or leave them out")
        return self


class Users(Body):
    """Who joins and who leaves."""

    add: list[Name] = Field(default=[], max_length=10_000, description="Let these be in it, too.")
    remove: list[Name] = Field(default=[], max_length=10_000, description="Let these be in it no more.")
    if_version: IfVersion = None

    @model_validator(mode="after")
    def _one(self) -> Users:
        if bool(self.add) == bool(self.remove):
            raise fault("needs users in add or in remove, and not in both")
        return self


class Removing(Body):
    """How to take a segment out."""

    forget: Flag = Field(default=False, description="Forget it and its members, too.")
    if_version: IfVersion = None


class Enrolling(Body):
    """Users to let in."""

    flag: Word = Field(description="By which flag.")
    user_ids: list[Name] = Field(min_length=1, max_length=AT_ONCE, description="Whom.")
    load: Flag = Field(default=True, description="Ask for a load of the past of those who were not enrolled before.")


class Withdrawing(Body):
    """Users whose enrolment is taken back."""

    flag: Word = Field(description="Of which flag.")
    user_ids: list[Name] = Field(min_length=1, max_length=AT_ONCE, description="Whose.")


class Which(Body):
    """Which flags to list."""

    on: bool | None = Field(default=None, description="Only those that are on, or off.")
    segment: Name | None = Field(default=None, description="Only those that have this segment.")
    after: After = ""
    limit: Limit = 50


class WhichMembers(Body):
    """Which members to list."""

    after: After = ""
    limit: Limit = 100


class Verdicts(BaseModel):
    """What the flags say of a user."""

    user: str
    verdicts: list[Verdict]


_REMOVE = Removing()


# To look at -----------------------------------------------------------------------------------------------------------


@reading.get("/v1/flags")
async def listed(visit: Visiting, which: Annotated[Which, Query()]) -> Page[FlagLine]:
    """List flags by name: their versions, whether they are on, their segments."""
    page = await listing.flags(
        visit.database, is_on=which.on, segment=which.segment, after=which.after, limit=which.limit
    )
    return Page(items=page, next=page[-1].name if len(page) == which.limit else None)


@reading.get(_ONE, responses=_NOT_FOUND)
async def show(visit: Visiting, flag: Name) -> FlagShown:
    """One flag: its segments, what they are made of, and which processes act on which version (`gates`)."""
    async with _known(visit, flag):
        return await listing.show(visit.database, flag)


@reading.get(f"{_ONE}/members", responses=_NOT_FOUND)
async def members(visit: Visiting, flag: Name, which: Annotated[WhichMembers, Query()]) -> Page[Member]:
    """List whom a flag lets in, by id: `since` when without a gap, if that is known. Of a rollout: known recipients."""
    async with _known(visit, flag):
        page = await listing.members(visit.database, flag, after=which.after, limit=which.limit)
    return Page(items=page, next=page[-1].user_id if len(page) == which.limit else None)


@reading.get(f"{_SEGMENT}/members", responses=_NOT_FOUND)
async def segment_members(
    visit: Visiting, flag: Name, segment: Name, which: Annotated[WhichMembers, Query()]
) -> Page[Member]:
    """List who is in a segment, by id."""
    async with _known(visit, flag, segment):
        page = await listing.segment_members(visit.database, flag, segment, after=which.after, limit=which.limit)
    return Page(items=page, next=page[-1].user_id if len(page) == which.limit else None)


@reading.get("/v1/recipients/{recipient:segment}/flags")
async def check(visit: Visiting, recipient: Name) -> Verdicts:
    """Whether each flag lets a user in, and because of what."""
    return Verdicts(user=recipient, verdicts=await listing.check(visit.database, [recipient]))


# To change ------------------------------------------------------------------------------------------------------------


@router.post("/v1/flags", status_code=HTTPStatus.CREATED)
async def create(visit: Visiting, new: Annotated[NewFlag, Sent(examples=[{"name": "history-live"}])]) -> Changed:
    """Make a flag. It lets nobody in until it has segments, or somebody is enrolled."""
    return await flags.create(visit.database, new.name, _author(visit))


@router.put(_ONE, responses=_CHANGED)
async def turn(
    visit: Visiting, flag: Name, turning: Annotated[Turning, Sent(examples=[{"on": False, "if_version": 2}])]
) -> Changed:
    """Turn a flag on or off."""
    async with _known(visit, flag):
        return await flags.turn(visit.database, flag, _author(visit, turning.if_version), on=turning.on)


@router.put(_SEGMENT, responses=_CHANGED)
async def set_segment(
    visit: Visiting,
    flag: Name,
    segment: Name,
    made: Annotated[Made, Sent(examples=[{"rollout": 25}, {"ids": ["bob", "carol"]}])],
) -> Changed:
    """Say what a segment of a flag is made of, whoever was in it before. An object is read before this answers."""
    rule, reach = _rule(made), FileReach.of(visit.door.settings, local=False)
    async with _known(visit, flag):
        who = _author(visit, made.if_version)
        return await flags.set_segment(visit.database, flag, segment, rule, who, reach=reach)


@router.post(f"{_SEGMENT}/members", responses=_CHANGED)
async def change_members(
    visit: Visiting, flag: Name, segment: Name, users: Annotated[Users, Sent(examples=[{"add": ["bob", "carol"]}])]
) -> Changed:
    """Let users be in a segment, or be in it no more. Doing it twice does no harm."""
    change = flags.add_users if users.add else flags.remove_users
    who, named = _author(visit, users.if_version), Named(users.add or users.remove)
    async with _known(visit, flag, segment):
        return await change(visit.database, flag, segment, named, who, reach=FileReach())


@router.delete(_SEGMENT, responses=_CHANGED)
async def remove_segment(visit: Visiting, flag: Name, segment: Name, how: Removing = _REMOVE) -> Changed:
    """Take a segment out of a flag; it stays, for other flags and for cohorts."""
    who = _author(visit, how.if_version)
    async with _known(visit, flag, segment):
        return await flags.remove_segment(visit.database, flag, segment, who, forget=how.forget)


_ENROL = {"flag": "history-live", "user_ids": ["bob"]}


@router.post("/v1/enroll")
async def enroll(visit: Visiting, users: Annotated[Enrolling, Sent(examples=[_ENROL])]) -> Enrolment:
    """Let users in one by one, and have their past loaded. Doing it twice does no harm, and asks for no second load.

    A flag that is off lets nobody in: nobody is enrolled by it.
    """
    with _of_body("flag", users.flag):
        return await flags.enrol(visit.database, users.flag, users.user_ids, _author(visit), load=users.load)


@router.delete("/v1/enroll")
async def withdraw(visit: Visiting, users: Annotated[Withdrawing, Sent(examples=[_ENROL])]) -> Enrolment:
    """Take enrolments back. What is not there is not missed."""
    with _of_body("flag", users.flag):
        return await flags.withdraw(visit.database, users.flag, users.user_ids, _author(visit))


# The parts ------------------------------------------------------------------------------------------------------------


def _author(visit: Visit, if_version: int | None = None) -> Author:
    return Author(visit.caller.name, visit.now(), if_version)


@contextmanager
def _of_body(name: str, said: str) -> Iterator[None]:
    """What is wrong with a field of the body is told there: what is said of it begins with it, quoted or not."""
    try:
        yield
    except BadInput as error:
        lines = str(error).splitlines()
        if not all(line.startswith((f"{said} is ", quoted(said))) for line in lines):
            raise
        raise bad_input([ApiFault(f"body.{name}", line) for line in lines]) from None


def _rule(made: Made) -> Rule | None:
    if made.ids is not None:
        return Named(made.ids)
    if made.url is not None:
        return Kept(File(made.url, _format(made.format), made.column))
    if made.internal is not None:
        return Internal(flags.parse_internal(made.internal))
    return None if made.rollout is None else Rollout(parse_percent(repr(made.rollout)))


def _format(kind: str | None) -> Format | None:
    if kind is not None and kind not in set(Format):
        raise BadInput(f"format: {quoted(kind)}: {no_such('format', kind, Format)}")
    return Format(kind) if kind else None


@asynccontextmanager
async def _known(visit: Visit, flag: str, segment: str | None = None) -> AsyncIterator[None]:
    """What a path names and is not there is a 404; what was changed meanwhile, a 409."""
    try:
        shown = await listing.show(visit.database, flag)
        if segment is not None and segment not in {each.name for each in shown.segments}:
            raise BadInput(f"flag {flag} has no segment {quoted(segment)}; GET /v1/flags/{flag} lists those it has")
    except BadInput as error:
        raise not_found(str(error)) from None
    try:
        yield
    except OutOfDate as error:
        raise refusal(Kind.NOT_NOW, HTTPStatus.CONFLICT, str(error)) from None
