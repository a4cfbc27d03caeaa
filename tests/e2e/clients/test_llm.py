"""Simon Willison's `llm`, in an environment of its own: it knows Tidegate as one more OpenAI-compatible address."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.processes import KEY, Gateway
from tests.parts import client, client_python, local_model

MODELS = """
- {{model_id: tide-small, model_name: small, api_base: "{url}/v1", api_key_name: tidegate}}
- {{model_id: tide-fast, model_name: fast, api_base: "{url}/v1", api_key_name: tidegate, supports_schema: true}}
- {{model_id: tide-gone, model_name: fats, api_base: "{url}/v1", api_key_name: tidegate}}
"""

pytestmark = [client("llm"), pytest.mark.timeout(60)]


class Llm:
    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        (folder / "extra-openai-models.yaml").write_text(MODELS.format(url=url))
        (folder / "keys.json").write_text(json.dumps({"tidegate": KEY}))

    def __call__(self, *args: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "LLM_USER_PATH": str(self.folder)}
        command = [client_python("llm").with_name("llm"), *args]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=50, stdin=subprocess.DEVNULL
        )


@pytest.fixture
def llm(tmp_path: Path, tidegate: Gateway) -> Llm:
    return Llm(tmp_path, tidegate.url)


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@local_model()
def test_a_real_model_answers(llm: Llm) -> None:
    assert said(llm("-m", "tide-small", "-o", "max_tokens", "8", "Say hello."))


@pytest.mark.parametrize("way", ["streamed", "whole"])
def test_it_hears_what_was_said(llm: Llm, way: str) -> None:
    options = ["--no-stream"] if way == "whole" else []
    assert said(llm("-m", "tide-fast", *options, "hi there")) == "You said 2 words: hi there"


def test_a_conversation_goes_on(llm: Llm) -> None:
    said(llm("-m", "tide-fast", "hi there"))
    assert said(llm("-c", "and again now")) == "You said 3 words: and again now"


def test_what_is_wrong_is_shown(llm: Llm) -> None:
    done = llm("-m", "tide-gone", "hi")
    assert done.returncode == 1 and "no model 'fats'; did you mean 'fast'?" in done.stderr
