"""What is a Bifrost config.json in our words? Its providers; clients ask for provider/model as they did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegate.cli.imports.translation import KNOWN, SAME, Line, Translation
from tidegate.core.errors import ConfigError

KINDS = ("openai", "anthropic")
OWN_SERVERS = ("ollama", "vllm", "sgl")
NO_PLACE = {
    "weight": "several keys of a provider take turns, and one that is refused is set aside",
    "concurrency": "calls at once are bounded for each target of a route: routes.NAME.targets[].max_concurrent",
    "buffer_size": "calls wait for a target of a route: routes.NAME.targets[].max_queue",
}
SECTIONS = {
    "governance": "keys, teams and budgets are made by commands: tidegate keys create, tidegate teams create",
    "plugins": "see docs/guides/semantic-cache.md, docs/guides/traces.md and docs/guides/caching.md",
    "encryption_key": "what is stored is sealed by vault.keys: docs/guides/encryption.md",
    "config_store": "the configuration is this file; what is kept is at storage.database",
    "logs_store": "rows are kept at storage.database",
    "vector_store": "a semantic cache keeps its questions at storage.database",
    "guardrails_config": "guardrails are named by what they find: docs/guides/guardrails.md",
}


class Bifrost(Translation):
    reference = "env."
    no_place = NO_PLACE

    def read(self) -> None:
        """Raises ConfigError."""
        there = self.tree.get("providers")
        if not isinstance(there, dict):
            raise ConfigError("providers: is needed, and a mapping; it is what Bifrost serves")
        for name, one in there.items():
            if not isinstance(one, dict):
                raise ConfigError(f"providers.{name}: keys and values are expected, such as keys: […]")
            self._provider(f"providers.{name}", str(name), one)
        if not self.providers:
            raise ConfigError(
                "providers: nothing here can be asked by Tidegate; it speaks OpenAI's and Anthropic's API"
            )
        for section, said in SECTIONS.items():
            if section in self.tree:
                self.say("left out", section, said)

    def _provider(self, path: str, name: str, one: Mapping[str, Any]) -> None:
        said = one.get("network_config")
        network: Mapping[str, Any] = said if isinstance(said, dict) else {}
        custom = one.get("custom_provider_config")
        kind = custom.get("base_provider_type") if isinstance(custom, dict) else None
        base = network.get("base_url")
        own = "openai" if name in OWN_SERVERS and base else None
        settings = self.vendor(name, self._base(base, kind or name), kind if kind in KINDS else own)
        if settings is None:
            said = (
                f"{name!r} is neither known nor OpenAI's API; if it has such an API, give it a provider with base_url"
            )
            self.say("left out", path, said)
            return
        if base:
            slash = "" if settings["type"] == "anthropic" else "with /v1, where its API begins"
            self.say("changed" if slash else "taken", f"{path}.network_config.base_url", slash)
        if kind in KINDS:
            self.say("taken", f"{path}.custom_provider_config.base_provider_type")
        self._keys(path, name, one, settings)
        self.providers[name] = settings
        self._network(f"{path}.network_config", network)

    def _base(self, base: Any, kind: str) -> str | None:
        if not isinstance(base, str):
            return None
        plain = base.rstrip("/")
        return plain if kind == "anthropic" or plain.endswith("/v1") or plain.startswith("env.") else f"{plain}/v1"

    def _keys(self, path: str, name: str, one: Mapping[str, Any], settings: dict[str, Any]) -> None:
        found, models = [], list[str]()
        for at, key in enumerate(one["keys"] if isinstance(one.get("keys"), list) else []):
            where = f"{path}.keys[{at}]"
            if isinstance(key, dict) and isinstance(key.get("value"), str) and key["value"]:
                found.append(self.secret(f"{where}.value", f"{name}_{at + 1}" if at else name, key["value"]))
            named = key.get("models") if isinstance(key, dict) else None
            if isinstance(named, list) and named:
                models += [str(model) for model in named if model not in models]
                said = "of the provider; it is no bound: give keys the routes that they may ask for"
                self.say("changed", f"{where}.models", said if "*" not in named else "all")
            if isinstance(key, dict) and "name" in key:
                self.say("left out", f"{where}.name", "keys have no names")
        if found:
            settings["keys"] = found
        elif name in KNOWN or name in SAME:
            settings["keys"] = [f"env:{KNOWN[SAME.get(name, name)].keys[0]}"]
        if models and "*" not in models:
            settings["models"] = models

    def _network(self, path: str, network: Mapping[str, Any]) -> None:
        """Of all providers, where it is said of one: the most of each."""
        retries = network.get("max_retries")
        if isinstance(retries, int):
            retry = self.upstream.setdefault("retry", {"tries": 1})
            retry["tries"] = max(retry["tries"], retries + 1)
            self.say("changed", f"{path}.max_retries", "tries, the first among them, of all providers")
        for theirs, ours in (
            ("default_request_timeout_in_seconds", "first_token"),
            ("stream_idle_timeout_in_seconds", "idle"),
        ):
            seconds = network.get(theirs)
            if isinstance(seconds, int | float):
                before = str(self.upstream.get(ours, "0s"))
                self.upstream[ours] = f"{max(seconds, float(before[:-1])):g}s"
                self.say("changed", f"{path}.{theirs}", f"upstream.{ours}, of all providers")


def translated(tree: Mapping[str, Any]) -> tuple[dict[str, Any], list[Line]]:
    """Ours, and what became of each key of theirs. Raises ConfigError."""
    made = Bifrost(tree)
    made.read()
    return made.result()
