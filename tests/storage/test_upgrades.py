"""From the data of every older release to today's: nothing is lost, and the way back is kept."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tidegate.app import open_home
from tidegate.core.errors import ConfigError
from tidegate.core.ports import Closed, Key
from tidegate.core.usage import Period, UsageAsked
from tidegate.core.values import Secret
from tidegate.storage import Config, copies
from tidegate.storage.personal import Rows
from tidegate.storage.postgres.schema import at
from tidegate.storage.vault import PlainVault

DAY_MS = 86_400_000
# As the first release wrote it; what came later has its default there.
OLDEST = {
    **{"id": "req_1", "at_ms": DAY_MS, "key_id": "k1", "dialect": "openai", "operation": "chat", "outcome": "ok"},
    **{"status": 200, "duration_us": 5, "overhead_us": 1, "route": "fast", "target": "main/m", "cost_nusd": 1234567},
    **{"usage": {"input": 5, "output": 7}, "user": "ann"},
}
KNOWN: dict[str, dict[str, Any]] = {
    "keys": {"id": "k1", "name": "ci", "env": "live", "digest": b"\1" * 32, "pepper_version": 1, "admin": 1}
    | {
        "created_ms": 5,
        "role": "admin",
        "revoked_ms": None,
        "routes": "[]",
        "limits": "[]",
        "budgets": "[]",
        "endpoints": "[]",
        "scopes": "[]",
        "addresses": "[]",
        "tags": "[]",
    },
    "calls": {name: OLDEST[name] for name in OLDEST if name not in ("usage", "overhead_us")}
    | {"input_tokens": 5, "output_tokens": 7, "row": b"\0" + json.dumps({"record": "closed", **OLDEST}).encode()},
    "spools": {"id": "s1", "segment": 1, "byte": 9, "calls": 1, "errors": 0, "cost_nusd": 1234567, "unpriced": 0}
    | {"tokens": 12},
}


def steps(kind: str) -> list[str]:
    folder = files("tidegate.storage").joinpath("migrations", kind)
    return [one.read_text("utf-8") for one in sorted(folder.iterdir(), key=lambda one: one.name)]


def filled(table: str, columns: list[tuple[str, bool]]) -> dict[str, Any]:
    """Of the columns there are (and whether each must be filled), those that this version filled."""
    known = KNOWN[table]
    assert {name for name, needed in columns if needed} <= set(known), f"{table}: say what stood there"
    return {name: known[name] for name, _ in columns if name in known}


def old_file(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as db:
        for number, text in enumerate(steps("sqlite")[:version], 1):
            db.executescript(f"BEGIN;\n{text}\nPRAGMA user_version = {number};\nCOMMIT;")
        for table in KNOWN:
            told = db.execute(f"PRAGMA table_info({table})").fetchall()
            row = filled(table, [(one[1], bool(one[3]) and one[4] is None) for one in told])
            marks = ", ".join("?" * len(row))
            db.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))
        db.commit()


async def check(kept: Config, folder: Path) -> None:
    home = await open_home(kept, folder, lambda name, fields: None)
    try:
        (key,) = await home.every(Key)
        assert (key.id, key.name, key.digest, key.role) == ("k1", "ci", b"\1" * 32, "admin")
        ((_, id, row),) = await home.books.after(0, 10)
        assert Rows(PlainVault()).opened(id, row) == Closed(**OLDEST)
        assert (await home.books.totals(besides="")).cost_nusd == 1234567
        await home.books.usage(UsageAsked((Period(0, 2**60),)))
    finally:
        await home.aclose()


@pytest.mark.parametrize("version", range(1, len(steps("sqlite")) + 1))
async def test_a_file_of_any_older_release_is_brought_up_to_date_without_loss(tmp_path: Path, version: int) -> None:
    path = tmp_path / "tidegate.sqlite"
    old_file(path, version)
    before = copies.counted(path)
    await check(Config(str(tmp_path)), tmp_path)
    left = {*tmp_path.iterdir()}
    after = copies.counted(path)
    assert after.schema == len(steps("sqlite"))
    assert {name: after.counts.get(name) for name in KNOWN} == {name: before.counts[name] for name in KNOWN}
    kept = tmp_path / f"tidegate.sqlite.schema-{version}"
    if version < after.schema:
        assert copies.counted(kept) == before and kept.stat().st_mode & 0o777 == 0o600
    assert left == ({path, kept} if version < after.schema else {path})


async def test_only_the_last_copy_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "tidegate.sqlite"
    old_file(path, 9)
    (tmp_path / "tidegate.sqlite.schema-3").write_bytes(b"older")
    await check(Config(str(tmp_path)), tmp_path)
    assert {one.name for one in tmp_path.glob("*schema*")} == {"tidegate.sqlite.schema-9"}


async def test_without_room_for_a_copy_nothing_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "tidegate.sqlite"
    old_file(path, 9)
    monkeypatch.setattr(copies, "copy", full)
    with pytest.raises(ConfigError, match="make room for it twice"):
        await open_home(Config(str(tmp_path)), tmp_path, lambda name, fields: None)
    assert copies.counted(path).schema == 9


@pytest.mark.parametrize("version", range(2, len(steps("postgres")) + 1, 3))  # the first had no keys yet
async def test_a_postgresql_of_any_older_release_is_brought_up_to_date_without_loss(
    tmp_path: Path, postgres: str, version: int
) -> None:
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("CREATE SCHEMA tidegate")
        db.execute("CREATE TABLE tidegate.schema_version (version INTEGER NOT NULL)")
        for text in steps("postgres")[:version]:
            db.execute(text.encode())
        db.execute("INSERT INTO tidegate.schema_version VALUES (%s)", (version,))
        db.execute("CREATE TABLE tidegate.calls_d1 PARTITION OF tidegate.calls DEFAULT")
        for table in KNOWN:
            found = db.execute(
                "SELECT column_name, is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO' "
                "FROM information_schema.columns WHERE table_schema = 'tidegate' AND table_name = %s",
                (table,),
            ).fetchall()
            row = filled(table, found)
            names, marks = ", ".join(f'"{name}"' for name in row), ", ".join(["%s"] * len(row))
            db.execute(f"INSERT INTO tidegate.{table} ({names}) VALUES ({marks})".encode(), list(row.values()))
    with at(postgres, 5.0, True) as tables:  # as `tidegate migrate` does, before anything starts
        assert tables.run().version == version
    await check(Config(str(tmp_path), database=Secret(postgres)), tmp_path)
