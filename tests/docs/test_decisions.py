"""Notes of decisions: each has a number of its own, in its file's name and in its title."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

NOTES = sorted((Path(__file__).resolve().parents[2] / "docs" / "decisions").glob("*.md"))
NAMED = re.compile(r"(\d{4})-[a-z0-9-]+\.md")
REOPENED = 10
"""From here on no number is left out."""


def number(note: Path) -> int:
    named = NAMED.fullmatch(note.name)
    assert named is not None, note.name
    return int(named[1])


def test_each_has_a_number_of_its_own_and_none_is_left_out() -> None:
    numbers = [number(note) for note in NOTES]
    assert len(set(numbers)) == len(numbers)
    late = [each for each in numbers if each >= REOPENED]
    assert late == list(range(REOPENED, REOPENED + len(late)))


@pytest.mark.parametrize("note", NOTES, ids=lambda note: str(note.name))
def test_its_title_has_its_number(note: Path) -> None:
    assert note.read_text(encoding="utf-8").startswith(f"# {number(note)}. ")
