"""The sandbox: the four sources of history, served on the loopback."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import HISTORY, Call, verb
from hark.errors import BadInput

if TYPE_CHECKING:
    from hark.history.sandbox.app import Sandbox
    from hark.history.sandbox.goods import Goods

_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class _Serving:
    """Where it is, for programs."""

    url: str
    users: int
    products: int


def add_to(app: typer.Typer) -> None:
    """Hang the verb into the command."""
    example = "hark sandbox --file groceries.csv --fault too_many,share=0.2,retry_after=1"
    verb(app, "sandbox", panel=HISTORY, example=example)(sandbox)


async def sandbox(
    call: Call,
    port: Annotated[int, typer.Option("--port", metavar="PORT", min=0, max=65_535, help="On which; 0: any.")] = 8426,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="CSV: Member_number,Date,itemDescription; none: made-up goods."),
    ] = None,
    newest: Annotated[
        str | None,
        typer.Option("--newest", metavar="DATE", help="The newest day, as 2026-11-26: a file's days are moved to it."),
    ] = None,
    users: Annotated[
        int, typer.Option("--users", metavar="N", min=0, max=1_000_000, help="Made up: how many users.")
    ] = 1000,
    receipts: Annotated[
        int, typer.Option("--receipts", metavar="N", min=0, max=1000, help="Made up: a user's, on average.")
    ] = 12,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Made up: another one, other goods.")] = 1,
    orders: Annotated[
        float, typer.Option("--orders", metavar="SHARE", min=0, max=1, help="What part of it are shop orders.")
    ] = 0.2,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            "--fault",
            metavar="FAULT",
            help="What goes wrong: KIND[,source=…,share=…,times=…,retry_after=…,seconds=…]; a comma, in double quotes.",
        ),
    ] = None,
    limit: Annotated[
        str | None, typer.Option("--limit", metavar="RATE", help="What each service allows, as 10/s; more gets a 429.")
    ] = None,
    token: Annotated[
        str | None, typer.Option("--token", metavar="TOKEN", help="What the services want to be shown; none: nothing.")
    ] = None,
) -> ExitCode:
    """Serve the four sources of history from a file or made-up goods, with the faults that you ask for.

    On the loopback, for the demo, tests and rehearsals; /sandbox steers it while it runs. SIGTERM and SIGINT end it.
    """
    from hark.durations import parse_rate
    from hark.history.sandbox.app import Sandbox
    from hark.history.sandbox.faults import Faults, parse_fault

    faults = Faults([parse_fault(each) for each in fault or []])
    allowed = parse_rate(limit) if limit else None
    goods = _goods(file, _day(newest), users=users, receipts=receipts, seed=seed, orders=orders)
    return await _serve(call, port, Sandbox.of(goods, faults, token, allowed), goods)


async def _serve(call: Call, port: int, services: Sandbox, goods: Goods) -> ExitCode:
    from hark.doors.api.serving import serve, take_port, url_of
    from hark.doors.cli.stopping import Stop
    from hark.history.sandbox.app import build_sandbox

    call.go_on = "start it again: the same goods are served"
    with closing(take_port(_HOST, port, "give it another --port")) as listening:
        serving = _Serving(url_of(listening), len(goods.users), len(goods.products))
        call.output.show(serving, _in_words(serving))
        sys.stdout.flush()
        with Stop(call.output) as stop:
            await serve(build_sandbox(services), listening, stop.event)
    return stop.end(call)


def _goods(file: Path | None, newest: date | None, *, users: int, receipts: int, seed: int, orders: float) -> Goods:
    from datetime import UTC, time, timedelta

    from hark.history.sandbox.groceries import read_groceries
    from hark.history.sandbox.made_up import MadeUp

    if file is not None:
        return read_groceries(file, orders=orders, newest=newest)
    last = newest or datetime.now(UTC).date() - timedelta(days=1)
    until = datetime.combine(last + timedelta(days=1), time(0), UTC)
    return MadeUp(users=users, seed=seed, receipts=receipts, orders=orders, until=until).goods()


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadInput(f'"{text[:40]}" is not a day; write 2026-11-26') from None


def _in_words(serving: _Serving) -> list[str]:
    named = [f"HARK_{source.upper()}_URL={serving.url}" for source in ("purchase", "shop", "product", "category")]
    what = f"{serving.users:,} users, {serving.products:,} known products, at {serving.url}; to use it:"
    return [what, *(f"  export {each}" for each in [*named, f"HARK_HTTP_ALLOW_PRIVATE={_HOST}"])]
