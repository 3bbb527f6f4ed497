"""The sink is a server to others too: the standard library's client speaks to it."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Callable

import pytest

from hark.channels.rehearsal import Abilities, Received
from hark.channels.sink import Sink

CONTENT = b"Subject: hi\r\n\r\n.dot\r\n..\r\n.\r\nFrom here\r\n"


async def speak(sink: Sink, what: Callable[[smtplib.SMTP], object]) -> None:
    def conversation() -> None:
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=10) as client:
            what(client)

    await asyncio.to_thread(conversation)


async def test_another_client_is_served_and_its_dots_are_kept() -> None:
    mails: list[Received] = []
    async with Sink(mails.append) as sink:
        await speak(sink, lambda client: client.sendmail("a@x.example", ["b@x.example", "c@x.example"], CONTENT))
        await sink.until_alone()
        assert mails == [Received("a@x.example", ("b@x.example", "c@x.example"), CONTENT)]
        assert (sink.taken, sink.sessions, sink.connections) == (1, 1, 0)


async def test_an_empty_content_is_content() -> None:
    mails: list[Received] = []
    async with Sink(mails.append) as sink:
        await speak(sink, lambda client: client.sendmail("a@x.example", ["b@x.example"], b""))
    assert [mail.content.strip() for mail in mails] == [b""]


@pytest.mark.parametrize(
    ("commands", "codes"),
    [
        (["RCPT TO:<b@x.example>"], [503]),
        (["MAIL FROM:<a@x.example>", "MAIL FROM:<a@x.example>"], [250, 503]),
        (["MAIL FROM: nonsense"], [501]),
        (["MAIL FROM:<a@x.example>", "RCPT TO:<nonsense>", "DATA"], [250, 501, 554]),
        (["MAIL FROM:<a@x.example>", "RSET", "MAIL FROM:<b@x.example>"], [250, 250, 250]),
        (["MAIL FROM:<a@x.example> SIZE=101"], [552]),
        (["STARTTLS", "AUTH PLAIN eA==", "VRFY x", ""], [500, 500, 500, 500]),
        (["NOOP", "HELO me"], [250, 250]),
    ],
)
async def test_what_is_out_of_order_is_refused(commands: list[str], codes: list[int]) -> None:
    answers: list[int] = []

    def say_all(client: smtplib.SMTP) -> None:
        client.ehlo()
        answers.extend(client.docmd(command)[0] for command in commands)

    async with Sink(lambda mail: None, abilities=Abilities(size=100)) as sink:
        await speak(sink, say_all)
    assert answers == codes


async def test_it_is_reached_over_loopback_only() -> None:
    async with Sink(lambda mail: None) as sink:
        assert sink.url == f"smtp://127.0.0.1:{sink.port}"
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.2", sink.port)
