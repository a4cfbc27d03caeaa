"""Which class is meant by this name? Built-ins, then entry points, then dotted paths.

What is heavy or optional is named here and imported only when a configuration asks for it.
"""

from __future__ import annotations

import asyncio
import difflib
import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from tidegate.core.errors import ConfigError

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
    },
    "stores": {
        "postgres": "tidegate.storage.postgres:PostgresStore",
    },
    "keyrings": {
        "postgres": "tidegate.storage.postgres.keyring:PostgresKeyring",
        "is_there": "tidegate.storage.postgres.keyring:is_there",
    },
    "guardrails": {
        "injection": "tidegate.stages.guardrails.injection:Injection",
        "pii": "tidegate.stages.guardrails.pii:Pii",
        "secrets": "tidegate.stages.guardrails.secrets:Secrets",
        "shape": "tidegate.stages.guardrails.shape:Shape",
    },
    "pages": {
        "admin": "tidegate.api.admin:create",
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
    },
    "vectors": {
        "memory": "tidegate.storage.vectors:MemoryVectors",
    },
    "loops": {
        "uvloop": "uvloop:new_event_loop",  # not on Windows
    },
}

# Whose package is not in the base.
EXTRAS = {
    "aiohttp": "aiohttp",
    "hiredis": "scale",
    "numpy": "semantic",
    "onnxruntime": "semantic",
    "psycopg": "postgres",
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
        near = difflib.get_close_matches(name, names(door), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names(door))}"
        raise ConfigError(f"no {door[:-1]} {name!r}; {hint}")
    module, _, attribute = dotted.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as missing:
        extra = EXTRAS.get((missing.name or "").partition(".")[0])
        if extra is not None:
            raise ConfigError(f"{door} {name!r} needs the extra {extra}: pip install 'tidegate[{extra}]'") from None
        raise ConfigError(f"{door[:-1]} {name!r} ({dotted}) cannot be loaded: {missing}") from None


def config_of(cls: type) -> Any:
    """The Config class of a plugin: it stands in the plugin's own module."""
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
