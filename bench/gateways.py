"""Who is measured? The mock itself, Tidegate, any URL, and three others, each set up as its makers advise.

LiteLLM: one worker, a master key, no database, its price list from the package, `LITELLM_MODE=PRODUCTION`. Portkey:
headless. TensorZero: the Rust gateway in its Python package, no observability, no keys. Tidegate: keys, routing, ledger
and metrics on, as they are by default; without a line in the log for every call.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import environments
from bench.environments import Installed
from bench.procs import Child, Unavailable, free_port

PATH = "/v1/chat/completions"


@dataclass(frozen=True)
class Running:
    """A gateway that has answered, and how it is asked."""

    name: str
    url: str
    model: str
    headers: Mapping[str, str] = field(default_factory=dict)
    child: Child | None = None  # None: not ours to count
    keeps_bytes: bool = False  # it passes on what the provider said, to the byte
    version: str = ""
    start_s: float | None = None  # from its start to its first answer
    installed: Installed | None = None

    def body(self, prompt: str, *, stream: bool = False) -> bytes:
        more: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        asked = {"model": self.model, "messages": [{"role": "user", "content": prompt}], "max_tokens": 64, **more}
        return json.dumps(asked).encode()


@dataclass(frozen=True)
class Place:
    """Where a gateway is started: the provider it shall ask, a folder of its own, and who ends it."""

    provider: str  # base URL, with /v1
    folder: Path
    undo: ExitStack

    def child(self, name: str, command: Sequence[str | Path], **environment: str) -> Child:
        words = [str(word) for word in command]
        child = Child(name, words, self.folder / name, environments.clean(**environment))
        self.undo.callback(child.stop)
        return child

    def write(self, name: str, file: str, text: str) -> Path:
        path = self.folder / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


def direct(place: Place) -> Running:
    return Running("direct", place.provider + "/chat/completions", "mock", keeps_bytes=True)


def tidegate(place: Place) -> Running:
    port = free_port()
    provider = {"type": "openai", "base_url": place.provider, "keys": ["sk-mock"], "price": {"input": 1, "output": 2}}
    return start_tidegate(place, "tidegate", port, provider)


def start_tidegate(
    place: Place, name: str, port: int, provider: Mapping[str, Any], cache: Mapping[str, Any] | None = None
) -> Running:
    """`tidegate serve` with one provider, and a key from its store; JSON is YAML. `cache`: of a route `kept`."""
    routes: dict[str, Any] = {"fast": {"targets": [{"provider": "main", "model": "mock"}]}}
    if cache is not None:
        routes["kept"] = {**routes["fast"], "cache": cache}
    config = {
        "api": {"port": port},
        "storage": {"data_dir": str(place.folder / name / "data")},
        "logs": {"calls": False},
        "providers": {"main": provider},
        "routes": routes,
        # Keys, routing, ledger and metrics are on, as with the others. What limits, budgets and the look for loops cost
        # is the bench `admission`'s to say.
        "limits": {"loops": {"policy": "off"}},
        "budgets": {"default_day": 0},
    }
    file = place.write(name, "tidegate.yaml", json.dumps(config))
    command = [sys.executable, "-m", "tidegate.cli"]
    made = subprocess.run(
        [*command, "keys", "create", "--config", str(file)], capture_output=True, text=True, timeout=30,
        cwd=file.parent, env=environments.importing_ours(),
    )  # fmt: skip
    if made.returncode:
        raise Unavailable(f"tidegate keys create failed: {made.stderr.strip()[-300:]}")
    child = place.child(name, [*command, "serve", "--config", file], **environments.importing_ours())
    running = Running(
        name, f"http://127.0.0.1:{port}{PATH}", "fast", _bearer(made.stdout.strip()), child, keeps_bytes=True,
        version=metadata.version("tidegate") if _is_installed("tidegate") else "from the source tree",
        installed=environments.base(),
    )  # fmt: skip
    return _answering(running, 20)


def bare(place: Place) -> Running:
    """The least that a proxy does: what ours is measured by in the gate."""
    port = free_port()
    command = [sys.executable, "-m", "bench.reference", str(port), place.provider + "/chat/completions"]
    child = place.child("bare", command, **environments.importing_ours())
    return _answering(Running("bare", f"http://127.0.0.1:{port}{PATH}", "mock", child=child, keeps_bytes=True), 20)


def litellm(place: Place) -> Running:
    python, port = environments.python("litellm"), free_port()
    parameters = {"model": "openai/mock", "api_base": place.provider, "api_key": "sk-mock"}
    config = {
        "model_list": [{"model_name": "mock", "litellm_params": parameters}],
        "general_settings": {"master_key": "sk-bench"},
    }
    file = place.write("litellm", "config.yaml", json.dumps(config))
    command: list[str | Path] = [
        python.parent / "litellm",
        "--config",
        file,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
    child = place.child("litellm", [*command, "--num_workers", "1"], **environment)
    url = f"http://127.0.0.1:{port}{PATH}"
    home = python.parent.parent
    return _answering(
        Running("litellm", url, "mock", _bearer("sk-bench"), child,
                version=_version(home, "litellm"), installed=environments.weighed(home))
    )  # fmt: skip


def portkey(place: Place) -> Running:
    home, port = environments.node("portkey"), free_port()
    package = home / "node_modules" / "@portkey-ai" / "gateway"
    command: list[str | Path] = ["node", package / "build" / "start-server.js", f"--port={port}", "--headless"]
    child = place.child("portkey", command, NODE_ENV="production", TRUSTED_CUSTOM_HOSTS="127.0.0.1")
    headers = {**_bearer("sk-mock"), "x-portkey-provider": "openai", "x-portkey-custom-host": place.provider}
    version = str(json.loads((package / "package.json").read_text())["version"])
    url = f"http://127.0.0.1:{port}{PATH}"
    return _answering(
        Running("portkey", url, "mock", headers, child, version=version, installed=environments.weighed(home))
    )


TENSORZERO = """
import sys, threading
from tensorzero.tensorzero import _start_http_gateway as start
kept = start(config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False)
print("listening at", kept.base_url, flush=True)
threading.Event().wait()
"""

TENSORZERO_CONFIG = """
[gateway]
observability.enabled = false
auth.enabled = false
[models.mock]
routing = ["mock"]
[models.mock.providers.mock]
type = "openai"
api_base = "{provider}/"
model_name = "mock"
api_key_location = "none"
"""


def tensorzero(place: Place) -> Running:
    python = environments.python("tensorzero")
    file = place.write("tensorzero", "tensorzero.toml", TENSORZERO_CONFIG.format(provider=place.provider))
    child = place.child("tensorzero", [python, "-c", TENSORZERO, file])
    base = child.until(lambda: _group(r"listening at (\S+)", child.said()))
    home = python.parent.parent
    return _answering(
        Running("tensorzero", f"{base}/chat/completions", "tensorzero::model_name::mock", child=child,
                version=_version(home, "tensorzero"), installed=environments.weighed(home))
    )  # fmt: skip


def url(address: str, key: str | None, model: str) -> Callable[[Place], Running]:
    """Any gateway that runs already and asks who it will; what it costs is not ours to count."""

    def start(place: Place) -> Running:
        return _answering(Running("url", address.rstrip("/"), model, _bearer(key) if key else {}), patience_s=5)

    return start


PEERS: dict[str, Callable[[Place], Running]] = {"litellm": litellm, "portkey": portkey, "tensorzero": tensorzero}
GATEWAYS: dict[str, Callable[[Place], Running]] = {"direct": direct, "tidegate": tidegate, **PEERS}


def _answering(running: Running, patience_s: float = 90.0) -> Running:
    """Ask until it answers 200. Raises Unavailable."""
    child, said = running.child, ""
    began = child.began if child else time.monotonic()

    def answer() -> str | None:
        nonlocal said
        try:
            status, body = post(running.url, running.headers, running.body("Are you there?"))
        except (OSError, http.client.HTTPException) as error:
            said = repr(error)
            return None
        said = f"{status} {body[-300:].decode('utf-8', 'replace')}"
        return "yes" if status == 200 else None

    if child:
        try:
            child.until(answer, patience_s)
        except Unavailable as why:
            raise Unavailable(f"{why}; what it answered last: {said}") from None
    elif answer() is None:
        raise Unavailable(f"{running.url} does not answer a call: {said}")
    return replace(running, start_s=time.monotonic() - began if child else None)


def post(address: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    where = urlsplit(address)
    connection = http.client.HTTPConnection(where.hostname or "", where.port or 80, timeout=20)
    try:
        connection.request("POST", where.path, body, {**headers, "content-type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def _group(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found[1] if found else None


def _version(home: Path, name: str) -> str:
    found = next((home / "lib").glob(f"python*/site-packages/{name}-*.dist-info"), None)
    return found.name.split("-")[1].removesuffix(".dist") if found else "unknown"


def _is_installed(name: str) -> bool:
    return next(iter(metadata.distributions(name=name)), None) is not None
