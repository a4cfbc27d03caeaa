"""From the first connection to the last: uvicorn, and a SIGTERM that loses nothing."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from types import FrameType

import uvicorn

from tidegate import api
from tidegate.api.crowd import Crowd
from tidegate.api.edge import Application
from tidegate.api.protocol import protocol
from tidegate.core.errors import ConfigError

BACKLOG = 2048  # connections that wait to be accepted
ON_ITS_WAY_S = 0.5  # what was sent on a connection that we had taken already
LOOK_S = 0.01
UNFINISHED_S = 5  # after the drain, for responses that are being written to the last client


def listen(config: api.Config, port_key: str = "--port") -> socket.socket:
    """The socket to serve on. Raises ConfigError when it cannot be had, saying what to do: `port_key` says the port."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((config.host, config.port))
        found.listen(BACKLOG)  # at once: two that start together would both be allowed to bind
    except (OSError, UnicodeError) as wrong:
        found.close()
        said = wrong.strerror if isinstance(wrong, OSError) else "this is no name of a host"
        advice = {
            errno.EADDRINUSE: f"choose another {port_key}, or end what listens there (ss -ltnp | grep :{config.port})",
            errno.EACCES: f"choose a {port_key} of 1024 or more, for those below belong to root",
        }.get(getattr(wrong, "errno", None) or 0, "choose a --host of this machine; 0.0.0.0 is all of its addresses")
        raise ConfigError(f"cannot listen on {config.host}:{config.port}: {said or wrong}; {advice}") from None
    found.set_inheritable(False)
    return found


def inherited(descriptor: int) -> socket.socket:
    """The socket on which whoever started this process listens, for all its workers."""
    found = socket.socket(fileno=descriptor)
    found.set_inheritable(False)
    return found


def _uvicorn(application: Application, config: api.Config, crowd: Crowd | None) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=protocol(config, crowd),
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="critical",  # our own log says what there is to say
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=UNFINISHED_S,
    )


class Server(uvicorn.Server):
    """On SIGTERM or Ctrl-C: `leave` first (no new calls, the running ones end or are ended), then close connections."""

    def __init__(
        self,
        application: Application,
        config: api.Config,
        leave: Callable[[], Awaitable[None]],
        crowd: Crowd | None = None,
        tls: ssl.SSLContext | None = None,
        *,
        shares: bool = False,
        beside: Application | None = None,
    ) -> None:
        """`shares`: others listen on the same socket, and take what comes from now on. `beside`: who answers on the
        second socket."""
        self._leave = leave
        self._shares = shares
        self._tls = tls
        self._handshake_s = float(config.head_timeout)
        self._configs = [_uvicorn(one, config, crowd) for one in (application, beside) if one is not None]
        super().__init__(self._configs[0])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's own would wait a minute for the end of a TLS handshake."""
        loop = asyncio.get_running_loop()

        def connection(config: uvicorn.Config) -> asyncio.Protocol:
            made: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=self.server_state, app_state={}, _loop=loop
            )
            return made

        self.servers = []
        for config, one in zip(self._configs, sockets or (), strict=True):
            if not config.loaded:
                config.load()
            self.servers.append(
                await loop.create_server(
                    partial(connection, config),
                    sock=one,
                    backlog=BACKLOG,
                    ssl=self._tls,
                    ssl_handshake_timeout=self._handshake_s if self._tls else None,
                )
            )
        self.started = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn raises the signal again when it is done, so that a clean end looks like a killed one.
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._shares:
            await self._let_others()
        leaving = asyncio.ensure_future(self._leave())
        while not leaving.done():
            if self.force_exit:  # Ctrl-C again: nobody wants to wait
                leaving.cancel()
            await asyncio.wait([leaving], timeout=0.1)
        await super().shutdown(sockets)

    async def _let_others(self) -> None:
        """Before anything is refused: no new connections, and one request more on those that have had none."""
        for server in self.servers:
            server.close()
        connections = self.server_state.connections
        for connection in list(connections):
            connection.last()  # type: ignore[union-attr]
        for _ in range(round(ON_ITS_WAY_S / LOOK_S)):
            if not any(one.is_new for one in connections):  # type: ignore[union-attr]
                return
            await asyncio.sleep(LOOK_S)
