"""The bench of scale: each call is another one, and machines are apart, where there can be any."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import sys
from contextlib import closing

import pytest
from bench.load import Job, said_once
from bench.machines import machines
from bench.procs import Unavailable
from bench.scale import Setup, told

from tests.valkey import Valkey

CAN = os.getuid() == 0 and shutil.which("ip") is not None and shutil.which("iptables") is not None


def test_each_call_says_a_word_of_its_own_that_no_digit_is_in():
    job = Job("http://127.0.0.1/", {}, b"", 1, (), word=b"abcdefgh", seed=3)
    some = list(itertools.islice(said_once(job), 1000))
    assert len(set(some)) == 1000
    assert all(len(word) == 8 and word.isalpha() for word in some)


def test_three_machines_share_the_connections_and_the_rate_of_one():
    jobs = Setup("3 machines", (), ("http://a", "http://b", "http://c"), "key").jobs(1, rate=120.0)
    assert [job.connections for job in jobs] == [22, 21, 21]
    assert [job.rate for job in jobs] == [40, 40, 40]
    assert len({job.seed for job in jobs}) == 3


def test_a_valkey_says_how_often_it_has_read(shared_valkey: Valkey):
    before = told(shared_valkey.url)["total_reads_processed"]
    shared_valkey.ask("PING")
    assert told(shared_valkey.url)["total_reads_processed"] > before


def hears(host, port: int) -> bool:
    """Whether that machine reaches the port, within half a second."""
    code = f"import socket; socket.create_connection(('{host.shared}', {port}), 0.5)"
    return not subprocess.run([*host.enter, sys.executable, "-c", code], capture_output=True, timeout=20).returncode


def test_a_machine_that_is_parted_from_a_server_hears_nothing_of_it_until_it_is_joined():
    if not CAN:
        with pytest.raises(Unavailable, match="need root"), machines(1):
            raise AssertionError("there was one")
        return
    with machines(2) as (one, other), closing(socket.create_server((one.shared, 0))) as server:
        port = server.getsockname()[1]
        assert hears(one, port)
        one.part(port, "out", "in")
        assert not hears(one, port) and hears(other, port)
        one.join(port, "out", "in")
        assert hears(one, port)
