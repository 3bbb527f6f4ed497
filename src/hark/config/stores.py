"""Where objects may be read from, as the settings say it: `object_stores` and `object_endpoints`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from hark.catalogue.wording import no_such, shown
from hark.errors import BadInput

SCHEMES = ("s3", "gs", "az", "file")

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,221}")
_METADATA = ("metadata.google.internal", "metadata.goog", "metadata", "instance-data", "instance-data.ec2.internal")


def object_stores(value: object) -> tuple[str, ...]:
    """Places that objects may be read from, with commas between or as a list: `s3://cohorts,file:///srv/cohorts`."""
    return _all(value, _store, "a list of places such as s3://bucket/prefix")


def object_endpoints(value: object) -> tuple[str, ...]:
    """Other servers than the clouds' own, with commas between or as a list: `s3=https://minio.acme.example`."""
    return _all(value, _endpoint, "a list of servers such as s3=https://minio.acme.example")


def endpoint_fault(url: str) -> str:
    """What keeps a URL from being the endpoint of a store; empty: nothing."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or parts.query or parts.fragment:
        return "is not the URL of a server; write https://HOST:PORT"
    return "is where machines keep their credentials, and never a store" if is_forbidden(host) else ""


def is_forbidden(host: str) -> bool:
    """Whether a host is link-local or a cloud's metadata service: never a store, whatever is set."""
    if host.rstrip(".").lower() in _METADATA:
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_link_local or mapped.is_multicast or mapped.is_unspecified) or str(address) == "fd00:ec2::254"


def _store(text: str) -> str:
    scheme, colon, rest = text.partition("://")
    if not colon or scheme not in SCHEMES:
        raise BadInput(f"{shown(text)}: {no_such('scheme', scheme, SCHEMES)}; write s3://bucket/prefix")
    if not rest.isprintable() or any(part in (".", "..") for part in rest.split("/")):
        raise BadInput(f"{shown(text)} has a part that leads elsewhere; write the plain place")
    if scheme == "file":
        if not rest.startswith("/") or PurePosixPath(rest) == PurePosixPath("/"):
            raise BadInput(f"{shown(text)} names no directory; write file:///srv/cohorts")
        return text.rstrip("/")
    if not is_bucket(rest.partition("/")[0]):
        raise BadInput(f"{shown(text)} names no bucket; write {scheme}://bucket/prefix")
    return text.rstrip("/")


def is_bucket(name: str) -> bool:
    """Whether it can be the name of a bucket: never that of a host's address."""
    return bool(_BUCKET.fullmatch(name)) and not re.fullmatch(r"[\d.]+", name) and ".." not in name


def _endpoint(text: str) -> str:
    scheme, equals, url = text.partition("=")
    if not equals or scheme not in SCHEMES[:3]:
        raise BadInput(f"{shown(text)} names no store's server; write s3=https://HOST:PORT")
    if fault := endpoint_fault(url):
        raise BadInput(f"{shown(text)} {fault}")
    return text.rstrip("/")


def _all(value: object, read: Callable[[str], str], expected: str) -> tuple[str, ...]:
    texts = value.split(",") if isinstance(value, str) else value
    if not isinstance(texts, Sequence) or not all(isinstance(each, str) for each in texts):
        raise BadInput(f"{shown(value)} is not {expected}")
    stripped = [each.strip() for each in texts]
    return tuple(read(each) for each in stripped if each)
