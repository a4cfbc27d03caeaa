"""The head of a request, read once; and the lines of a response's head, which can be read back."""

from __future__ import annotations

import pytest

from tidegate.api.heads import Head, lines, parted


def head(**headers: str) -> Head:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Head({"method": "POST", "path": "/v1/chat/completions", "headers": named, "client": ("10.0.0.1", 5)})


def test_of_two_headers_alike_the_first_counts():
    twice = Head({"method": "GET", "headers": [(b"x-a", b"first"), (b"x-a", b"second")]})
    assert twice.by_name[b"x-a"] == b"first" and twice.headers == [(b"x-a", b"first"), (b"x-a", b"second")]


@pytest.mark.parametrize(
    ("headers", "announced"),
    [
        ({}, False),
        ({"content_length": "0"}, False),
        ({"content_length": "2"}, True),
        ({"transfer_encoding": "chunked"}, True),
    ],
)
def test_a_body_is_announced_by_its_length_or_in_chunks(headers: dict[str, str], announced: bool):
    assert head(**headers).has_body == announced


@pytest.mark.parametrize(
    ("headers", "plain"),
    [
        ({"content_type": "application/json"}, True),
        ({"content_type": "application/json; charset=utf-8"}, False),
        ({"content_type": "application/json", "content_encoding": "gzip"}, False),
        ({}, False),
    ],
)
def test_json_as_almost_everybody_sends_it_needs_no_second_look(headers: dict[str, str], plain: bool):
    assert head(**headers).is_json == plain


def test_what_only_some_clients_say_is_seen_once():
    assert not head(x_other="a").is_labelled and not head(x_other="a").wishes
    assert head(x_tidegate_user="ann").is_labelled and head(idempotency_key="k").wishes


def test_lines_can_be_read_back():
    headers = [(b"content-type", b"application/json"), (b"x-a", b"b: c"), (b"x-empty", b"")]
    assert lines(headers) == b"content-type: application/json\r\nx-a: b: c\r\nx-empty: \r\n"
    assert parted(lines(headers)) == headers and lines([]) == b"" and parted(b"") == []


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"a\0b"])
def test_a_header_does_not_break_out_of_its_line(value: bytes):
    with pytest.raises(RuntimeError, match="header"):
        lines([(b"x", value)])
