"""How to speak HTTP is done as it stands, against a `hark serve` of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.doors.commands import Desk, desk, furnished
from tests.doors.test_serve import serving
from tests.servers import missing_server

__all__ = ["desk", "furnished"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "http.md"
BLOCK = re.compile(r"<!-- run -->\n```sh\n(.*?)```", re.DOTALL)
ANSWER = re.compile(r"```json\n(.*?)```", re.DOTALL)


def test_does_what_it_says(desk: Desk) -> None:
    if shutil.which("curl") is None:
        missing_server("curl is not installed")
    with serving(desk) as served:
        script = "\necho\n".join(BLOCK.findall(PAGE.read_text())).replace(
            "http://127.0.0.1:8425", str(served.client.base_url).rstrip("/")
        )
        said = run(script.replace("'\ncurl", "'\necho\ncurl").replace('"\ncurl', '"\necho\ncurl'), desk)
    people, subscribed, published, inbox, explained, refused = (json.loads(line) for line in said.split("\n") if line)
    assert (people, subscribed, published) == ({"written": 1}, {"changed": 1}, {"event": 1})
    assert inbox["unread"] in (0, 1)  # the worker may not have come to it
    assert explained["event"] == 1
    (told,) = ANSWER.findall(PAGE.read_text())
    assert refused == json.loads(told)


def run(script: str, desk: Desk) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=desk.directory,
        env={**os.environ, "PATH": path, "HARK_DATABASE_URL": desk.dsn},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout
