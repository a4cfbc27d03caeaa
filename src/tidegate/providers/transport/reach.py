"""Where may a connection lead? Decided on the address that is connected to, by what its host is called.

An address of a private network is meant where it is written as such, and where its name can only be a private one.
Behind a public name it is a mistake, or somebody who changes what the name means (DNS rebinding); and at a link-local
address stands what gives a machine its credentials. Those are said in `transport.private_hosts`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal

Address = IPv4Address | IPv6Address
Kind = Literal["public", "private", "link"]

# Answered by whoever runs the machine, with its credentials among what they tell; some clouds do so elsewhere.
LINK = tuple(
    map(ip_network, ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32", "168.63.129.16/32"))
)
NAT64 = tuple(map(ip_network, ("64:ff9b::/96", "64:ff9b:1::/48")))
PRIVATE_NAMES = (
    *("localhost", "local", "internal", "intranet", "private", "lan", "home", "corp", "home.arpa", "test", "svc"),
)  # such as vllm.models.svc; a name of one word, such as `ollama`, is private too
NAME = re.compile(r"(\*\.)?[\w-]+(\.[\w-]+)*|[0-9a-fA-F:.]+")


class Refused(OSError):
    """All that a name leads to is where we do not go."""


def kind_of(address: Address) -> Kind:
    """What stands inside an address of IPv6 counts, where it leads to one of IPv4."""
    if isinstance(address, IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return kind_of(inner)
    if any(address.version == network.version and address in network for network in LINK):
        return "link"
    if address.is_multicast or (isinstance(address, IPv4Address) and address.is_reserved):
        return "link"
    of_a_site = isinstance(address, IPv6Address) and address.is_site_local
    return "public" if address.is_global and not of_a_site else "private"


def _inner(address: IPv6Address) -> IPv4Address | None:
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in NAT64) or (int(address) >> 32 == 0 and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def literal(host: str) -> Address | None:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


def is_private_name(host: str) -> bool:
    host = host.rstrip(".")
    return "." not in host or any(host.endswith(f".{name}") for name in PRIVATE_NAMES)


class Reach:
    """How far connections go. `private_hosts`: names, `*.NAME` for all below one, and addresses."""

    def __init__(self, private_hosts: Sequence[str]) -> None:
        self._named = {host.lower().rstrip(".") for host in private_hosts}

    def why_not(self, host: str, address: Address, *, foreign: bool = False) -> str | None:
        """Why a connection to `host` does not go to `address`; None where it may.

        `foreign`: the host was told to us by somebody outside, so that nothing private is meant by it.
        """
        kind = kind_of(address)
        if kind == "public" or self._is_named(host.rstrip(".")):
            return None
        if kind == "private" and not foreign and (literal(host) is not None or is_private_name(host)):
            return None
        what = "a link-local or a cloud's own address" if kind == "link" else "a private address"
        return f"leads to {what}, and is not asked; if that is meant, put {host} into transport.private_hosts"

    def allowed(self, host: str, addresses: Sequence[str], *, foreign: bool = False) -> list[bool]:
        """Which of the addresses of `host` may be connected to. Raises Refused when none may."""
        whys = [self.why_not(host, ip_address(one.partition("%")[0]), foreign=foreign) for one in addresses]
        if whys and None not in whys:
            raise Refused(whys[0])
        return [why is None for why in whys]

    def _is_named(self, host: str) -> bool:
        above = host.split(".")
        return host in self._named or any(f"*.{'.'.join(above[at:])}" in self._named for at in range(1, len(above)))
