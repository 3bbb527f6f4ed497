"""`hark serve` as a real process: everything in one, and an end with grace. Keys at the command line."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2
import pytest

from hark.doors.cli.exits import ExitCode
from tests.doors.commands import Desk
from tests.servers import eventually


@dataclass(frozen=True, slots=True)
class Served:
    """A `hark serve` that listens."""

    process: subprocess.Popen[str]
    client: httpx2.Client

    def end(self, sign: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        """Tell it to end; its exit code and what else it said."""
        self.process.send_signal(sign)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@contextmanager
def serving(desk: Desk, *options: str) -> Iterator[Served]:
    key = desk.hark("keys", "create", "served", "--scopes", "publish,subscribe,read").out.strip()
    process = desk.spawn("serve", "--api-port", "0", "--maildir", "mails", *options)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("listening on http://127.0.0.1:"), line + process.stderr.read()
        url = line.split()[2].rstrip(";")
        with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
            yield Served(process, client)
    finally:
        process.kill()
        process.communicate()


def test_what_is_published_over_http_is_mailed_and_it_ends_with_grace(desk: Desk) -> None:
    desk.hark("recipients", "import", "people.csv")
    with serving(desk) as served:
        assert served.client.get("/readyz").json() == {"status": "ok"}
        event = {"reason": "password_reset", "to": ["bob"], "payload": {"url": "https://x.example"}}
        published = served.client.post("/v1/events", json=event)
        assert published.status_code == 201
        mails = desk.directory / "mails" / "new"
        eventually(lambda: mails.exists() and list(mails.iterdir()), "the mail is there")
        number = published.json()["event"]
        eventually(
            lambda: served.client.get(f"/v1/explain/bob/{number}").json()["telling"] == "sent", "it is known to be sent"
        )
        code, out, err = served.end()
    assert (code, err) == (ExitCode.DONE, "stopping: what is under way is finished first; again: at once\n")
    assert out.startswith("1 events fanned out to 1; of 1 attempts 1 accepted")
    assert "To: bob@school.example" in next(mails.iterdir()).read_text()


def test_interrupted_it_says_how_to_go_on(desk: Desk) -> None:
    with serving(desk, "--json") as served:
        code, _, err = served.end(signal.SIGINT)
    assert code == ExitCode.INTERRUPTED
    assert err.splitlines()[-1] == "interrupted; start it again, or a worker: all goes on where it was"


def test_it_logs_nothing_of_a_call(desk: Desk) -> None:
    with serving(desk, "--log-level", "debug") as served:
        assert served.client.get("/v1/recipients/somebody").status_code == 404
        assert (
            served.client.put("/v1/recipients/somebody/preferences/nope", json={"frequency": "daily"}).status_code
            == 404
        )
        _, out, err = served.end()
    assert "somebody" not in out + err


def test_a_port_that_is_taken_is_refused(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = desk.hark("serve", "--api-port", port)
    assert refused.code == ExitCode.BAD_INPUT
    assert refused.err == f"cannot listen on 127.0.0.1 port {port}: Address already in use; set api_host or api_port\n"


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_a_port_that_is_none_is_refused(port: str, desk: Desk) -> None:
    refused = desk.hark("serve", "--api-port", port)
    assert refused.code == ExitCode.BAD_INPUT
    assert "is not a whole number from 0 to 65535" in refused.err


@pytest.mark.parametrize("host", ["a b", "http://x", "[::1]"])
def test_an_address_that_is_none_is_refused(host: str, desk: Desk) -> None:
    assert "--api-host" in desk.hark("serve", "--api-host", host).err


def test_only_serve_loads_what_it_serves_with(desk: Desk) -> None:
    code = (
        "import sys; from hark.doors.cli.app import run; run(['keys', 'list']); run(['serve', '--help']);"
        "print([name for name in ('fastapi', 'uvicorn', 'starlette') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=desk.directory, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "[]"


# Keys -----------------------------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_its_ways_are_audited(desk: Desk) -> None:
    made = desk.hark("keys", "create", "shop", "--scopes", "publish,read", "--expires", "90d", "--json")
    assert made.only["key"].startswith("hark_")
    assert "keep it: it is not shown again" in made.err
    again = desk.hark("keys", "rotate", "shop", "--grace", "1h")
    assert again.out.strip() != made.only["key"]
    assert desk.hark("keys", "revoke", "shop").out == "shop: 2 revoked\n"
    listed = desk.hark("keys", "list").out + desk.hark("keys", "list", "--json").out
    assert made.only["key"] not in listed
    assert [key["standing"] for key in desk.hark("keys", "list", "--json").objects] == ["revoked", "revoked"]
    log = desk.hark("keys", "audit", "--json").objects
    assert [(line["what"], line["target"]) for line in log] == [
        ("key.revoke", "key:shop"),
        ("key.rotate", "key:shop"),
        ("key.create", "key:shop"),
    ]
    assert all(line["who"].startswith("cli:") for line in log)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "shop", "--scopes", "publsh"), "did you mean publish?"),
        (("create", "shop", "--scopes", "read", "--expires", "soon"), "is not a duration"),
        (("create", "shop", "--scopes", "read", "--expires", "0s"), "would never open"),
        (("create", "shop", "--scopes", "read", "--expires", "99999999d"), "after the calendar ends"),
        (("create", "sh op", "--scopes", "read"), "is no name for a key"),
        (("revoke", "shop"), "no such key"),
        (("rotate", "shop", "--grace", "99999999d"), "after the calendar ends"),
        (("audit", "--what", "key.creat"), "did you mean key.create?"),
    ],
)
def test_what_cannot_be_is_refused(arguments: tuple[str, ...], said: str, desk: Desk) -> None:
    refused = desk.hark("keys", *arguments)
    assert refused.code == ExitCode.BAD_INPUT
    assert said in refused.err
    assert desk.ask("select count(*) from hark.api_key") == desk.ask("select count(*) from hark.audit") == 0
