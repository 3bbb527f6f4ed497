"""`hark backfill preferences`: what to add for whom, how fast; shown first, then applied."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import Call
from hark.doors.cli.verbs.backfill_cohort import (
    ApplyNow,
    Excepted,
    ExceptFiles,
    ExceptSegments,
    ExceptUsers,
    FileFormat,
    IdColumn,
    Named,
    Segments,
    Texts,
    Urls,
    Users,
    cohort,
    read_and_apply,
)
from hark.doors.cli.verbs.backfill_words import Adaptive, Detach, Hours, Rate, Who, names_of, who_does_it

if TYPE_CHECKING:
    from hark.backfill.cohort import CohortWords
    from hark.backfill.ordering import PreferenceWords

Reasons = Annotated[Texts, typer.Option("--reason", metavar="REASON", help="For this reason; repeat it.")]
Channels = Annotated[
    str | None, typer.Option("--channels", metavar="NAMES", help="What to add, in this order: push,in_app.")
]
UserTypes = Annotated[
    str | None, typer.Option("--user-types", metavar="TYPES", help="Only users of these: Students,Employers.")
]
Everyone = Annotated[bool, typer.Option("--all", help="All users of the types. Nobody named is nobody, never all.")]
Files = Annotated[Texts, typer.Option("--file", metavar="FILE", help="Those in a CSV, text or Parquet file.")]
Flags = Annotated[Texts, typer.Option("--flag", metavar="NAME", help="Whoever a flag lets in.")]
CreateRows = Annotated[bool, typer.Option("--create-rows", help="Also for users who have no preferences at all yet.")]
BatchSize = Annotated[str | None, typer.Option("--batch-size", metavar="N", help="Users a transaction; else 500.")]


@dataclass(frozen=True, slots=True)
class _Change:
    """What is added, for whom of the cohort."""

    reasons: Texts
    channels: Sequence[str]
    user_types: Sequence[str]
    create_rows: bool


@dataclass(frozen=True, slots=True)
class _Going:
    """How it is gone about."""

    batch_size: str | None
    rate: str | None
    adaptive: bool
    window: str | None
    apply: bool


async def preferences(
    call: Call,
    reason: Reasons = None,
    channels: Channels = None,
    user_types: UserTypes = None,
    everyone: Everyone = False,
    ids: Users = None,
    file: Files = None,
    url: Urls = None,
    segment: Segments = None,
    flag: Flags = None,
    except_ids: ExceptUsers = None,
    except_file: ExceptFiles = None,
    except_segment: ExceptSegments = None,
    column: IdColumn = None,
    file_format: FileFormat = None,
    create_rows: CreateRows = False,
    batch_size: BatchSize = None,
    rate: Rate = None,
    adaptive: Adaptive = True,
    window: Hours = None,
    apply_now: ApplyNow = False,
    detach: Detach = False,
    who: Who = None,
) -> ExitCode:
    """Add channels to what many users chose for some reasons: shown first, then applied.

    Without --apply nothing is changed: what would be is stored as a plan, for hark backfill apply.
    """
    named = Named(everyone, ids, file, url, segment, flag)
    excepted = Excepted(except_ids, except_file, except_segment, column, file_format)
    change = _Change(reason, names_of(channels), names_of(user_types), create_rows)
    words = _words(change, cohort(named, excepted), _Going(batch_size, rate, adaptive, window, apply_now))
    return await _order(call, words, who_does_it(who), detach=detach)


def _words(change: _Change, cohort: CohortWords, going: _Going) -> PreferenceWords:
    from hark.backfill.ordering import PreferenceWords

    return PreferenceWords(
        reasons=change.reasons or (),
        channels=change.channels,
        user_types=change.user_types,
        cohort=cohort,
        create_rows=change.create_rows,
        batch_size=going.batch_size,
        rate=going.rate,
        adaptive=going.adaptive,
        window=going.window,
        apply=going.apply,
    )


async def _order(call: Call, words: PreferenceWords, who: str, *, detach: bool) -> ExitCode:
    from hark.backfill.ordering import order_preferences
    from hark.doors.cli import backfilling

    _check(call, words, who)
    async with backfilling.bench(call, install=True) as at:
        order = partial(
            order_preferences,
            at.database,
            at.session.need_catalogue(),
            words,
            who=who,
            now=at.clock.now(),
            reach=at.reach,
            environment=os.environ,
        )
        return await read_and_apply(call, at, lambda told: order(progress=told), who, detach=detach)


def _check(call: Call, words: PreferenceWords, who: str) -> None:
    """A slip of the pen is told at once, and not after Hark's own Postgres was started."""
    from hark.backfill.cohort import CohortWords, both_said
    from hark.backfill.ordering import check_words
    from hark.catalogue import load_catalogue
    from hark.doors.cli.backfilling import reach_of

    if call.settings.catalogue is not None:
        catalogue = load_catalogue(call.settings.catalogue, os.environ)
        check_words(catalogue, words, who=who, reach=reach_of(call), environment=os.environ)
    if isinstance(words.cohort, CohortWords) and (said := both_said(words.cohort, os.environ)):
        call.output.note(said)
