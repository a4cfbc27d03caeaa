"""Any ledger keeps rows in the same way: at once, each once, and their sums exactly."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tidegate.core.ports import Acted, AttemptRow, Closed, Ledger, Opened, Totals, Vault
from tidegate.core.usage import Period, UsageAsked
from tidegate.storage.ledger import Home, SpoolLedger
from tidegate.storage.memory import MemoryLedger
from tidegate.storage.postgres import PostgresStore
from tidegate.storage.rollups import MAX_NAMES
from tidegate.storage.sqlite import SqliteStore
from tidegate.storage.vault import PlainVault
from tidegate.storage.vault.envelope import EnvelopeVault
from tidegate.storage.vault.kek import Keks
from tidegate.storage.vault.keyring import MemoryKeyring

Close = Callable[[], Awaitable[None]]


async def memory(request: pytest.FixtureRequest, folder: Path) -> tuple[Ledger, Close]:
    ledger = MemoryLedger()
    return ledger, ledger.aclose


async def sqlite(request: pytest.FixtureRequest, folder: Path) -> tuple[Ledger, Close]:
    return await spooled(folder, await SqliteStore.open(folder / "tidegate.db"))


async def postgres(request: pytest.FixtureRequest, folder: Path) -> tuple[Ledger, Close]:
    return await spooled(folder, await PostgresStore.open(request.getfixturevalue("postgres"), deaf))


async def sealed_sqlite(request: pytest.FixtureRequest, folder: Path) -> tuple[Ledger, Close]:
    return await spooled(folder, await SqliteStore.open(folder / "tidegate.db"), sealing())


async def sealed_postgres(request: pytest.FixtureRequest, folder: Path) -> tuple[Ledger, Close]:
    home = await PostgresStore.open(request.getfixturevalue("postgres"), deaf)
    return await spooled(folder, home, sealing())


def sealing() -> EnvelopeVault:
    return EnvelopeVault(MemoryKeyring(), Keks([bytes(32)]))


async def spooled(folder: Path, home: Home, vault: Vault | None = None) -> tuple[Ledger, Close]:
    """With a vault that seals there is an audit log, too."""
    ledger = await SpoolLedger.open(folder, home.books, vault or PlainVault(), deaf, audited=vault is not None)

    async def close() -> None:
        await ledger.aclose()
        await home.aclose()

    return ledger, close


def ledger_seals(ledger: Ledger) -> bool:
    return isinstance(ledger, SpoolLedger) and ledger._vault.seals


def deaf(name: str, fields: Mapping[str, Any]) -> None:
    """Nobody is told."""


ADAPTERS: dict[str, Callable[[pytest.FixtureRequest, Path], Awaitable[tuple[Ledger, Close]]]] = {
    "memory": memory,
    "sqlite": sqlite,
    "postgres": postgres,
    "sealed sqlite": sealed_sqlite,
    "sealed postgres": sealed_postgres,
}


@pytest.fixture(params=ADAPTERS)
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    ledger, close = await ADAPTERS[request.param](request, tmp_path)
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


# --- sums by hour, day and month


HOUR_MS = 3_600_000
NOON = 1_790_000_000_000 // HOUR_MS * HOUR_MS  # a whole hour


def asked(*by: str, begin_ms: int = 0, until_ms: int = 2_000_000_000_000, **only: str) -> UsageAsked:
    return UsageAsked((Period(begin_ms, until_ms),), by, only)


async def shown(ledger: Ledger, question: UsageAsked, *sums: str) -> list[tuple[Any, ...]]:
    return [(*line.names, *(line.sums[name] for name in sums)) for line in await ledger.usage(question)]


async def test_usage_is_summed_exactly_by_whatever_tells_calls_apart(ledger):
    for n in range(600):
        ledger.append(
            closed(
                f"{n}",
                at_ms=NOON + n * HOUR_MS // 100,
                key_id=f"k{n % 3}",
                team_id="red" if n % 2 else None,
                cost_nusd=n,
                usage={"input": n, "reasoning": 2},
                outcome="failed" if n % 50 == 0 else "ok",
                first_us=7 if n % 10 == 0 else None,
            )
        )
    assert await shown(ledger, asked(), "calls", "errors", "cost_nusd", "input", "reasoning", "first_us", "firsts") == [
        (600, 12, 599 * 300, 599 * 300, 1200, 420, 60)
    ]
    assert await shown(ledger, asked("team", "key"), "calls", "cost_nusd") == [
        (team, f"k{key}", 100, sum(n for n in range(600) if n % 3 == key and bool(n % 2) == bool(team)))
        for team in ("", "red")
        for key in range(3)
    ]
    assert await shown(ledger, asked("key", team="red", outcome="failed"), "calls") == []
    assert await shown(ledger, asked("outcome", key="k0"), "calls") == [("failed", 4), ("ok", 196)]


async def test_a_call_counts_in_the_period_in_which_it_began(ledger):
    for n, at_ms in enumerate((NOON - 1, NOON, NOON + HOUR_MS - 1, NOON + HOUR_MS)):
        ledger.append(closed(f"{n}", at_ms=at_ms))
    hours = tuple(Period(NOON + n * HOUR_MS, NOON + (n + 1) * HOUR_MS) for n in range(-2, 3))
    lines = await ledger.usage(UsageAsked(hours))
    assert [(line.begin_ms - NOON, line.sums["calls"]) for line in lines] == [(-HOUR_MS, 1), (0, 2), (HOUR_MS, 1)]


async def test_usage_comes_page_by_page_each_line_once(ledger):
    for n in range(25):
        ledger.append(closed(f"{n}", at_ms=NOON + n % 5 * HOUR_MS, user=f"u {n // 5}'☃"))
    question = UsageAsked(
        tuple(Period(NOON + n * HOUR_MS, NOON + (n + 1) * HOUR_MS) for n in range(5)), ("end_user", "route"), most=4
    )
    seen = []
    while page := await ledger.usage(question):
        assert len(page) <= 4
        seen += [(line.begin_ms, *line.names) for line in page]
        question = msgspec.structs.replace(question, after=seen[-1])
    assert len(seen) == len(set(seen)) == 25
    assert [at for at, *_ in seen] == sorted(at for at, *_ in seen)
    if not ledger_seals(ledger):  # where it does, people come in the order of their aliases
        assert seen == sorted(seen)


async def test_names_that_no_database_takes_are_cleaned_and_sums_that_run_over_are_bounded(ledger):
    for n in range(3):
        ledger.append(closed(f"{n}", user="a\0b", session="\0", usage={"input": 2**70}, cost_nusd=2**80))
    assert await shown(ledger, asked("end_user"), "calls", "input") == [("a\ufffdb", 3, 3 * 2**53)]


async def test_a_row_that_is_said_twice_counts_once_in_usage(ledger):
    for _ in range(2):
        ledger.append(closed("a", cost_nusd=7))
        await ledger.flush()
    assert await shown(ledger, asked(), "calls", "cost_nusd") == [(1, 7)]


async def test_end_users_beyond_a_bound_count_together(ledger):
    for n in range(MAX_NAMES + 20):
        ledger.append(closed(f"{n}", user=f"{n:05}"))
    question = msgspec.structs.replace(asked("end_user"), most=2 * MAX_NAMES)
    lines = await shown(ledger, question, "calls")
    assert len(lines) == MAX_NAMES + 1 and sum(calls for _, calls in lines) == MAX_NAMES + 20


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


async def test_rows_of_one_end_user_are_found_by_the_alias_that_stands_in_them(ledger):
    for id, user in (("a", "ann"), ("b", "bob"), ("c", "ann"), ("d", None)):
        ledger.append(closed(id, user=user))
    await ledger.flush()
    vault = getattr(ledger, "_vault", PlainVault())
    assert [row.id async for row in ledger.rows(vault.subject("default", "ann"))] == ["a", "c"]
    assert [row.id async for row in ledger.rows("nobody")] == []


async def test_what_administrators_do_is_no_row_and_costs_nothing(ledger):
    ledger.append(Acted("act_1", 1, "key_created", "k", "admin", "ops", None, {"name": "ci"}))
    ledger.append(closed("a", cost_nusd=7))
    await ledger.flush()
    assert await ids(ledger) == ["a"] and await ledger.find("act_1") is None
    assert await ledger.totals() == Totals(calls=1, cost_nusd=7)
