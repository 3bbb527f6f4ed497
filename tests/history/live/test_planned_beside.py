"""A load that is planned beside a stream looks at its lag first, on a real broker."""

from __future__ import annotations

import pytest

from tests.doors.commands import Desk, desk, furnished
from tests.history.live.events import receipt
from tests.history.live.topics import Topics

__all__ = ["desk", "furnished"]

PLAN = ("backfill", "history", "--ids", "ann")


def test_a_load_is_not_planned_where_nobody_reads_what_is_behind(
    desk: Desk, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in topics.environment.items():
        monkeypatch.setenv(name, value)
    assert desk.hark(*PLAN).code == 0, "nothing is behind"
    topics.receipts(receipt("r1", "milk"))
    stopped = desk.hark(*PLAN)
    assert stopped.code == 1
    assert f"{topics.settings.ingest_receipts_group} is 1 behind, and nobody is in it" in stopped.err
    assert "nothing was planned" in stopped.err
    assert desk.hark(*PLAN, "--ignore-lag").code == 0
    assert desk.ask("select count(*) from hark.backfill") == 2
