"""From where files may be read, and whether a given path or URL lies within."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote

from hark.catalogue.wording import no_such, quoted
from hark.config import Settings
from hark.config.stores import SCHEMES, is_bucket
from hark.errors import BadInput


@dataclass(frozen=True, slots=True)
class FileReach:
    """From where files may be read.

    Attributes:
        stores: places, as the setting `object_stores` has them; what lies below one of them may be read.
        endpoints: other servers than the clouds' own, by scheme.
        local: whether any path of this machine may be read: its user gave it. Never for what comes over HTTP.
    """

    stores: tuple[str, ...] = ()
    endpoints: Mapping[str, str] = field(default_factory=dict)
    local: bool = False

    @classmethod
    def of(cls, settings: Settings, *, local: bool) -> FileReach:
        """What the settings allow."""
        pairs = (text.partition("=") for text in settings.object_endpoints)
        return cls(settings.object_stores, {scheme: url for scheme, _, url in pairs}, local)

    def also(self, stores: Sequence[str]) -> FileReach:
        """This, and what lies at these places."""
        return replace(self, stores=(*self.stores, *stores))


@dataclass(frozen=True, slots=True)
class InStore:
    """An object of a store; `scheme` is s3, gs or az."""

    scheme: str
    bucket: str
    key: str
    url: str


@dataclass(frozen=True, slots=True)
class OnDisk:
    """A file of this machine; `url` is how it was named."""

    path: Path
    url: str


Place = InStore | OnDisk


def locate(url: str, reach: FileReach) -> Place:
    """Where a path or URL leads, if it may be read.

    Raises:
        BadInput: it is neither a path nor the URL of an object, or lies outside what may be read.
    """
    scheme, colon, rest = url.partition("://")
    if not colon:
        return _own_path(url, reach)
    if scheme not in SCHEMES:
        raise BadInput(f"{quoted(url)}: {no_such('scheme', scheme, SCHEMES)}; write s3://bucket/key")
    if scheme == "file":
        return _allowed_file(url, rest, reach)
    return _allowed_object(url, scheme, rest, reach)


def _own_path(path: str, reach: FileReach) -> OnDisk:
    if not reach.local:
        raise BadInput(f"{quoted(path)} is a path, and only the command line may read one; write s3://bucket/key")
    try:
        return OnDisk(Path(path).expanduser(), path)
    except RuntimeError:
        raise BadInput(f"{quoted(path)} is of a user without a home; write the whole path") from None


def _allowed_file(url: str, rest: str, reach: FileReach) -> OnDisk:
    """Resolved before it is compared: neither `..` nor a symbolic link leads out."""
    if not rest.startswith("/"):
        raise BadInput(f"{quoted(url)} names another machine; write file:///path, with three strokes")
    path = _resolved(Path(unquote(rest)), url)
    roots = [_resolved(Path(store.removeprefix("file://")), url) for store in reach.stores if store.startswith("file:")]
    if not any(path.is_relative_to(root) and path != root for root in roots):
        raise _outside(url, reach)
    return OnDisk(path, url)


def _resolved(path: Path, url: str) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        raise BadInput(f"{quoted(url)} leads nowhere; write the plain path of a file") from None


def _allowed_object(url: str, scheme: str, rest: str, reach: FileReach) -> InStore:
    bucket, _, key = rest.partition("/")
    if bucket and not is_bucket(bucket):
        raise BadInput(f"{quoted(url)}: {quoted(bucket)} cannot be the name of a bucket; write {scheme}://bucket/key")
    if not bucket or not key or key.endswith("/"):
        raise BadInput(f"{quoted(url)} names no object; write {scheme}://bucket/key")
    if not key.isprintable() or any(part in ("", ".", "..") for part in key.split("/")):
        raise BadInput(f"{quoted(url)} has an empty part, or one that leads elsewhere; write the plain key")
    if not any(url == store or url.startswith(f"{store}/") for store in reach.stores):
        raise _outside(url, reach)
    return InStore(scheme, bucket, key, url)


def _outside(url: str, reach: FileReach) -> BadInput:
    allowed = ", ".join(reach.stores) or "nothing"
    return BadInput(f"{quoted(url)} may not be read: object_stores allows {allowed}; add its place to that setting")
