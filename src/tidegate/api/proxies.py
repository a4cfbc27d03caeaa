"""Who is the client? Who is connected to us, or whom a proxy names that is trusted to.

What `X-Forwarded-For` says is read from its end: each proxy appends who spoke to it. The last one that is no proxy of
ours is the client, and what stands before it is only what that client says of itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

from tidegate.core.addresses import Address, read
from tidegate.core.ports import Headers

FORWARDED = b"x-forwarded-for"
MOST = 32  # proxies in a row that are looked at
KNOWN = 1_000  # peers of which it is known whether they are trusted


class Proxies:
    """Those of `networks` are trusted."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ip_network(network) for network in networks]
        self._known: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trust(self, peer: str) -> bool:
        if not self._networks:
            return False
        known = self._known.get(peer)
        if known is None:
            address = read(peer)
            known = address is not None and self._include(address)
            if len(self._known) >= KNOWN:
                self._known.clear()
            self._known[peer] = known
        return known

    def client(self, peer: str, headers: Headers) -> str:
        """The address of the client that a request with these headers comes from, by way of `peer`."""
        if not self.trust(peer):
            return peer
        said = b",".join([value for name, value in headers if name == FORWARDED]).decode("latin-1")
        for hop in reversed(said.rsplit(",", MOST)[-MOST:]):
            address = read(hop)
            if address is None:  # then nothing before it can be believed either
                return peer
            peer = str(address)
            if not self._include(address):
                return peer
        return peer

    def _include(self, address: Address) -> bool:
        return any(address in network for network in self._networks)
