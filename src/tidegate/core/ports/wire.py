"""How does a request get to a provider, and what comes back? HTTP, as far as the house knows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

Headers = Sequence[tuple[bytes, bytes]]  # lower-case names, in the order they came


class Timeouts(msgspec.Struct, frozen=True, gc=False):
    """Seconds. Each bounds one kind of wait; `total` bounds the whole exchange, connecting included."""

    connect: float = 5.0
    first_byte: float = 60.0  # from the request's last byte to the end of the final response head
    idle: float = 60.0  # between two pieces of the body
    total: float = 600.0


class Request(msgspec.Struct, frozen=True, gc=False):
    """One HTTP request to a provider. `url` is absolute; `headers` need neither host nor content-length.

    `tls`: an ssl.SSLContext in place of the transport's own. `foreign`: the host was told to us by somebody outside, so
    that no private address is meant by it.
    """

    method: str
    url: str
    headers: Headers
    body: bytes = b""
    timeouts: Timeouts = Timeouts()
    tls: Any = None
    foreign: bool = False


class Head(msgspec.Struct, frozen=True, gc=False):
    """The head of the final response (1xx are passed over)."""

    status: int
    headers: Headers

    def header(self, name: bytes) -> bytes | None:
        for key, value in self.headers:
            if key == name:
                return value
        return None


class TransportError(Exception):
    """An exchange ended early.

    `kind`: connect | tls | timeout | reset | protocol | too_large | closed. `sent` says whether any byte of the request
    may have reached the provider: when it is False, sending the request again is always safe.
    """

    def __init__(self, kind: str, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.kind = kind
        self.sent = sent


class Exchange(Protocol):
    """One request and its response, under way from the moment `send` returned it.

    Read it by pulling (`head`, then `read` until b"") or by `pipe`. Whoever leaves calls `close()`, at
    any time, once or often: it awaits nothing. After a complete response the connection goes back to the pool, else
    its socket is closed.
    """

    @property
    def sent(self) -> bool:
        """Whether any byte of the request may have reached the provider."""

    async def head(self) -> Head:
        """Wait for the head of the response. Raises TransportError."""

    async def read(self) -> bytes:
        """The next piece of the body as it comes; b"" at its end. Raises TransportError. Cancelling loses nothing."""

    def at_hand(self) -> bytes | None:
        """What `read` would return at once; None where it must be waited for. Raises TransportError."""

    def pipe(
        self,
        on_data: Callable[[bytes], None],
        on_end: Callable[[TransportError | None], None],
        on_head: Callable[[Head], None] | None = None,
    ) -> None:
        """From now on push: every further piece to `on_data`, then `on_end` exactly once (never after `close()`).

        `on_head` hears of the head before them, if it comes from now on. All are called on the event loop, from the
        socket's own callback (what was already buffered: before `pipe` returns), and must not raise.
        """

    def pause(self) -> None:
        """Stop reading from the socket: whoever reads us is slow. The idle timeout rests meanwhile."""

    def resume(self) -> None: ...

    def close(self) -> None: ...


class Transport(Protocol):
    """The pool of connections to all providers."""

    def send(self, request: Request) -> Exchange:
        """Begin at once and return; what goes wrong is raised where the exchange is read."""

    async def aclose(self) -> None: ...

    @property
    def busy(self) -> int:
        """Connections that carry an exchange or are being made."""
