"""The door on a port, until told to stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from hark.config import Settings
from hark.errors import BadInput

_BACKLOG = 1024
_PATIENCE_S = 10
"""How long calls under way have to end once the door closes."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Whoever runs it listens to signals, for all that the process does."""
        yield


def listen(settings: Settings) -> socket.socket:
    """Take the port, before anything else is begun.

    Raises:
        BadInput: it cannot be had.
    """
    return take_port(settings.api_host, settings.api_port, "set api_host or api_port")


def take_port(host: str, port: int, mend: str) -> socket.socket:
    """Listen there.

    Args:
        port: 0: any that is free.
        mend: what to do where it cannot be had.

    Raises:
        BadInput: it cannot be had.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        taken = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (")[0]
        raise BadInput(f"cannot listen on {host} port {port}: {why}; {mend}") from None
    assert kind is socket.SOCK_STREAM
    return taken


def url_of(listening: socket.socket) -> str:
    """Where it listens."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(app: FastAPI, listening: socket.socket, stopping: asyncio.Event) -> None:
    """Serve calls until `stopping` is set, and set it if the door closes by itself; calls under way are answered first.

    Calls are not logged: paths hold people's ids. What goes wrong is, by `hark.doors.api.limits`.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=_PATIENCE_S,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve([listening]), name="api")
    told = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait((serving, told), return_when=asyncio.FIRST_COMPLETED)
    finally:
        told.cancel()
        server.should_exit = True
        stopping.set()
        await serving
