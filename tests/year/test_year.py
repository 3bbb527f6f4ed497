"""A virtual year: ten thousand people in sixty zones in full (`make year`), some weeks of a small town by default."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
import structlog

from tests.servers import Postgres
from tests.world import open_world
from tests.year.life import Life, Scale
from tests.year.simulation import Simulation

FULL = os.environ.get("HARK_YEAR") == "full"
YEAR = Scale(
    10_000,
    int(os.environ.get("HARK_YEAR_DAYS", "365")),
    seed=int(os.environ.get("HARK_YEAR_SEED", "1")),
    busy=1.0,
    posts=3.0,
    readers=0.1,
    subscribers=0.25,
    followers=0.05,
    outage=10.0,
)
WEEKS = [Scale(30, 6, seed=1, busy=20.0, zones=3), Scale(15, 8, seed=3, busy=60.0, kill=1.0, zones=2)]


@pytest.mark.slow
@pytest.mark.parametrize("scale", [YEAR] if FULL else WEEKS, ids=lambda s: f"{s.recipients}x{s.days}d-seed{s.seed}")
async def test_nothing_twice_nothing_lost_nothing_unwanted(
    scale: Scale, postgres: Postgres, world_template: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = postgres.create_database(world_template)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    async with open_world(postgres.dsn(name)) as world:
        simulation = Simulation(world, Life(scale), _progress(time.monotonic(), capsys) if FULL else lambda *_: None)
        faults = await simulation.run()
        assert faults == [], f"{len(faults)} faults, e.g. {faults[:5]}"
        assert simulation.kills > 0
        assert simulation.ledger.handed > scale.recipients
        assert simulation.ledger.digests > scale.recipients
        assert await world.rows("select from hark.delivery where state in ('PENDING', 'SENDING')") == []
    postgres.drop_database(name)


def _progress(began: float, capsys: pytest.CaptureFixture[str]) -> Callable[[Simulation, int], None]:
    """A line a day, past pytest's capture: a run that is cut short has shown how far it was right."""

    def tell(simulation: Simulation, day: int) -> None:
        ledger = simulation.ledger
        line = (
            f"day {day} of {simulation.life.scale.days} ({time.monotonic() - began:.0f} s):"
            f" {len(ledger.events)} events, {len(ledger.posts)} posts, {ledger.handed} messages handed over,"
            f" {ledger.digests} digests, {simulation.walks} walks, {simulation.kills} kills,"
            f" {ledger.late} late, {len(ledger.faults)} faults {ledger.faults[:3] or ''}"
        )
        with capsys.disabled():
            print(line, flush=True)

    return tell
