"""From bytes to text: unpacked, decoded, and refused where it is something else than text."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Iterator
from itertools import chain

from hark.errors import Fault, FileFaults

_HEAD = 4096
_UNPACKED = 64 * 1024
GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_STRANGERS = (
    (b"PK\x03\x04", "is a ZIP archive or an Excel file; save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "is an old Excel file; save it as CSV"),
    (b"\x28\xb5\x2f\xfd", "is packed with zstd; unpack it, or pack it with gzip"),
    (b"\xfd7zXZ\x00", "is packed with xz; unpack it, or pack it with gzip"),
    (b"BZh", "is packed with bzip2; unpack it, or pack it with gzip"),
    (b"%PDF", "is a PDF; export its table as CSV"),
    (codecs.BOM_UTF32_LE, "is UTF-32; save it as UTF-8"),
    (codecs.BOM_UTF32_BE, "is UTF-32; save it as UTF-8"),
    (GZIP, "is packed with gzip twice; pack it once"),
    (PARQUET, "is Parquet packed with gzip; unpack it"),
)


def peeked(blocks: Iterator[bytes], size: int = _HEAD) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, and all of them once more."""
    begun: list[bytes] = []
    have = 0
    while have < size and (block := next(blocks, None)) is not None:
        begun.append(block)
        have += len(block)
    return b"".join(begun)[:size], chain(begun, blocks)


def texts(url: str, blocks: Iterator[bytes]) -> Iterator[str]:
    """The text of a file: gzip is unpacked, UTF-16 with a byte order mark is read. Bytes that are no text stay in it
    as lone surrogates or U+FFFD, so that whoever looks at the line can say so.

    Raises:
        FileFaults: it is no text, or its packing is broken.
    """
    head, blocks = peeked(blocks)
    if head.startswith(GZIP):
        head, blocks = peeked(_unpacked(url, blocks))
    _refuse_strangers(url, head)
    mark, encoding = next((each for each in _BOMS if head.startswith(each[0])), (b"", "utf-8"))
    decode = codecs.getincrementaldecoder(encoding)("surrogateescape" if encoding == "utf-8" else "replace").decode
    skip = len(mark)
    for block in blocks:
        if text := decode(block[skip:] if skip < len(block) else b""):
            yield text
        skip = max(0, skip - len(block))
    if rest := decode(b"", True):
        yield rest


def _refuse_strangers(url: str, head: bytes) -> None:
    for magic, what in _STRANGERS:
        if head.startswith(magic):
            raise _fault(url, what)
    nuls = max(head[0::2].count(0), head[1::2].count(0))
    marked = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if not marked and nuls * 4 > len(head):
        raise _fault(url, "looks like UTF-16 without a byte order mark, or no text at all; save it as UTF-8")


def _unpacked(url: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """All members of a gzip file, in bounded pieces however well they were packed."""
    unpack = zlib.decompressobj(wbits=31)
    begun = False
    for block in blocks:
        data = block
        while data:
            if not begun and not data.strip(b"\x00"):
                break  # what tapes pad with
            begun = True
            try:
                piece = unpack.decompress(data, _UNPACKED)
            except zlib.error:
                raise _fault(url, "is not whole: its gzip data is broken; write it anew") from None
            if piece:
                yield piece
            data = unpack.unconsumed_tail
            if unpack.eof:
                data, unpack, begun = unpack.unused_data, zlib.decompressobj(wbits=31), False
    if begun:
        yield from _rest(url, unpack)


def _rest(url: str, unpack: zlib._Decompress) -> Iterator[bytes]:
    piece = unpack.flush()
    if not unpack.eof:
        raise _fault(url, "is not whole: its gzip data ends in the middle; write or upload it anew")
    if piece:
        yield piece


def _fault(url: str, what: str) -> FileFaults:
    return FileFaults(url, [Fault(0, "file", what)])
