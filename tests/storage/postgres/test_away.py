"""With its database away Tidegate goes on: known keys are served, rows wait, and nothing is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

from click.testing import CliRunner

from tests.house import TWO_PROVIDERS, Build
from tests.postgres import Server
from tidegate.cli import main


async def test_calls_of_known_keys_are_answered_and_their_rows_are_stored_when_it_is_back(
    build_house: Build, postgres_server: Server
) -> None:
    url = postgres_server.new_database()
    house = await build_house(TWO_PROVIDERS + f"storage: {{database: '{url}', database_timeout: 2s}}\n")
    assert (await house.ask(user="before")).status == 200
    postgres_server.stop()
    await house.clock.sleep(5)  # by now the key has to be looked up again
    for n in range(20):
        assert (await house.ask(user=f"away {n}")).status == 200
    refused = await house.get("/admin/usage")
    assert (refused.status, refused.error.code) == (503, "store_unavailable")
    assert "password" not in refused.body.decode() and "127.0.0.1" not in refused.body.decode()
    postgres_server.start()
    async with asyncio.timeout(20):
        while (told := await house.get("/admin/usage?by=end_user&per=total")).status != 200:
            await asyncio.sleep(0.1)
    lines = told.events[0]["lines"]
    assert {line["end_user"]: line["calls"] for line in lines} == {"before": 1} | {f"away {n}": 1 for n in range(20)}
    assert len(await house.rows()) == 21


def test_doctor_asks_it_and_says_what_happens_without(postgres: str, tmp_path: Path) -> None:
    file = tmp_path / "tidegate.yaml"

    def said(database: str) -> str:
        file.write_text(f"storage: {{database: '{database}', data_dir: {tmp_path / 'data'}}}\nproviders: {{}}\n")
        return CliRunner().invoke(main, ["doctor", "--config", str(file)]).output

    assert "ok   database: PostgreSQL answers, and its tables are up to date" in said(postgres)
    away = said("postgresql://u:secret@127.0.0.1:1/x")
    assert "ILL  database: storage.database: the database 127.0.0.1:1/x does not answer" in away
    assert "rows wait in the spool" in away and "secret" not in away


def test_keys_are_made_in_it(postgres: str, tmp_path: Path) -> None:
    file = tmp_path / "tidegate.yaml"
    file.write_text(f"storage: {{database: '{postgres}', data_dir: {tmp_path / 'data'}}}\n")
    made = CliRunner().invoke(main, ["keys", "create", "--config", str(file), "--name", "ci"])
    assert made.exit_code == 0, made.output
    listed = CliRunner().invoke(main, ["keys", "list", "--config", str(file)])
    assert "  ci" in listed.output
    assert not (tmp_path / "data" / "tidegate.sqlite").exists()
