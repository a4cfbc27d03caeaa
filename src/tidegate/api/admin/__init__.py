"""Administration, and the guide's own endpoints: a FastAPI application with its OpenAPI document and page.

Loaded when first asked for. Nothing here is on the way of a call to a model, but for `/api/chat`, whose callers wait
for a whole answer anyway. Each path declares who may ask for it: see `policy`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route

from tidegate import __version__
from tidegate.api.admin import (
    alerts,
    analytics,
    audit,
    batches,
    cache,
    canary,
    chat,
    drafts,
    evals,
    evaluation,
    experiments,
    feedback,
    gauges,
    guardrails,
    keys,
    logs,
    overview,
    prompts,
    replay,
    requests,
    rollouts,
    settings,
    shadows,
    subjects,
    targets,
    teams,
    tiers,
    topology,
    usage,
    vault,
    whatif,
)
from tidegate.api.admin.page import page
from tidegate.api.admin.policy import Refusals, incoming_of, queries, tell_refused
from tidegate.core.canary import Canaries
from tidegate.core.errors import BadRequest, Forbidden, MethodNotAllowed, NotFound, TidegateError
from tidegate.core.settings import Setting
from tidegate.core.topology import Topology
from tidegate.gateway import Gateway

ROUTERS = (
    *(cache.router, keys.router, gauges.router, teams.router, targets.router, guardrails.router),
    batches.router,
    evals.router,
    *(usage.router, requests.router, replay.router, feedback.router, analytics.router, chat.router),
    *(evaluation.router, prompts.router, drafts.router, experiments.router, rollouts.router),
    *(subjects.router, audit.router, vault.router, alerts.router, logs.router),
    canary.router,
    overview.router,
    settings.router,
    shadows.router,
    tiers.router,
    topology.router,
    whatif.router,
)
CONTENT_SECURITY = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}


def create(
    gateway: Callable[[], Gateway],
    canaries: Canaries | None = None,
    topology: Topology | None = None,
    configured: Callable[[], Sequence[Setting]] = tuple,
    evals_in: Path = Path("evals"),
) -> FastAPI:
    app = FastAPI(
        title="Tidegate",
        version=__version__,
        summary="Administration, and a simple chat. Models are asked at /v1, as OpenAI's clients do.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.gateway = gateway
    app.state.canaries = canaries
    app.state.topology = topology
    app.state.settings = configured
    app.state.evals = evals_in
    app.state.refusals = Refusals()
    # As they are: what is included is made anew, path by path, on the loop, while the first is asked for.
    app.router.routes.extend(route for router in ROUTERS for route in router.routes)

    # The document takes a second and 11 MB: it is made where it stops nobody, once somebody asks for it.
    async def docs(request: Request) -> Response:
        document = await asyncio.to_thread(app.openapi)
        return Response(page(document), media_type="text/html", headers=CONTENT_SECURITY)

    async def for_machines(request: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(app.openapi))

    async def problem(request: Request, wrong: Exception) -> Response:
        incoming_of(request).failure = found = _problem(app, request.url.path, wrong)
        if isinstance(found, Forbidden):
            tell_refused(request)
        return Response()

    app.add_route("/docs", docs, include_in_schema=False)
    app.add_route("/openapi.json", for_machines, include_in_schema=False)
    for kind in (TidegateError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, problem)
    app.state.queries = queries(ROUTERS)
    return app


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
