"""kill -9 in the middle of a batch, again and again: each line has one result, paid twice only if under way.

A few hundred lines; TIDEGATE_BATCHES=1 for ten thousand.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import Gateway, behind, gateway, kept, provider
from tests.e2e.storm.places import JUMPING
from tests.jobs.batches.vendor import Vendor

MANY = "TIDEGATE_BATCHES" in os.environ
LINES, KILLS, AT_ONCE = (10_000, 5, 32) if MANY else (300, 2, 16)
LATENCY_S = 0.05
CHAT = "/v1/chat/completions"

pytestmark = pytest.mark.timeout(600 if MANY else 300)


def question(number: int) -> bytes:
    body = {"model": "fast", "messages": [{"role": "user", "content": f"question {number}"}]}
    return json.dumps({"custom_id": f"q{number}", "method": "POST", "url": CHAT, "body": body}).encode()


async def begin(tidegate: Gateway, lines: int) -> str:
    content = b"\n".join(map(question, range(lines)))
    form = b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x\r\n'
    form += b'content-disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n' + content + b"\r\n--x--\r\n"
    headers = {"content-type": "multipart/form-data; boundary=x"}
    file = (await tidegate.begin("/v1/files", body=form, headers=headers).answer()).json["id"]
    asked = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
    answer = await tidegate.begin("/v1/batches", body=json.dumps(asked).encode()).answer()
    return str(answer.json["id"])


async def batch(tidegate: Gateway, id: str) -> Any:
    return (await tidegate.get(f"/v1/batches/{id}")).json


async def answered(tidegate: Gateway, id: str, most: int) -> int:
    """Wait until so many lines are, or the batch has ended."""
    while True:
        found = await batch(tidegate, id)
        if found["request_counts"]["completed"] >= most or found["status"] == "completed":
            return int(found["request_counts"]["completed"])
        await asyncio.sleep(0.02)


async def results(tidegate: Gateway, file: str) -> list[Any]:
    answer = await tidegate.get(f"/v1/files/{file}/content")
    return [json.loads(line) for line in answer.body.splitlines()]


async def test_whatever_dies_each_line_has_one_result(tmp_path: Path) -> None:
    async with provider(tmp_path, before=LATENCY_S) as main:
        config = behind(main, more=f"batches: {{at_once: {AT_ONCE}}}\nlogs: {{calls: false}}\n")
        id, done = "", 0
        for _ in range(KILLS):
            async with gateway(tmp_path, config) as tidegate:
                id = id or await begin(tidegate, LINES)
                done = await answered(tidegate, id, done + random.randrange(LINES // (2 * KILLS), LINES // (KILLS + 1)))
                await tidegate.kill()
        assert done < LINES
        async with gateway(tmp_path, config) as tidegate:
            await answered(tidegate, id, LINES)
            while (ended := await batch(tidegate, id))["status"] != "completed":
                await asyncio.sleep(0.02)
            assert ended["request_counts"] == {"total": LINES, "completed": LINES, "failed": 0}
            found = await results(tidegate, ended["output_file_id"])
            await tidegate.stop()
        assert [one["custom_id"] for one in found] == [f"q{number}" for number in range(LINES)]
        asked = Counter(one["response"]["body"]["id"] for one in found)
        served = [line["id"] for line in main.lines()]
    assert max(asked.values()) == 1 and set(asked) <= set(served) and len(served) == len(set(served))
    assert LINES <= len(served) <= LINES + KILLS * AT_ONCE
    rows, totals, _ = await kept(tmp_path / "data")
    ok = {row.id for row in rows if row.outcome == "ok"}
    assert {one["response"]["request_id"] for one in found} <= ok
    assert LINES <= totals.calls <= LINES + KILLS * AT_ONCE and {row.kind for row in rows} <= {"batch"}


async def test_a_batch_that_was_submitted_by_one_who_died_of_it_is_not_submitted_again(tmp_path: Path) -> None:
    vendor, clock = Vendor(), tmp_path / "clock"
    clock.write_text("0")
    address = await vendor.start()
    config = f"""
limits: {{loops: {{policy: "off"}}}}
budgets: {{default_day: 0}}
logs: {{calls: false}}
providers: {{main: {{type: openai, base_url: "{address}", price: {{input: 1, output: 2}}, batch: {{discount: 0.5}}}}}}
routes: {{fast: {{targets: [{{provider: main, model: m}}]}}}}
"""
    try:
        async with gateway(tmp_path, config) as tidegate:
            vendor.begun = tidegate.process.kill  # it has it, and nobody was told
            id = await begin(tidegate, 20)
            await tidegate.process.wait()
        vendor.begun = lambda: None
        (remote,) = vendor.batches
        vendor.finish(remote)
        clock.write_text("1")  # an hour later: whoever died had time to come back
        async with gateway(tmp_path, config, python=[str(JUMPING)], JUMPING_CLOCK=str(clock)) as tidegate:
            await answered(tidegate, id, 20)
            await tidegate.stop()
        assert len(vendor.batches) == 1 and vendor.asked == []
    finally:
        await vendor.aclose()
    rows, _, _ = await kept(tmp_path / "data")
    assert [(row.outcome, row.cost_nusd) for row in rows] == [("ok", 1_000_000)] * 20


async def test_several_processes_on_one_postgresql_share_the_work(tmp_path: Path, postgres: str) -> None:
    lines = 300
    async with provider(tmp_path, before=2 * LATENCY_S) as main:
        more = f"batches: {{at_once: 8}}\nlogs: {{calls: false}}\nstorage: {{database: '{postgres}'}}\n"
        config = behind(main, more=more)
        folders = [tmp_path / name for name in ("a", "b")]
        for folder in folders:
            folder.mkdir()
        async with gateway(folders[0], config) as first, gateway(folders[1], config) as second:
            id = await begin(first, lines)
            await answered(second, id, lines)
            while (ended := await batch(second, id))["status"] != "completed":
                await asyncio.sleep(0.02)
            found = await results(second, ended["output_file_id"])
            said = [(await one.get("/metrics")).body.decode() for one in (first, second)]
        served = main.lines()
    assert [one["custom_id"] for one in found] == [f"q{number}" for number in range(lines)]
    assert len(served) == lines
    shares = [float(text.split('tidegate_batch_lines_total{outcome="done"} ')[1].split()[0]) for text in said]
    assert sum(shares) == lines and min(shares) > 0
