"""Which class is meant by this name? Built-ins, then entry points, then dotted paths: of packages, or of a file here.

What is heavy or optional is named here and imported only when a configuration asks for it.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any

from tidegate.core.errors import ConfigError
from tidegate.core.nearest import nearest

BUILT_IN: dict[str, dict[str, str]] = {
    "providers": {
        "openai": "tidegate.providers.openai:OpenAI",
        "anthropic": "tidegate.providers.anthropic:Anthropic",
        "local": "tidegate.providers.local:Local",
        "scripted": "tidegate.providers.scripted:Scripted",
    },
    "codecs": {
        "openai.chat": "tidegate.providers.openai.chat:Chat",
        "openai.complete": "tidegate.providers.openai.complete:Complete",
        "openai.embed": "tidegate.providers.openai.embed:Embed",
        "openai.raw": "tidegate.providers.raw:OpenAIRaw",
        "anthropic.chat": "tidegate.providers.anthropic.messages:Messages",
        "anthropic.count": "tidegate.providers.anthropic.count:Count",
        "anthropic.raw": "tidegate.providers.raw:AnthropicRaw",
    },
    "transports": {
        "own": "tidegate.providers.transport:HttpTransport",
        "aiohttp": "tidegate.providers.transport.aiohttp:AiohttpTransport",
    },
    "counters": {
        "valkey": "tidegate.storage.valkey:ValkeyCounters",
    },
    "blobs": {
        "valkey": "tidegate.storage.valkey.blobs:ValkeyBlobs",
        "valkey+cluster": "tidegate.storage.valkey.parts:PartedBlobs",
    },
    "stores": {
        "postgres": "tidegate.storage.postgres:PostgresStore",
        "postgres_schema": "tidegate.storage.postgres.schema:at",
        "dump": "tidegate.storage.postgres.dump:dump",
        "load": "tidegate.storage.postgres.dump:load",
    },
    "keyrings": {
        "postgres": "tidegate.storage.postgres.keyring:PostgresKeyring",
        "is_there": "tidegate.storage.postgres.keyring:is_there",
    },
    "guardrails": {
        "deep_pii": "tidegate.stages.guardrails.names:DeepPii",
        "injection": "tidegate.stages.guardrails.injection:Injection",
        "model": "tidegate.stages.guardrails.judge:Judge",
        "onnx": "tidegate.stages.guardrails.onnx:Onnx",
        "pii": "tidegate.stages.guardrails.pii:Pii",
        "secrets": "tidegate.stages.guardrails.secrets:Secrets",
        "shape": "tidegate.stages.guardrails.shape:Shape",
        "webhook": "tidegate.stages.guardrails.webhook:Webhook",
    },
    "routers": {},  # compressors among them
    "scorers": {
        "contains": "tidegate.jobs.evals.scorers.contains:Contains",
        "cost": "tidegate.jobs.evals.scorers.cost:Cost",
        "equality": "tidegate.jobs.evals.scorers.equality:Equality",
        "faithful": "tidegate.jobs.evals.scorers.faithful:Faithful",
        "guards": "tidegate.jobs.evals.scorers.guards:Guards",
        "language": "tidegate.jobs.evals.scorers.language:Language",
        "latency": "tidegate.jobs.evals.scorers.latency:Latency",
        "pairwise": "tidegate.jobs.evals.scorers.pairwise:Pairwise",
        "python": "tidegate.jobs.evals.scorers.python:Python",
        "reference": "tidegate.jobs.evals.scorers.reference:Reference",
        "refusal": "tidegate.jobs.evals.scorers.refusal:Refusal",
        "regex": "tidegate.jobs.evals.scorers.regex:Regex",
        "rubric": "tidegate.jobs.evals.scorers.rubric:Rubric",
        "schema": "tidegate.jobs.evals.scorers.schema:Schema",
        "similarity": "tidegate.jobs.evals.scorers.similarity:Similarity",
    },
    "imports": {
        "csv": "tidegate.jobs.evals.imports.table:imported",
        "langfuse": "tidegate.jobs.evals.imports.langfuse:imported",
        "openai": "tidegate.jobs.evals.imports.openai:imported",
        "promptfoo": "tidegate.jobs.evals.imports.promptfoo:imported",
    },
    "functions": {},  # of users: MODULE:NAME
    "suites": {},
    "pages": {
        "admin": "tidegate.api.admin:create",
        "console": "tidegate.console.door:Door",
    },
    "stages": {
        "semantic": "tidegate.stages.cache.meaning:Meanings",
        "tokens": "tidegate.stages.auth.tokens:Tokens",
    },
    "commands": {
        "install_local": "tidegate.providers.local:install",
        "install_semantic": "tidegate.providers.embedder.install:install",
    },
    "embedders": {
        "minilm": "tidegate.providers.embedder.minilm:MiniLM",
        "route": "tidegate.providers.embedder.route:RouteEmbedder",
    },
    "pupils": {
        "tiers": "tidegate.upstream.tiers.pupil:Pupil",
    },
    "vectors": {
        "memory": "tidegate.storage.vectors:MemoryVectors",
        "file": "tidegate.storage.vectorfile:FileVectors",
        "postgres": "tidegate.storage.postgres.vectors:PostgresVectors",
    },
    "listeners": {
        "tls": "tidegate.api.certificates:Certificates",
    },
    "engines": {
        "json_schema": "jsonschema_rs:validator_for",
        "json_schema_patterns": "jsonschema_rs:RegexOptions",
        "presidio": "presidio_analyzer:AnalyzerEngine",
        "presidio_names": "presidio_analyzer.predefined_recognizers:SpacyRecognizer",
        "presidio_registry": "presidio_analyzer:RecognizerRegistry",
        "presidio_spacy": "presidio_analyzer.nlp_engine:SpacyNlpEngine",
        "spacy_has": "spacy.util:is_package",
    },
    "loops": {
        "uvloop": "uvloop:new_event_loop",  # not on Windows
    },
}

# Whose package is not in the base.
EXTRAS = {
    "aiohttp": "aiohttp",
    "hiredis": "scale",
    "jsonschema_rs": "evals",
    "numpy": "semantic",
    "onnxruntime": "semantic",
    "presidio_analyzer": "deep-pii",
    "psycopg": "postgres",
    "spacy": "deep-pii",
}


def names(door: str) -> list[str]:
    return [*BUILT_IN[door], *(point.name for point in entry_points(group=f"tidegate.{door}"))]


def find(door: str, name: str) -> Any:
    """The class behind `name`. Raises ConfigError, naming the nearest."""
    dotted = BUILT_IN[door].get(name)
    if dotted is None:
        for point in entry_points(group=f"tidegate.{door}"):
            if point.name == name:
                dotted = point.value
    if dotted is None and ":" in name:
        dotted = name
    if dotted is None:
        raise ConfigError(f"no {door[:-1]} {name!r}; {nearest(name, names(door))}")
    module, _, attribute = dotted.partition(":")
    if not all(word.isidentifier() for word in (*module.split("."), attribute)):
        raise ConfigError(f"{door[:-1]} {name[:200]!r}: what is your own is named like package.module:Name")
    try:
        return getattr(_loaded(module), attribute)
    except Exception as wrong:  # whatever a module of somebody's does while it is read
        extra = EXTRAS.get((wrong.name or "").partition(".")[0]) if isinstance(wrong, ImportError) else None
        if extra is not None:
            raise ConfigError(f"{door} {name!r} needs the extra {extra}: pip install 'tidegate[{extra}]'") from None
        raise ConfigError(f"{door[:-1]} {name!r} ({dotted}) cannot be loaded: {_told(wrong)}") from wrong


def _loaded(module: str) -> ModuleType:
    """Installed, or one file in the folder where Tidegate was started."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        file = Path(f"{module}.py")
        if missing.name != module or not module.isidentifier() or not file.is_file():
            raise
    spec = spec_from_file_location(module, file.absolute())
    assert spec is not None and spec.loader is not None
    found = sys.modules[module] = module_from_spec(spec)  # as the import system does: its Config is looked for there
    try:
        spec.loader.exec_module(found)
    except BaseException:
        del sys.modules[module]
        raise
    return found


def _told(wrong: Exception) -> str:
    """What was raised, and where in somebody's module. A mistake of syntax says that itself."""
    ours = (__file__, importlib.__file__)
    theirs = [at for at in extract_tb(wrong.__traceback__) if at.filename not in ours and at.filename[0] != "<"]
    where = f" ({theirs[-1].filename}, line {theirs[-1].lineno})" if theirs else ""
    return f"{type(wrong).__name__}: {wrong}{where}"


def config_of(cls: Any) -> Any:
    """The Config class of a plugin: it stands in the plugin's own module. Raises ConfigError."""
    if not isinstance(cls, type):
        raise ConfigError(f"must be a class; what stands there is of type {type(cls).__name__}")
    module = importlib.import_module(cls.__module__)
    config = getattr(module, "Config", None)
    if config is None:
        raise ConfigError(f"{cls.__module__} has no class Config, so it cannot be configured")
    return config


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """The fastest event loop that is installed."""
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = find("loops", "uvloop")
    except ConfigError:
        return asyncio.new_event_loop
    return factory
