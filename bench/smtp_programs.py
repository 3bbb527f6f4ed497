"""Postfix's smtp-sink, which takes mail and forgets it, and smtp-source, which makes it: as fast as SMTP goes here."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

FOLDERS = os.pathsep.join(("/usr/sbin", "/usr/lib/postfix/sbin", "/usr/local/sbin"))


class NotInstalled(Exception):
    """A program that a script measures against is not on this machine."""


def find_program(name: str) -> str:
    """Where a program is.

    Raises:
        NotInstalled: nowhere; the text says which package has it.
    """
    found = shutil.which(name) or shutil.which(name, path=FOLDERS)
    if found is None:
        raise NotInstalled(f"{name} is not installed; it is in Debian's package postfix")
    return found


@asynccontextmanager
async def smtp_sink() -> AsyncIterator[int]:
    """Run smtp-sink on loopback; its port."""
    port = _free_port()
    as_nobody = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = await asyncio.create_subprocess_exec(find_program("smtp-sink"), *as_nobody, f"127.0.0.1:{port}", "1000")
    try:
        await _answers(port)
        yield port
    finally:
        process.terminate()
        await process.wait()


async def smtp_source(port: int, messages: int, *, sessions: int, message_bytes: int) -> None:
    """Hand over so many messages of that size over so many connections at once."""
    sizes = ["-s", str(sessions), "-m", str(messages), "-l", str(message_bytes), "-d"]
    addresses = ["-f", "hello@acme.example", "-t", "somebody@school.example"]
    process = await asyncio.create_subprocess_exec(find_program("smtp-source"), *sizes, *addresses, f"127.0.0.1:{port}")
    if await process.wait():
        raise RuntimeError(f"smtp-source ended with {process.returncode}")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def _answers(port: int) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.02)
            continue
        writer.close()
        return
    raise RuntimeError("smtp-sink does not answer")
