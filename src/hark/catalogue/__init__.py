"""The catalogue: what a product can notify of, to whom, how, and how often. hark.toml, checked whole.

model.py           the types that the rest of Hark knows
reading.py         `load_catalogue`: the file's sections, one function each
reasons.py         one `[reasons.NAME]`
nearness.py        `narrower` reasons, `auto_subscribe`
template_sources.py  its words: strings and files, checked as Jinja
product_sources.py   `feed` and `recheck`: whom of the product to ask
sql_text.py        whether a query can stand in a larger statement, seen without a database
backfill_rules.py  `[backfills]`: who must approve, who is told
mail_settings.py   `[channels.email]`: sender, server, what comes from the environment
nodes.py           values that know their line, so that faults can name it
toml_lines.py      TOML with line numbers
wording.py         how faults show what was written, and did you mean …?
"""

from __future__ import annotations

from hark.catalogue.model import (
    Backfills,
    Calendar,
    Catalogue,
    Category,
    Channel,
    CypherSource,
    Email,
    Facet,
    Feed,
    FeedSource,
    Frequency,
    PythonSource,
    Reason,
    Source,
    SqlSource,
    Templates,
    UrlSource,
    Windows,
)
from hark.catalogue.reading import load_catalogue
from hark.catalogue.wording import nearest, no_such

__all__ = [
    "Backfills",
    "Calendar",
    "Catalogue",
    "Category",
    "Channel",
    "CypherSource",
    "Email",
    "Facet",
    "Feed",
    "FeedSource",
    "Frequency",
    "PythonSource",
    "Reason",
    "Source",
    "SqlSource",
    "Templates",
    "UrlSource",
    "Windows",
    "load_catalogue",
    "nearest",
    "no_such",
]
