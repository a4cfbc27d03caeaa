"""Files and batches, driven by both vendors' SDKs as they document them, each in an environment of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.processes import KEY, Gateway
from tests.parts import client, client_python

pytestmark = pytest.mark.timeout(90)


@pytest.mark.parametrize("name", [pytest.param(name, marks=client(name)) for name in ("openai", "anthropic")])
def test_the_sdk_of_a_vendor_drives_batches(tidegate: Gateway, name: str) -> None:
    script = Path(__file__).with_name(f"{name}_batches.py")
    environment = {**os.environ, "URL": tidegate.url, "KEY": KEY}
    command = [str(client_python(name)), str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=80)
    assert (done.returncode, done.stdout.strip()) == (0, "ok"), done.stderr
