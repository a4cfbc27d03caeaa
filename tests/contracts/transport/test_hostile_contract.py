"""What a network and a server may do to any `Transport`: cut anywhere, end anywhere, babble, drip, and never stop."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.contracts.transport.conftest import CUT_OFF, MAX_PER_ORIGIN
from tests.providers.transport.test_wire import RECORDED, Recorded
from tests.rawserver import OK, Peer, Server, failure, get, once, post, silent, whole
from tidegate.core.ports import Head, Transport, TransportError

pytestmark = pytest.mark.timeout(30)


async def answer(transport: Transport, server: Server, method: str = "POST") -> tuple[Head, bytes]:
    exchange = transport.send(get(server, method=method))
    try:
        return await exchange.head(), await whole(exchange)
    finally:
        exchange.close()


# --- cut and ended anywhere


@pytest.mark.parametrize("recorded", RECORDED.values(), ids=RECORDED)
async def test_an_answer_is_the_same_wherever_the_network_cuts_it(
    transport: Transport, server: Server, recorded: Recorded
) -> None:
    data = recorded.sent
    cuts = [[data[:at], data[at:]] for at in range(len(data))]
    cuts += [[data[i : i + size] for i in range(0, len(data), size)] for size in (1, 2)]

    async def script(peer: Peer) -> None:
        while cuts:
            await peer.request()
            await peer.dictate(*cuts.pop())
            if not recorded.reusable:
                peer.close()
                return

    server.script = script
    while cuts:
        head, body = await answer(transport, server, recorded.method)
        assert (head.status, body) == (recorded.status, recorded.body)
    assert len(server.peers) == (1 if recorded.reusable else len(data) + 2)


@pytest.mark.parametrize("recorded", RECORDED.values(), ids=RECORDED)
async def test_an_early_end_at_any_byte_is_told(transport: Transport, server: Server, recorded: Recorded) -> None:
    for at in range(len(recorded.sent)):
        server.script = once(recorded.sent[:at], then=random.choice((Peer.close, Peer.half_close)))
        exchange = transport.send(get(server, method=recorded.method))
        try:
            body = await whole(exchange)
        except TransportError as error:
            assert error.kind in CUT_OFF
            assert error.sent
        else:
            assert not recorded.ends
            assert recorded.body.startswith(body)
        exchange.close()


async def test_noise_of_any_kind_is_an_error_or_an_answer_and_never_a_crash(
    transport: Transport, server: Server
) -> None:
    said = random.Random(4)
    words = [
        b"HTTP/1.1 200 OK\r\n", b"content-length: 3\r\n", b"transfer-encoding: chunked\r\n", b"\r\n", b"\n", b"\0",
        b"3\r\n", b"abc", b"0\r\n\r\n", b"HTTP/1.1 100 x\r\n\r\n", b"connection: close\r\n", b"\xff",
    ]  # fmt: skip
    noises = [b"".join(said.choices(words, k=said.randrange(12))) for _ in range(300)]
    noises += [said.randbytes(said.randrange(200)) for _ in range(50)]
    kinds = set()
    for noise in noises:
        server.script = once(*(noise[i : i + 20] for i in range(0, len(noise), 20)))
        exchange = transport.send(post(server))
        try:
            await whole(exchange)
            kinds.add("answer")
        except TransportError as error:
            kinds.add(error.kind)
        exchange.close()
        assert transport.busy == 0
    assert kinds == {"answer", "reset", "protocol"}


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"x-a: b\r\n"),
        (b"HTTP/1.1 200 OK\r\nx-a: ", b"long"),
        (b"HTTP/1.1 200 ", b"long"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;", b"extension"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"0" * 64),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"x-trailer: more\r\n"),
    ],
    ids=["interim", "headers", "value", "status", "extension", "size", "trailers"],
)
async def test_what_never_ends_and_brings_nothing_is_ended(
    transport: Transport, server: Server, first: bytes, then: bytes
) -> None:
    """By its size, or by the clock: it is no progress, however fast it comes."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(first)
        while not peer.writer.is_closing():
            peer.say(then * 100)
            await peer.writer.drain()
            await asyncio.sleep(0)

    server.script = script
    error = await failure(transport.send(post(server, first_byte=0.4, idle=0.4)))
    assert error.kind in ("too_large", "protocol", "timeout")
    assert error.sent
    assert transport.busy == 0


# --- whose turn it is


async def test_there_are_no_more_connections_than_allowed_and_who_leaves_the_queue_gives_way(
    transport: Transport, server: Server
) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await go_on.wait()
            peer.say(OK)

    server.script = script
    exchanges = [transport.send(post(server)) for _ in range(MAX_PER_ORIGIN + 3)]
    while len(server.peers) < MAX_PER_ORIGIN:
        await asyncio.sleep(0.001)
    exchanges.pop(MAX_PER_ORIGIN).close()
    go_on.set()
    assert await asyncio.gather(*(whole(exchange) for exchange in exchanges)) == [b"ok"] * len(exchanges)
    assert len(server.peers) == MAX_PER_ORIGIN


async def test_waiting_for_a_connection_is_connecting(transport: Transport, server: Server) -> None:
    server.script = silent
    held = [transport.send(post(server)) for _ in range(MAX_PER_ORIGIN)]
    error = await failure(transport.send(post(server, connect=0.05)))
    assert (error.kind, error.sent) == ("timeout", False)
    assert "max_per_origin" in str(error)
    for exchange in held:
        exchange.close()


async def test_leaving_in_the_middle_of_a_large_body_closes_the_socket_of_a_server_that_does_not_read(
    transport: Transport, server: Server
) -> None:
    async def script(peer: Peer) -> None:
        peer.writer.transport.pause_reading()
        began.set()
        await left.wait()
        peer.writer.transport.resume_reading()
        await peer.gone()

    began, left = asyncio.Event(), asyncio.Event()
    server.script = script
    exchange = transport.send(post(server, bytes(20_000_000)))
    await began.wait()
    while not exchange.sent:
        await asyncio.sleep(0.001)
    exchange.close()
    assert transport.busy == 0
    left.set()
    async with asyncio.timeout(30):
        await server.peers[0].over.wait()


# --- asked twice


async def first_answers_then_ends(peer: Peer) -> None:
    """The first connection answers once, reads a second request, and ends. The others answer."""
    await peer.request()
    peer.say(OK)
    while await peer.request():
        if not peer.number:
            peer.close()
            return
        peer.say(OK)


async def test_a_post_that_was_read_is_never_sent_again(transport: Transport, server: Server) -> None:
    server.script = first_answers_then_ends
    assert await whole(transport.send(post(server))) == b"ok"
    error = await failure(transport.send(post(server)))
    assert error.kind in CUT_OFF
    assert error.sent
    assert len(server.peers) == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_what_is_idempotent_is_sent_again_once(transport: Transport, server: Server, method: str) -> None:
    server.script = first_answers_then_ends
    assert await whole(transport.send(post(server))) == b"ok"
    assert (await answer(transport, server, method))[1] == b"ok"
    assert len(server.peers) == 2
