"""The users that a backfill is about: from words to a staged cohort.

words.py      from the command line's words, or a task's variables, to a spec
spec.py       the spec: everyone, ids, a file, a segment, and their union and difference; parsing.py: from JSON
reach.py      from where files may be read
sources.py    their bytes, with ETag and SHA-256; stores.py: those of S3, Google and Azure
text.py       bytes to text; lines.py: to lines; rows.py: to ids; parquet.py: Parquet to ids
staging.py    ids through COPY to members, once each; members.py: the statement
kept.py       a staged cohort: its counts, its faults, whether its sources are unchanged
segments.py   saved, named sets of users
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
from hark.backfill.cohort.reach import FileReach, within
from hark.backfill.cohort.segments import put_segment
from hark.backfill.cohort.sources import ObjectSeen
from hark.backfill.cohort.spec import Cohort, Difference, Everyone, File, Format, Ids, Segment, Union
from hark.backfill.cohort.staging import stage
from hark.backfill.cohort.words import VARIABLES, CohortWords, cohort_from_environment, cohort_of

__all__ = [
    "VARIABLES",
    "Cohort",
    "CohortState",
    "CohortWords",
    "Difference",
    "Everyone",
    "File",
    "FileReach",
    "Format",
    "Ids",
    "ListFault",
    "ObjectSeen",
    "Segment",
    "Staged",
    "Union",
    "cohort_from_environment",
    "cohort_from_json",
    "cohort_of",
    "export_faults",
    "faults_of",
    "forget",
    "load",
    "put_segment",
    "stage",
    "unchanged",
    "within",
]
