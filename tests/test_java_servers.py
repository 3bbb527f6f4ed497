"""The harness of the servers that run on Java: what it promises to the other tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.java import find_jars
from tests.servers import eventually, spawn

SESSION = """
import sys
from tests.{module} import {server}
with {server}() as running:
    print("ready", running.java.pid, running.java.home, flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "server", "jars"), [("graph_server", "graph_server", "neo4j"), ("broker", "broker", "kafka")]
)
def test_a_killed_session_leaves_neither_server_nor_data(module: str, server: str, jars: str) -> None:
    find_jars(jars)
    with spawn(SESSION.format(module=module, server=server)) as session:
        pid, home = session.wait_for("ready", patience_s=180).split()
        assert Path("/proc", pid).exists()
    eventually(lambda: not Path(home).exists() and not Path("/proc", pid).exists(), "server and data are gone")


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_missing_jars_fail_in_ci_and_skip_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("HARK_TEST_JARS", str(tmp_path))
    with pytest.raises(outcome, match=r"fetch\.sh neo4j"):
        find_jars("neo4j")


def test_jars_of_another_version_are_missing_jars(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CI", "")
    monkeypatch.setenv("HARK_TEST_JARS", str(tmp_path))
    (tmp_path / "neo4j").mkdir()
    (tmp_path / "neo4j" / "pom.xml").write_text("<project>an older one</project>")
    with pytest.raises(pytest.skip.Exception, match=r"fetch\.sh neo4j"):
        find_jars("neo4j")
