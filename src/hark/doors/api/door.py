"""What every route needs: the database, the clock, who calls. Routes that need a scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response, Security, params
from fastapi.dependencies.utils import get_dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.routing import compile_path

from hark.access import audit
from hark.access.audit import Act
from hark.access.keys import Caller, Refused, Scope, authenticate
from hark.catalogue import Catalogue
from hark.clock import Clock
from hark.config import Settings
from hark.doors.api.backfills import Backfills
from hark.doors.api.fields import Body
from hark.doors.api.problems import ApiFault, Kind, Refusal, bad_input, refusal, responses
from hark.doors.api.wording import faults_of
from hark.postgres.database import Database

_BEARER = HTTPBearer(auto_error=False, description="A key, as `hark keys create` prints it.")
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="hark"'}


@dataclass(frozen=True, slots=True)
class Door:
    """What the door stands in front of."""

    database: Database
    catalogue: Catalogue
    settings: Settings
    clock: Clock
    backfills: Backfills | None = None

    def now(self) -> datetime:
        """The present moment."""
        return self.clock.now()


@dataclass(frozen=True, slots=True)
class Visit:
    """One call: the door it came by, and who makes it."""

    door: Door
    caller: Caller

    @property
    def database(self) -> Database:
        """The database to read from; to change it, take one that is `as_one` with the audit log."""
        return self.door.database

    def now(self) -> datetime:
        """The present moment."""
        return self.door.now()

    async def note(
        self, database: Database, what: Act, target: str, detail: Mapping[str, object] | None = None
    ) -> None:
        """Write a change into the audit log, in the change's own transaction."""
        await audit.record(database, self.now(), self.caller.name, what, target, detail)


async def _door(request: Request) -> Door:
    door = request.app.state.door
    assert isinstance(door, Door)
    return door


async def _visit(request: Request) -> Visit:
    return Visit(await _door(request), request.state.caller)


Here = Annotated[Door, Depends(_door)]
"""For routes that anybody may call."""

Visiting = Annotated[Visit, Depends(_visit)]
"""For routes of `guarded`."""


class _Nothing(Body):
    """A query without parameters: one that is sent is a slip of the pen, not something to leave out in silence."""


async def _asks_nothing(_query: Annotated[_Nothing, Query()]) -> None:
    """Of routes that have no parameters; its faults are told with those of the body."""


More = Callable[[Door, RequestValidationError], Awaitable[Sequence[ApiFault]]]
"""What else is wrong with a body that has faults."""


def guarded(scope: Scope, tag: str, more: Mapping[str, More] | None = None) -> APIRouter:
    """A router whose routes open to keys of one scope. Who calls is settled before any of the body is read.

    Args:
        more: of routes, by their names, what looks at the rest of a body that has faults.
    """
    look = more or {}

    class Guarded(APIRoute):
        def __init__(
            self, path: str, endpoint: Callable[..., Any], *, dependencies: Sequence[params.Depends] = (), **named: Any
        ) -> None:
            _, plain_path, _ = compile_path(path)
            if not get_dependant(path=plain_path, call=endpoint).query_params:
                dependencies = [*dependencies, Depends(_asks_nothing)]
            super().__init__(path, endpoint, dependencies=dependencies, **named)

        def get_route_handler(self) -> Callable[[Request], Awaitable[Any]]:  # type: ignore[override]
            handle = super().get_route_handler()

            async def enter(request: Request) -> Response:
                request.state.caller = await _let_in(request, scope)
                try:
                    return await handle(request)
                except RequestValidationError as error:
                    told, status = faults_of(error.errors(), self), _status(error)
                    if self.name in look and status is HTTPStatus.UNPROCESSABLE_ENTITY:
                        told += await look[self.name](await _door(request), error)
                        told.sort(key=lambda each: each.where != "body")  # what is wrong with all of it leads
                    raise bad_input(told, status) from None

            return enter

    usual = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY)
    told = responses(*usual, s401="No key, or one that does not open.", s403=f"The key has not the scope `{scope}`.")
    return APIRouter(route_class=Guarded, dependencies=[Security(_BEARER)], tags=[tag], responses=told)


async def _let_in(request: Request, scope: Scope) -> Caller:
    """Who calls.

    Raises:
        Refusal: nobody known, or not with this scope.
    """
    door = await _door(request)
    kind, _, written = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not written:
        raise _unknown("this needs a key; send it as Authorization: Bearer hark_…")
    who = await authenticate(door.database, written.strip(), door.now())
    if isinstance(who, Refused):
        raise _unknown(who.why)
    if scope not in who.scopes:
        has = ", ".join(sorted(who.scopes))
        detail = f"this needs the scope {scope}, and the key {who.name} has {has}"
        raise refusal(Kind.NO_SCOPE, HTTPStatus.FORBIDDEN, detail)
    return who


def _status(error: RequestValidationError) -> HTTPStatus:
    """What cannot be read at all is another matter than what says something wrong."""
    unreadable = any(each["type"] == "json_invalid" for each in error.errors())
    return HTTPStatus.BAD_REQUEST if unreadable else HTTPStatus.UNPROCESSABLE_ENTITY


def _unknown(why: str) -> Refusal:
    return refusal(Kind.NO_KEY, HTTPStatus.UNAUTHORIZED, why, headers=_CHALLENGE)
