"""Planted words: what people say, who they are and what keys there are is found in no raw file and on no page.

Everything is on that could keep something: rows, bodies, audit log, caches, outcomes, logs of calls. One process is
killed in the middle, so that its spool is among what is looked through.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import KEY, Gateway, Provider, gateway, provider
from tests.valkey import Valkey

BIRD = "canarybird"
CONFIG = """
limits: {{loops: {{policy: "off"}}}}
budgets: {{default_day: 0}}
providers:
  main: {{type: openai, base_url: "{address}", keys: ["env:PROVIDER_KEY"], price: {{input: 1, output: 2}}}}
routes:
  fast:
    targets: [{{provider: main, model: m}}]
    cache: {{exact: true, single_flight: true}}
    store: {{prompts: true, replies: true}}
    guardrails:
      input: [{{type: pii, action: placeholder}}]
      output: [{{type: pii, action: mask}}]
{vault}
audit: {{enabled: true, checkpoint: 1s, export: ["{heads}"]}}
{more}
"""


class Planted:
    """Words that stand nowhere else in the world, by what they are."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def __call__(self, what: str, form: str = "{}") -> str:
        self.words[what] = word = form.format(f"{BIRD}{secrets.token_hex(8)}")
        return word

    def found(self, raw: bytes) -> list[str]:
        """Which of them stand in `raw`, as they are or in a usual disguise."""
        none = not any(form in raw for form in disguises(BIRD))  # looked for first: it is quicker
        words = {what: word for what, word in self.words.items() if BIRD not in word or not none}
        return [what for what, word in words.items() if any(form in raw for form in disguises(word))]


def disguises(word: str) -> Iterator[bytes]:
    plain = word.encode()
    yield plain
    yield plain.hex().encode()
    yield word.encode("utf-16-le")
    for lead in range(3):  # within base64, wherever it begins
        whole = base64.b64encode(b"x" * lead + plain)
        yield whole[4 if lead else 0 : len(whole) - 4]
        yield base64.urlsafe_b64encode(b"x" * lead + plain)[4 if lead else 0 : len(whole) - 4]


def test_a_planted_word_is_found_in_every_disguise():
    planted = Planted()
    word = planted("it")
    for lead in range(5):
        assert planted.found(base64.b64encode(b"a" * lead + word.encode() + b"more")) == ["it"]
    assert planted.found(b"..." + word.encode() + b"...") == ["it"] and planted.found(BIRD.encode()) == []


async def all_that_people_do(tidegate: Gateway, plant: Planted, provider_key: str) -> None:
    """Calls that are answered, streamed, repeated, refused and broken; each with words of its own."""
    headers = {
        "x-tidegate-user": plant("user"),
        "x-tidegate-session": plant("session"),
        "x-tidegate-tags": plant("tag"),
        "x-secret-header": plant("header"),
    }
    for stream in (False, True):
        mail, reply = plant(f"e-mail {stream}", "{}@example.com"), plant(f"reply {stream}")
        script = {"text": f"{reply}, and write to eve@example.org"}
        prompt = f"{plant(f'prompt {stream}')}, write to {mail}"
        for _ in range(2):  # the second from the cache
            answer = await tidegate.ask(prompt, stream=stream, headers=headers, metadata={"script": script})
            assert answer.status == 200 and reply in answer.text
    once, question = headers | {"idempotency-key": secrets.token_hex(8)}, plant("asked once")
    outcome = {"script": {"text": plant("outcome")}}
    for _ in range(2):
        answer = await tidegate.ask(question, headers=once, metadata=outcome)
        assert answer.status == 200 and plant.words["outcome"] in answer.text
    opinion = {"request_id": answer.headers["x-tidegate-request-id"], "thumbs": "up", "comment": plant("comment")}
    said = await tidegate.begin("/v1/feedback", body=json.dumps(opinion).encode()).answer()
    assert said.status < 300, said.body
    echo = {"status": 400, "body": json.dumps({"error": {"message": f"{plant('said back')} {provider_key}"}})}
    answer = await tidegate.ask(plant("refused"), headers=headers, metadata={"script": echo})
    assert answer.status == 400 and provider_key.encode() not in answer.body
    down = {"status": 503, "body": json.dumps({"error": {"message": plant("of a provider that is ill")}})}
    hurried = headers | {"x-tidegate-timeout-ms": "300"}  # or it is tried again for a while
    assert (await tidegate.ask(plant("failed"), headers=hurried, metadata={"script": down})).status >= 500
    cut = {"text": f"{plant('cut')} and more", "cut_off": 2}
    await tidegate.ask(plant("of a broken answer"), stream=True, headers=headers, metadata={"script": cut})
    assert (await tidegate.begin(f"/v1/models?x={plant('query')}", "GET", headers=headers).answer()).status == 200
    bad = await tidegate.begin(body=b'{"messages": "' + plant("not JSON").encode(), headers=headers).answer()
    assert bad.status == 400
    refused = await tidegate.begin(
        body=b"{}", headers={"authorization": f"Bearer {plant('wrong key', 'tg_live_{}')}"}
    ).answer()
    assert refused.status == 401 and plant.words["wrong key"].encode() not in refused.body


async def made_key(tidegate: Gateway, plant: Planted) -> None:
    answer = await tidegate.begin("/admin/keys", body=json.dumps({"name": "ci"}).encode()).answer()
    text = answer.json["key"]
    plant.words["key"] = text
    plant.words["secret part of a key"] = text.split("_")[-2]  # behind it is a checksum, short enough to stand anywhere


def looked_through(folder: Path, plant: Planted, since: float = 0) -> dict[str, list[str]]:
    """Every file below that was written since then, and what stands in it that must not."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.stat().st_mtime >= since]
    assert files
    return {file.name: found for file in files if (found := plant.found(file.read_bytes()))}


def configured(main: Provider, folder: Path, more: str) -> str:
    return CONFIG.format(address=main.address, heads=folder / "heads", vault='vault: {keys: ["env:KEK"]}', more=more)


async def test_without_a_key_what_was_said_is_found_so_the_search_can_see(tmp_path: Path) -> None:
    plant = Planted()
    (tmp_path / "gateway").mkdir()
    async with provider(tmp_path) as main:
        config = CONFIG.format(address=main.address, heads=tmp_path / "heads", vault="", more="")
        async with gateway(tmp_path / "gateway", config, PROVIDER_KEY=plant("provider key", "sk-{}")) as tidegate:
            await all_that_people_do(tidegate, plant, plant.words["provider key"])
            await tidegate.stop()
    found = {what for some in looked_through(tidegate.data, plant).values() for what in some}
    assert found >= {"user", "session", "tag", "prompt True", "reply False", "outcome", "asked once"}
    assert not {"provider key", "wrong key", "header", "query", "not JSON", "e-mail True"} & found


@pytest.mark.parametrize("home", ["sqlite", "postgres"])
async def test_nothing_that_was_planted_is_found_where_it_must_not_be(
    tmp_path: Path, home: str, request: pytest.FixtureRequest
) -> None:
    plant, began = Planted(), time.time() - 1
    provider_key, kek = plant("provider key", "sk-{}"), secrets.token_hex(32)
    plant.words["key-encrypting key"] = kek
    environment: dict[str, Any] = {"PROVIDER_KEY": provider_key, "KEK": kek}
    server = request.getfixturevalue("postgres_server") if home == "postgres" else None
    more = f"storage: {{database: '{request.getfixturevalue('postgres')}'}}\n" if home == "postgres" else ""
    (tmp_path / "gateway").mkdir()
    async with provider(tmp_path) as main:
        config = configured(main, tmp_path, more)
        async with gateway(tmp_path / "gateway", config, **environment) as tidegate:
            await made_key(tidegate, plant)
            await all_that_people_do(tidegate, plant, provider_key)
            page = (await tidegate.get("/metrics")).body
            await tidegate.kill()
        shutil.copytree(tidegate.data, tmp_path / "killed")
        logs = tidegate.said
        async with gateway(tmp_path / "gateway", config, **environment) as tidegate:
            page += (await tidegate.get("/metrics")).body
            await tidegate.stop()
        logs += tidegate.said
    assert plant.found(page) == [] and plant.found(logs.encode()) == []
    assert looked_through(tmp_path / "killed", plant) == {}
    assert looked_through(tidegate.data, plant) == {}
    assert plant.found((tmp_path / "heads").read_bytes()) == []
    if server is not None:
        server.stop()
        try:
            assert looked_through(server.folder / "data" / "base", plant, began) == {}
            assert looked_through(server.folder / "data" / "pg_wal", plant, began) == {}
        finally:
            server.start()
    plant.words = {"the admin key of the environment": KEY}
    assert looked_through(tidegate.data, plant) == {}


async def test_nothing_that_was_planted_is_found_in_valkey_its_files_and_its_memory(
    tmp_path: Path, own_valkey: Valkey
) -> None:
    plant, control = Planted(), Planted()
    control.words["it"] = secrets.token_hex(16)
    environment = {"PROVIDER_KEY": plant("provider key", "sk-{}"), "KEK": secrets.token_hex(32)}
    own_valkey.ask("CONFIG", "SET", "appendonly", "yes", "rdbcompression", "no")
    (tmp_path / "gateway").mkdir()
    async with provider(tmp_path) as main:
        config = configured(main, tmp_path, f'storage: {{valkey: "{own_valkey.url}"}}')
        async with gateway(tmp_path / "gateway", config, **environment) as tidegate:
            await made_key(tidegate, plant)
            await all_that_people_do(tidegate, plant, plant.words["provider key"])
            own_valkey.ask("SET", "it", control.words["it"])
            assert own_valkey.ask("SAVE").startswith(b"+OK")
            memory = own_valkey.memory()
            await tidegate.stop()
    files = [tmp_path / "dump.rdb", *(tmp_path / "appendonlydir").iterdir()]
    everything = memory, *(file.read_bytes() for file in files)
    assert len(everything) >= 4 and own_valkey.ask("DBSIZE") > b":5"
    for raw in everything:
        assert plant.found(raw) == [], raw[max(raw.find(b"canarybird") - 200, 0) :][:300]
    assert [control.found(raw) for raw in everything].count(["it"]) >= 3  # the search can see


async def test_nothing_that_was_planted_is_found_in_what_a_crash_leaves(tmp_path: Path) -> None:
    plant, began = Planted(), time.time() - 1
    environment = {"PROVIDER_KEY": plant("provider key", "sk-{}"), "KEK": secrets.token_hex(32)}
    (tmp_path / "gateway").mkdir()
    async with provider(tmp_path) as main:
        config = configured(main, tmp_path, "")
        async with gateway(tmp_path / "gateway", config, PYTHONFAULTHANDLER="1", **environment) as tidegate:
            await all_that_people_do(tidegate, plant, plant.words["provider key"])
            script = {"text": f"well then {plant('half an answer')}", "between": "2s"}
            asking = tidegate.asking(plant("asked when it crashed"), stream=True, metadata={"script": script})
            await asking.heard("well")
            limits = Path(f"/proc/{tidegate.pid}/limits").read_text()
            tidegate.send(signal.SIGABRT)
            await tidegate.ends()
            await asking.leave()
    assert re.search(r"Max core file size +0 ", limits)
    assert "Fatal Python error: Aborted" in tidegate.said
    assert plant.found(tidegate.said.encode()) == []
    assert looked_through(tmp_path / "gateway", plant, began) == {}
