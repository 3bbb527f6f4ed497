"""The forum on a database of a test's own, and its people with their browsers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx2
from examples.forum.app import app
from examples.forum.running import PEOPLE, Forum, MovedClock, open_forum
from sqlalchemy import text

from hark import inbox

HERE = "http://forum.example"


def from_afternoon() -> MovedClock:
    """A clock that shows an afternoon, the day after tomorrow: near neither Ada's nor Ben's morning."""
    now = datetime.now(UTC)
    return MovedClock(datetime.combine(now.date() + timedelta(days=2), time(15), UTC) - now)


@dataclass(frozen=True, slots=True)
class Somebody:
    """One of the forum's people at their browser."""

    name: str
    forum: Forum
    browser: httpx2.AsyncClient

    async def sees(self, path: str) -> str:
        """A page."""
        answer = await self.browser.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def sends(self, path: str, **form: str) -> str:
        """A form; where it leads."""
        answer = await self.browser.post(path, data=form, headers={"Origin": HERE})
        assert answer.status_code == 303, answer.text
        await self.forum.catch_up()
        return answer.headers["location"]

    async def writes(self, title: str, words: str = "Text.") -> str:
        """A post; its path."""
        return await self.sends("/posts", title=title, text=words)

    async def inbox(self) -> list[tuple[str, str | None]]:
        """Of what, and by whom, newest first."""
        return [(item.reason, item.actor) for item in await inbox.listed(self.forum.database, self.name)]

    async def mails(self) -> list[str]:
        """The subjects in the mailbox, newest first."""
        return re.findall(r"<h2>(.*?)</h2>", await self.sees("/mailbox"))


class Street:
    """The forum and all its people."""

    def __init__(self, forum: Forum) -> None:
        self.forum = forum
        self.ada, self.ben, self.cleo, self.dan = (self._somebody(name) for name in PEOPLE)

    async def later(self, by: timedelta) -> None:
        """Time passes, and what is due is done."""
        await self.forum.skip(by)

    async def morning_of(self, who: Somebody, *, but: timedelta = timedelta(0)) -> None:
        """It becomes tomorrow, eight o'clock where they are (or so long before)."""
        await self.later(self.forum.clock.until_morning(ZoneInfo(PEOPLE[who.name])) - but)

    async def execute(self, statement: str) -> None:
        """Something that no page offers."""
        async with self.forum.engine.begin() as connection:
            await connection.execute(text(statement))

    async def leave(self) -> None:
        """Close all browsers."""
        for who in self._people():
            await who.browser.aclose()

    def _people(self) -> Iterator[Somebody]:
        yield from (self.ada, self.ben, self.cleo, self.dan)

    def _somebody(self, name: str) -> Somebody:
        transport = httpx2.ASGITransport(app=app)
        return Somebody(name, self.forum, httpx2.AsyncClient(transport=transport, base_url=HERE, cookies={"who": name}))


@asynccontextmanager
async def open_street(dsn: str, mails: Path) -> AsyncIterator[Street]:
    """The forum as it is after its start: Ada's post, and Ben's comment on it."""
    async with open_forum(dsn, mails, from_afternoon()) as forum:
        app.state.forum = forum
        await forum.catch_up()
        street = Street(forum)
        try:
            yield street
        finally:
            await street.leave()
