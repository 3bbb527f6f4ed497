"""The engine of backfills as the HTTP door sees it: `Backfills` over `hark.backfill`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from hark.backfill import control, listing
from hark.backfill import failures as failing
from hark.backfill import verify as verifying
from hark.backfill.cohort import CohortWords, FileReach, Staged
from hark.backfill.loads import GRAPH_SOURCE, LoadWords, ask_load, check_words, gate_warnings
from hark.backfill.notice import Webhook
from hark.backfill.ordering import PreferenceWords, apply_plan, ask_preferences, check_asked, read_change
from hark.backfill.undo import undo
from hark.catalogue import Catalogue
from hark.clock import Clock
from hark.config import Settings
from hark.doors.api import backfills as told
from hark.doors.api.cohorts import check_named, cohort_asked
from hark.durations import Rate
from hark.errors import BadInput
from hark.history.live import lag
from hark.history.live.gates import own_flag
from hark.postgres.database import Database

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Engine:
    """`Backfills` in earnest. Nothing is staged, planned or applied here: workers do that.

    Attributes:
        lag: looks at how far the live stream is behind; None: there is none.
        gate: the flag of Hark's that live ingestion goes by; None: by none.
    """

    database: Database
    catalogue: Catalogue
    clock: Clock
    reach: FileReach
    webhook: Webhook | None = None
    source_rate: Rate = Rate(10, timedelta(seconds=1))  # noqa: RUF009  (frozen)
    lag: Callable[[], Awaitable[lag.LagReport]] | None = None
    gate: str | None = None

    @classmethod
    def of(
        cls, database: Database, catalogue: Catalogue, settings: Settings, clock: Clock, webhook: Webhook | None = None
    ) -> Engine:
        """As the settings want it: files of this machine are nobody's who calls, but where `object_stores` says so.

        Args:
            webhook: is told of what is called off here.
        """
        reach = FileReach.of(settings, local=False)
        return cls(
            database,
            catalogue,
            clock,
            reach,
            webhook,
            settings.source_rate,
            partial(lag.preflight, database, settings),
            own_flag(settings),
        )

    async def create(self, asked: told.PreferencesAsked, who: str) -> told.Shown:
        """See `Backfills.create`."""
        number = await ask_preferences(
            self.database,
            self.catalogue,
            _words(asked, self.reach),
            who=who,
            now=self._now(),
            reach=self.reach,
            named=partial(check_named, asked.cohort),
        )
        return await self._shown(number)

    async def faults(self, asked: told.PreferencesAsked) -> Sequence[str]:
        """See `Backfills.faults`."""
        try:
            await check_asked(
                self.database,
                self.catalogue,
                _words(asked, self.reach),
                reach=self.reach,
                named=partial(check_named, asked.cohort),
            )
        except BadInput as error:
            return str(error).splitlines()
        return ()

    async def load(self, asked: told.LoadAsked, who: str) -> told.Shown:
        """See `Backfills.load`."""
        words = LoadWords(
            cohort=CohortWords() if asked.cohort is None else partial(cohort_asked, asked.cohort, self.reach),
            source=GRAPH_SOURCE if asked.everyone else None,
            flag=asked.flag,
            lookback_days=asked.lookback_days,
            rate_limit=asked.rate_limit,
            force=asked.force,
            start=True,
        )
        check_words(words, now=self._now(), allowed=self.source_rate, reach=self.reach)
        warnings = () if asked.ignore_lag else await self._look_at_lag()
        unlet = gate_warnings(words, self.gate, f'"flag": "{self.gate}"')
        number = await ask_load(
            self.database,
            self.catalogue,
            words,
            who=who,
            now=self._now(),
            allowed=self.source_rate,
            reach=self.reach,
        )
        return replace(await self._shown(number), warnings=[*warnings, *unlet])

    async def show(self, number: int) -> told.Shown | None:
        """See `Backfills.show`."""
        try:
            await control.stand(self.database, number)
        except BadInput:
            return None
        return await self._shown(number)

    async def list(self, *, before: int, limit: int) -> Sequence[listing.Line]:
        """See `Backfills.list`."""
        return await listing.backfills(self.database, before=before, limit=limit)

    async def approve(self, number: int, who: str) -> told.Shown:
        """See `Backfills.approve`."""
        await control.approve(self.database, number, who=who, now=self._now())
        return await self._shown(number)

    async def apply(self, number: int, who: str, plan: str | None) -> told.Shown:
        """See `Backfills.apply`."""
        await apply_plan(self.database, number, who=who, now=self._now(), reach=self.reach, plan_hash=plan)
        return await self._shown(number)

    async def pause(self, number: int, who: str) -> told.Shown:
        """See `Backfills.pause`."""
        await control.pause(self.database, number, who=who, now=self._now())
        return await self._shown(number)

    async def resume(self, number: int, who: str) -> told.Shown:
        """See `Backfills.resume`."""
        await control.resume(self.database, number, who=who, now=self._now())
        return await self._shown(number)

    async def cancel(self, number: int, who: str) -> told.Shown:
        """See `Backfills.cancel`."""
        await control.cancel(self.database, number, who=who, now=self._now(), webhook=self.webhook)
        return await self._shown(number)

    async def speed(self, number: int, speed: told.SpeedAsked, who: str) -> told.Shown:
        """See `Backfills.speed`."""
        read = read_change(
            speed.rate,
            adaptive=speed.adaptive,
            window=speed.window,
            any_rate=speed.any_rate,
            any_time=speed.any_time,
        )
        await control.speed(self.database, number, read, who=who, now=self._now())
        return await self._shown(number)

    async def retry(self, number: int, who: str) -> told.Shown:
        """See `Backfills.retry`."""
        await failing.retry_failures(self.database, number, who=who, now=self._now())
        return await self._shown(number)

    async def verify(self, number: int, who: str, *, shown: int) -> told.Verified:
        """See `Backfills.verify`."""
        seen = await verifying.verify(self.database, number, who=who, now=self._now(), shown=shown)
        return _as(told.Verified, seen, astray=_each(told.Astray, seen.astray))

    async def astray(self, number: int, *, after: str, limit: int, unexplained: bool) -> Sequence[told.Astray]:
        """See `Backfills.astray`."""
        seen = await verifying.astray(self.database, number, after=after, limit=limit, unexplained=unexplained)
        return _each(told.Astray, seen)

    async def undo(self, number: int, who: str) -> told.Shown:
        """See `Backfills.undo`."""
        over = self.catalogue.backfills.approval_over
        return await self._shown(await undo(self.database, number, who=who, now=self._now(), approval_over=over))

    async def failures(self, number: int, *, after: str, limit: int) -> Sequence[failing.Failure]:
        """See `Backfills.failures`."""
        return await failing.failures(self.database, number, after=after, limit=limit)

    async def stop_all(self, who: str, *, stopped: bool) -> bool:
        """See `Backfills.stop_all`."""
        return await control.stop_all(self.database, stopped=stopped, who=who, now=self._now())

    async def _look_at_lag(self) -> Sequence[str]:
        """What is worth knowing of the stream before a load.

        Raises:
            StreamBehind: it stands in its way.
        """
        if self.lag is None:
            return ()
        seen = await self.lag()
        if not seen.is_good:
            raise told.StreamBehind(seen.faults, unreachable=seen.unreachable)
        return seen.warnings

    def _now(self) -> datetime:
        return self.clock.now()

    async def _shown(self, number: int) -> told.Shown:
        seen = await listing.show(self.database, number)
        return told.Shown(
            head=_as(told.Head, seen.head),
            cohort=_staged(seen.cohort),
            totals=_as(told.Totals, seen.totals),
            counts=seen.counts,
            samples=seen.samples,
            estimate=seen.estimate,
            waited=seen.waited,
            events=seen.events,
            needs_approval=seen.needs_approval,
            more=None if seen.more is None else dict(seen.more),
            job_id=number,
        )


def _words(asked: told.PreferencesAsked, reach: FileReach) -> PreferenceWords:
    return PreferenceWords(
        reasons=asked.reasons,
        channels=asked.channels,
        user_types=asked.user_types,
        cohort=partial(cohort_asked, asked.cohort, reach),
        create_rows=asked.create_rows,
        batch_size=asked.batch_size,
        rate=asked.pace.rate,
        adaptive=asked.pace.adaptive,
        window=asked.pace.window,
    )


def _staged(staged: Staged | None) -> told.Staged | None:
    if staged is None:
        return None
    faults = _each(told.ListFault, staged.faults)
    return _as(told.Staged, staged, faults=faults, warnings=[*staged.warnings])


def _each(kind: type[T], rows: Iterable[object]) -> list[T]:
    return [_as(kind, row) for row in rows]


def _as(kind: type[T], seen: object, **other: Any) -> T:
    """What the door tells of what the engine has: the fields of the same names."""
    names = (each.name for each in fields(kind))  # type: ignore[arg-type]
    return kind(**{**{name: getattr(seen, name) for name in names if name not in other}, **other})
