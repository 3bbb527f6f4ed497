"""The settings: how Hark runs. A flag comes first, then a `HARK_…` variable, then hark.toml, then the default.

settings.py   all of them with their defaults
kinds.py      how each kind is read and what is refused
stores.py     where objects may be read from
sources.py    `load_settings`, `explain_settings`: where each comes from
"""

from __future__ import annotations

from hark.config.settings import Settings
from hark.config.sources import (
    InForce,
    SettingFaults,
    explain_settings,
    flag,
    load_settings,
    unknown_variables,
    variable,
)

__all__ = [
    "InForce",
    "SettingFaults",
    "Settings",
    "explain_settings",
    "flag",
    "load_settings",
    "unknown_variables",
    "variable",
]
