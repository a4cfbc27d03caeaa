"""What is configured? A file and the environment become one frozen Config, made of each module's own.

Every message names the key and its line, and the nearest key when there is none of that name.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tidegate import api, console, storage, upstream
from tidegate.config.reading import Configured, Reading
from tidegate.core import batches, canary
from tidegate.core.errors import ConfigError
from tidegate.core.values import Duration, Moment, Secret, Share, Size
from tidegate.jobs import rollouts
from tidegate.providers import prices, transport
from tidegate.providers.discovery import Found
from tidegate.stages import auth, bodies, budgets, cache, guardrails, judging, limits, prompts, routes, shadows
from tidegate.storage import audit, vault
from tidegate.telemetry import alerts, logs, metrics, sinks, traces
from tidegate.upstream import shrink, tiers

DEFAULT_FILE = "tidegate.yaml"
LOCAL = Found("local", {"type": "local"}, "")
PROXY = re.compile(r"http://([^/?#@\s]+@)?([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?/?")


class RouteConfig(routes.Config, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A name that clients ask for as `model`, with what each stage may be told about it.

    cache: whether it is answered with what was answered before.
    guardrails: guards of this route, in place of those of all routes; null, the same.
    store: whether what is said in its calls is kept.
    judge: whether a share of its answers is judged afterwards.
    shrink: whether its prompts are made shorter before they are sent.
    router: which of its tiers answers a call.
    """

    cache: cache.Config = cache.Config()
    guardrails: guardrails.Config | None = None
    store: bodies.Config = bodies.Config()
    judge: judging.Config = judging.Config()
    shrink: shrink.Config = shrink.Config()
    router: tiers.Config = tiers.Config()


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be configured.

    api: how Tidegate is reached.
    console: the pages for people.
    storage: where things are kept.
    vault: whether what is stored is encrypted.
    audit: whether a log is kept that nobody can change unseen.
    auth: who may come in.
    limits: how many calls may be made.
    budgets: how much may be spent.
    prompts: what calls can name in place of saying it.
    guardrails: what may pass, on every route that has no guards of its own.
    cache: what routes with a semantic cache have together.
    batches: files of questions that nobody waits for.
    experiments: how those that are under way are looked at.
    upstream: how providers are asked.
    shadows: answers that experiments have given in the background.
    canary: what takes another configuration back that is tried on a share of the units.
    logs: what is written to standard error.
    alerts: who is told when something happens.
    traces: who is sent spans of calls.
    sinks: other stores that are given the rows of calls.
    metrics: what is counted for Prometheus.
    transport: the connections to providers.
    prices: what tokens cost.
    providers: who can answer; without any, the small local model.
    routes: the names that clients ask for; without any, every served model is a route of its own name.
    """

    api: api.Config = api.Config()
    console: console.Config = console.Config()
    storage: storage.Config = storage.Config()
    vault: vault.Config = vault.Config()
    audit: audit.Config = audit.Config()
    auth: auth.Config = auth.Config()
    limits: limits.Config = limits.Config()
    budgets: budgets.Config = budgets.Config()
    prompts: prompts.Config = prompts.Config()
    guardrails: guardrails.Config = guardrails.Config()
    cache: cache.House = cache.House()
    batches: batches.Config = batches.Config()
    experiments: rollouts.Config = rollouts.Config()
    upstream: upstream.Config = upstream.Config()
    shadows: shadows.Config = shadows.Config()
    canary: canary.Config = canary.Config()
    logs: logs.Config = logs.Config()
    alerts: alerts.Config = alerts.Config()
    traces: traces.Config = traces.Config()
    sinks: sinks.Config = sinks.Config()
    metrics: metrics.Config = metrics.Config()
    transport: transport.Config = transport.Config()
    prices: prices.Config = prices.Config()
    providers: dict[str, Configured] = {}
    routes: dict[str, RouteConfig] = {}


def where(path: Path | None, environment: Mapping[str, str]) -> Path:
    """The file that is read: the one that was named, or tidegate.yaml here."""
    return path or Path(environment.get("TIDEGATE_CONFIG") or DEFAULT_FILE)


def stamp(path: Path) -> tuple[int, int] | None:
    """Another one when the file has changed; None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def load(path: Path | None, environment: Mapping[str, str], found: Sequence[Found] = ()) -> Config:
    """What `where` says, or what needs no file; `found` is who may answer when nobody is configured."""
    named = path is not None or "TIDEGATE_CONFIG" in environment
    path = where(path, environment)
    if not named and not path.exists():
        return parse("", environment, DEFAULT_FILE, found)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as wrong:
        raise ConfigError(f"{path}: cannot be read: {wrong.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    return parse(text, environment, str(path), found)


def parse(text: str, environment: Mapping[str, str], file: str = DEFAULT_FILE, found: Sequence[Found] = ()) -> Config:
    """The configuration that `text` says, with what the environment overrides."""
    reading = Reading(environment, file)
    tree = reading.tree(text)
    reading.override(tree)
    asked = tree.pop("providers", None) or {}
    if not isinstance(asked, dict):
        raise reading.wrong("providers", "must be names and what each is, such as main: {type: openai}")
    config: Config = reading.into(Config, tree, "")
    providers = {name: reading.provider(f"providers.{name}", value) for name, value in asked.items()}
    for name, settings, why in () if asked else (*found, LOCAL):
        settings = reading.resolved(settings, f"providers.{name}")
        providers[name] = reading.provider(f"providers.{name}", settings)._replace(why=why)
    config = msgspec.structs.replace(config, providers=providers)
    _check(config, reading)
    return config


def _check(config: Config, reading: Reading) -> None:
    """What no single module can see."""
    if config.api.workers > 1 and sys.platform == "win32":
        raise reading.wrong("api.workers", "several processes cannot share a socket on Windows; set it to 1")
    if config.console.enabled and config.console.port and config.console.port == config.api.port:
        raise reading.wrong("console.port", f"{config.api.port} is api.port, too; choose another, or leave it out")
    database = config.storage.database
    if database is not None and not database.value.startswith(("postgresql://", "postgres://")):
        raise reading.wrong("storage.database", "must be like postgresql://user:password@host:5432/name")
    proxy = config.transport.proxy
    if proxy is not None and config.transport.kind == "own":
        raise reading.wrong("transport.proxy", "our own transport goes through no proxy; set transport.kind: aiohttp")
    if proxy is not None and not PROXY.fullmatch(proxy.value):  # never shown: it may hold a password
        raise reading.wrong("transport.proxy", "must be like http://HOST:PORT or http://NAME:PASSWORD@HOST:PORT")
    rooms = [
        ("api", api.trouble(config.api)),
        ("auth", auth.trouble(config.auth)),
        ("prompts", prompts.trouble(config.prompts)),
        *((f"routes.{name}.cache", cache.trouble(route.cache)) for name, route in config.routes.items()),
        *(
            (f"routes.{name}.store", bodies.trouble(route.store, traced=bool(config.traces.to)))
            for name, route in config.routes.items()
        ),
        *((f"routes.{name}.judge", judging.trouble(route.judge)) for name, route in config.routes.items()),
        ("canary", canary.trouble(config.canary)),
        *(
            (f"routes.{name}.shrink", shrink.trouble(route.shrink, name, (*config.routes, *config.providers)))
            for name, route in config.routes.items()
        ),
        ("experiments", rollouts.trouble(config.experiments)),
        *(
            (
                f"routes.{name}.router",
                tiers.trouble(
                    one.router,
                    one.tiers,
                    judged=one.judge.suite is not None,
                    route=name,
                    known=(*config.routes, *config.providers),
                ),
            )
            for name, one in config.routes.items()
        ),
        ("cache", cache.house_trouble(config.cache, config.routes)),
        ("batches", batches.trouble(config.batches)),
        ("alerts", alerts.trouble(config.alerts)),
        ("traces", traces.trouble(config.traces)),
        ("sinks", sinks.trouble(config.sinks)),
        ("transport", transport.trouble(config.transport)),
    ]
    for room, wrong in rooms:
        if wrong is not None:
            raise reading.wrong(f"{room}.{wrong[0]}", wrong[1])
    for name in config.providers:
        if "/" in name or not name:
            raise reading.wrong(f"providers.{name}", "a provider's name must not be empty or contain '/'")
    for path, message in routes.mistakes(config.routes, config.providers):
        raise reading.wrong(path, message)


def shown(config: Config) -> str:
    """`config` as YAML, every default filled in, secrets by where they come from."""
    return yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)


def plain(value: Any) -> Any:
    """As JSON has it; a secret by where it comes from."""
    if isinstance(value, Secret | Duration | Share | Moment):
        return repr(value)
    if isinstance(value, guardrails.Guarded):
        ours = {"type": value.type, "action": value.action, "on_failure": value.on_failure}
        return {**ours, **plain(value.settings)}
    if isinstance(value, shrink.Plugged):
        return {"type": value.type, "timeout": plain(value.timeout_s), **plain(value.settings)}
    if isinstance(value, Configured):
        return {"type": value.type, **plain(value.settings)}
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return int(value) if isinstance(value, Size) else value
