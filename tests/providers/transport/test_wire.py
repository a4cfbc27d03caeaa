"""HTTP as bytes: every fragmentation, every early end, and whatever a server may send."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tidegate.providers.transport.wire import Address, ResponseParser, request_head, request_line

MAX_HEAD, MAX_BODY = 300, 500


class Recorded(NamedTuple):
    """A response, what it says, and how it may end."""

    sent: bytes
    status: int
    body: bytes
    ends: bool = True  # by itself, not by the end of the connection
    reusable: bool = True
    method: str = "POST"


EVENT = b'data: {"choices":[{"delta":{"content":"h\xc3\xa4"}}]}\n\n'

RECORDED = {
    "length": Recorded(
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"ok": "yes"}', 200,
        b'{"ok": "yes"}',
    ),
    "chunks": Recorded(
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=1\r\n{"a\r\n00A;q="x;y"\r\n": "bcdefg\r\n2\r\n"}'
        b"\r\n0;last\r\nx-trailer: dropped\r\n\r\n", 200, b'{"a": "bcdefg"}',
    ),
    "until close": Recorded(b"HTTP/1.1 200 OK\r\nserver: old\r\n\r\nall there is", 200, b"all there is", False, False),
    "1xx first": Recorded(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
        b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 4\r\n\r\nwait", 429, b"wait",
    ),
    "events": Recorded(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        + 2 * (b"%x\r\n%b\r\n" % (len(EVENT), EVENT)) + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n",
        200, EVENT + EVENT + b"data: [DONE]\n\n",
    ),
    "no content": Recorded(b"HTTP/1.1 204 No Content\r\ndate: now\r\n\r\n", 204, b""),
    "not modified": Recorded(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9999\r\n\r\n", 304, b""),
    "to a HEAD": Recorded(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", 200, b"", method="HEAD"),
    "close": Recorded(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\na", 200, b"a", reusable=False),
    "HTTP/1.0": Recorded(b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na", 200, b"a", reusable=False),
}  # fmt: skip

every_recording = pytest.mark.parametrize("recorded", RECORDED.values(), ids=RECORDED)


def fed(pieces: list[bytes], method: str = "POST") -> tuple[ResponseParser, bytes]:
    parser = ResponseParser(MAX_HEAD, MAX_BODY)
    parser.expect(method)
    return parser, b"".join([parser.feed(piece) for piece in pieces])


def cut(data: bytes, *at: int) -> list[bytes]:
    return [data[a:b] for a, b in pairwise((0, *at, len(data)))]


def assert_as_recorded(recorded: Recorded, pieces: list[bytes]) -> None:
    parser, body = fed(pieces, recorded.method)
    assert parser.complete == recorded.ends
    parser.eof()
    assert parser.fault is None
    assert parser.complete
    assert parser.reusable == recorded.reusable
    assert parser.head is not None
    assert parser.head.status == recorded.status
    assert all(name == name.lower() for name, _ in parser.head.headers)
    assert not {b"x-trailer", b"link"} & {name for name, _ in parser.head.headers}
    assert body == recorded.body


# --- fragmentation


@every_recording
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_response_in_small_pieces_is_the_same(recorded: Recorded, size: int) -> None:
    data = recorded.sent
    assert_as_recorded(recorded, [data[i : i + size] for i in range(0, len(data), size)])


@every_recording
def test_a_response_in_two_pieces_is_the_same_wherever_it_is_cut(recorded: Recorded) -> None:
    for at in range(len(recorded.sent) + 1):
        assert_as_recorded(recorded, cut(recorded.sent, at))


@every_recording
def test_a_response_in_three_pieces_is_the_same_wherever_it_is_cut(recorded: Recorded) -> None:
    for first, second in combinations(range(0, len(recorded.sent), 2), 2):
        assert_as_recorded(recorded, cut(recorded.sent, first, second))


@every_recording
def test_an_early_end_is_never_taken_for_the_end(recorded: Recorded) -> None:
    for at in range(len(recorded.sent)):
        parser, body = fed([recorded.sent[:at]], recorded.method)
        assert not parser.complete
        parser.eof()
        assert recorded.body.startswith(body)
        if recorded.ends or parser.head is None:
            assert parser.fault is not None
            assert parser.fault.kind == "reset"
        else:
            assert parser.complete  # nothing but the connection's end would have told


@every_recording
def test_two_responses_on_one_connection_do_not_mix(recorded: Recorded) -> None:
    parser, _ = fed([recorded.sent], recorded.method)
    if parser.reusable:
        parser.expect("POST")
        assert parser.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnext") == b"next"
        assert parser.complete


@settings(max_examples=200)
@given(recorded=st.sampled_from([each for each in RECORDED.values() if each.ends]), surplus=st.binary(min_size=1))
@example(recorded=RECORDED["length"], surplus=b"HTTP/1.1 200 OK\r\n\r\n")
@example(recorded=RECORDED["to a HEAD"], surplus=b"HTTP/1.1 200 OK\r\n\r\n")
@example(recorded=RECORDED["chunks"], surplus=b"H")
def test_bytes_after_the_end_make_the_connection_unusable(recorded: Recorded, surplus: bytes) -> None:
    parser, body = fed([recorded.sent + surplus], recorded.method)
    assert parser.complete
    assert parser.fault is None
    assert body == recorded.body
    assert not parser.reusable or not surplus.strip(b"\r\n")  # a line end too many is an old habit, and harmless


def test_the_framing_of_a_1xx_is_not_that_of_the_answer() -> None:
    parser, body = fed([b"HTTP/1.1 100 Continue\r\ncontent-length: 9999\r\n\r\nHTTP/1.1 200 OK\r\n\r\nuntil close"])
    parser.eof()
    assert parser.complete
    assert body == b"until close"


def test_a_length_beyond_the_bound_is_refused_before_its_body() -> None:
    parser, _ = fed([b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (MAX_BODY + 1)])
    assert parser.fault is not None
    assert parser.fault.kind == "too_large"


# --- bounds


def test_a_head_may_have_exactly_its_bound() -> None:
    room = MAX_HEAD - len(b"content-length: 0\r\n") - len(b"x: \r\n")
    for length in (room, room + 1):
        parser, _ = fed([b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: %b\r\n\r\n" % (b"a" * length)])
        assert parser.complete == (length == room)
        if length > room:
            assert parser.fault is not None
            assert parser.fault.kind == "too_large"


@pytest.mark.parametrize(
    "flood",
    [
        b"HTTP/1.1 200 " + b"O" * 1000,
        b"HTTP/1.1 200 OK\r\n" + b"x" * 1000,
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1000,
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"e" * 1000,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: " + b"y" * 1000,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + b"x: y\r\n" * 1000,
    ],
)
@pytest.mark.parametrize("size", [1, 10, 250])
def test_what_carries_no_body_is_bounded(flood: bytes, size: int) -> None:
    parser = ResponseParser(MAX_HEAD, MAX_BODY)
    taken = 0
    while parser.fault is None:
        parser.feed(flood[taken : taken + size])
        taken += size
    assert parser.fault.kind == "too_large"
    assert taken <= 2 * MAX_HEAD + 2 * size


def test_chunk_frames_between_pieces_do_not_add_up() -> None:
    pieces = [piece for _ in range(MAX_BODY) for piece in (b"1\r\n", b"a", b"\r\n")]
    parser, body = fed([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", *pieces, b"0\r\n\r\n"])
    assert parser.complete
    assert parser.fault is None
    assert body == b"a" * MAX_BODY


@pytest.mark.parametrize("framing", [b"content-length: %d", b"transfer-encoding: chunked", b"connection: close"])
@pytest.mark.parametrize("more", [0, 1])
def test_a_body_may_have_exactly_its_bound(framing: bytes, more: int) -> None:
    size = MAX_BODY + more
    framing = framing.replace(b"%d", b"%d" % size)
    body = b"a" * size
    sent = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body) if b"chunked" in framing else body
    parser, heard = fed([b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing, *cut(sent, 100, 300)])
    parser.eof()
    assert parser.complete == (not more)
    assert (parser.fault is not None and parser.fault.kind == "too_large") == bool(more)
    assert len(heard) <= MAX_BODY


# --- what no server should say


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 099 Below\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\ncontent-length: 2\r\n\r\nab" + b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\na",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0x1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\na: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na\0: b\r\n\r\n",
        b"HTTP/1.1 200 OK\na: b\n\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n",
    ],
)
def test_what_is_ambiguous_is_refused(said: bytes) -> None:
    for pieces in ([said], [said[i : i + 1] for i in range(len(said))]):
        parser, _ = fed(pieces)
        assert parser.fault is not None
        assert parser.fault.kind == "protocol"
        assert not parser.complete
        parser.eof()
        assert not parser.complete


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(b"timeout=5, max=100", 5.0), (b"max=3,timeout=60", 60.0), (b"nonsense", None), (b"timeout=-1", None)],
)
def test_a_server_may_say_how_long_it_keeps_a_connection(header: bytes, seconds: float | None) -> None:
    parser, _ = fed([b"HTTP/1.1 200 OK\r\nKeep-Alive: %b\r\ncontent-length: 0\r\n\r\n" % header])
    assert parser.hint_s == seconds
    parser.expect("GET")
    assert parser.hint_s is None


# --- fuzz

WORDS = [
    b"HTTP/1.1 ", b"HTTP/1.0 ", b"HTTP/9.9 ", b"200 OK", b"204 x", b"100 Continue", b"101 x", b"304 x", b"\r\n", b"\n",
    b"\r\n\r\n", b"content-length: ", b"Transfer-Encoding: chunked\r\n", b"connection: close\r\n", b"upgrade: x\r\n",
    b"keep-alive: timeout=", b"0", b"5", b"999999999999", b"-1", b";ext", b"hello", b"0\r\n\r\n", b"5\r\nhello\r\n",
    b": ", b" ", b"\0", b"\xff", b"a" * 400,
]  # fmt: skip
scrambled = st.lists(st.sampled_from(WORDS) | st.binary(max_size=8), max_size=30).map(b"".join)


def _with_junk(recorded: Recorded, at: int, junk: bytes) -> bytes:
    at %= len(recorded.sent)
    return recorded.sent[:at] + junk + recorded.sent[at:]


mutated = st.builds(
    _with_junk,
    st.sampled_from(list(RECORDED.values())),
    st.integers(0, 300),
    st.binary(max_size=4) | st.sampled_from(WORDS),
)
a_few_cuts = st.lists(st.integers(0, 400), max_size=6)


@settings(max_examples=1500, deadline=None)
@given(data=scrambled | mutated, cuts=a_few_cuts, method=st.sampled_from(["POST", "HEAD"]))
@example(data=b"HTTP/1.1 200 OK\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", cuts=[], method="POST")
def test_no_bytes_crash_it_and_their_cuts_do_not_matter(data: bytes, cuts: list[int], method: str) -> None:
    """What is found is the same however it was cut; a fault is final; bounds hold."""
    found = []
    for pieces in ([data], cut(data, *sorted(min(at, len(data)) for at in cuts))):
        parser = ResponseParser(MAX_HEAD, MAX_BODY)
        parser.expect(method)
        body = b""
        for piece in pieces:
            body += parser.feed(piece)
            if parser.complete or parser.fault is not None:
                break
        parser.eof()
        assert parser.complete != (parser.fault is not None)
        assert len(body) <= MAX_BODY
        found.append((parser.complete, parser.head and parser.head.status, parser.complete and body))
    if "too_large" not in {parser.fault.kind if parser.fault else ""}:
        assert found[0] == found[1]


# --- requests


@pytest.mark.parametrize(
    ("url", "address", "lines"),
    [
        ("http://a", Address("http", "a", 80), b"GET / HTTP/1.1\r\nhost: a\r\n"),
        ("https://API.example.com/v1", Address("https", "api.example.com", 443), b"host: api.example.com\r\n"),
        ("http://a:80/x", Address("http", "a", 80), b"GET /x HTTP/1.1\r\nhost: a\r\n"),
        ("http://a:443/x", Address("http", "a", 443), b"host: a:443\r\n"),
        ("http://a?q=1", Address("http", "a", 80), b"GET /?q=1 HTTP/1.1\r\n"),
        ("http://a/x?q=/..%2F#part", Address("http", "a", 80), b"GET /x?q=/..%2F HTTP/1.1\r\n"),
        ("http://[::1]:8080/", Address("http", "::1", 8080), b"host: [::1]:8080\r\n"),
        ("https://[fe80::1]/", Address("https", "fe80::1", 443), b"host: [fe80::1]\r\n"),
    ],
)
def test_a_url_says_where_and_what(url: str, address: Address, lines: bytes) -> None:
    where, said = request_line("GET", url)
    assert where == address
    assert lines in said


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", "ftp://a/"), ("GET", "//a/"), ("GET", "/path"), ("GET", "http://"), ("GET", "http://a:99999/"),
        ("GET", "http://a:x/"), ("GET", "http://user:secret@a/"), ("GET", "http://a/ b"), ("GET", "http://a/\tb"),
        ("GET", "http://a\r\n/"), ("GET", "http://ä/"), ("GET", "http://[::1/"), ("GET", ""), ("G ET", "http://a/"),
        ("GET\r\n", "http://a/"), ("get", "http://a/"), ("", "http://a/"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(method: str, url: str) -> None:
    with pytest.raises(ValueError) as caught:
        request_line(method, url)
    assert "secret" not in str(caught.value)


def test_a_head_is_rendered_whole() -> None:
    headers = [(b"a", b"1"), (b"b", b"\xff two ")]
    head = request_head(b"POST / HTTP/1.1\r\nhost: h\r\n", "POST", headers, 7)
    assert head == (
        b"POST / HTTP/1.1\r\nhost: h\r\na: 1\r\nb: \xff two \r\naccept-encoding: identity\r\ncontent-length: 7\r\n\r\n"
    )
    assert b"content-length: 0\r\n" in request_head(b"", "POST", (), 0)
    assert b"content-length" not in request_head(b"", "GET", (), 0)
    assert request_head(b"", "GET", [(b"Accept-Encoding", b"br")], 0) == b"Accept-Encoding: br\r\n\r\n"


@pytest.mark.parametrize("name", [b"Host", b"content-length", b"Transfer-Encoding", b"connection", b"TE", b"upgrade"])
def test_the_framing_is_ours_whatever_a_caller_says(name: bytes) -> None:
    assert request_head(b"", "GET", [(name, b"9"), (b"a", b"1")], 0) == b"a: 1\r\naccept-encoding: identity\r\n\r\n"


def test_a_caller_may_say_that_the_connection_is_to_end_with_the_answer() -> None:
    head = request_head(b"", "GET", [(b"connection", b"close"), (b"connection", b"keep-alive")], 0)
    assert head == b"connection: close\r\naccept-encoding: identity\r\n\r\n"


@given(name=st.binary(max_size=5), value=st.binary(max_size=8))
@example(name=b"a", value=b"1\r\nevil: 2")
@example(name=b"a: 1\r\nevil", value=b"2")
def test_one_header_is_one_line_or_an_error(name: bytes, value: bytes) -> None:
    try:
        head = request_head(b"", "GET", [(name, value)], 0)
    except ValueError:
        return
    lines = head.split(b"\r\n")
    assert lines[0] in (b"%b: %b" % (name, value), b"accept-encoding: identity")
    assert len(lines) <= 4
    assert head.count(b"\n") == len(lines) - 1


def test_an_error_about_a_header_does_not_tell_its_value() -> None:
    with pytest.raises(ValueError, match="authorization") as caught:
        request_head(b"", "GET", [(b"a", b"1"), (b"authorization", b"Bearer secret\n")], 0)
    assert "secret" not in str(caught.value)
