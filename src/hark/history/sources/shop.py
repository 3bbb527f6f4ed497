"""Button Transaction Service: a user's shop orders.

GET {url}/v1/orders?user_id=…&since=…&read_from=primary&limit=200[&cursor=…]
docs/reference/sources.md has its answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from pydantic import Field

from hark.history.facts import Fact, Kind, Snapshot, order_key
from hark.history.sources.contracts import Currency, Moment, Priced, Quantity, ReadFrom, Version
from hark.history.sources.loaded import Loaded
from hark.history.sources.paging import PAGE_SIZE, Page, walk
from hark.history.sources.polite import Polite
from hark.history.sources.purchase import check_read_from, loaded, question, refuse
from hark.sources import Name

SOURCE = "shop"
PATH = "/v1/orders"


class Order(Priced):
    """One order. Its id is the one that the live stream calls summaryID. `deleted`: it was canceled or sent back."""

    button_order_id: Name = Field(alias="buttonOrderId")
    product_id: Name
    store_id: Name | None = None
    ordered_at: Moment
    currency: Currency
    quantity: Quantity = Decimal(1)
    version: Version
    deleted: bool = False


class OrderPage(Page):
    """One page of the answer."""

    orders: list[Order]


@dataclass(frozen=True, slots=True)
class ShopOrders:
    """Asks for shop orders."""

    polite: Polite
    page_size: int = PAGE_SIZE

    async def orders(self, user: str, since: datetime, *, read_from: ReadFrom = ReadFrom.PRIMARY) -> Loaded:
        """All shop orders of a user since a time; takes and raises what `PurchaseHistory.receipts` does."""

        async def page_at(cursor: str | None) -> tuple[Page, Sequence[Order]]:
            page = await self.polite.get(PATH, question(user, since, read_from, self.page_size, cursor), OrderPage)
            check_read_from(self.polite.source, page, read_from)
            refuse(self.polite.source, [*_faults(page, since)])
            return page, page.orders

        walked = await walk(self.polite.source, "orders", user, page_at, lambda order: order.button_order_id)
        facts = [order_fact(user, order) for order in walked.rows]
        return loaded(Snapshot(user, Kind.ORDER, since, walked.watermark, facts), walked)


def _faults(page: OrderPage, since: datetime) -> Iterator[tuple[str, str]]:
    """What only a look at several values shows."""
    for place, order in enumerate(page.orders):
        where = f"orders[{place}]"
        if order.ordered_at < since:
            yield f"{where}.ordered_at", "is before the look-back that was asked for"
        if order.version > page.watermark:
            yield f"{where}.version", "is newer than the watermark"
        yield from order_faults(order, f"{where}.")


def order_faults(order: Order, where: str = "") -> Iterator[tuple[str, str]]:
    """What only a look at several values of one order shows: where, behind `where`, and what."""
    try:
        order.minor(order.currency)
    except ValueError as error:
        yield f"{where}amount", str(error)


def order_fact(user: str, order: Order) -> Fact:
    """What an order says of its user."""
    return Fact(
        user_id=user,
        key=order_key(order.button_order_id),
        version=order.version,
        product_id=order.product_id,
        store_id=order.store_id,
        amount_minor=order.minor(order.currency),
        currency=order.currency,
        quantity=order.quantity,
        occurred_at=order.ordered_at,
        deleted=order.deleted,
    )
