"""Files that are there when they are whole: what becomes of links, devices, directories and files that were there."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hark.errors import BadInput
from hark.lists.writing import is_plain, written

ROW = [("bob",)]
BOB = "id\r\nbob\r\n"


def write(path: Path) -> None:
    with written(path, ("id",)) as rows:
        rows(ROW)


def text(path: Path) -> str:
    return path.read_bytes().decode()


def names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    link, real = tmp_path / "link.csv", tmp_path / "far" / "real.csv"
    link.symlink_to(real)
    write(link)
    assert (link.is_symlink(), text(real), names(tmp_path / "far")) == (True, BOB, ["real.csv"])
    real.write_text("old")
    write(link)
    assert (link.is_symlink(), text(real)) == (True, BOB)


def test_a_link_that_leads_to_itself_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link.csv"
    link.symlink_to(link)
    with pytest.raises(BadInput, match=r"link\.csv"):
        write(link)


def test_a_file_that_was_there_keeps_who_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    path.chmod(0o600)
    write(path)
    assert (text(path), path.stat().st_mode & 0o777) == (BOB, 0o600)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a directory; name a file in it"):
        write(tmp_path)


def test_a_device_and_a_pipe_are_written_to(tmp_path: Path) -> None:
    device = Path("/dev/null").stat()
    write(Path("/dev/null"))
    assert os.path.samestat(Path("/dev/null").stat(), device)
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(text(pipe)))
    reader.start()
    write(pipe)
    reader.join(timeout=30)
    assert (read, pipe.is_fifo(), names(tmp_path)) == ([BOB], True, ["pipe"])


def test_its_own_output_is_written_to_where_it_is_though_it_be_a_file(tmp_path: Path) -> None:
    program = "from tests.test_writing import *; print('before'); write(Path('/dev/stdout')); print('after')"
    out = tmp_path / "out.txt"
    with out.open("w") as file:
        subprocess.run([sys.executable, "-c", program], stdout=file, check=True, timeout=60)
    assert text(out) == f"before\n{BOB}after\n"


def test_what_fails_leaves_nothing_and_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), written(path, ("id",)):
        raise ZeroDivisionError
    assert (text(path), names(tmp_path)) == ("old", ["out.csv"])


def test_what_lies_where_it_is_written_meanwhile_is_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with written(path, ("id",)), written(path, ("id",)) as rows:
        assert len(names(tmp_path)) == 2
        rows(ROW)
    assert names(tmp_path) == ["out.csv"]


def test_what_is_plain(tmp_path: Path) -> None:
    assert is_plain(tmp_path / "none.csv")
    assert not is_plain(Path("/dev/null"))
