"""TOML with the line of every key, which neither tomllib nor tomlkit tells."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hark.catalogue.wording import printable
from hark.errors import Fault

KeyPath = tuple[str | int, ...]
"""Where a value stands: the keys from the top down, and the place in each array, from 0."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a TOML file says, and on which lines."""

    values: Mapping[str, Any]
    lines: Mapping[KeyPath, int]

    def line_of(self, path: KeyPath) -> int:
        """The line of a key or of an array's item; of what holds it when it is missing itself; 0 when all of it is."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)


class NotToml(Exception):
    """The text is no TOML; `fault` says where and why."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(fault.what)


def read_file(path: Path) -> Document:
    """Read a TOML file.

    Raises:
        NotToml: it cannot be read, is not UTF-8, or is no TOML.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise NotToml(Fault(0, "file", f"cannot be read: {_why(error)}")) from None
    return read_toml(content)


def read_toml(content: bytes) -> Document:
    """Read TOML, with or without a byte order mark, with Unix or Windows line ends.

    Raises:
        NotToml: it is not UTF-8, or no TOML.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise NotToml(Fault(line, "file", "is not UTF-8 text; save it as UTF-8")) from None
    try:
        return Document(tomllib.loads(text), _Scanner(text).lines())
    except tomllib.TOMLDecodeError as error:
        raise NotToml(_syntax_fault(text, str(error))) from None
    except RecursionError:
        raise NotToml(Fault(0, "syntax", "is nested too deeply to be read")) from None
    except ValueError:  # Python refuses to read integers of more than 4,300 digits
        raise NotToml(Fault(0, "syntax", "has a number of more digits than can be read")) from None


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "its name has a character that no file name has"


_AT_LINE = re.compile(r" \(at line (\d+), column (\d+)\)$")
_AT_END = " (at end of document)"


def _syntax_fault(text: str, message: str) -> Fault:
    found = _AT_LINE.search(message)
    if found:
        return Fault(int(found[1]), "syntax", f"{printable(message[: found.start()])}, at column {found[2]}")
    what = printable(message.removesuffix(_AT_END))
    return Fault(text.rstrip("\n").count("\n") + 1, "syntax", f"{what}, at the end of the file")


# Where each key stands -----------------------------------------------------------------------------------------------

_GAP = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BLANKS = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'  # as many as two quotes may stand just before the closing three
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_OTHER_VALUE = re.compile(r"[^,\]}#\n]*")


class _Scanner:
    """Walks through TOML that tomllib has accepted, so it looks at structure only.

    Where its reading and tomllib's should ever differ, it stops: lines are then those of the nearest table, no worse.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._lines: dict[KeyPath, int] = {}
        self._tables_of: dict[KeyPath, int] = {}

    def lines(self) -> dict[KeyPath, int]:
        """The line on which each key, table and item of an array first stands."""
        table: KeyPath = ()
        try:
            while self._skip(_GAP) < len(self._text):
                if self._takes("["):
                    table = self._header()
                else:
                    self._pair(table)
        except _Lost:
            pass
        return self._lines

    def _header(self) -> KeyPath:
        line, is_item = self._line(), self._takes("[")
        path: KeyPath = ()
        keys = self._keys()
        for key in keys[:-1]:
            path = self._newest(self._noted((*path, key), line))
        path = self._noted((*path, keys[-1]), line)
        if is_item:
            self._tables_of[path] = self._tables_of.get(path, 0) + 1
            path = self._noted(self._newest(path), line)
        self._expect("]]" if is_item else "]")
        return path

    def _pair(self, table: KeyPath) -> None:
        line, path = self._line(), table
        for key in self._keys():
            path = self._noted((*path, key), line)
        self._expect("=")
        self._skip(_BLANKS)
        self._value(path)

    def _keys(self) -> list[str]:
        keys = [self._key()]
        while self._takes("."):
            keys.append(self._key())
        return keys

    def _key(self) -> str:
        self._skip(_BLANKS)
        quoted = _STRING.match(self._text, self._at)
        found = quoted or _BARE_KEY.match(self._text, self._at)
        if found is None:
            raise _Lost
        self._at = found.end()
        self._skip(_BLANKS)
        return str(tomllib.loads(f"key = {found[0]}")["key"]) if quoted else found[0]

    def _value(self, path: KeyPath) -> None:
        if self._takes("["):
            self._array(path)
        elif self._takes("{"):
            self._inline_table(path)
        else:
            string = _STRING.match(self._text, self._at)
            self._at = string.end() if string else self._skip(_OTHER_VALUE)

    def _array(self, path: KeyPath) -> None:
        index = 0
        self._skip(_GAP)
        while not self._takes("]"):
            self._value(self._noted((*path, index), self._line()))
            index += 1
            self._separator("]")

    def _inline_table(self, path: KeyPath) -> None:
        self._skip(_GAP)
        while not self._takes("}"):
            self._pair(path)
            self._separator("}")

    def _separator(self, end: str) -> None:
        self._skip(_GAP)
        if not self._takes(",") and not self._text.startswith(end, self._at):
            raise _Lost
        self._skip(_GAP)

    def _newest(self, path: KeyPath) -> KeyPath:
        """A key that holds an array of tables stands for the last of them."""
        return (*path, self._tables_of[path] - 1) if path in self._tables_of else path

    def _noted(self, path: KeyPath, line: int) -> KeyPath:
        self._lines.setdefault(path, line)
        return path

    def _line(self) -> int:
        return bisect_right(self._line_starts, self._at)

    def _skip(self, what: re.Pattern[str]) -> int:
        match = what.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._at

    def _takes(self, sign: str) -> bool:
        found = self._text.startswith(sign, self._at)
        self._at += len(sign) if found else 0
        return found

    def _expect(self, sign: str) -> None:
        if not self._takes(sign):
            raise _Lost


class _Lost(Exception):
    """What stands here is not what was expected."""
