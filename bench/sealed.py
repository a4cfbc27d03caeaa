"""What do encryption and the audit log cost? CPU for a row, of the event loop and of the writer's thread.

Rows of a usual size go through the real spool into SQLite: plain, with the audit log, sealed, with both, and with both
where every row is of somebody who was never seen. Rounds take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bench import report
from bench.report import Limit, Report
from tidegate.core.ports import AttemptRow, Closed
from tidegate.storage.ledger import SpoolLedger
from tidegate.storage.sqlite import SqliteStore
from tidegate.storage.vault import PlainVault
from tidegate.storage.vault.envelope import EnvelopeVault
from tidegate.storage.vault.kek import Keks
from tidegate.storage.vault.keyring import SqliteKeyring

ROWS, QUICK_ROWS = 10_000, 3_000
ROUNDS, QUICK_ROUNDS = 5, 3
BURST = 500
USERS = 50
LIMITS = {"audit_loop_us": Limit(2, 1), "audit_writer_us": Limit(30, 15), "sealed_loop_us": Limit(10, 5)}


class Way(NamedTuple):
    sealed: bool = False
    audited: bool = False
    users: int = USERS


WAYS = {
    "plain": Way(),
    "audit": Way(audited=True),
    "sealed": Way(sealed=True),
    "both": Way(True, True),
    "both_new_users": Way(True, True, 10**9),
}


class Cost(NamedTuple):
    loop_us: float  # of CPU for a row
    writer_us: float  # of all other threads
    rows_s: float
    bytes: float  # of the database


def add_options(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(options: argparse.Namespace) -> Report:
    found = Report("sealed", bool(options.quick), report.machine(), report.versions(), {}, limits=LIMITS)
    rows, rounds = (QUICK_ROWS, QUICK_ROUNDS) if options.quick else (ROWS, ROUNDS)
    costs: dict[str, list[Cost]] = {name: [] for name in WAYS}
    for at in range(rounds):
        for name in list(WAYS)[:: 1 if at % 2 else -1]:
            costs[name].append(asyncio.run(cost(WAYS[name], rows)))
    plain = costs["plain"]
    for name, some in costs.items():
        found.take(f"{name}_rows_s", [one.rows_s for one in some])
        found.take(f"{name}_bytes", [one.bytes for one in some])
        if name != "plain":
            pairs = list(zip(some, plain, strict=True))
            found.take(f"{name}_loop_us", [one.loop_us - bare.loop_us for one, bare in pairs])
            found.take(f"{name}_writer_us", [one.writer_us - bare.writer_us for one, bare in pairs])
    found.judge()
    return found


def said(found: Report) -> str:
    head = f"{found.machine['cpu']}, {found.machine['cores']} cores, Python {found.machine['python']}; _us: above plain"
    return f"{head}\n\n{report.figures_table(found)}"


async def cost(way: Way, count: int) -> Cost:
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name:
        folder = Path(name)
        keyring = SqliteKeyring(folder / "keyring")
        vault = EnvelopeVault(keyring, Keks([bytes(32)])) if way.sealed else PlainVault()
        home = await SqliteStore.open(folder / "tidegate.sqlite")
        ledger = await SpoolLedger.open(folder, home.books, vault, _deaf, audited=way.audited)
        rows = [_row(n, n % way.users) for n in range(count)]
        began, cpu, loop_s = time.perf_counter(), time.process_time(), 0.0
        for at in range(0, count, BURST):
            before = time.thread_time()
            for row in rows[at : at + BURST]:
                ledger.append(row)
            loop_s += time.thread_time() - before
            await asyncio.sleep(0)
        await ledger.flush()
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        size = _size(folder)
        await ledger.aclose()
        await home.aclose()
        keyring.close()
    return Cost(loop_s / count * 1e6, (cpu - loop_s) / count * 1e6, count / took, size / count)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("tidegate.sqlite*"))


def _row(n: int, user: int) -> Closed:
    usage = {"input": 300, "output": 200}
    price = {"rates": {"input": 150_000, "output": 600_000}, "source": "list"}
    attempt = AttemptRow("main", "gpt", "ok", 30, 900_000, 400_000, 200, usage=usage, price=price, cost_nusd=165_000)
    return Closed(
        id=f"req_{n:031x}",
        at_ms=1_790_000_000_000 + n,
        key_id="abcdefghijkl",
        dialect="openai",
        operation="chat",
        outcome="ok",
        status=200,
        duration_us=900_000,
        overhead_us=300,
        route="fast",
        model="fast",
        target="main/gpt",
        stream=True,
        first_us=400_000,
        attempts=(attempt,),
        usage=usage,
        cost_nusd=165_000,
        user=f"user-{user}",
        session=f"session-{n // 10}",
        organisation_id="default",
        team_id="search",
    )


def _deaf(name: str, fields: Mapping[str, Any]) -> None:
    """Nobody is told."""
