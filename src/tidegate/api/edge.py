"""Where does every request come in? At one ASGI callable: models are asked here, the rest is loaded when asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from tidegate import api, plugins
from tidegate.api import health, openai
from tidegate.api.incoming import ClientGone, Incoming, Message, Receive, Scope, Send
from tidegate.core.errors import Internal, MethodNotAllowed, NotFound, TidegateError
from tidegate.core.ports import Headers
from tidegate.gateway import Gateway
from tidegate.telemetry.metrics import Metrics

Endpoint = Callable[[Gateway, Incoming], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

PAGES = ("/api/", "/admin/", "/v1/requests/", "/docs", "/openapi.json")
CORS_HEADERS = b"authorization, content-type, x-api-key, x-tidegate-user, x-tidegate-session, x-tidegate-tags"
CORS_EXPOSED = b"x-tidegate-request-id, x-tidegate-route, x-tidegate-target, x-tidegate-attempts, x-tidegate-cost-usd"


class Edge:
    """`gateway()` gives the one that answers now: a call keeps the one it began with."""

    def __init__(self, config: api.Config, gateway: Callable[[], Gateway], metrics: Metrics) -> None:
        self._config = config
        self._gateway = gateway
        self._pages: Application | None = None
        self._loading = asyncio.Lock()
        self._endpoints: dict[str, dict[str, Endpoint]] = {
            "/v1/chat/completions": {"POST": openai.chat},
            "/v1/completions": {"POST": openai.complete},
            openai.MODELS: {"GET": openai.models},
            "/health": {"GET": health.health},
            "/ready": {"GET": health.ready},
            "/metrics": {"GET": partial(_without_gateway, health.metrics, metrics)},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1003})  # no websockets here
            return
        gateway = self._gateway()
        incoming = Incoming(scope, receive, send, self._config, self._cors(scope))
        try:
            if incoming.path.startswith(PAGES):
                await self._page(scope, incoming, send)
            elif incoming.method == "OPTIONS" and incoming.extra:
                await incoming.answer(204, b"", _PREFLIGHT)
            else:
                await self._endpoint(incoming)(gateway, incoming)
        except ClientGone:
            return
        except TidegateError as error:
            await incoming.problem(error, gateway.codec("openai", "chat"), _allow(error))
        except Exception as crash:
            gateway.world.events.notice("crash", {"path": incoming.path[:200], "error": repr(crash)})
            if incoming.started:
                raise
            await incoming.problem(Internal("Tidegate made a mistake; its log has it"), gateway.codec("openai", "chat"))

    def _endpoint(self, incoming: Incoming) -> Endpoint:
        path, method = incoming.path, incoming.method
        methods = self._endpoints.get(path)
        if methods is None and path.startswith(openai.MODELS + "/"):
            methods = {"GET": openai.model}
        if methods is None:
            raise NotFound(
                f"there is nothing at {path[:200]}; calls go to /v1/chat/completions, and /docs lists the rest"
            )
        endpoint = methods.get("GET" if method == "HEAD" else method)
        if endpoint is None:
            raise _NotThisMethod(path, method, ", ".join(methods))
        return endpoint

    async def _page(self, scope: Scope, incoming: Incoming, send: Send) -> None:
        """Administration and the guide's endpoints: a FastAPI application, imported off the loop when first needed."""
        if self._pages is None:
            async with self._loading:
                if self._pages is None:
                    create = await asyncio.to_thread(plugins.find, "pages", "admin")
                    self._pages = create(self._gateway, self._config)
        body = await incoming.body() if incoming.method in ("POST", "PUT", "PATCH", "DELETE") else b""
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            await incoming.left()
            return {"type": "http.disconnect"}

        async def respond(message: Message) -> None:
            if message["type"] == "http.response.start":
                await incoming.start(message["status"], list(message["headers"]))
            else:
                await send(message)

        await self._pages(scope, receive, respond)

    def _cors(self, scope: Scope) -> Headers:
        """The headers that let a web page read our answer; none for origins that are not configured."""
        if not self._config.cors:
            return ()
        origin = next((value for key, value in scope["headers"] if key == b"origin"), None)
        if origin is None:
            return ()
        allowed = self._config.cors
        if "*" not in allowed and origin.decode("latin-1") not in allowed:
            return ()
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", CORS_EXPOSED),
            (b"vary", b"origin"),
        ]


_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, POST, DELETE"),
    (b"access-control-allow-headers", CORS_HEADERS),
    (b"access-control-max-age", b"600"),
]


class _NotThisMethod(MethodNotAllowed):
    def __init__(self, path: str, method: str, allowed: str) -> None:
        super().__init__(f"{path} answers {allowed}, not {method}")
        self.allowed = allowed


def _allow(error: TidegateError) -> Headers:
    return [(b"allow", error.allowed.encode())] if isinstance(error, _NotThisMethod) else []


async def _without_gateway(
    endpoint: Callable[[Metrics, Incoming], Awaitable[None]], metrics: Metrics, _: Gateway, incoming: Incoming
) -> None:
    await endpoint(metrics, incoming)


async def _lifespan(receive: Receive, send: Send) -> None:
    """Starting and ending are `serve`'s; a server that asks is told that all is well."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
