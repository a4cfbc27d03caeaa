"""Any ledger keeps rows in the same way: at once, each once, and their sums exactly."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tidegate.core.ports import AttemptRow, Closed, Ledger, Opened, Totals
from tidegate.storage.ledger import SpoolLedger
from tidegate.storage.memory import MemoryLedger
from tidegate.storage.sqlite import SqliteStore
from tidegate.storage.vault import PlainVault

Close = Callable[[], Awaitable[None]]


async def memory(folder: Path) -> tuple[Ledger, Close]:
    ledger = MemoryLedger()
    return ledger, ledger.aclose


async def sqlite(folder: Path) -> tuple[Ledger, Close]:
    store = await SqliteStore.open(folder / "tidegate.db")
    ledger = await SpoolLedger.open(folder, store.books, PlainVault(), lambda name, fields: None)

    async def close() -> None:
        await ledger.aclose()
        await store.aclose()

    return ledger, close


ADAPTERS: dict[str, Callable[[Path], Awaitable[tuple[Ledger, Close]]]] = {"memory": memory, "sqlite": sqlite}


@pytest.fixture(params=ADAPTERS)
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    ledger, close = await ADAPTERS[request.param](tmp_path)
    yield ledger
    await close()


def opened(id: str) -> Opened:
    return Opened(id=id, at_ms=1, key_id="k", dialect="openai", operation="chat", route="fast", model="fast")


def closed(id: str, **fields: Any) -> Closed:
    plain = Closed(
        id=id,
        at_ms=1_790_000_000_123,
        key_id="k",
        dialect="openai",
        operation="chat",
        outcome="ok",
        status=200,
        duration_us=1000,
        overhead_us=10,
    )
    return msgspec.structs.replace(plain, **fields)


async def ids(ledger: Ledger) -> list[str]:
    return [row.id async for row in ledger.rows()]


async def test_a_row_comes_back_whole_before_and_after_it_is_stored(ledger):
    row = closed(
        "a",
        route="fast",
        model="naïve ☃ \u0000 'model'",
        target="main/gpt",
        stream=True,
        first_us=5,
        error="upstream_cut_off",
        attempts=(
            AttemptRow("main", "gpt", "failed", 1, 2, status=503, said="too busy"),
            AttemptRow(
                "spare", "gpt", "ok", 3, 9, 5, 200, usage={"input": 3}, price={"rates": {"input": 7}}, cost_nusd=21
            ),
        ),
        usage={"input": 3, "reasoning": 2},
        usage_estimated=True,
        cost_nusd=21,
        user="u",
        session="s",
        tags=("x", "y"),
        kind="batch",
    )
    ledger.append(row)
    assert await ledger.find("a") == row
    await ledger.flush()
    assert await ledger.find("a") == row
    assert [row async for row in ledger.rows()] == [row]


async def test_an_open_call_is_no_row(ledger):
    ledger.append(opened("a"))
    await ledger.flush()
    assert await ledger.find("a") is None
    assert await ledger.totals() == Totals()
    assert await ids(ledger) == []


async def test_a_call_that_was_never_opened_can_be_closed(ledger):
    ledger.append(closed("a", outcome="refused", status=404))
    assert (await ledger.find("a")).status == 404


async def test_totals_are_exact_at_once_and_stay_so(ledger):
    ledger.append(closed("a", cost_nusd=7, usage={"input": 3, "output": 4}))
    ledger.append(closed("b", outcome="failed", status=502, cost_nusd=5, usage={"input": 1}))
    ledger.append(closed("c", outcome="client_left", cost_nusd=None))
    expected = Totals(calls=3, errors=1, cost_nusd=12, unpriced=1, tokens=8)
    assert await ledger.totals() == expected
    await ledger.flush()
    assert await ledger.totals() == expected


async def test_totals_are_exact_while_rows_are_on_their_way(ledger):
    for n in range(300):
        ledger.append(closed(f"{n}", cost_nusd=n))
        if n % 10 == 0:
            assert await ledger.totals() == Totals(calls=n + 1, cost_nusd=n * (n + 1) // 2)


async def test_a_row_that_is_said_twice_is_there_once(ledger):
    ledger.append(closed("a", cost_nusd=7))
    ledger.append(closed("a", cost_nusd=9))
    await ledger.flush()
    ledger.append(closed("a", cost_nusd=11))
    await ledger.flush()
    assert (await ledger.find("a")).cost_nusd == 7
    assert await ids(ledger) == ["a"]
    assert await ledger.totals() == Totals(calls=1, cost_nusd=7)


async def test_rows_come_in_the_order_in_which_calls_ended(ledger):
    names = [f"{n * 7919 % 500}" for n in range(500)]
    for name in names:
        ledger.append(opened(name))
    for name in names:
        ledger.append(closed(name))
    assert await ids(ledger) == names


async def test_money_is_exact_beyond_what_a_float_holds(ledger):
    ledger.append(closed("a", cost_nusd=2**53 + 1))
    ledger.append(closed("b", cost_nusd=1))
    await ledger.flush()
    assert (await ledger.find("a")).cost_nusd == 2**53 + 1
    assert (await ledger.totals()).cost_nusd == 2**53 + 2


async def test_absurd_numbers_of_a_provider_are_kept_and_stop_nothing(ledger):
    ledger.append(closed("a", usage={"input": 2**70, "unheard_of": 1}, cost_nusd=2**80))
    ledger.append(closed("b"))
    await ledger.flush()
    assert (await ledger.find("a")).usage["input"] == 2**70
    assert await ids(ledger) == ["a", "b"]


async def test_whoever_leaves_while_waiting_breaks_nothing(ledger):
    ledger.append(closed("a"))
    for wait in [ledger.flush, ledger.totals, lambda: ledger.find("b")] * 20:
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await ledger.flush()
    assert await ids(ledger) == ["a"]


async def test_an_iteration_that_is_abandoned_holds_nothing(ledger):
    for n in range(250):
        ledger.append(closed(f"{n}"))
    async for _ in ledger.rows():
        break
    ledger.append(closed("last"))
    assert (await ids(ledger))[-1] == "last"


async def test_closing_twice_is_closing_once(ledger):
    ledger.append(closed("a"))
    await ledger.aclose()
    await ledger.aclose()
