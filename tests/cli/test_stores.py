"""What doctor finds out about servers that are shared, and about those who share them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from tests.core.test_topology import ONE
from tests.valkey import Valkey
from tidegate import storage
from tidegate.app import open_home
from tidegate.cli import main, workers
from tidegate.cli.workers import Valkey as Bundled
from tidegate.core.errors import ConfigError
from tidegate.core.values import Secret
from tidegate.storage.processes import Processes


@pytest.fixture
def counting(tmp_path: Path) -> Iterator[Valkey]:
    (tmp_path / "valkey").mkdir()
    valkey = Valkey(tmp_path / "valkey")
    valkey.start()
    yield valkey
    valkey.stop()


def doctor(folder: Path, settings: str, more: str = "") -> str:
    file = folder / "tidegate.yaml"
    text = f"storage: {{data_dir: {folder / 'data'}, {settings}}}\nproviders: {{main: {{type: scripted}}}}\n{more}"
    file.write_text(text)
    return CliRunner().invoke(main, ["doctor", "--config", str(file)]).output


def test_a_server_that_all_count_in_is_well_and_one_that_forgets_is_not(tmp_path: Path, counting: Valkey) -> None:
    settings = f"valkey: '{counting.url}'"
    assert "ok   counters: Valkey answers, can be written to, and forgets nothing" in doctor(tmp_path, settings)
    counting.ask("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
    counting.ask("CONFIG", "SET", "maxmemory", "100mb")
    said = doctor(tmp_path, settings)
    assert f"ILL  counters: storage.valkey: 127.0.0.1:{counting.port}: it forgets what was counted" in said
    assert "mend: Tidegate does not start with such a server" in said


def test_one_that_is_away_is_told_with_what_happens_meanwhile(tmp_path: Path, counting: Valkey) -> None:
    counting.stop()
    said = doctor(tmp_path, f"valkey: 'valkey://:secret@127.0.0.1:{counting.port}', on_store_down: deny")
    assert "ILL  counters: Valkey does not answer" in said and "(deny) until it is there" in said
    assert "secret" not in said


def test_several_workers_without_a_server_to_count_in_are_told_and_do_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.importlib.util, "find_spec", lambda name: None)
    said = doctor(tmp_path, "max_spool: 256MiB", "api: {workers: 2}\n")
    assert "ILL  counters: several workers have none together" in said and "pip install 'tidegate[scale]'" in said
    with pytest.raises(ConfigError, match="needs a Valkey to count in"):
        Bundled(tmp_path)


def test_those_who_serve_and_are_not_alike_are_told(tmp_path: Path, postgres: str) -> None:
    assert "ok   those who serve: 0 now, and nothing differs" in doctor(tmp_path, f"database: '{postgres}'")

    async def serve() -> None:
        home = await open_home(storage.Config(database=Secret(postgres)), tmp_path, lambda name, fields: None)
        now_ms = time.time_ns() // 1_000_000
        for id, keks in (("a", ("k1",)), ("b", ("k2",))):
            one = replace(ONE, id=id, host=id, keks=keks, seen_ms=now_ms)
            await Processes(home.tables, lambda: now_ms).tell(one)
        await home.aclose()

    asyncio.run(serve())
    said = doctor(tmp_path, f"database: '{postgres}'")
    assert "ILL  those who serve: vault.keys is not the same everywhere (k1: a 1/2; k2: b 1/2)" in said
    assert "mend: name the same keys on all machines" in said
