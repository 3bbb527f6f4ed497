"""How to let users in with flags is done as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.doors.commands import Desk, desk, furnished

__all__ = ["desk", "furnished"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "flags.md"
BLOCK = re.compile(r"<!-- run -->\n```sh\n(.*?)```", re.DOTALL)


def test_does_what_it_says(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_INTERNAL_USERS", "@acme.example, dora")
    lines = [line for block in BLOCK.findall(PAGE.read_text()) for line in block.splitlines()]
    said = {line: desk.hark(*shlex.split(line)[1:]) for line in lines}
    assert {line: ran.err for line, ran in said.items() if ran.code} == {}
    assert "segment beta" in said["hark flags check bob --flag history-live"].out
    assert {"carol", "dora", "ed", "fay"} <= set((desk.directory / "cohort.txt").read_text().split())
    assert "bob" not in (desk.directory / "cohort.txt").read_text().split()
