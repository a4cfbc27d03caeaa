"""One of several processes that spend one budget: python -m tests.storage.valkey.spender URL SEED CALLS

Says `ready`, begins when a line is said to it, and tells at its end how much it settled and the most that it ever saw
used.
"""

from __future__ import annotations

import asyncio
import random
import sys

from tidegate.core.limits import Charge, Claim, Meter, Taken
from tidegate.storage.valkey import ValkeyCounters

LIMIT = 1_000_000_000
KEY = Meter("key:money", LIMIT, forget_s=86_400)
TEAM = Meter("team:money", 2 * LIMIT, forget_s=86_400)
LEASE_S = 2.0


async def spend(url: str, seed: int, calls: int) -> None:
    rng = random.Random(seed)
    counters = await ValkeyCounters.open(url, lambda name, fields: None, timeout_s=5, start_s=5, lease_s=LEASE_S)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    settled = highest = 0
    crowd = asyncio.Semaphore(50)

    async def call(at: int) -> None:
        nonlocal settled, highest
        async with crowd:
            amount = rng.randrange(1, 40_000_000)
            claim = Claim(f"{seed}:{at}", "h", [Charge(KEY, amount, 0), Charge(TEAM, amount, 0)])
            claiming = asyncio.ensure_future(counters.claim(claim))
            if rng.random() < 0.1:  # a client that leaves at once
                await asyncio.sleep(0)
                claiming.cancel()
                await asyncio.wait([claiming])
                return
            answer = await claiming
            if isinstance(answer, Taken):
                highest = max(highest, answer.used[0])
                await asyncio.sleep(rng.random() / 20)
                truth = rng.randrange(amount // 50 + 1)
                settled += truth
                counters.settle(claim, (truth, truth))

    await asyncio.gather(*(call(at) for at in range(calls)))
    while counters._untold:
        await asyncio.sleep(0.01)
    await counters.aclose()
    print(settled, highest, flush=True)


if __name__ == "__main__":
    asyncio.run(spend(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
