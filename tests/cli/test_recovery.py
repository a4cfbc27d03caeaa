"""From a terminal: a backup is whole or it is none, needs its keys, and overwrites nothing unless it is told to."""

from __future__ import annotations

import asyncio
import shutil
import zipfile
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from tests.house import Build, House, lived_in
from tidegate.cli import main
from tidegate.core.errors import ConfigError, NotFound
from tidegate.storage.backups import MANIFEST, Backup, Manifest
from tidegate.storage.postgres import dump

KEK, OTHER = "0a" * 32, "1b" * 32
SEALED = """
logs: {calls: false}
providers: {main: {type: scripted, price: {input: 1, output: 2}}}
routes: {fast: {targets: [{provider: main, model: m}]}}
vault: {keys: ['KEK'], keyring: FOLDER/keyring}
audit: {enabled: true}
storage: {data_dir: FOLDER/data}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "tidegate.yaml"
    file.write_text(SEALED.replace("KEK", KEK).replace("FOLDER", str(tmp_path)))
    return file


@pytest.fixture
async def house(build_house: Build, file: Path) -> House:
    return await build_house(file.read_text())


async def run(*words: str, code: int = 0) -> str:
    """In a thread: the loop of the gateway is watched for what blocks it."""
    done = await asyncio.to_thread(CliRunner().invoke, main, list(words))
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
async def backup(house: House, file: Path, tmp_path: Path) -> Path:
    """Of two calls, made beside the gateway that answered them; the key files are in `keys`."""
    for user in ("ann", "bob"):
        await house.ask("hi", headers={"x-tidegate-user": user})
    return await backed_up(file, tmp_path / "a.backup")


async def backed_up(file: Path, path: Path) -> Path:
    words = ("backup", str(path), "--keys", str(path.parent / "keys"), "--config", str(file))
    await run(*words)
    return path


@pytest.fixture
def elsewhere(file: Path, tmp_path: Path) -> Path:
    """The configuration of another machine, with nothing but that."""
    other = tmp_path / "other.yaml"
    (tmp_path / "other").mkdir()
    other.write_text(SEALED.replace("KEK", KEK).replace("FOLDER", str(tmp_path / "other")))
    return other


async def put_back(backup: Path, elsewhere: Path, *words: str, code: int = 0) -> str:
    return await run(
        "restore", str(backup), "--keys", str(backup.parent / "keys"), "--config", str(elsewhere), *words, code=code
    )


def rewritten(backup: Path, change: dict[str, bytes]) -> None:
    """With other bytes in it, and a good sum over them: what no disk does."""
    with zipfile.ZipFile(backup) as archive:
        pieces = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(backup, "w") as archive:
        for name, data in {**pieces, **change}.items():
            archive.writestr(name, data)


def manifest_of(backup: Path) -> Manifest:
    with zipfile.ZipFile(backup) as archive:
        return msgspec.json.decode(archive.read(MANIFEST), type=Manifest)


# --- what is in it


async def test_no_row_that_was_acknowledged_is_missing_though_the_database_has_it_not_yet(
    house: House, file: Path, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(house.app.world.ledger._mover, "_move_waiting", lambda spool: None)
    ids = [(await house.ask("hi")).headers["x-tidegate-request-id"] for _ in range(3)]
    backup = await backed_up(file, tmp_path / "a.backup")
    assert manifest_of(backup).counts["calls"] == 0
    monkeypatch.undo()
    await put_back(backup, elsewhere)
    async with lived_in(elsewhere.read_text(), tmp_path / "other" / "data") as again:
        assert [row.id for row in await again.rows()] == ids


async def test_no_key_is_in_it_and_it_says_which_it_needs(backup: Path, tmp_path: Path):
    secrets = [
        KEK.encode(),
        (tmp_path / "data" / "pepper").read_bytes(),
        (tmp_path / "data" / "audit.key").read_bytes(),
    ]
    secrets += [bytes.fromhex(one.decode()) for one in secrets[1:]]
    with zipfile.ZipFile(backup) as archive:
        inside = b"".join(archive.read(name) for name in archive.namelist())
    assert not any(secret in inside for secret in secrets)
    told = await run("restore", str(backup), "--check")
    for kind in ("pepper", "audit key tidegate+", "keyring", "key-encrypting key"):
        assert f"  {kind} " in told or f"  {kind}" in told
    assert backup.stat().st_mode & 0o777 == 0o600


async def test_who_was_erased_since_stays_unreadable(house: House, backup: Path, elsewhere: Path, tmp_path: Path):
    await house.app.gateway.archive.erase("ann")
    (tmp_path / "keys" / "keyring.sqlite").write_bytes((tmp_path / "keyring" / "keyring.sqlite").read_bytes())
    await put_back(backup, elsewhere)
    async with lived_in(elsewhere.read_text(), tmp_path / "other" / "data") as again:
        archive = again.app.gateway.archive
        with pytest.raises(NotFound, match="nothing is kept of an end user 'ann'"):
            await archive.subjects("ann")
        assert [one["kind"] async for one in archive.rows("bob")] == ["call", "audit", "usage"]
        gone, there = await again.rows()
        assert gone.user != "ann" and there.user == "bob"


# --- what is refused


async def test_a_restore_without_the_keys_names_each_and_changes_nothing(backup: Path, elsewhere: Path, tmp_path: Path):
    said = await run("restore", str(backup), "--config", str(elsewhere), code=1)
    for what in ("pepper", "the audit log was signed by tidegate+", "keyring", "and none is there", "and it is not"):
        assert what in said
    await put_back(backup, elsewhere)
    shutil.rmtree(tmp_path / "other" / "data")
    elsewhere.write_text(elsewhere.read_text().replace(KEK, OTHER))
    said = await put_back(backup, elsewhere, code=1)
    assert f"key-encrypting key {manifest_of(backup).needs.keks[0]} belongs in vault.keys" in said
    assert not (tmp_path / "other" / "data" / "tidegate.sqlite").exists()


async def test_another_pepper_is_told_from_the_one_that_is_needed(backup: Path, elsewhere: Path, tmp_path: Path):
    (tmp_path / "keys" / "pepper").write_text("11" * 32 + "\n")
    assert "and another is there" in await put_back(backup, elsewhere, code=1)


async def test_a_home_that_is_not_empty_is_moved_aside_only_when_that_was_said(
    backup: Path, elsewhere: Path, tmp_path: Path
):
    data = tmp_path / "other" / "data"
    await put_back(backup, elsewhere)
    first = (data / "tidegate.sqlite").read_bytes()
    assert "tidegate.sqlite is there already; --force moves it" in await put_back(backup, elsewhere, code=1)
    assert "what was there before is in before_restore_" in await put_back(backup, elsewhere, "--force")
    (aside,) = data.glob("before_restore_*")
    assert (aside / "tidegate.sqlite").read_bytes() == first


async def test_nothing_is_restored_under_a_gateway_that_serves(backup: Path, file: Path):
    assert "uses the spool in" in await run("restore", str(backup), "--force", "--config", str(file), code=1)


async def test_a_backup_that_was_cut_off_or_changed_is_found(backup: Path, elsewhere: Path, tmp_path: Path):
    whole, other = backup.read_bytes(), tmp_path / "other.backup"
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        other.write_bytes(whole[:size])
        assert "is no whole backup of Tidegate's" in await run("restore", str(other), "--check", code=1)
    for at in range(0, len(whole), len(whole) // 40):
        other.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        done = await asyncio.to_thread(CliRunner().invoke, main, ["restore", str(other), "--check"])
        same = done.exit_code == 0 and await asyncio.to_thread(Backup, other) is not None
        assert same or "is no whole backup of Tidegate's" in done.output, at  # what is in no sum says nothing either
    rewritten(backup, {"tidegate.sqlite": b"other bytes"})
    assert "is not what was written" in await put_back(backup, elsewhere, code=1)
    rewritten(backup, {"../outside": b"x"})
    assert "what is in it is not what its manifest says" in await put_back(backup, elsewhere, code=1)
    assert not (tmp_path / "other" / "data" / "tidegate.sqlite").exists()


async def test_rows_that_are_missing_are_found_though_every_sum_is_right(backup: Path, elsewhere: Path, tmp_path: Path):
    made = manifest_of(backup)
    fewer = msgspec.structs.replace(made, counts=made.counts | {"calls": 3})
    rewritten(backup, {MANIFEST: msgspec.json.encode(fewer)})
    assert "it has not the rows that its manifest names" in await put_back(backup, elsewhere, code=1)
    assert not [*(tmp_path / "other" / "data").glob("restoring-*")]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": 99}, "was made by Tidegate 0.1.0 (schema 99, here"),
        ({"format": 2}, "was made by a newer Tidegate"),
        ({"home": "postgres"}, "the backup is of a PostgreSQL, and this configuration has a file of the data folder"),
    ],
)
async def test_what_another_version_or_kind_of_home_made_is_refused(
    backup: Path, elsewhere: Path, change: dict[str, object], says: str
):
    rewritten(backup, {MANIFEST: msgspec.json.encode(msgspec.structs.replace(manifest_of(backup), **change))})
    assert says in await put_back(backup, elsewhere, code=1)


async def test_a_backup_overwrites_none_and_leaves_nothing_half_written(
    backup: Path, file: Path, elsewhere: Path, tmp_path: Path
):
    words = ("--config", str(file))
    assert "is there already: choose another name" in await run("backup", str(backup), *words, code=1)
    await run("backup", str(backup), "--force", *words)
    assert "there is nothing to back up" in await run("backup", str(tmp_path / "b"), "--config", str(elsewhere), code=1)
    assert "cannot write" in await run("backup", str(tmp_path / "no" / "b"), *words, code=1)
    assert not [*tmp_path.glob("*.part*"), *tmp_path.glob("b")]


def test_without_its_tools_postgresql_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(dump, "DEBIAN", str(tmp_path))
    with pytest.raises(ConfigError, match="apt-get install postgresql-client"):
        dump.dump("postgresql://127.0.0.1:9/x", tmp_path / "x")
