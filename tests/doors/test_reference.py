"""The help and the reference pages: each verb is documented, each example runs, nothing is listed that is not there."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass, field

import pytest
from psycopg.conninfo import conninfo_to_dict

from hark.config import Settings
from hark.config.settings import NAMES
from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import SERVING, TUNING
from tests.doors.commands import Desk
from tests.doors.pages import FOLDER, PAGES, Verb, cli_page, verbs
from tests.history.live.events import FACTOIDS, factoid, jsonl
from tests.servers import Postgres

VERBS = {verb.name: verb for verb in verbs()}
QUICK = [name for name in VERBS if name not in ("hark demo run", "hark demo history", "hark serve", "hark sandbox")]
NOT_GOOD = {"hark doctor", "hark digests verify", "hark history user"}
"""Examples that find something not good at a desk: there is no mail server, nothing to verify, and nobody bought."""
STATES = {"pause": ("APPLYING",), "resume": ("APPLYING", "PAUSED")}
ENDED = ("verify", "undo", "failures", "forget")
"""What the examples of backfills find: one that goes through these states, or one that was applied."""
PURCHASES = jsonl((FACTOIDS, factoid("b1")))
HELPED = """
import sys
from hark.doors.cli.app import run
run(["--help"])
print(*[name for name in sys.argv[1:] if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize("page", sorted(PAGES))
def test_the_page_is_what_the_code_says(page: str) -> None:
    written = (FOLDER / page).read_text(encoding="utf-8")
    assert written == PAGES[page](), f"run python -m tests.doors.pages to write {page} anew"


@pytest.mark.parametrize("name", VERBS)
def test_each_verb_is_documented_with_its_options(name: str) -> None:
    page = cli_page()
    assert f"### `{name}`" in page
    part = page.partition(f"### `{name}`")[2].partition("### ")[0]
    for parameter in VERBS[name].parameters(common=False):
        assert parameter.help
        assert f"`{parameter.opts[0]}" in part or f"`{parameter.metavar}`" in part


@pytest.mark.parametrize("name", VERBS)
def test_each_help_has_its_example_and_ends_well(name: str, desk: Desk) -> None:
    ran = desk.hark(*name.split()[1:], "--help")
    assert ran.code == ExitCode.DONE
    assert VERBS[name].example in ran.out
    assert VERBS[name].example.startswith(name)


@dataclass(slots=True)
class Stocks:
    """Databases that have what examples speak of: each is made once, and copied for whoever needs the same."""

    postgres: Postgres
    made: dict[str, str] = field(default_factory=dict)

    def fill(self, desk: Desk, verb: Verb) -> None:
        """Have it in the desk's database."""
        stock, mine = stock_of(verb), conninfo_to_dict(desk.dsn)["dbname"]
        assert isinstance(mine, str)
        if stock in self.made:
            self.postgres.replace_database(mine, self.made[stock])
            return
        prepare(desk, verb)
        self.made[stock] = self.postgres.create_database(mine)


@pytest.fixture(scope="session")
def stocks(postgres: Postgres) -> Stocks:
    """None is made yet."""
    return Stocks(postgres)


def stock_of(verb: Verb) -> str:
    """What its example needs, as far as that differs."""
    _, group, *rest = verb.name.split()
    match group:
        case "ingest":
            return verb.name
        case "backfill":
            return " ".join((group, rest[-1] if rest[-1] in (*STATES, *ENDED) else "planned"))
        case "flags":
            return group
        case _:
            return "people"


def prepare(desk: Desk, verb: Verb) -> None:
    """What the examples speak of: bob, and an event that he is told of."""
    desk.hark("recipients", "import", "people.csv")
    desk.hark("publish", "password_reset", "--to", "bob")
    desk.hark("keys", "create", "shop", "--scopes", "read")
    if verb.name.startswith("hark ingest dead"):
        prepare_letters(desk, verb.name)
    if verb.name.startswith("hark flags"):
        prepare_flags(desk)
    if verb.name.startswith("hark backfill"):
        prepare_backfill(desk, verb.name.rpartition(" ")[2])


def prepare_letters(desk: Desk, verb: str) -> None:
    """A line that was nonsense, and is not any more when it is replayed."""
    desk.write("nonsense.jsonl", "nonsense\n")
    desk.hark("ingest", "nonsense.jsonl")
    if verb == "hark ingest dead replay":
        desk.execute(f"update hark.ingest_dead set value = '{PURCHASES.strip()}'::bytea")


def prepare_flags(desk: Desk) -> None:
    """The flag of the examples, with a segment that bob is in."""
    desk.hark("flags", "create", "history-live")
    desk.hark("flags", "segment", "set", "history-live", "beta", "--ids", "bob,carol")


def prepare_backfill(desk: Desk, verb: str) -> None:
    """A plan, brought to where the verb's example finds it."""
    plan = ("--reason", "app_shared", "--channels", "push", "--user-types", "Students", "--all", "--create-rows")
    desk.hark("backfill", "preferences", *plan, *(["--apply"] if verb in ENDED else []))
    for state in STATES.get(verb, ()):
        desk.execute(f"update hark.backfill set state = '{state}'")


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("name", QUICK)
def test_each_example_runs(name: str, as_json: bool, desk: Desk, stocks: Stocks) -> None:
    desk.write("purchases.jsonl", PURCHASES)
    if not name.startswith("hark catalogue"):
        stocks.fill(desk, VERBS[name])
    arguments = shlex.split(VERBS[name].example)[1:]
    ran = desk.hark(*arguments, *(["--json"] if as_json else []))
    assert ran.code == (ExitCode.NOT_GOOD if name in NOT_GOOD else ExitCode.DONE), ran.err
    assert not as_json or all(isinstance(each, dict) for each in ran.objects)
    assert "\x1b" not in ran.out + ran.err


def test_the_help_lists_every_verb_once_in_its_group(desk: Desk) -> None:
    listed = desk.hark("--help").out
    for verb in VERBS.values():
        assert listed.count(f"\n  {verb.name.split()[1]} ") == 1
        assert f"\n{verb.panel[0].upper()}{verb.panel[1:]}:\n" in listed


def test_the_help_loads_nothing_heavy() -> None:
    """Under 300 ms of processor on an ordinary machine; what a verb needs it loads when it runs."""
    loaded = subprocess.run(
        [sys.executable, "-c", HELPED, *("asyncio", "psycopg", "jinja2", "rich", "structlog", "pydantic", "fastapi")],
        check=True,
        capture_output=True,
        text=True,
    )
    assert loaded.stderr == "\n"
    assert "Start:" in loaded.stdout


def test_only_what_is_built_is_listed(desk: Desk) -> None:
    listed = desk.hark("--help").out
    for later in ("templates",):
        assert f"\n  {later} " not in listed


def test_the_worker_has_a_flag_for_each_setting() -> None:
    flags = {parameter.name for parameter in VERBS["hark worker"].command.params}
    assert set(NAMES) - set(SERVING) <= flags
    assert set(TUNING) | set(SERVING) == set(NAMES) - {"database_url", "data_dir", "catalogue", "auto_migrate"}


def test_serve_has_a_flag_for_each_setting() -> None:
    assert set(NAMES) <= {parameter.name for parameter in VERBS["hark serve"].command.params}


def test_a_flag_reaches_its_setting(desk: Desk) -> None:
    refused = desk.hark("worker", "--send-chunk", "9999", "--lease", "soon")
    assert refused.code == ExitCode.BAD_INPUT
    assert [line.split()[0] for line in refused.err.splitlines()] == ["--send-chunk", "--lease"]
    assert Settings().send_chunk < 9999
