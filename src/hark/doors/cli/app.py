"""All verbs as one command; or, when one is called, only those of its file: the others would take 4 MB and a while."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
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
from hark.doors.cli.verbs import overview

FILES = {
    "start": ("serve", "worker", "migrate", "doctor", "demo"),
    "happened": ("publish", "explain", "deliveries", "inbox"),
    "trials": ("replay",),
    "recipients": ("recipients",),
    "subscriptions": ("subscribe",),
    "preferences": ("preferences",),
    "digests": ("digests",),
    "catalogue": ("catalogue",),
    "flags": ("flags",),
    "backfill": ("backfill",),
    "keys": ("keys",),
    "ingest": ("lag", "ingest"),
    "history": ("history",),
    "sandbox": ("sandbox",),
}
"""The files of verbs in the order of the help, and what each has."""

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


def build(verb: str | None = None) -> typer.Typer:
    """The command line: all of it, or the part that has a verb; all of it, if there is no such verb."""
    app = typer.Typer(
        name="hark",
        cls=_Grouped,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        invoke_without_command=True,
        context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 110},
    )
    app.callback()(_alone)
    for file in [file for file, verbs in FILES.items() if verb in verbs] or FILES:
        import_module(f"hark.doors.cli.verbs.{file}").add_to(app)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run a command line; its exit code."""
    try:
        code = build(*arguments[:1])(args=list(arguments), prog_name="hark", standalone_mode=False)
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
