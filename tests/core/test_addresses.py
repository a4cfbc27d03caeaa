from __future__ import annotations

import pytest

from tidegate.core.addresses import neighbourhood


@pytest.mark.parametrize(
    ("peer", "known_as"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
    ],
)
def test_one_client_of_ipv6_has_a_whole_64(peer, known_as):
    assert neighbourhood(peer) == known_as
