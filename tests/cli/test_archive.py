"""From a terminal: people are found and erased, what was said is shown, the log is verified, keys are rotated."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.house import Build, House
from tidegate.cli import main

KEK, OTHER = "0a" * 32, "1b" * 32
SEALED = """
logs: {calls: false}
providers: {main: {type: scripted}}
routes: {fast: {targets: [{provider: main, model: m}], store: {prompts: true, replies: true}}}
vault: {keys: ['KEYS']}
audit: {enabled: true, export: ['HEADS']}
storage: {data_dir: DATA}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "tidegate.yaml"
    file.write_text(
        SEALED.replace("KEYS", KEK).replace("HEADS", str(tmp_path / "heads")).replace("DATA", str(tmp_path / "data"))
    )
    return file


@pytest.fixture
async def house(build_house: Build, file: Path) -> House:
    house = await build_house(file.read_text())
    house.provider("main").always("hello")
    return house


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code == code, done.output
    return done.output


async def beside(*words: str, code: int = 0) -> str:
    """Beside the gateway of the test: what has an event loop of its own, in a process of its own."""
    if words[:2] not in (("audit", "export"), ("teams", "create"), ("keys", "create")):
        return await asyncio.to_thread(partial(run, *words, code=code))
    command = [sys.executable, "-m", "tidegate.cli", *words]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


async def said(house: House, *words: str, code: int = 0) -> str:
    async with house.serve() as url:
        run = [*words, "--url", url, "--key", house.key]
        done = await asyncio.to_thread(CliRunner().invoke, main, run)
    house.app.world.closing.clear()
    assert done.exit_code == code, done.output
    return done.output


async def test_an_end_user_is_exported_and_erased(house: House, tmp_path: Path):
    await house.ask("hi", headers={"x-tidegate-user": "ann o'hara & co"})
    await said(house, "subjects", "export", "ann o'hara & co", "--out", str(tmp_path / "ann.jsonl"))
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "ann.jsonl").read_text().splitlines()]
    assert kinds == ["call", "body", "audit", "usage"]
    told = await said(house, "subjects", "erase", "ann o'hara & co")
    assert "1 keys destroyed, 1 bodies deleted" in told
    assert "nothing is kept of an end user" in await said(house, "subjects", "export", "ann o'hara & co", code=1)


async def test_whoever_was_erased_is_erased_again_from_a_keyring_that_was_restored(
    house: House, file: Path, tmp_path: Path
):
    await house.ask("hi", headers={"x-tidegate-user": "ann"})
    await house.app.world.ledger.flush()
    keyring = tmp_path / "data" / "keyring" / "keyring.sqlite"
    backup = keyring.read_bytes()
    await said(house, "subjects", "erase", "ann")
    await house.app.world.ledger.flush()
    log = tmp_path / "audit.jsonl"
    await beside("audit", "export", "--out", str(log), "--config", str(file))
    keyring.write_bytes(backup)
    told = await beside("subjects", "erase-again", str(log), "--config", str(file))
    assert told.startswith("1 were erased before, and 1 of them were there again")
    told = await beside("subjects", "erase-again", str(log), "--config", str(file))
    assert told.startswith("1 were erased before, and 0 of them were there again")


async def test_what_was_said_is_shown(house: House):
    reply = await house.ask("how are you")
    shown = json.loads(await said(house, "bodies", "show", reply.id or ""))
    assert "how are you" in shown["request"] and "hello" in shown["reply"]
    assert "nothing that was said in 'none' is kept" in await said(house, "bodies", "show", "none", code=1)


async def test_an_exported_log_is_verified_without_a_gateway(house: House, file: Path, tmp_path: Path):
    log, heads, where = tmp_path / "audit.jsonl", tmp_path / "heads", ("--config", str(file))
    for _ in range(3):
        await house.ask("hi")
    await house.app.world.ledger.flush()
    await house.app.gateway.archive._notary.sign()
    await beside("audit", "export", "--out", str(log), *where)
    key = (await beside("audit", "key", *where)).strip()
    told = await beside("audit", "verify", str(log), "--heads", str(heads), "--verifier", key)
    assert "3 entries follow each other, 3 of them are as they were signed" in told
    assert "not checked against exported checkpoints" in await beside("audit", "verify", str(log), *where)

    log.write_bytes(log.read_bytes().replace(b'status\\":200', b'status\\":201', 1))
    broken = await beside("audit", "verify", str(log), "--verifier", key, code=1)
    assert "line 2: entry 1 does not follow the one before it" in broken
    log.write_bytes(log.read_bytes()[:-30])
    assert "the file is cut short there" in await beside("audit", "verify", str(log), "--verifier", key, code=1)
    assert "is no verifier key" in await beside("audit", "verify", str(log), "--verifier", "x", code=1)


async def test_a_proof_is_asked_for_and_checked_elsewhere(house: House, file: Path, tmp_path: Path):
    reply = await house.ask("hi")
    proof = tmp_path / "proof.json"
    proof.write_text(await said(house, "audit", "prove", reply.id or ""))
    key = (await beside("audit", "key", "--config", str(file))).strip()
    assert "entry 0 of writer" in await beside("audit", "check", str(proof), "--verifier", key)
    for _ in range(4):
        await house.ask("hi")
    await house.app.world.ledger.flush()
    await house.app.gateway.archive._notary.sign()
    (writer,) = await house.app.gateway.archive.log.heads()
    proof.write_text(await said(house, "audit", "prove-consistent", writer, "1", "5"))
    assert "begin with the 1 that were signed" in await beside("audit", "check", str(proof), "--verifier", key)
    proof.write_text(proof.read_text().replace('"proof":["', '"proof":["00', 1))
    assert "does not go on" in await beside("audit", "check", str(proof), "--verifier", key, code=1)
    assert "say whose signature counts" in await beside("audit", "check", str(proof), code=1)
    assert "has signed no such sizes" in await said(house, "audit", "prove-consistent", writer, "1", "7", code=1)


async def test_what_is_done_from_a_terminal_stands_in_a_chain_of_its_own(house: House, file: Path, tmp_path: Path):
    where = ("--config", str(file))
    await beside("teams", "create", "search", *where)
    await beside("keys", "create", "--name", "ci", *where)
    archive = house.app.gateway.archive
    acts = [await archive.entry(link) for link in await archive.log.latest(2**62, "~", 9)]
    assert sorted((act["did"], act["by"][:4], act["writer"][:4]) for act in acts) == [
        ("key_created", "cli:", "cli-"),
        ("team_created", "cli:", "cli-"),
    ]
    assert (tmp_path / "heads").read_text().count("tidegate/audit/cli-") == 2
    log = tmp_path / "audit.jsonl"
    await beside("audit", "export", "--out", str(log), *where)
    assert "2 entries follow each other" in await beside("audit", "verify", str(log), *where)


async def test_keys_are_sealed_anew_beside_a_gateway_that_serves(house: House, file: Path):
    where = ("--config", str(file))
    await house.ask("hi", headers={"x-tidegate-user": "ann"})
    await house.app.world.ledger.flush()
    assert "4 keys  for new keys" in await beside("vault", "status", *where)
    file.write_text(file.read_text().replace(f"'{KEK}'", f"'{KEK}', '{OTHER}'"))
    told = await beside("vault", "rotate", *where)
    assert "sealed 4 keys, 0 are left" in told and "take it out of vault.keys, then destroy it" in told
    assert (await house.ask("hi", headers={"x-tidegate-user": "ann"})).status == 200
    file.write_text(file.read_text().replace(f"'{KEK}', ", ""))
    assert "4 keys  for new keys" in await beside("vault", "status", *where)
    file.write_text(file.read_text().replace(OTHER, KEK))
    assert "NOT CONFIGURED: put it back into vault.keys" in await beside("vault", "status", *where)
    assert "put the one that it was sealed under back" in await beside("vault", "rotate", *where, code=1)


def test_where_nothing_is_encrypted_that_is_said(tmp_path: Path):
    where = ("--data-dir", str(tmp_path))
    assert "nothing is encrypted: vault.keys names no key" in run("vault", "rotate", *where, code=1)


def test_without_a_key_no_gateway_is_asked():
    for words in (("subjects", "export", "a"), ("bodies", "show", "a"), ("audit", "prove", "a")):
        assert "a key is needed" in run(*words, code=1)


def test_the_doctor_looks_at_keys_and_at_where_the_log_is_proved(file: Path):
    told = CliRunner().invoke(main, ["doctor", "--config", str(file)]).output
    assert "ok   vault: 2 keys, sealed under " in told and "audit" not in told
    text = file.read_text()
    file.write_text(text.replace(f", export: ['{file.parent / 'heads'}']", ""))
    told = CliRunner().invoke(main, ["doctor", "--config", str(file)]).output
    assert "ILL  audit: its state is exported nowhere" in told
    file.write_text(text.replace(KEK, OTHER))
    told = CliRunner().invoke(main, ["doctor", "--config", str(file)]).output
    assert "ILL  vault: what is stored cannot be read" in told and "put the one that it was sealed under back" in told
