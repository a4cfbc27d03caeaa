"""What calls were to experiments outlives their rows until the experiment is archived, and 100,000 units are summed."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.contracts.test_store_contract import EXPERIMENT, postgres, sqlite
from tests.effort import steps
from tests.storage.test_upgrades import old_file
from tidegate.core.experiments import Assigned
from tidegate.core.ports import Closed
from tidegate.storage import retention
from tidegate.storage.books import Home, Position, Row
from tidegate.storage.retention import Kind
from tidegate.storage.sqlite import SqliteStore
from tidegate.storage.trials import MOST, Trial, lines, trials


@pytest.fixture(params=[sqlite, postgres])
async def home(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Home]:
    home: Any = await request.param(request, tmp_path)
    yield home
    await home.aclose()


def row(id: str, *experiments: str, at_ms: int = 5, **fields: Any) -> Row:
    arms = tuple(Assigned(name, 0, "b", "u") for name in experiments)
    closed = Closed(id, at_ms, "k", "openai", "chat", "ok", 200, 1, 1, arms=arms, **fields)
    return Row(closed, b"sealed")


async def test_they_stay_while_something_may_be_decided_by_them(home):
    live = msgspec.structs.replace(EXPERIMENT, archived_ms=0)
    gone = msgspec.structs.replace(EXPERIMENT, id="gone.1", archived_ms=9)
    for one in (live, gone):
        await home.add(one)
    both = (live.id, gone.id)
    home.books.take("s", [row("a", *both), row("b", *both), row("c", *both, at_ms=50)], Position(1, 1))
    assert await retention.forget(Kind(0, home.books.forget_trials), 40)
    assert [line.calls for line in await home.books.units(live.id)] == [3]
    assert [line.calls for line in await home.books.units(gone.id)] == [1]
    assert not await retention.forget(Kind(0, home.books.forget_trials), 40)


async def test_absurd_figures_stop_nothing(home):
    home.books.take("s", [row(f"{n}", "t.1", cost_nusd=2**62, first_us=-5) for n in range(9)], Position(1, 1))
    (line,) = await home.books.units("t.1")
    assert (line.calls, line.cost_nusd, line.first_us) == (9, 9 * MOST, 0)


def test_who_takes_part_in_nothing_costs_no_line():
    assert trials([row("a").closed]) == []


def test_a_line_is_made_in_three_steps_however_many_there_are():
    def work(count: int) -> int:
        found = [(0, "b", f"{n:016x}", n % 977, 1, *[0] * len(Trial._fields[6:])) for n in range(count)]
        assert len(lines(found, {})) == count
        return steps(lambda: lines(found, {}))

    assert work(30_000) - work(20_000) == work(20_000) - work(10_000) <= 3 * 10_000


async def test_what_an_older_release_has_kept_is_counted_on(tmp_path: Path):
    path = tmp_path / "tidegate.db"
    old_file(path, 18)  # the trials of a stage and arm lay together
    with closing(sqlite3.connect(path)) as db:
        for trial in trials([row("a", "t.1").closed, row("b", "t.1").closed]):
            db.execute(f"INSERT INTO trials VALUES ({', '.join('?' * len(trial))})", trial)
        db.commit()
    home = await SqliteStore.open(path)
    home.books.take("s", [row("b", "t.1"), row("c", "t.1")], Position(1, 1))
    assert [(line.unit, line.calls) for line in await home.books.units("t.1")] == [("u", 3)]
    await home.aclose()
