"""Where does each value of a JSON object stand, and what is the text with some of them changed?

A body is never decoded and encoded again: what we do not know would be lost, and what we do know would look different.
It is read in place, and a change replaces just the bytes of that value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from tidegate.core.errors import BadRequest

Spans = dict[str, tuple[int, int]]

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY = msgspec.json.Decoder()
_SPACE = b" \t\r\n"
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[][{}:,]', re.DOTALL)
MAX_KEYS = 1_000


def checked(body: bytes) -> bytes:
    """`body`, if it is text at all. msgspec passes over what it need not read, so bad UTF-8 would travel on."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as wrong:
            raise BadRequest(f"the body is not valid UTF-8 (byte {wrong.start})") from None
    return body


def spans(body: bytes) -> Spans:
    """Where each value of the top-level object begins and ends. Raises BadRequest: no object, or a key twice."""
    try:
        members = _MEMBERS.decode(body)
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise BadRequest(f"the body is not a JSON object: {wrong}") from None
    if len(members) > MAX_KEYS:
        raise BadRequest(f"the body has {len(members)} top-level keys; {MAX_KEYS} are allowed")
    return _walk(body, members) or _scan(body)


def _walk(body: bytes, members: Mapping[str, msgspec.Raw]) -> Spans | None:
    """Step from value to value by the lengths that the decoder found; None when the text does not agree.

    A dict forgets a repeated key. Here every byte of the text is accounted for by the members we know, so a text
    that ends where we end repeats nothing.
    """
    found: Spans = {}
    at = body.index(b"{") + 1
    end = len(body.rstrip(_SPACE))
    for key, value in members.items():
        quoted = b'"%b"' % key.encode()
        at = _skip(body, at)
        if not body.startswith(quoted, at):
            return None
        at = _skip(body, at + len(quoted))
        if body[at : at + 1] != b":":
            return None
        at = _skip(body, at + 1)
        text = bytes(value)
        if not body.startswith(text, at):
            return None
        found[key] = (at, at + len(text))
        at = _skip(body, at + len(text))
        if body[at : at + 1] != b",":
            break
        at += 1
    return found if at == end - 1 and len(found) == len(members) else None


def _skip(body: bytes, at: int) -> int:
    while at < len(body) and body[at] in _SPACE:
        at += 1
    return at


def _scan(body: bytes) -> Spans:
    """The same from the tokens of the text, for keys written with escapes, and to name the key that stands twice."""
    found: Spans = {}
    depth = 0
    key: str | None = None
    start = -1  # of the value under way; -1 while a key is expected
    for token in _TOKEN.finditer(body):
        mark = token[0]
        if depth == 1 and start < 0 and mark[0] == 0x22:
            key = _ANY.decode(mark)
        elif depth == 1 and mark == b":":
            start = _skip(body, token.end())
        elif depth == 1 and (mark == b"," or mark == b"}") and key is not None:
            if key in found:
                raise BadRequest(f"the key {key!r} stands twice", param=key)
            found[key] = (start, len(body[: token.start()].rstrip(_SPACE)))
            key, start = None, -1
        depth += (mark in (b"{", b"[")) - (mark in (b"}", b"]"))
    return found


def splice(body: bytes, where: Spans, changes: Mapping[str, bytes]) -> bytes:
    """`body` with the values of some top-level keys replaced, or added at the end where they were not."""
    edits = [(*where[key], value) for key, value in changes.items() if key in where]
    added = [b"%b:%b" % (msgspec.json.encode(key), value) for key, value in changes.items() if key not in where]
    if added:
        end = body.rindex(b"}")
        edits.append((end, end, (b"," if where else b"") + b",".join(added)))
    pieces: list[bytes] = []
    at = 0
    for start, end, value in sorted(edits):
        pieces += (body[at:start], value)
        at = end
    pieces.append(body[at:])
    return b"".join(pieces)
