"""How the demo of purchases looks while it runs and at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hark.backfill.listing import Shown
from hark.doors.cli import backfill_pages
from hark.doors.cli.ingesting import Tally
from hark.doors.demo.history.ledger import Compared
from hark.doors.demo.history.summary import Summary
from hark.history.answers import Purchase, ShopsIn
from hark.history.audit import Report, Severity
from hark.history.loading.course import SAID, Stage

_CATEGORIES, _PURCHASES = 3, 4
_STEPS = 2


@dataclass(slots=True)
class Show:
    """Everything that is shown on a console, as it happens."""

    console: Console
    _began: float = field(default_factory=time.monotonic)
    _acts: int = 0
    _live: Live | None = None
    _tally: Tally = field(default_factory=Tally)

    def act(self, title: str) -> None:
        """What comes now."""
        self._acts += 1
        self._print("")
        self._print(f"{self._acts}. {title}", f"  {time.monotonic() - self._began:.0f} s", style="bold")

    def say(self, line: str) -> None:
        """Something that is so."""
        self._print(f"   {line}")

    def plan(self, planned: Shown) -> None:
        """A plan, as `hark backfill history` prints it."""
        for line in backfill_pages.plan(planned, planned.cohort):
            self._print(f"   │ {line}".rstrip(), style="dim")

    def passed(self, stage: Stage, detail: str) -> None:
        """A run came to a stage."""
        self._print(f"   {stage:<10} {detail}; now " if detail else f"   {stage:<10} ", SAID[stage])

    @contextmanager
    def progress(self, tally: Tally) -> Iterator[None]:
        """While a run goes on beside the stream: how far both are, in place, on a terminal."""
        self._tally = tally
        if not self.console.is_terminal:
            yield
            return
        with Live(console=self.console, refresh_per_second=12, transient=True) as self._live:
            yield
        self._live = None

    def seen(self, run: Shown) -> None:
        """How far a run is."""
        if self._live is not None:
            self._live.update(_view(run, self._tally))

    def ended(self, run: Shown) -> None:
        """How a run ended."""
        course = run.more or {}
        steps = f", {course['done']:,} steps" if course.get("done") else ""
        undoes = f", undoes {run.head.undoes}" if run.head.undoes else ""
        users = f"{run.totals.applied:,} of {run.totals.to_change:,} users"
        self.say(f"backfill {run.head.id}{undoes} is {run.head.state}: {users}{steps}")

    def answers(self, categories: Sequence[ShopsIn], purchases: Sequence[Purchase]) -> None:
        """In which categories a few people shop most, and what one of them bought last."""
        table = Table("who", "shops in", box=None, pad_edge=False, header_style="bold")
        for title in ("purchases", "for", "last"):
            table.add_column(title, justify="right")
        for each in _first_of_each(categories):
            where = " › ".join((each.category_hierarchy or (each.category_id,))[-2:])
            last = f"{each.last_at:%d %b %Y}"
            table.add_row(each.user_id, where, f"{each.purchases:,}", _money(each.totals), last)
        self._show(table)
        latest = Table("who", "bought last", "where", box=None, pad_edge=False, header_style="bold")
        for bought in purchases[:_PURCHASES]:
            what = bought.product_name or f"{bought.product_id} (nobody knows its name)"
            latest.add_row(bought.user_id, what, bought.store_id or "")
        self._show(latest)

    def audited(self, report: Report) -> None:
        """What an audit found."""
        users = report.compared.get("users at sources", 0)
        good = report.severity is Severity.OK
        said = f"audit: {report.severity}, {report.score:g} of 100;"
        self._print(f"   {said} {users:,} users asked for at the sources", style="green" if good else "bold red")
        for check in report.checks:
            for each in check.examples:
                self._print(f"     {check.severity} {check.name}: {each.id}: {each.cause}", style="red")
            if check.examples:
                self._print(f"     to do: {check.mend}")

    def compared(self, found: Compared) -> None:
        """What Postgres answers beside the fold."""
        said = f"{found.lines:,} purchases and {found.sums:,} sums by category beside a fold of its own:"
        verdict = "equal, to the last line" if found.equal else "NOT EQUAL"
        self._print(f"   {said} {verdict}", style="green" if found.equal else "bold red")
        for each in found.differ:
            self._print(f"     {each}", style="red")

    def _show(self, table: Table) -> None:
        from rich.padding import Padding

        self.console.print(Padding(table, (0, 0, 1, 3)))

    def _print(self, line: str, more: str = "", *, style: str = "") -> None:
        self.console.print(Text(line, style=style) + Text(more, style="dim"), soft_wrap=True)


def _view(run: Shown, tally: Tally) -> Panel:
    course = run.more or {}
    done, total = course.get("done", 0), run.totals.to_change * _STEPS
    counts = Table.grid(padding=(0, 2))
    counts.add_column(justify="right")
    counts.add_column()
    for count, said in (
        (done, f"of {total:,} steps: each user's receipts, and each user's orders"),
        (tally.messages, "messages of the live stream meanwhile and before"),
        (tally.recorded, "of them recorded"),
        (tally.left_out, "of people who were not let in"),
    ):
        counts.add_row(Text(f"{count:,}", style="bold"), Text(said, style="dim"))
    bar = ProgressBar(total=float(max(total, 1)), completed=float(done))
    head = Text(f"{course.get('stage', 'about to begin')}", style="bold")
    return Panel(Group(head, bar, counts), title="hark demo history", expand=False)


def _first_of_each(categories: Sequence[ShopsIn]) -> Iterator[ShopsIn]:
    shown: dict[str, int] = {}
    for each in categories:
        shown[each.user_id] = shown.get(each.user_id, 0) + 1
        if shown[each.user_id] <= _CATEGORIES:
            yield each


def _money(totals: object) -> str:
    assert isinstance(totals, dict)
    return ", ".join(f"{minor / 100:,.2f} {currency}" for currency, minor in sorted(totals.items()))


def in_words(summary: Summary) -> Iterator[str]:
    """The summary for people, line by line."""
    yield f"{summary.users:,} users were loaded; meanwhile {summary.meanwhile:,} messages came."
    said = f"{summary.recorded:,} recorded, {summary.left_out:,} of people not let in, {summary.dead:,} not to be taken"
    yield f"Of all {summary.messages:,} messages: {said}."
    first, broken, healed = summary.audits
    found = "found, with its user and cause" if summary.fault.found else "NOT found as it was"
    yield f"Audits: {first.severity}; with a fault planted {broken.severity}, {found}; healed {healed.severity}."
    for each in summary.compared:
        verdict = "equal, to the last line" if each.equal else "NOT EQUAL"
        yield f"{each.what:<20} {each.lines:>6,} purchases, {each.sums:>4,} sums by category: {verdict}"
    yield f"The undo left what the stream had brought, and {summary.let_in:,} users let in, as before."
    verdict = (
        "Nothing is left running." if summary.good else "It did NOT all come as it should. Nothing is left running."
    )
    yield f"{verdict} It took {summary.seconds:.0f} s."
