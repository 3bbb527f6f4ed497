"""What is wrong with a call, as RFC 9457 has it: `application/problem+json`, with all faults at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import psycopg
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException as PlainHTTPException

from hark.errors import BadInput, HarkError, KeyReused, UnknownReason, Unreachable
from hark.postgres.database import is_of_the_data, is_passing

MEDIA_TYPE = "application/problem+json"
_RETRY_S = 2
_REF = "#/components/schemas/{model}"


class Kind(StrEnum):
    """Which problem it is: for programs to branch on."""

    BAD_INPUT = "urn:hark:bad-input"
    UNKNOWN_REASON = "urn:hark:unknown-reason"
    KEY_REUSED = "urn:hark:key-reused"
    NO_KEY = "urn:hark:no-key"
    NO_SCOPE = "urn:hark:no-scope"
    NOT_FOUND = "urn:hark:not-found"
    NOT_NOW = "urn:hark:not-now"
    TOO_LARGE = "urn:hark:too-large"
    UNREACHABLE = "urn:hark:unreachable"
    OTHER = "about:blank"


@dataclass(frozen=True, slots=True)
class ApiFault:
    """One thing wrong with a call: `where`, as `body.to[0]` (empty: the call as a whole), and how to mend it."""

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A call that was not done; it changed nothing."""

    type: Kind
    title: str
    status: int
    detail: str
    faults: Sequence[ApiFault] = ()


class Refusal(HTTPException):
    """Raised in a route, answered as its problem."""

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        self.problem = problem
        super().__init__(problem.status, problem.detail, dict(headers or {}))


def refusal(
    kind: Kind,
    status: HTTPStatus,
    detail: str,
    *,
    faults: Sequence[ApiFault] = (),
    headers: Mapping[str, str] | None = None,
) -> Refusal:
    """What to raise."""
    return Refusal(Problem(kind, status.phrase, status, detail, faults), headers)


def not_found(what: str) -> Refusal:
    """What a path names is not there."""
    return refusal(Kind.NOT_FOUND, HTTPStatus.NOT_FOUND, what)


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A problem as it is sent."""
    return JSONResponse(asdict(problem), problem.status, dict(headers or {}), MEDIA_TYPE)


def responses(*statuses: HTTPStatus, **described: str) -> dict[int | str, dict[str, Any]]:
    """What the OpenAPI description says of these answers; `described` overrides by number, as `s403="…"`."""
    return {
        int(status): {
            "description": described.get(f"s{int(status)}", status.phrase),
            "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}},
        }
        for status in statuses
    }


def schemas() -> dict[str, Any]:
    """What those answers are made of, for the description's components."""
    whole = TypeAdapter(Problem).json_schema(ref_template=_REF)
    return {**whole.pop("$defs"), "Problem": whole}


# From exceptions to problems -----------------------------------------------------------------------------------------


def refusal_of(error: HarkError) -> Refusal:
    """An error that Hark raised on purpose."""
    lines = str(error).splitlines() or ["bad input"]
    faults = [ApiFault("", line) for line in lines]
    if isinstance(error, Unreachable):
        return unavailable("something that Hark needs cannot be reached; try again")
    if isinstance(error, KeyReused):
        return refusal(Kind.KEY_REUSED, HTTPStatus.CONFLICT, lines[0], faults=faults)
    if isinstance(error, UnknownReason):
        return refusal(Kind.UNKNOWN_REASON, HTTPStatus.UNPROCESSABLE_ENTITY, lines[0], faults=faults)
    if isinstance(error, BadInput):
        return bad_input(faults)
    raise error


def bad_input(faults: Sequence[ApiFault], status: HTTPStatus = HTTPStatus.UNPROCESSABLE_ENTITY) -> Refusal:
    """What was sent cannot be used."""
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    first = f"{faults[0].where} {faults[0].what}".strip()
    return refusal(Kind.BAD_INPUT, status, f"{first}{more}", faults=faults)


def unavailable(detail: str) -> Refusal:
    """Not now; the same call can work later."""
    headers = {"Retry-After": str(_RETRY_S)}
    return refusal(Kind.UNREACHABLE, HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers)


def add_handlers(app: FastAPI) -> None:
    """Answer every exception that is not a fault of the program as a problem."""
    app.add_exception_handler(PlainHTTPException, _plain)
    app.add_exception_handler(HarkError, _harks_own)
    app.add_exception_handler(psycopg.Error, _postgres)


async def _plain(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, Refusal):
        return answer(error.problem, error.headers)
    assert isinstance(error, PlainHTTPException)
    status = HTTPStatus(error.status_code)
    kind = Kind.NOT_FOUND if status is HTTPStatus.NOT_FOUND else Kind.OTHER
    return answer(Problem(kind, status.phrase, status, _detail(status, error.detail)), error.headers)


async def _harks_own(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HarkError)
    return await _plain(request, refusal_of(error))


async def _postgres(request: Request, error: Exception) -> JSONResponse:
    """What Postgres says of a passing trouble, or of the data sent; anything else is a fault of the program."""
    assert isinstance(error, psycopg.Error)
    if is_passing(error):
        return await _plain(request, unavailable("Postgres does not answer just now; try again"))
    if is_of_the_data(error) or isinstance(error, psycopg.DataError):
        said = error.diag.message_primary or "a text has a character that it cannot hold"
        return await _plain(request, bad_input([ApiFault("", f"Postgres cannot store that: {said}")]))
    raise error


def _detail(status: HTTPStatus, detail: str) -> str:
    if status is HTTPStatus.NOT_FOUND:
        return "no such path; /openapi.json lists all of them"
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        return "this path does not take that method; the Allow header lists those that it takes"
    return detail
