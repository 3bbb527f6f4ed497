"""What a server says is read in whatever pieces it comes, and judged by RFC 5321 and 3463."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hark.channels.smtp.replies import (
    NotSmtp,
    Reply,
    ReplyReader,
    accepted_or_not,
    recipient_refused,
    sender_refused,
)
from hark.delivery.handover import Outcome, Verdict

LINES = st.binary(max_size=40).filter(lambda line: b"\n" not in line and not line.endswith(b"\r"))
REPLIES = st.lists(st.tuples(st.integers(200, 599), st.lists(LINES, min_size=1, max_size=4)), max_size=8)


def wire(code: int, lines: list[bytes]) -> bytes:
    marks = [b"-"] * (len(lines) - 1) + [b" "]
    return b"".join(b"%d%b%b\r\n" % (code, mark, line) for mark, line in zip(marks, lines, strict=True))


@given(REPLIES, st.data())
def test_replies_are_the_same_in_whatever_pieces_they_come(
    replies: list[tuple[int, list[bytes]]], data: st.DataObject
) -> None:
    stream = b"".join(wire(code, lines) for code, lines in replies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    reader = ReplyReader()
    read: list[Reply] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        read += reader.feed(stream[start:end])
    assert read == [Reply(code, b"\n".join(lines)) for code, lines in replies]
    assert not reader.midway


def test_a_line_may_end_in_lf_alone_and_have_no_text() -> None:
    assert list(ReplyReader().feed(b"250 ok\n354\r\n")) == [Reply(250, b"ok"), Reply(354, b"")]


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n",
        b"\r\n",
        b"99 low\r\n",
        b"199 low\r\n",
        b"600 high\r\n",
        b"2500 long\r\n",
        b"250_no\r\n",
        b"250-a\r\n251 b\r\n",
        b"\x16\x03\x01\x02\n",
        b"x" * 9000,
        b"250 " + b"x" * 9000,
        b"250-x\r\n" * 1200,
        (b"250-" + b"x" * 8000 + b"\r\n") * 10,
    ],
)
def test_what_is_not_smtp_is_not_taken_for_it(data: bytes) -> None:
    with pytest.raises(NotSmtp):
        list(ReplyReader().feed(data))


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(250, b"2.0.0 Ok: queued as 4Fz"), Outcome(Verdict.ACCEPTED, "mx: 250 2.0.0 Ok: queued as 4Fz")),
        (Reply(251, b""), Outcome(Verdict.ACCEPTED, "mx: 251")),
        (Reply(451, b"4.3.0 later"), Outcome(Verdict.DEFERRED, "mx: 451 4.3.0 later")),
        (Reply(421, b"bye"), Outcome(Verdict.DEFERRED, "mx: 421 bye")),
        (Reply(554, b"5.7.1 spam"), Outcome(Verdict.REFUSED, "mx: 554 5.7.1 spam")),
        (Reply(550, b"no"), Outcome(Verdict.REFUSED, "mx: 550 no")),
        (Reply(550, b"5.1.1 no such user"), Outcome(Verdict.REFUSED, "mx: 550 5.1.1 no such user", bad_address=True)),
    ],
)
def test_the_answer_to_a_whole_message(reply: Reply, outcome: Outcome) -> None:
    assert accepted_or_not("mx", reply) == outcome


def test_a_3xx_to_a_whole_message_leaves_it_unknown() -> None:
    assert accepted_or_not("mx", Reply(354, b"go on")).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("reply", "verdict", "bad_address"),
    [
        (Reply(450, b"4.2.1 busy"), Verdict.DEFERRED, False),
        (Reply(452, b"4.5.3 too many"), Verdict.DEFERRED, False),
        (Reply(450, b"4.1.1 greylisted"), Verdict.DEFERRED, False),
        (Reply(550, b"no such user"), Verdict.REFUSED, True),
        (Reply(551, b"not here"), Verdict.REFUSED, True),
        (Reply(553, b"not a mailbox"), Verdict.REFUSED, True),
        (Reply(550, b"5.1.1 no such user"), Verdict.REFUSED, True),
        (Reply(554, b"5.1.2 no such domain"), Verdict.REFUSED, True),
        (Reply(550, b"5.2.1 disabled"), Verdict.REFUSED, True),
        (Reply(550, b"5.7.1 relaying denied"), Verdict.REFUSED, False),
        (Reply(550, b"5.1.8 sender's domain"), Verdict.REFUSED, False),
        (Reply(552, b"5.2.2 full"), Verdict.REFUSED, False),
        (Reply(554, b"no"), Verdict.REFUSED, False),
        (Reply(530, b"5.7.0 log in first"), Verdict.DEFERRED, False),
        (Reply(503, b"5.5.1 MAIL first"), Verdict.DEFERRED, False),
    ],
)
def test_the_answer_to_a_recipient(reply: Reply, verdict: Verdict, bad_address: bool) -> None:
    outcome = recipient_refused("mx", reply)
    assert (outcome.verdict, outcome.bad_address) == (verdict, bad_address)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (Reply(451, b"later"), Verdict.DEFERRED),
        (Reply(550, b"5.1.8 who are you"), Verdict.REFUSED),
        (Reply(552, b"5.3.4 too large"), Verdict.REFUSED),
        (Reply(530, b"5.7.0 log in first"), Verdict.DEFERRED),
    ],
)
def test_the_answer_to_a_sender_never_blames_the_address(reply: Reply, verdict: Verdict) -> None:
    assert sender_refused("mx", reply) == Outcome(verdict, f"mx: {reply.shown()}")


def test_what_the_server_says_is_shown_on_one_printable_line() -> None:
    shown = Reply(250, b"a\nb\x1b[31m\xff" + b"x" * 1000).shown()
    assert shown.isprintable()
    assert shown.startswith("250 a b [31m\ufffdxx")
    assert len(shown) < 520
