"""Any ledger keeps rows in the same way: at once, each once, and their sums exactly."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from math import ceil
from pathlib import Path
from typing import Any

import msgspec
import pytest

import tidegate.storage.postgres.books
import tidegate.storage.sqlite.books
from tidegate.core.analytics import PeopleAsked, TimesAsked, percentile_us
from tidegate.core.experiments import Assigned, UnitLine
from tidegate.core.guard import Verdict
from tidegate.core.opinions import Opinion
from tidegate.core.ports import Acted, AttemptRow, Closed, Ledger, Opened, Totals, Vault
from tidegate.core.search import CallsAsked, Place
from tidegate.core.usage import Period, UsageAsked
from tidegate.storage import listing
from tidegate.storage.books import Home
from tidegate.storage.ledger import SpoolLedger
from tidegate.storage.memory import MemoryLedger
from tidegate.storage.postgres import PostgresStore
from tidegate.storage.rollups import MAX_NAMES
from tidegate.storage.sqlite import SqliteStore
from tidegate.storage.trials import TrialSums, TrialTable
from tidegate.storage.vault import PlainVault
from tidegate.storage.vault.envelope import EnvelopeVault
from tidegate.storage.vault.kek import Keks
from tidegate.storage.vault.keyring import MemoryKeyring

Close = Callable[[], Awaitable[None]]
DAY = 86_400_000
OLD = 30 * DAY


async def memory(request: pytest.FixtureRequest, folder: Path) -> tuple[Ledger, Close]:
    ledger = MemoryLedger()
    return ledger, ledger.aclose


async def sqlite(request: pytest.FixtureRequest, folder: Path) -> tuple[Ledger, Close]:
    return await spooled(folder, await SqliteStore.open(folder / "tidegate.db"))


async def postgres(request: pytest.FixtureRequest, folder: Path) -> tuple[Ledger, Close]:
    return await spooled(folder, await PostgresStore.open(request.getfixturevalue("postgres"), deaf))


async def sealed_sqlite(request: pytest.FixtureRequest, folder: Path) -> tuple[Ledger, Close]:
    return await spooled(folder, await SqliteStore.open(folder / "tidegate.db"), sealing())


async def folded_sqlite(request: pytest.FixtureRequest, folder: Path) -> tuple[Ledger, Close]:
    return await folding(folder, await SqliteStore.open(folder / "tidegate.db"))


async def folded_postgres(request: pytest.FixtureRequest, folder: Path) -> tuple[Ledger, Close]:
    return await folding(folder, await PostgresStore.open(request.getfixturevalue("postgres"), deaf))


async def folding(folder: Path, home: Home) -> tuple[Ledger, Close]:
    """Every day is folded whenever something is stored, so that all questions are asked of days."""
    ledger, close = await spooled(folder, home)
    flush = ledger.flush

    async def flush_and_fold() -> None:
        await flush()
        for end_ms in (OLD, 1_790_000_000_000 + 2 * DAY):  # each looks back for a year
            while await home.books.fold(end_ms):
                pass

    ledger.flush = flush_and_fold  # type: ignore[method-assign]
    return ledger, close


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
    "folded sqlite": folded_sqlite,
    "folded postgres": folded_postgres,
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
    few = msgspec.structs.replace(asked(), sums=("cost_nusd", "errors"))
    assert [line.sums for line in await ledger.usage(few)] == [{"cost_nusd": 599 * 300, "errors": 12}]
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


# --- searching


def wanting(**fields: Any) -> CallsAsked:
    return CallsAsked(**{"since_ms": 0, "until_ms": 2**52, **fields})


async def listed(ledger: Ledger, **fields: Any) -> list[str]:
    """All pages."""
    found: list[str] = []
    place: Place | None = None
    while True:
        page = await ledger.calls(wanting(after=place, **fields))
        found += [row.id for row in page.rows]
        if page.reached is None:
            return found
        place = page.reached


@pytest.mark.parametrize("most", [1, 2, 3, 50])
async def test_calls_are_listed_newest_first_each_once_on_pages_of_any_size(ledger, most):
    for n, at in enumerate([30, 10, 20, 20, 40, 20]):
        ledger.append(closed(f"c{n}", at_ms=at))
    assert await listed(ledger, most=most) == ["c4", "c0", "c5", "c3", "c2", "c1"]
    assert await listed(ledger, most=most, since_ms=20, until_ms=40) == ["c0", "c5", "c3", "c2"]


async def test_what_comes_while_somebody_turns_pages_moves_nothing(ledger):
    for n in range(4):
        ledger.append(closed(f"c{n}", at_ms=10 + n))
    first = await ledger.calls(wanting(most=2))
    ledger.append(closed("new", at_ms=50))
    rest = await ledger.calls(wanting(after=first.reached))
    assert [row.id for row in (*first.rows, *rest.rows)] == ["c3", "c2", "c1", "c0"]


GUARDED = (
    Verdict("pii", "input", "mask", ("email",)),
    Verdict("secrets", "output", "pass"),
    Verdict("injection", "input", "flag"),
)

FOUND_BY: list[dict[str, Any]] = [
    {"only": {"key": "other"}},
    {"only": {"team": "t", "organisation": "o"}},
    {"only": {"end_user": "naïve \u0000 user"}},
    {"only": {"session": "s'; DROP TABLE calls; --"}},
    {"only": {"route": "fast", "target": "main/gpt"}},
    {"only": {"operation": "embed"}},
    {"only": {"outcome": "failed", "error": "upstream_failed"}},
    {"only": {"kind": "batch"}},
    {"only": {"cache": "hit"}},
    {"status": 502},
    {"guard": "pii"},
    {"guard": "injection:flag"},
    {"least_cost_nusd": 900},
    {"least_duration_us": 5000},
]


@pytest.mark.parametrize("by", FOUND_BY, ids=str)
async def test_a_call_is_found_by_whatever_is_known_of_it(ledger, by):
    ledger.append(closed("before", cost_nusd=None))
    wanted = closed(
        "wanted",
        key_id="other",
        team_id="t",
        organisation_id="o",
        user="naïve \u0000 user",
        session="s'; DROP TABLE calls; --",
        route="fast",
        target="main/gpt",
        operation="embed",
        outcome="failed",
        error="upstream_failed",
        status=502,
        kind="batch",
        cache="hit",
        cost_nusd=900,
        duration_us=5000,
        guards=GUARDED,
    )
    ledger.append(wanted)
    ledger.append(closed("after", cost_nusd=899, duration_us=4999))
    assert (await ledger.calls(wanting(**by))).rows == [wanted]


@pytest.mark.parametrize("guard", ["secrets", "pii:block", "pi", "mask", "pii:mask:input: x", "%"])
async def test_a_guard_that_had_nothing_to_say_is_not_found(ledger, guard):
    ledger.append(closed("a", guards=GUARDED))
    assert await listed(ledger, guard=guard) == []


async def test_a_page_says_how_far_it_looked_when_it_found_nothing_there(ledger, monkeypatch):
    monkeypatch.setattr(listing, "LOOKED_AT", 10)
    ledger.append(closed("rare", at_ms=1, status=418))
    for n in range(25):
        ledger.append(closed(f"c{n}", at_ms=10 + n))
    assert await listed(ledger, status=418) == ["rare"]
    assert await listed(ledger, only={"key": "nobody"}) == []


# --- opinions


def opinion(id: str, call: str, **fields: Any) -> Opinion:
    return Opinion(**{"id": id, "request_id": call, "at_ms": 5, "source": "user", **fields})


async def test_what_is_said_of_a_call_comes_back_and_the_last_of_an_id_stands(ledger):
    row = closed("a")
    ledger.append(row)
    first = opinion("x", "a", score=0.25, label="slow", comment="naïve \u0000 ☃", correction="c", task_completed=False)
    later = opinion("y", "a", at_ms=6, source="judge", score=1.0)
    for one in (later, opinion("x", "a", score=1.0), first):
        await ledger.opine(one, row)
    assert await ledger.opinions("a") == [first, later]
    assert await ledger.opinions("b") == []


async def test_opinions_are_summed_exactly_in_the_hour_of_their_call(ledger):
    then, now = closed("then", at_ms=10, route="fast"), closed("now", at_ms=2 * 3_600_000, route="slow", user="ann")
    for n, score in enumerate([0.0, 0.5, 0.75, 1.0]):
        await ledger.opine(opinion(f"s{n}", "then", score=score), then)
    await ledger.opine(opinion("t", "then", task_completed=True), then)
    await ledger.opine(opinion("u", "now", source="agent", task_completed=False), now)
    hours = (Period(0, 3_600_000), Period(2 * 3_600_000, 3 * 3_600_000))
    first, second = await ledger.opined(UsageAsked(hours, ("route", "source")))
    assert (first.begin_ms, first.names) == (0, ("fast", "user"))
    assert first.sums == {"opinions": 5, "scored": 4, "score_milli": 2250, "good": 2, "bad": 1} | {
        "tasks": 1,
        "completed": 1,
    }
    assert (second.begin_ms, second.names, second.sums["tasks"]) == (2 * 3_600_000, ("slow", "agent"), 1)
    (only,) = await ledger.opined(UsageAsked((Period(0, 2**45),), (), {"end_user": "ann"}))
    assert only.sums["opinions"] == 1


# --- who was there, and how long they waited


async def test_percentiles_of_buckets_are_those_of_the_calls_to_a_bucket(ledger):
    took = [round(1000 * 1.3**n) for n in range(40)]
    for n, us in enumerate(took):
        ledger.append(closed(f"{n}", at_ms=n, duration_us=us, first_us=us // 2, route="fast" if n % 2 else "slow"))
    ledger.append(closed("failed", at_ms=1, outcome="failed", duration_us=10**9))
    lines = await ledger.times(TimesAsked((Period(0, DAY),)))
    for what, factor in (("duration", 1), ("first", 0.5)):
        (counts,) = [line.counts for line in lines if line.what == what]
        assert sum(counts.values()) == 40
        for share in (0.5, 0.95, 0.99):
            exact = sorted(took)[ceil(share * 40) - 1] * factor
            assert percentile_us(counts, share) == pytest.approx(exact, rel=0.026)
    by_route = await ledger.times(TimesAsked((Period(0, DAY),), ("route",), {"route": "fast"}))
    assert {(line.names, sum(line.counts.values())) for line in by_route} == {(("fast",), 20)}


async def test_end_users_count_once_in_any_period(ledger):
    for n, (day, user) in enumerate([(0, "ann"), (0, "ann"), (0, "bob"), (1, "ann"), (2, None)]):
        ledger.append(closed(f"{n}", at_ms=day * DAY + n, user=user, team_id="t" if user == "bob" else None))
    days = tuple(Period(day * DAY, (day + 1) * DAY) for day in range(3))
    assert [line.end_users for line in await ledger.people(PeopleAsked(days))] == [2, 1, 0]
    whole = (Period(0, 3 * DAY),)
    assert [line.end_users for line in await ledger.people(PeopleAsked(whole))] == [2]
    assert [line.end_users for line in await ledger.people(PeopleAsked(whole, {"team": "t"}))] == [1]


async def test_a_session_ends_with_half_an_hour_of_silence(ledger):
    minute = 60_000
    for n, at in enumerate([0, 10, 39, 70, 100, 200]):
        ledger.append(closed(f"{n}", at_ms=at * minute, session="s", asked_again=n == 1))
        await ledger.flush()
    ledger.append(closed("other", at_ms=0, session="s", key_id="another"))
    (line,) = await ledger.people(PeopleAsked((Period(0, DAY),)))
    assert (line.sessions, line.session_calls, line.asked_again) == (4, 7, 1)
    assert line.session_ms == (39 + 30) * minute


async def test_a_call_that_was_long_under_way_joins_what_it_lies_between(ledger):
    minute = 60_000
    for n, at in enumerate([0, 50, 25]):
        ledger.append(closed(f"{n}", at_ms=at * minute, session="s"))
        await ledger.flush()
    (line,) = await ledger.people(PeopleAsked((Period(0, DAY),)))
    assert (line.sessions, line.session_calls, line.session_ms) == (1, 3, 50 * minute)


async def test_what_comes_late_counts_with_what_was_there(ledger):
    for n, hour in enumerate((1, 2, 25, 30, 26, 1)):
        ledger.append(closed(f"{n}", at_ms=hour * HOUR_MS, cost_nusd=5, user="ann", session=f"s{n}", duration_us=3000))
        await ledger.flush()  # the day of the last two was folded before they came, where days are
    days = (Period(0, DAY), Period(DAY, 2 * DAY))
    for by in ((), ("end_user",), ("end_user", "route")):
        assert [line.sums["calls"] for line in await ledger.usage(UsageAsked(days, by))] == [3, 3]
    assert [sum(line.counts.values()) for line in await ledger.times(TimesAsked(days))] == [3, 3]
    assert [(line.end_users, line.sessions) for line in await ledger.people(PeopleAsked(days))] == [(1, 3), (1, 3)]


async def test_a_session_that_goes_on_after_midnight_is_of_the_day_in_which_it_began(ledger):
    minute = 60_000
    for n, at in enumerate((-20, -5, 10, 35)):
        ledger.append(closed(f"{n}", at_ms=DAY + at * minute, session="s"))
        await ledger.flush()
    lines = await ledger.people(PeopleAsked((Period(0, DAY), Period(DAY, 2 * DAY))))
    assert [(line.sessions, line.session_calls, line.session_ms) for line in lines] == [(1, 4, 55 * minute), (0, 0, 0)]


async def test_a_period_that_cuts_days_has_what_lies_within_it(ledger):
    for hour in range(24 * 4):
        ledger.append(closed(f"{hour}", at_ms=hour * HOUR_MS, duration_us=3000))
    for begin, until in ((5, 90), (5, 20), (24, 72), (30, 71), (0, 96), (5, 96)):
        cut = (Period(begin * HOUR_MS, until * HOUR_MS),)
        (line,) = await ledger.usage(UsageAsked(cut))
        (times,) = await ledger.times(TimesAsked(cut))
        assert line.sums["calls"] == sum(times.counts.values()) == until - begin


# --- experiments


def tried(id: str, unit: str = "u1", arm: str = "b", stage: int = 0, counted: bool = True, **fields: Any) -> Closed:
    said = {"cost_nusd": 7, "first_us": 400} | fields
    return closed(id, arms=(Assigned("t.1", stage, arm, unit, counted), Assigned("other.1", 0, "c", unit)), **said)


async def units(ledger: Ledger, experiment: str = "t.1") -> list[UnitLine]:
    """All of them; each piece has whole units, which lie behind those of the one before."""
    found, behind = list[UnitLine](), ""
    while piece := await ledger.units(experiment, behind):
        assert behind < piece[0].unit and [line.unit for line in piece] == sorted(line.unit for line in piece)
        found, behind = [*found, *piece], piece[-1].unit
    return found


async def test_what_was_seen_of_each_unit_is_summed_by_stage_and_arm(ledger):
    now = closed("").at_ms
    ledger.append(tried("late", "u2", at_ms=now + 2))
    ledger.append(tried("a", at_ms=now + 1))
    ledger.append(tried("b", at_ms=now, duration_us=3000, first_us=None, cost_nusd=None, asked_again=True))
    ledger.append(tried("next stage", stage=1, at_ms=now + 3, guards=(Verdict("pii", "input", "mask"),)))
    ledger.append(tried("control", "u3", "control", at_ms=now - 5))
    assert await units(ledger) == [
        UnitLine(0, "b", "u1", now, 2, 0, 2, 4000, 1, 400, 1, 7, 0, 1),
        UnitLine(1, "b", "u1", now + 3, 1, 0, 1, 1000, 1, 400, 1, 7, 1),
        UnitLine(0, "b", "u2", now + 2, 1, 0, 1, 1000, 1, 400, 1, 7),
        UnitLine(0, "control", "u3", now - 5, 1, 0, 1, 1000, 1, 400, 1, 7),
    ]
    assert [line.calls for line in await units(ledger, "other.1")] == [3, 1, 1]
    assert await units(ledger, "unknown.1") == []


@pytest.mark.parametrize(
    ("ended", "failed", "answered", "priced"),
    [
        ({"outcome": "ok", "cost_nusd": 0}, 0, 1, 1),
        ({"outcome": "failed", "status": 502, "cost_nusd": 0}, 1, 0, 0),
        ({"outcome": "cut_off", "cost_nusd": 5}, 1, 0, 1),
        ({"outcome": "refused", "status": 429, "error": "limit_reached", "cost_nusd": 0}, 0, 0, 0),
        ({"outcome": "refused", "status": 402, "error": "budget_spent", "cost_nusd": 0}, 0, 0, 0),
        ({"outcome": "refused", "status": 400, "error": "upstream_refused", "cost_nusd": 0}, 1, 0, 0),
        ({"outcome": "client_left", "status": 499, "cost_nusd": 5}, 0, 0, 1),
        ({"outcome": "interrupted", "status": 499, "cost_nusd": None}, 0, 0, 0),
        ({"outcome": "ok", "cache": "hit", "cost_nusd": 0}, 0, 1, 1),
    ],
)
async def test_every_unit_that_was_exposed_counts_however_its_call_ended(ledger, ended, failed, answered, priced):
    ledger.append(tried("a", **ended))
    (line,) = await units(ledger)
    assert (line.calls, line.failed, line.answered, line.priced) == (1, failed, answered, priced)
    assert line.took_us == 1000 * answered and line.cost_nusd == (ended["cost_nusd"] or 0) * priced


async def test_calls_that_do_not_count_are_in_their_rows_and_not_in_sums(ledger):
    ledger.append(tried("chosen", counted=False))
    ledger.append(tried("shadow", kind="shadow"))
    assert await units(ledger) == []
    assert (await ledger.find("chosen")).arms[0] == Assigned("t.1", 0, "b", "u1", counted=False)
    await ledger.flush()
    assert (await ledger.find("chosen")).arms[0] == Assigned("t.1", 0, "b", "u1", counted=False)


async def test_what_is_said_later_counts_for_the_unit_of_its_call(ledger):
    rows = {name: tried(name, unit) for name, unit in (("a", "u1"), ("b", "u1"), ("c", "u2"))}
    await ledger.opine(opinion("early", "a", score=0.5), rows["a"])  # before its row is in the store
    for row in rows.values():
        ledger.append(row)
    await ledger.opine(opinion("x", "b", score=1.0), rows["b"])
    await ledger.opine(opinion("x", "b", score=0.25), rows["b"])  # anew
    await ledger.opine(opinion("y", "b", source="judge", score=0.9), rows["b"])
    await ledger.opine(opinion("z", "b", source="agent", task_completed=True, score=0.1), rows["b"])
    await ledger.opine(opinion("w", "c", task_completed=False), rows["c"])
    first, second = sorted(await units(ledger), key=lambda line: line.unit)
    assert first[14:] == (2, 750, 1, 900, 1, 1)
    assert second[14:] == (0, 0, 0, 0, 1, 0)


async def test_units_come_some_at_once_and_each_of_them_whole(ledger, monkeypatch):
    monkeypatch.setattr(tidegate.storage.sqlite.books, "_TRIALS", TrialTable("", "?", some=8))
    monkeypatch.setattr(
        tidegate.storage.postgres.books, "_TRIALS", TrialTable("tidegate.", "%s", as_bytes=True, some=8)
    )
    if isinstance(ledger, MemoryLedger):
        ledger._trials = TrialSums(some=8)
    for number in range(100):
        for stage in range(1 + number % 2):
            ledger.append(tried(f"{number}.{stage}", f"u{number:05}", stage=stage, at_ms=1_000 + number))
    first = await ledger.units("t.1")
    found = await units(ledger)
    assert 0 < len(first) < len(found) and found[: len(first)] == first
    assert [(line.unit, line.stage) for line in found] == [
        (f"u{number:05}", stage) for number in range(100) for stage in range(1 + number % 2)
    ]


async def test_it_is_known_where_equal_parts_of_the_lines_end_in_the_order_in_which_they_came(ledger):
    assert await ledger.arrivals("t.1", 30) == []
    came = []
    for number in range(10):
        unit, at_ms = f"u{number * 7 % 10}", 1_000 + number // 3
        ledger.append(tried(f"{number}", unit, at_ms=at_ms))
        ledger.append(tried(f"{number} again", unit, at_ms=at_ms + 500))
        came.append((at_ms, unit, 0, "b"))
        if number == 0:
            assert await ledger.arrivals("t.1", 30) == []
    came.sort()
    for parts in (1, 2, 3, 4, 7, 10, 30):
        ends = [10 * number // min(parts, 10) for number in range(1, min(parts, 10))]
        assert await ledger.arrivals("t.1", parts) == [came[end - 1] for end in ends]


async def test_a_row_that_comes_twice_counts_once(ledger):
    ledger.append(tried("a"))
    await ledger.flush()
    ledger.append(tried("a"))
    assert [line.calls for line in await units(ledger)] == [1]


async def test_a_unit_can_be_given_another_name(ledger):
    for id, unit in (("a", "u1"), ("b", "u1"), ("c", "u2")):
        ledger.append(tried(id, unit))
    await ledger.rename_units([("t.1", "u1", "x9"), ("t.1", "unknown", "y")])
    assert sorted((line.unit, line.calls) for line in await units(ledger)) == [("u2", 1), ("x9", 2)]
    assert sorted(line.unit for line in await units(ledger, "other.1")) == ["u1", "u2"]
