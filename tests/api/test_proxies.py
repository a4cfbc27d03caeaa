"""Who the client is, when proxies stand between."""

from __future__ import annotations

import pytest

from tidegate.api.proxies import Proxies

OURS = Proxies(["10.0.0.0/8", "192.0.2.7", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "said", "client"),
    [
        ("203.0.113.1", ["198.51.100.1"], "203.0.113.1"),  # no proxy of ours may say anything it likes
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("192.0.2.7", ["198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),  # what the client said of itself stands before it
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.2, 10.0.0.3"], "10.0.0.2"),  # it is one of ours itself
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ["2001:DB8:0::1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, ,10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.1\u2028"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", [", ".join(["10.0.0.9"] * 100_000)], "10.0.0.9"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_only_a_trusted_proxy_is_believed_and_only_what_it_saw_itself(peer, said, client):
    headers = [(b"host", b"a"), *((b"x-forwarded-for", one.encode("utf-8")) for one in said)]
    assert OURS.client(peer, headers) == client


def test_without_any_nobody_is_believed():
    assert Proxies([]).client("127.0.0.1", [(b"x-forwarded-for", b"198.51.100.1")]) == "127.0.0.1"


async def test_the_address_of_a_call_is_the_clients(build_house):
    house = await build_house(
        "api: {trusted_proxies: [127.0.0.1]}\nlimits: {guesses: 2}\nproviders: {main: {type: scripted}}\n"
        "routes: {fast: {targets: [{provider: main, model: m}]}}\n"
    )
    for _ in range(2):
        assert (await house.ask(key="wrong", headers={"x-forwarded-for": "198.51.100.1"})).status == 401
    assert (await house.ask(key="wrong", headers={"x-forwarded-for": "8.8.8.8, 198.51.100.1"})).status == 429
    assert (await house.ask(key="wrong", headers={"x-forwarded-for": "198.51.100.2"})).status == 401
