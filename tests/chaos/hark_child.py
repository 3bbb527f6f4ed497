"""A command line of Hark's in a process of its own, forked from one that has imported it all; it may be killed.

What it says goes into a file. It ends with whoever asked for it, at the latest.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

PRELOADED = (
    "hark.doors.cli.app",
    "hark.doors.cli.working",
    "hark.doors.cli.ingesting",
    "hark.doors.cli.backfilling",
    "hark.doors.api.serving",
    "hark.history.live.kafka",
    "hark.history.projection.neo4j_graph",
    "hark.history.sandbox.app",
)
"""What its verbs import once they run."""


@dataclass(frozen=True, slots=True)
class Order:
    """A command, in a folder and an environment; `log`: the file that gets what it says."""

    arguments: Sequence[str]
    folder: str
    log: str
    environment: Mapping[str, str]

    def to_json(self) -> str:
        """As the child reads it."""
        return json.dumps(asdict(self))


def serve(order: str) -> None:
    """Run the command; ends the process with its exit code."""
    given = Order(**json.loads(order))
    os.chdir(given.folder)
    for name in [name for name in os.environ if name.startswith("HARK_")]:
        del os.environ[name]
    os.environ.update(given.environment)
    _speak_into(given.log)
    threading.Thread(target=_end_with_owner, args=(os.dup(0),), daemon=True).start()
    from hark.doors.cli.app import run

    code = run(given.arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _speak_into(log: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def _end_with_owner(line: int) -> None:
    while os.read(line, 4096):
        pass
    os._exit(1)
