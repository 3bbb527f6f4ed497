"""Hark's own mail sink in a process of its own: faster than files a mail, and it fails on command.

It writes a line `MESSAGE-ID RECIPIENT` for each mail that it takes, before it says so to the client. What goes wrong is
chosen by the recipient's name: `gone-7@…` is answered as `gone` says below, whatever stands behind the dash.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hark.channels.rehearsal import HangUp, Moment, Received, Say, Stall, Step, Wish
from hark.channels.sink import Sink

_MESSAGE_ID = re.compile(rb"^Message-ID: *<([^>]+)>", re.IGNORECASE | re.MULTILINE)
_PATIENCE = 2
"""How often a `busy` recipient is put off before the mail is taken."""

WISHES: dict[str, tuple[Step, Wish]] = {
    "gone": (Step.RCPT, Say(b"550 5.1.1 No such user\r\n")),
    "policy": (Step.RCPT, Say(b"554 5.7.1 Not from you\r\n")),
    "spam": (Step.END, Say(b"554 5.7.1 This is spam\r\n")),
    "busy": (Step.RCPT, Say(b"450 4.2.1 Try again later\r\n")),
    "full": (Step.END, Say(b"452 4.2.2 Mailbox full\r\n")),
    "cut": (Step.DATA, HangUp()),
    "torn": (Step.CONTENT, HangUp()),
    "mute": (Step.END, Stall()),
    "vanish": (Step.END, HangUp()),
    "swallow": (Step.END, HangUp(stored=True)),
}
PASSING = frozenset({"busy", "full", "cut"})
"""Those that take the mail in the end."""


@dataclass(frozen=True, slots=True)
class SinkOrder:
    """Where to write, and how to behave.

    `halt_at`: stand still once so many mails are taken, the last of them unanswered. `port`: 0 takes a free one.
    `seconds_a_mail`: how long each mail takes, all others waiting meanwhile.
    """

    ledger: str
    halt_at: int = 0
    port: int = 0
    seconds_a_mail: float = 0.0

    def to_json(self) -> str:
        """As the child reads it."""
        return json.dumps(asdict(self))


@dataclass(slots=True)
class _Taking:
    order: SinkOrder
    ledger: int
    taken: int = 0
    tries: Counter[str] = field(default_factory=Counter)
    on: threading.Event = field(default_factory=threading.Event)

    def take(self, mail: Received) -> None:
        found = _MESSAGE_ID.search(mail.content.partition(b"\r\n\r\n")[0])
        message_id = found[1].decode() if found else "none"
        os.write(self.ledger, f"{message_id} {mail.recipients[0]}\n".encode())
        self.taken += 1
        time.sleep(self.order.seconds_a_mail)
        if self.taken == self.order.halt_at:
            os.write(1, b"holds\n")
            self.on.wait()

    def wish(self, moment: Moment) -> Wish | None:
        step, wish = WISHES.get(moment.recipient.partition("-")[0], (None, None))
        if moment.step is not step:
            return None
        if moment.recipient.partition("-")[0] in PASSING:
            self.tries[moment.recipient] += 1
            return wish if self.tries[moment.recipient] <= _PATIENCE else None
        return wish


def serve(order: str) -> None:
    """Take mail until standard input ends, set up as a `SinkOrder` in JSON says."""
    asyncio.run(_serve(SinkOrder(**json.loads(order))))


async def _serve(order: SinkOrder) -> None:
    ledger = os.open(Path(order.ledger), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    taking = _Taking(order, ledger)
    async with Sink(taking.take, port=order.port, script=taking.wish) as sink:
        os.write(1, f"listens {sink.port}\n".encode())
        await asyncio.to_thread(_listen, taking.on)


def _listen(on: threading.Event) -> None:
    for _ in sys.stdin:
        on.set()
    on.set()
