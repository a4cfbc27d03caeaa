"""What should a provider keep, that is sent again and again? Anthropic keeps what ends with a mark (`cache_control`).

What is kept costs a quarter more when it is written and a tenth when it is read, within five minutes. So a mark is put
only where that has been seen to happen: behind tools and system prompt that were just sent before, at the end of a
conversation whose last turn was just sent, behind the examples that each of several requests begins with. None is put
where the client has put one; there may be four, and there are two at most.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from tidegate.core.places import places

DIALECT, OPERATION = "anthropic", "chat"
KEPT_NS = 300 * 10**9
SHORTEST = 4 * 1024  # bytes, about 1,024 tokens: what is shorter no model keeps
MAX_SEEN = 4_000
MARK = b'"cache_control":{"type":"ephemeral"}'
MARKED = ("text", "image", "document", "tool_use", "tool_result")  # blocks that can carry one

_ANY = msgspec.json.Decoder()


class Request(msgspec.Struct):
    tools: msgspec.Raw = msgspec.Raw()
    system: msgspec.Raw = msgspec.Raw()
    messages: list[msgspec.Raw] = []


_REQUEST = msgspec.json.Decoder(Request)


class Marked(NamedTuple):
    body: bytes
    marks: int


class Seen:
    """Beginnings of requests that were sent lately, by their digest."""

    def __init__(self) -> None:
        self._at_ns: OrderedDict[bytes, int] = OrderedDict()

    def again(self, beginning: bytes, now_ns: int) -> bool:
        """Whether it was sent so lately that it could still be kept; from now on it was."""
        found = self.lately(beginning, now_ns)
        self._at_ns[beginning] = now_ns
        self._at_ns.move_to_end(beginning)
        if len(self._at_ns) > MAX_SEEN:
            self._at_ns.popitem(last=False)
        return found

    def lately(self, beginning: bytes, now_ns: int) -> bool:
        before_ns = self._at_ns.get(beginning)
        return before_ns is not None and now_ns - before_ns < KEPT_NS


def marked(body: bytes, seen: Seen, now_ns: int) -> Marked:
    """The body of a request in Anthropic's dialect, with marks where they pay."""
    if len(body) < SHORTEST or b'"cache_control"' in body:
        return Marked(body, 0)
    return _with_marks(body, set(_paths(_REQUEST.decode(body), seen, now_ns)))


def _paths(request: Request, seen: Seen, now_ns: int) -> Iterator[str]:
    """Where the marks go."""
    digest = blake2b(bytes(request.tools), digest_size=16)
    digest.update(bytes(request.system))
    size = len(bytes(request.tools)) + len(bytes(request.system))
    if size >= SHORTEST and seen.again(digest.digest(), now_ns) and (path := _end_of_beginning(request)):
        yield path
    messages = [_ANY.decode(one) for one in request.messages]
    answers = [at for at, message in enumerate(messages) if message.get("role") == "assistant"]
    last, end = answers[-1] if answers else -1, None
    for at, raw in enumerate(request.messages):
        if at == last and seen.lately(digest.digest(), now_ns):  # the request before this one, whole
            end = len(messages) - 1
        digest.update(bytes(raw))
        size += len(bytes(raw))
        if at == last and size >= SHORTEST and seen.again(digest.digest(), now_ns) and end is None:
            end = at
    seen.again(digest.digest(), now_ns)
    if end is not None and size >= SHORTEST and (path := _last_block(f"messages[{end}].content", messages[end])):
        yield path


def _end_of_beginning(request: Request) -> str | None:
    """The system prompt, its last block, or the last tool."""
    system = _ANY.decode(request.system) if bytes(request.system) else None
    if system:
        return _last_block("system", {"content": system})
    tools = _ANY.decode(request.tools)
    return f"tools[{len(tools) - 1}]" if isinstance(tools, list) and tools else None


def _last_block(path: str, message: dict[str, Any]) -> str | None:
    """None: it cannot carry a mark."""
    content = message.get("content")
    if isinstance(content, str):
        return path if content.strip() else None
    last = content[-1] if isinstance(content, list) and content else None
    fits = isinstance(last, dict) and last.get("type") in MARKED and last.get("text") != ""
    return f"{path}[{len(content) - 1}]" if fits and content else None


def _with_marks(body: bytes, paths: set[str]) -> Marked:
    pieces: list[bytes] = []
    at = marks = 0
    for _, start, end in places(body, paths.__contains__) if paths else ():
        if body[start : start + 1] == b'"':
            pieces += (body[at:start], b'[{"type":"text","text":%b,%b}]' % (body[start:end], MARK))
        else:
            pieces += (body[at : end - 1], b",%b}" % MARK)
        at, marks = end, marks + 1
    return Marked(b"".join((*pieces, body[at:])), marks) if marks == len(paths) else Marked(body, 0)
