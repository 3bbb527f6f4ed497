"""The forum with one command: its own Postgres, Hark and the pages, on this machine only; Ctrl-C ends all of it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from examples.forum.app import app
from examples.forum.running import MovedClock, open_forum
from hark.postgres.embedded import start
from hark.postgres.embedded.processes import wait_until


def main(port: int) -> None:
    """Run until told to stop."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(prefix="hark-forum-") as folder:
        Path(folder).chmod(0o711)  # as root, Postgres runs as another user, who has to pass through here
        data = Path(folder) / "postgres"
        try:
            with start(data, durable=False, keep=False) as server:
                _serve(server.dsn, Path(folder) / "mails", port)
        finally:
            wait_until(lambda: not data.exists(), 30.0)


def _serve(dsn: str, mails: Path, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)) as listening:

        @contextlib.asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            async with open_forum(dsn, mails, MovedClock()) as app.state.forum:
                working = asyncio.create_task(app.state.forum.work())
                sys.stderr.write(f"The forum is at http://127.0.0.1:{listening.getsockname()[1]} (Ctrl-C ends it)\n")
                yield
                working.cancel()

        app.router.lifespan_context = lifespan
        uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3)).run(sockets=[listening])


main(int(sys.argv[1]) if sys.argv[1:] else 8000)
