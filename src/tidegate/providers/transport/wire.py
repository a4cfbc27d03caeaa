"""What is said on the wire? The head of a request, rendered; responses, one after the other, parsed. No I/O."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

import httptools

from tidegate.core.ports import Head, Headers

DEFAULT_PORTS = {"http": 80, "https": 443}
BODY_EXPECTED = frozenset(("POST", "PUT", "PATCH"))  # a content-length of 0 is said for these

# The framing, the host and the connection are ours to say, whatever a caller hands us, but for this: that the
# connection is to end with the answer. It is for servers that close theirs at any time, and do not say so before.
OURS = frozenset((
    b"host", b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"proxy-connection", b"te",
    b"trailer", b"upgrade", b"expect",
))  # fmt: skip
LAST = (b"connection", b"close")
NOTED = frozenset((b"content-length", b"transfer-encoding", b"keep-alive"))

_METHOD = re.compile(r"[A-Z]+")
_URL = re.compile(r"[\x21-\x7e]+")  # urlsplit would drop CR, LF and TAB without a word
_HOST = re.compile(r"[0-9A-Za-z._-]+|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(?:%[0-9A-Za-z._-]+)?")
_NUMBER = re.compile(r"(?:.*\.)?(?:\d+|0[xX][0-9A-Fa-f]*)\.?")  # what resolvers read as an address, however it is spelt
_TIMEOUT = re.compile(rb"\btimeout=(\d{1,6})")
_FIELDS = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++: [^\r\n\0]*+\r\n)*+")


class Address(NamedTuple):
    """Where connections lead. Two requests with the same address may share one."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{authority(self)}"


class Fault(NamedTuple):
    """Why a response ended early: `kind` and words of a TransportError."""

    kind: str
    said: str


def authority(address: Address) -> str:
    """Host and port as the Host header says them: no default port, IPv6 in brackets."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    return host if address.port == DEFAULT_PORTS[address.scheme] else f"{host}:{address.port}"


def request_line(method: str, url: str) -> tuple[Address, bytes]:
    """Where `url` leads, and the first two lines of a request for it. Raises ValueError for what cannot be asked."""
    if not _METHOD.fullmatch(method):
        raise ValueError(f"method {method!r} is not a word of capital letters")
    if not _URL.fullmatch(url):
        raise ValueError(f"URL {url[:200]!r} holds blanks, line ends or characters beyond ASCII; escape them")
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"URL {url[:200]!r} must begin with http://HOST or https://HOST")
    if not _HOST.fullmatch(parts.hostname) or (_NUMBER.fullmatch(parts.hostname) and not _is_address(parts.hostname)):
        raise ValueError(f"URL {url[:200]!r} has no host that could be asked; write a name, or an address as 127.0.0.1")
    if "@" in parts.netloc:
        raise ValueError(f"URL of {parts.hostname!r} holds credentials; send them in a header")
    port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    address = Address(parts.scheme, parts.hostname, port)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return address, f"{method} {target} HTTP/1.1\r\nhost: {authority(address)}\r\n".encode("ascii")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def request_head(line: bytes, method: str, headers: Headers, length: int) -> bytes:
    """The whole head of a request. Raises ValueError for a header that would break out of its line."""
    return measured(request_fields(line, headers), method, length)


def measured(fields: bytes, method: str, length: int) -> bytes:
    """The head of a request, with the length of its body."""
    return b"%bcontent-length: %d\r\n\r\n" % (fields, length) if length or method in BODY_EXPECTED else fields + b"\r\n"


def request_fields(line: bytes, headers: Headers) -> bytes:
    """All of a head but the length of the body. Raises ValueError as `request_head` does."""
    parts: list[bytes] = []
    identity = b"accept-encoding: identity\r\n"  # nothing here decompresses
    for name, value in headers:
        lowered = name.lower()
        if lowered not in OURS or (lowered, value) == LAST:
            parts += (name, b": ", value, b"\r\n")
            if lowered == b"accept-encoding":
                identity = b""
    fields = b"".join(parts)
    if fields.count(b"\n") * 4 != len(parts) or not _FIELDS.fullmatch(fields):
        raise ValueError(f"{_broken(headers)} cannot be sent: a name is a word, a value holds no CR, LF or NUL")
    return b"%b%b%b" % (line, fields, identity)


def _broken(headers: Headers) -> str:
    """The header at fault, by its name only: a value may be a secret."""
    for name, value in headers:
        if b"\n" in name + value or not _FIELDS.fullmatch(b"%b: %b\r\n" % (name, value)):
            return f"header {name[:100]!r}"
    return "a header"


class ResponseParser:
    """The responses of one connection. `expect` begins one; feed it until `complete` or `fault`, or say `eof`.

    `reusable` says whether the connection may carry another request. What comes after the end of a response is never
    taken for an answer: it makes the connection unusable.
    """

    __slots__ = (
        "_barren", "_body", "_fed", "_framed", "_headers", "_length", "_max_body", "_max_head", "_parser", "_pieces",
        "_to_head", "complete", "fault", "head", "heard", "hint_s", "reusable",
    )  # fmt: skip

    def __init__(self, max_head: int, max_body: int) -> None:
        self._max_head = max_head
        self._max_body = max_body
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._to_head = False
        self.expect("GET")

    def expect(self, method: str) -> None:
        """The next bytes answer a request with this method."""
        if self._to_head:  # httptools cannot be told that no body follows, and waits for one: begin afresh
            self._parser = httptools.HttpResponseParser(self)
        self._to_head = method == "HEAD"
        self._headers: list[tuple[bytes, bytes]] = []
        self._framed = False
        self._length = 0
        self._barren = 0  # bytes since the last one of a body: heads, chunk extensions, trailers
        self._fed = 0
        self._body = 0
        self.head: Head | None = None
        self.heard = False  # any byte at all
        self.complete = False
        self.reusable = False
        self.hint_s: float | None = None  # so long the server keeps an idle connection, as it says
        self.fault: Fault | None = None

    def feed(self, data: bytes) -> bytes:
        """What `data` holds of the body, in one piece. Never raises: see `fault`."""
        self.heard = True
        self._fed = self._barren + len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.complete and self.fault is None:  # after the end it is no fault of the response
                self.fault = Fault("protocol", f"sent what is not HTTP/1.1 ({error})")
        pieces = self._pieces
        if pieces:
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
            self._barren = 0
            self._body += len(body)
            if self._body > self._max_body:
                self.complete = False
                self._too_large("body", self._max_body)
                return b""
            return body
        self._barren = self._fed
        if self._barren > self._max_head and not self.complete:
            self._too_large("head, chunk extension or trailer", self._max_head)
        return b""

    def eof(self) -> None:
        """Nothing more will come: the end of a body that has no other, else a fault."""
        if self.complete or self.fault is not None:
            return
        if self.head is not None and not self._framed:
            self.complete = True
        else:
            self.fault = self.lost()

    def lost(self) -> Fault:
        """What it means that the connection ended here."""
        if not self.heard:
            return Fault("reset", "closed the connection without an answer")
        if self.head is None:
            return Fault("reset", "closed the connection in the middle of the head of its response")
        return Fault("reset", f"closed the connection in the middle of the body, after {self._body} bytes of it")

    def _too_large(self, what: str, bound: int) -> None:
        if self.fault is None:
            self.fault = Fault("too_large", f"sent a response with a {what} of more than {bound} bytes")

    # --- called by httptools; raising stops it

    def on_message_begin(self) -> None:
        if self.complete:
            self.reusable = False  # a second response, to a question that nobody asked

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in NOTED:
            self._note(name, value.rstrip())
        self._headers.append((name, value))

    def _note(self, name: bytes, value: bytes) -> None:
        """httptools refuses two lengths, and a length beside chunks; codings that we do not speak are refused here."""
        if self.head is not None:
            return  # a trailer
        if name == b"keep-alive":
            hint = _TIMEOUT.search(value)
            self.hint_s = float(hint[1]) if hint else None
            return
        if name == b"content-length":
            self._length = int(value)
        elif self._framed or value.lower() != b"chunked":
            self.fault = Fault("protocol", f"sent a response in transfer-encoding {value[:50]!r} instead of 'chunked'")
            raise ValueError
        self._framed = True

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._fed > self._max_head and sum(len(n) + len(v) + 4 for n, v in self._headers) > self._max_head:
            self._too_large("head", self._max_head)
            raise ValueError
        if status < 200:
            if status < 100 or status == 101:
                self.fault = Fault("protocol", f"answered {status}, which nobody asked for")
                raise ValueError
            self._headers, self._framed, self._length = [], False, 0
            return
        bodiless = self._to_head or status in (204, 304)
        if self._length > self._max_body and not bodiless:
            self._too_large("body", self._max_body)
            raise ValueError
        self.head = Head(status, self._headers)
        self._headers = []  # for trailers, which nobody sees
        if self._to_head:
            self._end()

    def on_body(self, data: bytes) -> None:
        if self.complete:
            self.reusable = False  # after a HEAD
        else:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        if self.head is not None and not self.complete:  # else it was a 1xx
            self._end()

    def _end(self) -> None:
        self.complete = True
        self.reusable = self._parser.should_keep_alive()
