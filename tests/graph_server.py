"""A real Neo4j for tests: Community, from jars, on a loopback port, ended with whoever started it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.java import JavaServer, find_jars, find_java, free_ports, new_home

HEAP = "512m"
# Short-lived: what starts fast matters more than what would run fastest in an hour. Benches say otherwise.
QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
_OPEN = ("java.base/java.nio", "java.base/java.io", "java.base/sun.nio.ch", "java.base/java.util.concurrent")
_CONF = """\
server.bolt.listen_address=127.0.0.1:{port}
server.bolt.advertised_address=127.0.0.1:{port}
server.http.enabled=false
server.https.enabled=false
dbms.security.auth_enabled=false
server.memory.pagecache.size=64m
dbms.usage_report.enabled=false
db.tx_log.preallocate=false
db.tx_log.rotation.size=8m
"""


@dataclass(slots=True)
class GraphServer:
    """One Neo4j: where it listens, and what tests do to it."""

    java: JavaServer
    port: int

    @property
    def url(self) -> str:
        """Where drivers find it."""
        return f"bolt://127.0.0.1:{self.port}"

    def backup(self, folder: Path) -> None:
        """Copy its data while it is down, as it lies there."""
        shutil.copytree(self.java.home / "data", folder)

    def restore(self, folder: Path) -> None:
        """Bring back the data of a backup: whatever was written since is gone."""
        self.java.kill()
        shutil.rmtree(self.java.home / "data")
        shutil.copytree(folder, self.java.home / "data")
        self.java.start()


@contextlib.contextmanager
def graph_server(options: Sequence[str] = QUICK, heap: str = HEAP) -> Iterator[GraphServer]:
    """A Neo4j, empty, for the time of a block; whatever becomes of its owner, it ends and its data goes.

    Args:
        options: more options for Java.
        heap: how much memory it may take beside 64 MB for its pages.
    """
    jars, java = find_jars("neo4j"), find_java()
    (port,) = free_ports(1)
    home = new_home("neo4j")
    (home / "conf").mkdir()
    (home / "conf" / "neo4j.conf").write_text(_CONF.format(port=port))
    server = JavaServer("Neo4j", _command(java, jars, home, options, heap), home, "Started.")
    try:
        server.start()
        yield GraphServer(server, port)
    finally:
        server.remove()


def _command(java: str, jars: Path, home: Path, options: Sequence[str], heap: str) -> list[str]:
    opened = [f"--add-opens={package}=ALL-UNNAMED" for package in _OPEN]
    entry = ["-cp", f"{jars}/*", "org.neo4j.server.CommunityEntryPoint"]
    folders = [f"--home-dir={home}", f"--config-dir={home / 'conf'}", "--console-mode"]
    return [java, f"-Xmx{heap}", *options, *opened, *entry, *folders]
