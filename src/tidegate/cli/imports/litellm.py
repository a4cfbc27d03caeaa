"""What is a LiteLLM configuration in our words? What has no place in them is said, and never dropped in silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tidegate.cli.imports.translation import KNOWN, SAME, Line, Translation
from tidegate.core.errors import ConfigError

COMPATIBLE = ("openai", "hosted_vllm", "vllm", "openai_like", "custom_openai", "litellm_proxy")
STRATEGIES = {"simple-shuffle": "weighted", "least-busy": "least_busy", "latency-based-routing": "fastest"}
FALLBACKS = {
    "fallbacks": "fallback",
    "context_window_fallbacks": "longer",
    "content_policy_fallbacks": "content_policy",
}
NO_PLACE = {
    "master_key": "set TIDEGATE_ADMIN_KEY in place of it",
    "database_url": "keys and spending are not in a form that we read: make keys anew with tidegate keys create",
    "max_budget": "a budget belongs to a key, team or organisation: tidegate organisations --help",
    "budget_duration": "see max_budget",
    "input_cost_per_token": "prices are per provider: providers.NAME.price, in dollars per million tokens",
    "output_cost_per_token": "prices are per provider: providers.NAME.price, in dollars per million tokens",
}


class LiteLLM(Translation):
    reference = "os.environ/"
    no_place = NO_PLACE

    def settings(self, name: str) -> Iterator[tuple[str, Any]]:
        """Where this setting stands; in two places where people write it."""
        for section in ("router_settings", "litellm_settings"):
            found = self.tree.get(section)
            if isinstance(found, dict) and found.get(name) is not None:
                yield f"{section}.{name}", found[name]

    # --- who answers

    def models(self) -> None:
        listed = self.tree.get("model_list")
        if not isinstance(listed, list):
            raise ConfigError("model_list: is needed, and a list; it is what LiteLLM serves")
        for at, one in enumerate(listed):
            path = f"model_list[{at}]"
            params = one.get("litellm_params") if isinstance(one, dict) else None
            if not isinstance(params, dict) or not one.get("model_name") or not params.get("model"):
                raise ConfigError(f"{path}: needs model_name, and litellm_params with model")
            provider = self._provider(f"{path}.litellm_params", params)
            if provider is not None:
                self.say("taken", f"{path}.model_name")
                self._target(f"{path}.litellm_params", str(one["model_name"]), provider, params)
        if not self.routes:
            raise ConfigError(
                "model_list: nothing in it can be asked by Tidegate; it speaks OpenAI's and Anthropic's API"
            )

    def _provider(self, path: str, params: Mapping[str, Any]) -> str | None:
        vendor, slash, _ = str(params["model"]).partition("/")
        if not slash:
            vendor = "anthropic" if vendor.startswith("claude") else "openai"
        base = params.get("api_base") or params.get("base_url")
        ours = "openai" if vendor in COMPATIBLE and vendor not in KNOWN and base else None
        settings = self.vendor(vendor, str(base) if base else None, ours)
        if settings is None:
            said = (
                f"{vendor!r} is neither known nor OpenAI's API; if it has such an API, give it a provider with base_url"
            )
            self.say("left out", f"{path}.model", said)
            return None
        key = params.get("api_key")
        if key or ours is None:
            variable = f"env:{KNOWN[SAME.get(vendor, vendor)].keys[0]}" if ours is None else ""
            settings["keys"] = [self.secret(f"{path}.api_key", vendor, str(key)) if key else variable]
        for name in ("api_base", "base_url"):
            if params.get(name):
                self.say("taken", f"{path}.{name}")
        return self.named(vendor, settings)

    def _target(self, path: str, name: str, provider: str, params: Mapping[str, Any]) -> None:
        route = self.routes.setdefault(name, {"targets": []})
        model = str(params["model"])
        target: dict[str, Any] = {"provider": provider, "model": model.partition("/")[2] or model}
        self.say("taken", f"{path}.model")
        for theirs, ours in (("weight", "weight"), ("order", "order"), ("max_parallel_requests", "max_concurrent")):
            if isinstance(params.get(theirs), int):
                target[ours] = params[theirs]
                self.say("taken", f"{path}.{theirs}")
        for theirs, of in (("rpm", "requests"), ("tpm", "tokens")):
            if isinstance(params.get(theirs), int):
                limits = {one["of"]: one for one in route.setdefault("limits", [])}
                most = params[theirs] + limits.get(of, {"most": 0})["most"]
                route["limits"] = [*({**limits, of: {"of": of, "most": most, "per": "60s"}}).values()]
                self.say("changed", f"{path}.{theirs}", f"a limit of the route {name!r}, of all its targets together")
        if isinstance(params.get("timeout"), int | float):
            route["timeout"] = f"{max(params['timeout'], float(route.get('timeout', '0s')[:-1])):g}s"
            self.say("changed", f"{path}.timeout", "of a call, all attempts together")
        if isinstance(params.get("stream_timeout"), int | float):
            route["timeouts"] = {"first_token": f"{params['stream_timeout']:g}s"}
            self.say("changed", f"{path}.stream_timeout", "until the first token")
        route["targets"].append(target)

    # --- what happens

    def reliability(self) -> None:
        for path, value in self.settings("num_retries"):
            if isinstance(value, int):
                self.upstream.setdefault("retry", {})["tries"] = value + 1
                self.say("changed", path, "tries of each target, the first among them; then the next target is asked")
        for path, value in self.settings("allowed_fails"):
            if isinstance(value, int):
                self.upstream.setdefault("breaker", {})["failures"] = value + 1
                self.say("changed", path, "failures in a row, and not in a minute")
        for path, value in self.settings("cooldown_time"):
            if isinstance(value, int | float):
                self.upstream.setdefault("breaker", {})["open_for"] = f"{value:g}s"
                self.say("taken", path)
        for path, value in [*self.settings("timeout"), *self.settings("request_timeout")]:
            if isinstance(value, int | float):
                for route in self.routes.values():
                    route.setdefault("timeout", f"{value:g}s")
                self.say("changed", path, "of a call, all attempts together")
        for path, value in self.settings("routing_strategy"):
            if value in STRATEGIES:
                for route in self.routes.values():
                    route["strategy"] = STRATEGIES[value]
                self.say("taken", path)
        for theirs, ours in FALLBACKS.items():
            for path, value in self.settings(theirs):
                self._fallbacks(path, ours, value)

    def _fallbacks(self, path: str, field: str, value: Any) -> None:
        for at, one in enumerate(value if isinstance(value, list) else []):
            for name, others in one.items() if isinstance(one, dict) else ():
                where, named = f"{path}[{at}].{name}", [str(other) for other in others]
                there = [other for other in named if other in self.routes and other != name]
                if name not in self.routes or not there:
                    self.say("left out", where, "names no route that was taken over")
                elif self._reaches(there[0], name, field):
                    self.say("left out", where, f"goes in a circle with {there[0]!r}; one of them must end it")
                else:
                    self.routes[name][field] = there[0]
                    more = ", ".join(other for other in named if other != there[0])
                    said = f"only {there[0]!r}, which may have its own; {more} is left out" if more else ""
                    self.say("changed" if more else "taken", where, said)

    def _reaches(self, start: str, end: str, field: str) -> bool:
        """Whether references lead from one route to another: of any kind, for circles may mix them."""
        waits, seen = [start], set[str]()
        while waits:
            one = waits.pop()
            if one == end:
                return True
            if one not in seen:
                seen.add(one)
                waits += [self.routes[one][ours] for ours in FALLBACKS.values() if ours in self.routes.get(one, {})]
        return False

    def others(self) -> None:
        for path, value in self.settings("model_group_alias"):
            for alias, name in value.items() if isinstance(value, dict) else ():
                if isinstance(name, str) and name in self.routes and alias not in self.routes:
                    self.routes[name].setdefault("aliases", []).append(str(alias))
                    self.say("taken", f"{path}.{alias}")
        for path, value in self.settings("cache"):
            if value is True:
                for route in self.routes.values():
                    route["cache"] = {"exact": True}
                self.say("changed", path, "shared within a team and not by all; see routes.NAME.cache.scope")
        for path, value in self.settings("cache_params"):
            ttl = value.get("ttl") if isinstance(value, dict) else None
            if isinstance(ttl, int | float) and all("cache" in route for route in self.routes.values()):
                for route in self.routes.values():
                    route["cache"]["ttl"] = f"{ttl:g}s"
                self.say("taken", f"{path}.ttl")


def translated(tree: Mapping[str, Any]) -> tuple[dict[str, Any], list[Line]]:
    """Ours, and what became of each key of theirs. Raises ConfigError."""
    made = LiteLLM(tree)
    made.models()
    made.reliability()
    made.others()
    return made.result()
