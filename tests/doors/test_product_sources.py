"""Feeds and rechecks that cannot be asked are found out before eight in the morning."""

from __future__ import annotations

import pytest

from hark.doors.cli.exits import ExitCode
from tests.doors.commands import Desk

GOOD_FEED = """\
select due.recipient_id, post.id as key, post.score as rank, post.at, post.author as actor, post.id as about,
       jsonb_build_object('title', post.title) as payload -- 100%
  from due
  join public.post on not pg_visible_in_snapshot(post.xid, due.since)
"""
GOOD_RECHECK = """\
select asked.n, case when post.deleted then 'deleted' end as why, null::jsonb as payload
  from asked join public.post on post.id = asked.about
"""
REASON = """
[reasons.best]
title    = "Best of the week"
channels = {{ Students = ["email"] }}
batching = "weekly"
feed     = {{ {feed} }}
recheck  = {{ {recheck} }}
"""
POST = """create table public.post (id text, score real, at timestamptz, author text, title text, deleted boolean,
                                   xid xid8 not null default pg_current_xact_id())"""


@pytest.fixture
def shop(desk: Desk) -> Desk:
    """A desk with a product's table, good queries, a good module, and a reason that is to be filled in."""
    desk.execute(POST)
    desk.write("feed.sql", GOOD_FEED)
    desk.write("recheck.sql", GOOD_RECHECK)
    desk.write("shop_feeds_of_test.py", "def best(due):\n    return []\n")
    return desk


def declare(desk: Desk, feed: str = 'sql = "feed.sql"', recheck: str = 'sql = "recheck.sql"') -> None:
    path = desk.directory / "hark.toml"
    path.write_text(path.read_text() + REASON.format(feed=feed, recheck=recheck))


def test_good_ones_have_no_faults(shop: Desk) -> None:
    declare(shop, feed='python = "shop_feeds_of_test:best"')
    assert shop.hark("catalogue", "check").code == ExitCode.DONE
    assert "ok   sources" in shop.hark("doctor").out


FAULTS = {
    "no column": (
        GOOD_FEED.replace("post.score", "\n post.scores"),
        "line 2 of feed.sql: column post.scores does not exist (Perhaps you meant to reference the column"
        ' "post.score".)',
    ),
    "no table": (GOOD_FEED.replace("public.post", "public.posts"), 'line 4 of feed.sql: relation "public.posts" does'),
    "a column too few": (GOOD_FEED.replace("as rank", "as ranking"), 'feed.sql: column "rank" does not exist'),
    "a wrong kind": (GOOD_FEED.replace("post.at,", "1 as at,"), "feed.sql: cannot cast type integer to timestamp"),
    "a syntax": (GOOD_FEED.replace("from due", "fro due"), 'line 3 of feed.sql: syntax error at or near "fro"'),
    "it writes": ("with x as (delete from public.post) select 1", "line 1 of feed.sql: WITH clause containing a data-"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_query_that_postgres_does_not_accept_is_told_with_its_line(shop: Desk, kind: str) -> None:
    query, told = FAULTS[kind]
    shop.write("feed.sql", query)
    declare(shop)
    ran = shop.hark("catalogue", "check", "--json")
    assert ran.code == ExitCode.NOT_GOOD
    (fault,) = ran.only["faults"]
    assert fault["where"] == "reasons.best.feed.sql"
    assert fault["what"].startswith(told)
    assert f"reasons.best.feed.sql: {told}" in shop.hark("doctor").out


def test_all_that_cannot_be_asked_is_told_at_once(shop: Desk) -> None:
    shop.write("recheck.sql", "select n from asked")
    declare(shop, feed='python = "shop_feeds_of_test:worst"')
    faults = shop.hark("catalogue", "check", "--json").only["faults"]
    assert [fault["where"] for fault in faults] == ["reasons.best.feed.python", "reasons.best.recheck.sql"]
    assert faults[0]["what"].startswith("shop_feeds_of_test:worst cannot be imported: AttributeError")


def test_without_a_database_queries_are_not_tried_and_that_is_said(shop: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write("feed.sql", "select nothing from nowhere")
    declare(shop)
    monkeypatch.delenv("HARK_DATABASE_URL")
    ran = shop.hark("catalogue", "check")
    assert ran.code == ExitCode.DONE
    assert "queries are not tried: no database is set" in ran.err


def test_a_worker_does_not_start_with_a_callable_that_is_not_there(shop: Desk) -> None:
    declare(shop, recheck='python = "shop_feeds_of_test:nothing"')
    ran = shop.hark_alone("worker", "--until-idle", "--maildir", "mail")
    assert ran.code == ExitCode.BAD_INPUT
    assert "reasons.best.recheck.python" in ran.err
    assert "cannot be imported: AttributeError" in ran.err


def test_a_worker_starts_with_a_query_that_cannot_run_and_says_so(shop: Desk) -> None:
    shop.write("feed.sql", "select nothing from nowhere")
    declare(shop)
    ran = shop.hark_alone("worker", "--until-idle", "--maildir", "mail")
    assert ran.code == ExitCode.DONE, ran.err
    assert "query_cannot_run" in ran.err


def test_a_worker_asks_before_it_sends(shop: Desk) -> None:
    path = shop.directory / "hark.toml"
    reason = REASON.replace('"weekly"', '"immediate"').replace("feed     = {{ {feed} }}\n", "")
    path.write_text(path.read_text() + reason.format(recheck='sql = "recheck.sql"'))
    shop.hark("recipients", "import", "people.csv")
    shop.execute("insert into public.post (id, deleted) values ('p1', true), ('p2', false)")
    for about in ("p1", "p2", "p3"):
        ran = shop.hark("publish", "best", "--to", "bob", "--about", about)
        assert ran.code == ExitCode.DONE, ran.err
    assert shop.hark_alone("worker", "--until-idle", "--maildir", "mail").code == ExitCode.DONE
    found = shop.ask("select array_agg(d.state || ' ' || d.why order by id) from hark.delivery d")
    assert [each.partition(" items left: ")[2] or each.partition(" ")[0] for each in found] == [
        "1 deleted since",
        "SENT",
        "1 not there any more",
    ]
