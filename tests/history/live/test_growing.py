"""Files that are read while somebody still writes them, and standard input that does not end: nothing is lost."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from io import BytesIO
from types import SimpleNamespace

import pytest

from hark.doors.cli.exits import ExitCode
from hark.history.live.lines import Piped, Written
from tests.doors.commands import Desk, desk, furnished
from tests.history.live.events import FACTOIDS, RECEIPTS, factoid, jsonl, receipt
from tests.servers import eventually

__all__ = ["desk", "furnished"]

KEYS = "select coalesce(array_agg(key order by key), '{}') from hark.fact where not deleted"
DEAD = "select count(*) from hark.ingest_dead"
ONE = jsonl((RECEIPTS, receipt("r1", "milk")))
TWO = jsonl((RECEIPTS, receipt("r2", "tea")))


def test_a_line_that_is_half_written_is_taken_when_it_is_whole(desk: Desk) -> None:
    for cut in (1, len(TWO) // 2, len(TWO) - 2):
        name = f"grows-{cut}.jsonl"
        desk.write(name, ONE + TWO[:cut])
        half = desk.hark("ingest", name)
        assert half.code == ExitCode.DONE
        assert half.out.startswith("1 messages taken")
        assert "its last line is not whole yet; the same command takes it when it is" in half.err
        assert desk.hark("ingest", name, "--json").only["messages"] == 0
        desk.write(name, ONE + TWO)
        assert desk.hark("ingest", name, "--json").only["messages"] == 1
    assert desk.ask(KEYS) == ["receipt:r1:1", "receipt:r2:1"]
    assert desk.ask(DEAD) == 0


def test_a_last_line_that_is_whole_but_for_its_end_is_taken_once(desk: Desk) -> None:
    desk.write("ends.jsonl", ONE + TWO.rstrip("\n"))
    whole = desk.hark("ingest", "ends.jsonl")
    assert whole.out.startswith("2 messages taken: 2 recorded")
    assert "not whole" not in whole.err
    desk.write("ends.jsonl", ONE + TWO + jsonl((FACTOIDS, factoid("b1"))))
    assert desk.hark("ingest", "ends.jsonl", "--json").only["messages"] == 1
    assert desk.ask(KEYS) == ["order:b1", "receipt:r1:1", "receipt:r2:1"]


def test_the_beginning_of_a_number_is_not_taken_for_a_line(desk: Desk) -> None:
    desk.write("numbers.jsonl", "12")
    assert desk.hark("ingest", "numbers.jsonl", "--topic", FACTOIDS, "--json").only["messages"] == 0
    desk.write("numbers.jsonl", "123\n")
    assert desk.hark("ingest", "numbers.jsonl", "--topic", FACTOIDS, "--json").only["dead"] == 1


def test_blank_lines_say_nothing(desk: Desk) -> None:
    desk.write("gaps.jsonl", f"\n{ONE}\r\n \n{TWO}\n\n")
    for chunk, taken in (("1", 2), ("2", 0)):
        ran = desk.hark("ingest", "gaps.jsonl", "--ingest-chunk", chunk, "--json")
        assert (ran.code, ran.only["messages"], ran.only["dead"]) == (ExitCode.DONE, taken, 0)
    assert desk.ask("select position from hark.ingest_position") == 7
    assert desk.ask(DEAD) == 0
    desk.write("gaps.jsonl", f"\n{ONE}\r\n \n{TWO}\n\n\nno JSON\n")
    assert desk.hark("ingest", "gaps.jsonl", "--json").only["dead"] == 1
    assert desk.ask("select at_offset from hark.ingest_dead") == 8


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """What is written there, commands read from standard input."""
    read, write = os.pipe()
    with os.fdopen(read, "rb") as file:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file))
        yield write


def test_what_stands_in_standard_input_is_taken_before_it_ends(desk: Desk, stdin: int) -> None:
    seen: list[bool] = []

    def say() -> None:
        """Half a line, its end when the first one is recorded, and then nothing more."""
        os.write(stdin, (ONE + TWO[:20]).encode())
        try:
            eventually(lambda: desk.ask(KEYS) == ["receipt:r1:1"], "the first line is recorded")
            seen.append(True)
        finally:
            os.write(stdin, f"{TWO[20:]}\n{{".encode())
            os.close(stdin)

    saying = threading.Thread(target=say)
    saying.start()
    ran = desk.hark("ingest", "-", "--json")
    saying.join()
    assert seen == [True]
    assert (ran.code, ran.only["recorded"], ran.only["dead"]) == (ExitCode.DONE, 2, 1)
    assert desk.ask(KEYS) == ["receipt:r1:1", "receipt:r2:1"]


def test_who_waits_for_more_can_be_told_to_stop(desk: Desk) -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as file:
        running = desk.spawn("ingest", "-", stdin=file)
    try:
        os.write(write, ONE.encode())
        eventually(lambda: desk.ask(KEYS) == ["receipt:r1:1"], "the line is recorded")
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=60)
    finally:
        os.close(write)
        running.kill()
    assert out.startswith("1 messages taken"), err


def test_lines_of_a_pipe_are_those_that_were_written_however_it_was_cut() -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as file:
        piped = Piped(file)
        for part in (b"a", b"b\nc", b"\n\n", b"d"):
            os.write(write, part)
        assert piped.read(2) == [b"ab\n", b"c\n"]
        assert piped.read(2) == [b"\n"]
        assert not piped.ended
        os.write(write, b"e\nf")
        os.close(write)
        assert piped.read(9) == [b"de\n", b"f"]
        assert piped.ended
        assert piped.read(9) == []


def test_a_file_that_grew_between_two_looks_gives_whole_lines() -> None:
    file = BytesIO(b'{"a": 1}\n{"b"')
    written = Written(file)
    assert (written.read(9), written.ended, written.torn) == ([b'{"a": 1}\n'], True, True)
