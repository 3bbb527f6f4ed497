"""The processes of the pipeline's measurement: `python -m bench.pipeline_parts publish|work|loop DSN …`.

Each says `ready` when it has set itself up; a publisher and a loop wait for a line before they begin.
"""

from __future__ import annotations

import asyncio
import signal
import smtplib
import sys
from collections.abc import Iterator
from email.message import EmailMessage

import psycopg

from bench.ground import catalogue, reason
from hark.catalogue import Channel, Frequency
from hark.channels.smtp import SmtpChannel
from hark.clock import DatabaseClock
from hark.delivery.attempt import Sender
from hark.postgres.database import open_database
from hark.postgres.holder import worker_name
from hark.rendering import Renderer
from hark.worker import Worker

REASONS = catalogue(
    reason("app_shared", Channel.EMAIL, frequency=Frequency.IMMEDIATE),
    reason("app_commented", Channel.EMAIL, cooldown="2s", max_stale="10s"),
)
SENDERS = 2
EVENTS_PER_COMMIT = 50

PUBLISH = """
select hark.publish(%s, array[%s], actor => 'alice', about => 'app:1', payload => '{"app": "GitHub"}', key => %s)
"""
LOOP_PREFERENCE = """
select r.address, r.reach, p.channels from hark.recipient r
  left join hark.preference p on p.recipient_id = r.id where r.id = %s
"""
LOOP_NOTIFICATION = "insert into email_notification (recipient, state) values (%s, 'pending') returning id"
LOOP_SENT = "update email_notification set state = 'sent', sent_at = now() where id = %s"


def recipient(number: int) -> str:
    """The id of a recipient by number, from 1."""
    return f"user-{number:08}"


def publish(dsn: str, name: str, events: int, recipients: int) -> None:
    """Publish so many events, each for one recipient, one recipient after the other and then from the first again."""
    with psycopg.connect(dsn) as connection:
        _wait_for_the_start()
        for chunk in _chunks(events, EVENTS_PER_COMMIT):
            given = [(name, recipient(number % recipients + 1), f"{name}:{number}") for number in chunk]
            connection.cursor().executemany(PUBLISH, given)
            connection.commit()


async def work(dsn: str, port: int) -> None:
    """A worker, as `hark worker` is one, until it is told to stop."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    channel = SmtpChannel(f"smtp://127.0.0.1:{port}", sender="Acme <hello@acme.example>")
    async with open_database(dsn) as database:
        clock = await DatabaseClock.start(database)
        renderer = Renderer(REASONS, "acme.example", await database.installation())
        senders = [
            Sender(database, Channel.EMAIL, channel, renderer, clock, f"{worker_name()}/{number}")
            for number in range(SENDERS)
        ]
        print("ready", flush=True)
        await Worker(database, clock, senders).run(stopping)
    await channel.close()


def loop(dsn: str, port: int, events: int) -> None:
    """One task after the other, as most products do it: look up, insert, send, update."""
    with psycopg.connect(dsn, autocommit=True) as connection, smtplib.SMTP("127.0.0.1", port) as smtp:
        connection.execute(
            "create table if not exists email_notification (id bigint generated always as identity primary key, "
            "recipient text not null, state text not null, sent_at timestamptz)"
        )
        _wait_for_the_start()
        for number in range(1, events + 1):
            row = connection.execute(LOOP_PREFERENCE, [recipient(number)]).fetchone()
            inserted = connection.execute(LOOP_NOTIFICATION, [recipient(number)]).fetchone()
            assert row is not None and inserted is not None
            smtp.send_message(_message(row[0]))
            connection.execute(LOOP_SENT, [inserted[0]])


def _message(address: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Acme <hello@acme.example>", address, "App shared"
    message.set_content("App shared\n\nalice: app:1\n")
    message.add_alternative("<h1>App shared</h1><p><strong>alice</strong>: app:1</p>", subtype="html")
    return message


def _chunks(count: int, size: int) -> Iterator[range]:
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


def _wait_for_the_start() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    part, dsn, *rest = sys.argv[1:]
    if part == "publish":
        publish(dsn, rest[0], int(rest[1]), int(rest[2]))
    elif part == "work":
        asyncio.run(work(dsn, int(rest[0])))
    else:
        loop(dsn, int(rest[0]), int(rest[1]))
