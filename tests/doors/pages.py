"""The reference pages that the code itself knows best: `python -m tests.doors.pages` writes them anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer.main

from hark.backfill.states import TRANSITIONS as MOVES
from hark.delivery.states import TRANSITIONS, Result, State
from hark.doors.cli.app import build
from tests.doors.api.page import api_page

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"

COMMON = ("json", "database_url", "data_dir", "catalogue", "auto_migrate", "help")

CLI_HEAD = """# The command line

`hark` alone prints the pipeline with a count at each stage, and what to look at next. `hark VERB --help` says what a
verb takes.

Every verb has these options:

| option | means |
|---|---|
"""

CLI_MIDDLE = """
Any other setting is a flag of `hark worker`, a `HARK_…` variable or a line of hark.toml: see [settings](settings.md).
Tables and sentences go to stdout, colour and boxes only to a terminal; progress and notes go to stderr.
`hark --install-completion` sets completion up for your shell.

| exit code | means |
|---|---|
| 0 | done |
| 1 | it ran, and what it found is not good (`catalogue check`, `doctor`, `backfill verify`) |
| 2 | bad input: one sentence on stderr, or all faults of a file with their lines; nothing was changed |
| 3 | something that it needs cannot be reached, or was undone for the sake of another at the same moment: try again |
| 130 | interrupted; how to go on is printed |
"""

STATES_HEAD = """# The states of a delivery

A delivery is one message to one recipient by one channel. Where it is stands in `state`; what is known of its hand-over
in `outcome`. It moves along these arrows and no other: the database refuses any other, and writes each move into
`delivery_history`.

| from | to | when, and why it is safe |
|---|---|---|
"""

STATES_TAIL = """
A delivery begins as `PENDING`, written by the statement that writes its notifications. While it still gathers
(`gathering`), later events join it. `SENT (unknown)` is where a hand-over begins, and where it stays if its answer
never comes: nobody knows whether the message arrived, so it is counted and shown (`hark deliveries --outcome unknown`),
and not sent again by itself. A message whose reasons all say `at_least_once = true` is.
"""


BACKFILL_STATES_HEAD = """
# The states of a backfill

It begins as `PLANNING`. The database refuses any move that is not here, and writes each into `backfill_event`.

| from | to | when, and why it is safe |
|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb of the command line, as its help knows it."""

    name: str
    panel: str
    command: Any

    @property
    def example(self) -> str:
        """The command line that its help shows."""
        return str(self.command.epilog).partition("Example:")[2].strip()

    @property
    def told(self) -> str:
        """What its help says of it."""
        return " ".join(str(self.command.help).split())

    def parameters(self, *, common: bool) -> list[Any]:
        """Its arguments and options, those of its own or those that all verbs have."""
        return [each for each in self.command.params if (each.name in COMMON) is common]


def verbs() -> list[Verb]:
    """All verbs, in the help's order."""
    root: Any = typer.main.get_command(build())
    return list(_verbs("hark", root, ""))


def _verbs(path: str, group: Any, panel: str) -> Iterator[Verb]:
    for name, command in group.commands.items():
        where = panel or command.rich_help_panel
        if hasattr(command, "commands"):
            yield from _verbs(f"{path} {name}", command, where)
        else:
            yield Verb(f"{path} {name}", where, command)


def cli_page() -> str:
    """docs/reference/cli.md."""
    every = verbs()
    common = [row(each) for each in every[0].parameters(common=True)]
    lines = [CLI_HEAD.rstrip("\n"), *common, CLI_MIDDLE]
    for panel in dict.fromkeys(verb.panel for verb in every):
        lines += [f"## {panel[0].upper()}{panel[1:]}", ""]
        for verb in every:
            if verb.panel == panel:
                lines += section(verb)
    return "\n".join(lines).rstrip() + "\n"


def section(verb: Verb) -> list[str]:
    """What the page says of one verb."""
    own = [row(each) for each in verb.parameters(common=False)]
    table = ["| option | means |", "|---|---|", *own, ""] if own else []
    return [f"### `{verb.name}`", "", verb.told, "", "```sh", verb.example, "```", "", *table]


def row(parameter: Any) -> str:
    """One argument or option."""
    if parameter.param_type_name == "argument":
        return f"| `{parameter.metavar}` | {parameter.help} |"
    flags = " / ".join([*parameter.opts, *parameter.secondary_opts])
    takes = "" if parameter.is_flag or parameter.metavar is None else f" {parameter.metavar}"
    return f"| `{flags}{takes}` | {parameter.help} |"


def states_page() -> str:
    """docs/reference/states.md."""
    rows = [
        f"| {named(arrow.from_state, arrow.from_outcome)} | {named(arrow.to_state, arrow.to_outcome)} |"
        f" {arrow.sentence} |"
        for arrow in TRANSITIONS
    ]
    moves = [f"| `{move.from_state}` | `{move.to_state}` | {move.sentence} |" for move in MOVES]
    return f"{STATES_HEAD}{chr(10).join(rows)}\n{STATES_TAIL}{BACKFILL_STATES_HEAD}{chr(10).join(moves)}\n"


def named(state: State, outcome: Result) -> str:
    """A state with what is known of its hand-over."""
    return f"`{state}`" if outcome is Result.NONE else f"`{state}` ({outcome})"


PAGES = {"cli.md": cli_page, "states.md": states_page, "api.md": api_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
