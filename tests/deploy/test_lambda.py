"""Does a Lambda answer? Its handler, called as it is, and (TIDEGATE_DEPLOY=1) by AWS's own runtime client on a stub."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.e2e.processes import KEY, PATIENCE_S, child, provider
from tests.parts import ROOT, client_python, optional

FOLDER = ROOT / "deploy" / "lambda"
CALLED = """
import json, sys, handler
for line in sys.stdin: print("answered " + json.dumps(handler.handler(json.loads(line), None)), flush=True)
"""
HOUSE = """
storage: {{data_dir: "{data}"}}
providers: {{main: {{type: openai, base_url: "{main}", price: {{input: 1, output: 2}}}}}}
routes: {{fast: {{targets: [{{provider: main, model: m}}]}}}}
"""


def event(method: str, path: str, **body: Any) -> dict[str, Any]:
    """What a function URL sends, version 2.0, as far as anybody reads it."""
    http = {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.7", "userAgent": "test"}
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"authorization": f"Bearer {KEY}", "content-type": "application/json", "host": "x.on.aws"},
        "requestContext": {"domainName": "x.on.aws", "http": http},
        "body": json.dumps(body) if body else "",
        "isBase64Encoded": False,
    }


ASK = event("POST", "/v1/chat/completions", model="fast", messages=[{"role": "user", "content": "hi"}])
STREAM = event("POST", "/v1/chat/completions", model="fast", stream=True, messages=[{"role": "user", "content": "ho"}])
EVENTS = [ASK, STREAM, event("GET", "/v1/nothing-is-here"), event("GET", "/health")]


def judge(answers: list[dict[str, Any]]) -> None:
    whole, stream, unknown, health = answers
    assert whole["statusCode"] == 200 and json.loads(whole["body"])["choices"][0]["message"]["content"]
    assert stream["statusCode"] == 200 and stream["body"].endswith("data: [DONE]\n\n")
    assert unknown["statusCode"] >= 400 and "error" in json.loads(unknown["body"])
    assert health["statusCode"] == 200 and health["headers"]["content-type"] == "application/json"


def environment(folder: Path, main: str) -> dict[str, str]:
    (folder / "tidegate.yaml").write_text(HOUSE.format(data=folder / "data", main=main))
    return {"TIDEGATE_CONFIG": str(folder / "tidegate.yaml"), "TIDEGATE_ADMIN_KEY": KEY, "PYTHONPATH": str(FOLDER)}


async def test_its_handler_answers_calls_whole_and_stores_their_rows(tmp_path: Path) -> None:
    async with provider(tmp_path) as main:
        ours = {**os.environ, **environment(tmp_path, main.address)}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", CALLED), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=ours
        )
        asked = "".join(json.dumps(one) + "\n" for one in EVENTS).encode()
        async with asyncio.timeout(2 * PATIENCE_S):
            said, _ = await process.communicate(asked)
        marked = [line.removeprefix("answered ") for line in said.decode().splitlines() if line.startswith("answered")]
        judge([json.loads(line) for line in marked])


class Stub:
    """The runtime API: hands out events one after the other, and keeps what is answered."""

    def __init__(self) -> None:
        self.left = list(EVENTS)
        self.answers: list[dict[str, Any]] = []
        self.done = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode().lower():
                body = await self._body(reader, head)
                if "/invocation/next" in head:
                    self._next(writer)
                else:
                    self._keep(head, body, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _body(self, reader: asyncio.StreamReader, head: str) -> bytes:
        lengths = [line.split(": ")[1] for line in head.splitlines() if line.startswith("content-length")]
        return await reader.readexactly(int(lengths[0])) if lengths else b""

    def _next(self, writer: asyncio.StreamWriter) -> None:
        if not self.left:
            return self.done.set()  # the next one never comes
        body = json.dumps(self.left.pop(0)).encode()
        head = f"lambda-runtime-aws-request-id: r{len(self.left)}\r\nlambda-runtime-deadline-ms: 99999999999999\r\n"
        head += "lambda-runtime-invoked-function-arn: arn:aws:lambda:x:0:function:t\r\ncontent-type: application/json"
        writer.write(f"HTTP/1.1 200 OK\r\n{head}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        return None

    def _keep(self, head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        assert "/response" in head.splitlines()[0], body
        self.answers.append(json.loads(body))
        writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")


@optional("TIDEGATE_DEPLOY", "deploy")
async def test_the_runtime_client_of_aws_gets_an_answer_to_each_invocation(tmp_path: Path) -> None:
    stub = Stub()
    listener = await asyncio.start_server(stub, "127.0.0.1", 0)
    address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    client = next((client_python("deploy").parent.parent / "lib").glob("python*/site-packages"))
    async with provider(tmp_path) as main:
        env = environment(tmp_path, main.address)
        env |= {"AWS_LAMBDA_RUNTIME_API": address, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024"}
        env["PYTHONPATH"] = os.pathsep.join((env["PYTHONPATH"], str(client)))  # behind our own packages
        async with child("-m", "awslambdaric", "handler.handler", **env) as running:
            waiting = asyncio.ensure_future(stub.done.wait())
            await asyncio.wait([waiting], timeout=2 * PATIENCE_S)
            assert waiting.done(), running.said
    listener.close()
    judge(stub.answers)
