"""What is sound of a body that has faults: it is looked at all the same, so that all that is wrong is told at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

Place = tuple[str | int, ...]


def without(value: Any, places: Collection[Place]) -> Any:
    """A body without what stands at these places; the rest as it is."""
    inner = {place[0]: [other[1:] for other in places if other[0] == place[0]] for place in places if place}
    faulty = {step for step, below in inner.items() if () in below}
    if isinstance(value, Mapping):
        return {name: without(each, inner.get(name, ())) for name, each in value.items() if name not in faulty}
    if isinstance(value, list):
        return [without(each, inner.get(n, ())) for n, each in enumerate(value) if n not in faulty]
    return value


def places(errors: Sequence[Mapping[str, Any]], *, whole: Collection[str]) -> set[Place]:
    """Where a body has faults; of a body that may be of several shapes, without the shape's name.

    Args:
        whole: fields that are left out whole, or by the fields in them, for what is left of a list could mislead.
    """
    of_body = (error["loc"][1:] for error in errors if error["loc"][0] == "body")
    found = {tuple(step for step in place if not str(step).startswith("<")) for place in of_body}
    return {place[:2] if place and place[0] in whole else place for place in found if place}
