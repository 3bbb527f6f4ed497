"""The command line as people run it: a process of its own, and the most memory that it took until it ended."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from bench.ground import REPOSITORY, server

SAMPLE = REPOSITORY / "src" / "hark" / "sample"
"""Where commands are run: beside a catalogue."""
REASONS = ("app_shared", "comment_reply", "mention")
"""Three of that catalogue's which students have."""
PREFERENCES = (
    *("backfill", "preferences", "--channels", "push,in_app", "--user-types", "Students"),
    *(word for reason in REASONS for word in ("--reason", reason)),
)

_RUN = """
import atexit, sys

def tell():
    with open("/proc/self/status") as status:
        peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
    print(int(peak) / 1024, file=sys.stderr)

atexit.register(tell)
from hark.doors.cli import main
main()
"""


async def peak_of(database: str, *arguments: str) -> float:
    """Run `hark` with these arguments on a database of the scratch server; its peak in MB (VmHWM).

    Raises:
        subprocess.CalledProcessError: it did not end well.
    """
    return await asyncio.to_thread(_peak_of, database, arguments)


def _peak_of(database: str, arguments: tuple[str, ...]) -> float:
    path = os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY)])
    environment = {**os.environ, "HARK_DATABASE_URL": server().dsn_of(database), "PYTHONPATH": path}
    command = [sys.executable, "-c", _RUN, *arguments]
    done = subprocess.run(command, cwd=SAMPLE, env=environment, check=True, capture_output=True, text=True)
    return float(done.stderr.splitlines()[-1])


def written(path: Path, users: int) -> Path:
    """A list of the users `user-00000001` and so on, an id a line."""
    with path.open("w") as file:
        file.writelines(f"user-{number:08}\n" for number in range(1, users + 1))
    return path
