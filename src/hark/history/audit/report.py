"""What an audit says: checks, each with how it came out, how much was compared, and a few of what it found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

EXAMPLES = 5
"""How many findings of one check are named."""


class Severity(StrEnum):
    """How a check came out, from good to bad."""

    OK = "OK"
    WARN = "WARN"
    CRITICAL = "CRITICAL"


class Name(StrEnum):
    """The checks. Why each is there, and what mends what it finds: docs/reference/audit.md."""

    MISSING_EDGE = "missing edge"
    EXTRA_EDGE = "extra edge"
    STALE_EDGE = "stale edge"
    WRONG_EDGE = "wrong edge"
    TWIN_EDGE = "twin edge"
    WRONG_TOTAL = "wrong total"
    WRONG_NODE = "wrong node"
    MISSING_NODE = "missing node"
    TWIN_NODE = "twin node"
    STRANGER = "stranger"
    WRONG_PRODUCT = "wrong product"
    IN_CATEGORY = "in category"
    FOREIGN_PROPERTY = "foreign property"
    VERSION = "version"
    TOTALS = "totals"
    ORPHAN = "orphan"
    FOREIGN_KIND = "foreign kind"
    CONSTRAINTS = "constraints"
    WAITING = "waiting"
    FUTURE_TIME = "future time"
    FACT_VERSION = "fact version"
    WINDOW = "window"
    QUARANTINE = "quarantine"
    SOURCE_MISSING = "missing in facts"
    SOURCE_EXTRA = "not in source"
    SOURCE_DIFFERS = "source differs"
    SOURCE_UNKNOWN = "never loaded"
    SOURCE_AWAY = "source away"


_WARNINGS = frozenset(
    {
        Name.ORPHAN,
        Name.FOREIGN_KIND,
        Name.CONSTRAINTS,
        Name.WAITING,
        Name.FUTURE_TIME,
        Name.QUARANTINE,
        Name.SOURCE_UNKNOWN,
        Name.SOURCE_AWAY,
    }
)
_REBUILD = "hark history rebuild --user USER"
_ALL = "hark history rebuild"
_EITHER = f"{_REBUILD}; of what is no user's: {_ALL}"
_LOAD = "load them anew: hark backfill history --force"
_MENDS: Mapping[Name, str] = {
    Name.MISSING_EDGE: _REBUILD,
    Name.EXTRA_EDGE: _EITHER,
    Name.STALE_EDGE: _REBUILD,
    Name.WRONG_EDGE: _REBUILD,
    Name.TWIN_EDGE: _REBUILD,
    Name.WRONG_TOTAL: _REBUILD,
    Name.WRONG_NODE: _REBUILD,
    Name.MISSING_NODE: _EITHER,
    Name.TWIN_NODE: _ALL,
    Name.STRANGER: _ALL,
    Name.WRONG_PRODUCT: _ALL,
    Name.IN_CATEGORY: _ALL,
    Name.FOREIGN_PROPERTY: _ALL,
    Name.VERSION: "a worker's sweep mends it, or hark history rebuild",
    Name.TOTALS: _ALL,
    Name.ORPHAN: _ALL,
    Name.FOREIGN_KIND: "whoever else writes there needs a database of their own",
    Name.CONSTRAINTS: "hark history init",
    Name.WAITING: "is a worker running?",
    Name.FUTURE_TIME: "its source says so; if only the graph does, hark history rebuild --user USER",
    Name.FACT_VERSION: "was Postgres restored? hark history rebuild",
    Name.WINDOW: "is a worker running? It rolls the window on",
    Name.QUARANTINE: "hark.fact_refused has them, with whom their keys belong to",
    Name.SOURCE_MISSING: _LOAD,
    Name.SOURCE_EXTRA: _LOAD,
    Name.SOURCE_DIFFERS: _LOAD,
    Name.SOURCE_UNKNOWN: "load them: hark backfill history; of one under way they are still to come",
    Name.SOURCE_AWAY: "ask again when it answers",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be: of whom or what, and why that is said."""

    check: Name
    id: str
    cause: str

    @property
    def severity(self) -> Severity:
        """How bad it is: as bad as its check."""
        return Severity.WARN if self.check in _WARNINGS else Severity.CRITICAL


@dataclass(frozen=True, slots=True)
class Example:
    """A finding of a check that has been named."""

    id: str
    cause: str


@dataclass(frozen=True, slots=True)
class Check:
    """How one check came out.

    Attributes:
        count: how many findings.
        compared: how many of `of` it looked at.
        mend: what to do about it.
    """

    name: Name
    severity: Severity
    count: int
    compared: int
    of: str
    examples: Sequence[Example]
    mend: str


@dataclass(frozen=True, slots=True)
class Brought:
    """What a run brought (0: the live stream): facts that count and that it said, and those that only it said."""

    run: int
    facts: int
    alone: int


@dataclass(frozen=True, slots=True)
class Report:
    """An audit.

    Attributes:
        score: from 0 to 100: see `Findings.score`.
        graph: whether there is one.
        compared: how many users, purchases, products … were compared.
        facts: totals by the facts, by label and type.
        held: totals as the graph counts them; empty without a graph.
        known: products, and what is known of them.
    """

    at: datetime
    score: float
    severity: Severity
    graph: bool
    compared: Mapping[str, int]
    facts: Mapping[str, int]
    held: Mapping[str, int]
    known: Mapping[str, int]
    brought: Sequence[Brought]
    checks: Sequence[Check]

    @property
    def good(self) -> bool:
        """Whether nothing is critical."""
        return self.severity is not Severity.CRITICAL

    def check(self, name: Name) -> Check:
        """One of the checks.

        Raises:
            KeyError: it was not made: without a graph, or without sources.
        """
        try:
            return next(each for each in self.checks if each.name is name)
        except StopIteration:
            raise KeyError(name) from None


@dataclass(slots=True)
class Findings:
    """Gathers what is found; of each check it keeps a few, so that it stays small however much is wrong."""

    made: dict[Name, str] = field(default_factory=dict)
    counts: dict[Name, int] = field(default_factory=dict)
    examples: dict[Name, list[Example]] = field(default_factory=dict)
    compared: dict[str, int] = field(default_factory=dict)
    bad: int = 0

    def make(self, of: str, *names: Name) -> None:
        """Checks that are made, and of what."""
        self.made.update(dict.fromkeys(names, of))

    def looked_at(self, of: str, many: int = 1) -> None:
        """So many more of something were compared."""
        self.compared[of] = self.compared.get(of, 0) + many

    def found(self, findings: Iterable[Finding]) -> None:
        """What was found of one user, product or other thing."""
        critical = False
        for each in findings:
            self.count(each.check, 1, [Example(each.id, each.cause)])
            critical = critical or each.severity is Severity.CRITICAL
        self.bad += critical

    def count(self, check: Name, many: int, examples: Iterable[Example] = ()) -> None:
        """So many more findings of a check, a few of them named."""
        self.counts[check] = self.counts.get(check, 0) + many
        kept = self.examples.setdefault(check, [])
        kept.extend(list(examples)[: EXAMPLES - len(kept)])

    def checks(self) -> list[Check]:
        """Those that were made, the worst first."""
        made = [self._check(name, of) for name, of in self.made.items()]
        worst = list(reversed(Severity))
        return sorted(made, key=lambda each: (worst.index(each.severity), list(Name).index(each.name)))

    def score(self, checks: Sequence[Check]) -> float:
        """The share of users and products that nothing critical is said of, in percent, less one for each warning.

        Rounded down to a tenth; 100 only if nothing at all is wrong.
        """
        looked_at = max(self.compared.get("users", 0) + self.compared.get("products", 0), self.bad, 1)
        warned = sum(each.severity is Severity.WARN for each in checks)
        share = int(1000 * (looked_at - self.bad) / looked_at) / 10 - warned
        wrong = any(each.severity is Severity.CRITICAL for each in checks)
        return max(0.0, min(share, 99.9) if wrong else share)

    def _check(self, name: Name, of: str) -> Check:
        count = self.counts.get(name, 0)
        severity = Finding(name, "", "").severity if count else Severity.OK
        compared = self.compared.get(of, 0)
        return Check(
            name, severity, count, compared, of, tuple(self.examples.get(name, ())), _MENDS[name] if count else ""
        )


def worst(checks: Iterable[Check]) -> Severity:
    """How bad the worst of them is."""
    order = list(Severity)
    return max((each.severity for each in checks), key=order.index, default=Severity.OK)
