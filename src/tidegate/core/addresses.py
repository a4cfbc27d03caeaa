"""Which address is it, and whose? As they are written in headers and sockets."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address


def read(text: str) -> Address | None:
    """An address, with a port or without; one of IPv4 as such, however it is written."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def neighbourhood(peer: str) -> str:
    """An address; of IPv6 the /64 that it is in, which is what one client has for itself."""
    if ":" not in peer:
        return peer
    address = read(peer)
    if not isinstance(address, IPv6Address):
        return str(address or peer)
    return str(ip_network((int(address) >> 64 << 64, 64)).network_address)
