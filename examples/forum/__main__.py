"""The forum with one command: its own Postgres, Hark and the pages, on this machine only; Ctrl-C ends all of it."""

import asyncio
import contextlib
import signal
import socket
import sys
import tempfile
from pathlib import Path

import uvicorn

from examples.forum.app import app
from examples.forum.running import MovedClock, open_forum
from hark.postgres.embedded import start
from hark.postgres.embedded.processes import wait_until


def main(port: int) -> None:
    """Run until told to stop."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(prefix="hark-forum-") as folder:
        Path(folder).chmod(0o711)  # as root, Postgres runs as another user, who has to pass through here
        data = Path(folder) / "postgres"
        try:
            with start(data, durable=False, keep=False) as server, socket.create_server(("127.0.0.1", port)) as door:
                asyncio.run(_serve(server.dsn, Path(folder) / "mails", door))
        finally:
            wait_until(lambda: not data.exists(), 30.0)


async def _serve(dsn: str, mails: Path, door: socket.socket) -> None:
    async with open_forum(dsn, mails, MovedClock()) as app.state.forum, asyncio.TaskGroup() as tasks:
        working = tasks.create_task(app.state.forum.work())
        sys.stderr.write(f"The forum is at http://127.0.0.1:{door.getsockname()[1]} (Ctrl-C ends it)\n")
        await uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3)).serve([door])
        working.cancel()


main(int(sys.argv[1]) if sys.argv[1:] else 8000)
