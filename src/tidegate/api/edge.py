"""Where does every request come in? At one ASGI callable: models are asked here, the rest is loaded when asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from tidegate import api
from tidegate.api import anthropic, batches, health, openai
from tidegate.api.heads import Scope, lines
from tidegate.api.incoming import ClientGone, Extra, Incoming, Message, Receive, Send, Turn
from tidegate.api.proxies import Proxies
from tidegate.core.body import checked, spans
from tidegate.core.errors import Internal, MethodNotAllowed, NotFound, TidegateError
from tidegate.core.ports import Headers
from tidegate.gateway import Gateway
from tidegate.telemetry.metrics import Metrics

Endpoint = Callable[[Gateway, Incoming], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Pages = Callable[[], Callable[[Callable[[], Gateway]], Application]]  # imports them; what it returns makes them
Console = Callable[[], Callable[[Callable[[], Gateway], Application], Application]]  # the same; it asks the latter
Choose = Callable[[Incoming, Gateway], Gateway]  # who answers this request, and not the gateway of all others

PRIVATE = (b"cache-control", b"no-store")  # a new key is shown there, and what others spend
CHAT = "/api/chat"  # the one page that asks models
CONSOLE = "/console"
ELSEWHERE = "this port is the console's (console.port): open /console; calls go to the port of the API (api.port)"
PAGES = (
    CONSOLE,
    *("/api/", "/admin/", "/v1/requests", "/v1/feedback", "/v1/usage", "/v1/prompts", "/v1/experiments"),
    *("/docs", "/openapi.json"),
)
# What a web page may read of our answers, besides their bodies.
EXPOSED = (
    b"retry-after, x-tidegate-request-id, x-tidegate-route, x-tidegate-target, x-tidegate-tier, x-tidegate-attempts, "
    b"x-tidegate-tried, x-tidegate-cost-usd, x-tidegate-overhead-ms, x-tidegate-warning, x-tidegate-notice, "
    b"x-tidegate-counting, x-tidegate-cache, x-tidegate-cache-layer, x-tidegate-cache-age, x-tidegate-saved-usd, "
    b"x-tidegate-cache-similarity, x-tidegate-cascade, x-tidegate-experiment, x-tidegate-shrunk, "
    b"ratelimit, ratelimit-policy"
)


class Edge:
    """`gateway()` gives the one that answers now: a call keeps the one it began with."""

    def __init__(
        self,
        config: api.Config,
        gateway: Callable[[], Gateway],
        metrics: Metrics,
        pages: Pages,
        console: Console | None = None,
        differs: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """`differs`: what is not alike in all processes that serve with us."""
        self._config = config
        self._always = _extra(_always(config))
        self._proxies = Proxies(config.trusted_proxies) if config.trusted_proxies else None
        self._gateway = gateway
        self._load_pages = pages
        self._pages: Application | None = None
        self._load_console = console
        self._inside: Application = self  # whom the console's pages ask
        self._console: Application | None = None
        self.choose: Choose | None = None  # while another configuration is tried on a share of the units
        self._loading = asyncio.Lock()
        self._endpoints: dict[str, dict[str, Endpoint]] = {
            "/v1/chat/completions": {"POST": openai.chat},
            "/v1/completions": {"POST": openai.complete},
            "/v1/embeddings": {"POST": openai.embed},
            "/v1/messages": {"POST": anthropic.messages},
            "/v1/messages/count_tokens": {"POST": anthropic.count},
            openai.MODELS: {"GET": openai.models},
            "/health": {"GET": health.health},
            "/ready": {"GET": partial(health.ready, differs)},
            "/metrics": {"GET": partial(_without_gateway, health.metrics, metrics)},
        }
        if console is not None:
            self._endpoints["/"] = {"GET": _to_console}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1003})  # no websockets here
            return
        await self._answer(Incoming.of(scope, receive, send, self._config, self._always))

    def take(self, turn: Turn) -> Awaitable[None]:
        """The same for a request that our own server took in: who knows it need not be told by ASGI."""
        head = turn.head
        return self._answer(
            Incoming(head, head.has_body, turn.receive, turn.send, self._config, self._always, turn, head.peer)
        )

    async def _answer(self, incoming: Incoming) -> None:
        gateway, head = self._gateway(), incoming.head
        cors = self._cors(head.headers) if self._config.cors else ()
        if cors:
            incoming.extra = _extra([*self._always.headers, *cors])
        if self._proxies is not None:
            incoming.address = self._proxies.client(head.peer, head.headers)
        try:
            if head.method == "OPTIONS" and incoming.header(b"access-control-request-method") and cors:
                await incoming.start(204, _PREFLIGHT)
                await incoming.piece(b"", last=True)
            elif head.path.startswith(PAGES):
                if self.choose is not None and head.path == CHAT:
                    incoming.gateway = self.choose(incoming, gateway)
                await (self._look(incoming) if head.path.startswith(CONSOLE) else self._page(incoming))
            else:
                endpoint = self._endpoint(incoming)
                if self.choose is not None and head.path.startswith("/v1/"):
                    gateway = self.choose(incoming, gateway)
                await endpoint(gateway, incoming)
        except ClientGone:
            return
        except Exception as wrong:  # noqa: BLE001 nobody above can tell the client
            await self._problem(gateway, incoming, wrong)

    async def _problem(self, gateway: Gateway, incoming: Incoming, wrong: Exception) -> None:
        """Whatever went wrong, told to the client in its dialect; and to the operator, if the mistake is ours."""
        codec, told = incoming.codec or gateway.codec("openai", "chat"), incoming.told()
        id = next((value.decode() for name, value in told if name == b"x-tidegate-request-id"), None)
        where: dict[str, Any] = {"path": incoming.path[:200], "request_id": id}
        if not isinstance(wrong, TidegateError) or incoming.started:
            gateway.world.events.notice("crash", {**where, "error": repr(wrong)})
            if incoming.started:
                raise wrong
            wrong = Internal("Tidegate made a mistake; its log has the details" + (f" under {id}" if id else ""))
        elif wrong.outside:
            gateway.world.events.notice(wrong.code, {**where, "error": wrong.message})
            wrong = type(wrong)(wrong.outside, retry_after_s=wrong.retry_after_s)
        await incoming.problem(wrong, codec, told)

    def _endpoint(self, incoming: Incoming) -> Endpoint:
        path, method = incoming.path, incoming.method
        methods = self._endpoints.get(path) or batches.methods(incoming)
        if methods is None and path.startswith(openai.MODELS + "/"):
            methods = {"GET": openai.model}
        if (
            methods is None
            and openai.may_pass(path, incoming.head.raw_path)
            and path.rstrip("/") not in self._endpoints
        ):
            return openai.raw
        # Who calls "/" has a base URL without /v1; a browser is led to the console.
        if methods is None or (path == "/" and method not in ("GET", "HEAD")):
            raise NotFound(
                f"there is nothing at {path[:200]}; calls go to /v1/chat/completions, and /docs lists the rest"
            )
        endpoint = methods.get("GET" if method == "HEAD" else method)
        if endpoint is None:
            raise MethodNotAllowed(f"{path} answers {', '.join(methods)}, not {method}", allowed=", ".join(methods))
        return endpoint

    async def _page(self, incoming: Incoming) -> None:
        """Administration and the guide's endpoints: a FastAPI application, imported off the loop when first needed."""
        if self._pages is None:
            async with self._loading:
                if self._pages is None:
                    # Making them takes as long as importing them: both would stop every stream for 0.2 s.
                    self._pages = await asyncio.to_thread(lambda: self._load_pages()(self._gateway))
        body = await incoming.body() if incoming.method in ("POST", "PUT", "PATCH", "DELETE") else b""
        if body:
            spans(checked(body))  # FastAPI would take NaN, and the last of two keys
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            await incoming.left()
            return {"type": "http.disconnect"}

        async def respond(message: Message) -> None:
            if incoming.failure is not None:
                return  # an error is told here, like all others
            if message["type"] == "http.response.start":
                await incoming.start(message["status"], [*message["headers"], PRIVATE])
            else:
                await incoming.pass_on(message)

        method = "GET" if incoming.method == "HEAD" else incoming.method
        scope = incoming.turn.scope() if incoming.turn is not None else incoming.head.scope
        await self._pages({**scope, "method": method, "tidegate.incoming": incoming}, receive, respond)
        if incoming.failure is not None:
            raise incoming.failure

    async def _look(self, incoming: Incoming) -> None:
        """The console: it reads bodies itself, and asks inside what its pages ask."""
        if self._load_console is None:
            raise NotFound("there is no console here (console.enabled, console.port)")
        if self._console is None:
            async with self._loading:
                if self._console is None:
                    make = await asyncio.to_thread(self._load_console)
                    self._console = await asyncio.to_thread(make, self._gateway, self._inside)

        async def respond(message: Message) -> None:
            if message["type"] == "http.response.start":
                await incoming.start(message["status"], message["headers"])
            else:
                await incoming.pass_on(message)

        scope = incoming.turn.scope() if incoming.turn is not None else incoming.head.scope
        await self._console({**scope, "tidegate.address": incoming.address}, incoming.next_message, respond)

    def _cors(self, headers: Headers) -> Headers:
        """The headers that let a web page read our answer; none for origins that are not configured."""
        allowed = self._config.cors
        if not allowed:
            return ()
        vary = (b"vary", b"origin")
        origin = next((value for key, value in headers if key == b"origin"), None)
        if origin is None or ("*" not in allowed and origin.decode("latin-1") not in allowed):
            return [vary]
        return [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", EXPOSED), vary]


class Apart(Edge):
    """The console alone, on a port of its own: what its pages ask is answered by `inside`, and nobody else is."""

    def __init__(
        self, config: api.Config, gateway: Callable[[], Gateway], metrics: Metrics, console: Console, inside: Edge
    ) -> None:
        super().__init__(config, gateway, metrics, pages=_no_pages, console=console)
        self._inside = inside

    def _endpoint(self, incoming: Incoming) -> Endpoint:
        if incoming.path == "/" and incoming.method in ("GET", "HEAD"):
            return _to_console
        raise NotFound(ELSEWHERE)

    async def _page(self, incoming: Incoming) -> None:
        raise NotFound(ELSEWHERE)


_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, POST, PATCH, DELETE"),
    # SDKs send headers of their own (x-stainless-…); `*` is every name but this one.
    (b"access-control-allow-headers", b"authorization, *"),
    (b"access-control-max-age", b"600"),
]


def _always(config: api.Config) -> Headers:
    """What every answer says, whatever it is: what a browser shall not do with it."""
    headers = [(b"x-content-type-options", b"nosniff")]
    if config.tls.certificate is not None and config.tls.hsts:
        headers.append((b"strict-transport-security", b"max-age=%d" % config.tls.hsts))
    return headers


def _extra(headers: Headers) -> Extra:
    return Extra(headers, lines(headers))


async def _without_gateway(
    endpoint: Callable[[Metrics, Incoming], Awaitable[None]], metrics: Metrics, _: Gateway, incoming: Incoming
) -> None:
    await endpoint(metrics, incoming)


def _no_pages() -> Any:
    raise NotFound(ELSEWHERE)


async def _to_console(_: Gateway, incoming: Incoming) -> None:
    """Who opens the address that a start prints."""
    await incoming.answer(303, b"", [(b"location", CONSOLE.encode())])


async def _lifespan(receive: Receive, send: Send) -> None:
    """Starting and ending are `serve`'s; a server that asks is told that all is well."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
