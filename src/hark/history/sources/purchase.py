"""Purchase History: a user's receipts.

GET {url}/v1/receipts?user_id=…&since=…&read_from=primary&limit=200[&cursor=…]
docs/reference/sources.md has its answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from hark.history.facts import Fact, Kind, Snapshot, line_key
from hark.history.sources.contracts import (
    Currency,
    Moment,
    Part,
    Priced,
    Quantity,
    ReadElsewhere,
    ReadFrom,
    Version,
    answer_faults,
)
from hark.history.sources.loaded import Loaded
from hark.history.sources.paging import PAGE_SIZE, Page, Walked, walk
from hark.history.sources.polite import Polite
from hark.sources import Name

SOURCE = "purchase"
PATH = "/v1/receipts"
MOST_LINES = 10_000


class ReceiptLine(Priced):
    """One line of a receipt; its amount is that of the whole line."""

    line: Annotated[int, Field(ge=1, le=MOST_LINES)]
    product_id: Name
    quantity: Quantity


class Receipt(Part):
    """One receipt. `deleted`: it was taken back as a whole."""

    receipt_id: Name
    store_id: Name | None = None
    purchased_at: Moment
    currency: Currency
    version: Version
    deleted: bool = False
    lines: Annotated[list[ReceiptLine], Field(max_length=MOST_LINES)]


class ReceiptPage(Page):
    """One page of the answer."""

    receipts: list[Receipt]


@dataclass(frozen=True, slots=True)
class PurchaseHistory:
    """Asks for receipts."""

    polite: Polite
    page_size: int = PAGE_SIZE

    async def receipts(self, user: str, since: datetime, *, read_from: ReadFrom = ReadFrom.PRIMARY) -> Loaded:
        """All receipts of a user since a time, line by line, as facts.

        Args:
            since: aware; the beginning of the look-back.
            read_from: from where it must have been read.

        Raises:
            NotNow, Unreachable: not now.
            SourceFailed: the answer is not what it should be, or was read from elsewhere; all faults are named.
        """

        async def page_at(cursor: str | None) -> tuple[Page, Sequence[Receipt]]:
            page = await self.polite.get(PATH, question(user, since, read_from, self.page_size, cursor), ReceiptPage)
            check_read_from(self.polite.source, page, read_from)
            refuse(self.polite.source, [*_faults(page, since)])
            return page, page.receipts

        walked = await walk(self.polite.source, "receipts", user, page_at, lambda receipt: receipt.receipt_id)
        facts = [fact for receipt in walked.rows for fact in receipt_facts(user, receipt)]
        return loaded(Snapshot(user, Kind.RECEIPT, since, walked.watermark, facts), walked)


def question(user: str, since: datetime, read_from: ReadFrom, limit: int, cursor: str | None) -> dict[str, str]:
    """The query of a user's history, as receipts and orders are asked for."""
    asked = {"user_id": user, "since": since.isoformat(), "read_from": read_from.value, "limit": str(limit)}
    return asked if cursor is None else {**asked, "cursor": cursor}


def loaded(snapshot: Snapshot, walked: Walked[Any]) -> Loaded:
    """A snapshot, with how it was read."""
    return Loaded(snapshot, walked.read_from, len(walked.rows), walked.pages, walked.doubled, walked.anew)


def check_read_from(source: str, page: Page, read_from: ReadFrom) -> None:
    """A replica may not have seen yet what the live stream will not bring any more.

    Raises:
        ReadElsewhere: a replica answered, and the primary was asked for.
    """
    if read_from is ReadFrom.PRIMARY and page.read_from is not ReadFrom.PRIMARY:
        raise ReadElsewhere(
            f"{source} does not answer what it should:\n  read_from is not primary, which was asked for"
        )


def refuse(source: str, faults: Sequence[tuple[str, str]]) -> None:
    """Refuse an answer that has faults.

    Raises:
        SourceFailed: names all of them.
    """
    if faults:
        raise answer_faults(source, faults)


def _faults(page: ReceiptPage, since: datetime) -> Iterator[tuple[str, str]]:
    """What only a look at several values shows."""
    for place, receipt in enumerate(page.receipts):
        where = f"receipts[{place}]"
        if receipt.purchased_at < since:
            yield f"{where}.purchased_at", "is before the look-back that was asked for"
        if receipt.version > page.watermark:
            yield f"{where}.version", "is newer than the watermark"
        yield from receipt_faults(receipt, f"{where}.")


def receipt_faults(receipt: Receipt, where: str = "") -> Iterator[tuple[str, str]]:
    """What only a look at several values of one receipt shows: where, behind `where`, and what."""
    numbers = {line.line for line in receipt.lines}
    if len(numbers) < len(receipt.lines):
        yield f"{where}lines", "have a number that is there twice"
    for place, line in enumerate(receipt.lines):
        try:
            line.minor(receipt.currency)
        except ValueError as error:
            yield f"{where}lines[{place}].amount", str(error)


def receipt_facts(user: str, receipt: Receipt) -> list[Fact]:
    """A receipt comes with all its lines: those that it had and has no more are gone."""
    if receipt.deleted or not receipt.lines:
        return [Fact.gone(user, receipt.receipt_id, receipt.version)]
    return [
        Fact(
            user_id=user,
            key=line_key(receipt.receipt_id, line.line),
            version=receipt.version,
            product_id=line.product_id,
            store_id=receipt.store_id,
            amount_minor=line.minor(receipt.currency),
            currency=receipt.currency,
            quantity=line.quantity,
            occurred_at=receipt.purchased_at,
            whole=True,
        )
        for line in receipt.lines
    ]
