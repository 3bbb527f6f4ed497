"""Which addresses Hark does not connect to: all but the public ones, however they are spelled or wrapped."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from hark.errors import BadInput

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62}\.)*[a-z0-9_-]{1,63}|[a-z0-9]")

_NAT64 = ip_network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are the IPv4 address that is reached."""

_REFUSED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), why)
    for network, why in (
        ("168.63.129.16/32", "the metadata of a cloud"),  # Azure's, the one that is a public address
        ("169.254.0.0/16", "link-local"),  # the metadata of most others is here
        ("100.64.0.0/10", "shared by a carrier's customers"),
        ("0.0.0.0/8", "this network"),
        ("192.88.99.0/24", "a relay of 6to4"),
        ("64:ff9b:1::/48", "a local translation to IPv4"),
        ("2001::/32", "a tunnel (Teredo)"),
        ("::/96", "an IPv4 address in an outdated form"),
        ("fec0::/10", "site-local"),
    )
)


@dataclass(frozen=True, slots=True)
class Allowed:
    """What an operator allows though it is private: networks, and hosts by name, whatever they resolve to."""

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, words: Iterable[str]) -> Allowed:
        """Read what a setting lists: `10.1.0.0/16`, `127.0.0.1`, `intranet.acme.example`.

        Raises:
            BadInput: a word is neither a network nor an address nor the name of a host.
        """
        networks: list[Network] = []
        hosts: set[str] = set()
        for word in words:
            network = _network(word)
            if network is None:
                hosts.add(_host(word))
            else:
                networks.append(network)
        return cls(tuple(networks), frozenset(hosts))

    def host(self, name: str) -> bool:
        """Whether a host is allowed by its name."""
        return name.lower().rstrip(".") in self.hosts

    def address(self, address: Address) -> bool:
        """Whether an address is in an allowed network."""
        return any(address in network for network in self.networks)

    def __str__(self) -> str:
        return ", ".join([*map(str, self.networks), *sorted(self.hosts)]) or "none"


NOTHING_ALLOWED = Allowed()
"""Public addresses only."""


def refusal(text: str, allowed: Allowed) -> str:
    """Why an address is not connected to; empty: it is public, or allowed.

    Args:
        text: as a resolver gives it, with or without a zone (`fe80::1%eth0`).
    """
    address = ip_address(text)
    if allowed.address(address):
        return ""
    inner = _wrapped(address)
    if inner is not None:
        why = "" if allowed.address(inner) else _why(inner)
        return f"{why}, as {inner}" if why else ""
    return _why(address)


def _why(address: Address) -> str:
    for network, why in _REFUSED:
        if address in network:
            return why
    if address.is_loopback:
        return "loopback"
    if address.is_link_local:
        return "link-local"
    if address.is_multicast:
        return "multicast"
    return "" if address.is_global and not address.is_reserved else "private or reserved"


def _wrapped(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


def _network(word: str) -> Network | None:
    try:
        return ip_network(word)
    except ValueError:
        if "/" in word or ":" in word:
            raise BadInput(f'"{word}" is not a network; write 10.1.0.0/16 or fd00:1::/64') from None
        return None


def _host(word: str) -> str:
    name = word.lower().rstrip(".")
    if not _HOST.fullmatch(name):
        raise BadInput(f'"{word}" is neither a network nor a host; write 10.1.0.0/16 or intranet.acme.example')
    return name
