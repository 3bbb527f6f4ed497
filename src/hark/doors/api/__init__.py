"""The HTTP door.

app.py        all routes as one application
door.py       what every route needs: the database, the clock, who calls; routes that need a scope
problems.py   what is wrong with a call, as RFC 9457 has it
wording.py    the faults of a body or a query, all at once, in Hark's words
fields.py     the values that bodies are made of: names, moments, JSON
paths.py      ids in paths, whatever they are made of
limits.py     how long a body may be; nothing that fails says whose data it was
description.py  what /openapi.json says
backfills.py  what the door asks of backfills: the seam to their engine
serving.py    the door on a port, until told to stop
routes/       one file a group of routes
"""

from __future__ import annotations

from hark.doors.api.app import build_api

__all__ = ["build_api"]
