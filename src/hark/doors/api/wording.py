"""The faults of a body, a query or a path, all at once, in Hark's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from fastapi.routing import APIRoute
from pydantic import BaseModel

from hark.catalogue.wording import no_such, quoted, shown
from hark.doors.api.problems import ApiFault

MOST = 100
"""How many faults are told of one call."""

_SAID: Mapping[str, str] = {
    "missing": "is missing",
    "string_type": "is {input}, expected a text",
    "string_too_short": "is empty, expected at least one character",
    "string_too_long": "has more than {max_length} characters",
    "string_unicode": "has bytes or half characters that are not UTF-8",
    "bool_type": "is {input}, expected true or false",
    "bool_parsing": "is {input}, expected true or false",
    "int_type": "is {input}, expected a whole number",
    "int_parsing": "is {input}, expected a whole number",
    "int_from_float": "is {input}, expected a whole number",
    "int_parsing_size": "is a number that is too large",
    "greater_than_equal": "is {input}, expected at least {ge}",
    "less_than_equal": "is {input}, expected at most {le}",
    "list_type": "is {input}, expected a list",
    "dict_type": "is {input}, expected an object",
    "model_type": "is {input}, expected an object",
    "model_attributes_type": "is {input}, expected an object; send JSON, and Content-Type: application/json",
    "too_short": "has {actual_length} of them, expected at least {min_length}",
    "too_long": "has more than {max_length} of them; make several calls",
    "enum": "is {input}, expected {expected}",
    "json_invalid": "is not JSON: {error}",
    "hark": "{what}",
}


def faults_of(errors: Sequence[Mapping[str, Any]], route: APIRoute) -> list[ApiFault]:
    """What pydantic found, as faults; at most `MOST`."""
    told = [ApiFault(_where(error["loc"]), _what(error, route)) for error in errors[:MOST]]
    if len(errors) > MOST:
        told.append(ApiFault("", f"and {len(errors) - MOST} more"))
    return told


def shape(model: str) -> str:
    """The tag of a model among several that a body may be of: no place of its own."""
    return f"<{model}>"


def _is_shape(place: Sequence[str | int]) -> bool:
    return len(place) > 1 and place[0] == "body" and isinstance(place[1], str) and place[1][:1] == "<"


def _where(place: Sequence[str | int]) -> str:
    """`body.to[0]`."""
    steps = [place[0], *place[2:]] if _is_shape(place) else place
    said = "".join(f"[{step}]" if isinstance(step, int) else f".{_step(step)}" for step in steps)
    return said.removeprefix(".")


def _step(name: str) -> str:
    return name if name.isidentifier() and len(name) < 40 else quoted(name)


def _what(error: Mapping[str, Any], route: APIRoute) -> str:
    kind, place = error["type"], error["loc"]
    if kind == "extra_forbidden":
        return no_such("parameter" if place[0] == "query" else "field", str(place[-1]), _names_beside(place, route))
    pattern = _SAID.get(kind)
    if pattern is None:
        return f"is {_input(error.get('input'))}: {str(error['msg'])[:200]}"
    if kind == "model_attributes_type" and not (place == ("body",) or (_is_shape(place) and len(place) == 2)):
        pattern = _SAID["model_type"]
    return pattern.format(**{"input": _input(error.get("input")), **error.get("ctx", {})})


def _input(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    return "no JSON" if isinstance(value, bytes) else shown(value)


# Which fields there are ----------------------------------------------------------------------------------------------


def _names_beside(place: Sequence[str | int], route: APIRoute) -> list[str]:
    """The names that a field at this place could have."""
    root = _query_model(route) if place[0] == "query" else _body_model(route)
    if _is_shape(place):
        root = next((each for each in _models(root) if shape(each.__name__) == place[1]), None)
        place = place[1:]
    model = _model_at(root, place[1:-1])
    return sorted(model.model_fields) if model else []


def _body_model(route: APIRoute) -> Any:
    return route.body_field.field_info.annotation if route.body_field else None


def _query_model(route: APIRoute) -> Any:
    annotations = (field.field_info.annotation for field in route.dependant.query_params)
    return next((each for each in annotations if any(_models(each))), None)


def _model_at(annotation: Any, place: Sequence[str | int]) -> type[BaseModel] | None:
    model = next(_models(annotation), None)
    for step in place:
        if isinstance(step, str) and model is not None:
            known = model.model_fields.get(step)
            model = next(_models(known.annotation), None) if known else None
    return model


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in a type: `Thing`, `list[Thing]`, `Thing | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
