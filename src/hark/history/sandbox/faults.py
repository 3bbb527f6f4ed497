"""What goes wrong in the sandbox: which fault, at which service, how often, for how long."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any

from hark.catalogue.wording import no_such, quoted
from hark.errors import BadInput


class Kind(StrEnum):
    """A fault, with what it does."""

    TOO_MANY = "too_many"
    """Status 429, with Retry-After if `retry_after` says one."""
    UNAVAILABLE = "unavailable"
    """Status 503, likewise."""
    ERROR = "error"
    """Status 500."""
    SLOW = "slow"
    """The answer comes after `seconds`."""
    CUT = "cut"
    """The connection closes in the middle of the body."""
    HALF = "half"
    """Half of the body, said to be all of it."""
    PAGE = "page"
    """A page in HTML with status 200, as proxies have it."""
    DOUBLED = "doubled"
    """Each page after the first begins with all of the page before."""
    ENDLESS = "endless"
    """The last page leads back to the first."""
    GROWING = "growing"
    """After the last page there is always another one, the same again."""
    SHIFT = "shift"
    """Cursors only count rows: what is written while they are read moves the pages."""
    REPLICA = "replica"
    """A replica answers, whatever was asked for; how far it is behind, `/sandbox/replica` says."""
    FLOATS = "floats"
    """Amounts are numbers with a point."""
    STRANGER = "stranger"
    """The answer is another user's."""


@dataclass(slots=True)
class Fault:
    """One fault as it was asked for.

    Attributes:
        source: at which service; None: at all of them.
        share: of the requests that it strikes, from 0 to 1.
        times: so often, and not again; None: until it is taken back.
        retry_after: the Retry-After header of a refusal, whatever it is.
        seconds: how long `slow` takes.
    """

    kind: Kind
    source: str | None = None
    share: float = 1.0
    times: int | None = None
    retry_after: str | None = None
    seconds: float = 1.0


@dataclass(slots=True)
class Faults:
    """All that go on now; chance is seeded."""

    every: list[Fault] = field(default_factory=list)
    chance: Random = field(default_factory=lambda: Random(1))  # noqa: S311

    def strike(self, source: str) -> dict[Kind, Fault]:
        """Which faults strike a request, the first of each kind."""
        struck: dict[Kind, Fault] = {}
        for fault in self.every:
            if fault.kind not in struck and fault.source in (None, source) and self._strikes(fault):
                struck[fault.kind] = fault
        return struck

    def _strikes(self, fault: Fault) -> bool:
        if fault.times == 0 or self.chance.random() >= fault.share:
            return False
        if fault.times is not None:
            fault.times -= 1
        return True


def parse_fault(text: str) -> Fault:
    """Read `too_many`, or `too_many,share=0.2,times=50,retry_after=1,source=shop`.

    What has a comma in it, as dates have, stands in double quotes:
    `too_many,retry_after="Fri, 27 Nov 2026 08:00:00 GMT"`.

    Raises:
        BadInput: names all that is wrong, a line each, and what to write.
    """
    name, *parts = (part.strip() for part in _PART.findall(text))
    wrong = [] if name in list(Kind) else [f'"{name}" is no fault; write one of {", ".join(Kind)}']
    given: dict[str, Any] = {}
    for part in parts:
        try:
            key, value = _said(part)
            given[key] = value
        except BadInput as fault:
            wrong.append(str(fault))
    if wrong:
        raise BadInput("\n".join(wrong))
    return Fault(Kind(name), **given)


def _said(part: str) -> tuple[str, object]:
    key, sign, value = part.partition("=")
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1]
    if key not in _READ or not sign:
        raise BadInput(
            f'"{part}" says nothing of a fault; write {", ".join(f"{each}=…" for each in _READ)}, and what has a comma'
            ' in double quotes, as retry_after="Fri, 27 Nov 2026 08:00:00 GMT"'
        )
    try:
        return key, _READ[key](value)
    except ValueError:
        raise BadInput(f'{key}="{value}" cannot be; write {_EXAMPLES[key]}') from None


def check_source(value: str) -> str:
    """The name of a service, as it is.

    Raises:
        ValueError: there is none of it; says which may be meant.
    """
    if value not in SOURCES:
        raise ValueError(f"{quoted(value)}: {no_such('source', value, SOURCES)}")
    return value


def _share(value: str) -> float:
    share = float(value)
    if not 0 <= share <= 1:
        raise ValueError(value)
    return share


def _times(value: str) -> int:
    if not value.isascii() or not value.isdigit():
        raise ValueError(value)
    return int(value)


def _seconds(value: str) -> float:
    seconds = float(value)
    if not 0 <= seconds <= 3600:
        raise ValueError(value)
    return seconds


_PART = re.compile(r'(?:^|(?<=,))((?:"[^"]*"|[^,])*)')
"""What lies between commas; those between quotes are part of it."""

SOURCES: Sequence[str] = ("purchase", "shop", "product", "category")
_READ: Mapping[str, Callable[[str], object]] = {
    "source": check_source,
    "share": _share,
    "times": _times,
    "retry_after": str,
    "seconds": _seconds,
}
_EXAMPLES = {
    "source": f"one of {', '.join(SOURCES)}",
    "share": "a share from 0 to 1, as share=0.2",
    "times": "a whole number, as times=50",
    "retry_after": "what the header says",
    "seconds": "from 0 to 3600, as seconds=2.5",
}
