"""The four services as one application, and `/sandbox` to steer them while they run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Body, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from hark.durations import Rate
from hark.history.sandbox import answers
from hark.history.sandbox.answers import Asked, Json, NoCursor, Struck
from hark.history.sandbox.arrivals import Arrival, Arrivals, most_in_any
from hark.history.sandbox.faults import SOURCES, Fault, Faults, Kind, check_source
from hark.history.sandbox.goods import Goods, Item, Order, Receipt
from hark.history.sources.contracts import ReadFrom

_PATHS = {
    "/v1/receipts": "purchase",
    "/v1/orders": "shop",
    "/v1/products/lookup": "product",
    "/v1/categories/lookup": "category",
}
_MOST_AT_ONCE = 1000
_REFUSALS = {Kind.TOO_MANY: 429, Kind.UNAVAILABLE: 503, Kind.ERROR: 500}


@dataclass(slots=True)
class Sandbox:
    """What is served, what goes wrong, what came.

    Attributes:
        token: what services want to be shown; None: nothing.
    """

    goods: Goods
    faults: Faults = field(default_factory=Faults)
    token: str | None = None
    arrivals: dict[str, Arrivals] = field(default_factory=lambda: {source: Arrivals() for source in SOURCES})

    @classmethod
    def of(cls, goods: Goods, faults: Faults, token: str | None, limit: Rate | None) -> Sandbox:
        """One whose services allow so many requests each."""
        return cls(goods, faults, token, {source: Arrivals(limit) for source in SOURCES})


def build_sandbox(sandbox: Sandbox) -> FastAPI:
    """The application."""
    app = FastAPI(title="Hark's sandbox", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    _add_services(app, sandbox)
    _add_steering(app, sandbox)
    return app


# The services --------------------------------------------------------------------------------------------------------


class _Products(BaseModel):
    product_ids: Annotated[list[str], Field(max_length=_MOST_AT_ONCE)]


class _Categories(BaseModel):
    category_ids: Annotated[list[str], Field(max_length=_MOST_AT_ONCE)]


def _add_services(app: FastAPI, sandbox: Sandbox) -> None:
    @app.get("/v1/receipts")
    async def receipts(request: Request, asked: Annotated[_Question, Query()]) -> Response:
        return await _serve(sandbox, request, lambda struck: answers.receipts(sandbox.goods, asked.asked(), struck))

    @app.get("/v1/orders")
    async def orders(request: Request, asked: Annotated[_Question, Query()]) -> Response:
        return await _serve(sandbox, request, lambda struck: answers.orders(sandbox.goods, asked.asked(), struck))

    @app.post("/v1/products/lookup")
    async def products(request: Request, asked: _Products) -> Response:
        return await _serve(sandbox, request, lambda _: answers.products(sandbox.goods, asked.product_ids))

    @app.post("/v1/categories/lookup")
    async def categories(request: Request, asked: _Categories) -> Response:
        return await _serve(sandbox, request, lambda _: answers.categories(sandbox.goods, asked.category_ids))


class _Question(BaseModel):
    user_id: Annotated[str, Field(min_length=1, max_length=255)]
    since: AwareDatetime
    read_from: ReadFrom = ReadFrom.REPLICA
    limit: Annotated[int, Field(ge=1, le=1000)] = 200
    cursor: str | None = None

    def asked(self) -> Asked:
        return Asked(self.user_id, self.since, self.read_from, self.limit, self.cursor)


async def _serve(sandbox: Sandbox, request: Request, answer: Callable[[Struck], Json]) -> Response:
    """One request: noted when it came, refused if it must be, twisted if it is to be."""
    source = _PATHS[request.url.path]
    arrivals = sandbox.arrivals[source]
    at = arrivals.came()
    over = arrivals.wait(at)
    struck = sandbox.faults.strike(source)
    response = _refusal(sandbox, request, struck, over) or _answer(answer, struck)
    fault = ", ".join(struck) or None
    arrivals.note(Arrival(at, request.query_params.get("user_id"), response.status_code, fault))
    if Kind.SLOW in struck:
        await asyncio.sleep(struck[Kind.SLOW].seconds)
    return response


def _refusal(sandbox: Sandbox, request: Request, struck: Struck, over: float) -> Response | None:
    if sandbox.token is not None and request.headers.get("authorization") != f"Bearer {sandbox.token}":
        return JSONResponse({"error": "no token, or another one"}, 401)
    if over > 0:
        return JSONResponse({"error": "over the limit"}, 429, {"Retry-After": f"{over:.3f}"})
    for kind, status in _REFUSALS.items():
        if kind in struck:
            wait = struck[kind].retry_after
            return JSONResponse({"error": kind.value}, status, {} if wait is None else {"Retry-After": wait})
    return None


def _answer(answer: Callable[[Struck], Json], struck: Struck) -> Response:
    if Kind.PAGE in struck:
        return Response("<html><body>We will be back soon</body></html>", media_type="text/html")
    try:
        body = json.dumps(answer(struck)).encode()
    except NoCursor:
        return JSONResponse({"error": "no page gave this cursor"}, 400)
    if Kind.CUT in struck:
        return _Cut(body, media_type="application/json")
    return Response(body[: len(body) // 2] if Kind.HALF in struck else body, media_type="application/json")


class _Cut(Response):
    """Says how long it is, and ends before."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body[: len(self.body) // 2], "more_body": True})
        # uvicorn closes a connection whose answer never ends, when what makes it has returned.


# Steering ------------------------------------------------------------------------------------------------------------


class _Fault(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Kind
    source: Annotated[str, AfterValidator(check_source)] | None = None
    share: Annotated[float, Field(ge=0, le=1)] = 1.0
    times: Annotated[int, Field(ge=0)] | None = None
    retry_after: str | None = None
    seconds: Annotated[float, Field(ge=0, le=3600)] = 1.0


class _Item(BaseModel):
    product_id: Annotated[str, Field(min_length=1, max_length=255)]
    amount_minor: int
    quantity: int = 1

    def item(self) -> Item:
        return Item(self.product_id, self.amount_minor, self.quantity)


class _Put(BaseModel):
    model_config = ConfigDict(extra="forbid")

    user_id: Annotated[str, Field(min_length=1, max_length=255)]
    id: Annotated[str, Field(min_length=1, max_length=255)]
    store_id: str | None = None
    at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    deleted: bool = False
    currency: str = "USD"


class _PutReceipt(_Put):
    lines: list[_Item]


class _PutOrder(_Put):
    item: _Item


def _add_steering(app: FastAPI, sandbox: Sandbox) -> None:
    _add_faults(app, sandbox)
    _add_goods(app, sandbox)

    @app.get("/sandbox/arrivals")
    async def arrivals(source: str, period: float = 1.0) -> Response:
        if source not in sandbox.arrivals:
            return JSONResponse({"error": f"source is one of {', '.join(SOURCES)}"}, 422)
        came = sandbox.arrivals[source]
        moments = came.moments()
        told = {"count": len(moments), "most_in_any_period": most_in_any(period, moments)}
        return JSONResponse({**told, "arrivals": [asdict(each) for each in came.every]})

    @app.delete("/sandbox/arrivals")
    async def forget_arrivals() -> Response:
        for came in sandbox.arrivals.values():
            came.every.clear()
        return JSONResponse({"count": 0})


def _add_faults(app: FastAPI, sandbox: Sandbox) -> None:
    @app.get("/sandbox/faults")
    async def faults() -> Response:
        return JSONResponse([asdict(each) for each in sandbox.faults.every])

    @app.post("/sandbox/faults")
    async def add_fault(fault: _Fault) -> Response:
        sandbox.faults.every.append(Fault(**fault.model_dump()))
        return await faults()

    @app.delete("/sandbox/faults")
    async def end_faults() -> Response:
        sandbox.faults.every.clear()
        return await faults()


def _add_goods(app: FastAPI, sandbox: Sandbox) -> None:
    goods = sandbox.goods

    @app.get("/sandbox")
    async def state() -> Response:
        told = {"users": len(goods.users), "products": len(goods.products), "behind": goods.receipts.behind}
        return JSONResponse({**told, "purchase": goods.receipts.version, "shop": goods.orders.version})

    @app.get("/sandbox/users")
    async def users() -> Response:
        return PlainTextResponse("".join(f"{user}\n" for user in goods.users))

    @app.post("/sandbox/receipts")
    async def put_receipt(put: _PutReceipt) -> Response:
        lines = tuple(each.item() for each in put.lines)
        row = Receipt(put.user_id, put.id, put.store_id, put.at, lines, deleted=put.deleted, currency=put.currency)
        return JSONResponse({"version": goods.receipts.put(row).version})

    @app.post("/sandbox/orders")
    async def put_order(put: _PutOrder) -> Response:
        item = put.item.item()
        row = Order(put.user_id, put.id, put.store_id, put.at, item, deleted=put.deleted, currency=put.currency)
        return JSONResponse({"version": goods.orders.put(row).version})

    @app.post("/sandbox/replica")
    async def replica(behind: Annotated[int, Body(embed=True, ge=0)]) -> Response:
        goods.receipts.behind = goods.orders.behind = behind
        return JSONResponse({"behind": behind})
