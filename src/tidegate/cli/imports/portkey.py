"""What is a Portkey config in our words? One route: its targets in order, or by weight."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tidegate.cli.imports.translation import KNOWN, SAME, Line, Translation
from tidegate.core.errors import ConfigError

MODES = {"single": "ordered", "fallback": "ordered", "loadbalance": "weighted"}
NO_PLACE = {
    "on_status_codes": "Tidegate goes by what went wrong, not by numbers: docs/guides/resilience.md",
    "input_guardrails": "guardrails are named by what they find: docs/guides/guardrails.md",
    "output_guardrails": "guardrails are named by what they find: docs/guides/guardrails.md",
    "forward_headers": "nothing of a client is passed on but what its dialect says",
}
CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


class Portkey(Translation):
    no_place = NO_PLACE

    def __init__(self, tree: Mapping[str, Any], name: str) -> None:
        super().__init__(_snake(tree))
        self._route: dict[str, Any] = {"targets": []}
        self.routes[name] = self._route

    def read(self) -> None:
        """Raises ConfigError."""
        self._group(self.tree, "", None)
        if not self._route["targets"]:
            raise ConfigError("nothing in it can be asked by Tidegate; it speaks OpenAI's and Anthropic's API")

    def _group(self, group: Mapping[str, Any], path: str, order: int | None) -> None:
        """`order`: of the group, among those of the one around it."""
        targets = group.get("targets")
        self._behaviour(group, path)
        if not isinstance(targets, list):
            self._target(group, path, order)
            return
        strategy = group.get("strategy")
        mode = strategy.get("mode") if isinstance(strategy, dict) else "single"
        where = f"{path}strategy.mode"
        if mode not in MODES:
            self.say("left out", where, "conditions are the client's to say: make a route for each, and ask for it")
            self.say("left out", f"{path}targets", "see strategy.mode")
            return
        if order is not None and mode != "loadbalance":
            self.say("left out", f"{path}targets", "one order within another: only weights can be within an order")
            return
        self.say("taken", where)
        if mode == "loadbalance":
            self._route["strategy"] = "weighted"
        for at, one in enumerate(targets if mode != "single" else targets[:1]):
            inner = f"{path}targets[{at}]."
            if not isinstance(one, dict):
                raise ConfigError(f"{inner[:-1]}: keys and values are expected, such as provider: openai")
            nested = isinstance(one.get("targets"), list)
            if nested and mode == "loadbalance":
                self.say("left out", f"{inner}targets", "a group within weights: only weights can be within an order")
            elif nested:
                self._group(one, inner, at + 1)
            else:
                self._behaviour(one, inner)
                self._target(one, inner, at + 1 if mode == "fallback" else order)

    def _target(self, one: Mapping[str, Any], path: str, order: int | None) -> None:
        said, key = one.get("provider"), one.get("api_key")
        slug, _, named = said.removeprefix("@").partition("/") if isinstance(said, str) else ("", "", "")
        vendor = slug if said == slug else next((each for each in (*KNOWN, *SAME) if slug.startswith(each)), slug)
        host = one.get("custom_host")
        settings = self.vendor(vendor, str(host) if host else None, "openai" if host and vendor not in KNOWN else None)
        if settings is None:
            why = f"{slug!r} is neither known nor OpenAI's API" if slug else "the account that it names is Portkey's"
            self.say("left out", f"{path}provider", f"{why}; give it a provider with base_url and keys")
            return
        self.say("taken", f"{path}provider")
        if host:
            self.say("taken", f"{path}custom_host")
        if isinstance(key, str):
            settings["keys"] = [self.secret(f"{path}api_key", vendor, key)]
        elif not host or vendor in KNOWN:
            settings["keys"] = [f"env:{KNOWN[SAME.get(vendor, vendor)].keys[0]}"]
            kept = f"{path}virtual_key" if "virtual_key" in one else f"{path}provider"
            self.say(
                "changed", kept, f"its key is at Portkey: put it into the environment as {settings['keys'][0][4:]}"
            )
        override = one.get("override_params")
        model = override.get("model") if isinstance(override, dict) else named
        if isinstance(model, str) and model:
            self.say("taken", f"{path}override_params.model")
            model = model.partition("/")[2] if model.startswith("@") else model
        target: dict[str, Any] = {"provider": self.named(vendor, settings), "model": model or "*"}
        if not model:
            self.say("changed", f"{path}provider", "its model is the name that the client asks for")
        if order is not None:
            target["order"] = order
        weight = one.get("weight")
        if isinstance(weight, int | float) and not isinstance(weight, bool):
            target["weight"] = round(weight * 100) if weight % 1 else int(weight)
            self.say("changed" if weight % 1 else "taken", f"{path}weight", "in hundredths" if weight % 1 else "")
        self._route["targets"].append(target)

    def _behaviour(self, one: Mapping[str, Any], path: str) -> None:
        """Of all targets, where it is said of one: the most of each."""
        retry, cache, wait_ms = one.get("retry"), one.get("cache"), one.get("request_timeout")
        if isinstance(retry, dict) and isinstance(retry.get("attempts"), int):
            tries = self.upstream.setdefault("retry", {"tries": 1})
            tries["tries"] = max(tries["tries"], retry["attempts"] + 1)
            said = "tries of each target, of all routes, the first among them; then the next target is asked"
            self.say("changed", f"{path}retry.attempts", said)
        if isinstance(wait_ms, int | float):
            longest = max(wait_ms / 1000, float(self._route.get("timeout", "0s")[:-1]))
            self._route["timeout"] = f"{longest:g}s"
            self.say("changed", f"{path}request_timeout", "of a call, all attempts together")
        if isinstance(cache, dict) and cache.get("mode") in ("simple", "semantic"):
            self._route["cache"] = {"exact": True}
            said = "shared within a team and not by all; see routes.NAME.cache.scope"
            meaning = "by the same words; by meaning it wants a bound of error: docs/guides/semantic-cache.md"
            self.say("changed", f"{path}cache.mode", said if cache["mode"] == "simple" else meaning)
            if isinstance(cache.get("max_age"), int | float):
                self._route["cache"]["ttl"] = f"{cache['max_age']:g}s"
                self.say("taken", f"{path}cache.max_age")


def _snake(value: Any) -> Any:
    """Portkey takes both virtualKey and virtual_key."""
    if isinstance(value, dict):
        return {CAMEL.sub("_", str(key)).lower(): _snake(item) for key, item in value.items()}
    return [_snake(item) for item in value] if isinstance(value, list) else value


def translated(tree: Mapping[str, Any], name: str) -> tuple[dict[str, Any], list[Line]]:
    """Ours, with one route of this name, and what became of each key of theirs. Raises ConfigError."""
    made = Portkey(tree, name)
    made.read()
    return made.result()
