"""What every `Transport` does, whatever it is made of."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from tests.contracts.transport.conftest import ADAPTERS, CUT_OFF, MAX_BODY
from tests.rawserver import (
    OK,
    Peer,
    Server,
    always,
    failure,
    get,
    once,
    post,
    serving,
    silent,
    whole,
)  # fmt: skip
from tidegate.core.ports import Exchange, Request, Timeouts, Transport, TransportError

pytestmark = pytest.mark.timeout(60)


class Ear:
    """Listens to a pipe."""

    def __init__(self, exchange: Exchange) -> None:
        self.pieces: list[bytes] = []
        self.ends: list[TransportError | None] = []
        self.ended = asyncio.Event()
        exchange.pipe(self.pieces.append, self._end)

    def _end(self, error: TransportError | None) -> None:
        self.ends.append(error)
        self.ended.set()

    @property
    def heard(self) -> bytes:
        return b"".join(self.pieces)


# --- what is asked and answered


async def test_the_server_sees_the_request_as_it_was_given(transport: Transport, server: Server) -> None:
    seen = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        peer.say(OK)

    server.script = script
    url = f"{server.url}/v1/chat?beta=true&x=%2F"
    exchange = transport.send(Request("POST", url, ((b"authorization", b"Bearer k"), (b"x-a", b"")), b'{"a":1}'))
    assert (await exchange.head()).status == 200
    assert await whole(exchange) == b"ok"
    [asked] = seen
    assert asked.line == b"POST /v1/chat?beta=true&x=%2F HTTP/1.1"
    assert asked.body == b'{"a":1}'
    assert asked.headers[b"host"] == b"127.0.0.1:%d" % server.port
    assert asked.headers[b"authorization"] == b"Bearer k"
    assert asked.headers[b"x-a"] == b""
    assert asked.headers[b"content-length"] == b"7"
    assert asked.headers[b"accept-encoding"] == b"identity"


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"content-length: 5\r\n\r\nhello", b"hello"),
        (b"content-length: 0\r\n\r\n", b""),
        (b"transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;ext=1\r\nlo\r\n0\r\n\r\n", b"hello"),
        (b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nauthorization: trailer\r\n\r\n", b"hello"),
        (b"connection: close\r\n\r\nhello", b"hello"),
        (b"\r\n", b""),
    ],
    ids=["length", "nothing", "chunks", "trailers", "until close", "nothing until close"],
)
async def test_a_body_comes_however_it_is_framed(
    transport: Transport, server: Server, answer: bytes, body: bytes
) -> None:
    server.script = once(b"HTTP/1.1 200 Fine\r\nX-Name: Value\r\n", answer)
    exchange = transport.send(post(server))
    head = await exchange.head()
    assert head.status == 200
    assert head.header(b"x-name") == b"Value"
    assert await whole(exchange) == body
    assert await exchange.read() == b""  # and stays at its end
    assert head.header(b"authorization") is None
    exchange.close()


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_some_answers_have_no_body(transport: Transport, server: Server, status: bytes) -> None:
    server.script = always(b"HTTP/1.1 " + status + b"\r\netag: a\r\n\r\n", OK)
    for body in (b"", b"ok"):
        exchange = transport.send(get(server))
        await exchange.head()
        assert await whole(exchange) == body


async def test_a_head_request_is_answered_without_its_body(transport: Transport, server: Server) -> None:
    server.script = always(b"HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n")
    for _ in range(2):
        exchange = transport.send(get(server, method="HEAD"))
        assert (await exchange.head()).header(b"content-length") == b"5000000"
        assert await whole(exchange) == b""
        exchange.close()


async def test_what_comes_before_the_final_head_is_passed_over(transport: Transport, server: Server) -> None:
    server.script = always(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + OK)
    exchange = transport.send(post(server))
    head = await exchange.head()
    assert (head.status, head.header(b"link")) == (200, None)
    assert await whole(exchange) == b"ok"


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_an_ipv6_literal_is_an_address(adapter: str) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    async with serving(host="::1") as server:
        made = ADAPTERS[adapter]()
        exchange = made.send(Request("GET", f"http://[::1]:{server.port}/", ()))
        assert (await exchange.head()).status == 200
        await made.aclose()


async def test_pieces_come_as_they_are_sent(transport: Transport, server: Server) -> None:
    said = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await said.wait()
        peer.say(b"3\r\ntwo\r\n0\r\n\r\n")

    server.script = script
    exchange = transport.send(post(server))
    await exchange.head()
    assert await exchange.read() == b"one"
    said.set()
    assert await exchange.read() == b"two"
    assert await exchange.read() == b""


async def test_a_large_body_goes_up_and_a_large_one_comes_down(transport: Transport, server: Server) -> None:
    async def script(peer: Peer) -> None:
        asked = await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(asked.body), asked.body[::-1])

    server.script = script
    body = bytes(range(256)) * 3000
    exchange = transport.send(post(server, body))
    assert await whole(exchange) == body[::-1]


# --- whose connection


async def test_a_connection_is_used_again(transport: Transport, server: Server) -> None:
    for _ in range(3):
        exchange = transport.send(post(server))
        assert transport.busy == 1
        assert await whole(exchange) == b"ok"
        exchange.close()
        assert transport.busy == 0
    assert len(server.peers) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        OK + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
    ],
    ids=["close", "HTTP/1.0", "a second response"],
)
async def test_a_connection_is_not_used_again_when_that_is_not_safe(
    transport: Transport, server: Server, answer: bytes
) -> None:
    server.script = always(answer)
    for _ in range(2):
        exchange = transport.send(post(server))
        assert await whole(exchange) == b"ok"
        exchange.close()
    assert len(server.peers) == 2


async def test_a_caller_may_say_that_the_connection_is_to_end(transport: Transport, server: Server) -> None:
    seen = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        peer.say(OK)

    server.script = script
    exchange = transport.send(Request("POST", f"{server.url}/", ((b"connection", b"close"),), b"{}"))
    assert await whole(exchange) == b"ok"
    exchange.close()
    assert seen[0].headers[b"connection"] == b"close"


async def test_leaving_in_the_middle_closes_the_socket(transport: Transport, server: Server) -> None:
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        await peer.gone()
        gone.set()

    server.script = script
    exchange = transport.send(post(server))
    assert await exchange.read() == b"half"
    exchange.close()
    exchange.close()
    assert transport.busy == 0
    await gone.wait()
    assert (await failure(exchange)).kind == "closed"


async def test_leaving_at_once_leaves_nothing(transport: Transport, server: Server) -> None:
    exchange = transport.send(post(server))
    exchange.close()
    assert (await failure(exchange)).kind == "closed"
    assert not exchange.sent
    assert await whole(transport.send(post(server))) == b"ok"


async def test_leaving_wakes_whoever_reads(transport: Transport, server: Server) -> None:
    server.script = silent
    exchange = transport.send(post(server))
    reading = asyncio.create_task(failure(exchange))
    await asyncio.sleep(0)
    exchange.close()
    assert (await reading).kind == "closed"


async def test_cancelling_a_reader_loses_nothing(transport: Transport, server: Server) -> None:
    heard = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await heard.wait()
        peer.say(OK)

    server.script = script
    exchange = transport.send(post(server))
    for step in (exchange.head, exchange.read):
        reading = asyncio.create_task(step())
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled()
    heard.set()
    assert (await exchange.head()).status == 200
    assert await whole(exchange) == b"ok"


# --- push


async def test_a_pipe_carries_what_was_buffered_and_what_comes(transport: Transport, server: Server) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await go_on.wait()
        await peer.dictate(b"3\r\ntwo\r\n", b"5\r\nthree\r\n0\r\n\r\n")

    server.script = script
    exchange = transport.send(post(server))
    await exchange.head()
    assert await exchange.read() == b"one"
    ear = Ear(exchange)
    go_on.set()
    await ear.ended.wait()
    assert ear.heard == b"twothree"
    assert ear.ends == [None]
    assert transport.busy == 0


async def test_a_pipe_after_the_end_tells_all_at_once(transport: Transport, server: Server) -> None:
    exchange = transport.send(post(server))
    await exchange.head()
    while transport.busy:
        await asyncio.sleep(0)
    ear = Ear(exchange)
    assert (ear.heard, ear.ends) == (b"ok", [None])


async def test_a_pipe_tells_of_an_early_end(transport: Transport, server: Server) -> None:
    server.script = once(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", b"hal", b"f")
    exchange = transport.send(post(server))
    await exchange.head()
    ear = Ear(exchange)
    await ear.ended.wait()
    assert ear.heard == b"half"
    [error] = ear.ends
    assert error is not None
    assert error.kind in CUT_OFF
    assert error.sent


async def test_a_pipe_is_silent_after_close(transport: Transport, server: Server) -> None:
    went = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\none")
        await peer.gone()
        went.set()

    server.script = script
    exchange = transport.send(post(server))
    await exchange.head()
    ear = Ear(exchange)
    exchange.close()
    heard = ear.heard
    await went.wait()
    assert (ear.heard, ear.ends) == (heard, [])


async def test_a_pipe_hears_the_head_first_where_it_was_there_before_it(transport: Transport, server: Server) -> None:
    server.script = once(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n", b"ok")
    exchange = transport.send(post(server))
    heard: list[object] = []
    ended = asyncio.Event()
    exchange.pipe(heard.append, lambda error: ended.set(), lambda head: heard.append(head.status))
    await ended.wait()
    assert heard == [201, b"ok"]


async def test_closing_at_the_head_is_the_last_that_is_heard(transport: Transport, server: Server) -> None:
    server.script = once(b"HTTP/1.1 500 Oh\r\ncontent-length: 6\r\n\r\n", b"never")
    exchange = transport.send(post(server))
    heard: list[object] = []
    exchange.pipe(heard.append, heard.append, lambda head: (heard.append(head.status), exchange.close())[0])
    while not heard:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert heard == [500]


async def test_closing_inside_the_callback_is_the_last_that_is_heard(transport: Transport, server: Server) -> None:
    server.script = once(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"3\r\none\r\n0\r\n\r\n")
    exchange = transport.send(post(server))
    await exchange.head()
    heard: list[bytes] = []
    ends: list[TransportError | None] = []

    def on_data(data: bytes) -> None:
        heard.append(data)
        exchange.close()

    exchange.pipe(on_data, ends.append)
    while not heard:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert (heard, ends) == ([b"one"], [])


# --- back-pressure


async def test_a_paused_exchange_holds_the_server_up(transport: Transport, server: Server) -> None:
    total = 20_000_000
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        while sent < total:
            peer.say(bytes(50_000))
            sent += 50_000
            await peer.writer.drain()
        peer.close()

    server.script = script
    exchange = transport.send(post(server, idle=0.05))
    await exchange.head()
    ear = Ear(exchange)
    exchange.pause()
    before = -1
    while before != sent:  # until the server can send no more
        before = sent
        await asyncio.sleep(0.1)  # twice the idle timeout, which rests
    assert sent < total
    assert not ear.ends
    exchange.resume()
    await ear.ended.wait()
    assert ear.ends == [None]
    assert len(ear.heard) == total


async def test_what_nobody_reads_is_bounded(transport: Transport, server: Server) -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        while True:
            peer.say(bytes(10_000))
            sent += 10_000
            await peer.writer.drain()

    server.script = script
    exchange = transport.send(post(server))
    await exchange.head()
    before = -1
    while before != sent:
        before = sent
        await asyncio.sleep(0.05)
    assert sent < 20_000_000  # what the kernel holds, on both sides, and a little of ours
    exchange.close()


# --- what goes wrong


async def test_nobody_listens(transport: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = await failure(transport.send(Request("POST", f"http://127.0.0.1:{port}/", (), b"{}")))
    assert error.kind == "connect"
    assert not error.sent
    assert f"127.0.0.1:{port}" in str(error)


async def test_a_name_that_does_not_exist(transport: Transport) -> None:
    error = await failure(transport.send(Request("GET", "http://no-such-host.invalid/", ())))
    assert (error.kind, error.sent) == ("connect", False)


@pytest.mark.parametrize("end", [Peer.close, Peer.reset, Peer.half_close], ids=["close", "reset", "half close"])
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"])
async def test_an_early_end_is_an_error_and_not_an_answer(
    transport: Transport, server: Server, answer: bytes, end: Callable[[Peer], None]
) -> None:
    server.script = once(answer, then=end)
    error = await failure(transport.send(post(server)))
    assert error.kind in CUT_OFF
    assert error.sent


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nokk",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        bytes(range(256)),
    ],
)
async def test_what_is_not_http_is_an_error(transport: Transport, server: Server, answer: bytes) -> None:
    server.script = once(answer, then=lambda peer: None)
    error = await failure(transport.send(post(server, first_byte=5, idle=5)))
    assert error.kind == "protocol"
    assert error.sent
    assert transport.busy == 0


async def test_a_head_has_a_bound(transport: Transport, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\n")
        while not peer.writer.is_closing():
            peer.say(b"x-more: and more\r\n" * 100)
            await asyncio.sleep(0)

    server.script = script
    assert (await failure(transport.send(post(server)))).kind in ("too_large", "protocol")


@pytest.mark.parametrize("framing", [b"content-length: %d" % (MAX_BODY + 1), b"transfer-encoding: chunked"])
async def test_a_body_has_a_bound(transport: Transport, server: Server, framing: bytes) -> None:
    piece = b"10000\r\n%b\r\n" % bytes(0x10000) if b"chunked" in framing else bytes(0x10000)

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\n", framing, b"\r\n\r\n")
        while not peer.writer.is_closing():
            peer.say(piece)
            await peer.writer.drain()

    server.script = script
    assert (await failure(transport.send(post(server)))).kind == "too_large"


async def test_a_server_that_cannot_be_reached_in_time(transport: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as first:
        first.connect(full.getsockname())  # the queue is full: the kernel drops what comes now
        url = f"http://127.0.0.1:{full.getsockname()[1]}/"
        error = await failure(transport.send(Request("POST", url, (), b"{}", Timeouts(connect=0.05))))
    assert error.kind == "timeout"
    assert not error.sent


@pytest.mark.parametrize("which", ["first_byte", "total"])
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 O", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_an_answer_that_does_not_begin(transport: Transport, server: Server, which: str, said: bytes) -> None:
    async def drip(peer: Peer) -> None:
        await peer.request()
        peer.say(said)
        while said and not peer.writer.is_closing():  # what comes is not the end of a head
            peer.say(b"O" if said[-1:] == b"O" else said)
            await asyncio.sleep(0.01)
        await peer.gone()

    server.script = drip
    error = await failure(transport.send(post(server, **{which: 0.05})))
    assert error.kind == "timeout"
    assert error.sent


@pytest.mark.parametrize("which", ["idle", "total"])
async def test_an_answer_that_does_not_go_on(transport: Transport, server: Server, which: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        while which == "total" and not peer.writer.is_closing():
            peer.say(b"1\r\n.\r\n")
            await asyncio.sleep(0.01)
        await peer.gone()

    server.script = script
    exchange = transport.send(post(server, **{which: 0.06}))
    assert (await exchange.read()).startswith(b"one")
    assert (await failure(exchange)).kind == "timeout"


async def test_the_idle_timeout_begins_anew_with_each_piece(transport: Transport, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
        for _ in range(10):
            await asyncio.sleep(0.05)
            peer.say(b".")

    server.script = script
    assert await whole(transport.send(post(server, idle=0.3))) == b"." * 10


@pytest.mark.parametrize("header", [(b"x-a", b"b\r\nx-evil: 1"), (b"x-a\r\nx-evil", b"1"), (b"x-a", b"b\n")])
async def test_a_header_cannot_break_out_of_its_line(
    transport: Transport, server: Server, header: tuple[bytes, bytes]
) -> None:
    with pytest.raises(ValueError):
        transport.send(Request("POST", server.url, (header,), b"{}"))
    assert transport.busy == 0
    assert not server.peers


@pytest.mark.parametrize("path", ["/a\r\nx-evil: 1", "/a b", "/\x00", "/ä"])
async def test_neither_can_a_url(transport: Transport, server: Server, path: str) -> None:
    with pytest.raises(ValueError):
        transport.send(Request("POST", server.url + path, (), b"{}"))
    assert not server.peers


async def test_closing_the_transport_ends_everything(transport: Transport, server: Server) -> None:
    server.script = silent
    exchanges = [transport.send(post(server)) for _ in range(3)]
    waiting = [asyncio.create_task(failure(exchange)) for exchange in exchanges]
    while len(server.peers) < 3:
        await asyncio.sleep(0)
    await transport.aclose()
    assert [(await task).kind for task in waiting] == ["closed"] * 3
    assert transport.busy == 0
    assert (await failure(transport.send(post(server)))).kind == "closed"
    await transport.aclose()
