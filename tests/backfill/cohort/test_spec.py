"""Which users, in words, in JSON and in variables: read whole, or refused with all that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hark.backfill.cohort import (
    Cohort,
    CohortWords,
    Difference,
    Everyone,
    File,
    Format,
    Ids,
    Segment,
    Union,
    cohort_from_json,
    cohort_of,
)
from hark.backfill.cohort.spec import Who
from hark.errors import BadInput

NAMES = st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=8)
LEAVES = (
    st.just(Everyone())
    | st.builds(Ids, st.lists(NAMES, max_size=3).map(tuple))
    | st.builds(File, NAMES, st.sampled_from([*Format, None]), NAMES | st.none())
    | st.builds(Segment, NAMES)
)
TREES: st.SearchStrategy[Who] = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(Union, st.lists(inner, min_size=1, max_size=3).map(tuple)) | st.builds(Difference, inner, inner)
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(["all", "ids", "file", "segment", "union", "difference", "format", "column"])
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def refused(value: object) -> list[str]:
    with pytest.raises(BadInput) as caught:
        cohort_from_json(value)
    return str(caught.value).splitlines()


def words_refused(**words: object) -> list[str]:
    with pytest.raises(BadInput) as caught:
        cohort_of(CohortWords(**words))  # type: ignore[arg-type]
    return str(caught.value).splitlines()


def variables_refused(**variables: str) -> list[str]:
    with pytest.raises(BadInput) as caught:
        cohort_of(CohortWords(), variables)
    return str(caught.value).splitlines()


def of(variables: dict[str, str], **words: object) -> Cohort:
    return cohort_of(CohortWords(**words), variables)  # type: ignore[arg-type]


def here(name: str) -> str:
    return str(Path.cwd() / name)


class TestJson:
    @given(TREES)
    def test_there_and_back(self, who: Who) -> None:
        cohort = Cohort(who)
        assert cohort_from_json(json.loads(json.dumps(cohort.as_json()))) == cohort

    def test_numbers_are_ids_too(self) -> None:
        assert cohort_from_json({"ids": [7, "bob"]}) == Cohort(Ids(("7", "bob")))

    def test_all_faults_at_once_each_with_its_place(self) -> None:
        value = {"union": [{"ids": ["", True]}, {"file": "", "format": "xml"}, {"segmnt": "x"}, {"all": False}, 5]}
        assert refused(value) == [
            'cohort.union[0].ids[0]: "" has no id',
            "cohort.union[0].ids[1]: true is not a text",
            'cohort.union[1].file: is "", expected a printable text',
            'cohort.union[1].file.format: "xml": no such format; there is csv, lines, parquet',
            "cohort.union[2]: says nothing of whom;"
            " expected one of all, buyers, ids, file, segment, flag, union, difference",
            "cohort.union[3].all: is false, expected true",
            'cohort.union[4]: is 5, expected an object such as {"ids": ["bob"]}, {"file": "s3://bucket/key"},'
            ' {"segment": "beta"}, {"flag": "live"} or {"all": true}',
        ]

    def test_what_is_not_understood_is_not_passed_over(self) -> None:
        assert refused({"file": "f", "colum": "x"}) == ['cohort: "colum": no such key; did you mean column?']
        assert refused({"all": True, "ids": ["bob"]})[0].startswith("cohort: says all and ids; expected one of")

    def test_too_much(self) -> None:
        deep: object = {"all": True}
        for _ in range(9):
            deep = {"union": [deep]}
        assert "is nested deeper than 8 levels" in refused(deep)[0]
        wide = {"union": [{"union": [{"segment": "x"}] * 30}] * 2}
        assert refused(wide) == ["cohort: has more than 32 parts; put several of its lists into one file"]
        assert "names 100,001 users, at most 100,000" in refused({"ids": ["x"] * 100_001})[0]

    @given(ANY_JSON)
    def test_whatever_comes_is_read_or_refused(self, value: object) -> None:
        try:
            assert cohort_from_json(value)
        except BadInput as refusal:
            assert str(refusal).startswith("cohort")


class TestWords:
    def test_one_part_is_itself(self) -> None:
        assert cohort_of(CohortWords(everyone=True)) == Cohort(Everyone())
        assert cohort_of(CohortWords(ids=["a, b", "c"])) == Cohort(Ids(("a", "b", "c")))
        assert cohort_of(CohortWords(files=["p.csv"], column="user", format="csv")) == Cohort(
            File(here("p.csv"), Format.CSV, "user")
        )

    def test_several_are_their_union_without_what_is_excepted(self) -> None:
        given = cohort_of(
            CohortWords(ids=["a"], urls=["s3://b/k"], segments=["beta"], except_files=["no.txt"], except_ids=["z"])
        )
        assert given == Cohort(
            Difference(
                Union((Ids(("a",)), File("s3://b/k"), Segment("beta"))), Union((Ids(("z",)), File(here("no.txt"))))
            )
        )
        assert str(given) == "1 named user and s3://b/k and segment beta, except 1 named user and " + here("no.txt")

    def test_nobody_named_is_not_everybody(self) -> None:
        told = [
            "say whose: --ids a,b, --file people.csv, --from s3://bucket/key, --segment NAME, --flag NAME, or --all"
        ]
        assert words_refused() == words_refused(except_ids=["bob"]) == told
        assert words_refused(ids=[" , "]) == ["--ids: names nobody; write --ids a,b"]

    def test_all_faults_at_once(self) -> None:
        assert words_refused(
            everyone=True, ids=["a\x00"], files=[""], urls=["people.csv"], format="excel", except_segments=["\n"]
        ) == [
            "--all is everybody already; leave it out, or leave out --ids, --file, --from, --segment and --flag",
            '--format: "excel": no such format; there is csv, lines, parquet',
            '--ids: "a\\u0000" has a NUL character',
            '--file: "" is not the path of a file',
            '--except-segment: "\\n" is not the name of a segment',
            '--from: "people.csv" is not a URL; write s3://bucket/key, or --file for a path of this machine',
        ]

    @pytest.mark.parametrize("option", ["column", "format"])
    def test_how_a_file_is_read_says_that_one_was_forgotten(self, option: str) -> None:
        told = f"--{option}: no file is read; name one with --file or --from, or leave --{option} out"
        for words in ({"everyone": True}, {"ids": ["bob"]}, {"segments": ["beta"], "except_ids": ["bob"]}):
            assert words_refused(**words, **{option: "csv"}) == [told]
        assert words_refused(**{option: "csv"})[1:] == [told]
        with pytest.raises(BadInput, match="no file is read"):
            of({"USER_IDS": "bob"}, **{option: "csv"})

    def test_lines_have_no_columns(self) -> None:
        assert words_refused(files=["x"], format="lines", column="id") == [
            "--column: lines have no columns; leave it out, or write --format csv"
        ]


class TestVariables:
    def test_of_the_old_task(self) -> None:
        assert variables_refused(HOME="/") == words_refused()
        assert variables_refused(USE_BUCKET_CSV="false") == words_refused()
        assert of({"USER_IDS": "1,2"}) == Cohort(Ids(("1", "2")))
        assert of({"CSV_PATH": "p.csv", "USE_BUCKET_CSV": ""}) == Cohort(File(here("p.csv")))
        both = Union((Ids(("1",)), File(here("p.csv"))))
        assert of({"CSV_PATH": "p.csv", "USER_IDS": "1"}) == Cohort(both)

    def test_of_its_bucket(self) -> None:
        bucket = {"GOOGLE_CLOUD_STORAGE_BUCKET": "b", "GOOGLE_CLOUD_STORAGE_PATH": "/x/p.csv", "CSV_PATH": "/l.csv"}
        assert of({**bucket, "USE_BUCKET_CSV": "TRUE"}) == Cohort(File("gs://b/x/p.csv"))
        assert of(bucket) == Cohort(File("/l.csv"))

    def test_are_read_as_the_options_say_and_leave_out_whom_they_say(self) -> None:
        assert of({"CSV_PATH": "/p.csv"}, column="user", format="csv") == Cohort(File("/p.csv", Format.CSV, "user"))
        assert of({"USER_IDS": "a,b"}, except_ids=["a"]) == Cohort(Difference(Ids(("a", "b")), Ids(("a",))))
        assert of({"USER_IDS": "a"}, segments=["beta"]) == Cohort(Union((Ids(("a",)), Segment("beta"))))

    def test_give_way_to_the_options_of_the_same(self) -> None:
        given = {"USER_IDS": "a", "CSV_PATH": "/p.csv", "USE_BUCKET_CSV": "maybe"}
        assert of(given, ids=["b"], files=["/q.csv"]) == Cohort(Union((Ids(("b",)), File("/q.csv"))))
        assert of(given, urls=["s3://b/k"]) == Cohort(Union((Ids(("a",)), File("s3://b/k"))))

    def test_and_everybody_contradict_each_other(self) -> None:
        with pytest.raises(BadInput, match=r"--all is everybody already; .*unset USER_IDS, CSV_PATH"):
            of({"USER_IDS": "a"}, everyone=True)

    def test_set_to_nothing_is_not_everybody(self) -> None:
        assert variables_refused(USER_IDS="", CSV_PATH=" ", USE_BUCKET_CSV="maybe") == [
            'USE_BUCKET_CSV: "maybe" is neither true nor false; write true or false',
            "USER_IDS is set to nothing; name somebody, or unset it",
            "CSV_PATH is set to nothing; name somebody, or unset it",
        ]
        assert variables_refused(USER_IDS=",") == ["USER_IDS: names nobody; write USER_IDS a,b"]

    def test_that_are_missing(self) -> None:
        assert variables_refused(USE_BUCKET_CSV="true", GOOGLE_CLOUD_STORAGE_PATH="x") == [
            "USE_BUCKET_CSV is true, but GOOGLE_CLOUD_STORAGE_BUCKET is not set"
        ]

    @pytest.mark.parametrize(
        "given",
        [
            {"USE_BUCKET_CSV": "true", "GOOGLE_CLOUD_STORAGE_BUCKET": "b"},
            {"USE_BUCKET_CSV": "maybe", "CSV_PATH": "/p.csv"},
            {"USE_BUCKET_CSV": "maybe"},
        ],
    )
    def test_a_file_that_they_mean_and_that_is_not_found_is_no_reason_to_leave_its_column_out(
        self, given: dict[str, str]
    ) -> None:
        with pytest.raises(BadInput, match=r"^USE_BUCKET_CSV[^\n]*$"):
            of(given, column="user_id", format="csv")
        with pytest.raises(BadInput, match="--column: no file is read"):
            of({"USER_IDS": "", "USE_BUCKET_CSV": "no"}, column="user_id")
