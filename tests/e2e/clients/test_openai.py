"""The openai SDK, in an environment of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.processes import KEY, Gateway
from tests.parts import client, client_python, local_model

SCRIPT = Path(__file__).with_name("openai_sdk.py")
CASES = re.findall(r"^def (\w+)\(\) -> None", SCRIPT.read_text(encoding="utf-8"), re.MULTILINE)
SMALL = [name for name in CASES if name.startswith("small_")]
OTHERS = [name for name in CASES if name not in SMALL]

pytestmark = [client("openai"), pytest.mark.timeout(90)]


def ask(tidegate: Gateway, names: list[str]) -> dict[str, str]:
    environment = {**os.environ, "URL": tidegate.url, "KEY": KEY}
    command = [str(client_python("openai")), str(SCRIPT), *names]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=80)
    assert done.returncode == 0, done.stderr
    results: dict[str, str] = json.loads(done.stdout)
    return results


@pytest.fixture(scope="module")
def small(tidegate: Gateway) -> dict[str, str]:
    return ask(tidegate, SMALL)


@pytest.fixture(scope="module")
def others(tidegate: Gateway) -> dict[str, str]:
    return ask(tidegate, OTHERS)


@local_model()
@pytest.mark.parametrize("case", SMALL)
def test_a_real_model_answers(small: dict[str, str], case: str) -> None:
    assert small[case] == "ok", small[case]


@pytest.mark.parametrize("case", OTHERS)
def test_the_sdk_is_understood_and_understands(others: dict[str, str], case: str) -> None:
    assert others[case] == "ok", others[case]
