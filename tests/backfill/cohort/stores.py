"""Stores to read cohorts from: a real server of each protocol, and how objects get into its one bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import boto3

from hark.lists import FileReach
from tests.backfill.cohort.meddling import Meddler
from tests.backfill.cohort.object_servers import azure_server, gcs_server, put_azure, put_gcs, s3_server

KEY = "lists/people"


@dataclass(frozen=True, slots=True)
class Store:
    """A server of a store's protocol, and how an object is put there."""

    scheme: str
    server: str
    put: Callable[[str, bytes], None]
    key: str = KEY

    @property
    def url(self) -> str:
        """The object that the tests read."""
        return f"{self.scheme}://cohorts/{self.key}"

    def reach(self, server: str = "") -> FileReach:
        """Its objects, of its own server or another one."""
        return FileReach((f"{self.scheme}://cohorts",), {self.scheme: server or self.server})

    def meddler(self, **how: Any) -> Meddler:
        """A proxy before its server."""
        return Meddler(self.server, KEY, **how)


@contextmanager
def s3_store() -> Iterator[Store]:
    """moto's."""
    with s3_server() as url:
        client = aws("s3", url)
        client.create_bucket(Bucket="cohorts")
        yield Store("s3", url, lambda key, data: client.put_object(Bucket="cohorts", Key=key, Body=data) and None)


@contextmanager
def gcs_store(folder: Path) -> Iterator[Store]:
    """fake-gcs-server's."""
    with gcs_server(folder) as url:
        yield Store("gs", url, partial(put_gcs, url, "cohorts"))


@contextmanager
def azure_store() -> Iterator[Store]:
    """Azurite's; a skip where there is none."""
    with azure_server() as url:
        yield Store("az", url, partial(put_azure, url, "cohorts"))


def aws(service: str, url: str) -> Any:
    """A client of a service of moto's."""
    names = {"aws_access_key_id": "key", "aws_secret_access_key": "hunter2", "region_name": "us-east-1"}
    return boto3.client(service, endpoint_url=url, **names)
