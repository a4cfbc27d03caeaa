"""The drill: serve, back up while serving, lose everything but the keys, restore elsewhere, and go on."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from bench.postgres import Server

from tests.e2e.processes import Gateway, behind, gateway, kept, provider
from tests.postgres import programs

PEPPER = "a-pepper-that-is-kept-where-no-backup-is"
BUDGET = {"usd": 0.0001, "per": "total"}
PRICE = "{input: 0.1237, output: 0.6189}"

pytestmark = pytest.mark.timeout(300)


async def command(folder: Path, *words: str, code: int = 0) -> str:
    """What Tidegate says to it, beside the gateway of this folder."""
    where = ("--config", str(folder / "tidegate.yaml"), "--data-dir", str(folder / "data"))
    made = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tidegate.cli", *words, *where),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PEPPER": PEPPER, "PATH": f"{programs()}{os.pathsep}{os.environ['PATH']}"},
    )
    said = (await made.communicate())[0].decode()
    assert made.returncode == code, said
    return said


async def key(of: Gateway, **fields: object) -> str:
    made = await of.begin("/admin/keys", body=json.dumps(fields).encode()).answer()
    return str(made.json["key"])


async def ask(of: Gateway, key: str) -> tuple[int, str]:
    answer = await of.ask("hi", headers={"authorization": f"Bearer {key}"})
    return answer.status, answer.headers["x-tidegate-request-id"]


async def busy(of: Gateway, key: str, answered: list[str], over: asyncio.Event) -> None:
    while not over.is_set():
        status, id = await ask(of, key)
        assert status == 200
        answered.append(id)


async def live(folder: Path, config: str, backup: Path) -> tuple[str, str, list[str]]:
    """A gateway that is backed up under load, and killed: two keys, one of which has spent its budget, and the calls
    that were acknowledged before the backup began."""
    answered: list[str] = []
    over = asyncio.Event()
    async with gateway(folder, config, PEPPER=PEPPER) as one:
        rich, poor = await key(one, name="rich"), await key(one, name="poor", budgets=[BUDGET])
        while (status := (await ask(one, poor))[0]) == 200:
            pass
        assert status == 402
        load = [asyncio.create_task(busy(one, rich, answered, over)) for _ in range(3)]
        while len(answered) < 50:
            await asyncio.sleep(0.01)
        acknowledged = list(answered)
        said = await command(folder, "backup", str(backup))
        assert "pepper" in said and PEPPER.encode() not in backup.read_bytes()
        over.set()
        await asyncio.gather(*load)
        await one.kill()
    return rich, poor, acknowledged


@pytest.mark.parametrize("home", ["sqlite", "postgres"])
async def test_after_a_disaster_keys_answer_totals_agree_and_what_was_spent_is_spent(
    tmp_path: Path, home: str, request: pytest.FixtureRequest
) -> None:
    cluster: Server | None = request.getfixturevalue("postgres_cluster") if home == "postgres" else None
    lost, found = tmp_path / "lost", tmp_path / "found"
    lost.mkdir()
    found.mkdir()
    urls = [cluster.new_database() if cluster else None for _ in range(2)]
    backup = tmp_path / "drill.backup"
    async with provider(tmp_path) as main:
        configs = [
            behind(main, PRICE, "auth: {peppers: ['env:PEPPER']}\naudit: {enabled: true}\nlogs: {calls: false}\n")
            + (f"storage: {{database: '{url}'}}\n" if url else "")
            for url in urls
        ]
        rich, poor, acknowledged = await live(lost, configs[0], backup)
        shutil.copy(lost / "data" / "audit.key", found / "audit.key")
        shutil.rmtree(lost)
        if cluster and urls[0]:
            cluster.drop(urls[0])
        (found / "tidegate.yaml").write_text(configs[1])
        assert "audit log was signed by" in await command(found, "restore", str(backup), code=1)
        said = await command(found, "restore", str(backup), "--keys", str(found))
        assert said.count("restored ") == 1
        async with gateway(found, configs[1], PEPPER=PEPPER) as again:
            assert (await ask(again, rich))[0] == 200
            assert (await ask(again, poor))[0] == 402
            await again.stop()
        served = {line["id"] for line in main.lines()}
    rows, totals, hourly = await kept(found / "data", urls[1])
    ids = [row.id for row in rows]
    assert len(ids) == len(set(ids)) and set(acknowledged) <= set(ids)
    assert sum(row.cost_nusd or 0 for row in rows) == totals.cost_nusd == hourly["cost_nusd"] > 0
    assert len(served) >= len([row for row in rows if row.outcome == "ok"])
    if cluster:
        assert "schema tidegate is there already" in await command(found, "restore", str(backup), code=1)
        return
    await command(found, "audit", "export", "--out", str(found / "audit.jsonl"))
    assert "follow each other" in await command(found, "audit", "verify", str(found / "audit.jsonl"))
