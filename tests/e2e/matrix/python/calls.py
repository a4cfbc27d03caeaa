"""What does a client make of each target? Runs its calls one after the other, and prints a line of JSON for each.

TARGETS='[{"name": "bare", "url": "http://…", "key": "…", "model": "…"}]' python openai_sdk.py
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

ASKED: Any = json.loads((Path(__file__).parent.parent / "asked.json").read_text(encoding="utf-8"))
TIMEOUT_S = 120.0  # of one call: the model may be slow, and the machine busy


class Target(NamedTuple):
    name: str
    url: str  # without /v1
    key: str
    model: str


Call = Callable[[Target], Any]  # what it returns is compared, and may be awaited


def run(client: str, package: str, *calls: Call) -> None:
    """Every call to every target: `ok` and what came of it, or the class of the error and its status."""
    targets = [Target(**one) for one in json.loads(os.environ["TARGETS"])]
    said = f"{package} {version(package)}"
    with asyncio.Runner() as runner:
        for call in calls:
            for target in targets:
                line = {"client": client, "version": said, "call": call.__name__, "target": target.name}
                print(json.dumps(line | _outcome(call, target, runner)), flush=True)


def _outcome(call: Call, target: Target, runner: asyncio.Runner) -> dict[str, Any]:
    try:
        told = call(target)
        return {"ok": True, "told": runner.run(told) if inspect.iscoroutine(told) else told}
    except Exception as error:  # noqa: BLE001 its class is what is compared
        return {"ok": False, "error": type(error).__name__, "status": _status(error), "said": str(error)[:300]}


def _status(error: BaseException | None) -> int | None:
    """Of the response, also where a framework has wrapped what its client raised."""
    while error is not None:
        found = getattr(error, "status_code", None)
        if isinstance(found, int):
            return found
        error = error.__cause__
    return None


def tools_of(calls: Any) -> list[list[Any]]:
    """Names and arguments, as objects whatever they came as."""
    return [[name, json.loads(given) if isinstance(given, str) else given] for name, given in calls]
