"""Files that people bring: read whole or not at all, every fault with its line."""

from __future__ import annotations

import csv
import io
import json
import os
from datetime import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hark.audience import Recipient, Subscription
from hark.doors.files import FAULTS_SHOWN, Known, check_address, open_recipients, open_subscriptions
from hark.errors import BadInput, FileFaults

KNOWN = Known(frozenset({"Students", "Career Services"}), frozenset({"UTC", "Europe/Berlin"}))


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "people"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read(folder: Path, text: str | bytes) -> list[Recipient]:
    return list(open_recipients(written(folder, text), KNOWN))


def faults(folder: Path, text: str | bytes) -> list[tuple[int, str, str]]:
    with pytest.raises(FileFaults) as refused:
        read(folder, text)
    return [(fault.line, fault.where, fault.what) for fault in refused.value.faults]


def test_csv(tmp_path: Path) -> None:
    text = (
        "id,user_type,address,confirmed,zone,attributes.team\n"
        "bob,Students,b@x.example,yes,Europe/Berlin,Blue\n"
        "cy,Career Services,,,,\n"
    )
    assert read(tmp_path, text) == [
        Recipient("bob", "Students", "b@x.example", True, zone="Europe/Berlin", attributes={"team": "Blue"}),
        Recipient("cy", "Career Services"),
    ]


def test_mornings(tmp_path: Path) -> None:
    text = "id,user_type,digest_at,digest_weekday\nbob,Students,07:30,Friday\ncy,Students,,mon\neve,Students,,\n"
    assert [(each.digest_at, each.digest_weekday) for each in read(tmp_path, text)] == [
        (time(7, 30), 4),
        (None, 0),
        (None, None),
    ]
    assert faults(tmp_path, "id,user_type,digest_at,digest_weekday\nbob,Students,8 am,someday\n") == [
        (2, "digest_at", '"8 am" is not a time of day; write 08:00'),
        (
            2,
            "digest_weekday",
            '"someday" is not a weekday; write monday, tuesday, wednesday, thursday, friday, saturday or sunday',
        ),
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_separator_shows_in_the_first_line(tmp_path: Path, separator: str) -> None:
    text = f"id{separator}user_type{separator}active\nbob{separator}Students{separator}no\n"
    assert read(tmp_path, text) == [Recipient("bob", "Students", active=False)]


def test_json_lines(tmp_path: Path) -> None:
    rows = [
        {"id": 7, "user_type": "Students", "confirmed": True, "address": None},
        {"id": "b", "user_type": "Students", "attributes": {"n": 1}, "attributes.team": ["Blue"]},
    ]
    assert read(tmp_path, "\n\n".join(json.dumps(row) for row in rows)) == [
        Recipient("7", "Students", confirmed=True),
        Recipient("b", "Students", attributes={"n": 1, "team": ["Blue"]}),
    ]


def test_rows_of_nothing_are_passed_over(tmp_path: Path) -> None:
    assert read(tmp_path, "id,user_type\n,\n\nbob,Students\n,,,\n") == [Recipient("bob", "Students")]


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbfid,user_type\nbob,Students\n") == [Recipient("bob", "Students")]


def test_all_faults_of_all_lines(tmp_path: Path) -> None:
    text = (
        "id,user_type,address,confirmed,zone\n"
        "bob,Students,nobody,maybe,Mars/Olympus\n"
        "\n"
        ",Wizards,,,\n"
        '"long\nid",Students,,,\n'
        "dora,Students\n"
        "eve,Student,,,\n"
    )
    assert [(line, where) for line, where, _ in faults(tmp_path, text)] == [
        (2, "address"),
        (2, "confirmed"),
        (4, "id"),
        (5, "id"),
        (7, "line"),
        (8, "user_type"),
    ]
    assert '"Student": no such user type; did you mean Students?' in faults(tmp_path, text)[-1][2]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", (0, "", "has no recipients")),
        ("id,user_type\n", (0, "", "has no recipients")),
        ("name,user_type\nbob,Students\n", (1, "id", "there is no such column")),
        ("id,user_type,adress\nbob,Students,b@x.example\n", (1, "adress", "did you mean address?")),
        ("id,user_type,id\nbob,Students,b\n", (1, "id", "is named twice")),
        ('id,user_type\n"bob,Students\n', (2, "line", "is not a row of CSV")),
        ('id,user_type\n"bob"s,Students\n,Students\n', (2, "line", "is not a row of CSV")),
        ('{"id": "bob"}', (1, "user_type", "is missing")),
        ('{"id": ["bob"], "user_type": "Students"}', (1, "id", "is a list, expected a text")),
        ('{"id": true, "user_type": "Students"}', (1, "id", "is true, expected a text")),
        ('{"id": "bob", "user_type": "Students", "nick": "b"}', (1, "nick", "no such column")),
        ('{"id": "bob"\n', (1, "line", "is not JSON")),
        ('{"id": "b", "user_type": "Students"}\n[1]', (2, "line", "is a list, expected a JSON object")),
        ('{"id": "b", "user_type": "Students", "attributes": "{"}', (1, "attributes", "is not JSON")),
        ('{"id": "b", "user_type": "Students", "attributes": [1]}', (1, "attributes", "is not a JSON object")),
        ('{"id": "b", "user_type": "Students", "attributes": {"a": "\\u0000"}}', (1, "attributes", "storable")),
        ('{"id": "b", "user_type": "Students", "attributes.a": "\\ud800"}', (1, "attributes.a", "not UTF-8")),
        (b"id,user_type\nb\xff,Students\n", (2, "id", "bytes that are not UTF-8")),
        ("id,user_type\n" + "b" * 1001 + ",Students\n", (2, "id", "has 1,001 characters")),
        ("id,user_type,zone\nbob,Students,Moon\n", (2, "zone", "is no time zone; write an IANA name")),
    ],
)
def test_faults_say_where_and_what(tmp_path: Path, text: str | bytes, found: tuple[int, str, str]) -> None:
    line, where, what = faults(tmp_path, text)[0]
    assert (line, where) == found[:2]
    assert found[2] in what


def test_many_faults_are_a_number(tmp_path: Path) -> None:
    told = faults(tmp_path, "id,user_type\n" + "x,Wizards\n" * 1234)
    assert len(told) == FAULTS_SHOWN + 1
    assert told[-1][2] == f"and {1234 - FAULTS_SHOWN:,} more faults"


def test_a_file_that_changes_after_it_was_looked_through_is_refused(tmp_path: Path) -> None:
    listing = open_recipients(written(tmp_path, "id,user_type\nbob,Students\n"), KNOWN)
    written(tmp_path, "id,user_type\nbob,Wizards\n")
    with pytest.raises(FileFaults, match="Wizards"):
        list(listing)


def test_chunks(tmp_path: Path) -> None:
    text = "recipient,entity\n" + "".join(f"u{n},post:{n}\n" for n in range(5))
    listing = open_subscriptions(written(tmp_path, text))
    assert listing.rows == 5
    assert [len(chunk) for chunk in listing.chunks(2)] == [2, 2, 1]
    assert next(iter(listing)) == Subscription("u0", "post:0")


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file"):
        open_subscriptions(tmp_path / "gone")
    with pytest.raises(BadInput, match="Is a directory"):
        open_subscriptions(tmp_path)


def test_a_pipe_cannot_be_read_twice(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    keep_open = os.open(pipe, os.O_RDWR)
    with pytest.raises(BadInput, match="not of a pipe"):
        open_subscriptions(pipe)
    os.close(keep_open)


def test_one_address() -> None:
    check_address("bob@school.example")
    with pytest.raises(BadInput, match=r"address: .*expected local@domain"):
        check_address("bob")


names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(st.tuples(names, names), min_size=1, max_size=8))
def test_what_is_written_is_read_again(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    file = io.StringIO()
    csv.writer(file).writerows([("recipient", "entity"), *pairs])
    as_csv = list(open_subscriptions(written(tmp_path, file.getvalue())))
    as_json = "\n".join(json.dumps({"recipient": one, "entity": other}) for one, other in pairs)
    assert as_csv == list(open_subscriptions(written(tmp_path, as_json))) == [Subscription(*pair) for pair in pairs]


cells: st.SearchStrategy[Any] = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=10), st.just([]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@example(b'"')
@example(b",,\n,,")
@given(
    st.binary(max_size=200)
    | st.dictionaries(st.sampled_from(["id", "user_type", "zone", "active", "x"]), cells).map(
        lambda row: json.dumps(row).encode()
    )
)
def test_whatever_is_in_a_file_it_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    try:
        people = read(tmp_path, content)
    except FileFaults as refused:
        assert refused.faults
        return
    assert people
    assert all(person.user_type in KNOWN.user_types for person in people)
