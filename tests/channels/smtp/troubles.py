"""A sink to send to, and the troubles it can make."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hark.channels.rehearsal import Moment, Received, Step, Wish

TLS = Path(__file__).parent / "tls"
CA = TLS / "ca.pem"


def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem")
    return context


@dataclass
class Trouble:
    """Does `wish` when the sink comes to `step` for the nth time (0: each time), and notes what it was asked."""

    step: Step
    wish: Wish
    nth: int = 1
    moments: list[Moment] = field(default_factory=list)
    then: Callable[[], object] = lambda: None

    def __call__(self, moment: Moment) -> Wish | None:
        self.moments.append(moment)
        if moment.step is not self.step:
            return None
        if self.nth and sum(each.step is self.step for each in self.moments) != self.nth:
            return None
        self.then()
        return self.wish


class Box:
    """The mails that a sink took."""

    def __init__(self) -> None:
        self.mails: list[Received] = []

    def __call__(self, mail: Received) -> None:
        self.mails.append(mail)

    @property
    def recipients(self) -> list[str]:
        return sorted(recipient for mail in self.mails for recipient in mail.recipients)

    @property
    def doubles(self) -> list[str]:
        return [recipient for recipient, count in Counter(self.recipients).items() if count > 1]
