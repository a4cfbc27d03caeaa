"""What is configured? A file and the environment become one frozen Config, made of each module's own.

Every message names the key and its line, and the nearest key when there is none of that name.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec
import yaml
from msgspec import Meta

from tidegate import api, console, plugins, storage, upstream
from tidegate.core import batches, canary, guard
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
ENVIRONMENT_PREFIX = "TIDEGATE_"  # TIDEGATE_API_PORT=9000 is api.port
READ = (Duration, Size, Share, Moment)  # values with a notation of their own
PROXY = re.compile(r"http://([^/?#@\s]+@)?([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?/?")
YAML_TAG = "tag:yaml.org,2002:"


class Reserved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing can be set here in this version: leave it empty, {}."""


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


class Configured(NamedTuple):
    """A plugin, by its `type`, and its own settings."""

    type: str
    plugin: Any
    settings: msgspec.Struct
    why: str = ""  # it is here, when nobody configured it


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
    reading = _Reading(environment, file)
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


def _check(config: Config, reading: _Reading) -> None:
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


class Resolved(str):
    """A value that came from `env:NAME` or `file:PATH`, and from which of them."""

    source = ""


class _Reading:
    """One file being read: where each key stands, so that errors can say."""

    def __init__(self, environment: Mapping[str, str], file: str) -> None:
        self._environment = environment
        self._file = file
        self._lines: dict[str, int] = {}
        self._variables: dict[str, str] = {}  # the key that a variable sets → its name

    def wrong(self, path: str, message: str) -> ConfigError:
        """The error for the key at `path`, or the nearest one above it that stands in the file."""
        variable = self._variables.get(path.partition("[")[0])
        if variable is not None:
            return ConfigError(f"{variable}: {path}: {message}")
        at = path
        while at and at not in self._lines:
            at = at.rpartition("[")[0] if at.endswith("]") else at.rpartition(".")[0]
        line = f":{self._lines[at]}" if at else ""
        return ConfigError(f"{self._file}{line}: {path}: {message}" if path else f"{self._file}: {message}")

    # --- text to plain values

    def tree(self, text: str) -> dict[str, Any]:
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as wrong:
            mark = wrong.problem_mark or wrong.context_mark
            line = f":{mark.line + 1}" if mark else ""
            raise ConfigError(
                f"{self._file}{line}: {wrong.problem or wrong.context}; look at the indentation and colons there"
            ) from None
        except yaml.YAMLError as wrong:
            raise ConfigError(f"{self._file}: is not YAML: {str(wrong).splitlines()[0]}") from None
        except RecursionError:
            raise ConfigError(f"{self._file}: is nested too deeply") from None
        if node is None:
            return {}
        value = self._value(node, "", ())
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.wrong("", "must be keys and values, such as 'api: {port: 8080}'")
        return value

    def _value(self, node: yaml.Node, path: str, above: tuple[yaml.Node, ...]) -> Any:
        if node in above:
            raise self.wrong(path, "refers to itself")
        self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, (*above, node))
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, f"{path}[{at}]", (*above, node)) for at, item in enumerate(node.value)]
        try:
            value = yaml.SafeLoader("").construct_object(node)
        except (yaml.YAMLError, ValueError, AttributeError, KeyError):  # the last two: what PyYAML does not expect
            raise self.wrong(path, f"cannot be read as {node.tag.removeprefix(YAML_TAG)}") from None
        return self._resolved(value, path) if isinstance(value, str) else value

    def _mapping(self, node: yaml.MappingNode, path: str, above: tuple[yaml.Node, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            inner = f"{path}.{key}" if path else key
            if key in found:
                raise self.wrong(inner, f"stands twice, again in line {key_node.start_mark.line + 1}")
            self._lines[inner] = key_node.start_mark.line + 1
            found[key] = self._value(value_node, inner, above)
        return found

    def resolved(self, value: Any, path: str) -> Any:
        """Plain values with what `env:NAME` and `file:PATH` stand for in them."""
        if isinstance(value, dict):
            return {key: self.resolved(item, f"{path}.{key}") for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolved(item, path) for item in value]
        return self._resolved(value, path) if isinstance(value, str) else value

    def override(self, tree: dict[str, Any]) -> None:
        """What the environment says of `api` and `storage` goes before the file; lists are separated by commas."""
        for section in ("api", "storage"):
            for field, kind in get_type_hints(getattr(Config(), section).__class__).items():
                variable = f"{ENVIRONMENT_PREFIX}{section}_{field}".upper()
                given = self._environment.get(variable)
                if tree.get(section) is None:
                    tree[section] = {}
                if given and isinstance(tree[section], dict):
                    value = Resolved(given)
                    value.source = f"env:{variable}"
                    self._variables[f"{section}.{field}"] = variable
                    several = get_origin(kind) is tuple
                    tree[section][field] = [Resolved(one.strip()) for one in given.split(",")] if several else value

    def _resolved(self, value: str, path: str) -> str:
        kind, colon, rest = value.partition(":")
        if not colon or kind not in ("env", "file") or not rest:
            return value
        if kind == "env":
            text = self._environment.get(rest)
            if text is None:
                raise self.wrong(path, f"the environment variable {rest} is not set; set it, or take this key out")
        else:
            try:
                text = Path(rest).read_text(encoding="utf-8")
            except (OSError, ValueError) as wrong:
                raise self.wrong(path, f"the file {rest} cannot be read: {wrong}") from None
        text = text.strip()
        if not text.isprintable():
            raise self.wrong(path, f"{value} has control characters in it; it must be one line")
        resolved = Resolved(text)
        resolved.source = value
        return resolved

    # --- plain values to each module's Config

    def provider(self, path: str, value: Any) -> Configured:
        """A provider, by its `type`, with its own Config."""
        if not isinstance(value, dict):
            raise self.wrong(path, 'must be keys and values, such as {type: openai, keys: ["env:OPENAI_API_KEY"]}')
        return self.plugin("providers", path, value)

    def plugin(self, door: str, path: str, value: Mapping[str, Any], ours: Sequence[str] = ()) -> Configured:
        """Behind `door`, by its `type`, with its own Config; fields that are `ours` are not the plugin's."""
        fields = {key: item for key, item in value.items() if key not in ours}
        kind = fields.pop("type", None)
        if not isinstance(kind, str):
            raise self.wrong(path, f"needs a type; there are: {', '.join(plugins.names(door))}")
        try:
            plugin = plugins.find(door, kind)
            config = plugins.config_of(plugin)
        except ConfigError as unknown:
            raise self.wrong(f"{path}.type", unknown.message) from None
        return Configured(kind, plugin, self.into(config, fields, path))

    def guardrail(self, value: Any, path: str) -> guardrails.Guarded:
        """A guard, by its `type`, with what is done about its findings, and its own Config."""
        fields = dict(value) if isinstance(value, dict) else {"type": value}
        settings = self.plugin("guardrails", path, fields, ("action", "on_failure"))
        action = self._leaf(guard.Action, fields.get("action", "flag"), f"{path}.action")
        if action == "placeholder" and ".output[" in path:
            raise self.wrong(f"{path}.action", "placeholders are for what goes out; mask what comes back")
        on_failure = self._leaf(Literal["closed", "open"], fields.get("on_failure", "closed"), f"{path}.on_failure")
        return guardrails.Guarded(settings.type, action, on_failure, settings.plugin, settings.settings)

    def compressor(self, value: Any, path: str) -> shrink.Plugged:
        """A compressor, by its `type`, with how long it is waited for, and its own Config."""
        fields = dict(value) if isinstance(value, dict) else {"type": value}
        settings = self.plugin("routers", path, fields, ("timeout",))
        timeout = self._leaf(Duration, fields.get("timeout", "2s"), f"{path}.timeout")
        return shrink.Plugged(settings.type, settings.plugin, settings.settings, timeout)

    def into(self, kind: Any, value: Any, path: str) -> Any:
        """`value` as `kind`: structs field by field, so that a message can name what is wrong."""
        if kind == shrink.Plugged | None:
            return self.compressor(value, path)
        if kind is guardrails.Guarded:
            return self.guardrail(value, path)
        if kind in (Secret, Secret | None):
            text = self._leaf(str, value, path)
            if not text.strip():
                raise self.wrong(path, "is empty; set it, or take this key out")
            return Secret(text, value.source if isinstance(value, Resolved) else Secret.source_in_file)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self._struct(kind, value, path)
        if get_origin(kind) in (Union, UnionType):
            others = [one for one in get_args(kind) if one is not NoneType]
            kind = others[0] if len(others) == 1 else kind  # null was dealt with: it leaves the default
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                return self._struct(kind, value, path)
        bounds = [meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, Meta)]
        bare = get_args(kind)[0] if bounds else kind
        inner = get_args(bare)
        if get_origin(bare) is dict and isinstance(value, dict):
            return {key: self.into(inner[1], item, f"{path}.{key}") for key, item in value.items()}
        if get_origin(bare) is tuple:
            values = value if isinstance(value, list) else [value]  # `keys: env:A` for a list of one
            if any(len(values) < (meta.min_length or 0) for meta in bounds):
                raise self.wrong(path, "needs at least one")
            return tuple(self.into(inner[0], item, f"{path}[{at}]") for at, item in enumerate(values))
        return self._leaf(kind, value, path)

    def _struct(self, kind: type[msgspec.Struct], value: Any, path: str) -> Any:
        hints = get_type_hints(kind, include_extras=True)
        if isinstance(value, bool) and "enabled" in hints:  # `console: off`
            value = {"enabled": value}
        if not isinstance(value, dict):
            raise self.wrong(path, f"must be keys and values, not {value!r}")
        fields: dict[str, Any] = {}
        for key, item in value.items():
            inner = f"{path}.{key}" if path else key
            if key not in hints:
                near = difflib.get_close_matches(key, hints, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(hints) or 'none'}"
                raise self.wrong(inner, f"no such key; {hint}")
            if item is not None:  # `key:` with nothing after it leaves the default
                fields[key] = self.into(hints[key], item, inner)
        for field in msgspec.structs.fields(kind):
            if field.required and field.name not in fields:
                raise self.wrong(f"{path}.{field.name}".strip("."), "is needed")
        return kind(**fields)

    def _leaf(self, kind: Any, value: Any, path: str) -> Any:
        elsewhere = isinstance(value, Resolved)  # there, everything is text: "9000" is a number where one is wanted
        try:
            if kind in READ:
                return kind.parse(value)
            choices = get_args(kind)
            if get_origin(kind) is Literal and value not in choices:
                near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(choices)}"
                raise ValueError(f"cannot be {value!r}; {hint}")
            return msgspec.convert(str(value) if elsewhere else value, kind, strict=not elsewhere)
        except (msgspec.ValidationError, ValueError) as wrong:
            said = str(wrong)
            raise self.wrong(path, said[:1].lower() + said[1:].replace("`", "'")) from None


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
