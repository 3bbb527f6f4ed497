"""Lists of users in files and objects: from a path or URL to ids.

naming.py    how a file is named, and what an id may be
reach.py     from where files may be read
sources.py   their bytes, with ETag and SHA-256; stores.py: those of S3, Google and Azure
text.py      bytes to text; lines.py: to lines; rows.py: to ids; parquet.py: Parquet to ids
reading.py   all of that: a source to ids
writing.py   the other way: a CSV file, whole or not at all
"""

from __future__ import annotations

from hark.lists.naming import LONGEST_ID, File, Format, id_fault
from hark.lists.reach import FileReach, locate
from hark.lists.reading import chunks_of
from hark.lists.sources import ObjectSeen, etag_now, open_source

__all__ = [
    "LONGEST_ID",
    "File",
    "FileReach",
    "Format",
    "ObjectSeen",
    "chunks_of",
    "etag_now",
    "id_fault",
    "locate",
    "open_source",
]
