"""What does a provider say that costs nothing? Replies that were rendered before they were asked for.

`python -m bench.mock` prints its port and serves until it is ended. It must be far faster than any gateway, so it
parses no more than where a request ends and whether the word `"stream"` is in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any, cast

from tidegate.plugins import loop_factory

CONTENT = "Water runs downhill, and the tide comes back. That is all."
USAGE = {"prompt_tokens": 12, "completion_tokens": 14, "total_tokens": 26}
TOKENS_PER_REPLY = USAGE["total_tokens"]


def whole() -> bytes:
    """The body of a reply that is not streamed: about as long as a sentence takes."""
    message = {"role": "assistant", "content": CONTENT}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return _json({**_envelope("chat.completion"), "choices": [choice], "usage": USAGE})


def chunks(count: int) -> list[bytes]:
    """The events of a streamed reply: so many with content, then the end, the usage, and [DONE].

    No two say the same: a model that repeats itself is stopped by some gateways.
    """

    def event(delta: dict[str, str], finish: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return b"data: " + _json({**_envelope("chat.completion.chunk"), "choices": [choice]}) + b"\n\n"

    said = [event({**({} if at else {"role": "assistant"}), "content": word(at)}, None) for at in range(count)]
    usage = b"data: " + _json({**_envelope("chat.completion.chunk"), "choices": [], "usage": USAGE}) + b"\n\n"
    return [*said, event({}, "stop"), usage + b"data: [DONE]\n\n"]


def word(at: int) -> str:
    """What the chunk with this number says."""
    return f"tide{at} "


def _envelope(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1700000000, "model": "mock"}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class Script:
    """All that is ever said, as it stands on the wire."""

    def __init__(self, count: int, every_s: float) -> None:
        body = whole()
        self.every_s = every_s
        self.whole = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
            len(body),
            body,
        )
        self.head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        framed = [b"%x\r\n%b\r\n" % (len(event), event) for event in chunks(count)]
        self.pieces = [*framed[:-1], framed[-1] + b"0\r\n\r\n"]
        self.at_once = self.head + b"".join(self.pieces)


class Connection(asyncio.Protocol):
    __slots__ = ("_buffer", "_loop", "_script", "_transport")

    def __init__(self, script: Script, loop: asyncio.AbstractEventLoop) -> None:
        self._script = script
        self._loop = loop
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        while buffer:
            end = _request_end(buffer)
            if end is None:
                break
            self._answer(buffer[:end])
            buffer = buffer[end:]
        self._buffer = buffer

    def _answer(self, request: bytes) -> None:
        at = request.find(b'"stream"')
        if at < 0 or not request[at + 8 : at + 16].lstrip(b": ").startswith(b"true"):
            self._transport.write(self._script.whole)
        elif self._script.every_s:
            self._transport.write(self._script.head)
            self._say(0, self._loop.time())
        else:
            self._transport.write(self._script.at_once)

    def _say(self, index: int, due: float) -> None:
        """One piece after the other, by the clock: a late one does not make all that follow late."""
        if self._transport.is_closing():
            return
        self._transport.write(self._script.pieces[index])
        if index + 1 < len(self._script.pieces):
            due += self._script.every_s
            self._loop.call_at(due, self._say, index + 1, due)


def _request_end(buffer: bytes) -> int | None:
    """Where the first request in `buffer` ends; None while it has not arrived whole."""
    body = buffer.find(b"\r\n\r\n") + 4
    if body < 4:
        return None
    head = buffer[:body].lower()
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        end = body + int(head[at + 17 : head.index(b"\r\n", at + 17)])
        return end if end <= len(buffer) else None
    if b"\r\ntransfer-encoding: chunked" in head:
        end = buffer.find(b"0\r\n\r\n", body)  # no body that is sent here has these bytes in it
        return end + 5 if end >= 0 else None
    return body


async def serve(host: str, port: int, script: Script) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(script, loop), host, port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.mock", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="where to listen")
    parser.add_argument("--port", type=int, default=0, help="the same; 0 takes any that is free")
    parser.add_argument("--chunks", type=int, default=200, help="with content, in every streamed reply")
    parser.add_argument("--every-ms", type=float, default=5, help="between two chunks; 0 says all at once")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(options.host, options.port, Script(options.chunks, options.every_ms / 1000)))


if __name__ == "__main__":
    main()
