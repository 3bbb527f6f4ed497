"""Files of users as people name them, and what an id may be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

DEFAULT_COLUMN = "id"
LONGEST_ID = 255


class Format(StrEnum):
    """What is in a file: a CSV table, one id a line, or Parquet."""

    CSV = "csv"
    LINES = "lines"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class File:
    """A file of users.

    `url` is a path of this machine or a URL (`s3://`, `gs://`, `az://`, `file://`). With no `format`, what the file
    looks like decides; with no `column`, it is `id`.
    """

    url: str
    format: Format | None = None
    column: str | None = None


def id_fault(text: str) -> str:
    """What keeps a text from being a user's id; empty: nothing."""
    if not text:
        return "has no id"
    if "\x00" in text:
        return "has a NUL character"
    if any("\ud800" <= each <= "\udfff" or each == "\ufffd" for each in text):
        return "has bytes that are no text; save the file as UTF-8"
    if any(each < " " or "\x7f" <= each < "\xa0" for each in text):
        return "has a control character"
    return f"is longer than {LONGEST_ID} characters" if len(text) > LONGEST_ID else ""
