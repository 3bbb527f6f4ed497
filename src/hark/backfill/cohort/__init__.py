"""The users that a backfill is about: from words to a staged cohort.

words.py      from the command line's words, or a task's variables, to a spec
spec.py       the spec: everyone, ids, a file, a segment, a flag, and their union and difference; parsing.py: from JSON
reach.py      whether its files lie within what may be read, and those of this machine can be
staging.py    ids through COPY to members, once each; members.py: the statement
kept.py       a staged cohort: its counts, its faults, whether its sources are unchanged

How files are read is in hark.lists; segments are in hark.flags.
"""

from __future__ import annotations

from hark.backfill.cohort.kept import (
    CohortState,
    ListFault,
    Staged,
    export_faults,
    faults_of,
    forget,
    load,
    unchanged,
)
from hark.backfill.cohort.parsing import cohort_from_json
from hark.backfill.cohort.reach import readable, within
from hark.backfill.cohort.spec import MOST_PARTS, Buyers, Cohort, Difference, Everyone, Flag, Ids, Segment, Union, Who
from hark.backfill.cohort.staging import check_names, missing_names, stage
from hark.backfill.cohort.words import VARIABLES, CohortWords, Spelling, both_said, cohort_of, name_somebody, place_of
from hark.flags.segments import put_segment
from hark.lists import File, FileReach, Format, ObjectSeen

__all__ = [
    "MOST_PARTS",
    "VARIABLES",
    "Buyers",
    "Cohort",
    "CohortState",
    "CohortWords",
    "Difference",
    "Everyone",
    "File",
    "FileReach",
    "Flag",
    "Format",
    "Ids",
    "ListFault",
    "ObjectSeen",
    "Segment",
    "Spelling",
    "Staged",
    "Union",
    "Who",
    "both_said",
    "check_names",
    "cohort_from_json",
    "cohort_of",
    "export_faults",
    "faults_of",
    "forget",
    "load",
    "missing_names",
    "name_somebody",
    "place_of",
    "put_segment",
    "readable",
    "stage",
    "unchanged",
    "within",
]
