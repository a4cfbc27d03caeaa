"""Where does each value of a JSON object stand, and what is the text with some of them changed?

A body is never decoded and encoded again: what we do not know would be lost, and what we do know would look different.
It is read in place, and a change replaces just the bytes of that value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from tidegate.core.errors import BadRequest

Spans = dict[str, tuple[int, int]]

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY = msgspec.json.Decoder()
_KEY = re.compile(rb'[ \t\r\n]*+("[^"\\]*+(?:\\.[^"\\]*+)*+")[ \t\r\n]*+:[ \t\r\n]*+', re.DOTALL)
_FIELD = re.compile(r"(?:missing required|contains unknown) field `([^`]+)`")
_AFTER = re.compile(rb"[ \t\r\n]*+([,}])")
BLANK = (b" ", b"\t", b"\r", b"\n")
MAX_KEYS = 1_000


def checked(body: bytes) -> bytes:
    """`body`, if it is text at all. msgspec passes over what it need not read, so bad UTF-8 would travel on."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as wrong:
            raise BadRequest(f"the body is not valid UTF-8 (byte {wrong.start})") from None
    return body


def decode(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    """The typed minimum of `body`. Raises BadRequest with the path of the field that is wrong."""
    try:
        return decoder.decode(checked(body))
    except msgspec.ValidationError as wrong:
        raise mistake(wrong) from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise BadRequest(f"the body is not JSON: {wrong}") from None


def mistake(wrong: msgspec.ValidationError, whole: str | None = None) -> BadRequest:
    """The error for a value that is not what was asked for: it says where. `whole`: what it is all about."""
    what, _, where = str(wrong).partition(" - at `$")
    path = where.rstrip("`").lstrip(".")
    field = _FIELD.search(what)
    named = ".".join(filter(None, (path, field[1]))) if field else path
    return BadRequest(f"{path}: {what}" if path else what, param=named or whole)


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
    return _as_usual(body, members) or _walk(body, members)


def _as_usual(body: bytes, members: Mapping[str, msgspec.Raw]) -> Spans | None:
    """If `body` is, to the byte, these members as most clients write them, then none stands twice. None: it is not."""
    form, then = b'{"%b":', b',"%b":'
    if body.startswith(b" ", body.find(b":") + 1):
        form, then = b'{"%b": ', b', "%b": '
    found: Spans = {}
    pieces: list[Any] = []  # bytes, and what msgspec keeps of them
    at = 0
    for key, value in members.items():
        name = form % key.encode()
        start = at + len(name)
        at = start + len(value)
        found[key] = (start, at)
        pieces += (name, value)
        form = then
    pieces.append(b"}")
    return found if body == b"".join(pieces) else None


def _walk(body: bytes, members: Mapping[str, msgspec.Raw]) -> Spans:
    """Step from value to value by the lengths that the decoder found. The work grows with the keys, not with the text.

    A dict forgets a repeated key: it keeps the place of the first and the value of the last. So the first step that
    meets another key or another value than the dict says, or one more than it has, stands on a key that is there twice.
    """
    found: Spans = {}
    at = body.index(b"{") + 1
    for key, value in members.items():
        text = bytes(value)
        # Almost everybody writes `"key": value` or `"key":value`, with one blank before it or none.
        if body[at : at + 1] == b" ":
            at += 1
        name = b'"%b":' % key.encode()
        start = at + len(name)
        if body[start : start + 1] == b" ":
            start += 1
        if not body.startswith(name, at) or body[start : start + 1] in BLANK:
            said, start = _key(body, at)
            if said != key:
                raise _twice(said)
        end = start + len(text)
        if not body.startswith(text, start):
            raise _twice(key)
        if body[end : end + 1] == b",":
            at = end + 1
        else:
            after = _AFTER.match(body, end)
            if after is None:
                raise _twice(key)
            at = after.end()
        found[key] = (start, end)
    if members and body[at - 1 : at] == b",":
        raise _twice(_key(body, at)[0])
    return found


def _key(body: bytes, at: int) -> tuple[str, int]:
    """The key that stands at `at`, and where its value begins."""
    member = _KEY.match(body, at)
    assert member is not None  # the decoder has read this text, so it is JSON
    return _ANY.decode(member[1]), member.end()


def _twice(key: str) -> BadRequest:
    return BadRequest(f"the key {key[:100]!r} stands twice", param=key[:100])


def splice(body: bytes, where: Spans, changes: Mapping[str, bytes]) -> bytes:
    """`body` with the values of some top-level keys replaced, or added at the end where they were not."""
    if len(changes) == 1:
        ((key, value),) = changes.items()
        if key in where:
            start, end = where[key]
            return b"%b%b%b" % (body[:start], value, body[end:])
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


def without(body: bytes, where: Spans, key: str) -> bytes:
    """`body` with one of its top-level keys taken out, and its comma."""
    start, end = where[key]
    before = max((stop for _, stop in where.values() if stop <= start), default=None)
    if before is not None:
        return body[:before] + body[end:]
    after = body.index(b",", end) + 1 if len(where) > 1 else end
    return body[: body.index(b"{") + 1] + body[after:]


def inside(array: bytes) -> bytes:
    """What stands between the brackets of an array, without blanks around it."""
    return array.strip()[1:-1].strip()
