"""The demo: the same evening for the same seed, and a run from start to end."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from hark.doors.demo.campus import LENGTH, campus
from hark.doors.demo.show import Wish, in_words, run_demo
from hark.postgres.embedded.processes import every_process
from tests.doors.commands import Desk
from tests.servers import scratch_folder

BEGINS = datetime(2026, 3, 2, 18, tzinfo=UTC)


def test_the_same_seed_is_the_same_evening() -> None:
    assert campus(3, BEGINS, 500) == campus(3, BEGINS, 500)
    assert campus(3, BEGINS, 500) != campus(4, BEGINS, 500)


def test_an_evening_is_in_the_order_of_time_and_of_about_the_size_asked_for() -> None:
    evening = campus(1, BEGINS, 2000)
    times = [each.at for each in evening.happenings]
    assert times == sorted(times)
    assert BEGINS <= times[0] <= times[-1] <= BEGINS + LENGTH
    assert 1000 < len(times) < 4000


@pytest.mark.slow
def test_the_command_leaves_the_mails_and_nothing_running(desk: Desk) -> None:
    scratch = scratch_folder("hark-test-demo-")
    ran = desk.hark_alone("demo", "--events", "150", "--mails", "mails", "--json", TMPDIR=str(scratch))
    assert ran.code == 0, ran.err
    assert ran.only["mails"] == len(list((desk.directory / "mails" / "new").iterdir()))
    assert list(scratch.iterdir()) == []
    assert [process for process in every_process() if str(scratch) in process.arguments] == []
    scratch.rmdir()


async def test_from_start_to_end(tmp_path: Path) -> None:
    summary = await run_demo(Wish(200, 5, tmp_path / "mails"), Console(quiet=True))
    mails = list((tmp_path / "mails" / "new").iterdir())
    assert summary.mails == len(mails) > 0
    assert summary.mails < summary.mails_one_by_one
    assert summary.biggest_items > 1
    assert summary.biggest in "\n".join(in_words(summary)).replace("  │ ", "") or len(summary.biggest.splitlines()) > 24
    assert summary.explained
