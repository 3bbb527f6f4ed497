"""Zone data of two ages: where Postgres and Python take a zone's clocks for other ones, the doctor says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hark.doors import zones
from hark.doors.zones import Differing, by_python, differing, in_words
from tests.doors.commands import Desk
from tests.world import World, student

NOW = datetime(2026, 3, 2, tzinfo=UTC)
CHANGE = datetime(2026, 7, 6, tzinfo=UTC)


def other_rules(zone: str, at: datetime) -> timedelta | None:
    """Zone data in which Kolkata moves its clocks in July, and Berlin is not known. In Lima nobody lives."""
    if zone == "Europe/Berlin":
        return None
    ahead = by_python(zone, at)
    moved = zone in ("Asia/Kolkata", "America/Lima") and at >= CHANGE
    return ahead + timedelta(minutes=30) if moved and ahead is not None else ahead


async def test_zones_of_recipients_that_differ_are_named_with_the_first_week_of_it(world: World) -> None:
    homes = ["Asia/Kolkata", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
    await world.know(*[student(f"u{n}", zone=zone) for n, zone in enumerate(homes)])
    found = await differing(world.database, NOW, other_rules)
    assert found == [
        Differing("Asia/Kolkata", True, True, CHANGE),
        Differing("Europe/Berlin", True, False, None),
    ]
    assert [in_words(each) for each in found] == [
        "Asia/Kolkata: other clocks by Postgres than by Python, seen for 2026-07-06",
        "Europe/Berlin: Python knows no such zone, and takes it for UTC",
    ]


async def test_a_zone_that_postgres_no_longer_knows_is_named(world: World) -> None:
    await world.execute("insert into hark.slot (frequency, zone) values ('daily', 'Mars/Olympus')")
    (found,) = await differing(world.database, NOW)
    assert in_words(found) == "Mars/Olympus: Postgres knows no such zone, nor does Python"


def test_the_doctor_warns_and_is_no_less_content(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert desk.hark("recipients", "import", "people.csv").code == 0
    monkeypatch.setattr(zones, "by_python", lambda _zone, _at: timedelta(0))
    before = desk.hark("doctor")
    found = {check["what"]: check for check in desk.hark("doctor", "--json").only["checks"]}["time zones"]
    assert (found["good"], found["warns"]) == (True, True)
    assert found["found"].splitlines()[0].startswith("Asia/Kolkata: other clocks by Postgres")
    assert "WARN time zones" in before.out and "next: bring the zone data" in before.out
