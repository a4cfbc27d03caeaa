"""One call with a retry, a fallback and a cache miss, as Phoenix and MLflow show it. Both are real: 850 MB each.

TIDEGATE_OBSERVERS=1 ./run test tests/e2e/test_observers.py
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import Gateway, child, gateway, provider
from tests.parts import client_python, optional
from tidegate.core.trace import trace_of

pytestmark = pytest.mark.timeout(300)
START_S = 120.0  # for one of them to be there; both import for half a minute on a busy machine
SEEN_S = 30.0
QUESTION, ANSWER = "Which tide is it?", "It is high tide."
USAGE = {"prompt_tokens": 1200, "completion_tokens": 340, "total_tokens": 1540}
COST_USD = (1200 * 1 + 340 * 2) / 1e6


def free() -> int:
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        found: int = some.getsockname()[1]
        return found


def asked(url: str, body: Any = None) -> Any:
    """JSON; None when there is nobody, or no such thing yet."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
    except OSError:
        return None
    return json.loads(text) if text[:1] in (b"{", b"[") else text.decode()


async def until(url: str, there: Any, seconds: float, body: Any = None) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := there(await asyncio.to_thread(asked, url, body))):
            await asyncio.sleep(0.5)
    return found


def houses(main: str, spare: str, traces: str) -> str:
    return f"""
limits: {{loops: {{policy: "off"}}}}
budgets: {{default_day: 0}}
upstream: {{retry: {{tries: 2, base_s: 0.01, max_s: 0.02}}}}
traces: {{to: [{traces}]}}
providers:
  main: {{type: openai, base_url: "{main}", price: {{input: 5, output: 5}}}}
  spare: {{type: openai, base_url: "{spare}", price: {{input: 1, output: 2}}}}
routes:
  fast:
    targets: [{{provider: main, model: big}}]
    fallback: second
    cache: {{exact: true}}
    store: {{traces: true}}
  second: {{targets: [{{provider: spare, model: small}}]}}
"""


@asynccontextmanager
async def one_call(folder: Path, traces: str) -> AsyncIterator[str]:
    """The id of the trace of a call that failed twice at one provider, and was answered by another."""
    (folder / "main").mkdir()
    (folder / "spare").mkdir()
    async with (
        provider(folder / "main", status=503) as main,
        provider(folder / "spare", text=ANSWER, usage=USAGE) as spare,
        gateway(folder, houses(main.address, spare.address, traces)) as tidegate,
    ):
        yield await told(tidegate)


async def told(tidegate: Gateway) -> str:
    headers = {"x-tidegate-session": "s-17", "x-tidegate-user": "ann"}
    answer = await tidegate.ask(QUESTION, headers=headers)
    assert (answer.status, answer.text) == (200, ANSWER), answer.body
    assert answer.headers["x-tidegate-attempts"] == "3" and answer.headers["x-tidegate-cache"] == "miss"
    return trace_of(answer.headers["x-tidegate-request-id"])


@optional("TIDEGATE_OBSERVERS", "phoenix")
async def test_phoenix_shows_the_call_as_it_was(tmp_path: Path) -> None:
    port = free()
    home = {"PHOENIX_WORKING_DIR": str(tmp_path / "px"), "PHOENIX_HOST": "127.0.0.1", "PHOENIX_PORT": str(port)}
    home |= {"PHOENIX_GRPC_PORT": str(free()), "PHOENIX_TELEMETRY_ENABLED": "false"}
    program = str(client_python("phoenix").parent / "phoenix")
    url = f"http://127.0.0.1:{port}"
    async with child("serve", program=program, **home):
        await until(f"{url}/healthz", lambda found: found is not None, START_S)
        async with one_call(tmp_path, f"{{preset: phoenix, url: '{url}', project: tides}}") as trace_id:
            spans = await until(f"{url}/v1/projects/tides/spans", lambda found: found and found["data"], SEEN_S)
            sessions = await until(f"{url}/v1/projects/tides/sessions", lambda found: found and found["data"], SEEN_S)
            asking = {"query": TOTALS}
            (project,) = await until(f"{url}/graphql", lambda found: totals(found, "tides"), SEEN_S, asking)
    by_id = {span["context"]["span_id"]: span for span in spans}
    assert {span["context"]["trace_id"] for span in spans} == {trace_id}
    (server,) = [span for span in spans if span["parent_id"] not in by_id]
    (ours,) = [span for span in spans if span["parent_id"] == server["context"]["span_id"]]
    attempts = sorted(
        (span for span in spans if span["parent_id"] == ours["context"]["span_id"]),
        key=lambda span: str(span["start_time"]),
    )
    assert (server["name"], ours["name"]) == ("POST /v1/chat/completions", "tidegate chat fast")
    assert [(one["span_kind"], one["status_code"]) for one in attempts] == [*[("LLM", "ERROR")] * 2, ("LLM", "UNSET")]
    said = [one["attributes"] for one in attempts]
    assert [(one["llm.model_name"], one["tidegate.why"]) for one in said] == [
        *[("big", "first"), ("big", "again"), ("small", "fallback")],
    ]
    assert (said[2]["llm.token_count.prompt"], said[2]["llm.token_count.completion"]) == (1200, 340)
    cost = [said[2][f"llm.cost.{kind}"] for kind in ("total", "prompt", "completion")]
    assert cost == pytest.approx([COST_USD, 1200e-6, 680e-6])
    assert QUESTION in said[2]["input.value"] and ANSWER in said[2]["output.value"]
    assert ours["attributes"]["tidegate.cache"] == "miss"
    assert [one["session_id"] for one in sessions] == ["s-17"]
    assert (project["tokenCountTotal"], project["traceCount"]) == (1540, 1), "nothing is counted twice"
    print("Phoenix:", project, [(one["llm.model_name"], one["tidegate.why"]) for one in said], cost)


TOTALS = "{projects {edges {node {name traceCount tokenCountTotal}}}}"


def totals(found: Any, name: str) -> list[Any]:
    nodes = [edge["node"] for edge in found["data"]["projects"]["edges"]] if found and found.get("data") else []
    return [node for node in nodes if node["name"] == name and node["tokenCountTotal"]]


@contextmanager
def house(*command: str, log: Path, **environment: str) -> Iterator[None]:
    """A process that has others of its own; all of them end."""
    with log.open("wb") as said:
        found = subprocess.Popen(
            command, stdout=said, stderr=said, env={**os.environ, **environment}, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(found.pid, signal.SIGKILL)
        found.wait()


READ = """
import json, sys, mlflow
mlflow.set_tracking_uri(sys.argv[1])
found = mlflow.search_traces(locations=["0"], return_type="list", include_spans=True)
print(json.dumps([{
    "id": one.info.trace_id, "state": str(one.info.state), "metadata": one.info.trace_metadata,
    "tokens": one.info.token_usage, "cost": getattr(one.info, "cost", None),
    "request": one.info.request_preview, "response": one.info.response_preview,
    "spans": [{"id": s.span_id, "parent": s.parent_id, "name": s.name, "kind": s.span_type,
               "status": str(s.status.status_code), "said": s.attributes, "asked": s.inputs, "answered": s.outputs,
               "start": s.start_time_ns}
              for s in one.data.spans]} for one in found], default=str))
"""


@optional("TIDEGATE_OBSERVERS", "mlflow")
async def test_mlflow_shows_the_call_as_it_was(tmp_path: Path) -> None:
    port = free()
    url = f"http://127.0.0.1:{port}"
    python = client_python("mlflow")
    store = ("--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", str(tmp_path / "art"))
    args = ("-m", "mlflow", "server", *store, "--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    home = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "DO_NOT_TRACK": "true",
        "PATH": f"{python.parent}:{os.environ['PATH']}",
    }
    with house(str(python), *args, log=tmp_path / "mlflow.log", **home):
        await until(f"{url}/health", lambda found: found is not None, START_S)
        async with one_call(tmp_path, f"{{preset: mlflow, url: '{url}', project: '0'}}") as trace_id:
            trace = await read(python, url, home)
    assert trace["id"].removeprefix("tr-") == trace_id
    assert (trace["metadata"]["mlflow.trace.session"], trace["metadata"]["mlflow.trace.user"]) == ("s-17", "ann")
    assert (trace["tokens"]["input_tokens"], trace["tokens"]["output_tokens"]) == (1200, 340)
    assert json.loads(trace["metadata"]["mlflow.trace.cost"]) == pytest.approx(
        {"input_cost": 1200e-6, "output_cost": 680e-6, "total_cost": COST_USD}
    ), "nothing is counted twice"
    print("MLflow:", trace["metadata"])
    by_id = {span["id"]: span for span in trace["spans"]}
    (server,) = [span for span in trace["spans"] if span["parent"] not in by_id]
    (ours,) = [span for span in trace["spans"] if span["parent"] == server["id"]]
    attempts = sorted((span for span in trace["spans"] if span["parent"] == ours["id"]), key=lambda span: span["start"])
    assert (server["name"], ours["name"]) == ("POST /v1/chat/completions", "tidegate chat fast")
    assert (ours["said"]["tidegate.cache"], ours["said"]["tidegate.retries"]) == ("miss", 1)
    assert [(one["kind"], one["said"]["mlflow.llm.model"], one["said"]["tidegate.why"]) for one in attempts] == [
        *[("CHAT_MODEL", "big", "first"), ("CHAT_MODEL", "big", "again"), ("CHAT_MODEL", "small", "fallback")],
    ]
    assert [one["status"].rpartition(".")[2] for one in attempts] == ["ERROR", "ERROR", "UNSET"]
    assert attempts[2]["asked"][0]["parts"] == [{"type": "text", "content": QUESTION}]
    assert attempts[2]["answered"][0]["parts"] == [{"type": "text", "content": ANSWER}]


async def read(python: Path, url: str, home: dict[str, str]) -> Any:
    """The trace, as its own client has it."""
    async with asyncio.timeout(SEEN_S * 2):
        while True:
            async with child("-c", READ, url, program=str(python), **home) as reader:
                found = json.loads(await reader.says(r"(?m)^(\[.*\])$"))
            if found and found[0]["spans"]:
                return found[0]
            await asyncio.sleep(1)
