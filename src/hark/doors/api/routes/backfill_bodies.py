"""What is sent about backfills, and what the engine is asked for by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, Tag

from hark.backfill.kinds.history import LOOK_BACK_DAYS, MOST_DAYS, MOST_RATE, RATE
from hark.backfill.ordering import read_change
from hark.catalogue.wording import shown
from hark.doors.api.backfills import CohortAsked, PaceAsked, SpeedAsked
from hark.doors.api.fields import AT_ONCE, After, Before, Body, Flag, Limit, Name, Text, Word, fault
from hark.doors.api.problems import ApiFault
from hark.doors.api.wording import shape
from hark.errors import BadInput

_FIELDS = {
    "--reason": "body.reasons",
    "--channels": "body.channels",
    "--user-types": "body.user_types",
    "--batch-size": "body.batch_size",
    "--rate": "body.rate",
    "--window": "body.window",
    "body": "body",
}

Rate = Annotated[float | None, Field(strict=True, ge=0.001, le=10_000_000, allow_inf_nan=False)]


def _known_kind(kind: object) -> object:
    if kind not in KINDS_ASKED:
        raise fault(f"{shown(kind)} is no kind of backfill; there is {' and '.join(KINDS_ASKED)}")
    return kind


KINDS_ASKED = ("preferences", "history")


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

    kind: Annotated[Literal["preferences"], BeforeValidator(_known_kind)] = Field(
        default="preferences", description="Of what kind."
    )
    reasons: list[Word] = Field(min_length=1, max_length=AT_ONCE, description="For these reasons.")
    channels: list[Word] = Field(min_length=1, max_length=AT_ONCE, description="To append; none is ever taken away.")
    user_types: list[Word] = Field(min_length=1, max_length=AT_ONCE, description="For users of these types only.")
    cohort: Cohort = Field(description="Whose preferences.")
    create_rows: Flag = Field(default=False, description="Also for users who never chose anything.")
    batch_size: int = Field(default=500, strict=True, ge=1, le=10_000, description="Users of one transaction.")


class AskedLoad(Body):
    """A load of what people bought. One of `user_ids`, `s3_uri` and `source` says whose."""

    kind: Annotated[Literal["history"], BeforeValidator(_known_kind)] = Field(
        default="history", description="Of what kind."
    )
    user_ids: list[Name] = Field(default=[], max_length=100_000, description="These users; more are an object.")
    s3_uri: Text | None = Field(default=None, description="Those in an object: s3://bucket/key, an id a line or CSV.")
    source: Literal["neo4j"] | None = Field(default=None, description="neo4j: everyone in the graph, as facts have it.")
    flag: Word | None = Field(
        default=None, description="Let them in by this flag first; null: they are let in already."
    )
    rate_limit: int = Field(
        default=RATE, strict=True, ge=1, le=MOST_RATE, description="Users, and requests to each source, a second."
    )
    lookback_days: int = Field(default=LOOK_BACK_DAYS, strict=True, ge=1, le=MOST_DAYS, description="How far back.")
    force: Flag = Field(default=False, description="Also who was loaded within 7 days.")
    ignore_lag: Flag = Field(
        default=False, description="Ask for it though consumers of the live stream are behind or away."
    )


_ONLY_LOADS = ("user_ids", "s3_uri", "source", "lookback_days", "rate_limit", "flag", "force", "ignore_lag")


def shape_of(sent: object) -> str:
    """Which of the two a body is, by its kind, or else by the names in it."""
    kind = sent.get("kind") if isinstance(sent, Mapping) else getattr(sent, "kind", None)
    named = isinstance(sent, Mapping) and any(name in sent for name in _ONLY_LOADS) and "reasons" not in sent
    return LOAD if kind == "history" or (kind is None and named) else PREFERENCES


PREFERENCES, LOAD = shape("Asked"), shape("AskedLoad")
Wanted = Annotated[Asked, Tag(PREFERENCES)] | Annotated[AskedLoad, Tag(LOAD)]


class Applying(Body):
    """Which plan to apply."""

    hash: Word | None = Field(default=None, description="Of the plan that was looked at; another one is refused.")


ANY_PLAN = Applying()


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


class HowMany(Body):
    """How many are named."""

    limit: Limit = 100


class WhichAstray(Body):
    """Which of those for whom a backfill does not hold."""

    after: After = ""
    limit: Limit = 100
    unexplained: bool = Field(default=False, description="true: only those of whom nothing says why.")


# What is asked for by it ----------------------------------------------------------------------------------------------


def pace_of_body(pace: Pace) -> PaceAsked:
    return PaceAsked(pace.rate, pace.adaptive, pace.window)


def speed_of_body(speed: Speed) -> SpeedAsked:
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


def fault_of_body(line: str) -> ApiFault:
    """A fault of the engine's, which speaks of options and of a cohort's parts, by the field that it is of."""
    option, _, what = line.partition(": ")
    if option == "cohort" or option.startswith("cohort."):
        return ApiFault(f"body.{option}", what)
    where = _FIELDS.get(option)
    return ApiFault("", line) if where is None else ApiFault(where, what)


def faults_of_speed(speed: Speed) -> list[ApiFault]:
    """What is wrong with a change of pace beside what a body may not say."""
    try:
        read_change(speed.rate, adaptive=speed.adaptive, window=speed.window)
    except BadInput as error:
        return [fault_of_body(line) for line in str(error).splitlines()]
    return []


def in_short(cohort: Cohort) -> dict[str, object]:
    """Whom somebody asked for, for the audit log: of users that are named one by one, how many."""
    named = cohort.model_dump(exclude_defaults=True)
    return {name: len(value) if name in ("ids", "except_ids") else value for name, value in named.items()}
