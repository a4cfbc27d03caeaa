"""Three processes charge the same meters in advance, and one of them is killed."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.storage.valkey import borrower
from tests.storage.valkey.beside import start
from tests.storage.valkey.borrower import CROWD, LEASE_S, MONEY, WINDOW
from tidegate.core.limits import Charge, Claim
from tidegate.storage.valkey import ValkeyCounters
from tidegate.storage.valkey.claims import SHARE_KEPT

SECONDS = 3.0


def most_within(taken: list[list[int]], window_us: int) -> int:
    """The most that certainly were taken in one window: asked for after it began, and answered before it ended."""
    taken = sorted(taken)
    return max(
        sum(answered <= asked + window_us for later, answered in taken[at:] if later < asked + window_us)
        for at, (asked, _) in enumerate(taken)
        if at % 25 == 0
    )


@pytest.mark.timeout(60)
async def test_three_processes_never_use_more_than_there_is_and_a_dead_one_keeps_what_it_had_charged(valkey):
    processes = await asyncio.gather(*(start(borrower, valkey.url, seed, SECONDS) for seed in range(3)))
    for process in processes:  # together: on busy cores one would be at its end before another is there
        assert process.stdin is not None
        process.stdin.write(b"\n")
    counters = await ValkeyCounters.open(valkey.url, lambda name, fields: None, timeout_s=5, start_s=5, lease_s=LEASE_S)
    meters = (CROWD, WINDOW, MONEY)
    try:
        highest, killed, turn = [0, 0, 0], False, 0
        while any(process.returncode is None for process in processes):
            turn += 1
            look = Claim(f"look {turn}", "h", [Charge(meter, 0, 0) for meter in meters])
            answer = await counters.claim(look, unasked=True)
            counters.settle(look, (0, 0, 0))
            highest = [max(pair) for pair in zip(highest, answer.used, strict=True)]
            if not killed and highest[1] > WINDOW.most // 10:
                processes[0].kill()
                killed = True
            await asyncio.sleep(0.01)
        told = [json.loads(await process.stdout.read()) for process in processes[1:] if process.stdout is not None]
        await asyncio.sleep(LEASE_S + 0.2)
        last = Claim("last", "h", [Charge(meter, 0, 0) for meter in meters])
        crowd, _, money = (await counters.claim(last, unasked=True)).used
    finally:
        await counters.aclose()
    taken = [one for said in told for one in said["taken"]]
    spent, lent = sum(said["spent"] for said in told), sum(said["lent"] for said in told)
    print(f"\n{len(taken)} calls of two that lived, {lent} of them without asking; at most {highest} were charged")
    assert killed and lent > len(taken) // 10
    assert all(high <= meter.most for high, meter in zip(highest, meters, strict=True))
    assert most_within(taken, WINDOW.per_s * 1_000_000) <= WINDOW.most
    assert crowd == 0
    assert spent <= money <= MONEY.most
    assert money <= spent + highest[1] * 5_000 + MONEY.most // SHARE_KEPT, "no more than what the dead one can have had"
