"""Memory is bounded: the sums stay, the oldest rows go."""

from tidegate.core.ports import Closed, Totals
from tidegate.storage.memory import MemoryLedger


async def test_the_newest_rows_are_kept_and_all_are_counted():
    ledger = MemoryLedger(max_rows=3)
    for n in range(10):
        ledger.append(Closed(str(n), 1, "k", "openai", "chat", "ok", 200, 1, 1, cost_nusd=2))
    assert [row.id async for row in ledger.rows()] == ["7", "8", "9"]
    assert await ledger.find("0") is None
    assert await ledger.totals() == Totals(calls=10, cost_nusd=20)
