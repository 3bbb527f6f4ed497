"""The tutorial is run as it stands, from its first file to its last command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"<!-- (run|file: (?P<file>\S+)) -->\n```\w+\n(?P<body>.*?)```", re.DOTALL)


def test_does_what_it_says(tmp_path: Path, database: str) -> None:
    said = ""
    for block in BLOCK.finditer(TUTORIAL.read_text()):
        if block["file"]:
            (tmp_path / block["file"]).write_text(block["body"])
        else:
            said += run(block["body"], tmp_path, database)
    assert len(list((tmp_path / "mails" / "new").iterdir())) == 1
    assert "3 apps were shared with you" in next((tmp_path / "mails" / "new").iterdir()).read_text()
    assert "bob was told of event 2 (app_shared, by alice" in said
    assert "alice was not told of event 2" in said
    assert "CANCELED" in said
    assert "read in app" in said


def run(script: str, folder: Path, database: str) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path, "HARK_DATABASE_URL": database, "TZ": "UTC"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout
