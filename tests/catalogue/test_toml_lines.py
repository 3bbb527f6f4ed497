"""Every key of a TOML file has a line, and it is the right one, however the file is written."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hark.catalogue.toml_lines import Document, KeyPath, NotToml, read_file, read_toml

HARD = '''\
# a comment with = and [brackets]
top = "a # no comment" # one
"quoted.key"."and \\u00e9" . bare = 1
[ table . "sub table" ] # why not
list = [ # opens
  1, [2, 3],
  { x = "}", y.z = "]" },
  """many
lines""", 4,
]
text = """
[not.a.table]
key = 1 \\""" still \\\\"""""
literal = \'\'\'
a = b\'\'\'\'
after = 1979-05-27 07:32:00
[[fruit]]
name = "apple"
[[fruit.variety]]
name = "red"
[[fruit.variety]]
name = "green"
[[fruit]]
name = "pear"
[fruit.shape]
round = false
'''


def read(text: str) -> Document:
    return read_toml(text.encode())


def fault(content: bytes) -> tuple[int, str, str]:
    with pytest.raises(NotToml) as caught:
        read_toml(content)
    found = caught.value.fault
    return found.line, found.where, found.what


def paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from paths(each, (*path, key))
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from paths(each, (*path, index))


class TestLines:
    @pytest.mark.parametrize(
        ("path", "line"),
        [
            (("top",), 2),
            (("quoted.key",), 3),
            (("quoted.key", "and é", "bare"), 3),
            (("table",), 4),
            (("table", "sub table"), 4),
            (("table", "sub table", "list"), 5),
            (("table", "sub table", "list", 0), 6),
            (("table", "sub table", "list", 1, 1), 6),
            (("table", "sub table", "list", 2, "x"), 7),
            (("table", "sub table", "list", 2, "y", "z"), 7),
            (("table", "sub table", "list", 3), 8),
            (("table", "sub table", "list", 4), 9),
            (("table", "sub table", "text"), 11),
            (("table", "sub table", "literal"), 14),
            (("table", "sub table", "after"), 16),
            (("fruit", 0, "name"), 18),
            (("fruit", 0, "variety", 0, "name"), 20),
            (("fruit", 0, "variety", 1, "name"), 22),
            (("fruit", 1, "name"), 24),
            (("fruit", 1, "shape"), 25),
            (("fruit", 1, "shape", "round"), 26),
        ],
    )
    def test_of_keys_in_every_way_that_toml_has(self, path: KeyPath, line: int) -> None:
        assert read(HARD).line_of(path) == line

    def test_none_is_left_out_and_none_is_made_up(self) -> None:
        assert set(read(HARD).lines) == set(paths(tomllib.loads(HARD)))

    def test_are_the_same_with_windows_line_ends_and_a_byte_order_mark(self) -> None:
        windows = b"\xef\xbb\xbf" + HARD.replace("\n", "\r\n").encode()
        assert read_toml(windows).lines == read(HARD).lines

    def test_of_what_is_missing_are_those_of_what_would_hold_it(self) -> None:
        document = read(HARD)
        assert document.line_of(("table", "sub table", "nothing", "here")) == 4
        assert document.line_of(("nothing",)) == 0

    @given(st.text(max_size=20), st.integers(0, 5), st.booleans())
    def test_no_text_is_taken_for_keys(self, text: str, blank: int, multiline: bool) -> None:
        escaped = json.dumps(text).replace("\x7f", "\\u007f").encode("ascii").decode()
        if any("\ud800" <= each <= "\udfff" or each > "\uffff" for each in text):
            return
        quotes = '""' if multiline else ""
        document = read("\n" * blank + f"a = {quotes}{escaped}{quotes}\nb = [{escaped}, 'x']\n[c]\n{escaped}.d = 1")
        assert document.values["a"] == text
        assert [document.line_of(path) for path in (("a",), ("b", 1), ("c", text, "d"))] == [
            blank + 1,
            blank + 2,
            blank + 4,
        ]
        assert set(document.lines) == set(paths(document.values))

    @given(st.data())
    def test_of_a_file_with_any_bit_cut_out_are_still_of_all_its_keys(self, data: st.DataObject) -> None:
        start = data.draw(st.integers(0, len(HARD)))
        end = data.draw(st.integers(start, len(HARD)))
        text = HARD[:start] + data.draw(st.sampled_from(["", "\n", "x", '"', "[", "=", "'", "]", "#"])) + HARD[end:]
        try:
            document = read(text)
        except NotToml:
            return
        assert set(document.lines) == set(paths(document.values))
        assert all(1 <= line <= text.count("\n") + 1 for line in document.lines.values())


class TestWhatIsNoToml:
    @pytest.mark.parametrize(
        ("content", "line", "what"),
        [
            (b"a = 1\nb = \n", 2, "Invalid value, at column 5"),
            (b"a = 1\n\nb = [1,\n", 3, "Invalid value, at the end of the file"),
            (b'a = 1\nb = "x', 2, "Unterminated string, at the end of the file"),
            (b"[a]\n\n[a]\n", 3, "Cannot declare ('a',) twice, at column 3"),
            (b"a = 1\r\na = 2\r\n", 2, "Cannot overwrite a value, at column 6"),
            (b"x = 08:00\n", 1, "Expected newline or end of document after a statement, at column 6"),
        ],
    )
    def test_is_one_fault_with_its_line(self, content: bytes, line: int, what: str) -> None:
        assert fault(content) == (line, "syntax", what)

    def test_other_encodings_are_named_with_the_line(self) -> None:
        assert fault("a = 1\nb = 'é'".encode("latin-1")) == (2, "file", "is not UTF-8 text; save it as UTF-8")
        assert fault("a = 1".encode("utf-16"))[0] == 1

    def test_what_would_exhaust_the_reader_is_refused(self) -> None:
        assert fault(b"a = " + b"[" * 100_000)[2] == "is nested too deeply to be read"
        assert fault(b"a = " + b"9" * 5_000)[2] == "has a number of more digits than can be read"

    def test_the_fault_of_a_control_character_does_not_print_it(self) -> None:
        assert fault(b'a = "\x1b[31m"')[2].isprintable()

    @pytest.mark.parametrize("name", ["missing.toml", ".", "nul\0.toml"])
    def test_a_file_that_cannot_be_read_is_a_fault_of_the_whole(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(NotToml, match="cannot be read: ") as caught:
            read_file(tmp_path / name)
        assert caught.value.fault.line == 0
