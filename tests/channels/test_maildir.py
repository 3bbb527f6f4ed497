"""Mails in a folder are whole, are read by mail programs, and are one a delivery."""

from __future__ import annotations

import mailbox
import shutil
from pathlib import Path

import pytest

from hark.channels.maildir import Maildir, MaildirChannel
from hark.channels.rehearsal import Received
from hark.channels.sink import Sink
from hark.channels.smtp import SmtpChannel
from hark.delivery.handover import Outcome, Verdict
from hark.errors import Unreachable

from .examples import SENDER, message, prepared


async def test_a_mail_program_reads_what_was_sent(tmp_path: Path) -> None:
    channel = MaildirChannel(tmp_path / "mails", sender=SENDER)
    outcomes = await channel.send([channel.prepare(message(number)) for number in (7, 8)])
    assert outcomes == [Outcome(Verdict.ACCEPTED, f"maildir: new/hark-{number}") for number in (7, 8)]
    mails = list(mailbox.Maildir(tmp_path / "mails"))
    assert sorted(mail["Message-ID"] for mail in mails) == ["<hark-7@acme.example>", "<hark-8@acme.example>"]
    assert "\n\nalice shared the app GitHub with you\n" in mails[0].as_string()


@pytest.mark.parametrize("fsync", [False, True])
async def test_the_same_delivery_twice_is_one_file(tmp_path: Path, fsync: bool) -> None:
    for text in ("first try", "second try"):
        channel = MaildirChannel(tmp_path, sender=SENDER, fsync=fsync)
        await channel.send([channel.prepare(message(text=text))])
    assert _files(tmp_path) == ["new/hark-88"]
    assert b"second try" in (tmp_path / "new" / "hark-88").read_bytes()


def _files(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


async def test_what_cannot_be_written_is_deferred(tmp_path: Path) -> None:
    channel = MaildirChannel(tmp_path / "mails", sender=SENDER)
    shutil.rmtree(tmp_path / "mails")
    assert await channel.send([prepared(1)]) == [Outcome(Verdict.DEFERRED, "maildir: No such file or directory")]


def test_a_place_that_cannot_hold_a_maildir_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unreachable, match="cannot hold a Maildir"):
        Maildir(tmp_path / "file")


async def test_a_sink_keeps_each_mail_it_takes_also_the_same_one_twice(tmp_path: Path) -> None:
    for _ in range(2):
        async with Sink(Maildir(tmp_path).keep) as sink:
            channel = SmtpChannel(sink.url, sender=SENDER)
            await channel.send([channel.prepare(message())] * 2)
            await channel.close()
    mails = list(mailbox.Maildir(tmp_path))
    assert [mail["Message-ID"] for mail in mails] == ["<hark-88@acme.example>"] * 4
    assert {mail["Return-Path"] for mail in mails} == {"<hello@acme.example>"}
    assert {mail["Delivered-To"] for mail in mails} == {"bob@users.example"}


def test_a_kept_mail_names_its_envelope(tmp_path: Path) -> None:
    Maildir(tmp_path).keep(Received("a@x.example", ("b@x.example", "c@x.example"), b"Subject: hi\r\n\r\nhello\r\n"))
    assert (tmp_path / "new" / "00000001.sink").read_bytes() == (
        b"Return-Path: <a@x.example>\nDelivered-To: b@x.example, c@x.example\nSubject: hi\n\nhello\n"
    )
