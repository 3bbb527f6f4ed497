"""Objects of S3, Google's and Azure's stores, through obstore.

Credentials are those that the environment names, never those of a machine's metadata service.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hark.config.stores import endpoint_fault, is_forbidden
from hark.errors import BadInput, HarkError, Unreachable
from hark.lists.reach import FileReach, InStore

if TYPE_CHECKING:
    from obstore import ObjectMeta

_CLIENT: Mapping[str, Any] = {"timeout": "6h", "read_timeout": "60s", "connect_timeout": "10s"}
"""Of the whole request, of each read, of connecting."""
_AS_STORED: Mapping[str, Any] = {"default_headers": {"Accept-Encoding": "gzip"}}
"""Google unpacks an object that has gzip as its encoding for whoever does not say so; its size, hash and ranges are
those of what is stored (https://cloud.google.com/storage/docs/transcoding)."""
_RETRY: Mapping[str, Any] = {"max_retries": 3}
_URL = re.compile(r"https?://\S+")


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of store: which variables of the environment give credentials, and which another server."""

    credentials: tuple[tuple[str, ...], ...]
    endpoint_option: str
    endpoint_variables: tuple[str, ...]
    needs: str


_KINDS = {
    "s3": _Kind(
        (
            ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"),
            ("AWS_SKIP_SIGNATURE",),
        ),
        "endpoint",
        ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"),
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    "gs": _Kind(
        (
            ("GOOGLE_APPLICATION_CREDENTIALS",),
            ("GOOGLE_SERVICE_ACCOUNT",),
            ("GOOGLE_SERVICE_ACCOUNT_PATH",),
            ("GOOGLE_SERVICE_ACCOUNT_KEY",),
            ("GOOGLE_BEARER_TOKEN",),
            ("GOOGLE_SKIP_SIGNATURE",),
        ),
        "base_url",
        ("GOOGLE_BASE_URL",),
        "GOOGLE_APPLICATION_CREDENTIALS",
    ),
    "az": _Kind(
        (
            ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"),
            ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_SAS_TOKEN"),
            ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_CLIENT_ID", "AZURE_STORAGE_CLIENT_SECRET"),
            ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_FEDERATED_TOKEN_FILE"),
            ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_SKIP_SIGNATURE"),
        ),
        "endpoint",
        ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
        "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    ),
}


@dataclass(frozen=True, slots=True)
class Found:
    """An object whose body is on its way: `blocks` gives it, once."""

    etag: str
    size: int
    blocks: Callable[[], Iterator[bytes]]


def open_object(place: InStore, reach: FileReach, block: int) -> Found:
    """Ask for an object; its body comes in blocks of about `block` bytes.

    Raises:
        BadInput: it is not there, may not be read, or there are no credentials.
        Unreachable: the store does not answer as one.
    """
    store = _store(place, reach)
    try:
        answer = store.get(place.key)
    except Exception as error:
        raise _translated(place, error) from None

    def blocks() -> Iterator[bytes]:
        try:
            for each in answer.stream(min_chunk_size=block):
                yield bytes(each)
        except Exception as error:
            raise _broken(place, error) from None

    return Found(_etag(answer.meta), answer.meta["size"], blocks)


def head(place: InStore, reach: FileReach) -> str:
    """The ETag of an object at this moment; raises what `open_object` does."""
    try:
        return _etag(_store(place, reach).head(place.key))
    except HarkError:
        raise
    except Exception as error:
        raise _translated(place, error) from None


def _etag(meta: ObjectMeta) -> str:
    """The ETag, or what else tells one state of an object from the next."""
    return meta["e_tag"] or f"{meta['last_modified'].isoformat()}-{meta['size']}"


def _store(place: InStore, reach: FileReach) -> Any:
    try:
        from obstore import store
    except ImportError:
        raise BadInput(f'{place.url}: reading objects needs an extra; run pip install "hark[files]"') from None
    kind = _KINDS[place.scheme]
    _check_credentials(place, kind)
    endpoint = reach.endpoints.get(place.scheme) or _from_environment(kind)
    config = {kind.endpoint_option: endpoint} if endpoint else {}
    client = {**_CLIENT, **_AS_STORED, "allow_http": bool(endpoint and endpoint.startswith("http://"))}
    _check_endpoint(place, endpoint)
    made: Any = {"s3": store.S3Store, "gs": store.GCSStore, "az": store.AzureStore}[place.scheme]
    try:
        return made(place.bucket, config=config, client_options=client, retry_config=_RETRY)
    except Exception as error:
        raise _translated(place, error) from None


def _check_credentials(place: InStore, kind: _Kind) -> None:
    if not any(all(os.environ.get(name) for name in names) for names in kind.credentials):
        raise BadInput(f"{place.url}: the environment has no credentials for {place.scheme}://; set {kind.needs}")


def _from_environment(kind: _Kind) -> str | None:
    return next((os.environ[name] for name in kind.endpoint_variables if os.environ.get(name)), None)


def _check_endpoint(place: InStore, endpoint: str | None) -> None:
    """Also by where its name leads: a name is no way around what is forbidden."""
    if endpoint is None:
        return
    fault = endpoint_fault(endpoint)
    host = urlsplit(endpoint).hostname or "" if not fault else ""
    if fault or any(is_forbidden(address) for address in _addresses(host)):
        raise BadInput(f"{place.url}: its server {fault or 'is link-local, and never a store'}; mend object_endpoints")


def _addresses(host: str) -> list[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, None)]
    except OSError:
        return []  # the store's own client says so


# Errors ---------------------------------------------------------------------------------------------------------------


def _translated(place: InStore, error: Exception) -> HarkError:
    kind, said = type(error).__name__, str(error)
    if isinstance(error, FileNotFoundError):
        return BadInput(f"{place.url}: there is no such object (404); check its bucket and key")
    if (
        isinstance(error, PermissionError)
        or kind in ("PermissionDeniedError", "UnauthenticatedError")
        or " 403 " in said
    ):
        return BadInput(f"{place.url} may not be read (403); grant reading it to the credentials in the environment")
    return Unreachable(f"{place.url} cannot be read: {_in_short(said)}")


def _broken(place: InStore, error: Exception) -> HarkError:
    return Unreachable(f"{place.url} broke off: {_in_short(str(error))}; nothing was staged; try again")


def _in_short(said: str) -> str:
    """The first line of what a client says, without its URLs: a signature may be in them."""
    return _URL.sub("(its URL)", said.strip().splitlines()[0])[:200] if said.strip() else "no answer"
