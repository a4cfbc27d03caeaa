"""One of several processes that use the same limits as fast as they can.

python -m tests.storage.valkey.borrower URL SEED SECONDS says `ready`, begins when a line is said to it, and tells at
its end what it spent, and of each call when it asked and was answered, in microseconds of a clock that all have.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys

from tidegate.core.limits import Charge, Claim, Meter, Taken
from tidegate.storage.valkey import ValkeyCounters, monotonic_us

WINDOW = Meter("window", 2_000, per_s=10)
MONEY = Meter("money", 40_000_000, forget_s=86_400)
CROWD = Meter("crowd", 400, forget_s=86_400, at_once=True)
LEASE_S = 2.0


async def borrow(url: str, seed: int, seconds: float) -> None:
    rng = random.Random(seed)
    counters = await ValkeyCounters.open(url, lambda name, fields: None, timeout_s=5, start_s=5, lease_s=LEASE_S)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    ends_us = monotonic_us() + round(seconds * 1e6)
    spent, lent, taken = 0, 0, []

    async def client(at: int) -> None:
        nonlocal spent, lent
        turn = 0
        while monotonic_us() < ends_us:
            turn += 1
            asked_us = monotonic_us()
            charges = [Charge(CROWD, 1, 0), Charge(WINDOW, 1, 1), Charge(MONEY, 5_000, 0)]
            claim = Claim(f"{seed}:{at}:{turn}", "h", charges)
            if isinstance(await counters.claim(claim), Taken):
                taken.append((asked_us, monotonic_us()))
                lent += claim.lent is not None
                await asyncio.sleep(rng.random() / 50)
                truth = rng.randrange(5_000)
                spent += truth
                counters.settle(claim, (0, 1, truth))
            else:
                await asyncio.sleep(0.02)

    await asyncio.gather(*(client(at) for at in range(20)))
    await counters.aclose()
    print(json.dumps({"spent": spent, "lent": lent, "taken": taken}), flush=True)


if __name__ == "__main__":
    asyncio.run(borrow(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
