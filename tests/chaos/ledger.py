"""What a mail server took, by delivery: the other half of the truth.

Servers are processes of their own, so that killing a worker does not kill them.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import smtplib
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

from tests.chaos.nursery import Nursery
from tests.chaos.sink_child import SinkOrder
from tests.servers import Child, eventually, find_server_binary

_DELIVERY = re.compile(r"hark\.(\d+)\.[0-9a-f]+@acme\.example")
_HEADER = re.compile(rb"^Message-ID: *<([^>]+)>", re.IGNORECASE | re.MULTILINE)
_numbers = count(1)


class Ledger(Protocol):
    """A mail server, and what it took."""

    @property
    def url(self) -> str:
        """Where to send."""
        ...

    def taken(self) -> Counter[int]:
        """How many messages it took of each delivery, by their Message-IDs."""
        ...


@dataclass(frozen=True, slots=True)
class OwnSink:
    """Hark's own sink, writing a line a mail."""

    child: Child
    port: int
    path: Path

    @property
    def url(self) -> str:
        """Where to send."""
        return f"smtp://127.0.0.1:{self.port}"

    def taken(self) -> Counter[int]:
        """How many messages it took of each delivery."""
        return Counter(_delivery(line.split()[0]) for line in self.path.read_text().splitlines())

    def size(self) -> int:
        """How many bytes it has written: grows with each mail."""
        return self.path.stat().st_size

    def recipients(self) -> Counter[str]:
        """How many messages it took for each recipient."""
        return Counter(line.split()[1] for line in self.path.read_text().splitlines())


@dataclass(frozen=True, slots=True)
class SmtpSink:
    """Postfix' smtp-sink, which writes each mail into a file of its own."""

    port: int
    folder: Path

    @property
    def url(self) -> str:
        """Where to send."""
        return f"smtp://127.0.0.1:{self.port}"

    def taken(self) -> Counter[int]:
        """How many messages it took of each delivery; those that were cut off it has removed again."""
        return Counter(_delivery(_message_id(path)) for path in self.folder.iterdir())


@contextlib.contextmanager
def own_sink(
    nursery: Nursery, folder: Path, *, halt_at: int = 0, port: int = 0, seconds_a_mail: float = 0.0
) -> Iterator[OwnSink]:
    """Hark's own sink in a process of its own, set up as in `SinkOrder`; on one port it goes on with one ledger."""
    path = folder / f"ledger-{port or next(_numbers)}"
    path.touch()
    order = SinkOrder(str(path), halt_at, port, seconds_a_mail)
    with nursery.sink(order) as child:
        yield OwnSink(child, int(child.wait_for("listens")), path)


@contextlib.contextmanager
def smtp_sink(*options: str) -> Iterator[SmtpSink]:
    """Postfix' smtp-sink on a free port, ended with the block."""
    program = find_server_binary("smtp-sink")
    with tempfile.TemporaryDirectory(prefix="hark-sink-") as folder:
        token = f"sink-{os.getpid()}-{next(_numbers)}"
        as_user = _unprivileged(Path(folder))
        port = free_port()
        process = subprocess.Popen(
            [program, *as_user, "-h", token, *options, "-d", f"{folder}/m.", f"127.0.0.1:{port}", "1000"]
        )
        try:
            eventually(lambda: _greets(process, port, token), f"smtp-sink listens on port {port}")
            yield SmtpSink(port, Path(folder))
        finally:
            process.kill()
            process.wait()


def _unprivileged(folder: Path) -> list[str]:
    """smtp-sink refuses to be root."""
    if os.geteuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return ["-u", "nobody"]


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _greets(process: subprocess.Popen[bytes], port: int, token: str) -> bool:
    assert process.poll() is None, f"smtp-sink ended with {process.returncode}"
    try:
        with smtplib.SMTP() as client:
            return token in client.connect("127.0.0.1", port)[1].decode()
    except OSError:
        return False


def _message_id(path: Path) -> str:
    # The mail's own header comes behind the one that smtp-sink writes, without an empty line between them.
    found = _HEADER.search(path.read_bytes().partition(b"\n\n")[0])
    return found[1].decode() if found else "none"


def _delivery(message_id: str) -> int:
    found = _DELIVERY.fullmatch(message_id)
    assert found, f"a mail of somebody else: Message-ID {message_id}"
    return int(found[1])
