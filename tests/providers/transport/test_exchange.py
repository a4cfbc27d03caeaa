"""One request over a real socket: cut anywhere, ended anywhere, answered too early, or sent twice."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator

import pytest

from tests.rawserver import (
    OK,
    Peer,
    Script,
    Server,
    failure,
    get,
    nothing_left,
    once,
    post,
    serving,
    silent,
    whole,
)  # fmt: skip
from tidegate.core.ports import Head, Request, Timeouts, TransportError
from tidegate.providers.transport import HttpTransport

pytestmark = pytest.mark.timeout(15)

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what was acknowledged")


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    async with nothing_left():
        made = HttpTransport(ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))  # no certificates to load
        yield made
        await made.aclose()
        assert made.busy == 0


@pytest.fixture
async def server(transport: HttpTransport) -> AsyncIterator[Server]:
    async with serving() as made:
        yield made


async def answer(transport: HttpTransport, server: Server, method: str = "POST") -> tuple[Head, bytes]:
    exchange = transport.send(get(server, method=method))
    try:
        return await exchange.head(), await whole(exchange)
    finally:
        exchange.close()


# --- both directions at once


async def test_an_answer_may_come_before_the_whole_request_was_sent(transport: HttpTransport, server: Server) -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nno!"

    async def script(peer: Peer) -> None:
        if peer.number == 0:
            await peer.reader.readuntil(b"\r\n\r\n")
            peer.say(refusal)
        else:
            await peer.request()
            peer.say(OK)

    server.script = script
    exchange = transport.send(post(server, bytes(40_000_000)))
    assert (await exchange.head()).status == 413
    assert await whole(exchange) == b"no!"
    assert transport.busy == 0
    assert await whole(transport.send(post(server))) == b"ok"  # not behind the rest of the first one
    assert len(server.peers) == 2


async def test_a_large_body_waits_for_a_slow_server_without_being_copied(
    transport: HttpTransport, server: Server
) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        peer.writer.transport.pause_reading()
        await go_on.wait()
        peer.writer.transport.resume_reading()
        peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n%08d" % len((await peer.request()).body))

    server.script = script
    exchange = transport.send(post(server, bytes(30_000_000)))
    while not exchange.sent:
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    connection = exchange._connection
    assert connection is not None
    assert connection.transport.get_write_buffer_size() <= 1_000_000
    go_on.set()
    assert await whole(exchange) == b"30000000"


async def test_a_server_that_does_not_read_is_a_timeout(transport: HttpTransport, server: Server) -> None:
    async def script(peer: Peer) -> None:
        peer.writer.transport.pause_reading()
        await asyncio.sleep(10)

    server.script = script
    error = await failure(transport.send(post(server, bytes(30_000_000), first_byte=0.1)))
    assert error.kind == "timeout"
    assert "timeouts.first_byte" in str(error)


async def test_progress_with_a_large_body_puts_the_first_byte_off(transport: HttpTransport, server: Server) -> None:
    async def script(peer: Peer) -> None:
        for _ in range(9):
            await peer.reader.readexactly(2_000_000)
            await asyncio.sleep(0.1)
        await peer.reader.read(65536)
        peer.say(OK)

    server.script = script
    assert await whole(transport.send(post(server, bytes(18_000_000), first_byte=0.6))) == b"ok"


async def test_what_one_read_brings_comes_in_one_piece(transport: HttpTransport, server: Server) -> None:
    server.script = once(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 50, b"0\r\n\r\n")
    exchange = transport.send(post(server))
    await exchange.head()
    pieces: list[bytes] = []
    ended = asyncio.Event()
    exchange.pipe(pieces.append, lambda error: ended.set())
    await ended.wait()
    assert pieces == [b"a" * 50]


async def test_a_pipe_may_ask_the_next_question_from_its_end(transport: HttpTransport, server: Server) -> None:
    first = transport.send(post(server))
    await first.head()
    following = []
    first.pipe(lambda data: None, lambda error: following.append(transport.send(post(server))))
    while not following:
        await asyncio.sleep(0)
    assert await whole(following[0]) == b"ok"
    assert len(server.peers) == 1


async def test_pausing_before_there_is_a_connection_holds(transport: HttpTransport, server: Server) -> None:
    exchange = transport.send(post(server))
    exchange.pause()
    reading = asyncio.create_task(whole(exchange))
    await asyncio.sleep(0.05)
    assert not reading.done()
    exchange.resume()
    assert await reading == b"ok"


async def test_a_connection_whose_answer_ended_while_it_was_paused_reads_again(
    transport: HttpTransport, server: Server
) -> None:
    server.script = silent
    exchange = transport.send(post(server))
    while exchange._connection is None:
        await asyncio.sleep(0)
    exchange.pause()
    exchange._connection.data_received(OK)  # TLS may hold data that comes though its socket rests
    assert await whole(exchange) == b"ok"
    server.peers[0].close()
    while any(pool._idle for pool in transport._pools.values()):  # it has noticed
        await asyncio.sleep(0)


async def test_only_one_reader_at_a_time(transport: HttpTransport, server: Server) -> None:
    server.script = silent
    exchange = transport.send(post(server))
    first = asyncio.create_task(exchange.head())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="only one"):
        await exchange.read()
    exchange.close()
    with pytest.raises(TransportError):
        await first


# --- the clocks


@pytest.mark.parametrize(
    ("timeouts", "said", "words"),
    [
        (Timeouts(first_byte=0.05), b"", "did not begin to answer within 0.05 s (timeouts.first_byte)"),
        (Timeouts(total=0.05), b"", "did not finish its answer within 0.05 s (timeouts.total)"),
        (
            Timeouts(first_byte=9, idle=0.05),  # the shorter one begins later
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
            "sent nothing more of the body within 0.05 s (timeouts.idle)",
        ),
        (Timeouts(idle=9, total=0.05), b"HTTP/1.1 200 OK\r\n\r\nx", "did not finish its answer within 0.05 s"),
    ],
)
async def test_a_timeout_says_which_and_how_long(
    transport: HttpTransport, server: Server, timeouts: Timeouts, said: bytes, words: str
) -> None:
    server.script = once(said, then=lambda peer: None)
    loop = asyncio.get_running_loop()
    began = loop.time()
    error = await failure(transport.send(Request("POST", server.url, (), b"{}", timeouts)))
    assert 0.04 < loop.time() - began < 2
    assert (error.kind, error.sent) == ("timeout", True)
    assert words in str(error)
    assert f"127.0.0.1:{server.port}" in str(error)


async def test_chunk_extensions_that_drip_are_no_progress(transport: HttpTransport, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;")
        while not peer.writer.is_closing():
            peer.say(b"x")
            await asyncio.sleep(0.01)

    server.script = script
    error = await failure(transport.send(post(server, idle=0.08)))
    assert "timeouts.idle" in str(error)


# --- old connections


def ends_when_old(*, reads: bool) -> Script:
    """The first connection answers once and ends, after it has read a second request or before. The others answer."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(OK)
        while peer.number or reads:
            await peer.request()
            if not peer.number:
                peer.close()
                return
            peer.say(OK)

    return script


async def aged(transport: HttpTransport, server: Server) -> Peer:
    """A connection that has been used, as the server sees it."""
    assert await whole(transport.send(post(server))) == b"ok"
    return server.peers[-1]


@linux
@pytest.mark.parametrize("size", [10, 20_000, 200_000])
async def test_a_post_that_met_a_closed_door_is_sent_again(transport: HttpTransport, server: Server, size: int) -> None:
    server.script = ends_when_old(reads=False)
    peer = await aged(transport, server)
    peer.close_now()
    exchange = transport.send(post(server, bytes(size)))
    assert exchange.sent  # as far as we know by now
    assert await whole(exchange) == b"ok"
    assert len(server.peers) == 2


@linux
@pytest.mark.parametrize(("method", "reads", "sent"), [("POST", False, False), ("GET", True, True)])
async def test_what_was_sent_is_told_truly_when_the_second_time_fails(
    transport: HttpTransport, server: Server, method: str, reads: bool, sent: bool
) -> None:
    server.script = ends_when_old(reads=reads)
    peer = await aged(transport, server)
    server.listener.close()
    if not reads:
        peer.close_now()
    error = await failure(transport.send(get(server, method=method)))
    assert (error.kind, error.sent) == ("connect", sent)


async def test_nothing_is_sent_a_third_time(transport: HttpTransport, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 0:
            peer.say(OK)
            await peer.request()
        peer.close()

    server.script = script
    await aged(transport, server)
    error = await failure(transport.send(get(server)))
    assert (error.kind, error.sent) == ("reset", True)
    assert len(server.peers) == 2


async def test_a_new_connection_that_ends_is_no_reason_to_ask_again(transport: HttpTransport, server: Server) -> None:
    server.script = once(b"")
    assert (await failure(transport.send(get(server)))).kind == "reset"
    assert len(server.peers) == 1


async def test_an_answer_that_began_is_never_asked_for_again(transport: HttpTransport, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(OK)
        await peer.request()
        peer.say(b"H")
        peer.close()

    server.script = script
    await aged(transport, server)
    assert (await failure(transport.send(get(server)))).kind == "reset"
    assert len(server.peers) == 1


async def test_the_second_time_does_not_take_another_old_connection(transport: HttpTransport, server: Server) -> None:
    """Where one has been closed for its age, so have the others."""
    all_there = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 2:
            all_there.set()
        await all_there.wait()
        peer.say(OK)
        if peer.number < 3:
            await peer.request()
            peer.close()

    server.script = script
    await asyncio.gather(*(whole(transport.send(post(server))) for _ in range(3)))
    assert len(server.peers) == 3
    assert await whole(transport.send(get(server))) == b"ok"
    assert len(server.peers) == 4
