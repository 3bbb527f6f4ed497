"""Backfills asked for: of preferences, and loads of what people bought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated

from fastapi import Body as Sent
from fastapi.exceptions import RequestValidationError
from pydantic import Discriminator, ValidationError

from hark.access.audit import Act
from hark.access.keys import Scope
from hark.doors.api.backfills import CohortAsked, LoadAsked, PreferencesAsked, Shown, StreamBehind
from hark.doors.api.door import Door, Visit, Visiting, guarded
from hark.doors.api.problems import ApiFault, Kind, Refusal, bad_input, refusal, responses
from hark.doors.api.routes.backfill_bodies import (
    PREFERENCES,
    Asked,
    AskedLoad,
    Wanted,
    cohort_of_body,
    fault_of_body,
    in_short,
    pace_of_body,
    shape_of,
)
from hark.doors.api.routes.backfill_visits import BRIEF, backfills_of, noted
from hark.doors.api.sound import places, without
from hark.errors import BadInput

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


_LAGGING = (
    'nothing was asked for; mend that and send it again, or add "ignore_lag": true: what a load brings is right at any'
    " lag, but it ends only when the stream has passed where it was"
)


_NOTHING = (
    "names nothing: a load of purchases says whose, by one of user_ids, s3_uri and source; preferences need the fields"
    " that are missing here"
)

_WHOSE = ("user_ids", "s3_uri", "source")


async def _rest(door: Door, error: RequestValidationError) -> list[ApiFault]:
    """What is wrong with the sound part of a body that has faults: of preferences, what the engine would say."""
    if door.backfills is None or not isinstance(error.body, Mapping):
        return []
    if shape_of(error.body) != PREFERENCES:
        return [_of_load(line) for line in _whose_faults([name for name in _WHOSE if error.body.get(name)])]
    if not any(name in error.body for name in ("kind", *_SOUND)):
        return [ApiFault("body", _NOTHING)]
    faulty = places(error.errors(), whole=("cohort",))
    sound = {name: value for name, value in without(error.body, faulty).items() if value != []}
    try:
        asked = Asked.model_validate({**_SOUND, **sound})
    except ValidationError:
        return []
    unknown = {f"body.{name}" for name in _SOUND if name not in sound}
    unknown |= {"body.cohort"} if any(place[0] == "cohort" for place in faulty) else set()
    told = [fault_of_body(line) for line in await door.backfills.faults(_wanted(asked))]
    return [each for each in told if each.where not in unknown]


_SOUND: Mapping[str, object] = {"reasons": ["-"], "channels": ["-"], "user_types": ["-"], "cohort": {}}
"""Stands in for what is not sound; what the engine says of it is not told."""

router = guarded(Scope.BACKFILL, "backfills", {"create": _rest})


_STREAM = responses(
    HTTPStatus.CONFLICT,
    HTTPStatus.SERVICE_UNAVAILABLE,
    s409="A load, and the live stream is behind with nobody in it: `faults` says who; `ignore_lag` overrides.",
    s503="A load, and no broker of the live stream answers; `ignore_lag` overrides. Or something else is away.",
)


@router.post("/admin/backfill", status_code=HTTPStatus.ACCEPTED, responses=_STREAM)
async def create(
    visit: Visiting,
    asked: Annotated[Wanted, Discriminator(shape_of), Sent(examples=[_EXAMPLE, _OF_A_LIST, *_LOADS])],
) -> Shown:
    """Ask for a backfill. Of preferences, workers plan it: look at it until it is PLANNED; nothing is changed so far.

    A load of what people bought begins by itself once it is planned; `job_id` is its number.
    """
    return await (_load(visit, asked) if isinstance(asked, AskedLoad) else _preferences(visit, asked))


async def _load(visit: Visit, asked: AskedLoad) -> Shown:
    told = asked.model_dump(
        include={"rate_limit", "lookback_days", "flag", "source", "s3_uri", "ignore_lag"}, exclude_none=True
    )
    told |= {"user_ids": len(asked.user_ids)} if asked.user_ids else {}
    try:
        made = await backfills_of(visit).load(_load_asked(asked), visit.caller.name)
    except BadInput as error:
        await visit.note(visit.database, Act.BACKFILL_CREATE, "no backfill", {**told, "refused": str(error)[:BRIEF]})
        raise bad_input([_of_load(line) for line in str(error).splitlines()]) from None
    except StreamBehind as error:
        await visit.note(visit.database, Act.BACKFILL_CREATE, "no backfill", {**told, "refused": str(error)[:BRIEF]})
        raise _lagging(error) from None
    await noted(visit, made.head.id, Act.BACKFILL_CREATE, told)
    return made


def _load_asked(asked: AskedLoad) -> LoadAsked:
    """Whose: said once.

    Raises:
        BadInput: nobody is named, or several ways at once.
    """
    if faults := _whose_faults([name for name in _WHOSE if getattr(asked, name)]):
        raise BadInput("\n".join(faults))
    urls = (asked.s3_uri,) if asked.s3_uri else ()
    cohort = None if asked.source else CohortAsked(False, tuple(asked.user_ids), urls, (), (), (), (), (), None, None)
    everyone, days = asked.source is not None, asked.lookback_days
    return LoadAsked(cohort, everyone, asked.flag, asked.rate_limit, days, asked.force, asked.ignore_lag)


def _whose_faults(said: Sequence[str]) -> list[str]:
    """`said`: which of the fields that say whose are given."""
    if len(said) == 1:
        return []
    instead = f", not by {' and '.join(said)} at once" if said else ""
    return [f"cohort: say whose, by one of user_ids, s3_uri and source{instead}"]


def _lagging(error: StreamBehind) -> Refusal:
    """What is wrong with the stream, and how to go on all the same."""
    kind, status = Kind.NOT_NOW, HTTPStatus.CONFLICT
    if error.unreachable:
        kind, status = Kind.UNREACHABLE, HTTPStatus.SERVICE_UNAVAILABLE
    return refusal(kind, status, f"{error.faults[0]}; {_LAGGING}", faults=[ApiFault("", each) for each in error.faults])


def _of_load(line: str) -> ApiFault:
    option, _, what = line.partition(": ")
    if option.startswith("cohort.ids"):
        return ApiFault(f"body.user_ids{option.removeprefix('cohort.ids')}", what)
    where = {
        "--flag": "body.flag",
        "--rate-limit": "body.rate_limit",
        "--lookback-days": "body.lookback_days",
        "cohort.urls[0]": "body.s3_uri",
        "cohort": "body",
    }
    return ApiFault(where[option], what) if option in where else ApiFault("", line)


async def _preferences(visit: Visit, asked: Asked) -> Shown:
    told = {**asked.model_dump(include={"reasons", "channels", "user_types"}), "cohort": in_short(asked.cohort)}
    try:
        made = await backfills_of(visit).create(_wanted(asked), visit.caller.name)
    except BadInput as error:
        await visit.note(visit.database, Act.BACKFILL_CREATE, "no backfill", {**told, "refused": str(error)[:BRIEF]})
        raise bad_input([fault_of_body(line) for line in str(error).splitlines()]) from None
    await noted(visit, made.head.id, Act.BACKFILL_CREATE, told)
    return made


def _wanted(asked: Asked) -> PreferencesAsked:
    return PreferencesAsked(
        tuple(asked.reasons),
        tuple(asked.channels),
        tuple(asked.user_types),
        asked.create_rows,
        cohort_of_body(asked.cohort),
        asked.batch_size,
        pace_of_body(asked),
    )
