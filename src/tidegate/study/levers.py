"""What can be switched on to save money, time and calls? Configurations of the gateway that differ in that alone."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, NamedTuple

from tidegate.study.texts import CANARY
from tidegate.study.vendors import DISCOUNT, MAIN, SMALL, SPARE, STRONG, Model

LEVERS = {  # in the order in which they are added
    "cache": "the exact cache and single flight",
    "semantic": "the semantic cache",
    "routing": "a small model for what is easy",
    "compression": "fewer tokens of retrieved records",
    "resilience": "retries, breaker, fallback, hedges",
    "limits": "limits, budgets, loops, guards",
    "batches": "a provider's own batches for analytics",
}
MAX_ERROR = "2%"  # of the semantic cache
STRONG_SHARE = "3%"  # of the questions that nothing was kept of
SHRUNK = "50%"
HEDGE_AFTER = 0.7  # of the time that half of a model's answers take, without a first word

LOOK_S = 15.0  # after a batch was handed over


class Arm(NamedTuple):
    """`levers` None: no gateway at all; the client asks the provider's strong model itself, once."""

    name: str
    levers: frozenset[str] | None


NAIVE = Arm("naive", None)


def alone() -> list[Arm]:
    return [Arm(f"only {name}", frozenset({name})) for name in LEVERS]


def together() -> list[Arm]:
    """Each with one lever more than the one before; the last has all."""
    names = list(LEVERS)
    return [Arm(f"+ {name}", frozenset(names[: at + 1])) for at, name in enumerate(names)]


EVERYTHING = together()[-1]


def configuration(levers: Collection[str], main: str, spare: str, pace: float, workers: int = 1) -> str:
    """For `tidegate serve`. Waits are divided by `pace`, as the providers' are."""
    routes = _models(levers, pace)
    tiers = {"tiers": {"small": "small", "large": "large"}, "router": {"strong_share": STRONG_SHARE}}
    asked: dict[str, Any] = tiers if "routing" in levers else routes["large"]
    simple: dict[str, Any] = routes["small" if "routing" in levers else "large"]
    cache = _cache(levers)
    shrink = {"shrink": {"level": "relevant", "target": SHRUNK}} if "compression" in levers else {}
    routes |= {
        "support": {**asked, **cache},
        "documents": {**simple, **cache, **shrink},
        "analytics": simple,
        "agent": routes["large"],
    }
    whole: dict[str, Any] = {
        "api": {"workers": workers},
        "logs": {"calls": False},
        "cache": {"kept": "process"},
        "batches": {"at_once": 8},
        "limits": {"loops": {"policy": "off"}},
        "budgets": {"default_day": 0},
        "upstream": _patience(levers, pace),
        "providers": {"main": _provider(main, MAIN[0], levers, pace), "spare": _provider(spare, SPARE[0], (), pace)},
        "routes": routes,
    }
    if "limits" in levers:
        whole |= {
            "limits": {
                "loops": {"policy": "stop", "wait": f"{0.5 / pace}s"},
                "per_end_user": [{"of": "requests", "most": 100, "per": "1h"}],
            },
            "budgets": {"default_day": 5.0},
            "guardrails": _guards(),
        }
    return json.dumps(whole, indent=1)


def _provider(address: str, model: Model, levers: Collection[str], pace: float) -> dict[str, Any]:
    known: dict[str, Any] = {"type": "openai", "base_url": address, "vendor": model.vendor}
    terms = {"discount": float(DISCOUNT), "look": f"{LOOK_S / pace}s"}
    return known | ({"batch": terms} if "batches" in levers else {})


def _models(levers: Collection[str], pace: float) -> dict[str, Any]:
    """A route for each size, at both providers where one may stand in for the other."""
    found: dict[str, Any] = {}
    for name, at in (("small", SMALL), ("large", STRONG)):
        targets = [{"provider": "main", "model": MAIN[at].name, "order": 1}]
        if "resilience" in levers:
            targets.append({"provider": "spare", "model": SPARE[at].name, "order": 2})
        found[name] = {"targets": targets}
        if "resilience" in levers:
            found[name]["hedge"] = {"after": f"{HEDGE_AFTER * MAIN[at].median_s / pace}s", "max_extra": "10%"}
    return found


def _patience(levers: Collection[str], pace: float) -> dict[str, Any]:
    if "resilience" not in levers:
        return {"retry": {"tries": 1}, "breaker": {"enabled": False}}
    return {
        "retry": {"tries": 3, "base_s": 0.1 / pace, "max_s": 5.0 / pace},
        "breaker": {"window": f"{30 / pace}s", "open_for": f"{10 / pace}s"},
    }


def _cache(levers: Collection[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "cache" in levers:
        found |= {"exact": True, "single_flight": True, "ttl": "24h"}
    if "semantic" in levers:
        found |= {"semantic": {"max_error": MAX_ERROR}}
    return {"cache": found} if found else {}


def _guards() -> dict[str, Any]:
    return {
        "input": [
            {"type": "injection", "action": "block"},
            {"type": "secrets", "action": "mask"},
            {"type": "pii", "action": "placeholder"},
        ],
        "output": [{"type": "secrets", "action": "mask", "canaries": [CANARY]}],
    }
