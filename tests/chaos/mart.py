"""All that takes part in histories, each in a process of its own that may be killed and is started again."""

from __future__ import annotations

import json
import os
import random
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import Consumer, TopicPartition

from hark.postgres.embedded.processes import find_process
from tests.broker import Broker
from tests.chaos.hark_child import Order
from tests.chaos.nursery import Nursery
from tests.chaos.purchases import Row, message, put
from tests.chaos.test_kill_postgres import Durable
from tests.graph_server import GraphServer
from tests.history.live.topics import PARTITIONS, Topics
from tests.servers import Child, eventually

PATIENCE_S = 600.0
"""Only ends a broken test: a busy machine takes minutes to start a server."""
LOOK_BACK_DAYS = 800
FLAG = "history-live"
_OVER = "select state not in ('PLANNING', 'PLANNED', 'APPLYING', 'PAUSED') from hark.backfill where id = %s"


@dataclass(frozen=True, slots=True)
class Servers:
    """What outlives the processes, and dies, too: three servers for all tests of a module."""

    postgres: Durable
    broker: Broker
    graph: GraphServer


@dataclass(slots=True)
class Mart:
    """Two that ingest, two workers, one of which projects, one that applies, and the sources that they ask.

    Attributes:
        killed: how often who was killed.
        ended: who ended without being told to, and was started again.
    """

    servers: Servers
    nursery: Nursery
    topics: Topics
    dsn: str
    folder: Path
    chance: random.Random
    sources: str = ""
    backfill: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    _hands: dict[str, Child] = field(default_factory=dict)
    _commands: dict[str, Sequence[str]] = field(default_factory=dict)
    _starting: dict[str, Future[None]] = field(default_factory=dict)
    _starter: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2))

    # Processes -------------------------------------------------------------------------------------------------------

    def environment(self) -> Mapping[str, str]:
        """What all of them are told."""
        urls = {f"HARK_{source}_URL": self.sources for source in ("PURCHASE", "SHOP", "PRODUCT", "CATEGORY")}
        return {
            "HARK_DATABASE_URL": self.dsn,
            "HARK_GRAPH_URL": self.servers.graph.url,
            "HARK_GRAPH_TIMEOUT": "10s",
            "HARK_LEASE": "5s",
            "HARK_HTTP_ALLOW_PRIVATE": "127.0.0.1",
            "HARK_HISTORY_LOOK_BACK": f"{LOOK_BACK_DAYS}d",
            "HARK_INGEST_FLAG": FLAG,
            "HARK_INGEST_CHUNK": "100",
            "HARK_SOURCE_RATE": "200/s",
            "HARK_SOURCE_PATIENCE": "30s",
            **(urls if self.sources else {}),
            **self.topics.environment,
        }

    def start(self, name: str, *command: str) -> Child:
        """Start a process, or the same again."""
        self._commands[name] = command or self._commands[name]
        order = Order(self._commands[name], str(self.folder), str(self.log(name)), self.environment())
        self._hands[name] = self.nursery.hark(order)
        return self._hands[name]

    def log(self, name: str) -> Path:
        """All that a process said, and those before it."""
        return self.folder / f"{name}.log"

    def run(self, *command: str) -> str:
        """Run a command to its end; what it said."""
        self.log("command").unlink(missing_ok=True)
        self.start("command", *command)
        eventually(lambda: not self._lives("command"), " ".join(command), PATIENCE_S)
        self._hands.pop("command").kill()
        return self.log("command").read_text()

    def open_sources(self, *options: str) -> None:
        """Serve what can be bought."""
        self.start("sandbox", "sandbox", "--json", "--port", "0", *options)
        eventually(lambda: self.log("sandbox").exists() and "\n" in self.log("sandbox").read_text(), "it serves")
        self.sources = json.loads(self.log("sandbox").read_text().splitlines()[0])["url"]

    def open(self) -> None:
        """Let all work."""
        for number in (1, 2):
            self.start(f"ingest-{number}", "ingest")
            self.start(f"worker-{number}", "worker", "--maildir", "mails")

    def tend(self) -> None:
        """Start again whoever has ended."""
        for name in list(self._hands):
            if not self._lives(name) and not (name == "apply" and self.ask(_OVER, self.backfill)):
                self.ended[name] += 1
                self._hands[name].kill()
                self.start(name)

    def close(self) -> None:
        """End all of them."""
        for child in self._hands.values():
            child.kill()
        for each in self._starting.values():
            each.result(PATIENCE_S)
        self._starter.shutdown()

    def _lives(self, name: str) -> bool:
        return name in self._hands and find_process(self._hands[name].pid) is not None

    # Killing ---------------------------------------------------------------------------------------------------------

    def kill(self, what: str) -> None:
        """kill -9, and start it again."""
        self.killed[what] += 1
        match what:
            case "postgres":
                self._kill_postgres()
            case "broker":
                self._kill_server(what, self.servers.broker.java)
            case "graph":
                self._kill_server(what, self.servers.graph.java)
            case "projector":
                self._kill_hand(self._projector())
            case "apply":
                self._kill_hand("apply")
            case _:
                self._kill_hand(f"{what}-{self.chance.randrange(1, 3)}")

    def _kill_hand(self, name: str) -> None:
        self._hands[name].kill()
        self.start(name)

    def _kill_postgres(self) -> None:
        if self.chance.random() < 0.5:
            self.servers.postgres.kill_postmaster()
        else:
            self.servers.postgres.kill_backend()

    def _kill_server(self, what: str, java: Any) -> None:
        if what in self._starting:
            self._starting[what].result(PATIENCE_S)
        java.kill()
        self._starting[what] = self._starter.submit(java.start, PATIENCE_S)

    def _projector(self) -> str:
        holder = self.ask("select coalesce(holder, '') from hark.projector")
        for name in ("worker-1", "worker-2"):
            if f"/{self._hands[name].pid}/" in holder:
                return name
        return "worker-1"

    # What happens ----------------------------------------------------------------------------------------------------

    def write(self, row: Row) -> int:
        """Write a row into the sources; its version there."""
        path, said = put(row)
        asked = urllib.request.Request(
            f"{self.sources}/sandbox/{path}", json.dumps(said).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return int(json.load(answer)["version"])

    # What is to be seen ----------------------------------------------------------------------------------------------

    def rows(self, sql: str, *given: object) -> list[tuple[Any, ...]]:
        """What the database says, once it can be asked."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                with psycopg.connect(self.dsn, autocommit=True) as connection:
                    return connection.execute(sql.encode(), given).fetchall()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def ask(self, sql: str, *given: object) -> Any:
        """The first value; None: there is none."""
        found = self.rows(sql, *given)
        return found[0][0] if found else None

    def stage(self) -> str:
        """Where the run is."""
        return str(self.ask("select stage::text from hark.history_run where backfill_id = %s", self.backfill))

    def ends(self) -> dict[tuple[str, int], int]:
        """Where each partition ends, by the broker."""
        consumer = Consumer({"bootstrap.servers": self.topics.broker.address, "group.id": "of-nobody", "log_level": 0})
        settings = self.topics.settings
        try:
            return {
                (topic, number): consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=60)[1]
                for topic in (settings.ingest_receipts_topic, settings.ingest_factoids_topic)
                for number in range(PARTITIONS)
            }
        finally:
            consumer.close()

    def waits(self, ends: Mapping[tuple[str, int], int]) -> str:
        """What is not done yet, in words; nothing: all is quiet."""
        reached = {(t, p): at for t, p, at in self.rows("select topic, partition, position from hark.ingest_position")}
        behind = {place: (reached.get(place), end) for place, end in ends.items() if reached.get(place, 0) != end}
        found = self.rows(_WAITS)[0]
        names = ("runs", "users", "products", "unasked", "categories", "spreading")
        return " ".join([f"{name}={value}" for name, value in zip(names, found, strict=True) if value]) + (
            f" behind={behind}" if behind else ""
        )

    def grows_quiet(self) -> None:
        """Wait until nothing is left to do; nothing more is said meanwhile."""
        self.settle_servers()
        ends = self.ends()
        self.until(lambda: not self.waits(ends), lambda: f"{self.waits(ends)}; {self.rows(_RUNS)}")

    def until(self, done: Callable[[], object], otherwise: Callable[[], str]) -> None:
        """Wait for something, and start again whoever ends meanwhile.

        Args:
            otherwise: says what is, if it never comes.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            self.tend()
            assert time.monotonic() < deadline, f"seed {self.topics.number}: never happened: {otherwise()}"
            time.sleep(0.3)

    def settle_servers(self) -> None:
        """Wait until all servers that were killed are there again."""
        for each in self._starting.values():
            each.result(PATIENCE_S)


_RUNS = "select backfill_id, stage::text, waits_for, audit from hark.history_run"
_WAITS = """
select (select count(*) from hark.backfill where state in ('PLANNING', 'APPLYING')),
       (select count(*) from hark.history_user where projected < version),
       (select count(*) from hark.product where projected < version),
       (select count(*) from hark.product where asked_at is null),
       (select count(*) from hark.product_category where asked_at is null),
       (select count(*) from hark.product where spread_from is not null)
"""


def says(topics: Topics, chance: random.Random) -> Callable[[Row], None]:
    """What writes messages to a partition by chance, without waiting for the broker."""
    from confluent_kafka import Producer

    from hark.history.sandbox.goods import Receipt

    producer = Producer(
        {
            "bootstrap.servers": topics.broker.address,
            "linger.ms": 1,
            "acks": "all",
            "enable.idempotence": True,
            "message.timeout.ms": int(PATIENCE_S * 1000),
            "log_level": 0,
        }
    )
    settings = topics.settings

    def say(row: Row) -> None:
        topic = settings.ingest_receipts_topic if isinstance(row, Receipt) else settings.ingest_factoids_topic
        producer.produce(topic, message(row), partition=chance.randrange(PARTITIONS))
        producer.poll(0)

    say.flush = lambda: producer.flush(PATIENCE_S)  # type: ignore[attr-defined]
    return say


def full() -> bool:
    """Whether chaos is asked for in full."""
    return os.environ.get("HARK_CHAOS") == "full"
