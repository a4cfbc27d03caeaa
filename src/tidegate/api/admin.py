"""Administration, and the guide's own endpoints: a FastAPI application with its OpenAPI document and page.

Loaded when first asked for. Nothing here is on the way of a call to a model, but for `/api/chat`, whose callers wait
for a whole answer anyway.
"""

# No postponed annotations here: FastAPI evaluates them, and cannot see the functions inside `create`.
import html
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import msgspec
from fastapi import Body, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import Route

from tidegate import __version__
from tidegate.api.calls import new_call, told, while_client_listens
from tidegate.api.incoming import Incoming
from tidegate.core.call import Principal
from tidegate.core.errors import BadRequest, Forbidden, MethodNotAllowed, NotFound, TidegateError
from tidegate.core.money import NUSD_PER_USD
from tidegate.core.ports import Headers, Key
from tidegate.gateway import Gateway

MAX_INPUT = 10_000  # characters; the guide's bound

Text = Annotated[str, Field(max_length=200)]


class NewKey(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=100, description="What it is for, as people will read it.")]
    env: Annotated[str, Field(pattern="^[a-z]{1,16}$", description="Part of the key's text: live, test…")] = "live"
    admin: Annotated[bool, Field(description="May administer, besides asking models.")] = False


class ShownKey(BaseModel):
    id: str
    name: str
    env: str
    role: str
    created_ms: int
    revoked_ms: int | None


class CreatedKey(ShownKey):
    key: Annotated[str, Field(description="Shown this once; only its digest is kept.")]


class ChatBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    user_input: Annotated[str, Field(min_length=1, max_length=MAX_INPUT)]
    model: Annotated[Text | None, Field(description="A route; the first one when left out.")] = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    use_cache: bool = True


class ChatAnswer(BaseModel):
    response: str
    cached: bool
    latency_ms: float
    tokens_used: int
    cost_usd: Annotated[float | None, Field(description="null when the price is not known")]


class Stats(BaseModel):
    total_requests: int
    cache_hits: int
    cache_hit_rate: float
    errors: int
    error_rate: float


class Problem(BaseModel):
    error: dict[str, Any]


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "The request or its key is wrong; the message says what to do."},
    "5XX": {"model": Problem, "description": "It could not be done now; `code` says why."},
}


def create(gateway: Callable[[], Gateway]) -> FastAPI:
    app = FastAPI(
        title="Tidegate",
        version=__version__,
        summary="Administration, and a simple chat. Models are asked at /v1, as OpenAI's clients do.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        strict_content_type=False,  # what is not JSON was refused before
    )
    bearer = HTTPBearer(auto_error=False, description="A key: tg_…")

    async def caller(request: Request, _: Annotated[Any, Depends(bearer)]) -> Principal:
        incoming, house = _incoming(request), gateway()
        with house.limits.gate(incoming.address):
            return await house.auth.authenticate(incoming.credential)

    async def admin(principal: Annotated[Principal, Depends(caller)]) -> Principal:
        if not principal.admin:
            raise Forbidden(f"key {principal.name!r} may not administer; use an admin key")
        return principal

    # --- keys

    @app.post("/admin/keys", status_code=201, tags=["keys"], responses=ERRORS, dependencies=[Depends(admin)])
    async def create_key(asked: NewKey) -> CreatedKey:
        """Make a key. Its text is in this answer and nowhere else."""
        text, key = await gateway().auth.create(asked.name, asked.env, admin=asked.admin)
        return CreatedKey(key=text, **_shown(key))

    @app.get("/admin/keys", tags=["keys"], responses=ERRORS, dependencies=[Depends(admin)])
    async def list_keys() -> list[ShownKey]:
        """All keys, revoked ones too, oldest first."""
        return [ShownKey(**_shown(key)) for key in await gateway().world.store.every(Key)]

    @app.delete("/admin/keys/{id}", tags=["keys"], responses=ERRORS, dependencies=[Depends(admin)])
    async def revoke_key(id: str) -> ShownKey:
        """End a key. It stops working everywhere within a second."""
        key = await gateway().auth.desk.revoke(id)
        return ShownKey(**_shown(key))

    # --- what the guide has

    @app.post("/api/chat", tags=["chat"], responses=ERRORS)
    async def chat(
        request: Request,
        response: Response,
        principal: Annotated[Principal, Depends(caller)],
        body: Annotated[ChatBody | None, Body()] = None,
        user_input: Annotated[str | None, Query(min_length=1, max_length=MAX_INPUT)] = None,
        model: Annotated[str | None, Query(max_length=200)] = None,
        max_tokens: Annotated[int, Query(ge=1, le=1_000_000)] = 1024,
        temperature: Annotated[float, Query(ge=0, le=2)] = 0.7,
        use_cache: bool = True,
    ) -> ChatAnswer:
        """Ask a model one thing. The fields come as a JSON body or as query parameters."""
        if body is None:
            if user_input is None:
                raise BadRequest("user_input is needed, in a JSON body or as a query parameter", param="user_input")
            body = ChatBody(
                user_input=user_input, model=model, max_tokens=max_tokens, temperature=temperature, use_cache=use_cache
            )
        house = gateway()
        asked = {
            "model": body.model or next(iter(house.routes.names), ""),
            "messages": [{"role": "user", "content": body.user_input}],
            "max_tokens": body.max_tokens,
            "temperature": body.temperature,
        }
        incoming = _incoming(request)
        call = new_call(house.world, incoming, "openai", "chat")
        incoming.told = partial(told, call, house.world)
        call.credential = principal
        said: list[str] = []
        async with while_client_listens(house.world, incoming, call, body=msgspec.json.encode(asked)):
            async with house.answer(call) as reply:
                async for events in reply.events:
                    for event in events:
                        if event.error:
                            raise event.error
                        said += [text for channel, text in event.texts() if channel.kind == "text"]
        response.headers.update(_text(incoming.told()))
        cost = call.cost_nusd
        return ChatAnswer(
            response="".join(said),
            cached=False,
            latency_ms=round((house.world.clock.now_ns() - call.arrived_ns) / 1e6, 3),
            tokens_used=call.usage.input_total + call.usage.output_total,
            cost_usd=None if cost is None else cost / NUSD_PER_USD,
        )

    @app.get("/api/stats", tags=["chat"], responses=ERRORS, dependencies=[Depends(caller)])
    async def stats() -> Stats:
        """Counts over all calls of the ledger."""
        totals = await gateway().world.ledger.totals()
        rate = totals.errors / totals.calls if totals.calls else 0.0
        return Stats(
            total_requests=totals.calls, cache_hits=0, cache_hit_rate=0.0, errors=totals.errors, error_rate=rate
        )

    @app.get("/v1/requests/{id}", tags=["requests"], responses=ERRORS)
    async def one_request(id: str, principal: Annotated[Principal, Depends(caller)]) -> dict[str, Any]:
        """What a call did and cost, for the key that made it and for admins."""
        row = await gateway().world.ledger.find(id)
        if row is None or not (principal.admin or row.key_id == principal.key_id):
            raise NotFound(f"there is no request {id[:80]!r} of this key; its row is written when it ends")
        shown: dict[str, Any] = msgspec.to_builtins(row)
        shown.pop("record", None)
        return shown

    # --- the document, as a page

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        headers = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return Response(_page(app.openapi()), media_type="text/html", headers=headers)

    async def problem(request: Request, wrong: Exception) -> Response:
        _incoming(request).failure = _problem(app, request.url.path, wrong)
        return Response()

    for kind in (TidegateError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, problem)
    app.openapi()  # made now, where it stops nobody, and kept
    return app


def _incoming(request: Request) -> Incoming:
    """The request, as the edge has it."""
    incoming: Incoming = request.scope["tidegate.incoming"]
    return incoming


def _text(headers: Headers) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}


def _problem(app: FastAPI, path: str, wrong: Exception) -> Exception:
    """What a framework finds wrong, as one of our errors."""
    if isinstance(wrong, RequestValidationError):
        first = wrong.errors()[0]
        param = ".".join(str(part) for part in first["loc"][1:])
        return BadRequest(f"{param or 'the body'}: {first['msg']}", param=param or None)
    if isinstance(wrong, HTTPException):
        routes = [route for route in app.routes if isinstance(route, Route) and route.path_regex.match(path)]
        if not routes:
            return NotFound(f"there is nothing at {path[:200]}; /docs lists what there is")
        if wrong.status_code == 405:
            methods = ", ".join(sorted(method for route in routes for method in route.methods or ()))
            return MethodNotAllowed(f"{path[:200]} answers {methods}", allowed=methods)
        return BadRequest(str(wrong.detail))
    return wrong


def _shown(key: Key) -> dict[str, Any]:
    return {field: getattr(key, field) for field in ShownKey.model_fields}


def _page(document: dict[str, Any]) -> str:
    """The OpenAPI document for a person to read, without scripts or anything from elsewhere."""
    rows = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            names = [parameter["name"] for parameter in operation.get("parameters", ())]
            names += _fields(document, body)
            rows.append(
                f"<tr><td><b>{method.upper()}</b></td><td><code>{html.escape(path)}</code></td>"
                f"<td>{html.escape(operation.get('description', ''))}</td><td>{html.escape(', '.join(names))}</td></tr>"
            )
    return (
        "<!doctype html><meta charset=utf-8><title>Tidegate API</title>"
        "<style>body{font:16px/1.5 system-ui;margin:2rem auto;max-width:60rem}td{padding:.4rem .8rem .4rem 0;"
        "vertical-align:top;border-top:1px solid #ccc}</style>"
        f"<h1>Tidegate {__version__}</h1><p>Models are asked at <code>/v1/chat/completions</code>, "
        "<code>/v1/completions</code> and <code>/v1/models</code>, as OpenAI's clients do. Besides them:</p>"
        f"<table>{''.join(rows)}</table><p>For machines: <a href=/openapi.json>openapi.json</a></p>"
    )


def _fields(document: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    for choice in (schema, *schema.get("anyOf", ())):
        name = choice.get("$ref", "").rpartition("/")[2]
        if name:
            return list(document["components"]["schemas"][name]["properties"])
    return []
