"""The words that the stories are told in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hark import audience, inbox
from hark.audience import Subscription
from hark.catalogue import Frequency
from hark.rendering import LISTED
from tests.world import ACCEPTED, DEFERRED, World, reason


@dataclass(slots=True)
class Story:
    """What people do and what becomes of it; time passes only when the story says so."""

    world: World

    # Given

    async def given_students(self, *names: str) -> None:
        await self.world.know(*(name.lower() for name in names))

    async def given_followers(self, entity: str, *names: str) -> None:
        await self.world.follow(entity, *(name.lower() for name in names))

    async def given_choice(self, name: str, reason: str, frequency: str) -> None:
        await self.world.choose(name.lower(), reason, frequency=Frequency(frequency))

    def given_mail_server_is_down(self) -> None:
        self.world.recorder.answer = lambda _: DEFERRED

    def given_mail_server_is_back(self) -> None:
        self.world.recorder.answer = lambda _: ACCEPTED

    async def given_forum(self) -> None:
        """Replies reach those whom they mention, who wrote the comment, and who follow the thread; writers follow."""
        await self.world.install(
            reason("comment"),
            reason("mention", title="Mentions", frequency=Frequency.IMMEDIATE),
            reason("answer", title="Answers to you"),
            reason(
                "thread", title="Threads", narrower={"mention": "named", "answer": "comment"}, auto_subscribe=("about",)
            ),
        )

    # When

    async def when_replies(self, who: str, *, comment: str, under: str, on: str, mentions: Sequence[str] = ()) -> None:
        """Someone answers a comment under a post."""
        await self.world.publish(
            "thread",
            to=[name.lower() for name in mentions],
            entities=[under, on],
            actor=who.lower(),
            about=comment,
        )
        await self.world.drain()

    async def when_mutes(self, who: str, entity: str) -> None:
        await audience.mute(self.world.database, [Subscription(who.lower(), entity)], self.world.clock.now())

    async def when_comments(self, who: str, on: str, *, times: int = 1, every: timedelta = timedelta(0)) -> None:
        """Someone comments on something; its followers want to know."""
        for number in range(times):
            if number:
                await self.when_time_passes(every)
            await self.world.publish("comment", entities=[on], actor=who.lower(), about=on)
            await self.world.drain()

    async def when_mentions(self, who: str, whom: str, *, on: str = "post:1") -> None:
        """Someone names someone; that one wants to know at once."""
        await self.world.publish("mention", to=[whom.lower()], actor=who.lower(), about=on)
        await self.world.drain()

    async def when_reads_all(self, who: str) -> None:
        await inbox.mark_all_read(self.world.database, who.lower(), self.world.clock.now())

    async def when_time_passes(self, by: timedelta) -> None:
        await self.world.run_until(self.world.clock.now() + by)

    async def when_time_is(self, at: datetime) -> None:
        await self.world.run_until(at)

    # Then

    def then_mails_to(self, who: str) -> list[tuple[str, str]]:
        """When each mail came, and what its subject said."""
        address = f"{who.lower()}@school.example"
        return [
            (f"{mail.at:%a %H:%M}", mail.subject) for mail in self.world.recorder.accepted if mail.address == address
        ]

    def then_nobody_has_mail(self) -> bool:
        return not self.world.recorder.accepted

    async def then_inbox_shows(self, who: str) -> tuple[int, int]:
        """How many notifications, and how many of them unread."""
        items = await inbox.listed(self.world.database, who.lower(), limit=10 * LISTED)
        return len(items), await inbox.unread(self.world.database, who.lower())

    async def then_canceled_because(self) -> list[str]:
        return [row.why for row in await self.world.deliveries() if row.state == "CANCELED"]


PUBLISHER = """
import sys, psycopg, hark
dsn, who, count, start = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
with psycopg.connect(dsn, autocommit=True) as connection:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(count):
        with connection.transaction():
            hark.publish(connection, "comment", to=[who], key=f"{start}:{number}")
"""
"""A process of the product's: it waits for the word, then publishes so many events, each in a transaction."""


def shares(total: int, processes: int) -> list[int]:
    """How many of `total` each process publishes."""
    return [total // processes + (number < total % processes) for number in range(processes)]
