"""Python and HTTP feeds: what they are asked, what they may answer, and what is said when they answer otherwise."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hark.catalogue import Feed, PythonSource, SqlSource, UrlSource
from hark.errors import SourceFailed
from hark.feeds import MOST_PER_RECIPIENT, Asking, Due, FeedItem, ask_feed
from hark.guarded.addresses import Allowed
from hark.guarded.client import Guarded
from hark.sources import as_part, load
from tests.guarded.serving import Asked, Server, said, serving

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DUE = [Due("bob", "10:20:", NOON - timedelta(days=1)), Due("eve", "7:9:8", NOON - timedelta(hours=3))]
ITEM = FeedItem("bob", "post:1", 2.5, NOON, "alice", "post:1", {"title": "Zoë"})
WRITTEN = {
    "recipient": "bob",
    "key": "post:1",
    "rank": 2.5,
    "at": "2026-03-02T12:00:00+00:00",
    "actor": "alice",
    "about": "post:1",
    "payload": {"title": "Zoë"},
}
ask = Asking(Guarded(Allowed.parse(["127.0.0.1"])), timedelta(seconds=5))

answers: dict[str, Any] = {}
"""What the callables below answer, and what they were asked."""


def plain(due: Sequence[Due]) -> Any:
    answers["asked"], answers["thread"] = due, threading.current_thread()
    return answers["next"]


async def in_a_loop(due: Sequence[Due]) -> Any:
    answers["asked"] = due
    return answers["next"]


def one_by_one(due: Sequence[Due]) -> Iterator[FeedItem]:
    yield from (replace(ITEM, recipient_id=each.recipient_id) for each in due)


def raises(_due: Sequence[Due]) -> Any:
    raise ValueError("bob@school.example")


def raises_late(_due: Sequence[Due]) -> Iterator[FeedItem]:
    yield ITEM
    raise KeyError("bob@school.example")


async def never_ends(_due: Sequence[Due]) -> Any:
    await asyncio.Event().wait()


NO_FUNCTION = 7


def python(name: str) -> Feed:
    return Feed(PythonSource(f"tests.test_feeds:{name}"))


async def refusal(feed: Feed, asking: Asking = ask) -> str:
    with pytest.raises(SourceFailed) as caught:
        await ask_feed(feed, "front_page", DUE, asking)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return str(caught.value)


class TestPython:
    async def test_is_asked_for_all_at_once_in_a_thread_of_its_own(self) -> None:
        answers["next"] = [ITEM]
        assert await ask_feed(python("plain"), "front_page", DUE, ask) == [ITEM]
        assert answers["asked"] == DUE
        assert answers["thread"] is not threading.current_thread()

    async def test_may_be_async_or_a_generator(self) -> None:
        answers["next"] = (ITEM,)
        assert await ask_feed(python("in_a_loop"), "front_page", DUE, ask) == [ITEM]
        found = await ask_feed(python("one_by_one"), "front_page", DUE, ask)
        assert [item.recipient_id for item in found] == ["bob", "eve"]

    @pytest.mark.parametrize(("name", "kind"), [("raises", "ValueError"), ("raises_late", "KeyError")])
    async def test_that_raises_is_told_by_kind_and_line_never_by_its_words(self, name: str, kind: str) -> None:
        told = await refusal(python(name))
        assert told.startswith(f"tests.test_feeds:{name} raised {kind} in {name}, line ")
        assert "bob" not in told

    async def test_that_takes_too_long_is_told(self) -> None:
        told = await refusal(python("never_ends"), replace(ask, timeout=timedelta(milliseconds=20)))
        assert told == "tests.test_feeds:never_ends did not answer within 0.02 s"

    @pytest.mark.parametrize(
        ("answer", "fault"),
        [
            (None, "NoneType is no list of hark.feeds.FeedItem"),
            ([ITEM, WRITTEN], "items[1] is a dict, not a hark.feeds.FeedItem"),
            ([replace(ITEM, at=NOON.replace(tzinfo=None))], "items[0].at: Input should have timezone info"),
            ([replace(ITEM, recipient_id="mal")], "items[0].recipient was not asked for"),
            ([ITEM, ITEM], "items[1].key is there twice for its recipient"),
            ([replace(ITEM, key="")], "items[0].key: String should have at least 1 character"),
            ([replace(ITEM, key=7)], "items[0].key: Input should be a valid string"),  # type: ignore[arg-type]
            ([replace(ITEM, key="a\0")], "items[0].key: has a zero byte, which Postgres cannot keep"),
            ([replace(ITEM, rank=float("nan"))], "items[0].rank: Input should be a finite number"),
            ([replace(ITEM, payload={"at": NOON})], "items[0].payload: cannot be written as JSON (TypeError)"),
            ([replace(ITEM, payload={"n": float("inf")})], "items[0].payload: cannot be written as JSON (ValueError)"),
            ([replace(ITEM, payload={"a": ["\0"]})], "items[0].payload: has a zero byte, which Postgres cannot keep"),
            ([replace(ITEM, payload={"a": "\ud800"})],
             "items[0].payload: cannot be written as JSON (UnicodeEncodeError)"),
            ([replace(ITEM, payload=[1])], "items[0].payload: Input should be a valid dictionary"),  # type: ignore[arg-type]
            ([replace(ITEM, key=str(n)) for n in range(MOST_PER_RECIPIENT + 1)],
             "more than 1,000 items for one recipient"),
        ],
    )  # fmt: skip
    async def test_that_answers_what_it_may_not_is_told_by_field(self, answer: object, fault: str) -> None:
        answers["next"] = answer
        assert await refusal(python("plain")) == f"its answer: {fault}"

    async def test_a_backslash_before_a_u_is_no_zero_byte(self) -> None:
        odd = replace(ITEM, payload={"a": "\\u0000", "b": "%"})
        answers["next"] = [odd]
        assert await ask_feed(python("plain"), "front_page", DUE, ask) == [odd]

    @pytest.mark.parametrize(
        ("path", "why"),
        [
            ("no.such:thing", "cannot be imported: ModuleNotFoundError: No module named 'no'"),
            ("tests.test_feeds:nothing", "cannot be imported: AttributeError: "),
            ("tests.test_feeds:NO_FUNCTION", "is no function"),
        ],
    )
    def test_that_is_not_there_is_told_before_it_is_asked(self, path: str, why: str) -> None:
        with pytest.raises(SourceFailed) as caught:
            load(PythonSource(path))
        assert str(caught.value).startswith(f"{path} {why}")

    def test_whose_module_breaks_is_told_before_it_is_asked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "broken_feeds.py").write_text("1 / 0")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(SourceFailed, match="cannot be imported: ZeroDivisionError: division by zero"):
            load(PythonSource("broken_feeds:front_page"))


class TestHttp:
    @pytest.fixture
    async def server(self) -> AsyncIterator[Server]:
        def answer(_asked: Asked) -> bytes:
            return answers["http"]  # type: ignore[no-any-return]

        async with serving(answer) as server:
            yield server

    async def test_is_asked_for_all_at_once(self, server: Server) -> None:
        answers["http"] = said({"items": [WRITTEN]})
        feed = Feed(UrlSource(server.url("/front_page?token=s3cret")))
        assert await ask_feed(feed, "front_page", DUE, ask) == [ITEM]
        assert [asked.line for asked in server.asked] == ["POST /front_page?token=s3cret HTTP/1.1"]
        assert server.asked[0].json() == {
            "reason": "front_page",
            "due": [
                {"recipient": "bob", "since": "10:20:", "since_at": "2026-03-01T12:00:00+00:00"},
                {"recipient": "eve", "since": "7:9:8", "since_at": "2026-03-02T09:00:00+00:00"},
            ],
        }

    async def test_an_item_needs_a_recipient_a_key_and_a_time(self, server: Server) -> None:
        answers["http"] = said({"items": [{"recipient": "eve", "key": "k", "at": "2026-03-02T12:00:00Z"}]})
        found = await ask_feed(Feed(UrlSource(server.url())), "front_page", DUE, ask)
        assert found == [FeedItem("eve", "k", 0.0, NOON)]

    @pytest.mark.parametrize(
        ("answer", "fault"),
        [
            (said("<html>"), "the endpoint's answer: it: Invalid JSON: expected value at line 1 column 1"),
            (said([]), "the endpoint's answer: it: Input should be an object"),
            (said({}), "the endpoint's answer: items: Field required"),
            (said({"items": [{**WRITTEN, "ranks": 1}]}),
             "the endpoint's answer: items[0].ranks: Extra inputs are not permitted"),
            (said({"items": [{**WRITTEN, "rank": "1"}]}),
             "the endpoint's answer: items[0].rank: Input should be a valid number"),
            (said({"items": [WRITTEN, {**WRITTEN, "at": "2026-03-02T12:00:00"}]}),
             "the endpoint's answer: items[1].at: Input should have timezone info"),
            (said({"items": [{"recipient": 7}]}),
             "the endpoint's answer: items[0].recipient: Input should be a valid string, and 2 more faults"),
            (said({"items": [{**WRITTEN, "recipient": "mal"}]}), "its answer: items[0].recipient was not asked for"),
            (said("no", status="503 Busy"), "the endpoint answered with status 503, not 200"),
            (said(status="302 Found", location="http://127.0.0.1/"), "the endpoint answered with status 302, not 200"),
        ],
    )  # fmt: skip
    async def test_that_answers_what_it_may_not_is_told_by_field(
        self, server: Server, answer: bytes, fault: str
    ) -> None:
        answers["http"] = answer
        told = await refusal(Feed(UrlSource(server.url())))
        assert told.startswith(fault)
        assert "bob" not in told

    async def test_that_cannot_be_reached_is_told_without_its_path(self) -> None:
        async with serving(lambda _asked: None) as server:
            slow = replace(ask, timeout=timedelta(milliseconds=20))
            told = await refusal(Feed(UrlSource(server.url("/s3cret"))), slow)
        assert told == f"http://127.0.0.1:{server.port} gave no answer within 0.02 s"

    async def test_on_a_private_address_is_not_asked_unless_it_is_allowed(self, server: Server) -> None:
        told = await refusal(Feed(UrlSource(server.url())), Asking())
        assert told.startswith("127.0.0.1 is 127.0.0.1, which is not called (loopback)")
        assert server.asked == []


async def test_an_sql_feed_is_asked_where_digests_are_planned() -> None:
    with pytest.raises(TypeError):
        await ask_feed(Feed(SqlSource("select 1")), "front_page", DUE, ask)
    assert as_part(SqlSource("select '%' -- new")) == "\nselect '%%' -- new\n"
