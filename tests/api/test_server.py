"""Listening, and what is said when that cannot be."""

from __future__ import annotations

import socket

import pytest

from tidegate import api
from tidegate.api.server import listen
from tidegate.core.errors import ConfigError


def why_not(**config: object) -> str:
    with pytest.raises(ConfigError) as caught:
        listen(api.Config(**config))
    return caught.value.message


def test_a_port_that_is_taken_is_told_with_what_to_do():
    with listen(api.Config(port=0)) as first:
        port = first.getsockname()[1]
        said = why_not(port=port)
    assert said.startswith(f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another --port")
    assert f"ss -ltnp | grep :{port}" in said


def test_of_two_that_start_at_once_only_one_has_the_port():
    """Where it is bound and not yet listened on, SO_REUSEADDR would let both have it."""
    with listen(api.Config(port=0)) as first:
        assert first.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def test_a_port_can_be_taken_again_at_once_when_its_server_has_ended():
    with listen(api.Config(port=0)) as first:
        port = first.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        first.accept()[0].close()  # who closes first is what the kernel remembers for a while
        client.close()
    listen(api.Config(port=port)).close()


@pytest.mark.parametrize("host", ["192.0.2.1", "a" * 64 + ".example"])
def test_a_host_that_is_not_ours_is_told_with_what_to_do(host):
    assert "choose a --host of this machine; 0.0.0.0 is all of its addresses" in why_not(host=host, port=0)


def test_it_listens_on_ipv6_where_there_is_any():
    try:
        with listen(api.Config(host="::1", port=0)) as found:
            assert found.family == socket.AF_INET6
    except ConfigError as wrong:
        assert "choose a --host" in wrong.message


def test_its_socket_is_not_inherited_by_processes_that_it_starts():
    with listen(api.Config(port=0)) as found:
        assert not found.get_inheritable()
