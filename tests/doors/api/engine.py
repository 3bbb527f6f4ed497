"""A small engine of backfills in memory: it knows states and people, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hark.doors.api.backfills import Backfill, Failure, NotHolding, PaceAsked, PreferencesAsked, Verified
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
    kept: dict[int, Backfill] = field(default_factory=dict)

    def one_in_each(self, states: Sequence[str]) -> dict[str, int]:
        """A backfill in each of these states, by somebody else; their numbers."""
        made = {state: self._keep("somebody", PaceAsked(None, True, None)) for state in states}
        for state, each in made.items():
            self.kept[each.id] = replace(each, state=state.upper())
        return {state: each.id for state, each in made.items()}

    async def create(self, asked: PreferencesAsked, who: str) -> Backfill:
        if asked.reasons == ("nope",):
            raise BadInput('--reason: "nope": no such reason\n--channels: none')
        self.asked.append(asked)
        return self._keep(who, asked.pace)

    async def show(self, number: int) -> Backfill | None:
        return self.kept.get(number)

    async def list(self, *, state: str | None, before: int, limit: int) -> Sequence[Backfill]:
        found = [each for each in self.kept.values() if each.id < before and state in (None, each.state)]
        return sorted(found, key=lambda each: -each.id)[:limit]

    async def approve(self, number: int, who: str) -> Backfill:
        return self._move(number, "approve", who)

    async def apply(self, number: int, who: str, plan: str | None) -> Backfill:
        if plan not in (None, self.kept[number].hash):
            raise BadInput("another plan")
        return self._move(number, "apply", who)

    async def pause(self, number: int, who: str) -> Backfill:
        return self._move(number, "pause", who)

    async def resume(self, number: int, who: str) -> Backfill:
        return self._move(number, "resume", who)

    async def cancel(self, number: int, who: str) -> Backfill:
        return self._move(number, "cancel", who)

    async def retry(self, number: int, who: str) -> Backfill:
        return self._move(number, "retry", who)

    async def speed(self, number: int, pace: PaceAsked, who: str) -> Backfill:
        if pace.window == "never":
            raise BadInput("'never' is not a window; write 20:00-06:00")
        self.kept[number] = replace(self.kept[number], rate=pace.rate, adaptive=pace.adaptive, window=pace.window)
        return self.kept[number]

    async def verify(self, number: int, who: str) -> Verified:
        return Verified(number, True, 2, 1, 1, 0, {"chose otherwise": 1}, [NotHolding("bob", True, "chose otherwise")])

    async def undo(self, number: int, who: str) -> Backfill:
        return replace(self._keep(who, PaceAsked(None, True, None)), undoes=number)

    async def failures(self, number: int, *, after: str, limit: int) -> Sequence[Failure]:
        every = [Failure(name, 1, "drifted", "opted out", MONDAY_NOON) for name in ("bob", "carol", "dora")]
        return [each for each in every if each.recipient_id > after][:limit]

    def _keep(self, who: str, pace: PaceAsked) -> Backfill:
        number = len(self.kept) + 1
        self.kept[number] = Backfill(
            id=number,
            kind="preferences",
            state="PLANNED",
            request={},
            hash="abc",
            members=2,
            to_change=2,
            batches=1,
            batches_done=0,
            applied=0,
            drifted=0,
            quarantined=0,
            needs_approval=False,
            batch_size=500,
            rate=pace.rate,
            adaptive=pace.adaptive,
            window=pace.window,
            outcomes={},
            waited={},
            created_by=who,
            created_at=MONDAY_NOON,
            approved_by=None,
            changed_by=who,
            changed_at=MONDAY_NOON,
            started_at=None,
            ended_at=None,
            undoes=None,
            why="",
        )
        return self.kept[number]

    def _move(self, number: int, verb: str, who: str) -> Backfill:
        found = self.kept[number]
        before, after = _MOVES[verb]
        if found.state not in before:
            raise BadInput(f"backfill {number} is {found.state}")
        self.kept[number] = replace(found, state=after, changed_by=who)
        return self.kept[number]
