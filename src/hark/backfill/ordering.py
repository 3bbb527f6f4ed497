"""From words to a backfill that is to be planned, and from a plan to one that is applied: what all doors share.

All that is wrong with the words is told at once, before anything is read or written.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from hark.backfill import control
from hark.backfill.cohort import (
    Cohort,
    CohortWords,
    FileReach,
    Staged,
    check_names,
    cohort_of,
    name_somebody,
    stage,
    unchanged,
    within,
)
from hark.backfill.enlist import ToStage
from hark.backfill.kinds.history import check_flag_on
from hark.backfill.kinds.preferences import PREFERENCES, PreferenceRequest, read_preferences
from hark.backfill.plan import create
from hark.backfill.reading import Reading
from hark.backfill.request import (
    BATCH_SIZE,
    Notify,
    Order,
    Pace,
    PaceChange,
    check_batch_size,
    check_opposites,
    check_rate,
    check_who,
    names,
)
from hark.backfill.states import State
from hark.backfill.windows import Window, parse_window
from hark.catalogue import Backfills, Catalogue
from hark.catalogue.wording import quoted
from hark.errors import BadInput
from hark.postgres.database import Database

VARIABLES = ("PREFERENCE_NAME", "CHANNELS", "USER_TYPES", "BATCH_SIZE", "DRY_RUN")
"""The variables of the task that Hark takes the place of, beside those of its cohort."""

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceWords:
    """What somebody says who wants preferences changed.

    `cohort` is in words; or it reads a cohort that was said otherwise. So may `batch_size` and `rate` be: what is no
    number is told with all else that is wrong.
    """

    reasons: Sequence[str] = ()
    channels: Sequence[str] = ()
    user_types: Sequence[str] = ()
    cohort: CohortWords | Callable[[], Cohort] = field(default_factory=CohortWords)
    create_rows: bool = False
    batch_size: int | str | None = None
    rate: float | str | None = None
    adaptive: bool = True
    window: str | None = None
    apply: bool = False


@dataclass(frozen=True, slots=True)
class Ordered:
    """A backfill that is to be planned, the cohort that was staged for it, and whether it is to be applied at once."""

    backfill: int
    staged: Staged
    apply: bool


@dataclass(frozen=True, slots=True)
class Read:
    """The words, understood."""

    asked: PreferenceRequest
    cohort: Cohort
    pace: Pace
    batch_size: int
    apply: bool


def check_words(
    catalogue: Catalogue, words: PreferenceWords, *, who: str, reach: FileReach, environment: Mapping[str, str]
) -> None:
    """Read the words and nothing else: what can be known to be wrong before there is a database.

    Raises:
        BadInput: all that is wrong with the words.
    """
    reading = Reading()
    reading.take(lambda: check_who(who))
    reading.take(lambda: _read(catalogue, words, environment, reach))
    reading.end()


async def order_preferences(
    database: Database,
    catalogue: Catalogue,
    words: PreferenceWords,
    *,
    who: str,
    now: datetime,
    reach: FileReach,
    environment: Mapping[str, str] | None = None,
    progress: Callable[[int], None] = lambda _rows: None,
) -> Ordered:
    """Stage the cohort and write down what is asked for; then it is to be planned.

    Args:
        environment: where the old task's variables are looked for, each for words that are not given; None: nowhere.
        reach: from where the cohort's files may be read.
        progress: told how many rows of the cohort's files were read.

    Raises:
        BadInput: all that is wrong with the words; or what `cohort.stage` refuses.
    """
    who = check_who(who)
    read = _read(catalogue, words, environment or {}, reach)
    staged = await stage(
        database, read.cohort, user_types=read.asked.user_types, now=now, reach=reach, progress=progress
    )
    order = _order(catalogue, read, staged.cohort_id, who)
    return Ordered(await create(database, order, now), staged, read.apply)


NamesLook = Callable[[Database], Awaitable[None]]
"""Looks whether the segments and flags that somebody names are there; raises all that are not."""


async def ask_preferences(
    database: Database,
    catalogue: Catalogue,
    words: PreferenceWords,
    *,
    who: str,
    now: datetime,
    reach: FileReach,
    named: NamesLook | None = None,
) -> int:
    """Write down what is asked for, and leave it to workers to stage the cohort and to plan; the backfill's id.

    Args:
        reach: from where the cohort's files may be read; workers look at it again.
        named: see `check_asked`.

    Raises:
        BadInput: all that is wrong with the words; or there is no such segment or flag.
    """
    who = check_who(who)
    read = await check_asked(database, catalogue, words, reach=reach, named=named)
    order = _order(catalogue, read, ToStage(read.cohort, read.asked.user_types), who)
    return await create(database, order, now)


async def check_asked(
    database: Database,
    catalogue: Catalogue,
    words: PreferenceWords,
    *,
    reach: FileReach,
    named: NamesLook | None = None,
) -> Read:
    """Read the words, and whether the segments and flags that they name are there.

    Args:
        named: looks at those whatever else is wrong; None: they are looked at when the cohort can be read.

    Raises:
        BadInput: all that is wrong with them.
    """
    reading = Reading()
    read = reading.take(lambda: _read(catalogue, words, {}, reach))
    try:
        if named is not None:
            await named(database)
        elif read is not None:
            await check_names(database, read.cohort)
    except BadInput as refusal:
        reading.faults.append(str(refusal))
    reading.end()
    assert read is not None
    return read


async def apply_plan(
    database: Database,
    backfill: int,
    *,
    who: str,
    now: datetime,
    reach: FileReach,
    plan_hash: str | None = None,
    waits: bool = False,
) -> control.Stand:
    """`control.apply`, if the lists that the plan was made from are still the same, and the flag of a load is on.

    Args:
        waits: a flag that is off is waited for by the run, which says so.

    Raises:
        BadInput: they are not, it is not, or what `control.apply` refuses.
    """
    found = await control.stand(database, backfill)
    if found.state is not State.APPLYING and not waits:
        await check_flag_on(database, backfill)
    if found.state in (State.PLANNED, State.APPROVED) and found.undoes is None and found.cohort_id is not None:
        await unchanged(database, found.cohort_id, reach=reach)
    return await control.apply(database, backfill, who=who, now=now, plan_hash=plan_hash)


def notify_of(rules: Backfills) -> Notify | None:
    """Whom the catalogue wants told of a backfill's end."""
    return None if rules.notify_reason is None else Notify(rules.notify_reason, rules.notify_to)


def read_pace(rate: float | str | None, *, adaptive: bool, window: str | None) -> Pace:
    """How fast and when.

    Raises:
        BadInput: all that is wrong with it.
    """
    reading = Reading()
    users = reading.take(lambda: check_rate(_number(rate)))
    hours = reading.take(lambda: _window(window)) if window else None
    reading.end()
    return Pace(users, adaptive, hours)


def _number(rate: float | str | None) -> float | None:
    try:
        return None if rate is None else float(rate)
    except ValueError:
        raise BadInput(f"--rate: {quoted(str(rate))} is not a number of users a second; write 500") from None


def _window(text: str) -> Window:
    try:
        return parse_window(text)
    except BadInput as fault:
        raise BadInput("\n".join(f"--window: {line}" for line in str(fault).splitlines())) from None


def read_change(
    rate: float | str | None,
    *,
    adaptive: bool | None,
    window: str | None,
    any_rate: bool = False,
    any_time: bool = False,
) -> PaceChange:
    """What is to be different of a pace.

    Raises:
        BadInput: all that is wrong with it.
    """
    reading = Reading()
    pace = reading.take(lambda: read_pace(rate, adaptive=bool(adaptive), window=window))
    named = {"rate": rate is not None, "window": window is not None}
    reading.take(lambda: check_opposites(**named, any_rate=any_rate, any_time=any_time))
    reading.end()
    assert pace is not None
    return PaceChange(pace.rate, any_rate, adaptive, pace.window, any_time)


def _order(catalogue: Catalogue, read: Read, cohort: int | ToStage, who: str) -> Order:
    rules = catalogue.backfills
    return Order(
        PREFERENCES.name,
        read.asked.to_json(),
        cohort,
        who,
        read.batch_size,
        read.pace,
        rules.approval_over,
        notify_of(rules),
    )


def _read(catalogue: Catalogue, words: PreferenceWords, environment: Mapping[str, str], reach: FileReach) -> Read:
    reading = Reading()
    said = _with_variables(words, environment)
    asked = reading.take(lambda: _asked(catalogue, said, _from_variables(words, environment)))
    cohort = reading.take(lambda: within(_cohort(words, environment), reach))
    pace = reading.take(lambda: read_pace(said.rate, adaptive=said.adaptive, window=said.window))
    size = reading.take(lambda: _batch_size(said.batch_size, environment))
    apply = reading.take(lambda: said.apply or not _dry_run(environment))
    reading.end()
    assert asked is not None and cohort is not None and pace is not None and size is not None
    return Read(asked, cohort, pace, size, bool(apply))


def _asked(catalogue: Catalogue, said: PreferenceWords, variables: Mapping[str, str]) -> PreferenceRequest:
    """What is asked for; a fault names the variable that it came from, by the option in whose place that stands."""
    try:
        return read_preferences(
            catalogue,
            reasons=said.reasons,
            channels=said.channels,
            user_types=said.user_types,
            create_rows=said.create_rows,
        )
    except BadInput as refusal:
        faults = [line.partition(":") for line in str(refusal).splitlines()]
        raise BadInput("\n".join(f"{variables.get(of, of)}:{what}" for of, _, what in faults)) from None


def _from_variables(words: PreferenceWords, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Which variables stand in place of which options."""
    ways = {
        "--reason": (words.reasons, "PREFERENCE_NAME"),
        "--channels": (words.channels, "CHANNELS"),
        "--user-types": (words.user_types, "USER_TYPES"),
    }
    return {option: name for option, (given, name) in ways.items() if not given and name in environment}


def _with_variables(words: PreferenceWords, environment: Mapping[str, str]) -> PreferenceWords:
    return replace(
        words,
        reasons=words.reasons or names(environment.get("PREFERENCE_NAME")),
        channels=words.channels or names(environment.get("CHANNELS")),
        user_types=words.user_types or names(environment.get("USER_TYPES")),
    )


def _cohort(words: PreferenceWords, environment: Mapping[str, str]) -> Cohort:
    if not isinstance(words.cohort, CohortWords):
        return words.cohort()
    if _is_of_the_task_before(words) and not name_somebody(environment):
        return cohort_of(CohortWords(everyone=True))
    return cohort_of(words.cohort, environment)


def _is_of_the_task_before(words: PreferenceWords) -> bool:
    """Its variables say all that is asked for. Without those of a cohort they mean all users of the types, as ever."""
    return words.cohort == CohortWords() and not (words.reasons or words.channels or words.user_types)


def _batch_size(given: int | str | None, environment: Mapping[str, str]) -> int:
    size = _size(given, environment)
    return check_batch_size(size, "BATCH_SIZE" if given is None else "--batch-size")


def _size(given: int | str | None, environment: Mapping[str, str]) -> int:
    if isinstance(given, int):
        return given
    name, text = ("BATCH_SIZE", environment.get("BATCH_SIZE", "")) if given is None else ("--batch-size", given)
    text = text.strip()
    if not text and given is None:
        return BATCH_SIZE
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise BadInput(f"{name}: {quoted(text)} is not a whole number; write {BATCH_SIZE}")
    return int(text)


def _dry_run(environment: Mapping[str, str]) -> bool:
    text = environment.get("DRY_RUN", "true").strip().lower()
    if text not in (*_TRUE, *_FALSE):
        raise BadInput(f"DRY_RUN: {quoted(text)} is neither true nor false; write true or false")
    return text in _TRUE
