"""The exceptions that Hark raises on purpose, as one tree.

    HarkError
    ├── BadInput              the caller can mend it: names the value, what was expected, how to mend it (CLI exit 2)
    │   ├── CatalogueFaults     every fault of hark.toml at once, each with its line
    │   ├── FileFaults          every fault of an input file at once, each with its line
    │   ├── SettingFaults       everything wrong with the settings at once, each with where it was set (`hark.config`)
    │   ├── UnknownReason       publish was given a reason that the catalogue does not declare
    │   ├── KeyReused           the same idempotency key, other content
    │   └── Blocked             a URL that Hark will not call: no http, a user in it, a private address
    ├── Unreachable           something Hark needs does not answer (CLI exit 3)
    │   ├── NotNow              a source of history is left alone for a while; says until when
    │   ├── GraphTooSlow        the graph did not answer in time
    │   └── GraphDeadlock       the graph ended a transaction that waited for one that waited for it; try again
    ├── Overtaken             what was decided by a version of a flag may not be written any more; decide again
    ├── SourceFailed          a feed or recheck of the product broke, or answered what it may not
    ├── GraphRefused          the graph does not take what it was sent, and would not later: a constraint, a limit
    ├── NotAsPlanned          what a batch of a backfill would do is not what was planned: something wrote to its plan
    ├── RenderingFailed       a template or its data broke; the delivery goes back to PENDING with back-off
    └── Undeliverable         the message can never be handed over as it is (bad address, forged header)

Outcomes of a hand-over are values (`hark.delivery.handover.Outcome`), not exceptions.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

FAULTS_SHOWN = 50
"""How many faults of a file are told one by one; the others are a number."""

_FRAMES = 4


def without_words(error: BaseException) -> Mapping[str, object]:
    """What a log may say of an exception: its kind and where it came from.

    Its text may quote rows, and rows are people.
    """
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    where = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    said = {"error": type(error).__name__, "sqlstate": getattr(error, "sqlstate", None), "where": where}
    return {name: value for name, value in said.items() if value is not None}


class HarkError(Exception):
    """The root: catch this to catch whatever Hark raises on purpose."""


class BadInput(HarkError):
    """The caller's input is wrong; nothing was changed. The message says what to write instead."""


class NotAsPlanned(HarkError):
    """What a batch of a backfill would do is not what was planned: something wrote to its plan."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a file: `line` counts from 1 (0: the file as a whole), `where` is the key or column."""

    line: int
    where: str
    what: str


class FileFaults(BadInput):
    """All faults of one input file.

    Args:
        path: the file as the user named it.
        faults: at least one, in the order of their lines.
    """

    def __init__(self, path: str, faults: Sequence[Fault]) -> None:
        self.path = path
        self.faults = tuple(faults)
        super().__init__(self._text())

    def _text(self) -> str:
        places = [f"{self.path}:{fault.line}" if fault.line else self.path for fault in self.faults]
        place_width = max(len(place) for place in places)
        where_width = max(len(fault.where) for fault in self.faults)
        return "\n".join(
            f"{place:<{place_width}}  {fault.where:<{where_width}}  {fault.what}"
            for place, fault in zip(places, self.faults, strict=True)
        )


class CatalogueFaults(FileFaults):
    """All faults of the catalogue file."""


class UnknownReason(BadInput):
    """An event was published with a reason that the catalogue does not declare."""


class KeyReused(BadInput):
    """An idempotency key came again with other content than the event it first named."""


class OutOfDate(BadInput):
    """What was to be changed is at another version than its author looked at."""


class Blocked(BadInput):
    """A URL that Hark does not call: not http or https, a user in it, or an address that is private and not allowed."""


class Unreachable(HarkError):
    """Something that Hark needs (a database, a mail server, a file) cannot be reached."""


class Overtaken(HarkError):
    """What was decided by an older version of a flag, or after a lease ran out, may not be written; decide it again."""


class NotNow(Unreachable):
    """A source of history asked to be left alone, or failed too often, and is asked again later.

    Args:
        at: from when on, aware.
    """

    def __init__(self, text: str, at: datetime) -> None:
        super().__init__(text)
        self.at = at


class SourceFailed(HarkError):
    """A source of the product's (a feed, a recheck) broke, or answered what it may not; nothing of it was taken.

    The text names the field and the kind of fault, never a value: it goes into logs and is read by operators.

    Args:
        of_the_data: whether it may be one item's fault, so that the same question about the others may be answered.
        too_slow: whether it was given up because it took too long.
    """

    def __init__(self, text: str, *, of_the_data: bool = False, too_slow: bool = False) -> None:
        super().__init__(text)
        self.of_the_data = of_the_data
        self.too_slow = too_slow


class GraphTooSlow(Unreachable):
    """The graph did not answer in time."""


class GraphDeadlock(Unreachable):
    """The graph undid a transaction that waited for another one, which waited for it. That one went on: try again."""


class GraphRefused(HarkError):
    """The graph does not take what it was sent, and would not later: a constraint, a limit, a name."""


class RenderingFailed(HarkError):
    """A template, or the data given to it, broke. Worth another try after a mend."""


class Undeliverable(HarkError):
    """The message can never be handed over as it is: a bad address, a header with control characters."""
