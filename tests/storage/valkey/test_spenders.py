"""Four processes spend one budget, and one of them is killed."""

from __future__ import annotations

import asyncio

import pytest

from tests.storage.valkey import spender
from tests.storage.valkey.beside import start
from tests.storage.valkey.spender import KEY, LEASE_S, LIMIT, TEAM
from tidegate.core.limits import Charge, Claim
from tidegate.storage.valkey import ValkeyCounters

CALLS = 400


@pytest.mark.timeout(60)
async def test_four_processes_never_spend_more_than_there_is_and_a_dead_one_holds_nothing(valkey):
    processes = await asyncio.gather(*(start(spender, valkey.url, seed, CALLS) for seed in range(4)))
    for process in processes:  # together: on busy cores one would be at its end before another is there
        assert process.stdin is not None
        process.stdin.write(b"\n")
    counters = await ValkeyCounters.open(valkey.url, lambda name, fields: None, timeout_s=5, start_s=5, lease_s=LEASE_S)
    try:
        highest = killed = 0
        while any(process.returncode is None for process in processes):
            look = Claim(f"look {highest}", "h", [Charge(KEY, 0, 0), Charge(TEAM, 0, 0)])
            answer = await counters.claim(look, unasked=True)
            counters.settle(look, (0, 0))
            highest = max(highest, answer.used[0])
            if not killed and highest > LIMIT // 8:  # early: all four have much to do still
                processes[0].kill()
                killed = 1
            await asyncio.sleep(0.002)
        told = [(await process.stdout.read()).split() for process in processes[1:]]
        settled = sum(int(one[0]) for one in told)
        highest = max(highest, *(int(one[1]) for one in told))
        await asyncio.sleep(LEASE_S + 0.2)
        assert await counters.holds("h") == 0
        last = Claim("last", "h", [Charge(KEY, 0, 0), Charge(TEAM, 0, 0)])
        used = (await counters.claim(last, unasked=True)).used
    finally:
        await counters.aclose()
    print(f"\nat most {highest} of {LIMIT} nano-dollars were used at any time; {used[0]} are settled at the end,")
    print(f"{settled} by the three that lived")
    assert killed and LIMIT // 2 < highest <= LIMIT
    assert settled <= used[0] == used[1] <= LIMIT
