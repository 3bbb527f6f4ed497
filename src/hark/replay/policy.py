"""A policy: how often the recipients of a replayed history would be written to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches

from hark.batching import closes_at
from hark.catalogue import Calendar, Catalogue, Category, Channel, Frequency, Reason, Templates, Windows
from hark.durations import parse_duration, parse_local_time, parse_weekday
from hark.errors import BadInput

REASON = "replayed"
"""The one reason that every event of a replay has."""
USER_TYPE = "Recipients"
"""The one user type that every recipient of a replay has."""

EXAMPLES = ("immediate", "cooldown=4m", "cooldown=4m,max_stale=1h", "daily@08:00", "weekly@monday 08:00")
"""One policy of each kind, as people write them."""

_SETTINGS = ("cooldown", "max_stale")
_MORNING = Calendar()
_UNUSED = Windows(cooldown=timedelta(minutes=4), max_stale=None)
_LONGEST = timedelta(days=366)
_FOREVER = timedelta(days=1_000_000)
_SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Policy:
    """How often to write, in the catalogue's terms.

    Attributes:
        name: the policy as it was written, e.g. `cooldown=4m`.
        windows: when a batch closes; only `batched` looks at it.
        calendar: when a digest is due; only `daily` and `weekly` look at it.
    """

    name: str
    frequency: Frequency
    windows: Windows = _UNUSED
    calendar: Calendar = _MORNING

    def open_for(self) -> timedelta:
        """How long after its first event a message is sure to be still open, at the least.

        An immediate message is complete from the start: nothing can come too late for it.
        """
        if self.frequency is Frequency.IMMEDIATE:
            return _FOREVER
        if self.frequency is Frequency.BATCHED:
            return closes_at(_SOME_TIME, _SOME_TIME, self.windows) - _SOME_TIME
        return timedelta(0)

    def catalogue(self) -> Catalogue:
        """A catalogue of one reason and one user type that does as the policy says."""
        reason = Reason(
            name=REASON,
            title="Replayed",
            channels={USER_TYPE: (Channel.EMAIL,)},
            frequency=self.frequency,
            windows=self.windows,
            group=REASON,
            category=Category.ACTIVITY,
            templates=Templates(),
        )
        return Catalogue(
            user_types={USER_TYPE: "Whoever the history names"},
            reasons={REASON: reason},
            email=None,
            calendar=self.calendar,
        )


def parse_policy(text: str) -> Policy:
    """Read one policy.

    Args:
        text: `immediate`, `cooldown=4m`, `cooldown=240s,max_stale=1h`, `daily@08:00` or `weekly@monday 08:00`. The time
            of day may be left out (08:00), the weekday too (Monday).

    Raises:
        BadInput: says what is wrong with the text and what to write instead.
    """
    name = " ".join(text.split())
    try:
        return _batched(name) if "=" in name else _named(name)
    except BadInput as fault:
        raise BadInput(f"policy {name!r}: {fault}") from fault


def parse_policies(texts: Sequence[str]) -> list[Policy]:
    """Read several policies, in their order.

    Raises:
        BadInput: there is none; or else all that is wrong with all of them, one a line.
    """
    if not texts:
        raise BadInput(f"no policy given; write for instance --policy {EXAMPLES[1]}")
    policies: list[Policy] = []
    faults: list[str] = []
    for text in texts:
        try:
            policies.append(parse_policy(text))
        except BadInput as fault:
            faults.append(str(fault))
    if faults:
        raise BadInput("\n".join(faults))
    return policies


def _batched(name: str) -> Policy:
    given = [tuple(piece.strip() for piece in part.partition("=")) for part in name.split(",")]
    keys = [key for key, _, _ in given]
    for key in keys:
        _check_setting(key, keys)
    values = {key: _window(key, value) for key, _, value in given}
    if "cooldown" not in values:
        raise BadInput(f"max_stale needs a cooldown beside it; write {EXAMPLES[2]}")
    windows = Windows(values["cooldown"], values.get("max_stale"))
    if windows.max_stale is not None and windows.max_stale < windows.cooldown:
        raise BadInput("max_stale is shorter than cooldown, so it would always come first; make it longer")
    return Policy(name, Frequency.BATCHED, windows)


def _check_setting(key: str, keys: Sequence[str]) -> None:
    if key not in _SETTINGS:
        meant = get_close_matches(key, _SETTINGS, 1)
        raise BadInput(f"no setting {key!r}; " + (f"did you mean {meant[0]}?" if meant else f"write {EXAMPLES[2]}"))
    if keys.count(key) > 1:
        raise BadInput(f"{key} is given {keys.count(key)} times; keep one")


def _window(key: str, value: str) -> timedelta:
    window = parse_duration(value)
    if not timedelta(0) < window <= _LONGEST:
        raise BadInput(f"{key} {value} is not between 1s and {_LONGEST.days}d; for none at all write immediate")
    return window


def _named(name: str) -> Policy:
    kind, _, rest = name.partition("@")
    read = _KINDS.get(kind.strip().lower())
    if read is None:
        raise BadInput(f"there is none of that name; write {', '.join(EXAMPLES[:-1])} or {EXAMPLES[-1]}")
    return read(name, rest.split())


def _immediate(name: str, rest: list[str]) -> Policy:
    if rest:
        raise BadInput("immediate has no time; write immediate")
    return Policy(name, Frequency.IMMEDIATE)


def _daily(name: str, rest: list[str]) -> Policy:
    at, weekday = _calendar_words(rest)
    if weekday is not None:
        raise BadInput("daily has no weekday; write daily@08:00, or weekly@monday 08:00")
    return Policy(name, Frequency.DAILY, calendar=_calendar(at, weekday))


def _weekly(name: str, rest: list[str]) -> Policy:
    return Policy(name, Frequency.WEEKLY, calendar=_calendar(*_calendar_words(rest)))


_KINDS: dict[str, Callable[[str, list[str]], Policy]] = {"immediate": _immediate, "daily": _daily, "weekly": _weekly}


def _calendar_words(words: list[str]) -> tuple[str | None, str | None]:
    """The time of day and the weekday among the words behind an @, in either order."""
    times = [word for word in words if word[0].isdigit()]
    weekdays = [word for word in words if not word[0].isdigit()]
    if len(times) > 1 or len(weekdays) > 1:
        raise BadInput(f"one weekday and one time of day are enough; write {EXAMPLES[-1]}")
    return next(iter(times), None), next(iter(weekdays), None)


def _calendar(at: str | None, weekday: str | None) -> Calendar:
    return Calendar(
        at=_MORNING.at if at is None else parse_local_time(at),
        weekday=_MORNING.weekday if weekday is None else parse_weekday(weekday),
    )
