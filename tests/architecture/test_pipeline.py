"""The code reads like the pipeline that it is: the stages' first docstring lines are one chain."""

from __future__ import annotations

import re
from importlib import resources

import pytest

STAGES = (
    "events.py",
    "audience.py",
    "preferences/__init__.py",
    "batching.py",
    "rendering.py",
    "delivery/__init__.py",
    "channels/__init__.py",
)
FIRST_LINE = re.compile(
    r'"""Stage (?P<place>\d) of 7: (?P<name>\w+)\. (?P<question>[^?]+\?) In: (?P<given>[^.]+)\. Out: (?P<made>[^.]+)\.'
)


def first_lines() -> list[re.Match[str]]:
    lines = [(resources.files("hark") / stage).read_text().splitlines()[0] for stage in STAGES]
    matches = [FIRST_LINE.match(line) for line in lines]
    assert all(matches), [line for line, match in zip(lines, matches, strict=True) if not match]
    return [match for match in matches if match]


def test_every_stage_says_its_place() -> None:
    assert [int(line["place"]) for line in first_lines()] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("place", range(6))
def test_each_stage_takes_what_the_one_before_it_makes(place: int) -> None:
    lines = first_lines()
    assert lines[place + 1]["given"] == lines[place]["made"]


def test_the_package_docstring_is_the_pipeline() -> None:
    import hark

    told = [line["name"] for line in first_lines()]
    places = [(hark.__doc__ or "").find(name) for name in told]
    assert -1 not in places
    assert places == sorted(places)
