"""What the reference says of cohorts over HTTP is what the API takes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hark.backfill.cohort import FileReach
from hark.doors.api.cohorts import cohort_asked
from hark.doors.api.routes.backfill_bodies import Cohort, cohort_of_body

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cohorts.md"
BODIES = re.findall(r"^\| `--.*?\| `(\{.*?\})` \|", PAGE.read_text(), re.MULTILINE)


def test_most_rows_say_it() -> None:
    assert len(BODIES) > 7


@pytest.mark.parametrize("body", BODIES)
def test_the_api_takes_it(body: str) -> None:
    assert cohort_asked(cohort_of_body(Cohort.model_validate(json.loads(body))), FileReach(stores=("s3://bucket",)))
