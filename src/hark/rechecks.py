"""May it still be said? Asking the rechecks of the catalogue, at the last moment. In: Asked. Out: Answered.

An SQL recheck is not asked here: it runs inside of a statement of `hark.delivery.ask`, as `as_part` gives it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from hark.catalogue import Catalogue, PythonSource, Source, SqlSource, UrlSource
from hark.errors import SourceFailed
from hark.sources import Answer, Asking, Payload, call, post, validated

LONGEST_WHY = 60


@dataclass(frozen=True, slots=True)
class Asked:
    """One item that is about to be sent to one recipient: of an event its id, of a feed its key.

    `n` names it in the answer; `entities` are those of the event; `at` is aware.
    """

    n: int
    recipient_id: str
    event_id: int | None
    key: str | None
    actor: str | None
    about: str | None
    entities: Sequence[str]
    at: datetime
    payload: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Answered:
    """What is to become of an item: said as it is, or with another `payload` (it was edited), or not, and `why`.

    An item without an answer is not said either: it is gone.
    """

    n: int
    why: str | None = None
    payload: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Rechecks:
    """Whom to ask for each reason that has a recheck, and with what."""

    sources: Mapping[str, Source] = field(default_factory=dict)
    asking: Asking = field(default_factory=Asking)

    @classmethod
    def of(cls, catalogue: Catalogue, asking: Asking) -> Rechecks:
        """Those of a catalogue."""
        return cls({name: reason.recheck for name, reason in catalogue.reasons.items() if reason.recheck}, asking)


async def ask_recheck(source: Source, reason: str, asked: Sequence[Asked], asking: Asking) -> list[Answered]:
    """What a Python or HTTP recheck answers, checked whole.

    Raises:
        SourceFailed: it broke, took too long, or answered what it may not: nothing of its answer is taken.
        TypeError: it is an SQL recheck.
    """
    match source:
        case PythonSource():
            answer = validated(_Answers, {"answers": await call(source, list(asked), asking, _as_written)})
        case UrlSource():
            answer = await post(source, _question(reason, asked), _Answers, asking)
        case SqlSource():
            raise TypeError("an SQL recheck runs inside of a statement")
    return [Answered(each.n, each.why, each.payload) for each in answer.answers]


def checked(answered: Sequence[Answered], numbers: Iterable[int]) -> dict[int, Answered]:
    """The answers by what they are to. Of several to one, the first that says why not counts, else the first.

    Raises:
        SourceFailed: one answers what was not asked.
    """
    asked = set(numbers)
    found: dict[int, Answered] = {}
    for place, each in enumerate(answered):
        if each.n not in asked:
            raise SourceFailed(f"its answer: answers[{place}].n is not one that was asked")
        if each.n not in found or (found[each.n].why is None and each.why is not None):
            found[each.n] = each
    return found


def why_fault(why: str) -> str:
    """What is wrong with a why; empty: nothing."""
    if not why.strip() or not why.isprintable() or len(why) > LONGEST_WHY:
        return f"is not a word or two of up to {LONGEST_WHY} characters, as deleted or private"
    return ""


def _printable(why: str) -> str:
    if fault := why_fault(why):
        raise ValueError(fault)
    return why


class _Answer(Answer):
    n: int
    why: Annotated[str, StringConstraints(strip_whitespace=False), AfterValidator(_printable)] | None = None
    payload: Payload | None = None


class _Answers(Answer):
    answers: list[_Answer]


def _question(reason: str, asked: Sequence[Asked]) -> dict[str, object]:
    return {"reason": reason, "asked": [_as_json(each) for each in asked]}


def _as_json(asked: Asked) -> dict[str, object]:
    return {
        "n": asked.n,
        "recipient": asked.recipient_id,
        "event": asked.event_id,
        "key": asked.key,
        "actor": asked.actor,
        "about": asked.about,
        "entities": list(asked.entities),
        "at": asked.at.isoformat(),
        "payload": asked.payload,
    }


def _as_written(answered: object) -> list[dict[str, object]]:
    if not isinstance(answered, Iterable):
        raise SourceFailed(f"its answer: {type(answered).__name__} is no list of hark.rechecks.Answered")
    return [_written(place, each) for place, each in enumerate(answered)]


def _written(place: int, answer: object) -> dict[str, object]:
    if not isinstance(answer, Answered):
        raise SourceFailed(f"its answer: answers[{place}] is a {type(answer).__name__}, not a hark.rechecks.Answered")
    payload = dict(answer.payload) if isinstance(answer.payload, Mapping) else answer.payload
    return {"n": answer.n, "why": answer.why, "payload": payload}
