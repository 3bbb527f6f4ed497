"""The page on choosing a cool-down: what it says to write can be written."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import pytest

from hark.catalogue import Frequency
from hark.replay import parse_policies, parse_policy

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "choose-a-cool-down.md").read_text()
COMMAND = re.search(r"^hark replay .*$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("text", sorted(set(re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE))))
def test_every_policy_of_the_tables_is_one(text: str) -> None:
    assert parse_policy(text).name == text


def test_the_tables_show_every_kind_of_policy() -> None:
    kinds = {parse_policy(text).frequency for text in re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)}
    assert kinds == set(Frequency) - {Frequency.NEVER}


def test_the_command_names_policies() -> None:
    assert COMMAND is not None
    words = shlex.split(COMMAND[0])
    given = [word for before, word in itertools.pairwise(words) if before == "--policy"]
    assert len(parse_policies(given)) == len(given) > 1
