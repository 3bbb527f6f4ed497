"""docs/reference/api.md, as the application describes itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from hark.clock import Clock
from hark.config import Settings
from hark.doors.api import build_api
from hark.postgres.database import Database
from tests.doors.api.engine import Engine
from tests.world import catalogue

HEAD = Path(__file__).with_name("page_head.md")
"""What stands above the routes."""

_SCOPE = re.compile(r"the scope `(\w+)`|has not the scope `(\w+)`")


def api_page() -> str:
    """The page."""
    whole = described()
    lines = [HEAD.read_text(encoding="utf-8")]
    for tag, operations in _by_tag(whole).items():
        lines += [f"## {tag[0].upper()}{tag[1:]}", ""]
        for method, path, operation in operations:
            lines += _section(whole, method, path, operation)
    return "\n".join(lines).rstrip() + "\n"


def described() -> dict[str, Any]:
    """What the application says of itself; it needs no database for that."""
    nothing = cast(Database, None), catalogue(), Settings(), cast(Clock, None)
    return build_api(*nothing, backfills=Engine()).openapi()


def _by_tag(whole: Mapping[str, Any]) -> dict[str, list[tuple[str, str, Any]]]:
    found: dict[str, list[tuple[str, str, Any]]] = {}
    for path, methods in whole["paths"].items():
        for method, operation in methods.items():
            found.setdefault(operation["tags"][0], []).append((method.upper(), path, operation))
    return found


def _section(whole: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"### `{method} {path}`"
    yield ""
    yield f"{operation['description']}{_scope(operation)}"
    yield ""
    rows = [*_queries(operation), *_fields(whole, _body(operation), "")]
    if rows:
        yield from ("| name | means |", "|---|---|", *rows, "")
    for example in _body(operation).get("examples", []):
        yield from ("```json", json.dumps(example), "```", "")


def _scope(operation: Mapping[str, Any]) -> str:
    found = _SCOPE.search(operation["responses"].get("403", {}).get("description", ""))
    return f" Scope: `{found[1] or found[2]}`." if found else ""


def _queries(operation: Mapping[str, Any]) -> Iterator[str]:
    for each in operation.get("parameters", []):
        if each["in"] == "query":
            yield f"| `?{each['name']}` | {each.get('description') or each['schema'].get('description', '')} |"


def _body(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    sent = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    return cast(Mapping[str, Any], sent)


def _fields(whole: Mapping[str, Any], schema: Mapping[str, Any], before: str) -> Iterator[str]:
    """The fields of a body, those inside of others too: `recipients[].id`; of several shapes, those of each."""
    for each in schema.get("oneOf", ()):
        yield f"| **{_model(whole, each)['title']}** | {_model(whole, each)['description'].splitlines()[0]} |"
        yield from _fields(whole, each, before)
    model = _model(whole, schema)
    needed = model.get("required", [])
    for name, field in model.get("properties", {}).items():
        must = " Needed." if name in needed else ""
        yield f"| `{before}{name}` | {field.get('description', '')}{must} |"
        inner = field.get("items", field)
        yield from _fields(whole, inner, f"{before}{name}{'[]' if 'items' in field else ''}.")


def _model(whole: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    ref = schema.get("$ref") or next((each["$ref"] for each in schema.get("allOf", []) if "$ref" in each), None)
    found = whole["components"]["schemas"][ref.rpartition("/")[2]] if ref else {}
    return cast(Mapping[str, Any], found)
