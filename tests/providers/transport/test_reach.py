"""Where connections lead: which addresses are whose, and which names may mean them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tidegate.providers.transport.reach import Reach, Refused, is_private_name, kind_of


@pytest.mark.parametrize(
    ("kind", "addresses"),
    [
        ("public", "8.8.8.8 1.1.1.1 2606:4700::1111 64:ff9b::808:808 2002:808:808::1 ::ffff:8.8.8.8"),
        ("private", "127.0.0.1 127.9.9.9 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 0.0.0.0 198.18.0.1"),
        ("private", "::1 :: fd00::1 fc00::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 fec0::1 2001:db8::1"),
        ("private", "64:ff9b::7f00:1 64:ff9b::a00:1 2002:7f00:1::1 2002:a00:1:: 2001:0:808:808:0:0:80ff:fffe"),
        ("link", "169.254.169.254 169.254.0.1 fe80::1 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe::1"),
        ("link", "fd00:ec2::254 100.100.100.200 168.63.129.16 224.0.0.1 255.255.255.255 240.0.0.1 ff02::1"),
    ],
)
def test_an_address_is_of_one_kind_however_it_is_written(kind, addresses):
    assert {one: kind_of(ip_address(one)) for one in addresses.split()} == dict.fromkeys(addresses.split(), kind)


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "ollama", "vllm.models.svc", "vllm.models.svc.cluster.local", "gpu.local", "a.internal"),
        *("host.docker.internal", "box.lan", "nas.home.arpa", "localhost.", "a.localhost", "ip-10-0-0-1.ec2.internal"),
    ],
)
def test_names_that_can_only_be_private(host):
    assert is_private_name(host)


@pytest.mark.parametrize("host", ["api.openai.com", "example.com.", "local.example.com", "mylocal", "a.b"])
def test_and_names_that_anybody_may_have(host):
    assert is_private_name(host) == ("." not in host)


@pytest.mark.parametrize(
    ("host", "address", "foreign", "may"),
    [
        ("api.example.com", "8.8.8.8", False, True),
        ("api.example.com", "8.8.8.8", True, True),
        ("127.0.0.1", "127.0.0.1", False, True),
        ("::1", "::1", False, True),
        ("ollama", "172.18.0.2", False, True),
        ("localhost", "127.0.0.1", False, True),
        ("api.example.com", "127.0.0.1", False, False),
        ("api.example.com", "10.0.0.1", False, False),
        ("api.example.com", "::ffff:10.0.0.1", False, False),
        ("127.0.0.1", "127.0.0.1", True, False),
        ("ollama", "172.18.0.2", True, False),
        ("metadata.google.internal", "169.254.169.254", False, False),
        ("169.254.169.254", "169.254.169.254", False, False),
        ("vllm", "169.254.169.254", False, False),
        ("models.corp.example", "10.0.0.1", False, True),
        ("models.corp.example", "10.0.0.1", True, True),
        ("corp.example", "10.0.0.1", False, False),
        ("a.b.gpu.example", "10.0.0.1", False, True),
        ("gpu.example", "10.0.0.1", False, False),
        ("evilgpu.example", "10.0.0.1", False, False),
        ("169.254.7.7", "169.254.7.7", False, True),
    ],
)
def test_what_may_be_connected_to(host, address, foreign, may):
    reach = Reach(["Models.corp.example.", "*.gpu.example", "169.254.7.7"])
    why = reach.why_not(host, ip_address(address), foreign=foreign)
    assert (why is None) == may
    assert may or f"put {host} into transport.private_hosts" in why


def test_of_several_addresses_only_those_that_may_be_are_asked():
    reach = Reach([])
    assert reach.allowed("api.example.com", ["10.0.0.1", "8.8.8.8", "fe80::1%eth0"]) == [False, True, False]
    with pytest.raises(Refused, match=r"transport\.private_hosts"):
        reach.allowed("api.example.com", ["10.0.0.1", "127.0.0.1"])
    assert reach.allowed("nowhere", []) == []
