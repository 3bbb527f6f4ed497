"""Whether all files of a cohort lie within what may be read, and those of this machine can be."""

from __future__ import annotations

from collections.abc import Sequence

from hark.backfill.cohort.spec import Cohort, leaves
from hark.errors import BadInput
from hark.lists import File, FileReach, locate, open_source


def within(cohort: Cohort, reach: FileReach) -> Cohort:
    """The cohort, if all of its files lie within what may be read.

    Raises:
        BadInput: all that do not, one a line.
    """
    _refuse([_fault(url, reach) for url in _urls(cohort)])
    return cohort


def readable(cohort: Cohort, reach: FileReach) -> Cohort:
    """The cohort, if its files of this machine are there and can be read; of stores nothing is asked.

    Raises:
        BadInput: all that are not, or lie outside of what may be read, one a line.
    """
    _refuse([_fault(url, reach) or _fault_here(url, reach) for url in _urls(cohort)])
    return cohort


def _urls(cohort: Cohort) -> list[str]:
    return [leaf.url for leaf, _ in leaves(cohort.who) if isinstance(leaf, File)]


def _refuse(said: Sequence[str]) -> None:
    if faults := [fault for fault in said if fault]:
        raise BadInput("\n".join(faults))


def _fault(url: str, reach: FileReach) -> str:
    try:
        locate(url, reach)
    except BadInput as refusal:
        return str(refusal)
    return ""


def _fault_here(url: str, reach: FileReach) -> str:
    if "://" in url:
        return ""
    try:
        with open_source(url, reach):
            return ""
    except BadInput as refusal:
        return str(refusal)
