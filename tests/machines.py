"""State machines of hypothesis, each life of them in a world of its own on a real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.servers import Postgres
from tests.world import World, open_world

_Value = TypeVar("_Value")


class WorldMachine(RuleBasedStateMachine):
    """One life in a world: its rules are what may happen, `in_the_end` is what must be so then."""

    postgres: Postgres
    template: str

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.name = self.postgres.create_database(self.template)
        self.entered = open_world(self.postgres.dsn(self.name))
        self.world: World = self.run(self.entered.__aenter__())

    def run(self, work: Coroutine[Any, Any, _Value]) -> _Value:
        """Do some work, to its end."""
        return self.loop.run_until_complete(work)

    def in_the_end(self) -> None:
        """What must be so when nothing happens any more."""

    def let_go(self) -> None:
        """Give back what the life holds but for its world, whatever came of it."""

    def teardown(self) -> None:
        try:
            self.in_the_end()
        finally:
            self.let_go()
            self.run(self.entered.__aexit__(None, None, None))
            self.loop.close()
            self.postgres.drop_database(self.name)


def live(machine: type[WorldMachine], postgres: Postgres, template: str, *, lives: int, steps: int) -> None:
    """Try lives of so many steps at most, the same ones every time."""
    run_state_machine_as_test(
        type(machine.__name__, (machine,), {"postgres": postgres, "template": template}),
        settings=settings(
            max_examples=lives,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
