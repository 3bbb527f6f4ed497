"""A small engine of backfills in memory: it knows states and people, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hark.backfill.failures import Failure
from hark.backfill.listing import Line
from hark.doors.api.backfills import (
    Astray,
    Head,
    LoadAsked,
    PaceAsked,
    PreferencesAsked,
    Shown,
    SpeedAsked,
    Totals,
    Verified,
)
from hark.errors import BadInput
from tests.world import MONDAY_NOON

_MOVES: Mapping[str, tuple[frozenset[str], str]] = {
    "approve": (frozenset({"PLANNED"}), "APPROVED"),
    "apply": (frozenset({"PLANNED", "APPROVED"}), "APPLYING"),
    "pause": (frozenset({"APPLYING"}), "PAUSED"),
    "resume": (frozenset({"PAUSED"}), "APPLYING"),
    "cancel": (frozenset({"PLANNED", "APPROVED", "APPLYING", "PAUSED"}), "CANCELED"),
    "retry": (frozenset({"APPLIED"}), "APPLYING"),
}


@dataclass(slots=True)
class Engine:
    """What it was asked is in `asked`; what it has, in `kept`."""

    asked: list[PreferencesAsked] = field(default_factory=list)
    kept: dict[int, Shown] = field(default_factory=dict)
    stopped: bool = False
    loads: list[LoadAsked] = field(default_factory=list)

    def one_in_each(self, states: Sequence[str]) -> dict[str, int]:
        """A backfill in each of these states, by somebody else; their numbers."""
        made = {state: self._keep("somebody", PaceAsked(None, True, None)) for state in states}
        for state, each in made.items():
            self._change(each.head.id, state=state.upper())
        return {state: each.head.id for state, each in made.items()}

    async def faults(self, asked: PreferencesAsked) -> list[str]:
        return [f"--reason: {name}" for name in asked.reasons if name != "comment"]

    async def create(self, asked: PreferencesAsked, who: str) -> Shown:
        if asked.reasons == ("nope",):
            raise BadInput('--reason: "nope": no such reason\n--channels: none')
        self.asked.append(asked)
        return self._keep(who, asked.pace)

    async def load(self, asked: LoadAsked, who: str) -> Shown:
        self.loads.append(asked)
        return self._keep(who, PaceAsked(asked.rate_limit, True, None))

    async def show(self, number: int) -> Shown | None:
        return self.kept.get(number)

    async def list(self, *, before: int, limit: int) -> Sequence[Line]:
        heads = sorted((each.head for each in self.kept.values() if each.head.id < before), key=lambda head: -head.id)
        return [
            Line(head.id, head.kind, head.state, None, 2, 2, head.created_by, MONDAY_NOON, MONDAY_NOON, "")
            for head in heads[:limit]
        ]

    async def approve(self, number: int, who: str) -> Shown:
        return self._move(number, "approve", who)

    async def apply(self, number: int, who: str, plan: str | None) -> Shown:
        if plan not in (None, self.kept[number].head.hash):
            raise BadInput("another plan")
        return self._move(number, "apply", who)

    async def pause(self, number: int, who: str) -> Shown:
        return self._move(number, "pause", who)

    async def resume(self, number: int, who: str) -> Shown:
        return self._move(number, "resume", who)

    async def cancel(self, number: int, who: str) -> Shown:
        return self._move(number, "cancel", who)

    async def retry(self, number: int, who: str) -> Shown:
        return self._move(number, "retry", who)

    async def speed(self, number: int, speed: SpeedAsked, who: str) -> Shown:
        if speed.window == "never":
            raise BadInput("'never' is not a window; write 20:00-06:00")
        was = self.kept[number].head
        return self._change(
            number,
            rate=None if speed.any_rate else speed.rate or was.rate,
            adaptive=was.adaptive if speed.adaptive is None else speed.adaptive,
            window=None if speed.any_time else speed.window or was.window,
        )

    async def verify(self, number: int, who: str, *, shown: int) -> Verified:
        named = [Astray("bob", True, "chose otherwise")][:shown]
        return Verified(number, True, 2, 1, 1, 0, {"chose otherwise": 1}, named)

    async def astray(self, number: int, *, after: str, limit: int, unexplained: bool) -> Sequence[Astray]:
        if self.kept[number].head.state == "APPLYING":
            raise BadInput(f"backfill {number} is APPLYING")
        every = [Astray(name, name != "carol", "chose otherwise") for name in ("bob", "carol", "dora")]
        return [each for each in every if each.recipient_id > after and not (unexplained and each.explained)][:limit]

    async def undo(self, number: int, who: str) -> Shown:
        return self._change(self._keep(who, PaceAsked(None, True, None)).head.id, undoes=number)

    async def failures(self, number: int, *, after: str, limit: int) -> Sequence[Failure]:
        every = [Failure(name, 1, "drifted", "opted out", MONDAY_NOON) for name in ("bob", "carol", "dora")]
        return [each for each in every if each.recipient_id > after][:limit]

    async def stop_all(self, who: str, *, stopped: bool) -> bool:
        turned, self.stopped = self.stopped is not stopped, stopped
        return turned

    def _keep(self, who: str, pace: PaceAsked) -> Shown:
        number = len(self.kept) + 1
        head = Head(
            id=number,
            kind="preferences",
            state="PLANNED",
            undoes=None,
            undone_by=[],
            request={},
            cohort_id=1,
            batch_size=500,
            rate=pace.rate,
            adaptive=pace.adaptive,
            window=pace.window,
            approval_over=None,
            hash="abc",
            created_by=who,
            created_at=MONDAY_NOON,
            approved_by=None,
            started_at=None,
            ended_at=None,
            compared=None,
            holding=None,
            why="",
        )
        self.kept[number] = Shown(head, None, Totals(1, 0, 0, 2, 0, 2, 0, 0, 0), [], [], None, [], [], False)
        return self.kept[number]

    def _change(self, number: int, **changes: Any) -> Shown:
        found = self.kept[number]
        self.kept[number] = replace(found, head=replace(found.head, **changes))
        return self.kept[number]

    def _move(self, number: int, verb: str, who: str) -> Shown:
        before, after = _MOVES[verb]
        state = self.kept[number].head.state
        if state not in before:
            raise BadInput(f"backfill {number} is {state}")
        return self._change(number, state=after, approved_by=who if verb == "approve" else None)
