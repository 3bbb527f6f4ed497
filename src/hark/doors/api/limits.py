"""How long a body may be; and how a fault of the program is answered and logged: without the data that it met."""

from __future__ import annotations

from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hark.doors.api.problems import Kind, Problem, Refusal, answer, refusal
from hark.logs import Log

LONGEST_BODY = 4 * 1024 * 1024
"""In bytes."""

_log = Log(__name__)


class ShortBodies:
    """Refuses a body longer than `LONGEST_BODY`, by its Content-Length or while it is read.

    Starlette has this too, and answers in plain text.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if _announced(scope) > LONGEST_BODY:
            return await answer(_too_long().problem)(scope, receive, send)
        return await self._app(scope, _Counted(receive), send)


class _Counted:
    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._length = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._length += len(message.get("body", b""))
        if self._length > LONGEST_BODY:
            raise _too_long()
        return message


class Discreet:
    """Answers a fault of the program as a problem, and logs where it was.

    Nobody above it gets to see the exception: its text may quote rows, and rows are people.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:
            _log.error("call_failed", method=scope.get("method"), route=_route(scope), exc_info=error)
            if not begun and scope["type"] == "http":
                await answer(_broken())(scope, receive, send)


def _route(scope: Scope) -> str | None:
    """The path as the route is written, without the ids of a call."""
    return getattr(scope.get("route"), "path", None)


def _announced(scope: Scope) -> int:
    length = dict(scope["headers"]).get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0


def _too_long() -> Refusal:
    detail = f"a body has at most {LONGEST_BODY:,} bytes; make several calls"
    return refusal(Kind.TOO_LARGE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)


def _broken() -> Problem:
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return Problem(Kind.OTHER, status.phrase, status, "Hark failed at this; its log says where")
