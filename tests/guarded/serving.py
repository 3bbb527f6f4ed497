"""Small HTTP servers on the loopback, which answer what a test gives them."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """What it says."""
        return json.loads(self.body)


@dataclass(slots=True)
class Server:
    """Where it listens, what it was asked, and over how many connections."""

    port: int
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0

    def url(self, path: str = "/", host: str = "127.0.0.1", scheme: str = "http") -> str:
        """An address of it."""
        return f"{scheme}://{host}:{self.port}{path}"


def said(body: bytes | str | object = b"", status: str = "200 OK", **headers: str) -> bytes:
    """An answer; what is neither bytes nor a text is said as JSON."""
    content = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


@asynccontextmanager
async def serving(
    answer: Callable[[Asked], bytes | None], trust: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """A server for the time of a block; `None` for an answer means none, ever."""
    server: Server
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while (asked := await _request(reader)) is not None:
                server.asked.append(asked)
                given = answer(asked)
                if given is None:
                    await asyncio.Event().wait()
                assert given is not None
                writer.write(given)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=trust)
    server = Server(listening.sockets[0].getsockname()[1])
    try:
        yield server
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _request(reader: asyncio.StreamReader) -> Asked | None:
    head = await reader.readuntil(b"\r\n\r\n")
    line, *rest = head.decode("latin-1").rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)}
    return Asked(line, headers, await reader.readexactly(int(headers.get("content-length", 0))))
