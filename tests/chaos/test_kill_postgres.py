"""kill -9 of Postgres under working workers: they go on by themselves, nothing committed is lost or sent twice."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import psycopg
import pytest

from hark import preferences
from hark.delivery.attempt import Step
from hark.postgres.database import open_database
from hark.postgres.embedded import EmbeddedServer, start
from hark.postgres.embedded.layout import Layout
from hark.postgres.embedded.processes import find_process
from hark.postgres.embedded.server import postmaster
from hark.postgres.migrate import migrate
from tests.chaos.crew import Crew
from tests.chaos.ledger import SmtpSink
from tests.chaos.scene import CATALOGUE, Scene, Tally, audit
from tests.servers import eventually, postgres_bin_dir

pytestmark = pytest.mark.chaos

PEOPLE = 30
AT_ONCE = 10
OUTAGE_S = 70.0
STEPS = (Step.MARK, Step.HAND_OVER, Step.SETTLE, Step.CLAIM, Step.RECHECK, Step.RENDER)
"""Those first of which most could go wrong."""
_LAZY_WRITER = {"wal_writer_delay": "10s"}
"""What nobody waits for stays in memory long enough to die with the server."""


@dataclass(slots=True)
class Durable:
    """A Postgres that waits for its disk, as in production; it may be killed and brought up again."""

    data_dir: Path
    server: EmbeddedServer

    @classmethod
    def begin(cls) -> Durable:
        """A new one."""
        data_dir = Path(tempfile.mkdtemp(prefix="hark-durable-"))
        return cls(data_dir, start(data_dir, bin_dir=postgres_bin_dir(), keep=False, settings=_LAZY_WRITER))

    def kill_postmaster(self) -> None:
        """kill -9 of the main process, and a new one in its place."""
        self.go_down()
        self.come_up()

    def go_down(self) -> None:
        """kill -9 of the main process."""
        running = postmaster(Layout(self.data_dir).cluster)
        assert running is not None
        os.kill(running.pid, signal.SIGKILL)
        eventually(lambda: find_process(running.pid) is None, "the postmaster is gone")

    def come_up(self) -> None:
        """A new one in its place."""
        start(self.data_dir, bin_dir=postgres_bin_dir(), settings=_LAZY_WRITER).release()

    def kill_backend(self) -> None:
        """kill -9 of one process that serves a worker: Postgres ends all the others, and recovers."""
        while not (found := self._backends()):
            eventually(self._backends, "a worker is connected")
        pid = found[0]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: find_process(pid) is None, "the process is gone")
        eventually(self._answers, "Postgres has recovered")

    def end(self) -> None:
        """Stop it, data and all."""
        self.server.release()
        eventually(lambda: not self.data_dir.exists(), f"the keeper has removed {self.data_dir}")

    def _backends(self) -> list[int]:
        """None while it recovers from an earlier kill."""
        try:
            with psycopg.connect(self.server.dsn) as connection:
                found = connection.execute("select pid from pg_stat_activity where application_name = 'hark'")
                return [pid for (pid,) in found]
        except psycopg.OperationalError:
            return []

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.server.dsn).close()
        except psycopg.OperationalError:
            return False
        return True


Kill = Callable[[Durable], None]


@pytest.fixture(scope="module")
def durable() -> Iterator[Durable]:
    """One durable server for these tests."""
    begun = Durable.begin()
    yield begun
    begun.end()


@pytest.fixture
async def scene(durable: Durable) -> Scene:
    """A fresh database in the durable server, with the catalogue in it."""
    name = f"chaos_{time.monotonic_ns()}"
    with psycopg.connect(durable.server.dsn, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    dsn = durable.server.dsn_of(name)
    await migrate(dsn)
    async with open_database(dsn) as database:
        await preferences.install(database, CATALOGUE)
    return Scene(dsn)


@pytest.mark.parametrize("kill", [Durable.kill_postmaster, Durable.kill_backend])
def test_killed_while_the_worker_stands_at_each_step(
    kill: Kill, times: int, durable: Durable, scene: Scene, sink: SmtpSink, crew: Crew
) -> None:
    scene.enrol(PEOPLE)
    worker = crew.hire()
    worker.work()
    steps = list(islice(cycle(STEPS), times))
    for number, step in enumerate(steps):
        worker.halt_at(step.value)
        scene.publish("comment", f"{number}")
        worker.stands_at(step.value)
        kill(durable)
        worker.go_on()
        scene.settles()
    worker.rest()
    assert audit(scene, sink.taken()) == Tally(accepted=PEOPLE * len(steps))


@pytest.mark.parametrize("kill", [Durable.kill_postmaster, Durable.kill_backend])
def test_killed_at_any_moment(
    kill: Kill, times: int, durable: Durable, scene: Scene, sink: SmtpSink, crew: Crew
) -> None:
    moments = random.Random(20)
    scene.enrol(PEOPLE)
    workers = [crew.hire() for _ in range(2)]
    for worker in workers:
        worker.work()
    with Publisher(scene) as publisher:
        for _ in range(times):
            eventually(publisher.goes_on(), "publishing goes on")
            time.sleep(moments.uniform(0, 0.1))  # waits for nothing: the moment is the point
            kill(durable)
    scene.settles()
    for worker in workers:
        worker.rest()
    tally = audit(scene, sink.taken())
    keys = {key for (key,) in scene.rows("select key from hark.event")}
    assert set(publisher.committed) <= keys, "a publish that was committed is lost"
    assert tally.total == PEOPLE * len(keys)
    assert tally.unknown <= AT_ONCE * len(workers) * times
    print(f"{kill.__name__}: {len(keys)} events, {tally}")


def test_the_mark_is_on_disk_whatever_the_server_is_set_to(
    durable: Durable, scene: Scene, sink: SmtpSink, crew: Crew
) -> None:
    """With synchronous_commit off, a crash undoes what was committed last; the mark must not be among that."""
    scene.enrol(PEOPLE)
    scene.publish("comment", "only")
    with psycopg.connect(scene.dsn, autocommit=True) as connection:
        connection.execute(f"alter database {connection.info.dbname} set synchronous_commit = off")
    worker = crew.hire(halts=(Step.MARK.value,))
    worker.work()
    worker.stands_at(Step.MARK.value)
    durable.kill_postmaster()
    worker.go_on()
    scene.settles()
    worker.rest()
    assert audit(scene, sink.taken()) == Tally(accepted=PEOPLE)


def test_away_for_long(times: int, durable: Durable, scene: Scene, sink: SmtpSink, crew: Crew) -> None:
    """However long it was away, 45 seconds after it is back nothing is left."""
    if times < 20:
        pytest.skip("waits for more than a minute: in full only")
    scene.enrol(PEOPLE)
    worker = crew.hire(halts=(Step.RECHECK.value,))
    scene.publish("comment", "only")
    worker.work()
    worker.stands_at(Step.RECHECK.value)
    durable.go_down()
    worker.go_on()
    time.sleep(OUTAGE_S)  # waits for nothing: the outage is the point
    durable.come_up()
    scene.settles()
    worker.rest()
    assert audit(scene, sink.taken()) == Tally(accepted=PEOPLE)


@dataclass(slots=True)
class Publisher:
    """A product that publishes all the time, and tries again with the same key when the database went away."""

    scene: Scene
    committed: list[str] = field(default_factory=list)
    _ending: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Publisher:
        self._thread = threading.Thread(target=self._publish)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        assert self._thread is not None
        self._thread.join()

    def goes_on(self) -> Callable[[], bool]:
        """Whether three more events are committed than now."""
        enough = len(self.committed) + 3
        return lambda: len(self.committed) >= enough

    def _publish(self) -> None:
        number = 0
        while not self._ending.wait(0.1):
            try:
                self.scene.publish("mention", f"{number}")
            except psycopg.OperationalError:
                continue
            self.committed.append(f"{number}")
            number += 1
