"""A head that was said before: what is recognised means just what the parser made of it, and all else is not."""

from __future__ import annotations

import pytest

from tidegate.api.heads import Head
from tidegate.api.repeats import learnt

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nX-Key: b\r\n\r\n"
PARSED = Head(
    {
        "http_version": "1.1",
        "method": "POST",
        "path": "/v1/chat/completions",
        "headers": [(b"host", b"a"), (b"content-length", b"2"), (b"x-key", b"b")],
    }
)


def again(data: bytes) -> bytes | None:
    known = learnt(HEAD + b"hi", PARSED, 4096)
    assert known is not None
    return known.match(data)


def test_the_same_head_with_another_length_is_recognised():
    assert again(HEAD.replace(b": 2", b": 12") + b"hello, world") == b"hello, world"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD[:-1],
        HEAD,
        HEAD + b"h",
        HEAD + b"hi!",
        HEAD + b"hi" + HEAD,
        HEAD.replace(b"X-Key: b", b"X-Key: c") + b"hi",
        HEAD.replace(b"X-Key: b\r\n", b"X-Key: b\r\nX-More: c\r\n") + b"hi",
        HEAD.replace(b"Content-Length: 2", b"content-length: 2") + b"hi",
        HEAD.replace(b": 2", b": +2") + b"hi",
        HEAD.replace(b": 2", b": ") + b"hi",
        HEAD.replace(b": 2", b": 00000000002") + b"hi",
        HEAD.replace(b": 2", b": 2\r\nContent-Length: 2") + b"hi",
        HEAD.replace(b": 2", b": 2\r\nTransfer-Encoding: chunked") + b"hi",
    ],
)
def test_anything_else_is_for_the_parser(data: bytes):
    assert again(data) is None


@pytest.mark.parametrize(
    "head",
    [
        HEAD.replace(b"X-Key: b", b"Transfer-Encoding: chunked"),
        HEAD.replace(b"X-Key: b", b"Expect: 100-continue"),
        HEAD.replace(b"X-Key: b", b"Upgrade: h2c"),
        HEAD.replace(b"Content-Length: 2\r\n", b""),
        HEAD[:-2],
    ],
)
def test_a_head_that_says_more_than_its_length_is_not_learnt(head: bytes):
    assert learnt(head + b"hi", PARSED, 4096) is None


@pytest.mark.parametrize("rest", [b"h", b"hi" + HEAD + b"hi", b"hi!"])
def test_only_what_is_one_request_and_no_more_is_learnt(rest: bytes):
    """What the parser has understood last would be the second request, and another key may have come with it."""
    assert learnt(HEAD + rest, PARSED, 4096) is None


def test_a_head_that_could_grow_over_its_bound_is_not_learnt():
    assert learnt(HEAD + b"hi", PARSED, len(HEAD) + 10) is None
    assert learnt(HEAD + b"hi", Head({**PARSED.scope, "http_version": "1.0"}), 4096) is None
