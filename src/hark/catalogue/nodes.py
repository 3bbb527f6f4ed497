"""Values of a TOML file that know where they stand, so that a fault names its line and key.

A reader that finds a fault notes it and goes on with a stand-in (an empty text, an empty table), so that all faults of
a file are found at once. Nobody sees the stand-ins: with a fault noted, the file is refused as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hark.catalogue.toml_lines import Document, KeyPath
from hark.catalogue.wording import no_such, quoted, shown
from hark.errors import BadInput, Fault

T = TypeVar("T")

_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Findings:
    """The faults of one file, as they are found."""

    document: Document
    found: list[Fault] = field(default_factory=list)

    def note(self, path: KeyPath, what: str, because_of: KeyPath | None = None) -> None:
        """Note what is wrong with the value at `path`, or that it is missing; on the line of what asks for it."""
        self.found.append(Fault(self.document.line_of(because_of or path), dotted(path), what))

    def faults(self) -> list[Fault]:
        """All of them, in the order of their lines; those of the file as a whole come first."""
        return sorted(self.found, key=lambda fault: fault.line)

    def root(self) -> Node:
        """The file itself, a table."""
        return Node(dict(self.document.values), (), self)


@dataclass(frozen=True, slots=True)
class Node:
    """One value of the file."""

    value: Any
    path: KeyPath
    findings: Findings

    @property
    def name(self) -> str:
        """The key it stands under."""
        return str(self.path[-1])

    def fault(self, what: str) -> None:
        """Note what is wrong with it."""
        self.findings.note(self.path, what)

    def text(self) -> str:
        """The value as a text."""
        if isinstance(self.value, str):
            return self.value
        self.fault(f"{shown(self.value)} is not a text; write it in quotes")
        return ""

    def line_of_text(self, longest: int) -> str:
        """The value as one line that is not empty, of printable characters, `longest` at most."""
        what = line_fault(self.value, longest) if isinstance(self.value, str) else ""
        if what:
            self.fault(what)
            return ""
        return self.text()

    def one_of(self, what: str, names: Collection[str], stand_in: str) -> str:
        """The value as one of some words; `what` calls them."""
        if not isinstance(self.value, str) or self.value not in names:
            words = f"{', '.join(list(names)[:-1])} or {list(names)[-1]}"
            near = no_such(what, self.value, names) if isinstance(self.value, str) else ""
            self.fault(f"{shown(self.value)}: {near if 'did you' in near else f'no such {what}; write {words}'}")
            return stand_in
        return self.value

    def flag(self) -> bool:
        """The value as true or false."""
        if not isinstance(self.value, bool):
            self.fault(f"{shown(self.value)} is neither true nor false; write true or false, without quotes")
        return self.value is True

    def parsed(self, parse: Callable[[str], T], stand_in: T, example: str) -> T:
        """The value as `parse` reads it; an `example` helps who wrote no text at all."""
        if not isinstance(self.value, str):
            self.fault(f"{shown(self.value)} is not a text; write it in quotes, as {example}")
            return stand_in
        try:
            return parse(self.value)
        except BadInput as refusal:
            self.fault(str(refusal))
            return stand_in

    def items(self, example: str) -> list[Node]:
        """The value as an array."""
        if isinstance(self.value, list):
            return [Node(value, (*self.path, index), self.findings) for index, value in enumerate(self.value)]
        self.fault(f"{shown(self.value)} is not a list; write {example}")
        return []

    def entries(self) -> list[Node]:
        """The value as a table whose keys are names that the file's author chose."""
        return list(self._children())

    def table(self, keys: Collection[str]) -> Table:
        """The value as a table with these keys; any other is noted."""
        children = {child.name: child for child in self._children()}
        for name, child in children.items():
            if name not in keys:
                child.fault(no_such("key", name, keys))
        return Table(self, {name: child for name, child in children.items() if name in keys})

    def _children(self) -> Iterator[Node]:
        if not isinstance(self.value, dict):
            self.fault(f"{shown(self.value)} is not a table; write [{dotted(self.path)}] and its keys below")
            return
        for name, value in self.value.items():
            yield Node(value, (*self.path, name), self.findings)


@dataclass(frozen=True, slots=True)
class Table:
    """A table with keys that the catalogue knows."""

    node: Node
    children: Mapping[str, Node]

    def get(self, name: str) -> Node | None:
        """The value of a key that may be left out."""
        return self.children.get(name)

    def need(self, name: str, example: str) -> Node | None:
        """The value of a key that may not; its absence is noted on the line of the table."""
        found = self.children.get(name)
        if found is None and isinstance(self.node.value, dict):
            self.node.findings.note((*self.node.path, name), f"is missing; write {example}")
        return found


def line_fault(text: str, longest: int) -> str:
    """Why a text is not one line that is not empty, of printable characters, `longest` at most; empty: it is."""
    if not text.strip():
        return "is empty; write at least one word"
    odd = next((each for each in text if not each.isprintable()), None)
    if odd is not None:
        return f"has U+{ord(odd):04X}, which cannot be printed; write one line of plain text"
    if text != text.strip():
        return f"{shown(text)} begins or ends with a blank; leave it out"
    return f"has {len(text)} characters; write at most {longest}" if len(text) > longest else ""


def dotted(path: KeyPath) -> str:
    """A path as TOML writes it; an array's item goes by the name of its array."""
    keys = [part for part in path if isinstance(part, str)]
    return ".".join(key if _BARE.fullmatch(key) else quoted(key) for key in keys)
