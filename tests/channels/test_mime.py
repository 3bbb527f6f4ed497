"""Whatever a message says, what leaves is a well-formed mail that says exactly that, or nothing leaves."""

from __future__ import annotations

import email
import email.policy
import os
import random
from datetime import datetime, timedelta, timezone
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hark.channels.mime import MimeBuilder, encoded_body
from hark.errors import BadInput, Undeliverable

from .examples import SENDER, fuzzed, message
from .strict_mail import Mail, read_mail

BUILDER = MimeBuilder(SENDER)

CHARACTERS = st.characters(exclude_categories=["Cs"])
LINES = st.sampled_from(["\n", "\r\n", "\r", " \n", "\t\n", "\n.\n", "\nFrom ", "=", "\0", "x" * 999, "é", "--=_hark_"])
BODIES = st.lists(st.one_of(st.text(CHARACTERS), LINES), max_size=12).map("".join)
SUBJECTS = st.one_of(
    st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=300).filter(lambda s: "=?" not in s),
    st.lists(st.sampled_from(["word", "ab" * 40, "=?", " ", "grün", "x" * 1000, "😀"]), max_size=30).map(" ".join),
)


def normal(text: str) -> str:
    """What a body is allowed to lose: the kind of its line ends, and a last line without one."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return (text if text.endswith("\n") else text + "\n").replace("\n", "\r\n")


def by_stdlib(wire: bytes) -> Mail:
    parsed = email.message_from_bytes(wire, policy=email.policy.SMTP)
    parts = [part for part in parsed.walk() if not part.is_multipart()]
    assert not [defect for part in parsed.walk() for defect in part.defects]
    texts = [cast(bytes, part.get_payload(decode=True)).decode() for part in parts]
    headers = {name.lower(): str(value) for name, value in parsed.items()}
    return Mail(headers, texts[0], texts[1] if len(texts) > 1 else None)


@given(subject=SUBJECTS, text=BODIES, html=st.none() | BODIES)
@example(subject="", text="", html="")
@example(subject="  spaces  around ", text="\r", html="\r\n\r")
@example(subject="x " * 200, text="From here\nFrom there\n", html="é\nFrom there\n")
@example(subject="ok", text="é" + "a" * 74 + " \n", html="é\n" + "a" * 75 + "\t\n")
def test_a_message_is_well_formed_and_says_what_was_meant(subject: str, text: str, html: str | None) -> None:
    wire = BUILDER.build(message(subject=subject, text=text, html=html))
    mail = read_mail(wire)
    assert mail.subject == subject
    assert mail.text == normal(text)
    assert mail.html == (None if html is None else normal(html))
    peer = by_stdlib(wire)
    assert (peer.text, peer.html) == (mail.text, mail.html)
    assert peer.headers.keys() == mail.headers.keys()


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_many_fuzzed_messages_are_well_formed() -> None:
    """`make chaos` sets HARK_FUZZ_MESSAGES to a million. The second reader, the slow stdlib, reads one in twenty."""
    rng = random.Random(20260501)
    for number in range(int(os.environ.get("HARK_FUZZ_MESSAGES", "5000"))):
        sent = fuzzed(rng, number)
        wire = BUILDER.build(sent)
        mail = read_mail(wire)
        assert (mail.subject, mail.text) == (sent.subject, normal(sent.text)), number
        assert mail.html == (None if sent.html is None else normal(sent.html)), number
        if number % 20 == 0:
            peer = by_stdlib(wire)
            assert (peer.text, peer.html) == (mail.text, mail.html), number


def test_the_headers_are_those_of_the_message() -> None:
    builder = MimeBuilder("Acme <hello@acme.example>", "answers@acme.example")
    at = datetime(2026, 5, 1, 23, 6, 1, tzinfo=timezone(timedelta(hours=-3)))
    mail = read_mail(builder.build(message(at=at)))
    assert {name: value for name, value in mail.headers.items() if name != "content-type"} == {
        "from": "Acme <hello@acme.example>",
        "reply-to": "answers@acme.example",
        "to": "bob@users.example",
        "subject": "2 new: Apps shared with you",
        "date": "Sat, 02 May 2026 02:06:01 +0000",
        "message-id": "<hark-88@acme.example>",
        "auto-submitted": "auto-generated",
        "mime-version": "1.0",
    }


def test_the_same_message_gives_the_same_bytes() -> None:
    assert MimeBuilder(SENDER).build(message()) == MimeBuilder(SENDER).build(message())


def test_without_html_there_is_one_part() -> None:
    wire = BUILDER.build(message(html=None))
    assert b"multipart" not in wire
    assert read_mail(wire).html is None


def test_a_body_that_holds_its_own_boundary_gets_another_one() -> None:
    first = read_mail(BUILDER.build(message())).headers["content-type"].partition('"')[2].rstrip('"')
    wire = BUILDER.build(message(text=f"--{first}\n--{first}--\n"))
    mail = read_mail(wire)
    assert mail.text == f"--{first}\r\n--{first}--\r\n"
    assert first not in mail.headers["content-type"]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain\n", b"7bit"),
        ("x" * 998, b"7bit"),
        ("x" * 999, b"quoted-printable"),
        (("x" * 997 + "\n") * 3 + "x" * 999, b"quoted-printable"),
        ("Das ist sehr viel größer als das da\n", b"quoted-printable"),
        ("From me\n", b"quoted-printable"),
        ("bell\a\n", b"quoted-printable"),
        ("привет, мир\n", b"base64"),
    ],
)
def test_the_encoding_is_the_plainest_that_carries_the_text(text: str, encoding: bytes) -> None:
    assert encoded_body(text, "text")[0] == encoding


@pytest.mark.parametrize(
    ("subject", "line"),
    [
        ("a" * 69, f"Subject: {'a' * 69}"),
        ("word " * 14 + "end", f"Subject: {'word ' * 13}word\r\n end"),
        ("Grüße von Anna", "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe_von_Anna?="),
        ("мир", "Subject: =?utf-8?b?0LzQuNGA?="),
        ("look here: =?", "Subject: =?utf-8?q?look_here=3A_=3D=3F?="),
    ],
)
def test_a_subject_is_written_as_plainly_as_it_can(subject: str, line: str) -> None:
    assert f"\r\n{line}\r\n".encode() in BUILDER.build(message(subject=subject))


FORGERIES = [
    "hello\r\nBcc: all@acme.example",
    "hello\nBcc: all@acme.example",
    "hello\rBcc: all@acme.example",
    "nul\0",
    "bell\a",
    "tab\t",
    "c1 \x85",
    "line\u2028separator",
    "paragraph\u2029separator",
    "half \ud800",
    "=?utf-8?q?hello=0D=0ABcc:_all?=",
    "=?utf-8?b?aGVsbG8NCkJjYzogYWxs?=",
    "=?UTF-8?Q?=0a?=",
    "=?utf-8*en?q?=0A?=",
    "=?nonsense?q?=0D?=",
    "=?utf-7?q?+AA0ACg-?=",
    "=?utf-16-be?b?AA0=?=",
    "=?idna?q?=0A?=",
    "=?utf-8?q?=3D=3Futf-8=3Fq=3F=3D0A=3F=3D?=",
    "=?us-ascii?q?=3D=3Futf-8=3Fb=3FDQo=3D=3F=3D?=",
]


@pytest.mark.parametrize("subject", FORGERIES)
def test_a_forged_subject_is_refused_by_name_and_code_point_only(subject: str) -> None:
    with pytest.raises(Undeliverable, match=r"^subject: U\+[0-9A-F]{4} may not stand in a header$"):
        BUILDER.build(message(subject=subject))


@given(
    st.text(CHARACTERS, max_size=30), st.sampled_from(["\r", "\n", "\0", "\x0b", "\x1b", "\x7f", "\u2028"]), st.text()
)
def test_no_control_character_ever_reaches_a_header(before: str, control: str, after: str) -> None:
    with pytest.raises(Undeliverable):
        BUILDER.build(message(subject=before + control + after))


@pytest.mark.parametrize("field", ["text", "html"])
def test_half_a_character_is_refused(field: str) -> None:
    faulty = message(text="a\udcff") if field == "text" else message(html="a\udcff")
    with pytest.raises(Undeliverable, match=rf"^{field}: U\+DCFF"):
        BUILDER.build(faulty)


@pytest.mark.parametrize(
    "message_id", ["", "a", "a b@c", "<a@b>", "a@b\r\nX: y", "=?utf-8?q?=0A?=@b", "ä@b", "a" * 250 + "@b"]
)
def test_a_message_id_is_checked(message_id: str) -> None:
    with pytest.raises(Undeliverable, match=r"^message_id: "):
        BUILDER.build(message(number=1, message_id=message_id or " "))


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(Undeliverable, match=r"^at: "):
        BUILDER.build(message(at=datetime(2026, 5, 1)))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("sender", "line"),
    [
        ("hello@acme.example", "From: hello@acme.example"),
        ("Acme <hello@acme.example>", "From: Acme <hello@acme.example>"),
        ("Acme, Inc. <hello@acme.example>", 'From: "Acme, Inc." <hello@acme.example>'),
        ('"Acme, Inc." <hello@acme.example>', 'From: "Acme, Inc." <hello@acme.example>'),
        ("Ärzte der Welt <hello@acme.example>", "From: =?utf-8?q?=C3=84rzte_der_Welt?= <hello@acme.example>"),
        ("=?x?= <hello@acme.example>", "From: =?utf-8?b?PT94Pz0=?= <hello@acme.example>"),
        ("Acme <hello@bücher.example>", "From: Acme <hello@xn--bcher-kva.example>"),
    ],
)
def test_a_sender_is_written_by_the_rules(sender: str, line: str) -> None:
    assert MimeBuilder(sender).build(message()).startswith(f"{line}\r\n".encode())


@given(st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters='"<>\\'), max_size=150))
def test_any_sender_name_keeps_the_message_well_formed(name: str) -> None:
    if "=?" in name:
        return
    mail = read_mail(MimeBuilder(f"{name} <hello@acme.example>").build(message()))
    assert mail.headers["from"].endswith("hello@acme.example>" if name.strip() else "hello@acme.example")


@pytest.mark.parametrize(
    "sender", ["", "Acme", "Acme <>", "Acme <a@b@c>", "Acme\r\nBcc: x <a@b.example>", "x" * 300 + " <a@b.example>"]
)
def test_a_bad_sender_is_the_operators_to_mend(sender: str) -> None:
    with pytest.raises(BadInput, match=r"^sender: .*write"):
        MimeBuilder(sender)
