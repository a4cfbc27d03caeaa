"""Which connection: how many, whose turn, how long kept, and nothing left behind whoever leaves when."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, cast

import msgspec
import pytest

from tests.rawserver import OK, Peer, Server, always, failure, nothing_left, post, serving, silent, whole
from tidegate.core.ports import Request, Timeouts, TransportError
from tidegate.providers.transport import Config, HttpTransport

pytestmark = pytest.mark.timeout(20)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with nothing_left(), serving() as made:
        yield made


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


def idle(transport: HttpTransport) -> int:
    return sum(len(pool._idle) for pool in transport._pools.values())


# --- how many, and whose turn


async def test_requests_beyond_the_bound_wait_and_are_served_in_order(server: Server) -> None:
    order: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            asked = await peer.request()
            order.append(asked.body)
            await asyncio.sleep(0.001)
            peer.say(OK)

    server.script = script
    transport = HttpTransport(Config(max_per_origin=2))
    exchanges = [transport.send(post(server, b"%d" % i)) for i in range(20)]
    assert transport.busy == 2
    for exchange in exchanges:
        assert await whole(exchange) == b"ok"
    assert len(server.peers) == 2
    # Two are under way at once, and each of them takes the oldest that waits.
    assert all(abs(place - int(number)) <= 1 for place, number in enumerate(order))
    await transport.aclose()


async def test_a_waiter_that_leaves_does_not_lose_the_turn_of_others(server: Server) -> None:
    transport = HttpTransport(Config(max_per_origin=1))
    exchanges = [transport.send(post(server, b"%d" % i)) for i in range(5)]
    for exchange in exchanges[:4]:
        exchange.close()
    assert await whole(exchanges[4]) == b"ok"
    assert transport.busy == 0
    await transport.aclose()


async def test_waiting_for_a_turn_counts_as_connecting(server: Server) -> None:
    server.script = silent
    transport = HttpTransport(Config(max_per_origin=1))
    holder = transport.send(post(server))
    await until(lambda: holder.sent)
    error = await failure(transport.send(post(server, connect=0.05)))
    assert (error.kind, error.sent) == ("timeout", False)
    assert "max_per_origin" in str(error)
    assert "within 0.05 s (timeouts.connect)" in str(error)
    error = await failure(transport.send(post(server, connect=9, total=0.05)))
    assert "timeouts.total" in str(error)
    await transport.aclose()


async def test_a_slot_that_becomes_free_by_a_failure_is_given_on(server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number:
            peer.say(OK)
        else:
            peer.reset()

    server.script = script
    transport = HttpTransport(Config(max_per_origin=1))
    first, second = transport.send(post(server)), transport.send(post(server))
    assert (await failure(first)).kind == "reset"
    assert await whole(second) == b"ok"
    await transport.aclose()


async def test_origins_do_not_share(server: Server) -> None:
    async with serving() as other:
        transport = HttpTransport(Config(max_per_origin=1))
        exchanges = [transport.send(post(where)) for where in (server, other)]
        assert transport.busy == 2
        assert [await whole(exchange) for exchange in exchanges] == [b"ok", b"ok"]
        assert (len(server.peers), len(other.peers)) == (1, 1)
        await transport.aclose()


# --- how long kept


async def test_the_connection_used_last_is_used_first(server: Server) -> None:
    asked = 0
    all_there = asyncio.Event()

    async def script(peer: Peer) -> None:
        nonlocal asked
        while True:
            await peer.request()
            asked += 1
            if asked == 3:
                all_there.set()
            await all_there.wait()
            peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n%d" % peer.number)

    server.script = script
    transport = HttpTransport()
    exchanges = [transport.send(post(server)) for _ in range(3)]
    said = [await whole(exchange) for exchange in exchanges]
    assert sorted(said) == [b"0", b"1", b"2"]
    assert idle(transport) == 3
    last = await whole(transport.send(post(server)))
    assert [await whole(transport.send(post(server))) for _ in range(3)] == [last] * 3
    await transport.aclose()


async def test_a_connection_is_free_before_its_answer_is_read(server: Server) -> None:
    transport = HttpTransport()
    unread = transport.send(post(server))
    await until(lambda: transport.busy == 0)
    assert await whole(transport.send(post(server))) == b"ok"
    assert await whole(unread) == b"ok"
    unread.close()
    assert len(server.peers) == 1
    await transport.aclose()


async def test_a_connection_that_nobody_uses_is_closed(server: Server) -> None:
    transport = HttpTransport(Config(idle_s=0.3))
    loop = asyncio.get_running_loop()
    for _ in range(3):
        assert await whole(transport.send(post(server))) == b"ok"
        await asyncio.sleep(0.12)
    assert len(server.peers) == 1  # each use has begun the time anew
    began = loop.time()
    await server.peers[0].over.wait()
    assert loop.time() - began < 2
    assert idle(transport) == 0
    await transport.aclose()


@pytest.mark.parametrize(("hint", "seconds"), [(b"timeout=1", 0.5), (b"timeout=0", 0.0)])
async def test_a_server_that_says_how_long_is_believed(server: Server, hint: bytes, seconds: float) -> None:
    server.script = always(b"HTTP/1.1 200 OK\r\nkeep-alive: %b\r\ncontent-length: 1\r\n\r\n0" % hint)
    transport = HttpTransport(Config(idle_s=9))
    assert await whole(transport.send(post(server))) == b"0"
    began = asyncio.get_running_loop().time()
    await until(lambda: idle(transport) == 0)
    assert seconds - 0.05 < asyncio.get_running_loop().time() - began < seconds + 2
    await transport.aclose()


@pytest.mark.parametrize("act", [Peer.close, Peer.reset, Peer.half_close, lambda peer: peer.say(b"unasked")])
async def test_an_idle_connection_ends_when_the_server_ends_it_or_speaks(
    server: Server, act: Callable[[Peer], None]
) -> None:
    transport = HttpTransport()
    assert await whole(transport.send(post(server))) == b"ok"
    act(server.peers[0])
    await until(lambda: idle(transport) == 0)
    assert await whole(transport.send(post(server))) == b"ok"
    assert len(server.peers) == 2
    await transport.aclose()


# --- making connections


async def test_a_connection_whose_exchange_left_goes_to_the_next(server: Server) -> None:
    transport = HttpTransport()
    gone = transport.send(post(server))
    gone.close()
    assert transport.busy == 1  # it is still being made
    assert await whole(transport.send(post(server))) == b"ok"
    await until(lambda: transport.busy == 0)
    assert len(server.peers) == 1
    await transport.aclose()


async def test_a_connection_that_nobody_wants_any_more_is_kept(server: Server) -> None:
    transport = HttpTransport()
    transport.send(post(server)).close()
    await until(lambda: transport.busy == 0)
    assert idle(transport) == 1
    assert await whole(transport.send(post(server))) == b"ok"
    assert len(server.peers) == 1
    await transport.aclose()


async def test_each_of_those_who_wait_hears_of_a_failure(server: Server) -> None:
    server.listener.close()
    transport = HttpTransport(Config(max_per_origin=2))
    errors = await asyncio.gather(*(failure(transport.send(post(server))) for _ in range(7)))
    assert {error.kind for error in errors} == {"connect"}
    assert transport.busy == 0
    await transport.aclose()


async def test_connecting_to_nowhere_ends_by_itself_though_its_exchange_has_left() -> None:
    async with nothing_left():
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as first:
            first.connect(full.getsockname())
            transport = HttpTransport()
            url = f"http://127.0.0.1:{full.getsockname()[1]}/"
            transport.send(Request("POST", url, (), timeouts=Timeouts(connect=0.1))).close()
            assert transport.busy == 1
            await until(lambda: transport.busy == 0)
            error = await failure(transport.send(Request("POST", url, (), timeouts=Timeouts(connect=9, total=0.1))))
            assert "could not be reached within 0.1 s (timeouts.total)" in str(error)
            began = asyncio.get_running_loop().time()
            await transport.aclose()  # does not wait out the nine seconds
            assert asyncio.get_running_loop().time() - began < 1
            assert transport.busy == 0


class Names:
    """The loop, but for how it looks names up."""

    def __init__(self, *where: object) -> None:
        self._loop = asyncio.get_running_loop()
        self._where = where
        self.answers = asyncio.Event()
        self.answers.set()

    async def getaddrinfo(self, host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        await self.answers.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", where) for where in self._where]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


async def test_every_address_of_a_name_is_tried(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as first:
        first.connect(full.getsockname())
        names = Names(full.getsockname(), ("127.0.0.1", server.port))
        transport = HttpTransport(loop=cast(asyncio.AbstractEventLoop, names))
        request = Request("POST", f"http://two.test:{server.port}/", (), timeouts=Timeouts(connect=0.4))
        assert await whole(transport.send(request)) == b"ok"
        await transport.aclose()


async def test_a_name_that_takes_too_long_is_a_timeout(server: Server) -> None:
    names = Names()
    names.answers.clear()
    transport = HttpTransport(loop=cast(asyncio.AbstractEventLoop, names))
    request = Request("POST", f"http://slow.test:{server.port}/", (), timeouts=Timeouts(connect=0.05))
    error = await failure(transport.send(request))
    assert (error.kind, error.sent) == ("timeout", False)
    await until(lambda: transport.busy == 0)
    await transport.aclose()


async def test_the_second_time_is_the_last_on_whatever_connection(server: Server) -> None:
    """Where a new connection is slow to make, the second time may get one that was just freed."""
    asked = 0
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        nonlocal asked
        while True:
            await peer.request()
            asked += 1
            number = asked
            if number == 3:
                await go_on.wait()
            if number >= 4:
                peer.close()
                return
            if number == 2:
                both.set()
            if number <= 2:
                await both.wait()
            peer.say(OK)

    both = asyncio.Event()
    server.script = script
    names = Names(("127.0.0.1", server.port))
    transport = HttpTransport(loop=cast(asyncio.AbstractEventLoop, names))
    request = Request("GET", f"http://named.test:{server.port}/", ())
    for exchange in [transport.send(request) for _ in range(2)]:
        assert await whole(exchange) == b"ok"
    names.answers.clear()
    late = transport.send(request)
    await until(lambda: asked == 3)
    twice = transport.send(request)
    await until(lambda: twice.retried)
    go_on.set()
    assert await whole(late) == b"ok"
    error = await failure(twice)
    assert (error.kind, error.sent) == ("reset", True)
    assert asked == 5
    await transport.aclose()


# --- the end


async def test_closing_ends_those_that_wait_those_under_way_and_those_idle(server: Server) -> None:
    async def once_only(peer: Peer) -> None:
        await peer.request()
        if not peer.number:
            peer.say(OK)

    server.script = once_only
    transport = HttpTransport(Config(max_per_origin=2))
    assert await whole(transport.send(post(server))) == b"ok"
    ends: list[TransportError | None] = []
    exchanges = [transport.send(post(server)) for _ in range(4)]
    exchanges[0].pipe(lambda data: None, ends.append)
    await until(lambda: exchanges[1].sent)
    errors = [asyncio.create_task(failure(exchange)) for exchange in exchanges[1:]]
    await asyncio.sleep(0)
    await transport.aclose()
    assert not any(pool._open for pool in transport._pools.values())
    assert [(await error).kind for error in errors] == ["closed"] * 3
    assert [error and error.kind for error in ends] == ["closed"]
    error = await failure(transport.send(Request("GET", "http://127.0.0.1:1/", ())))  # an origin it never knew
    assert (error.kind, error.sent) == ("closed", False)
    assert transport.busy == 0


async def test_closing_while_connections_are_being_made_leaves_nothing(server: Server) -> None:
    for turns in range(12):
        transport = HttpTransport()
        exchanges = [transport.send(post(server)) for _ in range(5)]
        for _ in range(turns):
            await asyncio.sleep(0)
        await transport.aclose()
        assert transport.busy == 0
        for exchange in exchanges:
            with suppress(TransportError):
                await whole(exchange)


async def test_a_configuration_is_checked() -> None:
    assert msgspec.convert({"max_per_origin": 3}, Config).max_per_origin == 3
    for wrong in ({"max_per_origin": 0}, {"idle_s": 0}, {"max_bodies": 1}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, Config)
