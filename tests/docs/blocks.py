"""The files that a page of the documentation shows, written out, so that what is run is what is read."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to"
_FILE = re.compile(r"<!-- file: (?P<name>\S+) -->\n```\w+\n(?P<body>.*?)^```", re.DOTALL | re.MULTILINE)


def files_of(page: str) -> dict[str, str]:
    """A page's files, by name."""
    return {block["name"]: block["body"] for block in _FILE.finditer((HOW_TO / page).read_text())}


def written(page: str, folder: Path) -> Path:
    """Write a page's files into a folder."""
    for name, body in files_of(page).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body)
    return folder


def imported(name: str, folder: Path, patch: pytest.MonkeyPatch) -> ModuleType:
    """Import a module out of a folder, with those beside it, anew: none of them is known after the test."""
    patch.syspath_prepend(str(folder))
    for path in folder.glob("*.py"):
        patch.delitem(sys.modules, path.stem, raising=False)
    module = importlib.import_module(name)
    for path in folder.glob("*.py"):
        if path.stem in sys.modules:
            patch.setitem(sys.modules, path.stem, sys.modules.pop(path.stem))
    return module
