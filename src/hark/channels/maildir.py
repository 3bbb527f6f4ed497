"""Mail into a folder instead of to people: the Maildir format, which mail programs open. For development and demos."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from hark.channels.addresses import wire_address
from hark.channels.mime import MimeBuilder
from hark.channels.rehearsal import Received
from hark.delivery.handover import Outcome, Prepared, Verdict
from hark.errors import Unreachable
from hark.rendering import Message

_FOLDERS = ("tmp", "new", "cur")


class Maildir:
    """A folder of mails, one file each. A file is written aside and renamed, so nobody ever reads half of one.

    Args:
        path: the folder; made if it is not there.
        fsync: whether each mail is on disk before it counts as written.

    Raises:
        Unreachable: the folder cannot be made.
    """

    def __init__(self, path: Path, *, fsync: bool = False) -> None:
        self.path = path
        self._fsync = fsync
        try:
            for folder in _FOLDERS:
                (path / folder).mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise Unreachable(f"{path}: cannot hold a Maildir ({fault.strerror})") from None
        self._received = sum(1 for _ in (path / "new").iterdir())

    def put(self, name: str, content: bytes) -> Path:
        """Write a mail; one of the same name that nobody has read yet is replaced.

        Raises:
            OSError: the disk is full, the folder is gone…
        """
        aside, final = self.path / "tmp" / name, self.path / "new" / name
        with aside.open("wb") as file:
            file.write(content.replace(b"\r\n", b"\n"))
            if self._fsync:
                file.flush()
                os.fsync(file.fileno())
        return aside.replace(final)

    def keep(self, mail: Received) -> None:
        """What a sink took, each in a file of its own, however often the same one comes: for `Sink(maildir.keep)`."""
        self._received += 1
        envelope = f"Return-Path: <{mail.sender}>\r\nDelivered-To: {', '.join(mail.recipients)}\r\n"
        self.put(f"{self._received:08}.sink", envelope.encode() + mail.content)


class MaildirChannel:
    """Puts each delivery into a Maildir, in a file that is named for it: the same delivery twice is one file.

    Args:
        path: the folder; made if it is not there.
        sender: who the mail is from: `Acme <hello@acme.example>` or the address alone.
        reply_to: where answers go; None: to the sender.
        fsync: whether each mail is on disk before it counts as accepted.

    Raises:
        BadInput: a sender or reply_to that cannot stand in a header.
        Unreachable: the folder cannot be made.
    """

    def __init__(self, path: Path, *, sender: str, reply_to: str | None = None, fsync: bool = False) -> None:
        self._builder = MimeBuilder(sender, reply_to)
        self._maildir = Maildir(path, fsync=fsync)

    def prepare(self, message: Message) -> Prepared:
        """The message in wire form.

        Raises:
            Undeliverable: see `hark.channels.mime.MimeBuilder.build`.
        """
        payload = self._builder.build(message)
        return Prepared(message.delivery_id, wire_address(message.address), payload)

    async def send(self, batch: Sequence[Prepared]) -> list[Outcome]:
        """Write a batch; what cannot be written is deferred."""
        return await asyncio.to_thread(lambda: [self._write(each) for each in batch])

    async def close(self) -> None:
        """Nothing is open."""

    def _write(self, prepared: Prepared) -> Outcome:
        try:
            path = self._maildir.put(f"hark-{prepared.delivery_id}", prepared.payload)
        except OSError as fault:
            return Outcome(Verdict.DEFERRED, f"maildir: {fault.strerror}")
        return Outcome(Verdict.ACCEPTED, f"maildir: new/{path.name}")
