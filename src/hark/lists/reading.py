"""From the bytes of a source to the ids that are in it, whatever its format."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator

from hark.lists import parquet, rows
from hark.lists.naming import File, Format
from hark.lists.rows import Chunk
from hark.lists.sources import Source
from hark.lists.text import PARQUET, peeked, texts


def chunks_of(file: File, source: Source) -> Iterator[Chunk]:
    """The ids of a file that is open, a block at a time.

    Raises:
        FileFaults: it is not what it should be.
        BadInput: it was changed meanwhile, or what reads it is not installed.
        Unreachable: it broke off.
    """
    head, blocks = peeked(source.blocks(), len(PARQUET))
    if file.format is Format.PARQUET or (file.format is None and head == PARQUET):
        yield from parquet.chunks(file, file.url, blocks)
    else:
        yield from rows.chunks(file, file.url, texts(file.url, blocks))


async def ahead(chunks: Iterator[Chunk]) -> AsyncGenerator[Chunk, None]:
    """Chunks, each read by a thread while the one before it is on its way to the database."""
    coming = asyncio.ensure_future(asyncio.to_thread(next, chunks, None))
    try:
        while (chunk := await asyncio.shield(coming)) is not None:
            coming = asyncio.ensure_future(asyncio.to_thread(next, chunks, None))
            yield chunk
    finally:
        await asyncio.wait([coming])  # a thread cannot be stopped, and reads what is about to be closed
        coming.exception()
