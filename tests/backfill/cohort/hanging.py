"""A store of objects that hangs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hark.lists import FileReach


@asynccontextmanager
async def a_store(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FileReach]:
    """A store that says this much and no more, and never hangs up; from where it may be read."""
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    hung = asyncio.Event()

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await hung.wait()
        writer.close()

    async with await asyncio.start_server(answers, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield FileReach(stores=("s3://cohorts",), endpoints={"s3": f"http://127.0.0.1:{port}"})
        hung.set()


SILENT = b""
TRICKLING = (
    b'HTTP/1.1 200 OK\r\nETag: "a"\r\nLast-Modified: Mon, 05 Jan 2026 12:00:00 GMT\r\nContent-Length: 99\r\n\r\nid\nann'
)
