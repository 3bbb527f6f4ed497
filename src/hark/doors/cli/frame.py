"""What all verbs share: their common options, one way to run, one way to fail."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, get_type_hints

import typer

from hark.doors.cli.exits import ExitCode, as_harks_own, code_of
from hark.doors.cli.output import Output
from hark.errors import HarkError

if TYPE_CHECKING:
    from hark.config import Settings
    from hark.doors.cli.session import Session

P = ParamSpec("P")

START = "start"
HAPPENED = "what happened"
WHO = "who and what"
BACKFILLS = "backfills"
HISTORY = "history"

Json = Annotated[bool, typer.Option("--json", help="For programs: one JSON object, or one a line.")]
DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database-url", metavar="URL", help="Postgres; none: Hark's own, started when it is needed."),
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="Where Hark's own Postgres keeps its data.")
]
CatalogueFile = Annotated[
    Path | None,
    typer.Option("--catalogue", metavar="FILE", help="The catalogue; hark.toml of this directory by itself."),
]
AutoMigrate = Annotated[
    bool | None,
    typer.Option("--auto-migrate/--no-migrate", help="Bring the tables up to date first.", show_default=False),
]

_SETTINGS = {
    "database_url": DatabaseUrl,
    "data_dir": DataDir,
    "catalogue": CatalogueFile,
    "auto_migrate": AutoMigrate,
}


TUNING = {
    "database_patience": ("DURATION", "How long a start waits for a Postgres that recovers."),
    "smtp_url": ("URL", "The mail server; comes before the catalogue's."),
    "smtp_connections": ("N", "How many connections to it at most."),
    "concurrency": ("N", "How many chunks are under way at once."),
    "claim_chunk": ("N", "How many due messages are claimed at once."),
    "send_chunk": ("N", "How many are handed over at once."),
    "fanout_events": ("N", "How many new events one fan-out takes on."),
    "fanout_chunk": ("N", "How many recipients of a large event at once."),
    "digest_chunk": ("N", "How many recipients' digests are planned at once."),
    "digest_lead": ("DURATION", "How long before a morning its digests are planned."),
    "feed_timeout": ("DURATION", "How long a feed may take to answer."),
    "poll_period": ("DURATION", "The longest sleep of an idle loop."),
    "poll_floor": ("DURATION", "The shortest sleep of an idle loop."),
    "lease": ("DURATION", "How long a claim holds."),
    "max_attempts": ("N", "After how many attempts a message is given up."),
    "backoff_base": ("DURATION", "The wait after the first failed attempt; it doubles."),
    "backoff_cap": ("DURATION", "The longest wait between attempts."),
    "log_level": ("LEVEL", "debug, info, warning or error."),
    "rate_limit": ("RATE", "How many attempts in a while, by all workers together."),
    "worker_rate_limit": ("RATE", "How many attempts in a while, by this process."),
    "recipient_cap": ("RATE", "How many messages in a while to one recipient."),
    "object_stores": ("PLACES", "From where objects may be read, with commas between."),
    "object_endpoints": ("SERVERS", "Other servers than the clouds' own: s3=URL."),
    "http_allow_private": ("LIST", "Private networks and hosts that may be called."),
    "internal_users": ("LIST", "Who is internal, for flags: ids, and domains as @acme.example."),
    "webhook_secret": ("SECRET", "What calls of the backfills' webhook are signed with."),
    "purchase_url": ("URL", "Purchase History, which knows receipts."),
    "shop_url": ("URL", "The Button Transaction Service, which knows shop orders."),
    "product_url": ("URL", "The FIDO Product Service."),
    "category_url": ("URL", "The category service."),
    "purchase_token": ("SECRET", "What Purchase History is shown to be let in."),
    "shop_token": ("SECRET", "What the Button Transaction Service is shown."),
    "product_token": ("SECRET", "What the FIDO Product Service is shown."),
    "category_token": ("SECRET", "What the category service is shown."),
    "source_rate": ("RATE", "How many requests to each of them in a while."),
    "source_timeout": ("DURATION", "How long one of their answers may take."),
    "source_patience": ("DURATION", "How long one question to them may take in all."),
    "graph_url": ("URL", "Neo4j, to which purchases are projected; none: they are not."),
    "graph_chunk": ("N", "How many users are projected in one transaction."),
    "graph_timeout": ("DURATION", "How long the graph may take to answer."),
    "kafka_brokers": ("ADDRESSES", "Kafka's brokers, HOST:PORT with commas between."),
    "kafka_options": ("OPTIONS", "How they are reached: NAME=VALUE of librdkafka, with semicolons between."),
    "ingest_receipts_topic": ("TOPIC", "Which topic has the processed receipts."),
    "ingest_receipts_group": ("GROUP", "As which group it is read."),
    "ingest_factoids_topic": ("TOPIC", "Which topic has the factoids."),
    "ingest_factoids_group": ("GROUP", "As which group it is read."),
    "ingest_flag": ("FLAG", "Whom live purchases are taken of; none: of everybody."),
    "ingest_provider": ("CALLABLE", "Who else decides on that flag: what makes an OpenFeature provider."),
    "ingest_chunk": ("N", "How many messages are taken in one transaction."),
    "schema_registry_url": ("URL", "The schema registry of messages in Avro; none: they are JSON."),
    "schema_registry_login": ("SECRET", "What it is shown: KEY:SECRET."),
    "history_look_back": ("DURATION", "How far back purchases count."),
}
"""The settings that only those who run workers set; docs/reference/settings.md says more of each."""

SERVING = {
    "api_host": ("ADDRESS", "Where the HTTP API listens."),
    "api_port": ("PORT", "On which port; 0: any that is free."),
}
"""The settings that only `hark serve` has beside those."""

INGESTING = (
    *("kafka_brokers", "kafka_options", "ingest_receipts_topic", "ingest_receipts_group", "ingest_factoids_topic"),
    *("ingest_factoids_group", "ingest_flag", "ingest_provider", "ingest_chunk", "lease", "log_level"),
    *("schema_registry_url", "schema_registry_login", "http_allow_private", "database_patience"),
)
"""The settings in `TUNING` that live ingestion goes by."""


_ALSO = {"api_port": ("--port",)}
"""What a flag may be called as well: as `hark sandbox` calls the same."""


def _flags(settings: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    return {
        name: Annotated[
            str | None,
            typer.Option(f"--{name.replace('_', '-')}", *_ALSO.get(name, ()), metavar=metavar, help=said),
        ]
        for name, (metavar, said) in settings.items()
    }


@dataclass(slots=True)
class Call:
    """One call of a verb: what its common options say, and where it speaks.

    `go_on` is printed when it is interrupted.
    """

    output: Output
    flags: Mapping[str, object]
    go_on: str = "run the same command again to go on"
    _settings: Settings | None = field(default=None, repr=False)

    @property
    def settings(self) -> Settings:
        """The settings in force.

        Raises:
            SettingFaults: all that is wrong with them.
        """
        if self._settings is None:
            from hark.config import load_settings

            self._settings = load_settings(self.flags, os.environ, Path.cwd())
        return self._settings

    def session(self, *, size: int = 4, install: bool = False) -> AbstractAsyncContextManager[Session]:
        """The database to work on, up to date, for the time of a block.

        Args:
            size: the most connections at once.
            install: make the database know the catalogue, if there is one.
        """
        from hark.doors.cli.session import open_session

        return open_session(self.settings, self.output, size=size, install=install)


def verb(
    app: typer.Typer,
    name: str,
    *,
    panel: str,
    example: str,
    tuning: bool = False,
    serving: bool = False,
    of: Sequence[str] = (),
) -> Callable[[Callable[Concatenate[Call, P], Awaitable[ExitCode | None]]], None]:
    """Make an async function a verb: the common options are added to its own, and it is given the `Call` first.

    Args:
        panel: the group of verbs that the help lists it in.
        example: a command line that works, for the help; a test runs it.
        tuning: whether to add a flag for each setting in `TUNING`, too; `serving`: for each in `SERVING`.
        of: or only for these of them.
    """
    some = _flags({each: TUNING[each] for each in of})
    settings = {**_SETTINGS, **some, **(_flags(TUNING) if tuning else {}), **(_flags(SERVING) if serving else {})}

    def register(function: Callable[Concatenate[Call, P], Awaitable[ExitCode | None]]) -> None:
        command = _with_common_options(function, settings)
        app.command(name, rich_help_panel=panel, epilog=f"\b\nExample:\n  {example}")(command)

    return register


def run_call(call: Call, work: Callable[[], Awaitable[ExitCode | None]]) -> ExitCode:
    """Run one call to its exit code; whatever Hark or its user did wrong is one sentence on stderr."""
    import asyncio

    try:
        code = asyncio.run(_awaited(work)) or ExitCode.DONE
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        call.output.note(f"interrupted; {call.go_on}")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return _nobody_listens()
    except Exception as error:
        code = refuse(call.output, error)
        let_go_of_what_cannot_be_said()
        return code


def refuse(output: Output, error: Exception) -> ExitCode:
    """Say an error and give its exit code; a fault of the program is raised again."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    told = error if isinstance(error, HarkError) else as_harks_own(error)
    if told is None:
        raise error
    for line in str(told).splitlines():
        output.note(line)
    return code_of(told)


async def _awaited(work: Callable[[], Awaitable[ExitCode | None]]) -> ExitCode | None:
    return await work()


def _nobody_listens() -> ExitCode:
    """Whoever read stdout has gone (`hark deliveries | head`); Python must not complain of it at its end."""
    _say_nothing_more()
    return ExitCode.DONE


def let_go_of_what_cannot_be_said() -> None:
    """What is left to say does not fit where stdout goes either, if the disk is full."""
    try:
        sys.stdout.flush()
    except OSError:
        _say_nothing_more()


def _say_nothing_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _with_common_options(
    function: Callable[..., Awaitable[ExitCode | None]], settings: Mapping[str, Any]
) -> Callable[..., None]:
    def command(**given: Any) -> None:
        flags = {name: given.pop(name) for name in settings}
        call = Call(Output(json=given.pop("json")), flags)
        raise typer.Exit(run_call(call, lambda: function(call, **given)))

    types = get_type_hints(function, include_extras=True)
    own = [
        parameter.replace(annotation=types[parameter.name], kind=Parameter.KEYWORD_ONLY)
        for parameter in list(signature(function).parameters.values())[1:]
    ]
    common = [_option("json", Json, False), *(_option(name, kind, None) for name, kind in settings.items())]
    command.__signature__ = Signature([*own, *common])  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *common)}
    command.__doc__ = function.__doc__
    return command


def _option(name: str, kind: Any, default: object) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)
