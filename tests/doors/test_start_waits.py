"""Commands that start while Postgres recovers from a crash wait, say so, and go on; what is no start-up ends them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from subprocess import Popen

import psycopg
import pytest

from hark.doors.cli.exits import ExitCode
from hark.errors import Unreachable
from hark.postgres.embedded import EmbeddedServer, start
from hark.postgres.embedded.layout import Layout
from hark.postgres.embedded.processes import find_process
from hark.postgres.embedded.server import postmaster
from hark.postgres.reaching import reach
from tests.doors.commands import Desk
from tests.servers import eventually, postgres_bin_dir, scratch_folder

WAITING = "Postgres is starting up, or recovers: waiting for it, 5m in all"
_SETTINGS = {"wal_level": "replica", "hot_standby": "off"}


class Recovering:
    """A server that was killed and started again, and recovers for as long as the test wants: as a standby would."""

    def __init__(self) -> None:
        self.data_dir = scratch_folder("hark-recovering-")
        self.cluster = Layout(self.data_dir).cluster
        self.server = self._start(keep=False)
        self._began = [self.server]
        self._thread = threading.Thread(target=lambda: self._began.append(self._start(keep=True)))

    def begin(self) -> None:
        """kill -9, and it is started again; it takes no connections."""
        self._kill()
        self._touch("standby.signal")
        self._thread.start()
        eventually(self._takes_none, "the server recovers")

    def finish(self) -> None:
        """It takes connections."""
        self._touch("promote")
        os.kill(self._pid(), signal.SIGUSR1)
        self._thread.join()

    def end(self) -> None:
        """Stop it, data and all."""
        if self._thread.is_alive():
            self.finish()
        for each in self._began:
            each.release()
        eventually(lambda: not self.data_dir.exists(), "the server is gone")

    def _start(self, *, keep: bool) -> EmbeddedServer:
        return start(self.data_dir, bin_dir=postgres_bin_dir(), keep=keep, settings=_SETTINGS)

    def _kill(self) -> None:
        pid = self._pid()
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: find_process(pid) is None, "the server is gone")

    def _touch(self, name: str) -> None:
        owner, file = self.cluster.stat(), self.cluster / name
        file.touch()
        os.chown(file, owner.st_uid, owner.st_gid)

    def _pid(self) -> int:
        running = postmaster(self.cluster)
        assert running is not None
        return running.pid

    def _takes_none(self) -> bool:
        try:
            psycopg.connect(self.server.dsn).close()
        except psycopg.OperationalError as error:
            return "not accepting connections" in str(error) or "starting up" in str(error)
        return False


@pytest.fixture
def recovering() -> Iterator[Recovering]:
    server = Recovering()
    yield server
    server.end()


def said_by(process: Popen[str], line: str) -> None:
    """Read what a process says up to a line."""
    assert process.stderr is not None
    said = []
    for each in process.stderr:
        said.append(each)
        if line in each:
            return
    raise AssertionError("".join(said))


async def test_a_worker_and_ingestion_wait_for_a_postgres_that_recovers(desk: Desk, recovering: Recovering) -> None:
    desk.write("none.jsonl", "")
    topic = "pipeline-v1-processed-receipt-events"
    recovering.begin()
    dsn = recovering.server.dsn
    begun = [
        desk.spawn("worker", "--until-idle", "--maildir", "mails", HARK_DATABASE_URL=dsn),
        desk.spawn("ingest", "none.jsonl", "--topic", topic, HARK_DATABASE_URL=dsn),
    ]
    for process in begun:
        said_by(process, WAITING)
    with pytest.raises(Unreachable, match="Postgres cannot be reached within 0s: "):
        await reach(dsn, timedelta(0))
    recovering.finish()
    for process in begun:
        _, said = process.communicate(timeout=120)
        assert process.returncode == ExitCode.DONE, said
        assert "Postgres answers, after " in said


async def test_what_is_no_start_up_is_not_waited_for(desk: Desk) -> None:
    told: list[str] = []
    for wrong in (
        desk.dsn.replace("//hark@", "//nobody@"),
        desk.dsn.replace("/test_", "/no_test_"),
        "postgresql://hark@localhost:1/none",
        "postgresql://hark@no-such-host.invalid/none",
    ):
        with pytest.raises(Unreachable, match="Postgres cannot be reached: "):
            await reach(wrong, timedelta(days=1), told.append)
    assert not told
    ran = desk.hark_alone("worker", "--until-idle", "--database-url", "postgresql://hark@localhost:1/none")
    assert ran.code == ExitCode.UNREACHABLE
