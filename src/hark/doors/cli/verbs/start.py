"""To start: demo, serve, worker, migrate, doctor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import START, Call, verb

_DEMOS = "See it run, on this machine alone: events that become messages (run), or purchases that are loaded (history)."


@dataclass(frozen=True, slots=True)
class _Migrated:
    applied: list[str]
    reasons: list[str]


class _EveningByItself(TyperGroup):
    """`hark demo` is `hark demo run`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["run", *args]
        return super().parse_args(ctx, args)


def add_to(app: typer.Typer) -> None:
    """Hang the verbs into the command."""
    demos = typer.Typer(help=_DEMOS, cls=_EveningByItself, rich_markup_mode=None)
    verb(demos, "run", panel=START, example="hark demo run --seed 7")(demo)
    verb(demos, "history", panel=START, example="hark demo history --seed 7")(demo_history)
    app.add_typer(demos, name="demo", rich_help_panel=START)
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


async def demo_history(
    call: Call,
    users: Annotated[
        int, typer.Option("--users", metavar="N", min=20, max=500, help="How many are loaded, ten a second.")
    ] = 30,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Another one: other purchases.")] = 1,
) -> ExitCode:
    """Watch what people bought being loaded beside a live stream; audited, broken, healed, taken back.

    Everything is its own: Postgres, a sandbox of the four sources, a stream in a file. No Java; under a minute; nothing
    is left behind. Exit code 1: what is held differs from a fold of what the sources keep and the stream said.
    """
    from rich.console import Console

    from hark.doors.cli.logs import log_to_stderr
    from hark.doors.demo.history.run import Wish, run_history_demo
    from hark.doors.demo.history.show import in_words

    log_to_stderr("warning")
    call.go_on = "nothing is left behind; hark demo history begins anew"
    summary = await run_history_demo(Wish(users, seed), Console(stderr=True))
    call.output.show(summary, in_words(summary))
    return ExitCode.DONE if summary.good else ExitCode.NOT_GOOD


async def serve(
    call: Call,
    maildir: Annotated[
        Path | None, typer.Option("--maildir", metavar="DIR", help="Put mails into this Maildir; send none.")
    ] = None,
) -> ExitCode:
    """Everything in one process: the HTTP API and a worker, until told to stop.

    More workers may share the work. SIGTERM and SIGINT answer and finish what is under way first.
    """
    from hark.doors.cli.ending import ended
    from hark.doors.cli.serving import run_serve
    from hark.doors.cli.working import Work

    return await ended(call, run_serve(call, Work(maildir=maildir)))


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
    from hark.doors.cli.ending import ended
    from hark.doors.cli.working import Work, run_worker

    return await ended(call, run_worker(call, Work(until_idle, maildir)))


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
        applied = await bring_up_to_date(dsn, patience=settings.database_patience, say=call.output.note)
        async with open_database(dsn, size=1) as database:
            reasons = await preferences.install(database, catalogue, retire=True) if catalogue else []
    call.output.show(_Migrated(applied, reasons), _migrated(applied, reasons))


async def doctor(call: Call) -> ExitCode:
    """Which settings are in force, what can be reached, what to do next.

    It warns of time zones of recipients that Postgres and Python know by other rules; that alone is no exit code 1.
    """
    from hark.doors.cli.doctor import examine

    return await examine(call)


def _migrated(applied: list[str], reasons: list[str]) -> list[str]:
    return [
        f"tables: {'now at ' + applied[-1] if applied else 'were up to date'}",
        f"reasons: {', '.join(reasons) + ' new or changed' if reasons else 'nothing new'}",
    ]
