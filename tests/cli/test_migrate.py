"""Tables are changed when somebody says so, and a release that waits for that says what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from tidegate.cli import main
from tidegate.storage.sqlite import SqliteStore, file


def run(*args: str) -> tuple[int, str]:
    found = CliRunner().invoke(main, args)
    return found.exit_code, found.output


def configured(folder: Path, database: str) -> str:
    file = folder / "tidegate.yaml"
    file.write_text(
        f'storage: {{database: "{database}", data_dir: "{folder}"}}\nproviders: {{main: {{type: scripted}}}}\n'
    )
    return str(file)


def test_a_database_is_migrated_as_a_step_of_its_own(tmp_path: Path, postgres: str) -> None:
    file = configured(tmp_path, postgres)
    code, said = run("migrate", "--dry-run", "--config", file)
    assert (code, "would take 0001_" in said) == (1, True)
    code, said = run("migrate", "--config", file)
    assert (code, "up to date: schema" in said) == (0, True)
    assert run("migrate", "--dry-run", "--config", file)[0] == 0
    with psycopg.connect(postgres) as db:
        assert db.execute("SELECT oldest <= version FROM tidegate.schema_version").fetchone() == (True,)


def test_one_of_a_release_that_is_too_new_is_left_alone(tmp_path: Path, postgres: str) -> None:
    file = configured(tmp_path, postgres)
    run("migrate", "--config", file)
    with psycopg.connect(postgres) as db:
        db.execute("UPDATE tidegate.schema_version SET version = 99, oldest = 99")
    code, said = run("migrate", "--config", file)
    assert (code, "written by a newer Tidegate" in said) == (1, True)


async def test_a_file_of_before_is_copied_before_it_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, steps = tmp_path / "tidegate.sqlite", file._migrations
    with monkeypatch.context() as before:
        before.setattr(file, "_migrations", lambda folder: steps(folder)[:14])
        await (await SqliteStore.open(path)).aclose()
    version = len(steps("sqlite"))
    await (await SqliteStore.open(path)).aclose()
    copy = path.with_name("tidegate.sqlite.schema-14")
    assert copy.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(copy) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (14,)
    db.close()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (version,)
    db.close()
