"""The page about Open Discussions names the tests that there are, and all of them."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "open_discussions"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "open-discussions.md"
NAMED = re.compile(r"`(test_\w+)`")


def named(section: str) -> set[str]:
    """The tests of ours that a section's table names, in its second column."""
    part = PAGE.read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in part.splitlines() if line.startswith("| ")]
    return {name for row in rows for name in NAMED.findall(row[1])}


def there_are(file: str) -> set[str]:
    return set(re.findall(r"^async def (test_\w+)", (TESTS / file).read_text(), re.MULTILINE))


def test_of_their_tests() -> None:
    assert named("Their tests") == there_are("test_their_tests.py") != set()


def test_of_their_faults() -> None:
    assert named("Their faults") == there_are("test_their_faults.py") != set()
