"""Each message gets the one outcome that is certain, whatever the server does to it and to its neighbours."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hark.channels.rehearsal import Abilities, HangUp, Moment, Say, Script, Stall, Step, Wish
from hark.channels.sink import Sink
from hark.channels.smtp import SmtpChannel, Timeouts
from hark.delivery.handover import Outcome, Prepared, Verdict

from ..examples import SENDER, message, prepared
from .troubles import CA, Box, Trouble, server_tls

ACCEPTED, DEFERRED, REFUSED, UNKNOWN = Verdict.ACCEPTED, Verdict.DEFERRED, Verdict.REFUSED, Verdict.UNKNOWN
PATIENT = Timeouts()
HASTY = Timeouts(connect=5, command=0.3, final_dot=0.3, batch=20)
LARGE = b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" * 10 + (b"y" * 70 + b"\r\n") * 150_000


@dataclass(frozen=True)
class Way:
    """How the channel and the sink speak to one another."""

    name: str
    abilities: Abilities
    query: str = ""
    scheme: str = "smtp"


WAYS = [
    Way("pipelined", Abilities()),
    Way("step by step", Abilities(pipelining=False)),
    Way("STARTTLS", Abilities(tls=server_tls()), f"?starttls=required&verify={CA}"),
]
PIPELINED = WAYS[0]
TLS_FROM_START = Way("TLS", Abilities(tls=server_tls(), tls_from_start=True), f"?verify={CA}", "smtps")


@asynccontextmanager
async def rehearsal(
    script: Script = lambda moment: None,
    way: Way = PIPELINED,
    timeouts: Timeouts = PATIENT,
    pool_size: int = 1,
    login: str = "",
    messages_per_connection: int = 1000,
) -> AsyncIterator[tuple[SmtpChannel, Sink, Box]]:
    box = Box()
    async with Sink(box, abilities=way.abilities, script=script) as sink:
        channel = SmtpChannel(
            f"{way.scheme}://{login}127.0.0.1:{sink.port}{way.query}",
            sender=SENDER,
            timeouts=timeouts,
            pool_size=pool_size,
            messages_per_connection=messages_per_connection,
        )
        yield channel, sink, box
        await channel.close()


def batch(count: int) -> list[Prepared]:
    return [prepared(number) for number in range(1, count + 1)]


def verdicts(outcomes: Sequence[Outcome]) -> list[Verdict]:
    return [outcome.verdict for outcome in outcomes]


@pytest.mark.parametrize("way", [*WAYS, TLS_FROM_START], ids=lambda way: way.name)
async def test_a_batch_arrives_as_it_was_prepared(way: Way) -> None:
    async with rehearsal(way=way, pool_size=3) as (channel, sink, box):
        sent = [
            channel.prepare(message(number, f"user-{number}@users.example", text=".\n..\n.x\n")) for number in range(40)
        ]
        outcomes = await channel.send(sent)
        assert set(verdicts(outcomes)) == {ACCEPTED}
        assert all(outcome.response.startswith("127.0.0.1: 250 2.0.0 Ok: queued as ") for outcome in outcomes)
        assert {mail.recipients: mail.content for mail in box.mails} == {(each.address,): each.payload for each in sent}
        assert {mail.sender for mail in box.mails} == {"hello@acme.example"}
        assert sink.sessions == 3


async def test_an_empty_batch_needs_no_server() -> None:
    async with rehearsal() as (channel, sink, _):
        assert await channel.send([]) == []
        assert sink.sessions == 0


async def test_connections_are_kept_from_batch_to_batch() -> None:
    async with rehearsal(pool_size=2) as (channel, sink, box):
        for _ in range(3):
            assert verdicts(await channel.send(batch(6))) == [ACCEPTED] * 6
        assert (sink.sessions, len(box.mails)) == (2, 18)


async def test_a_connection_carries_no_more_than_it_may() -> None:
    async with rehearsal(messages_per_connection=4) as (channel, sink, box):
        assert verdicts(await channel.send(batch(10))) == [ACCEPTED] * 10
        assert (sink.sessions, len(box.mails)) == (3, 10)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_a_large_message_arrives_whole(way: Way) -> None:
    async with rehearsal(way=replace(way, abilities=replace(way.abilities, size=None))) as (channel, _, box):
        outcomes = await channel.send([prepared(1), prepared(2, payload=LARGE), prepared(3)])
        assert verdicts(outcomes) == [ACCEPTED] * 3
        assert box.mails[1].content == LARGE


# One message of three meets trouble; its neighbours do not notice.

MET_BY_THE_SECOND = [
    (Step.MAIL, Say(b"451 4.3.0 later\r\n"), DEFERRED, False, "451 4.3.0 later"),
    (Step.MAIL, Say(b"550 5.7.1 not from you\r\n"), REFUSED, False, "550 5.7.1 not from you"),
    (Step.RCPT, Say(b"450 4.2.1 busy\r\n"), DEFERRED, False, "450 4.2.1 busy"),
    (Step.RCPT, Say(b"452 4.5.3 too many\r\n"), DEFERRED, False, "452 4.5.3 too many"),
    (Step.RCPT, Say(b"550 5.1.1 no such user\r\n"), REFUSED, True, "550 5.1.1 no such user"),
    (Step.RCPT, Say(b"550-5.1.1 no\r\n550 5.1.1 such user\r\n"), REFUSED, True, "550 5.1.1 no 5.1.1 such user"),
    (Step.RCPT, Say(b"554 5.7.1 relaying denied\r\n"), REFUSED, False, "554 5.7.1 relaying denied"),
    (Step.DATA, Say(b"451 4.3.0 disk full\r\n"), DEFERRED, False, "451 4.3.0 disk full"),
    (Step.DATA, Say(b"554 5.5.1 no\r\n"), REFUSED, False, "554 5.5.1 no"),
    (Step.DATA, Say(b"250 sure\r\n"), ACCEPTED, False, "250 2.0.0 Ok"),  # nonsense on a used connection: tried again
    (Step.CONTENT, HangUp(), UNKNOWN, False, "after the final dot"),
    (Step.END, Say(b"451 4.3.0 later\r\n"), DEFERRED, False, "451 4.3.0 later"),
    (Step.END, Say(b"421 4.3.2 going down\r\n", then_close=True), DEFERRED, False, "421 4.3.2 going down"),
    (Step.END, Say(b"554 5.7.1 spam\r\n"), REFUSED, False, "554 5.7.1 spam"),
    (Step.END, Say(b"250-2.0.0\r\n250 queued\r\n"), ACCEPTED, False, "250 2.0.0 queued"),
    (Step.END, HangUp(), UNKNOWN, False, "closed the connection after the final dot"),
    (Step.END, HangUp(stored=True), UNKNOWN, False, "closed the connection after the final dot"),
    (Step.END, Say(b"what?\r\n"), UNKNOWN, False, "not SMTP"),
    (Step.END, Say(b"250 " + b"x" * 100_000), UNKNOWN, False, "line without end"),
    (Step.END, Say(b"354 go on\r\n"), UNKNOWN, False, "354 go on"),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize(("step", "wish", "verdict", "bad_address", "words"), MET_BY_THE_SECOND)
async def test_one_message_meets_trouble(
    step: Step, wish: Wish, verdict: Verdict, bad_address: bool, words: str, way: Way
) -> None:
    async with rehearsal(Trouble(step, wish, nth=2), way) as (channel, _, box):
        outcomes = await channel.send(batch(3))
        assert verdicts(outcomes) == [ACCEPTED, verdict, ACCEPTED]
        assert (words in outcomes[1].response, outcomes[1].bad_address) == (True, bad_address)
        stored = verdict is ACCEPTED or wish == HangUp(stored=True) or (isinstance(wish, Say) and wish.ok)
        assert box.recipients == [each.address for each in batch(3) if stored or each.delivery_id != 2]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize("step", [Step.MAIL, Step.RCPT, Step.DATA])
@pytest.mark.parametrize("wish", [Say(b"421 4.7.0 enough\r\n", then_close=True), HangUp(), Say(b"what?\r\n")])
async def test_a_used_connection_that_breaks_before_the_dot_costs_nobody_anything(
    step: Step, wish: Wish, way: Way
) -> None:
    async with rehearsal(Trouble(step, wish, nth=2), way) as (channel, sink, box):
        assert verdicts(await channel.send(batch(3))) == [ACCEPTED] * 3
        assert (sink.sessions, len(box.mails)) == (2, 3)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize("step", [Step.MAIL, Step.RCPT, Step.DATA])
@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Say(b"421 4.7.0 enough\r\n", then_close=True), "421 4.7.0 enough before the final dot"),
        (HangUp(), "closed the connection before the final dot"),
        (Say(b"\x00\xff\r\n"), "not SMTP before the final dot"),
    ],
)
async def test_a_fresh_connection_that_breaks_before_the_dot_defers(
    step: Step, wish: Wish, words: str, way: Way
) -> None:
    async with rehearsal(Trouble(step, wish), way) as (channel, _, box):
        outcomes = await channel.send(batch(2))
        assert verdicts(outcomes) == [DEFERRED, ACCEPTED]
        assert words in outcomes[0].response
        assert box.recipients == ["user-2@users.example"]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize(
    ("step", "verdict"), [(Step.MAIL, DEFERRED), (Step.RCPT, DEFERRED), (Step.DATA, DEFERRED), (Step.END, UNKNOWN)]
)
async def test_a_server_that_falls_silent_is_told_apart_by_the_final_dot(
    step: Step, verdict: Verdict, way: Way
) -> None:
    async with rehearsal(Trouble(step, Stall()), way, HASTY) as (channel, sink, box):
        outcomes = await channel.send(batch(1))
        await sink.until_alone()
        assert verdicts(outcomes) == [verdict]
        assert "gave no answer within 0.3 s" in outcomes[0].response
        assert box.mails == []


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize("wish", [Stall(), HangUp()])
async def test_content_that_never_left_whole_is_certainly_not_accepted(wish: Wish, way: Way) -> None:
    no_limit = replace(way, abilities=replace(way.abilities, size=None))
    async with rehearsal(Trouble(Step.CONTENT, wish), no_limit, HASTY) as (channel, _, box):
        outcomes = await channel.send([prepared(1, payload=LARGE), prepared(2)])
        assert verdicts(outcomes) == [DEFERRED, ACCEPTED]
        assert "before the final dot; nothing was handed over" in outcomes[0].response
        assert box.recipients == ["user-2@users.example"]


async def test_a_refusal_in_the_middle_of_the_content_counts() -> None:
    script = Trouble(Step.CONTENT, Say(b"552 5.3.4 too large\r\n"))
    way = replace(PIPELINED, abilities=Abilities(size=None))
    async with rehearsal(script, way) as (channel, _, _):
        outcomes = await channel.send([prepared(1, payload=LARGE), prepared(2)])
        assert verdicts(outcomes) == [REFUSED, ACCEPTED]


async def test_a_server_that_wants_content_for_nobody_gets_an_empty_message() -> None:
    def script(moment: Moment) -> Wish | None:
        if moment.step is Step.RCPT and moment.recipient.startswith("user-2"):
            return Say(b"550 5.1.1 no such user\r\n")
        return Say(b"354 go on\r\n") if moment.step is Step.DATA and not moment.recipient else None

    async with rehearsal(script) as (channel, sink, box):
        outcomes = await channel.send(batch(3))
        assert verdicts(outcomes) == [ACCEPTED, REFUSED, ACCEPTED]
        assert box.recipients == ["user-1@users.example", "user-3@users.example"]
        assert sink.sessions == 1


async def test_a_server_that_takes_the_recipient_of_a_refused_sender_gets_nothing() -> None:
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for commands, answer in (
            (0, b"220 hi"),
            (1, b"250-hi\r\n250 PIPELINING"),
            (3, b"550 no\r\n250 ok\r\n354 go on"),
        ):
            for _ in range(commands):
                await reader.readline()
            writer.write(answer + b"\r\n")
        heard.set_result(await reader.read())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        channel = SmtpChannel(f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}", sender=SENDER)
        assert verdicts(await channel.send(batch(1))) == [REFUSED]
        await channel.close()
        assert await heard == b""


@pytest.mark.parametrize("answer", [b"421 4.3.2 going down\r\n", b"354 go on\r\n"])
async def test_a_connection_that_is_not_to_be_trusted_any_more_is_left(answer: bytes) -> None:
    async with rehearsal(Trouble(Step.END, Say(answer))) as (channel, sink, box):
        assert verdicts(await channel.send(batch(3)))[1:] == [ACCEPTED] * 2
        assert (sink.sessions, len(box.mails)) == (2, 2)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_every_recipient_refused_and_the_connection_still_serves(way: Way) -> None:
    async with rehearsal(Trouble(Step.RCPT, Say(b"550 5.1.1 no\r\n"), nth=0), way) as (channel, sink, _):
        outcomes = await channel.send(batch(20))
        assert {(outcome.verdict, outcome.bad_address) for outcome in outcomes} == {(REFUSED, True)}
        assert verdicts(await channel.send(batch(2))) == [REFUSED] * 2
        assert sink.sessions == 1


# Where no connection comes about, nothing was handed over.


@pytest.mark.parametrize(
    ("step", "wish", "words"),
    [
        (Step.GREETING, Say(b"421 4.3.2 too busy\r\n", then_close=True), "421 4.3.2 too busy (to our call)"),
        (Step.GREETING, Say(b"554 5.7.1 not you\r\n", then_close=True), "554 5.7.1 not you (to our call)"),
        (Step.GREETING, HangUp(), "closed the connection"),
        (Step.GREETING, Say(b"HTTP/1.1 400 Bad Request\r\n"), "not SMTP"),
        (Step.GREETING, Say(b"220 hi\r\n250 you\r\n"), "unasked"),
        (Step.EHLO, Say(b"550 5.7.1 go away\r\n"), "550 5.7.1 go away (to EHLO)"),
        (Step.EHLO, HangUp(), "closed the connection"),
    ],
)
async def test_a_server_that_does_not_want_us_defers_all(step: Step, wish: Wish, words: str) -> None:
    async with rehearsal(Trouble(step, wish, nth=0)) as (channel, _, box):
        outcomes = await channel.send(batch(3))
        assert verdicts(outcomes) == [DEFERRED] * 3
        assert all(words in outcome.response for outcome in outcomes)
        assert box.mails == []


@pytest.mark.parametrize("step", [Step.GREETING, Step.EHLO])
async def test_a_silent_server_defers_all(step: Step) -> None:
    async with rehearsal(Trouble(step, Stall(), nth=0), timeouts=HASTY) as (channel, _, _):
        outcomes = await channel.send(batch(2))
        assert verdicts(outcomes) == [DEFERRED] * 2
        assert "gave no answer within 0.3 s" in outcomes[0].response


async def test_a_refused_connection_defers_all() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        channel = SmtpChannel(f"smtp://127.0.0.1:{bound.getsockname()[1]}", sender=SENDER)
        outcomes = await channel.send(batch(5))
    assert outcomes == [Outcome(DEFERRED, "127.0.0.1: connection refused")] * 5


async def test_an_unknown_host_defers_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    channel = SmtpChannel("smtp://mail.acme.example", sender=SENDER)
    outcomes = await channel.send(batch(2))
    assert outcomes == [Outcome(DEFERRED, "mail.acme.example: no such host, or no name server")] * 2


async def test_starttls_is_not_done_without() -> None:
    way = Way("no TLS", Abilities(), "?starttls=required")
    async with rehearsal(way=way) as (channel, _, box):
        outcomes = await channel.send(batch(1))
        assert verdicts(outcomes) == [DEFERRED]
        assert "offers no STARTTLS" in outcomes[0].response
        assert box.mails == []


async def test_optional_starttls_does_without_where_there_is_none() -> None:
    async with rehearsal(way=Way("no TLS", Abilities(), "?starttls=optional")) as (channel, _, _):
        assert verdicts(await channel.send(batch(1))) == [ACCEPTED]


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_certificate_of_nobody_we_trust_defers_all(scheme: str) -> None:
    way = Way("untrusted", Abilities(tls=server_tls(), tls_from_start=scheme == "smtps"), scheme=scheme)
    if scheme == "smtp":
        way = replace(way, query="?starttls=optional")
    async with rehearsal(way=way) as (channel, _, box):
        outcomes = await channel.send(batch(2))
        assert verdicts(outcomes) == [DEFERRED] * 2
        assert "certificate cannot be trusted" in outcomes[0].response
        assert box.mails == []


@pytest.mark.parametrize("slipped_in", [b"250 forged\r\n", b"250 half of a forged"])
async def test_what_is_slipped_in_before_tls_ends_the_connection(slipped_in: bytes) -> None:
    script = Trouble(Step.STARTTLS, Say(b"220 go\r\n" + slipped_in))
    async with rehearsal(script, WAYS[2]) as (channel, _, box):
        outcomes = await channel.send(batch(1))
        assert verdicts(outcomes) == [DEFERRED]
        assert box.mails == []


@pytest.mark.parametrize("mechanisms", [("PLAIN", "LOGIN"), ("LOGIN",)])
@pytest.mark.parametrize("way", [WAYS[0], WAYS[2]], ids=lambda way: way.name)
async def test_user_and_password(way: Way, mechanisms: tuple[str, ...]) -> None:
    asks = replace(way, abilities=replace(way.abilities, login=("bob", "päss:word"), mechanisms=mechanisms))
    async with rehearsal(way=asks, login="bob:p%C3%A4ss%3Aword@") as (channel, _, _):
        assert verdicts(await channel.send(batch(2))) == [ACCEPTED] * 2
    async with rehearsal(way=asks, login="bob:wrong@") as (channel, _, _):
        outcomes = await channel.send(batch(2))
        assert verdicts(outcomes) == [DEFERRED] * 2
        assert "535 5.7.8 User or password is wrong (to user and password)" in outcomes[0].response
        assert "wrong@" not in outcomes[0].response
    async with rehearsal(way=asks) as (channel, _, _):
        outcomes = await channel.send(batch(1))
        assert verdicts(outcomes) == [DEFERRED]
        assert "530" in outcomes[0].response


async def test_a_password_is_not_sent_in_the_clear() -> None:
    way = Way("no TLS", Abilities(login=("bob", "secret")), "?starttls=optional")
    script = Trouble(Step.AUTH, HangUp())
    async with rehearsal(script, way, login="bob:secret@") as (channel, _, _):
        outcomes = await channel.send(batch(1))
        assert verdicts(outcomes) == [DEFERRED]
        assert "not sent in the clear" in outcomes[0].response
        assert all(moment.step is not Step.AUTH for moment in script.moments)


async def test_a_server_from_before_esmtp_is_served() -> None:
    async with rehearsal(way=Way("HELO", Abilities(ehlo=False))) as (channel, _, _):
        assert verdicts(await channel.send(batch(3))) == [ACCEPTED] * 3


# What the commands say.


async def test_the_size_is_declared_where_the_server_wants_to_know() -> None:
    script = Trouble(Step.STARTTLS, HangUp())
    async with rehearsal(script) as (channel, _, _):
        await channel.send(batch(1))
    lines = [moment.line for moment in script.moments if moment.step is Step.MAIL]
    assert lines == [f"MAIL FROM:<hello@acme.example> SIZE={len(batch(1)[0].payload)}"]


async def test_a_message_that_is_too_large_is_refused_and_nothing_of_it_sent() -> None:
    script = Trouble(Step.STARTTLS, HangUp())
    way = Way("small", Abilities(size=100))
    async with rehearsal(script, way) as (channel, _, _):
        outcomes = await channel.send([prepared(1), prepared(2, payload=b"x" * 101), prepared(3)])
    assert verdicts(outcomes) == [ACCEPTED, REFUSED, ACCEPTED]
    assert "takes 100 bytes" in outcomes[1].response
    assert sum(moment.step is Step.MAIL for moment in script.moments) == 2


async def test_we_call_ourselves_by_our_address_or_the_given_name() -> None:
    names = []
    for query in ("", "?helo=app.acme.example"):
        script = Trouble(Step.STARTTLS, HangUp())
        async with rehearsal(script, Way("name", Abilities(), query)) as (channel, _, _):
            await channel.send(batch(1))
        names += [moment.line for moment in script.moments if moment.step is Step.EHLO]
    assert names == ["EHLO [127.0.0.1]", "EHLO app.acme.example"]


# Connections that were kept.


@pytest.mark.parametrize("noticed", [False, True])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_a_kept_connection_that_the_server_closed_costs_nothing(way: Way, noticed: bool) -> None:
    async with rehearsal(way=way, pool_size=2) as (channel, sink, box):
        await channel.send(batch(4))
        sink.hang_up_on_all()
        if noticed:
            await sink.until_alone()
        assert verdicts(await channel.send(batch(4))) == [ACCEPTED] * 4
        assert len(box.mails) == 8


async def test_a_kept_connection_is_not_trusted_for_ever() -> None:
    async with rehearsal(timeouts=Timeouts(idle=-1)) as (channel, sink, _):
        await channel.send(batch(1))
        await channel.send(batch(1))
        assert sink.sessions == 2


async def test_batches_at_the_same_time_share_the_connections() -> None:
    async with rehearsal(pool_size=3) as (channel, sink, box):
        results = await asyncio.gather(*(channel.send(batch(7)) for _ in range(5)))
        assert all(verdicts(outcomes) == [ACCEPTED] * 7 for outcomes in results)
        assert len(box.mails) == 35
        assert sink.sessions <= 3


async def test_a_server_that_takes_few_connections_is_served_over_those() -> None:
    def script(moment: Moment) -> Wish | None:
        crowded = moment.step is Step.GREETING and moment.session > 1
        return Say(b"421 4.7.0 too many connections\r\n", then_close=True) if crowded else None

    async with rehearsal(script, pool_size=4) as (channel, _, box):
        assert verdicts(await channel.send(batch(30))) == [ACCEPTED] * 30
        assert len(box.mails) == 30


async def test_a_server_that_always_breaks_is_given_up() -> None:
    async with rehearsal(Trouble(Step.MAIL, HangUp(), nth=0)) as (channel, sink, box):
        assert set(verdicts(await channel.send(batch(50)))) == {DEFERRED}
        assert sink.sessions <= 3
        assert box.mails == []


# Bounds.


async def test_a_batch_is_bounded() -> None:
    timeouts = Timeouts(final_dot=60, batch=0.5)
    async with rehearsal(Trouble(Step.END, Stall(), nth=2), timeouts=timeouts) as (channel, _, _):
        outcomes = await channel.send(batch(4))
        assert verdicts(outcomes) == [ACCEPTED, UNKNOWN, DEFERRED, DEFERRED]
        assert outcomes[3].response == "127.0.0.1: the batch did not end within 0.5 s"


@pytest.mark.parametrize("step", [Step.GREETING, Step.MAIL, Step.END])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_cancelled_it_drops_the_connection_and_can_be_used_again(step: Step, way: Way) -> None:
    reached = asyncio.Event()
    async with rehearsal(Trouble(step, Stall(), then=reached.set), way) as (channel, sink, box):
        sending = asyncio.create_task(channel.send(batch(3)))
        await reached.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await sink.until_alone()
        assert verdicts(await channel.send(batch(3))) == [ACCEPTED] * 3
        assert box.doubles == []


# Whatever happens, what is said of a message is true.

WISHES = st.sampled_from(
    [
        *(
            HangUp(),
            HangUp(stored=True),
            Say(b"421 bye\r\n", then_close=True),
            Say(b"450 later\r\n"),
            Say(b"550 no\r\n"),
        ),
        *(Say(b"250 fine\r\n"), Say(b"354 go on\r\n"), Say(b"?\r\n"), Say(b"250 one\r\n250 two\r\n"), Say(b"25")),
    ]
)
TROUBLES = st.dictionaries(st.tuples(st.sampled_from(Step), st.integers(1, 12)), WISHES, max_size=8)


@settings(max_examples=150, deadline=None)
@given(TROUBLES, st.booleans(), st.integers(1, 3), st.integers(1, 12))
def test_what_is_said_of_a_message_is_true(
    troubles: dict[tuple[Step, int], Wish], pipelining: bool, pool_size: int, count: int
) -> None:
    asyncio.run(_check_truth(troubles, pipelining, pool_size, count))


async def _check_truth(troubles: dict[tuple[Step, int], Wish], pipelining: bool, pool_size: int, count: int) -> None:
    seen: dict[Step, int] = dict.fromkeys(Step, 0)
    lied: set[str] = set()

    def script(moment: Moment) -> Wish | None:
        seen[moment.step] += 1
        wish = troubles.get((moment.step, seen[moment.step]))
        if isinstance(wish, Say) and wish.ok:
            lied.add("the sink said what it did not mean")
        return wish

    way = Way("any", Abilities(pipelining=pipelining))
    patience = Timeouts(connect=5, command=0.2, final_dot=0.2, batch=20)
    async with rehearsal(script, way, patience, pool_size) as (channel, _, box):
        outcomes = await channel.send(batch(count))
    assert len(outcomes) == count
    assert box.doubles == []
    if lied:
        return
    for each, outcome in zip(batch(count), outcomes, strict=True):
        stored = each.address in box.recipients
        assert stored or outcome.verdict is not ACCEPTED, outcome
        assert not stored or outcome.verdict in (ACCEPTED, UNKNOWN), outcome


async def test_many_batches_through_a_server_that_breaks_at_random_lose_and_double_nothing() -> None:
    rng = random.Random(7)
    wishes: list[Wish] = [HangUp(), HangUp(stored=True), Say(b"421 bye\r\n", then_close=True), Say(b"450 later\r\n")]

    def script(moment: Moment) -> Wish | None:
        return rng.choice(wishes) if rng.random() < 0.02 else None

    states: dict[str, Verdict] = {}
    async with rehearsal(script, pool_size=3) as (channel, _, box):
        waiting = batch(2000)
        while waiting:
            chunk, waiting = waiting[:100], waiting[100:]
            for each, outcome in zip(chunk, await channel.send(chunk), strict=True):
                states[each.address] = outcome.verdict
                waiting += [each] if outcome.verdict is DEFERRED else []
        assert box.doubles == []
        accepted = {address for address, verdict in states.items() if verdict is ACCEPTED}
        assert accepted <= set(box.recipients)
        assert {states[address] for address in box.recipients} <= {ACCEPTED, UNKNOWN}
        assert set(states.values()) == {ACCEPTED, UNKNOWN}
