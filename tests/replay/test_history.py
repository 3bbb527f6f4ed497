"""Histories as they come: forms, columns, headers, times, and everything that can be wrong with a line."""

from __future__ import annotations

import csv
import json
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hark.errors import BadInput, FileFaults
from hark.replay.columns import Columns
from hark.replay.history import FAULTS_SHOWN, LONGEST_NAME, History, PastEvent, open_history
from hark.replay.tables import Form

Write = Callable[..., Path]

START = datetime(2004, 4, 15, 14, 56, 1, tzinfo=UTC)
TOLD = [
    PastEvent("2", "1", START),
    PastEvent("4", "3", START + timedelta(seconds=60)),
    PastEvent("2", "5", START + timedelta(seconds=60)),
]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(content: str | bytes, name: str = "history.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


def lines(separator: str, header: str = "", time: Callable[[datetime], str] = datetime.isoformat) -> str:
    rows = [separator.join([event.actor or "", event.recipient, time(event.at)]) for event in TOLD]
    return "\n".join([header, *rows] if header else rows) + "\n"


def unix(moment: datetime) -> str:
    return str(int(moment.timestamp()))


def faults(path: Path, columns: Columns | None = None) -> list[tuple[int, str, str]]:
    with pytest.raises(FileFaults) as caught:
        open_history(path, columns or Columns())
    assert str(path) in str(caught.value)
    return [(fault.line, fault.where, fault.what) for fault in caught.value.faults]


# Forms ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (lines(" ", time=unix), Form.SPACES),
        (lines("   "), Form.SPACES),
        (lines("\t", time=str), Form.TABS),
        (lines(",", time=str), Form.COMMAS),
        (lines(";", time=unix), Form.SEMICOLONS),
        ('"1","2","1082040961"\r\n"3","4",1082041021\r\n5,2,1082041021\r\n', Form.COMMAS),
        (lines(",", "from,to,at"), Form.COMMAS),
        (lines("\t", "SRC\tTGT\tUNIXTIME", time=unix), Form.TABS),
        (lines(" ", "source target ts", time=unix), Form.SPACES),
        ("\n# from somewhere\n% with 3 columns\n" + lines(" "), Form.SPACES),
        ("\ufeff" + lines(",", "from,to,at"), Form.COMMAS),
        (lines(",").replace("\n", "\n\n"), Form.COMMAS),
        (lines(",").replace("\n", "\n,,\n \n"), Form.COMMAS),
        (lines("\t", time=str).replace("\n", "\n\t\t\n"), Form.TABS),
        (lines(" ").replace("\n", "\n  \n"), Form.SPACES),
    ],
)
def test_the_form_shows_in_the_first_line(content: str, form: Form, write: Write) -> None:
    history = open_history(write(content))
    assert history.layout.form is form
    assert list(history) == TOLD


def test_json_lines_name_their_columns_in_every_line(write: Write) -> None:
    rows = [{"to": event.recipient, "from": event.actor, "ts": event.at.isoformat(), "more": [1]} for event in TOLD]
    history = open_history(write("\n".join(json.dumps(row) for row in rows)))
    assert history.layout.form is Form.JSON
    assert list(history) == TOLD


def test_numbers_in_json_are_taken_to_the_last_digit(write: Write) -> None:
    path = write('{"user": 12345678901234567890, "time": 1082040961.123456}\n')
    [event] = open_history(path)
    assert event == PastEvent("12345678901234567890", None, START + timedelta(microseconds=123456))


def test_quoted_cells_may_hold_separators_and_line_breaks(write: Write) -> None:
    path = write('to,at\n"Doe, Jane",1082040961\n"a ""b""\nc",1082040962\n')
    assert [event.recipient for event in open_history(path)] == ["Doe, Jane", 'a "b"\nc']


def test_a_history_is_read_anew_each_time(write: Write) -> None:
    history = open_history(write(lines(",")))
    assert list(history) == list(history) == TOLD


def test_what_is_known_once_a_history_was_looked_through(write: Write) -> None:
    history = open_history(write("1 2 100\n7 7 200\n1 2 200\n"))
    assert (history.events, history.to_oneself) == (3, 1)
    assert (history.first_at.timestamp(), history.last_at.timestamp()) == (100, 200)


# Columns --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "columns", "expected"),
    [
        ("1 2 100\n", Columns(), ("2", "1")),
        ("2 100\n", Columns(), ("2", None)),
        ("1 2 100 hello 7\n", Columns(), ("2", "1")),
        ("100 x 2 1\n", Columns(recipient=3, time=1), ("2", None)),
        ("100 x 2 1\n", Columns(recipient="3", actor="4", time="1"), ("2", "1")),
        ("when,whom,who\n100,2,1\n", Columns(recipient="whom", actor="WHO", time="When"), ("2", "1")),
        ("when,to,from\n100,2,1\n", Columns(time="when"), ("2", "1")),
        ("when,whom,who\n100,2,1\n", Columns(recipient=2, time=1), ("2", None)),
        ("user,time,from\n2,100,\n", Columns(), ("2", None)),
        ('{"100": 100, "whom": 2}', Columns(recipient="whom", time=100), ("2", None)),
        ('{"to": 2, "at": 100, "from": null}', Columns(), ("2", None)),
        ("from;date;recipient;to\n1;100;2;9\n", Columns(), ("2", "1")),
    ],
)
def test_columns_by_name_by_number_or_as_usual(
    content: str, columns: Columns, expected: tuple[str, str | None], write: Write
) -> None:
    [event] = open_history(write(content), columns)
    assert (event.recipient, event.actor, event.at.timestamp()) == (*expected, 100)


@pytest.mark.parametrize(
    ("content", "columns", "expected"),
    [
        ("who,whom,when\n1,2,100\n", Columns(), ["recipient", "time"]),
        ("1 2 100\n", Columns(recipient=2), ["time"]),
        ("1 2 100\n", Columns(recipient=2, actor=4, time=0), ["actor", "time"]),
        ("from,to,at\n1,2,100\n", Columns(recipient="too", actor="sender"), ["recipient", "actor"]),
        ('{"whom": 2, "when": 100}\n', Columns(), ["recipient", "time"]),
        ("justone\n", Columns(), ["recipient", "time"]),
    ],
)
def test_columns_that_are_not_there_are_named_all_at_once(
    content: str, columns: Columns, expected: list[str], write: Write
) -> None:
    assert [where for _, where, _ in faults(write(content), columns)] == expected


def test_a_column_that_is_not_there_comes_with_what_is(write: Write) -> None:
    path = write("from,to,at\n1,2,100\n")
    assert faults(path, Columns(recipient="too"))[0][2] == "there is no column 'too'; did you mean to?"
    assert faults(path, Columns(recipient="bob"))[0][2] == "there is no column 'bob'; the first line has from, to, at"
    assert faults(path, Columns(recipient=7))[0][2] == "there is no column 7; the first line has 3: from, to, at"


def test_names_that_would_steer_a_terminal_are_not_shown_as_they_are(write: Write) -> None:
    assert "\x1b" not in str(faults(write("who\x1b[2J,whom,when\n1,2,100\n")))


def test_a_date_and_a_time_in_two_columns_are_not_read_as_midnight(write: Write) -> None:
    [(line, where, what)] = faults(write("1 2 2004-04-15 14:56:01\n"))
    assert (line, where) == (1, "time")
    assert what.startswith("'2004-04-15 14:56:01' is in two columns; write a T between them")


# Faults ---------------------------------------------------------------------------------------------------------------


def test_all_faults_come_at_once_each_with_its_line(write: Write) -> None:
    content = "from,to,at\n1,2,100\n1,,soon\n\n1,2\n1,2,99\n1,2,100\n1,\x00,200\n"
    assert [(line, where) for line, where, _ in faults(write(content))] == [
        (3, "recipient"),
        (3, "time"),
        (5, "time"),
        (6, "time"),
        (8, "recipient"),
    ]


@pytest.mark.parametrize(
    ("content", "line", "where", "what"),
    [
        ("1 2 100\n1 2 later\n", 2, "time", "'later' is not a time; expected a Unix time like 1082040961"),
        ("1 2 100\n1 2\n", 2, "time", "is missing; this line has only 2 columns"),
        ("to,at\n,100\n", 2, "recipient", "is empty; expected who is told"),
        ("to,at\nbob,\n", 2, "time", "is empty; expected a Unix time"),
        (f"{'x' * (LONGEST_NAME + 1)} 100\n", 1, "recipient", "is 501 characters long; at most 500"),
        (b"to,at\n\xff\xfe,100\n", 2, "recipient", "is not UTF-8 text"),
        ('{"to": "b", "at": 1}\n{"to": true, "at": 2}\n', 2, "recipient", "true is neither text nor a number"),
        ('{"to": "b", "at": 1}\n{"to": "b", "at": {}}\n', 2, "time", "{} is neither text nor a number"),
        ('{"to": "b", "at": 1}\n{"to": "b"\n', 2, "line", "not JSON: "),
        ('{"to": "b", "at": 1}\n["b", 2]\n', 2, "line", "not a JSON object"),
        ('{"to": "b", "at": 1}\n{"to": "\\ud800", "at": 2}\n', 2, "recipient", "is not UTF-8 text"),
        ('{"to": "b", "at": 1}\n' + "[" * 100_000 + "\n", 2, "line", "not JSON: "),
        ('to,at\n"b,100\n' + "x" * 140_000, 2, "line", "is a quotation mark left open?"),
        ('to,at\n"a\n\nb",5\n\n"c\nd",4\n', 6, "time", "of line 2"),
        ("to,at\n", 0, "", "has no events"),
    ],
)
def test_each_fault_says_what_was_expected(
    content: str | bytes, line: int, where: str, what: str, write: Write
) -> None:
    [fault] = faults(write(content))
    assert fault[:2] == (line, where)
    assert what in fault[2]


def test_an_event_before_the_one_above_it_is_refused_with_what_to_do(write: Write) -> None:
    path = write("1 2 100\n1 2 300\n1 2 200\n1 2 250\n1 2 300\n")
    told = faults(path)
    assert [line for line, _, _ in told] == [3, 4]
    assert told[0][2] == (
        "1970-01-01T00:03:20+00:00 is before 1970-01-01T00:05:00+00:00 of line 2;"
        " a replay needs the events in the order of their times: sort the file by them"
    )


def test_of_very_many_faults_the_first_are_told_and_the_others_counted(write: Write) -> None:
    told = faults(write("1 2 100\n" + "1 2 never\n" * (FAULTS_SHOWN + 1234)))
    assert len(told) == FAULTS_SHOWN + 1
    assert told[-1] == (0, "", "and 1,234 faults more")


@pytest.mark.parametrize("content", ["", "\n\n", "# nothing but words\n"])
def test_an_empty_file_has_no_events(content: str, write: Write) -> None:
    with pytest.raises(BadInput, match="has no events; expected one a line"):
        open_history(write(content))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"missing\.csv cannot be read: No such file"):
        open_history(tmp_path / "missing.csv")
    with pytest.raises(BadInput, match="cannot be read: Is a directory"):
        open_history(tmp_path)


def test_a_history_that_went_bad_since_it_was_opened_is_refused_when_it_is_read(write: Write) -> None:
    history = open_history(write("1 2 100\n1 2 200\n"))
    write("1 2 100\n1 2 later\n")
    with pytest.raises(FileFaults, match=":2  time"):
        list(history)


# Whatever may be in them ----------------------------------------------------------------------------------------------

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30).filter(
    lambda name: name == name.strip()
)
histories = st.lists(st.tuples(names, names | st.none(), st.integers(0, 10**9)), min_size=1, max_size=20).map(
    lambda rows: sorted(rows, key=lambda row: row[2])
)


def read_back(history: History) -> list[tuple[str, str | None, int]]:
    return [(event.recipient, event.actor, int(event.at.timestamp())) for event in history]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=histories, separator=st.sampled_from(",;\t"))
def test_whatever_csv_writes_is_read_back(
    rows: list[tuple[str, str | None, int]], separator: str, tmp_path: Path
) -> None:
    path = tmp_path / "history.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerows([("recipient", "actor", "time"), *rows])
    assert read_back(open_history(path)) == rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=histories)
def test_whatever_json_writes_is_read_back(rows: list[tuple[str, str | None, int]], tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    keys = ("recipient", "actor", "time")
    path.write_text("\n".join(json.dumps(dict(zip(keys, row, strict=True))) for row in rows), encoding="utf-8")
    assert read_back(open_history(path)) == rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_any_file_is_a_history_or_refused_in_words(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "anything"
    path.write_bytes(content)
    try:
        history = open_history(path)
    except BadInput:
        return
    assert len(list(history)) == history.events > 0


def test_memory_does_not_grow_with_the_file(write: Write) -> None:
    def peak(events: int) -> int:
        path = write("".join(f"actor-{n % 7} recipient-{n % 11} {n}\n" for n in range(events)))
        tracemalloc.start()
        try:
            history = open_history(path)
            assert sum(1 for _ in history) == events
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(100)
    assert peak(20_000) < 2 * peak(1_000)
