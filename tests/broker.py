"""A real Kafka for tests: one node, from jars, on loopback ports, ended with whoever started it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.java import JavaServer, find_jars, find_java, free_ports, new_home

HEAP = "384m"
QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
_CONF = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={home}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
"""


@dataclass(slots=True)
class Broker:
    """One Kafka: where it listens, and what tests do to it."""

    java: JavaServer
    port: int

    @property
    def address(self) -> str:
        """What clients call bootstrap.servers."""
        return f"127.0.0.1:{self.port}"


@contextlib.contextmanager
def broker(heap: str = HEAP) -> Iterator[Broker]:
    """A Kafka without topics, for the time of a block; whatever becomes of its owner, it ends and its data goes.

    Args:
        heap: how much memory it may take.
    """
    jars, java = find_jars("kafka"), find_java()
    port, controller = free_ports(2)
    home = new_home("kafka")
    settings = home / "server.properties"
    settings.write_text(_CONF.format(port=port, controller=controller, home=home))
    entry = [java, f"-Xmx{heap}", *QUICK, "-cp", f"{jars}/*"]
    server = JavaServer("Kafka", [*entry, "kafka.Kafka", str(settings)], home, "Kafka Server started")
    try:
        _format([*entry, "kafka.tools.StorageTool"], settings)
        server.start()
        yield Broker(server, port)
    finally:
        server.remove()


def _format(tool: list[str], settings: Path) -> None:
    # Any 16 bytes in Base64 are an id; asking the tool for one takes a second.
    done = subprocess.run(
        [*tool, "format", "--standalone", "-t", "aGFyay10ZXN0LWJyb2tlcg", "-c", str(settings)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
