"""Audit: whether the graph is what the facts say, and the facts what the sources have.

    users, products ─▶ both sides ─▶ compared ─▶ looked at again ─▶ report
    (page by page)     of one moment   (pure)     (what differs)     (checks, score)

whole.py       one audit: which checks are made
report.py      checks, how they came out, examples, the score
walking.py     over all users and products, and again over what did not agree
looking.py     one look, and what it can come to; buyers.py: at users; goods.py: at products
comparing.py   what the facts say against what the graph has
graphs.py      the graph as a whole: strangers, orphans, other kinds, constraints
sourcing.py    facts against the sources; loads.py: of whom a load brought
baseline.py    a report kept, and what became of it
certificate.py one user: facts, graph, versions, source, and whether they agree

An audit only reads. Whatever moves while it does is looked at again, and never taken for a fault.
"""

from __future__ import annotations

from datetime import datetime

from hark.history.audit.looking import GraphReader
from hark.history.audit.report import Check, Finding, Name, Report, Severity
from hark.history.audit.whole import Audit
from hark.postgres.database import Database

__all__ = ["Audit", "Check", "Finding", "GraphReader", "Name", "Report", "Severity", "audit_users"]


async def audit_users(database: Database, graph: GraphReader | None, users_of_run: int, now: datetime) -> Report:
    """Whether the graph has what the facts say of the users whom a run touched.

    Args:
        graph: None: there is none, and only the facts themselves are looked at.
        users_of_run: the backfill's number, as facts are recorded with.

    Raises:
        Unreachable: the graph or the database is away.
    """
    return await Audit(database, graph, now).of_run(users_of_run)
