"""Only an address that is one by the RFCs gets into a header or an SMTP command."""

from __future__ import annotations

import pytest
from email_validator import validate_email
from hypothesis import given
from hypothesis import strategies as st

from hark.channels.addresses import wire_address
from hark.errors import Undeliverable

SPECIALS = st.text("abzAZ019.@-_+'=?<>()[]\\\"\r\n\0 üß,;:", max_size=40)


@pytest.mark.parametrize(
    ("address", "wire"),
    [
        ("bob@users.example", "bob@users.example"),
        ("Bob.O'Neil+tag@Users.Example", "Bob.O'Neil+tag@Users.Example"),
        ("a@b-c.d.example", "a@b-c.d.example"),
        ("bob@bücher.example", "bob@xn--bcher-kva.example"),
        ("bob@xn--bcher-kva.example", "bob@xn--bcher-kva.example"),
    ],
)
def test_good_addresses(address: str, wire: str) -> None:
    assert wire_address(address) == wire


@pytest.mark.parametrize(
    "address",
    [
        *("", "bob", "@users.example", "bob@", "bob@@users.example", "a@b@users.example", "bob@users..example"),
        *(".bob@users.example", "bob.@users.example", "b..b@users.example", "bob@-users.example", "bob@users-.example"),
        *(
            "bob@users.example\r\nRCPT TO:<eve@x.example>",
            "bob@users.example\n",
            "bob\0@users.example",
            "bob bob@x.example",
        ),
        *("<bob@users.example>", "bob@users.example>", "bob@users.example,eve@x.example", '"bob"@users.example'),
        *(
            "bob@[127.0.0.1]",
            "bob@localhost",
            "büb@users.example",
            "a" * 65 + "@x.example",
            "a@" + "b" * 64 + ".example",
        ),
        *(
            "a@" + "b." * 126 + "example",
            "=?utf-8?q?=0A?=@users.example",
            "bob@users.example=?",
            "bob@users\u2028.example",
        ),
        *("bob@xn--zzzzzzzzz-.example", "bob@users.\ud800"),
    ],
)
def test_bad_addresses_are_refused_without_being_named(address: str) -> None:
    with pytest.raises(Undeliverable, match=r"^address: ") as refused:
        wire_address(address)
    assert not address or address not in str(refused.value)


def test_a_local_part_that_needs_smtputf8_is_refused_with_the_reason() -> None:
    with pytest.raises(Undeliverable, match=r"^address: U\+00FC before the @; only ASCII"):
        wire_address("bücher@users.example")


@given(SPECIALS | st.emails())
def test_whatever_is_accepted_is_safe_and_an_address_to_the_reference_library_too(address: str) -> None:
    try:
        wire = wire_address(address)
    except Undeliverable:
        return
    assert wire.isascii()
    assert wire.isprintable()
    assert not set(wire) & set(' <>()[]",;:\\')
    checked = validate_email(
        address, check_deliverability=False, allow_smtputf8=False, globally_deliverable=False, strict=True
    )
    assert (checked.ascii_email or "").lower() == wire.lower()
