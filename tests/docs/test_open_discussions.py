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


def there_are(files: str) -> set[str]:
    found = [re.findall(r"^async def (test_\w+)", path.read_text(), re.MULTILINE) for path in TESTS.glob(files)]
    return {name for names in found for name in names}


FAULTS = "test_their*_faults.py"


def test_of_their_tests() -> None:
    assert named("Their tests") == there_are("test_their_*.py") - there_are(FAULTS) != set()


def test_of_their_faults() -> None:
    assert named("Their faults") == there_are(FAULTS) != set()
