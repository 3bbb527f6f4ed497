"""Whether all files of a cohort lie within what may be read."""

from __future__ import annotations

from hark.backfill.cohort.spec import Cohort, leaves
from hark.errors import BadInput
from hark.lists import File, FileReach, locate


def within(cohort: Cohort, reach: FileReach) -> Cohort:
    """The cohort, if all of its files lie within what may be read.

    Raises:
        BadInput: all that do not, one a line.
    """
    faults = [fault for leaf, _ in leaves(cohort.who) if isinstance(leaf, File) and (fault := _fault(leaf.url, reach))]
    if faults:
        raise BadInput("\n".join(faults))
    return cohort


def _fault(url: str, reach: FileReach) -> str:
    try:
        locate(url, reach)
    except BadInput as refusal:
        return str(refusal)
    return ""
