"""How many may be connected, and what is told to who is one too many."""

from __future__ import annotations

import asyncio
import resource
import socket
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import pytest

from tests.api.listening import Told, serving
from tests.api.rawclient import connected
from tests.house import until
from tidegate import api
from tidegate.api.crowd import LINGERING, Crowd, descriptors
from tidegate.core.values import Duration


def test_each_address_has_its_own_bound_and_all_have_one():
    crowd = Crowd(api.Config(max_connections=4, max_per_address=2))
    assert [crowd.enter("192.0.2.1") for _ in range(2)] == [None, None]
    wrong = crowd.enter("192.0.2.1")
    assert wrong.status == 429 and "api.max_per_address" in wrong.message
    assert crowd.enter("192.0.2.2") is None
    wrong = crowd.enter("192.0.2.3")
    assert wrong.status == 503 and "api.max_connections" in wrong.message
    crowd.leave("192.0.2.1")
    crowd.leave("192.0.2.3")
    assert crowd.enter("192.0.2.2") is None


def test_a_trusted_proxy_brings_as_many_as_there_may_be():
    crowd = Crowd(api.Config(max_per_address=1, trusted_proxies=("10.0.0.0/8",)))
    assert [crowd.enter("10.0.0.1") for _ in range(5)] == [None] * 5


def test_who_has_left_is_forgotten():
    crowd = Crowd(api.Config())
    for n in range(1000):
        crowd.enter(f"192.0.2.{n}")
        crowd.leave(f"192.0.2.{n}")
    assert crowd.here == 0 and crowd._from == {}


def test_there_are_never_more_than_half_of_the_files_that_may_be_open():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 400), hard))
    try:
        crowd = Crowd(api.Config(max_per_address=1000))
        assert next(n for n in range(300) if crowd.enter("192.0.2.1") is not None) == 200
        assert descriptors(more=True) >= 400 and resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


CONFIG = api.Config(port=0, max_connections=3, max_per_address=2)


async def test_one_too_many_is_told_and_a_place_that_is_given_back_is_free():
    crowd = Crowd(CONFIG)
    async with serving(Told(), CONFIG, crowd=crowd) as url:
        async with connected(url) as first, connected(url) as second:
            for client in (first, second):
                client.ask()
                assert (await client.answer()).status == 200
            async with connected(url) as third:
                answer = await third.answer()
                assert (answer.status, answer.headers["connection"]) == (429, "close")
                assert "max_per_address" in answer.error["message"]
            await until(lambda: crowd.here == 2)
            first.ask()
            assert (await first.answer()).status == 200, "who is there is not disturbed"
        await until(lambda: crowd.here == 0)
        async with connected(url) as again:
            again.ask()
            assert (await again.answer()).status == 200
    assert (crowd.here, crowd.lingering) == (0, 0)
    (refused,) = [metric for metric in crowd.collect() if metric.name == "tidegate_connections_refused"]
    assert refused.samples[0].value == 1


async def test_when_all_places_are_taken_the_status_is_503():
    config = api.Config(port=0, max_connections=1)
    async with serving(Told(), config) as url, connected(url) as first:
        first.ask()
        await first.answer()
        async with connected(url) as second:
            assert (await second.answer()).error["code"] == "too_many_connections"


async def test_a_flood_is_not_talked_to():
    crowd = Crowd(config := api.Config(port=0, max_connections=1))
    async with serving(Told(), config, crowd=crowd) as url, connected(url) as first:
        first.ask()
        await first.answer()
        crowd.lingering = LINGERING
        async with connected(url) as other:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await other.answer()
        crowd.lingering = 0


# --- who does not read


PIECE = 500_000


class Talking:
    """Answers with so much, in pieces, for as long as somebody reads."""

    def __init__(self, size: int, *, keep_alive: bool = True) -> None:
        self.size = size
        self.ended = 0
        self.headers = [] if keep_alive else [(b"connection", b"close")]

    async def __call__(self, scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        gone = asyncio.ensure_future(receive())
        left = self.size
        while left > 0 and not gone.done():
            await send({"type": "http.response.body", "body": bytes(PIECE), "more_body": True})
            await asyncio.sleep(0)
            left -= PIECE
        await send({"type": "http.response.body", "body": b""})
        gone.cancel()
        self.ended += 1


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("size", [PIECE, 10**12], ids=["an answer that was all said", "one that has no end"])
async def test_who_does_not_read_counts_as_gone(size, keep_alive):
    crowd, talking = (
        Crowd(config := api.Config(port=0, send_timeout=Duration(0.2))),
        Talking(size, keep_alive=keep_alive),
    )
    async with serving(talking, config, crowd=crowd, buffer=PIECE // 8) as url, AsyncExitStack() as stack:
        at = urlsplit(url)
        for _ in range(3):
            mute = stack.enter_context(socket.socket())
            mute.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            mute.setblocking(False)
            await asyncio.get_running_loop().sock_connect(mute, (at.hostname, at.port))
            mute.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        await until(lambda: crowd.here == 3)
        await until(lambda: crowd.here == 0)
        await until(lambda: talking.ended == 3)


async def test_who_reads_slowly_but_reads_is_answered_to_the_end():
    talking = Talking(2_000_000)
    async with serving(talking, api.Config(port=0, send_timeout=Duration(0.3))) as url, connected(url) as slow:
        slow.say(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        came = 0
        while came < 2_000_000:
            came += len(await slow.reader.read(100_000))
            await asyncio.sleep(0.02)
    assert talking.ended == 1
