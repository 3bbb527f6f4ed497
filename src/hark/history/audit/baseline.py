"""A report kept as JSON, and what became of it: what there was before, what there is after, and who brought it.

Where all stood still while a report was made, its totals of facts and graph are of one moment, and are compared: it has
the check `totals`. Beside live events they are not: the facts are counted user by user, the graph at the end. Growth is
judged only between two reports that stood still; of the others it is said how they moved, and users are compared one by
one as ever.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hark.errors import BadInput
from hark.history.audit.report import Name, Report, Severity

FORMAT = "hark-history-audit/1"


class _Kept(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class BaselineCheck(_Kept):
    """How one check came out."""

    name: str
    severity: Severity
    count: Annotated[int, Field(ge=0)]


class BaselineRun(_Kept):
    """What a run had brought."""

    run: Annotated[int, Field(ge=0)]
    facts: Annotated[int, Field(ge=0)]
    alone: Annotated[int, Field(ge=0)]


class Baseline(_Kept):
    """What is compared of an earlier report."""

    format: str
    at: datetime
    score: float
    facts: Mapping[str, int]
    held: Mapping[str, int]
    brought: Sequence[BaselineRun]
    checks: Sequence[BaselineCheck]

    @property
    def stood_still(self) -> bool:
        """Whether nothing moved while it was made."""
        return any(each.name == Name.TOTALS for each in self.checks)


@dataclass(frozen=True, slots=True)
class Total:
    """One total before and after: in the graph (None: no graph then or now), and by the facts.

    Attributes:
        expected: the graph grew by what the facts grew by, or has now what they amount to; or something moved.
        apart: how much more the graph grew than the facts; None: there was no graph then, or there is none now.
    """

    name: str
    facts_before: int
    facts_after: int
    held_before: int | None
    held_after: int | None
    expected: bool
    apart: int | None


@dataclass(frozen=True, slots=True)
class RunSince:
    """What a run has brought since: facts that count and that it says, and those that only it says. Run 0: live."""

    run: int
    facts_before: int
    facts_after: int
    alone_before: int
    alone_after: int


@dataclass(frozen=True, slots=True)
class Turned:
    """A check that came out otherwise."""

    name: str
    before: Severity
    after: Severity
    count_before: int
    count_after: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A report against an earlier one.

    Attributes:
        moved: something moved while one of the two was made, so that its totals are of no one moment.
    """

    since: datetime
    moved: bool
    score_before: float
    score_after: float
    totals: Sequence[Total]
    runs: Sequence[RunSince]
    turned: Sequence[Turned]

    @property
    def as_expected(self) -> bool:
        """Whether the graph grew by what the facts did, wherever that can be known, and nothing became critical."""
        worse = any(each.after is Severity.CRITICAL is not each.before for each in self.turned)
        return all(each.expected for each in self.totals) and not worse


def kept(report: Mapping[str, Any]) -> str:
    """A report, already as plain values, as a baseline's text."""
    return json.dumps({"format": FORMAT, **report}, ensure_ascii=False, indent=1) + "\n"


def read_baseline(path: Path) -> Baseline:
    """A baseline that `--save` wrote.

    Raises:
        BadInput: it cannot be read, or is none; names the file and what is wrong.
    """
    try:
        baseline = Baseline.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; --compare takes a file that --save wrote") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise BadInput(f"{path}: {where}: {first['msg']}; --compare takes a file that --save wrote") from None
    if baseline.format != FORMAT:
        raise BadInput(f"{path}: its format is {baseline.format!r}, not {FORMAT!r}; --compare takes what --save wrote")
    return baseline


def difference(before: Baseline, report: Report) -> Difference:
    """What became of an earlier report."""
    moved = not (before.stood_still and any(each.name is Name.TOTALS for each in report.checks))
    return Difference(
        since=before.at,
        moved=moved,
        score_before=before.score,
        score_after=report.score,
        totals=[_total(name, before, report, moved) for name in {**before.facts, **report.facts}],
        runs=_runs(before, report),
        turned=list(_turned(before, report)),
    )


def _total(name: str, before: Baseline, report: Report, moved: bool) -> Total:
    was, is_ = before.facts.get(name, 0), report.facts.get(name, 0)
    held_was, held_is = before.held.get(name), report.held.get(name)
    apart = None if held_was is None or held_is is None else (held_is - held_was) - (is_ - was)
    expected = not apart or held_is == is_ or moved
    return Total(name, was, is_, held_was, held_is, expected, apart)


def _runs(before: Baseline, report: Report) -> list[RunSince]:
    was = {each.run: each for each in before.brought}
    is_ = {each.run: each for each in report.brought}
    nothing = BaselineRun(run=0, facts=0, alone=0)
    found = []
    for run in sorted({*was, *is_}):
        old, new = was.get(run, nothing), is_.get(run, nothing)
        found.append(RunSince(run, old.facts, new.facts, old.alone, new.alone))
    return found


def _turned(before: Baseline, report: Report) -> Sequence[Turned]:
    was = {each.name: each for each in before.checks}
    nothing = BaselineCheck(name="", severity=Severity.OK, count=0)
    each = [(check, was.get(check.name, nothing)) for check in report.checks]
    return [
        Turned(check.name, old.severity, check.severity, old.count, check.count)
        for check, old in each
        if (check.severity, check.count) != (old.severity, old.count)
    ]
