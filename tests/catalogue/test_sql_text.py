"""Whether a query can stand inside of a larger statement, seen without a database, and against what Postgres says."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hark.catalogue.sql_text import sql_faults

QUIET = [
    *("'it''s; ('", "E'a\\'; ('", '"odd ; "" name ("', "$$ ; ( $$", "$x$ $$ ; ' $x$", "$é$;$é$"),
    *(
        "-- ; ' ( \n",
        "/* ; ' ( */",
        "/* a /* ; */ ( */",
        "a$b$c",
        "t.x",
        "1.5",
        "->>",
        "(1)",
        "(a, (b))",
        "\n",
        "e",
        "::",
    ),
]
"""Pieces of a query in which nothing ends it, however odd they look."""
LOUD = {
    ";": "has a semicolon; it is part of a larger statement, so leave the semicolon out",
    ")": "a ) closes nothing",
    "(": "a ( is opened here and never closed",
    "'x": "a ' is opened here and never closed",
    "E'x\\'": "a E' is opened here and never closed",
    '"x': 'a " is opened here and never closed',
    "/* /* */": "a /* is opened here and never closed",
    "$a$ $$": "a $a$ is opened here and never closed",
    "$1": "$1 is a parameter, and a query is given none; it reads the table that it is asked by",
}

quiet = st.lists(st.sampled_from(QUIET), max_size=8).map(" ".join)


@given(quiet)
def test_signs_in_texts_names_and_comments_end_nothing(inside: str) -> None:
    assert sql_faults(f"select {inside}\n") == []


@given(quiet, st.sampled_from(sorted(LOUD)))
def test_what_ends_a_query_early_is_found_with_its_line(before: str, loud: str) -> None:
    found = sql_faults(f"select {before}\n{loud}")
    line = before.count("\n") + 2
    assert (line, LOUD[loud]) in found


@pytest.mark.parametrize(
    ("sql", "fault"),
    [
        ("", "has no query in it; write one select"),
        (" \n -- select\n /* select */ ", "has no query in it; write one select"),
        ("insert into x values (1)", "is no query; begin with select or with"),
        ("/* x */ (select 1)", "is no query; begin with select or with"),
        ("'select'", "is no query; begin with select or with"),
        ("select 1\0", "has a zero byte; is it a query?"),
        ("select 1;", "has a semicolon; it is part of a larger statement, so leave the semicolon out"),
    ],
)
def test_what_is_no_query_is_refused(sql: str, fault: str) -> None:
    assert [what for _, what in sql_faults(sql)] == [fault]


@pytest.mark.parametrize("sql", ["SELECT 1", "With x as (select 1) select * from x", "-- why\nselect 1", "select/**/1"])
def test_a_query_may_begin_with_a_comment_and_in_any_case(sql: str) -> None:
    assert sql_faults(sql) == []


@pytest.fixture(scope="module")
def somewhere(postgres: object, template: str) -> str:
    return postgres.dsn(postgres.create_database(template))  # type: ignore[attr-defined]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            ["'", '"', "$$", "$a$", "/*", "*/", "--", "\n", ";", "(", ")", "E'", "\\", "1", " ", "x", "''", "$", "'a'"]
        ),
        max_size=10,
    ).map("".join)
)
def test_what_is_let_through_is_one_part_to_postgres_too(somewhere: str, text: str) -> None:
    """Wrapped as Hark wraps it, with another part behind it: what the other part says must come out of it."""
    if sql_faults(f"select {text}"):
        return
    with psycopg.connect(somewhere, autocommit=True) as connection:
        try:
            rows = connection.execute(
                f"with own as (\nselect {text}\n), ours as (select 'ours' as said) select said from ours".encode()
            ).fetchall()
        except psycopg.Error as error:
            assert error.sqlstate is not None
            assert "unterminated" not in str(error)
            return
    assert rows == [("ours",)]
