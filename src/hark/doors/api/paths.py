"""Ids in paths, whatever they are made of.

An id may hold a slash, as `%2F`. Servers decode a path before it is routed, and then `a%2Finbox` is another path; so
routes are found by the path as it was sent, and each id is decoded by itself.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from starlette.convertors import Convertor, register_url_convertor
from starlette.types import ASGIApp, Receive, Scope, Send


class Segment(Convertor[str]):
    """One segment of a path, decoded; bytes that are not UTF-8 stay visible, and are refused as such later."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        """The id that was meant."""
        return unquote(value, errors="surrogateescape")

    def to_string(self, value: str) -> str:
        """The id as a path has it."""
        return quote(value, safe="")


class PathsAsSent:
    """Gives routes the path as it was sent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        if scope["type"] == "http" and scope.get("raw_path"):
            scope = {**scope, "path": scope["raw_path"].partition(b"?")[0].decode("latin-1")}
        await self._app(scope, receive, send)


register_url_convertor("segment", Segment())
