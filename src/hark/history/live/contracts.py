"""What live messages are made of: processed receipts, and factoids, which are shop orders.

docs/reference/live.md is the contract. It is that of the sources, spoken by an event: a receipt always comes whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field, ValidationError

from hark.errors import FAULTS_SHOWN
from hark.history.facts import Fact
from hark.history.live.plain import factoid_at_a_glance, receipt_at_a_glance
from hark.history.live.schemas import Schemas, is_framed
from hark.history.sources.contracts import Moment, is_no_json, places_and_faults
from hark.history.sources.purchase import Receipt, receipt_facts, receipt_faults
from hark.history.sources.shop import Order, order_fact, order_faults
from hark.sources import Name


class Contract(StrEnum):
    """What the messages of a topic are."""

    RECEIPTS = "receipts"
    FACTOIDS = "factoids"


class ReceiptEvent(Receipt):
    """A receipt, whole, as it stands now."""

    user_id: Name


class Factoid(Order):
    """A shop order as it stands now."""

    user_id: Name
    button_order_id: Name = Field(alias="summaryID")
    store_id: Name | None = Field(default=None, alias="store")
    ordered_at: Moment = Field(alias="occurred_at")


@dataclass(frozen=True, slots=True)
class News:
    """What a message says of one user."""

    user_id: str
    facts: Sequence[Fact]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message that is not what its topic holds. `cause`: all that is wrong with it, and where; never a value."""

    cause: str


Read = Callable[[bytes], "News | Unreadable"]


def read_receipt(value: bytes) -> News | Unreadable:
    """A message of the receipts' topic."""
    plain = receipt_at_a_glance(value)
    return receipt_by_contract(value) if plain is None else News(plain[0].user_id, plain)


def read_factoid(value: bytes) -> News | Unreadable:
    """A message of the factoids' topic."""
    plain = factoid_at_a_glance(value)
    return factoid_by_contract(value) if plain is None else News(plain.user_id, (plain,))


def receipt_by_contract(value: bytes) -> News | Unreadable:
    """A message of the receipts' topic, checked whole."""
    try:
        event = ReceiptEvent.model_validate_json(value)
        facts = receipt_facts(event.user_id, event)
    except ValidationError as error:
        return _refused(error)
    except ValueError:
        return _unreadable(receipt_faults(event))
    if len({fact.key for fact in facts}) < len(facts):
        return _unreadable(receipt_faults(event))
    return News(event.user_id, facts)


def factoid_by_contract(value: bytes) -> News | Unreadable:
    """A message of the factoids' topic, checked whole."""
    try:
        factoid = Factoid.model_validate_json(value)
        return News(factoid.user_id, (order_fact(factoid.user_id, factoid),))
    except ValidationError as error:
        return _refused(error)
    except ValueError:
        return _unreadable(order_faults(factoid))


READERS: Mapping[Contract, Read] = {Contract.RECEIPTS: read_receipt, Contract.FACTOIDS: read_factoid}


@dataclass(frozen=True, slots=True)
class Topics:
    """Which topic holds what.

    Attributes:
        schemas: of messages in Avro; None: all are JSON.
    """

    contracts: Mapping[str, Contract]
    schemas: Schemas | None = None

    async def prepare(self, values: Iterable[bytes | None]) -> None:
        """Learn what must be known before these are read.

        Raises:
            Unreachable: the schema registry is away.
        """
        if self.schemas is not None:
            await self.schemas.learn(values)

    def read(self, topic: str, value: bytes | None) -> News | Unreadable:
        """A message of a topic; of none: a line `{"topic": …, "value": {…}}`."""
        if value is None:
            return Unreadable("it has no value")
        if not topic:
            return self._read_line(value)
        contract = self.contracts.get(topic)
        if contract is None:
            known = " and ".join(sorted(self.contracts))
            return Unreadable(f"topic is none of those that are read: {known}")
        if is_framed(value):
            if self.schemas is None:
                return Unreadable("it is Avro of a schema registry, and none is set: schema_registry_url")
            try:
                value = self.schemas.as_json(value)
            except ValueError as error:
                return Unreadable(str(error))
        return READERS[contract](value)

    def opened(self, line: bytes) -> tuple[str, bytes]:
        """A line's topic and value; if it is no such line, no topic and the line itself."""
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            return "", line
        topic = said.get("topic") if isinstance(said, dict) else None
        if not isinstance(topic, str) or topic not in self.contracts or "value" not in said:
            return "", line
        return topic, json.dumps(said["value"]).encode()

    def _read_line(self, line: bytes) -> News | Unreadable:
        topic, value = self.opened(line)
        if topic:
            return self.read(topic, value)
        known = " or ".join(sorted(self.contracts))
        return Unreadable(f'it is no line {{"topic": …, "value": {{…}}}} of topic {known}')


def _refused(error: ValidationError) -> Unreadable:
    if is_no_json(error):
        return Unreadable("it is no JSON, or only the beginning of some")
    return _unreadable(places_and_faults(error))


def _unreadable(faults: Iterable[tuple[str, str]]) -> Unreadable:
    every = [f"{where} {what}" for where, what in faults]
    more = [f"and {len(every) - FAULTS_SHOWN:,} more"] if len(every) > FAULTS_SHOWN else []
    return Unreadable("; ".join([*every[:FAULTS_SHOWN], *more]))
