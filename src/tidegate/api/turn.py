"""Whose turn is it on a connection? One request and its response: ASGI's `receive` and `send`, as cheap as they can be.

The head of a response waits for the first piece of its body and leaves with it: one write, and an application that
fails in between can still say so. Headers are looked at all at once and not one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

import msgspec

from tidegate.api.edge import Application, Edge
from tidegate.api.heads import Head, Scope, checked
from tidegate.api.incoming import TURN, Message
from tidegate.core.errors import Internal
from tidegate.core.ports import Headers
from tidegate.providers.openai.wire import write_error

MUCH = 64 * 1024  # bytes of a body that wait to be received, and then we read no more; or are sent without being copied
NO_BODY = (204, 304)

STATUS_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}


class Wire(Protocol):
    """What a turn needs of its connection."""

    transport: asyncio.Transport
    writable: bool

    async def drained(self) -> None:
        """Return when the client has read enough to be sent more, or has gone."""

    def pause(self) -> None:
        """Read no more, for now."""

    def resume(self) -> None: ...

    def close(self) -> None:
        """When all that was said has been read."""

    def turn_over(self) -> None:
        """The response is complete."""


class Turn(msgspec.Struct, eq=False):
    """`gone`: the client has left. `complete`: it has been told everything."""

    _wire: Wire
    head: Head
    keep_alive: bool = True
    continuing: bool = False  # it waits for a word from us before it sends its body
    more: bool = True  # the body has not come to its end
    _pieces: list[bytes] = []
    _unseen: bool = False  # something has come that was not received
    _size: int = 0
    started: bool = False
    complete: bool = False
    gone: bool = False
    _news: asyncio.Event | None = None
    _leaving: Callable[[], None] | None = None
    _head: bytes = b""  # of the response, until it leaves
    _chunked: bool = False
    _left: int = 0  # bytes that were announced and not sent

    @classmethod
    def whole_one(cls, wire: Wire, head: Head, body: bytes) -> Turn:
        """A request that has come to its end."""
        return cls(wire, head, True, False, False, [body], True)

    def scope(self) -> Scope:
        """The request, for an application that is not ours."""
        headers = self.head.headers
        if not self.more:  # then a head that was said before, with another length, is put right
            length = b"%d" % sum(map(len, self._pieces))
            headers = [(name, length if name == b"content-length" else value) for name, value in headers]
        state = {**self.head.scope.get("state", {})}
        return {**self.head.scope, "headers": headers, "state": state, "extensions": {TURN: self}}

    async def run(self, application: Application) -> None:
        try:
            if isinstance(application, Edge):
                await application.take(self)
            else:
                await application(self.scope(), self.receive, self.send)
        except BaseException:  # noqa: BLE001 nobody above can tell the client; the application has told the operator
            self._give_up()
        else:
            self._give_up()

    def _give_up(self) -> None:
        if self.complete or self.gone:
            return
        if not self.started or self._head:  # nothing has left so far
            mistake = Internal("Tidegate made a mistake")
            self._wire.transport.write(problem(mistake.status, write_error(mistake, mistake.status)))
        self._wire.close()

    # --- what comes in, told by the connection

    def take(self, piece: bytes) -> None:
        if self.complete:
            return
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > MUCH:
            self._wire.pause()
        self._unseen = True
        if self._news is not None:
            self._news.set()

    def end(self) -> None:
        self.more = False
        self._unseen = True
        if self._news is not None:
            self._news.set()

    def leave(self) -> None:
        """The client has gone."""
        if not self.complete:
            self.gone = True
            if self._leaving is not None:
                self._leaving()
        if self._news is not None:
            self._news.set()

    # --- and by the application

    def whole(self) -> bytes | None:
        """All of the body, if it has come already and nothing of it was received."""
        if self.more or not self._unseen or self.gone:
            return None
        return self._take()

    def on_leave(self, leaving: Callable[[], None]) -> None:
        """Call `leaving` once, if the client goes before its answer is complete: at once if it has gone."""
        self._leaving = leaving
        self._wire.resume()  # who does not read does not notice
        if self.gone:
            leaving()

    async def receive(self) -> Message:
        if self.continuing and not self._wire.transport.is_closing():
            self._wire.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.continuing = False
        while not (self._unseen or self.gone or self.complete):
            self._wire.resume()
            if self._news is None:
                self._news = asyncio.Event()
            self._news.clear()
            await self._news.wait()
        if self.gone or self.complete:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self._take(), "more_body": self.more}

    def _take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._size = 0
        self._unseen = False
        return body

    # --- what goes out

    def answer(self, status: int, fields: bytes, body: bytes) -> bool:
        """The whole response at once, where nothing must be waited for; else False, and `send` must be called.

        `fields` are whole lines of its head; they say nothing of framing or the connection.
        """
        wire = self._wire
        if self.started or self.gone or not wire.writable or status in NO_BODY or self.head.bodiless:
            return False
        self.started = True
        self.continuing = False
        if not self.keep_alive:
            fields += b"connection: close\r\n"
        line = STATUS_LINES.get(status) or _status_line(status)
        if len(body) > MUCH:
            wire.transport.write(b"%b%bcontent-length: %d\r\n\r\n" % (line, fields, len(body)))
            wire.transport.write(body)
        else:
            wire.transport.write(b"%b%bcontent-length: %d\r\n\r\n%b" % (line, fields, len(body), body))
        self._end()
        return True

    def flows(self) -> bool:
        return self.started and self._wire.writable and not (self.gone or self.complete)

    def say(self, body: bytes, *, last: bool) -> bool:
        """A piece of the body, where nothing must be waited for; else False, and `send` must be called."""
        if not self.flows():
            return False
        self._say(body, last=last)
        return True

    def pour(self, piece: bytes) -> None:
        """A piece that is not the last, while it flows."""
        if self._chunked and piece and not self._head:
            self._wire.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        else:
            self._say(piece, last=False)

    async def send(self, message: Message) -> None:
        if not self._wire.writable and not self.gone:
            await self._wire.drained()
        if self.gone:
            return
        if message["type"] == "http.response.start" and not self.started:
            self.continuing = False
            self._head = self._rendered(message["status"], message.get("headers", ()))
            self.started = True
        elif message["type"] == "http.response.body" and self.started and not self.complete:
            self._say(message.get("body", b""), last=not message.get("more_body", False))
        else:
            raise RuntimeError(f"an application sent {message['type']!r} out of turn")

    def _say(self, body: bytes, *, last: bool) -> None:
        if self.head.bodiless:
            body, self._left = b"", 0
        elif self._chunked:
            if body:
                body = b"%x\r\n%b\r\n" % (len(body), body)
            if last:
                body += b"0\r\n\r\n"
        else:
            self._left -= len(body)
            if self._left < 0 or (last and self._left):
                raise RuntimeError("an application sent a body that is not as long as it said")
        transport = self._wire.transport
        head, self._head = self._head, b""
        if len(body) > MUCH and head:
            transport.write(head)
            transport.write(body)
        elif head or body:
            transport.write(head + body)
        if last:
            self._end()

    def _end(self) -> None:
        self.complete = True
        self._leaving = None
        if self._news is not None:
            self._news.set()
        if not self.keep_alive:
            self._wire.close()
        self._wire.turn_over()

    def _rendered(self, status: int, headers: Headers) -> bytes:
        """The head. Raises RuntimeError for a header that would break out of its line."""
        fields: list[bytes] = []
        framed = closes = False
        for name, value in headers:
            name = name.lower()
            if name == b"content-length":
                self._left = int(value)
                framed = True
            elif name == b"connection":
                closes = b"close" in value.lower()
            elif name == b"transfer-encoding":
                continue  # to cut the body into chunks, or not to, is for us
            fields += (name, b": ", value, b"\r\n")
        text = checked(b"".join(fields), len(fields) // 4)
        if closes:
            self.keep_alive = False
        elif not self.keep_alive:
            text += b"connection: close\r\n"
        if not framed and not self.head.bodiless and status not in NO_BODY:
            self._chunked = True
            text += b"transfer-encoding: chunked\r\n"
        return b"%b%b\r\n" % (_status_line(status), text)


def _status_line(status: int) -> bytes:
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def problem(status: int, body: bytes) -> bytes:
    """A whole response that ends the connection, for when no application is asked."""
    fields = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n" % len(body)
    return b"%b%b\r\n%b" % (STATUS_LINES[status], fields, body)
