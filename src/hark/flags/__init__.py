"""Flags: who is let in, by which version, and whether that is effective everywhere.

    segments ─▶ flag ─▶ snapshot ─▶ decision          a flag lets in whoever is enrolled or in one of its segments
                  └──▶ report ─▶ effective everywhere ─▶ a load may begin

rules.py      what a segment is made of: ids, an object, internal users, a share of everybody
segments.py   saved, named sets of users, for flags and for cohorts; looking.py: those that come from elsewhere, kept so
changes.py    flags made, turned, changed: compare-and-set, audited
members.py    a large set of ids in little memory
deciding.py   whether a flag lets a user in, and why: pure
reading.py    flags in this process, read again where a version says so
gate.py       who acts on which version; `fence` what was decided by it; wait until it is effective everywhere
enrolment.py  users let in one by one, and the loads that asks for
listing.py    what there is to see, in SQL: it answers as deciding.py does
provider.py   OpenFeature, both ways (the extra `flags`)
"""

from __future__ import annotations

from hark.config.people import parse_internal
from hark.flags.changes import (
    Author,
    Changed,
    add_users,
    create,
    is_off,
    remove_segment,
    remove_users,
    set_segment,
    turn,
)
from hark.flags.deciding import Because, Decision, Snapshot
from hark.flags.enrolment import Enrolment, LoadAsked, enrol, take, waiting, withdraw
from hark.flags.gate import FlagGate, Gate, Report, View, behind, wait_until_effective
from hark.flags.looking import Watcher
from hark.flags.reading import FlagReader
from hark.flags.rules import Internal, Kept, Listed, Named, Rollout, Rule, parse_percent
from hark.flags.segments import put_segment

__all__ = [
    "Author",
    "Because",
    "Changed",
    "Decision",
    "Enrolment",
    "FlagGate",
    "FlagReader",
    "Gate",
    "Internal",
    "Kept",
    "Listed",
    "LoadAsked",
    "Named",
    "Report",
    "Rollout",
    "Rule",
    "Snapshot",
    "View",
    "Watcher",
    "add_users",
    "behind",
    "create",
    "enrol",
    "is_off",
    "parse_internal",
    "parse_percent",
    "put_segment",
    "remove_segment",
    "remove_users",
    "set_segment",
    "take",
    "turn",
    "wait_until_effective",
    "waiting",
    "withdraw",
]
