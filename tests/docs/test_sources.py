"""The queries of the how-tos are queries that Postgres accepts, written as feeds and rechecks are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hark.catalogue import Feed, SqlSource
from hark.catalogue.sql_text import sql_faults
from hark.doors.product_sources import query_faults
from hark.postgres.database import open_database
from tests.world import catalogue, reason

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "how-to"
SHOP = """
create schema shop;
create table shop.follows (user_id text, board_id int);
create table shop.post (id int, board_id int, score real, created_at timestamptz, author text, title text);
create table shop.comment (id int, deleted_at timestamptz, edited_at timestamptz, text text);
create table shop.block (blocker text, blocked text);
"""


def blocks(page: str) -> list[str]:
    return re.findall(r"^```sql\n(.*?)^```$", (FOLDER / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def query(page: str) -> SqlSource:
    (only,) = [block for block in blocks(page) if block.startswith("-- ")]
    assert sql_faults(only) == []
    return SqlSource(only, page)


@pytest.mark.parametrize("page", ["feeds.md", "recheck.md"])
async def test_a_query_of_the_how_to_can_be_asked(page: str, database: str) -> None:
    source = query(page)
    asked = reason("x", feed=Feed(source)) if page == "feeds.md" else reason("x", recheck=source)
    async with open_database(database, size=1) as opened:
        async with opened.connection() as connection:
            await connection.execute(SHOP.encode())
            (columns,) = [block for block in blocks("feeds.md") if block.startswith("alter")]
            await connection.execute(columns.encode())
        assert await query_faults(opened, catalogue(asked)) == []
