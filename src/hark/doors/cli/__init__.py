"""The command line.

app.py       all verbs as one command
verbs/       one file a group of verbs; light to import: what a verb needs it imports when it runs
frame.py     what all verbs share: their common options, the call, the exit code
session.py   the database that a verb works on: found, started, migrated
output.py    tables for people, JSON for programs, progress beside them
ending.py    how a worker's process ends, whatever is left in its threads
exits.py     exit codes, and which error gets which
"""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point of `hark`."""
    try:
        from hark.doors.cli.app import run
        from hark.doors.cli.ending import own_process

        own_process()
        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:  # while it is starting, or ending: what runs sees to it itself
        sys.stderr.write("interrupted\n")
        sys.exit(130)
