"""An independent fold of what was said about purchases: a log, and what it comes to by definition, key by key.

It knows no rows, no order of words and no statements: whether a fact holds is asked anew of the whole log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hark.history.facts import Fact, Snapshot

Speaker = int | None
"""A run; None: the live stream."""


@dataclass(frozen=True, slots=True)
class Said:
    """One batch, by whom, at which place of the log; `load`: it was a full load's."""

    place: int
    by: Speaker
    facts: Sequence[Fact]
    load: Snapshot | None = None

    def lacks(self, user: str, word: Fact) -> bool:
        """Whether this was a load that saw the source without what the word says, at the word's version or later."""
        load = self.load
        return (
            load is not None
            and (load.user_id, load.kind) == (user, word.kind)
            and word.occurred_at is not None
            and load.since <= word.occurred_at
            and load.version >= word.version
            and all(fact.key != word.key for fact in load.facts)
        )


def receipt_of(key: str) -> str:
    """What the keys of one receipt's lines have in common."""
    return key.rpartition(":")[0] + ":"


@dataclass(slots=True)
class Ledger:
    """What was said, and what was taken back."""

    log: list[Said] = field(default_factory=list)
    owner: dict[str, str] = field(default_factory=dict)
    begins: dict[str, int] = field(default_factory=dict)
    speakers: dict[str, set[Speaker]] = field(default_factory=dict)

    def say(self, by: Speaker, facts: Sequence[Fact], load: Snapshot | None = None) -> None:
        """Words of one batch. Who first has a key is its owner, and who speaks of what is known is remembered."""
        said = Said(len(self.log), by, facts, load)
        before = dict(self.owner)
        self.log.append(said)
        for fact in sorted(facts, key=lambda each: each.user_id):
            if self.owner.get(fact.key, fact.user_id) != fact.user_id:
                continue
            if fact.key in before or fact.deleted or not self._overtaken(fact):
                self.owner[fact.key] = fact.user_id
                self.speakers.setdefault(fact.key, set()).add(by)

    def take_back(self, run: int, user: str) -> None:
        """Undo a run."""
        mine = [key for key, owner in self.owner.items() if owner == user]
        alone = [key for key in mine if self.speakers[key] == {run} and self.holds(key) is not None]
        for key in alone:
            self.begins[key] = len(self.log)
        for key in mine:
            self.speakers[key].discard(run)

    def alive(self, user: str) -> dict[str, Fact]:
        """The facts of a user that hold."""
        found = {key: self.holds(key) for key, owner in self.owner.items() if owner == user}
        return {key: fact for key, fact in found.items() if fact is not None}

    def holds(self, key: str) -> Fact | None:
        """The word about a key that holds; None: none does."""
        words = [fact for _, fact in self._since(key) if fact.key == key and fact.user_id == self.owner[key]]
        best = max(words, key=lambda fact: (fact.version, fact.deleted), default=None)
        return None if best is None or best.deleted or self._overtaken(best) else best

    def _overtaken(self, word: Fact) -> bool:
        """Whether its receipt, or a load, was seen without it later."""
        whole = [
            fact.version
            for _, fact in self._since(word.key)
            if fact.whole and fact.user_id == word.user_id and receipt_of(fact.key) == receipt_of(word.key)
        ]
        if word.whole and word.version < max(whole, default=0):
            return True
        return any(said.lacks(word.user_id, word) for said in self.log[self.begins.get(word.key, 0) :])

    def _since(self, key: str) -> Iterator[tuple[Said, Fact]]:
        for said in self.log[self.begins.get(key, 0) :]:
            for fact in said.facts:
                yield said, fact
