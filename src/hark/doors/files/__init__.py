"""Files that people bring: recipients and subscriptions as CSV or JSON lines, with all their faults and lines.

A file is looked through whole before any of it is used, and read once more to be used: nothing of it is held in memory.

rows.py    the rows of a file, and their faults
cells.py   how each cell is read
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

from hark.audience import Recipient, Subscription
from hark.catalogue.wording import no_such, quoted
from hark.doors.files.cells import Faulty, address_of, attribute, attributes, local_time, text, truth, weekday
from hark.doors.files.rows import Kind, read, survey
from hark.errors import FAULTS_SHOWN, BadInput, Fault, FileFaults

__all__ = ["FAULTS_SHOWN", "Known", "Listing", "check_address", "open_recipients", "open_subscriptions"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Known:
    """What recipients may refer to: the user types of the catalogue, and the time zones of the database."""

    user_types: frozenset[str]
    zones: frozenset[str]


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A file that was found to be without faults: iterating reads it once more. `rows` is how many it has."""

    path: Path
    rows: int
    _kind: Kind[T] = field(repr=False)

    def __iter__(self) -> Iterator[T]:
        """The rows, one after the other.

        Raises:
            BadInput: the file cannot be read any more.
            FileFaults: it has changed since it was looked through, and has a fault now.
        """

        def refuse(fault: Fault) -> None:
            raise FileFaults(str(self.path), [fault])

        return read(self.path, self._kind, refuse)

    def chunks(self, size: int) -> Iterator[list[T]]:
        """The rows in lists of `size`."""
        rows = iter(self)
        while chunk := list(islice(rows, size)):
            yield chunk


def open_recipients(path: Path, known: Known) -> Listing[Recipient]:
    """Look a file of recipients through.

    Columns: `id` and `user_type`, and if you like `address`, `confirmed`, `opted_in`, `active`, `zone`, `locale`,
    `digest_at` (as 07:30), `digest_weekday` (as friday), and `attributes` (a JSON object) or `attributes.NAME`. A CSV
    file names them in its first line; JSON lines have one object a line. Of two rows with the same id the later one
    holds.

    Raises:
        BadInput: the file cannot be read.
        FileFaults: all that is wrong with it, each with its line.
    """
    return _listing(path, Kind("recipients", _RECIPIENT, ("id", "user_type"), lambda row: _recipient(row, known)))


def open_subscriptions(path: Path) -> Listing[Subscription]:
    """Look a file of subscriptions through: columns `recipient` and `entity`. Raises what `open_recipients` does."""
    return _listing(path, Kind("subscriptions", _SUBSCRIPTION, ("recipient", "entity"), _subscription))


def check_address(address: str) -> None:
    """Look at one address as a file's would be.

    Raises:
        BadInput: it is none that can be written to.
    """
    try:
        address_of(address)
    except Faulty as fault:
        raise BadInput(f"address: {fault}") from None


def _listing(path: Path, kind: Kind[T]) -> Listing[T]:
    return Listing(path, survey(path, kind), kind)


# What rows mean ------------------------------------------------------------------------------------------------------


_RECIPIENT: Mapping[str, Callable[[Any], Any]] = {
    "id": text,
    "user_type": text,
    "address": address_of,
    "confirmed": truth,
    "opted_in": truth,
    "active": truth,
    "zone": text,
    "locale": text,
    "digest_at": local_time,
    "digest_weekday": weekday,
    "attributes": attributes,
    "attributes.NAME": attribute,
}
_SUBSCRIPTION: Mapping[str, Callable[[Any], Any]] = {"recipient": text, "entity": text}


def _recipient(values: Mapping[str, Any], known: Known) -> Recipient | list[tuple[str, str]]:
    faults = []
    if values["user_type"] not in known.user_types:
        faults.append(("user_type", _stranger("user type", values["user_type"], known.user_types)))
    if values.get("zone", "UTC") not in known.zones:
        faults.append(("zone", f"{quoted(values['zone'])} is no time zone; write an IANA name like Europe/Berlin"))
    return faults or Recipient(**_with_attributes(values))


def _with_attributes(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The cells with those of `attributes.NAME` gathered under `attributes`."""
    single = [name for name in values if name not in _RECIPIENT]
    if not single:
        return values
    own = {name: value for name, value in values.items() if name in _RECIPIENT}
    gathered = {name.removeprefix("attributes."): values[name] for name in single}
    return {**own, "attributes": {**values.get("attributes", {}), **gathered}}


def _subscription(values: Mapping[str, Any]) -> Subscription | list[tuple[str, str]]:
    return Subscription(values["recipient"], values["entity"])


def _stranger(what: str, name: str, known: frozenset[str]) -> str:
    return f"{quoted(name)}: {no_such(what, name, sorted(known))}"
