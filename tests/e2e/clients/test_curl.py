"""curl, as people paste it."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import KEY, Gateway
from tests.parts import debian, local_model

pytestmark = [debian("curl"), pytest.mark.timeout(60)]

CHAT = "/v1/chat/completions"


class Curl:
    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self, path: str, *args: str, input: bytes | None = None) -> str:
        key = ("-H", f"Authorization: Bearer {KEY}", "-H", "Content-Type: application/json")
        command = ["curl", "-sS", "--max-time", "30", *key, *args, self.url + path]
        done = subprocess.run(command, capture_output=True, input=input, timeout=40)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()


@pytest.fixture
def curl(tidegate: Gateway) -> Curl:
    return Curl(tidegate.url)


def body(**fields: Any) -> str:
    return json.dumps({"model": "fast", "messages": [{"role": "user", "content": "hi there"}]} | fields)


def text(answer: str) -> str:
    return str(json.loads(answer)["choices"][0]["message"]["content"])


@local_model()
def test_the_line_that_it_prints_can_be_pasted(tidegate: Gateway) -> None:
    found = re.search(r"(curl http.* -d '.*')", tidegate.said.replace("\\\n", " "))
    assert found, tidegate.said
    environment = {**os.environ, "TIDEGATE_ADMIN_KEY": KEY}
    done = subprocess.run(["sh", "-c", found[1]], capture_output=True, text=True, env=environment, timeout=40)
    assert text(done.stdout)


def test_a_whole_answer_and_a_streamed_one(curl: Curl) -> None:
    assert text(curl(CHAT, "-d", body())) == "You said 2 words: hi there"
    frames = curl(CHAT, "-N", "-d", body(stream=True)).split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""] and all(frame.startswith("data: ") for frame in frames[:-1])


def test_a_stream_is_shown_as_it_comes(curl: Curl) -> None:
    """`curl -N` has the first words long before the last."""
    script = {"text": "first and last", "between": 0.5}
    asked = body(stream=True, metadata={"script": script})
    head = ("-H", f"Authorization: Bearer {KEY}", "-H", "Content-Type: application/json")
    with subprocess.Popen(["curl", "-sSN", *head, "-d", asked, curl.url + CHAT], stdout=subprocess.PIPE) as process:
        assert process.stdout
        while b"first" not in (line := process.stdout.readline()):
            assert line and b"last" not in line
        assert process.poll() is None
        rest = process.stdout.read()
    assert b"last" in rest and process.returncode == 0


def test_a_body_of_two_megabytes_is_announced_and_taken(curl: Curl, tmp_path: Path) -> None:
    """curl says `Expect: 100-continue` then, and waits for leave to go on."""
    file = tmp_path / "body.json"
    file.write_text(body(messages=[{"role": "user", "content": "word " * 400_000}]))
    assert text(curl(CHAT, "-d", f"@{file}")).startswith("You said 400000 words:")
    assert text(curl(CHAT, "-H", "Transfer-Encoding: chunked", "-d", f"@{file}")).startswith("You said 400000 words:")


def test_a_connection_is_used_again(curl: Curl) -> None:
    told = curl(CHAT, "-d", body(), "-o", os.devnull, "-w", "%{num_connects} ", curl.url + CHAT, "-o", os.devnull)
    assert told.split() == ["1", "0"]


def test_heads_methods_and_paths(curl: Curl) -> None:
    head = curl("/health", "-I")
    assert head.startswith("HTTP/1.1 200") and "\r\n\r\n" in head
    status = ("-o", os.devnull, "-w", "%{http_code} %header{allow}")
    assert curl(CHAT, *status) == "405 POST"
    assert curl("/v1/nothing", *status).strip() == "404"


def test_a_compressed_body_is_refused_with_what_to_do(curl: Curl) -> None:
    compressed = gzip.compress(body().encode())
    options = ("-H", "Content-Encoding: gzip", "--data-binary", "@-", "-w", "%{http_code}")
    answer = curl(CHAT, *options, input=compressed)
    assert answer.endswith("415") and "send it plain" in answer


def test_the_guides_endpoint_takes_json_and_query(curl: Curl) -> None:
    said = json.loads(curl("/api/chat", "-d", json.dumps({"user_input": "hi there", "model": "fast"})))
    assert said["response"] == "You said 2 words: hi there" and said["cost_usd"] > 0
    asked = ("--data-urlencode", "user_input=hi there, you & me", "--data-urlencode", "model=fast")
    said = json.loads(curl("/api/chat", "-X", "POST", "-G", *asked))
    assert said["response"] == "You said 5 words: hi there, you & me"


if sys.platform == "win32":
    pytestmark.append(pytest.mark.skip(reason="needs sh"))
