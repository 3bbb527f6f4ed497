"""How many messages a second does one process render, build and hand over by SMTP?

To Postfix's smtp-sink on loopback, which takes mail and forgets it.
"""

from __future__ import annotations

import asyncio
import smtplib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from functools import partial

from bench.contest import Question, Target, answer, stopwatch, take_turns
from bench.ground import catalogue, reason
from bench.result import Result
from bench.smtp_programs import smtp_sink, smtp_source
from hark.catalogue import Channel
from hark.channels import Message, Verdict
from hark.channels.mime import MimeBuilder
from hark.channels.smtp import SmtpChannel
from hark.rendering import Batch, Item, Renderer

MESSAGES = 20_000
BY_STDLIB = 500
"""Messages of a round of the peer, which is slow."""
ROUNDS = 5
SESSIONS = 8
"""Connections of smtp-source, about where it is fastest."""
CHUNK = 50
SENDERS = 2
"""How a worker does it (`hark.delivery.attempt.Sender`): so many hand over chunks of that size, over one channel."""
SENDER = "Acme <hello@acme.example>"
AT = datetime(2026, 5, 1, 14, 6, 11, tzinfo=UTC)
TARGET = 5_000.0

WHOLE = Question(
    name="send",
    question="How many messages a second does one process render, build and hand over by SMTP?",
    unit="messages/s",
    higher_is_better=True,
    peer_name="the same rendering, then stdlib EmailMessage and smtplib over one connection",
    limit_name=f"smtp-source (C, nothing rendered or built) with {SESSIONS} connections",
    notes="",
)
WIRE = replace(
    WHOLE,
    name="send_wire",
    question="And of messages that are rendered already: only build and hand over?",
    peer_name="stdlib EmailMessage and smtplib over one connection",
)


def measure(scale: float) -> list[Result]:
    """With rendering, then without."""
    return asyncio.run(_measure(max(int(MESSAGES * scale), 4 * CHUNK), scale))


@dataclass(slots=True)
class _Course:
    """One kind of work in front of SMTP, run by all contestants."""

    port: int
    work: Sequence[Batch] | Sequence[Message]
    rendered: Callable[..., Message]

    async def hark(self) -> float:
        channel = SmtpChannel(f"smtp://127.0.0.1:{self.port}", sender=SENDER)
        chunks = iter([self.work[at : at + CHUNK] for at in range(0, len(self.work), CHUNK)])
        with stopwatch() as watch:
            await asyncio.gather(*(self._sender(channel, chunks) for _ in range(SENDERS)))
        await channel.close()
        return len(self.work) / watch.seconds

    async def _sender(self, channel: SmtpChannel, chunks: Iterator[Sequence[Batch] | Sequence[Message]]) -> None:
        for chunk in chunks:
            outcomes = await channel.send([channel.prepare(self.rendered(each)) for each in chunk])
            assert all(outcome.verdict is Verdict.ACCEPTED for outcome in outcomes), outcomes

    async def peer(self) -> float:
        some = self.work[:BY_STDLIB]
        with stopwatch() as watch:
            await asyncio.to_thread(self._by_stdlib, some)
        return len(some) / watch.seconds

    def _by_stdlib(self, some: Sequence[Batch] | Sequence[Message]) -> None:
        with smtplib.SMTP("127.0.0.1", self.port) as client:
            for each in some:
                client.send_message(_stdlib_message(self.rendered(each)))

    async def limit(self) -> float:
        size = len(MimeBuilder(SENDER).build(self.rendered(self.work[1])))
        with stopwatch() as watch:
            await smtp_source(self.port, len(self.work), sessions=SESSIONS, message_bytes=size)
        return len(self.work) / watch.seconds


async def _measure(messages: int, scale: float) -> list[Result]:
    renderer = Renderer(catalogue(reason("app_shared", Channel.EMAIL)), "acme.example")
    batches = [_batch(number) for number in range(messages)]
    said = [renderer.render(batch, AT) for batch in batches]
    render = partial(renderer.render, at=AT)
    async with smtp_sink() as port:
        costs = await _costs(port, batches, said, render)
        whole = await _row(WHOLE, _Course(port, batches, render), costs, scale)
        wire = await _row(WIRE, _Course(port, said, lambda message: message), costs, scale)
    return [whole, wire]


async def _row(question: Question, course: _Course, costs: str, scale: float) -> Result:
    await course.hark()  # templates, codecs and the sink are warm then
    contestants = {"hark": course.hark, "peer": course.peer, "limit": course.limit}
    reached = await take_turns(contestants, rounds=ROUNDS)
    sizes = {
        "messages": len(course.work),
        "items_a_message": 3,
        "by_stdlib": min(BY_STDLIB, len(course.work)),
        "chunk": CHUNK,
    }
    target = Target(figure=TARGET) if question is WHOLE and scale >= 1 else None
    return replace(answer(question, reached, sizes, target), notes=costs)


async def _costs(
    port: int, batches: Sequence[Batch], said: Sequence[Message], render: Callable[[Batch], Message]
) -> str:
    """What each part costs by itself, in the CPU time of this process."""
    channel = SmtpChannel(f"smtp://127.0.0.1:{port}", sender=SENDER)
    begun = time.process_time()
    for batch in batches:
        render(batch)
    rendered = time.process_time()
    prepared = [channel.prepare(message) for message in said]
    built = time.process_time()
    for at in range(0, len(prepared), CHUNK * SENDERS):
        await channel.send(prepared[at : at + CHUNK * SENDERS])
    sent = time.process_time()
    await channel.close()
    parts = zip(("render", "build", "SMTP"), ((begun, rendered), (rendered, built), (built, sent)), strict=True)
    costs = ", ".join(f"{name} {(end - start) / len(said) * 1e6:.0f} µs" for name, (start, end) in parts)
    size = sum(len(each.payload) for each in prepared) // len(prepared)
    return (
        f"CPU of the one process a message: {costs}. Messages of 1 to 5 items, text and HTML, {size:,} bytes on "
        f"average; {SENDERS} senders with chunks of {CHUNK} over one channel, as a worker has them. smtp-sink runs "
        "beside it and takes CPU of its own: on two cores it and the kernel bound what is left."
    )


def _batch(number: int) -> Batch:
    items = [
        Item("app_shared", number * 5 + which, AT - timedelta(minutes=which), f"alice {which}", f"app:{number}", {})
        for which in range(1 + number % 5)
    ]
    return Batch(number, f"user-{number}", f"user{number}@school.example", "UTC", "en", items)


def _stdlib_message(message: Message) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = SENDER, message.address, message.subject
    mail["Date"], mail["Message-ID"] = format_datetime(message.at), f"<{message.message_id}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text)
    mail.add_alternative(message.html or "", subtype="html")
    return mail


if __name__ == "__main__":
    for row in measure(1.0):
        print(f"{row.name}: {row.hark:,.0f} {row.unit}; {row.to_peer:.1f} x peer ({row.peer:,.0f}); ", end="")
        print(f"{row.to_limit:.2f} of the limit ({row.limit:,.0f}); spread {row.spread}\n  {row.notes}")
