"""Every contract is run against both databases, each new and empty."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tidegate.storage.books import Home
from tidegate.storage.postgres import PostgresStore
from tidegate.storage.sqlite import SqliteStore


def deaf(name: str, fields: Any) -> None:
    """Nobody is told."""


@pytest.fixture(params=["sqlite", "postgres"])
async def home(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Home]:
    if request.param == "sqlite":
        home: Home = await SqliteStore.open(tmp_path / "tidegate.sqlite")
    else:
        home = await PostgresStore.open(request.getfixturevalue("postgres"), deaf)
    yield home
    await home.aclose()
