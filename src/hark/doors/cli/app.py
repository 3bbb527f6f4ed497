"""All verbs as one command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import (
    BACKFILLS,
    HAPPENED,
    HISTORY,
    START,
    WHO,
    AutoMigrate,
    Call,
    DatabaseUrl,
    DataDir,
    Json,
    run_call,
)
from hark.doors.cli.output import Output
from hark.doors.cli.verbs import (
    backfill,
    catalogue,
    digests,
    flags,
    happened,
    history,
    ingest,
    keys,
    overview,
    preferences,
    recipients,
    sandbox,
    start,
    subscriptions,
    trials,
)

_PANELS = (START, HAPPENED, WHO, BACKFILLS, HISTORY)


class _Grouped(TyperGroup):
    """Lists the verbs by their groups. Typer's own way of doing that loads for longer than most verbs run."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(len(name) for name in self.commands)
        for panel in _PANELS:
            listed = [each for each in self.commands.values() if getattr(each, "rich_help_panel", None) == panel]
            with formatter.section(panel[0].upper() + panel[1:]):
                formatter.write_dl([(f"{each.name:<{width}}", each.get_short_help_str(100)) for each in listed])


class _InOrder(TyperGroup):
    """A group of its own inside a group, without panels."""


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="hark",
        cls=_Grouped,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        invoke_without_command=True,
        context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 110},
    )
    app.callback()(_alone)
    who = (recipients, subscriptions, preferences, digests, catalogue, flags)
    for verbs in (start, happened, trials, *who, backfill, keys, ingest, history, sandbox):
        verbs.add_to(app)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run a command line; its exit code."""
    try:
        code = build()(args=list(arguments), prog_name="hark", standalone_mode=False)
    except typer.TyperException as error:
        return _refused(error)
    except typer.Abort:
        return ExitCode.INTERRUPTED
    return code if isinstance(code, int) else ExitCode.DONE


def _alone(
    context: typer.Context,
    json: Json = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    auto_migrate: AutoMigrate = None,
    version: bool = typer.Option(False, "--version", help="Which Hark this is."),
) -> None:
    """Hark: events become the right messages, each sent at most once.

    Alone, it shows the pipeline with a count at each stage, and what to look at next.
    """
    flags = {"database_url": database_url, "data_dir": data_dir, "auto_migrate": auto_migrate}
    if context.invoked_subcommand is not None:
        _refuse_before_the_verb(context.invoked_subcommand, {"json": json or None, **flags})
        return
    call = Call(Output(json), flags)
    if version:
        overview.say_version(call.output)
        return
    raise typer.Exit(run_call(call, lambda: overview.show(call)))


def _refuse_before_the_verb(verb: str, given: dict[str, object]) -> None:
    """Options before a verb would not reach it, and nobody should find that out by the wrong database."""
    stray = [name.replace("_", "-") for name, value in given.items() if value is not None]
    if stray:
        raise typer.BadParameter(f"--{stray[0]} stands before {verb}; write it behind: hark {verb} … --{stray[0]}")


def _refused(error: typer.TyperException) -> ExitCode:
    Output().note(error.format_message())
    return ExitCode.BAD_INPUT
