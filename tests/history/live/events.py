"""Live messages in short, as the product's own services write them."""

from __future__ import annotations

import json
from typing import Any

RECEIPTS = "pipeline-v1-processed-receipt-events"
FACTOIDS = "factoid-stream"
MORNING = "2026-11-27T09:00:00Z"


def receipt(
    number: str, *items: str, user: str = "ann", version: int = 1, at: str = MORNING, **more: Any
) -> dict[str, Any]:
    """A receipt with a line for each item; without items it has none."""
    lines = [{"line": n, "product_id": each, "quantity": 1, "amount_minor": 129} for n, each in enumerate(items, 1)]
    said = {"user_id": user, "receipt_id": number, "store_id": "north", "purchased_at": at, "currency": "EUR"}
    return {**said, "version": version, "lines": lines, **more}


def factoid(number: str, *, user: str = "ann", version: int = 1, product: str = "tea", **more: Any) -> dict[str, Any]:
    """A shop order: 4.50 for a tea unless told otherwise."""
    said = {"user_id": user, "summaryID": number, "store": "web", "product_id": product, "amount": "4.50"}
    return {**said, "currency": "EUR", "quantity": 1, "occurred_at": MORNING, "version": version, **more}


def value(said: object) -> bytes:
    """A message's value."""
    return json.dumps(said).encode()


def jsonl(*messages: tuple[str, object]) -> str:
    """Lines of a file: of each message its topic and value."""
    return "".join(json.dumps({"topic": topic, "value": said}) + "\n" for topic, said in messages)
