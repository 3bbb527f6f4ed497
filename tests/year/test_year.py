"""A virtual year: ten thousand people in sixty zones in full (`make year`), a season of a small town by default."""

from __future__ import annotations

import os

import pytest

from tests.servers import Postgres
from tests.world import open_world
from tests.year.life import Life, Scale
from tests.year.simulation import Simulation

FULL = os.environ.get("HARK_YEAR") == "full"
SCALES = [Scale(10_000, 365, seed=1)] if FULL else [Scale(60, 14, seed=1), Scale(25, 35, seed=2, busy=60.0)]


@pytest.mark.slow
@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: f"{scale.recipients}x{scale.days}d-seed{scale.seed}")
async def test_nothing_twice_nothing_lost_nothing_unwanted(
    scale: Scale, postgres: Postgres, world_template: str
) -> None:
    name = postgres.create_database(world_template)
    async with open_world(postgres.dsn(name)) as world:
        simulation = Simulation(world, Life(scale))
        faults = await simulation.run()
        assert faults == [], f"{len(faults)} faults, e.g. {faults[:5]}"
        assert simulation.kills > 0
        assert len(simulation.ledger.handed) > scale.recipients
        assert await world.rows("select from hark.delivery where state = 'SENDING'") == []
    postgres.drop_database(name)
