"""Every line of a file ends as an id, as bad or as blank, whatever bytes it has."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hark.errors import FileFaults
from hark.lists import File, Format, parquet
from hark.lists.lines import LONGEST_LINE
from hark.lists.rows import Chunk, chunks
from hark.lists.text import texts


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def read(data: bytes, kind: Format | None = None, column: str | None = None, size: int = 7) -> list[Chunk]:
    return list(chunks(File("people", kind, column), "people", texts("people", cut(data, size))))


def ids(data: bytes, kind: Format | None = None, column: str | None = None, size: int = 7) -> dict[int, str]:
    read_ones = read(data, kind, column, size)
    assert all(not chunk.bad for chunk in read_ones), read_ones
    return {line: name for chunk in read_ones for line, name in zip(chunk.lines, chunk.ids, strict=True)}


def bad(data: bytes, kind: Format | None = None, column: str | None = None, size: int = 7) -> dict[int, str]:
    return {each.line: each.what for chunk in read(data, kind, column, size) for each in chunk.bad}


def refusal(data: bytes, kind: Format | None = None, column: str | None = None) -> str:
    with pytest.raises(FileFaults) as refused:
        read(data, kind, column)
    return str(refused.value)


class TestLines:
    def test_each_is_an_id_exactly_as_it_stands(self) -> None:
        assert ids(b"bob\ncy\n d e \n") == {1: "bob", 2: "cy", 3: " d e "}

    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
    @pytest.mark.parametrize("size", [1, 2, 3, 100])
    def test_end_as_any_system_ends_them(self, end: bytes, size: int) -> None:
        assert ids(end.join([b"bob", b"", b"cy"]), size=size) == {1: "bob", 3: "cy"}

    def test_may_be_none(self) -> None:
        assert read(b"") == read(b"", Format.CSV) == []
        assert ids(b"\n\n\n") == {}

    def test_may_begin_with_blank_ones(self) -> None:
        found = read(b"\n" * 20 + b"bob")
        assert sum(chunk.blank for chunk in found) == 20
        assert ids(b"\n" * 20 + b"bob") == {21: "bob"}
        assert ids(b"\n" * 20 + b"id\nbob") == {22: "bob"}

    def test_that_name_nobody_are_bad_and_the_others_are_not(self) -> None:
        data = b"bob\na\x00b\nc\td\n\xff\xfe\n" + b"x" * 256 + b"\n" + b"y" * 255 + b"\n"
        found = read(data, Format.LINES, size=1000)
        assert [each.what for chunk in found for each in chunk.bad] == [
            "has a NUL character",
            "has a control character",
            "has bytes that are no text; save the file as UTF-8",
            "is longer than 255 characters",
        ]
        assert [name for chunk in found for name in chunk.ids] == ["bob", "y" * 255]

    def test_without_end_are_not_held_in_memory(self) -> None:
        found = list(chunks(File("f"), "f", iter(["a" * LONGEST_LINE] * 50 + ["\nbob"])))
        assert [name for chunk in found for name in chunk.ids] == ["bob"]
        assert [each.what for chunk in found for each in chunk.bad] == ["is longer than 255 characters"]
        assert all(len(each.text) < 100 for chunk in found for each in chunk.bad)


class TestTables:
    @pytest.mark.parametrize("separator", [b",", b";", b"\t"])
    def test_have_their_ids_in_the_column_id(self, separator: bytes) -> None:
        data = b"name,id,x\nBob,bob,\nCy,cy,1\n".replace(b",", separator)
        assert ids(data) == ids(data, size=1000) == {2: "bob", 3: "cy"}

    def test_or_in_any_other_by_name(self) -> None:
        assert ids(b"id,user_id\n1,bob\n", column="user_id") == {2: "bob"}
        assert ids(b"ID,x\nbob,1\n") == {2: "bob"}

    def test_of_one_column_are_known_by_their_first_line(self) -> None:
        assert ids(b"id\nbob\n") == {2: "bob"}
        assert ids(b"bob\nid\n") == {1: "bob", 2: "id"}
        assert ids(b"id\nbob\n", Format.LINES) == {1: "id", 2: "bob"}

    @pytest.mark.parametrize("size", [3, 1000])
    def test_may_be_quoted(self, size: int) -> None:
        data = b'"id","name"\n"bob","a ""b"", c"\n"c,y","two\nlines"\ndi,"x"\n'
        assert ids(data, size=size) == {2: "bob", 3: "c,y", 5: "di"}

    def test_a_row_may_go_on_over_many_blocks(self) -> None:
        data = b'id,note\nbob,"' + b"line\n" * 90 + b'"\ncy,"x"\ndi,y\n'
        assert ids(data, size=11) == {2: "bob", 93: "cy", 94: "di"}

    @pytest.mark.parametrize("size", [5, 1000])
    def test_a_quotation_mark_left_open_swallows_nobody(self, size: int) -> None:
        data = b'id,note\nbob,"oops\n' + b"cy,x\n" * 300
        found = read(data, size=size)
        assert {each.line: each.what for chunk in found for each in chunk.bad} == {
            2: "is not a row of CSV: unexpected end of data"
        }
        assert sum(len(chunk.ids) for chunk in found) == 300

    def test_bad_rows_are_told_with_their_lines(self) -> None:
        assert bad(b'id,x\nbob,1,2\nbob\n,1\n"a"b,c\n"cy",1\n', size=1000) == {
            2: "has 3 cells, and the first line names 2 columns",
            3: "has 1 cells, and the first line names 2 columns",
            4: "has no id",
            5: "is not a row of CSV: ',' expected after '\"'",
        }

    def test_empty_rows_are_blank(self) -> None:
        assert sum(chunk.blank for chunk in read(b"id,x\n,\n\nbob,1\n")) == 2

    @pytest.mark.parametrize("size", [1, 5, 1000])
    @pytest.mark.parametrize("first", [b"sep=;\r\n", b'"SEP=;"\n', b"\nsep=;\n\n"])
    def test_may_say_first_what_separates_their_cells(self, first: bytes, size: int) -> None:
        found = read(first + b"a,b;id\nx,y;bob\n;cy\n", size=size)
        assert [name for chunk in found for name in chunk.ids] == ["bob", "cy"]
        end = len((first + b"a,b;id\nx,y;bob\n;cy").splitlines())
        assert [line for chunk in found for line in chunk.lines] == [end - 1, end]
        assert read(first) == [] or sum(chunk.blank for chunk in read(first)) == len(first.splitlines())

    def test_what_says_so_may_be_an_id_where_lines_are_asked_for(self) -> None:
        assert ids(b"sep=;\nbob\n", Format.LINES) == {1: "sep=;", 2: "bob"}

    def test_without_their_column_are_refused(self) -> None:
        assert 'people:1  columns  "id": no such column; did you mean ids?' in refusal(b"ids,name\nbob,Bob\n")
        assert 'people:3  columns  "user": no such column; there is bob' in refusal(b"\n\nbob\n", column="user")
        assert '"id": no such column; there is bob' in refusal(b"bob\n", Format.CSV)
        assert "names column id 2 times" in refusal(b"id,id\n1,2\n")


class TestEncodings:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    @pytest.mark.parametrize("size", [1, 2, 3, 1000])
    def test_are_known_by_their_mark(self, encoding: str, size: int) -> None:
        assert ids("id,x\nZoë,1\n名,2\n".encode(encoding), size=size) == {2: "Zoë", 3: "名"}

    def test_big_endian_too(self) -> None:
        assert ids(b"\xfe\xff" + "bob\ncy".encode("utf-16-be")) == {1: "bob", 2: "cy"}

    def test_that_cannot_be_read_are_refused(self) -> None:
        assert "looks like UTF-16 without a byte order mark" in refusal("bob\ncy\n".encode("utf-16-le"))
        assert "is UTF-32; save it as UTF-8" in refusal("bob".encode("utf-32"))
        assert "is a ZIP archive or an Excel file" in refusal(b"PK\x03\x04whatever")
        assert "is packed with zstd" in refusal(b"\x28\xb5\x2f\xfdwhatever")

    def test_half_a_character_of_utf_16_is_bad(self) -> None:
        assert list(bad("bob\nc".encode("utf-16") + b"\x00")) == [2]


class TestGzip:
    @pytest.mark.parametrize("size", [1, 7, 1000])
    def test_is_unpacked_all_its_members(self, size: int) -> None:
        packed = gzip.compress(b"id\nbo") + gzip.compress(b"b\n") + gzip.compress(b"") + gzip.compress(b"cy\n")
        assert ids(packed, size=size) == ids(packed + b"\x00" * 20, size=size) == {2: "bob", 3: "cy"}

    def test_of_much_from_little_comes_in_pieces(self) -> None:
        packed = gzip.compress(b"id\n" + b"bob\n" * 2_000_000)
        sizes = [len(chunk.ids) for chunk in read(packed, size=1 << 18)]
        assert sum(sizes) == 2_000_000 and max(sizes) < 100_000

    @pytest.mark.parametrize("keep", [1, 5, 11, -9, -8, -1])
    def test_that_was_cut_off_is_refused(self, keep: int) -> None:
        packed = gzip.compress(b"id\n" + bytes(range(33, 90)) * 5)
        if keep > 1:
            assert "is not whole" in refusal(packed[:keep])
        if keep < 0:
            assert "is not whole" in refusal(packed[:keep])
            assert "is not whole" in refusal(gzip.compress(b"bob\n") + packed[:keep])

    def test_that_is_broken_is_refused(self) -> None:
        packed = bytearray(gzip.compress(b"id\nbob\n"))
        packed[-5] ^= 1
        assert "its gzip data is broken" in refusal(bytes(packed))
        assert "its gzip data is broken" in refusal(gzip.compress(b"bob\n") + b"garbage")
        assert "is packed with gzip twice" in refusal(gzip.compress(gzip.compress(b"bob")))


class TestParquet:
    def table(self, **columns: pa.Array) -> bytes:
        whole = io.BytesIO()
        pq.write_table(pa.table(columns), whole, row_group_size=2)
        return whole.getvalue()

    def read(self, data: bytes, column: str | None = None) -> list[Chunk]:
        return list(parquet.chunks(File("p", Format.PARQUET, column), "p", cut(data, 50)))

    @pytest.mark.parametrize(
        "column",
        [
            pa.array(["7", None, "", "cy"]),
            pa.array(["7", None, "", "cy"]).dictionary_encode(),
            pa.array(["7", None, "", "cy"], pa.large_string()),
        ],
        ids=["text", "dictionary", "large"],
    )
    def test_texts(self, column: pa.Array) -> None:
        found = self.read(self.table(x=pa.array([1, 2, 3, 4]), user=column), "user")
        named = [pair for chunk in found for pair in zip(chunk.lines, chunk.ids, strict=True)]
        assert named == [(1, "7"), (4, "cy")]
        assert [(each.line, each.what) for chunk in found for each in chunk.bad] == [(2, "has no id"), (3, "has no id")]

    def test_whole_numbers(self) -> None:
        [chunk] = self.read(self.table(id=pa.array([7, 2**60])))
        assert list(chunk.ids) == ["7", str(2**60)]

    def test_what_cannot_hold_ids_is_refused(self) -> None:
        with pytest.raises(FileFaults, match="column id holds double, expected texts or whole numbers"):
            self.read(self.table(id=pa.array([1.5])))
        with pytest.raises(FileFaults, match='"id": no such column; did you mean ids'):
            self.read(self.table(ids=pa.array(["a"])))
        for data in (b"PAR1nonsense", b"", self.table(id=pa.array(["a"]))[:-20]):
            with pytest.raises(FileFaults, match="is no Parquet file that can be read"):
                self.read(data)


# Any bytes ------------------------------------------------------------------------------------------------------------

ODD = st.lists(
    st.sampled_from(
        [b'"', b",", b"\n", b"\r\n", b"\r", b"\x00", b"\xff", b"id", b"bob", b"\t", b";", b"\xc3\xa9", b"\\"]
    ),
    max_size=60,
).map(b"".join)


@given(st.binary(max_size=300) | ODD, st.sampled_from([*Format, None]), st.integers(1, 40))
@example(b'id,x\n"', Format.CSV, 3)
@example(b"\x1f\x8b", None, 1)
def test_whatever_comes_is_read_or_refused(data: bytes, kind: Format | None, size: int) -> None:
    try:
        found = read(data, Format.CSV if kind is Format.PARQUET else kind, size=size)
    except FileFaults:
        return
    for chunk in found:
        assert len(chunk.lines) == len(chunk.ids)
        for name in chunk.ids:
            assert 1 <= len(name) <= 255 and "\x00" not in name and "\n" not in name and name.encode()


@given(ODD, st.integers(1, 40))
def test_no_line_is_dropped(data: bytes, size: int) -> None:
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    lines = lines[:-1] if lines[-1] == b"" else lines
    try:
        found = read(data, Format.LINES, size=size)
    except FileFaults:
        return
    assert sum(chunk.rows for chunk in found) == len(lines)
    numbers = [n for chunk in found for n in [*chunk.lines, *(each.line for each in chunk.bad)]]
    assert sorted(numbers) == [number for number, line in enumerate(lines, 1) if line]


@given(
    st.lists(
        st.lists(st.text(st.characters(codec="ascii", categories=["L", "P", "Zs"]), max_size=5), min_size=2, max_size=2)
    ),
    st.integers(1, 60),
)
def test_tables_are_read_however_they_are_cut(rows: list[list[str]], size: int) -> None:
    import csv

    written = io.StringIO()
    csv.writer(written).writerows([["id", "note"], *rows])
    found = read(written.getvalue().encode(), Format.CSV, size=size)
    assert [name for chunk in found for name in chunk.ids] == [row[0] for row in rows if row[0]]
    assert sum(chunk.blank for chunk in found) == sum(1 for row in rows if not any(row))
    assert sum(len(chunk.bad) for chunk in found) == sum(1 for row in rows if not row[0] and row[1])


PARTS = st.sampled_from([b"a", b"bob", b",", b"\n", b"\n\n", b'"', b'""', b"\xc3\xa9", b"\t", b"a,b\n", b'"a",b\n'])
HEADERS = st.sampled_from([b"id\n", b"id,x\n", b"x,id\n", b"a,id,b\n"])


@given(
    st.lists(PARTS, max_size=60).map(b"".join),
    st.sampled_from([b"id\n", b"id,x\n", b"x,id\n", b"a,id,b\n"]),
    st.integers(1, 30),
)
def test_however_a_table_is_cut_the_same_comes_of_it(data: bytes, header: bytes, size: int) -> None:
    def all_of(cut_at: int) -> tuple[list[tuple[int, str]], list[tuple[int, str]], int]:
        found = read(header + data, Format.CSV, size=cut_at)
        named = [pair for chunk in found for pair in zip(chunk.lines, chunk.ids, strict=True)]
        bad_ones = [(each.line, each.what) for chunk in found for each in chunk.bad]
        return named, bad_ones, sum(chunk.blank for chunk in found)

    assert all_of(size) == all_of(10_000)


@given(st.binary(max_size=200), st.integers(0, 220))
def test_gzip_that_was_damaged_never_gives_other_text(data: bytes, place: int) -> None:
    packed = bytearray(gzip.compress(data, mtime=0))
    at = place % (len(packed) - 10) + 10
    packed[at] ^= 0x55
    try:
        text = "".join(texts("f", iter([bytes(packed)])))
    except FileFaults:
        return
    assert zlib.crc32(text.encode("utf-8", "surrogateescape")) == zlib.crc32(data) or data[:2] in (
        b"\xff\xfe",
        b"\xfe\xff",
    )
