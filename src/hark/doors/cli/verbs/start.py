"""To start: demo, serve, worker, migrate, doctor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import START, Call, verb


@dataclass(frozen=True, slots=True)
class _Migrated:
    applied: list[str]
    reasons: list[str]


def add_to(app: typer.Typer) -> None:
    """Hang the verbs into the command."""
    verb(app, "demo", panel=START, example="hark demo --seed 7")(demo)
    verb(app, "serve", panel=START, example="hark serve --maildir mails --api-port 8425", tuning=True, serving=True)(
        serve
    )
    verb(app, "worker", panel=START, example="hark worker --until-idle --maildir mails", tuning=True)(worker)
    verb(app, "migrate", panel=START, example="hark migrate --catalogue hark.toml")(migrate)
    verb(app, "doctor", panel=START, example="hark doctor")(doctor)


async def demo(
    call: Call,
    events: Annotated[
        int, typer.Option("--events", metavar="N", min=100, max=200_000, help="About how much happens.")
    ] = 3_000,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Another one: another evening.")] = 1,
    mails: Annotated[
        Path | None, typer.Option("--mails", metavar="DIR", help="Where the mails go; a new directory by itself.")
    ] = None,
) -> None:
    """Watch events become batched messages, before your eyes.

    Everything is its own: Postgres, mail server, a bursty evening. Nothing is left running; the mails stay.
    """
    from rich.console import Console

    from hark.doors.demo.show import Wish, in_words, run_demo

    call.go_on = "nothing is left running; hark demo begins anew"
    summary = await run_demo(Wish(events, seed, mails), Console(stderr=True))
    call.output.show(summary, in_words(summary))


async def serve(
    call: Call,
    maildir: Annotated[
        Path | None, typer.Option("--maildir", metavar="DIR", help="Put mails into this Maildir; send none.")
    ] = None,
) -> ExitCode:
    """Everything in one process: the HTTP API and a worker, until told to stop.

    More workers may share the work. SIGTERM and SIGINT answer and finish what is under way first.
    """
    from hark.doors.cli.ending import ending_soon
    from hark.doors.cli.serving import run_serve
    from hark.doors.cli.working import Work

    with ending_soon():
        return await run_serve(call, Work(maildir=maildir))


async def worker(
    call: Call,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="Do all that is due, then end.")] = False,
    maildir: Annotated[
        Path | None, typer.Option("--maildir", metavar="DIR", help="Put mails into this Maildir; send none.")
    ] = None,
) -> ExitCode:
    """Fan out events and send what is due, until told to stop.

    Run as many as you like: they share the work. SIGTERM and SIGINT finish what is under way first.
    """
    from hark.doors.cli.ending import ending_soon
    from hark.doors.cli.working import Work, run_worker

    with ending_soon():
        return await run_worker(call, Work(until_idle, maildir))


async def migrate(call: Call) -> None:
    """Bring the tables and what the database knows of the catalogue up to date.

    Safe to run on every start and by many processes at once.
    """
    import os

    from hark import preferences
    from hark.catalogue import load_catalogue
    from hark.doors.cli.session import server
    from hark.postgres.database import open_database
    from hark.postgres.migrate import migrate as bring_up_to_date

    settings = call.settings
    catalogue = load_catalogue(settings.catalogue, os.environ) if settings.catalogue else None
    with server(settings, call.output) as dsn:
        applied = await bring_up_to_date(dsn)
        async with open_database(dsn, size=1) as database:
            reasons = await preferences.install(database, catalogue, retire=True) if catalogue else []
    call.output.show(_Migrated(applied, reasons), _migrated(applied, reasons))


async def doctor(call: Call) -> ExitCode:
    """Which settings are in force, what can be reached, what to do next."""
    from hark.doors.cli.doctor import examine

    return await examine(call)


def _migrated(applied: list[str], reasons: list[str]) -> list[str]:
    return [
        f"tables: {'now at ' + applied[-1] if applied else 'were up to date'}",
        f"reasons: {', '.join(reasons) + ' new or changed' if reasons else 'nothing new'}",
    ]
