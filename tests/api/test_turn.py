"""One request and its response, by itself: what is written, when, and what an application cannot break."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from tidegate.api.heads import Head
from tidegate.api.incoming import TURN
from tidegate.api.turn import MUCH, Turn


class Wire:
    """A connection that keeps what is written, write by write."""

    def __init__(self) -> None:
        self.transport: Any = self
        self.writable = True
        self.written: list[bytes] = []
        self.closed = False
        self.over = 0
        self.reading = True

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    async def drained(self) -> None:
        await asyncio.Event().wait()

    def pause(self) -> None:
        self.reading = False

    def resume(self) -> None:
        self.reading = True

    def turn_over(self) -> None:
        self.over += 1


def turn(method: str = "POST", **how: bool) -> tuple[Turn, Wire, dict[str, Any]]:
    wire = Wire()
    one = Turn(wire, Head({"method": method}), **how)
    return one, wire, cast(dict[str, Any], one.scope())


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def test_a_head_leaves_with_the_first_piece_of_its_body():
    one, wire, _ = turn()
    await one.send(start(200, (b"content-length", b"2")))
    assert wire.written == []
    await one.send(body(b"hi"))
    assert wire.written == [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"]
    assert one.complete and wire.over == 1 and not wire.closed


async def test_a_large_body_is_not_copied_behind_its_head():
    one, wire, _ = turn()
    await one.send(start(200, (b"content-length", b"%d" % (MUCH + 1))))
    await one.send(body(large := bytes(MUCH + 1)))
    assert wire.written[1] is large


async def test_a_body_of_unknown_length_is_sent_in_chunks():
    one, wire, _ = turn()
    await one.send(start())
    await one.send(body(b"hello", more=True))
    await one.send(body(b"", more=True))
    await one.send(body(b""))
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    assert b"".join(wire.written) == head + b"5\r\nhello\r\n0\r\n\r\n"


async def test_to_head_nothing_is_said_but_the_head():
    one, wire, _ = turn("HEAD")
    await one.send(start(200, (b"content-length", b"5")))
    await one.send(body(b""))
    assert wire.written == [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"] and one.complete


@pytest.mark.parametrize("said", ["by the client", "by the application"])
async def test_whoever_says_close_the_connection_is_closed_behind_the_answer(said):
    one, wire, _ = turn(keep_alive=said != "by the client")
    close = [(b"connection", b"close")] if said == "by the application" else []
    await one.send(start(204, *close))
    await one.send(body(b""))
    assert wire.written == [b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"] and wire.closed


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"a\0b"])
async def test_a_header_does_not_break_out_of_its_line(value):
    one, wire, _ = turn()
    with pytest.raises(RuntimeError, match="header"):
        await one.send(start(200, (b"x", value)))
    assert wire.written == []


@pytest.mark.parametrize("data", [b"1", b"123"])
async def test_a_body_is_as_long_as_was_said(data):
    one, wire, _ = turn()
    await one.send(start(200, (b"content-length", b"2")))
    with pytest.raises(RuntimeError, match="long"):
        await one.send(body(data))
    assert wire.written == []


async def test_out_of_turn_nothing_is_sent():
    one, _, _ = turn()
    with pytest.raises(RuntimeError, match="out of turn"):
        await one.send(body(b"hi"))


async def test_an_application_that_fails_before_anything_has_left_is_a_500():
    one, wire, _ = turn()

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        raise ValueError

    await one.run(failing)
    assert wire.written[0].startswith(b"HTTP/1.1 500 ") and len(wire.written) == 1 and wire.closed


async def test_an_application_that_fails_later_ends_the_connection():
    one, wire, _ = turn()

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(b"hi", more=True))
        raise ValueError

    await one.run(failing)
    assert len(wire.written) == 1 and wire.closed and not one.complete


async def test_a_body_that_has_come_is_had_without_waiting():
    one, _, scope = turn()
    assert scope["extensions"][TURN].whole() is None
    one.take(b"a")
    assert one.whole() is None
    one.take(b"b")
    one.end()
    assert one.whole() == b"ab"
    assert one.whole() is None


async def test_a_request_that_was_said_before_has_the_length_that_it_has_now():
    head = Head({"method": "POST", "path": "/", "headers": [(b"host", b"a"), (b"content-length", b"2")]})
    one = Turn.whole_one(Wire(), head, b"hello")
    assert one.scope()["headers"] == [(b"host", b"a"), (b"content-length", b"5")]
    assert await one.receive() == {"type": "http.request", "body": b"hello", "more_body": False}


async def test_who_sends_much_is_read_again_when_it_was_received():
    one, wire, _ = turn()
    one.take(bytes(MUCH + 1))
    assert not wire.reading
    assert len((await one.receive())["body"]) == MUCH + 1
    waiting = asyncio.ensure_future(one.receive())
    await asyncio.sleep(0)
    assert wire.reading
    one.end()
    assert await waiting == {"type": "http.request", "body": b"", "more_body": False}


async def test_who_waits_to_be_asked_for_its_body_is_asked():
    one, wire, _ = turn(continuing=True)
    waiting = asyncio.ensure_future(one.receive())
    await asyncio.sleep(0)
    assert wire.written == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    one.take(b"x")
    assert (await waiting)["body"] == b"x"


async def test_who_leaves_is_told_of_once_and_hears_no_more():
    left = []
    one, wire, _ = turn()
    one.on_leave(lambda: left.append(1))
    one.leave()
    await one.send(start())
    await one.send(body(b"hi"))
    assert left == [1] and wire.written == []
    assert await one.receive() == {"type": "http.disconnect"}
    one.on_leave(lambda: left.append(2))
    assert left == [1, 2]


async def test_who_leaves_after_its_answer_has_not_left():
    left = []
    one, _, _ = turn()
    one.on_leave(lambda: left.append(1))
    await one.send(start(204))
    await one.send(body(b""))
    one.leave()
    assert left == [] and await one.receive() == {"type": "http.disconnect"}
