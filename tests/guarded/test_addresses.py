"""Only public addresses are connected to, however they are spelled or wrapped, but for what an operator allows."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hark.errors import BadInput
from hark.guarded.addresses import Allowed, refusal

NONE = Allowed()
PRIVATE = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/29"),
    *("192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4"),
    *("240.0.0.0/4", "255.255.255.255/32", "168.63.129.16/32", "192.88.99.0/24"),
)
PRIVATE_6 = ("::1/128", "::/128", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "2001:db8::/32", "2001::/32")
PUBLIC = ("1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.1", "2606:4700::1111", "2a00:1450::1")

private_4 = st.sampled_from([ip_network(each) for each in PRIVATE]).flatmap(
    lambda network: st.ip_addresses(v=4, network=str(network))
)
private_6 = st.sampled_from(PRIVATE_6).flatmap(lambda network: st.ip_addresses(v=6, network=network))


@given(private_4 | private_6)
def test_no_private_address_is_connected_to(address: IPv4Address | IPv6Address) -> None:
    assert refusal(str(address), NONE)


@given(private_4)
def test_no_private_address_is_reached_by_wrapping_it(address: IPv4Address) -> None:
    number = int(address)
    for wrapped in (0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80, number):
        assert refusal(str(IPv6Address(wrapped)), NONE), IPv6Address(wrapped)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_connected_to(address: str) -> None:
    assert refusal(address, NONE) == ""


def test_public_addresses_are_connected_to_through_a_translation() -> None:
    assert refusal("64:ff9b::8.8.8.8", NONE) == refusal("::ffff:8.8.8.8", NONE) == ""


def test_a_link_local_address_with_a_zone_is_refused() -> None:
    assert refusal("fe80::1%eth0", NONE) == "link-local"


@given(private_4)
def test_what_is_allowed_is_connected_to_and_nothing_else(address: IPv4Address) -> None:
    allowed = Allowed.parse(["10.0.0.0/8", "127.0.0.1"])
    inside = address in ip_network("10.0.0.0/8") or address == ip_address("127.0.0.1")
    assert (refusal(str(address), allowed) == "") is inside
    assert (refusal(str(IPv6Address(0xFFFF << 32 | int(address))), allowed) == "") is inside


def test_hosts_are_allowed_by_name_in_any_case() -> None:
    allowed = Allowed.parse(["Intranet.Acme.example", "10.1.0.0/16", "fd00:1::/64"])
    assert allowed.host("INTRANET.acme.example.")
    assert not allowed.host("acme.example")
    assert str(allowed) == "10.1.0.0/16, fd00:1::/64, intranet.acme.example"


@pytest.mark.parametrize("word", ["10.1.0.1/16", "10.1/16", "fd00::g", "a b", "", "http://x", "*.acme.example", "-a"])
def test_what_is_neither_a_network_nor_a_host_is_refused(word: str) -> None:
    with pytest.raises(BadInput, match="is n"):
        Allowed.parse([word])
