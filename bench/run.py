"""Ask all questions, or one: `python -m bench.run [--only NAME] [--scale 0.1]`.

Writes bench/results.json and bench/RESULTS.md, after each script: rows that were asked now are replaced, others stay.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from bench.book import Book, Row, this_machine

HERE = Path(__file__).parent
SCRIPTS = (
    *("fanout", "poll_idle", "poll_due", "claim", "send", "pipeline", "replay"),
    *("digest_plan", "digest_idle", "cohort_csv", "backfill_preferences", "backfill_live"),
    *("record_facts", "ingest", "projection", "projection_lag"),
)


def main() -> None:
    """Run the scripts that were asked for, each in turn."""
    asked = _arguments()
    book = Book.load(HERE / "results.json")
    machine = this_machine()
    for name in asked.only or scripts():
        print(f"{name} …", flush=True)
        load = os.getloadavg()[0]
        rows = [
            Row.of(name, result, machine, asked.scale, load)
            for result in import_module(f"bench.{name}").measure(asked.scale)
        ]
        book = book.with_rows(name, rows)
        book.save(HERE / "results.json", HERE / "RESULTS.md", SCRIPTS)
        _say(rows)


def scripts() -> list[str]:
    """The scripts that are there, in the order of the questions."""
    return [name for name in SCRIPTS if (HERE / f"{name}.py").exists()]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--only", action="append", choices=scripts(), help="this script; may be given several times")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="1 is the sizes that the questions name; 0.1 a quick look"
    )
    return parser.parse_args()


def _say(rows: Iterable[Row]) -> None:
    for row in rows:
        print("  " + row.sentence(), flush=True)


if __name__ == "__main__":
    main()
