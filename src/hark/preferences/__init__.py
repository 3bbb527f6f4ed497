"""Stage 3 of 7: preferences. May we tell them, how and how often? In: Match. Out: Decision.

deciding.py     `decide`, the one place where that is answered, and the parts of the fan-out that look its answers up
installing.py   a catalogue made known to the database, with the answers
choosing.py     what recipients choose for themselves

A recipient's class (user type, reach, choices) has few values, so `install` writes the answers for all classes of every
reason into `hark.decision`; fan-out and recheck look them up there, a million recipients in one statement.
"""

from __future__ import annotations

from hark.preferences.choosing import choose, unchoose
from hark.preferences.deciding import (
    APPLYING,
    DECIDED_AS_ANY,
    DECIDED_AS_ONE,
    KNOWN_BY_KEY,
    KNOWN_IN_RANGE,
    RULES_OF_ANY,
    RULES_OF_ONE,
    Choice,
    Decision,
    Reach,
    Standing,
    Why,
    decide,
)
from hark.preferences.installing import install

__all__ = [
    "APPLYING",
    "DECIDED_AS_ANY",
    "DECIDED_AS_ONE",
    "KNOWN_BY_KEY",
    "KNOWN_IN_RANGE",
    "RULES_OF_ANY",
    "RULES_OF_ONE",
    "Choice",
    "Decision",
    "Reach",
    "Standing",
    "Why",
    "choose",
    "decide",
    "install",
    "unchoose",
]
