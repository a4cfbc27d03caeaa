"""What does a busy month leave behind? Rows as the ledger stores them: people, sessions, routes, failures, hits.

The same rows for the same number, whoever asks. Two thousand end users, some of whom ask much more than others, five
times in a session of ten minutes; one call in forty fails, one in five is answered by the cache.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

import msgspec

from tidegate.core.guard import Verdict
from tidegate.core.ports import AttemptRow, Closed
from tidegate.storage.books import Books, Position, Row
from tidegate.storage.personal import SPOOL
from tidegate.storage.vault import PlainVault

BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
DAYS = 30
END = BEGIN + timedelta(days=DAYS)
TEAMS, KEYS, USERS = 6, 30, 2_000
AT_A_TIME, CALLS_A_SESSION = 50, 5  # sessions, of a million calls in the month
ROUTES = ("fast", "careful", "cheap")
TARGETS = ("main/large", "main/small", "spare/large", "spare/small", "local/tiny")
AT_ONCE = 5_000  # rows of a transaction, when a month is filled in

_PRICE = {"rates": {"input": 150_000, "output": 600_000}, "source": "list"}
_LOOKED = (Verdict("pii", "input", "mask"),)


def rows(calls: int, seed: int = 0) -> Iterator[Closed]:
    """In the order of their time, evenly over the month."""
    rng = random.Random(seed)
    begin_ms, lasts_ms = int(BEGIN.timestamp() * 1000), DAYS * 86_400_000
    talking: list[tuple[int, int]] = [(0, 0)] * max(AT_A_TIME * calls // 1_000_000, 1)  # (user, session)
    for n in range(calls):
        place = rng.randrange(len(talking))
        if not talking[place][1] or rng.random() < 1 / CALLS_A_SESSION:
            talking[place] = min(int(rng.expovariate(4 / USERS)), USERS - 1), n + 1
        yield _row(n, begin_ms + n * lasts_ms // calls, *talking[place], rng)


def _row(n: int, at_ms: int, user: int, session: int, rng: random.Random) -> Closed:
    key, luck = user % KEYS, rng.random()
    failed, hit = luck < 0.025, luck > 0.8
    target = None if failed or hit else TARGETS[int(rng.random() ** 2 * len(TARGETS))]
    input, output = 100 + int(rng.random() * 900), int(rng.expovariate(1 / 200))
    cost_nusd = 0 if failed or hit else 150 * input + 600 * output
    took_us = 3_000 if hit else int(rng.lognormvariate(13.5, 0.5))
    usage = {} if failed or hit else {"input": input, "output": output}
    provider, _, model = (target or "main/large").partition("/")
    attempt = AttemptRow(
        provider, model, "failed" if failed else "ok", 300, took_us, took_us // 3, 503 if failed else 200,
        usage=usage, price=_PRICE, cost_nusd=cost_nusd,
    )  # fmt: skip
    return Closed(
        id=f"req_{n:031x}",
        at_ms=at_ms,
        key_id=f"key{key:09}",
        dialect="openai",
        operation="chat",
        outcome="failed" if failed else "ok",
        status=502 if failed else 200,
        duration_us=took_us,
        overhead_us=300,
        route=ROUTES[int(rng.random() ** 2 * len(ROUTES))],
        model="fast",
        target=target,
        stream=True,
        first_us=None if failed else took_us // 3,
        error="upstream_failed" if failed else None,
        attempts=() if hit else (attempt,),
        usage=usage,
        cost_nusd=cost_nusd,
        user=f"user-{user}",
        session=f"session-{session}",
        organisation_id="default",
        team_id=f"team{key % TEAMS}",
        cache="hit" if hit else "miss",
        cache_layer="exact" if hit else None,
        saved_nusd=200_000 if hit else 0,
        guards=_LOOKED if luck > 0.98 else (),
    )


def fill(books: Books, calls: int, later_ms: int = 0) -> None:
    """Through the door that rows always take, in larger steps; `later_ms`: another month than that. Blocks."""
    encode, seal = msgspec.json.Encoder().encode, PlainVault().seal
    found, taken = rows(calls), 0
    if later_ms:
        found = (msgspec.structs.replace(row, at_ms=row.at_ms + later_ms) for row in found)
    while some := [Row(row, seal(encode(row), SPOOL)) for row in islice(found, AT_ONCE)]:
        taken += len(some)
        books.take("a busy month", some, Position(0, taken))
