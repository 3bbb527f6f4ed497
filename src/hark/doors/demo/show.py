"""The demo from start to end: a server of its own, an evening, a summary."""

from __future__ import annotations

import email
import email.policy
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hark import preferences
from hark.catalogue import load_catalogue
from hark.channels.maildir import Maildir
from hark.channels.rehearsal import Received
from hark.channels.sink import Sink
from hark.channels.smtp import SmtpChannel
from hark.doors.demo.campus import campus
from hark.doors.demo.evening import Evening, Passed
from hark.doors.demo.summary import Summary, biggest, summed_up
from hark.postgres.database import Database, open_database
from hark.postgres.embedded import start
from hark.postgres.embedded.processes import wait_until
from hark.postgres.migrate import migrate
from hark.rendering import Renderer

BEGINS = datetime(2026, 3, 2, 18, 0, tzinfo=UTC)
_LINES_SHOWN = 24
_STOP_PATIENCE_S = 30.0
_DELIVERY = re.compile(rb"^Message-ID: <hark\.(\d+)\.", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the demo is to be: about how many events, of which seed, and where the mails go (None: a new directory)."""

    events: int
    seed: int
    mails: Path | None


async def run_demo(wish: Wish, console: Console) -> Summary:
    """Run the demo, showing on `console` how far it is; nothing is left running, and the mails lie in a Maildir.

    Raises:
        Unreachable: Postgres or the mail server could not be started.
    """
    began = time.monotonic()
    mails = Mails(wish.mails or Path(tempfile.mkdtemp(prefix="hark-demo-mails-")))
    console.print("Starting a Postgres and a mail server, just for this.")
    with scratch() as folder, start(folder, durable=False, keep=False) as server:
        await migrate(server.dsn)
        async with open_database(server.dsn) as database, Sink(mails.keep) as sink:
            return await _play(database, sink, mails, wish, console, began)


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory for the server, which removes it itself when it has stopped; only then is all gone, and the one above
    it, too."""
    with tempfile.TemporaryDirectory(prefix="hark-demo-") as above:
        # As root, Postgres runs as another user, who has to pass through here.
        Path(above).chmod(0o711)
        inside = Path(above) / "postgres"
        try:
            yield inside
        finally:
            wait_until(lambda: not inside.exists(), _STOP_PATIENCE_S)


async def _play(database: Database, sink: Sink, mails: Mails, wish: Wish, console: Console, began: float) -> Summary:
    with resources.as_file(resources.files("hark") / "sample" / "hark.toml") as path:
        catalogue = load_catalogue(path, {"HARK_SMTP_URL": sink.url})
    await preferences.install(database, catalogue)
    renderer = Renderer(catalogue, "campus.example", await database.installation())
    channel = SmtpChannel(sink.url, sender=catalogue.email.sender if catalogue.email else "hello@campus.example")
    try:
        with live(console) as seen:
            evening = Evening(database, channel, renderer, BEGINS, seen)
            passed = await evening.play(campus(wish.seed, BEGINS, wish.events))
    finally:
        await channel.close()
    shown = await biggest(database)
    took = time.monotonic() - began
    return await summed_up(database, passed, shown, mails.text_of(shown.id), evening.now, mails.directory, took)


class Mails:
    """What the mail server took: a Maildir, with each mail in a file named for its delivery."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._box = Maildir(directory)

    def keep(self, mail: Received) -> None:
        """Put a mail into the box."""
        found = _DELIVERY.search(mail.content)
        self._box.put(_file_name(int(found[1])) if found else f"{time.monotonic_ns()}.other", mail.content)

    def text_of(self, delivery: int) -> str:
        """What stands in the mail of a delivery, as plain text under its subject."""
        raw = (self.directory / "new" / _file_name(delivery)).read_bytes()
        message = email.message_from_bytes(raw, policy=email.policy.default)
        body = message.get_body(("plain",))
        return f"{message['Subject']}\n\n{body.get_content() if body else ''}".strip()


def _file_name(delivery: int) -> str:
    return f"{delivery:08}.demo"


@contextmanager
def live(console: Console) -> Iterator[Callable[[Passed], None]]:
    """Show how far it is: in place on a terminal, a line now and then elsewhere."""
    if not console.is_terminal:
        yield _plain(console)
        return
    with Live(_view(Passed(BEGINS, 0.0)), console=console, refresh_per_second=12, transient=True) as view:
        yield lambda passed: view.update(_view(passed))


def _plain(console: Console) -> Callable[[Passed], None]:
    shown = [-1]

    def seen(passed: Passed) -> None:
        tenth = int(passed.done * 10)
        if tenth > shown[0]:
            shown[0] = tenth
            console.print(f"{passed.at:%H:%M}  {passed.events:,} events, {passed.mails:,} mails")

    return seen


def _view(passed: Passed) -> Panel:
    stages = Table.grid(padding=(0, 2))
    for _ in range(2):
        stages.add_column(justify="right")
    stages.add_column()
    for name, count, said in (
        ("events", passed.events, "published, each in a transaction"),
        ("notifications", passed.notifications, "one for each person who asked to hear of it"),
        ("read", passed.read_in_app, "in app, so not mailed"),
        ("mails", passed.mails, "accepted by the mail server"),
        ("canceled", passed.canceled, "nothing was left to say"),
    ):
        stages.add_row(name, Text(f"{count:,}", style="bold"), Text(said, style="dim"))
    clock = Text(f"a campus, {passed.at:%H:%M}", style="bold")
    return Panel(Group(clock, ProgressBar(total=1.0, completed=passed.done), stages), title="hark demo", expand=False)


def in_words(summary: Summary) -> Iterator[str]:
    """The summary for people, line by line."""
    saved = 1 - summary.mails / summary.mails_one_by_one
    yield f"{summary.events:,} events became {summary.notifications:,} notifications and {summary.mails:,} mails:"
    yield f"{saved:.0%} fewer than the {summary.mails_one_by_one:,} of one mail a notification."
    yield f"{summary.read_in_app:,} were read in app; {summary.canceled:,} mails had nothing left to say: not sent."
    if summary.waiting:
        yield f"{summary.waiting:,} daily or weekly messages wait for their hour."
    yield ""
    yield f"The biggest batch: {summary.biggest_items} notifications in one mail to {summary.biggest_to}"
    lines = summary.biggest.splitlines()
    yield from (f"  │ {line}" for line in lines[:_LINES_SHOWN])
    if len(lines) > _LINES_SHOWN:
        yield f"  │ … {len(lines) - _LINES_SHOWN} more lines"
    yield ""
    yield "Why was somebody told, or not? (hark explain USER EVENT)"
    yield from (f"  │ {line}" for line in summary.explained)
    yield ""
    yield f"The mails lie in {summary.mail_dir} (a Maildir). Nothing is left running. It took {summary.seconds:.0f} s."
