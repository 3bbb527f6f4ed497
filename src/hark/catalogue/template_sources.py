"""The words of a reason: strings of hark.toml or files beside it, checked as Jinja."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from hark.catalogue.model import Templates
from hark.catalogue.nodes import Node
from hark.catalogue.wording import printable, quoted
from hark.templates import VARIABLES
from hark.templates.sandbox import Sandbox, source_faults

TEMPLATE_KEYS = ("subject", "subject_many", "text", "html")
FILE_KEYS = ("file",)
LARGEST_FILE = 256 * 1024
"""Bytes of a template file."""

_LINE_OF_TEMPLATE = re.compile(r"^line (\d+) of the template: ")


@dataclass(frozen=True, slots=True)
class _Source:
    """A template's text; `file` is its name as it was written, empty when the text stands in hark.toml."""

    text: str
    file: str = ""


def read_templates(node: Node, folder: Path) -> Templates:
    """Read `templates = { subject = "…", html = { file = "templates/x.html" } }`.

    Args:
        node: the table.
        folder: the directory of hark.toml; no template comes from outside of it.
    """
    table = node.table(TEMPLATE_KEYS)
    sources = {kind: _checked(child, folder) for kind, child in table.children.items()}
    return Templates(**sources)


def _checked(node: Node, folder: Path) -> str | None:
    source = _source(node, folder)
    if source is None:
        return None
    for fault in _faults(source.text):
        node.fault(_of_file(fault, source.file) if source.file else fault)
    return source.text


def _of_file(fault: str, file: str) -> str:
    return _LINE_OF_TEMPLATE.sub(lambda match: f"line {match[1]} of {file}: ", fault)


def _source(node: Node, folder: Path) -> _Source | None:
    if isinstance(node.value, str):
        return _Source(node.value)
    if not isinstance(node.value, dict):
        node.fault('is neither a text nor a file; write it in quotes, or { file = "templates/NAME.html" }')
        return None
    named = node.table(FILE_KEYS).need("file", 'file = "templates/NAME.html"')
    if named is None or not (name := named.line_of_text(longest=255)):
        return None
    text = read_beside(named, name, folder, "template")
    return None if text is None else _Source(text, name)


def read_beside(node: Node, name: str, folder: Path, what: str) -> str | None:
    """The text of a file inside the folder, links followed; None and a fault when there is none. `what` calls it."""
    try:
        home = folder.resolve()
        path = (home / name).resolve()
        if not path.is_relative_to(home):
            node.fault(f"{quoted(name)} is outside of the catalogue's folder; move it in, beside hark.toml or below")
        elif not path.is_file():
            node.fault(f"{quoted(name)}: {'is no file' if path.exists() else 'no such file'} beside hark.toml")
        elif path.stat().st_size > LARGEST_FILE:
            node.fault(f"{quoted(name)} has more than {LARGEST_FILE // 1024} KiB; is it a {what}?")
        else:
            return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        node.fault(f"{quoted(name)} is not UTF-8 text; save it as UTF-8")
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is no name of a file"
        node.fault(f"{quoted(name)} cannot be read: {why.lower()}")
    return None


def _faults(source: str) -> list[str]:
    """What is wrong with a template; also what only shows when Jinja turns it into Python."""
    sandbox = Sandbox({}, Counter())
    try:
        faults = source_faults(sandbox, source, VARIABLES)
        if not faults:
            sandbox.compile(source)
    except Exception as error:
        # A compiler of somebody else's: deep nesting, huge constants and odd names end in errors of many kinds.
        return [f"does not compile ({type(error).__name__}); make it simpler"]
    return [printable(fault) for fault in faults]
