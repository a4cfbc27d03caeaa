"""Who asks in a storm? Clients of two dialects, who stay or leave, with money or with little; and what they saw."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import Counter
from typing import Any

from bench.moods import FAILS, FAULTY, HEALTHY, STALLS

from tests.e2e.processes import Answer, Gateway
from tests.e2e.storm.places import Machine

THINK_S = 0.1  # at most, between two calls of one client
RETURNING = 40  # users who come again and again; all others come once

# What an answer may say: it was given, there is no money, there is a limit, the provider or a store of ours is away.
MAY_BE = {200, 402, 429, 502, 503, 504}


class Crowd:
    """`leave`, `fail` and `stall` are shares, which the weather changes."""

    def __init__(self, machines: list[Machine], keys: list[str], dice: random.Random) -> None:
        self.leave, self.fail, self.stall = 0.05, 0.0, 0.0
        self.over = False
        self.answered: dict[str, str] = {}  # what calls were told, by their ids
        self.acknowledged: set[str] = set()  # users who came once and have all of a good answer
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._machines = machines
        self._keys = keys
        self._dice = dice
        self._numbers = itertools.count()

    async def live(self, clients: int) -> None:
        self.over = False
        await asyncio.gather(*(self._client() for _ in range(clients)))

    async def _client(self) -> None:
        while not self.over:
            await asyncio.sleep(self._dice.uniform(0, THINK_S))
            up = [machine.gateway for machine in self._machines if machine.gateway is not None]
            if up:
                await self._ask(self._dice.choice(up))

    async def _ask(self, gateway: Gateway) -> None:
        dice = self._dice
        number = next(self._numbers)
        returns = dice.random() < 0.2
        user = f"again-{dice.randrange(RETURNING)}" if returns else f"once-{number}"
        script = self._script()
        stream, leaves = dice.random() < 0.5, dice.random() < self.leave
        headers = {"authorization": f"Bearer {dice.choice(self._keys)}"}
        said = f"question {number}" if dice.random() < 0.9 else "what everybody asks"
        if dice.random() < 0.25:  # in the other dialect nothing can be said to the provider beside the question
            script, user = {}, user if returns else f"message-{number}"
            fields = {"max_tokens": 50, "metadata": {"user_id": user}, "messages": [{"role": "user", "content": said}]}
            body = json.dumps({"model": "fast", "stream": stream, **fields}).encode()
            asking = gateway.begin("/v1/messages", body=body, headers=headers)
        else:
            more = {"metadata": {"script": script}} if script else {}
            asking = gateway.asking(said, stream=stream, headers=headers, user=user, max_tokens=50, **more)
        self.counts["calls"] += 1
        if leaves:
            await asyncio.sleep(dice.uniform(0, 0.03))
            await asking.leave()
            self.counts["left"] += 1
            return
        self._note(await asking.answer(), user, script)

    def _script(self) -> dict[str, Any]:
        dice = self._dice.random()
        if dice < self.fail:
            return FAILS
        if dice < self.fail + self.stall:
            return STALLS
        return self._dice.choice(HEALTHY if self._dice.random() < 0.95 else FAULTY)

    def _note(self, answer: Answer, user: str, script: dict[str, Any]) -> None:
        told = f"{answer.status}"
        if answer.status >= 400:
            error = answer.error or {}
            told += f" {error.get('code') or error.get('message')}"
        self.counts[told] += 1
        if answer.status == 0:
            return  # its machine is dying, or not yet there
        if id := answer.headers.get("x-tidegate-request-id"):
            self.answered[id] = told
        if answer.status not in MAY_BE and script.get("status") != answer.status:
            self.wrong.append(f"{user}: {answer.status} to {script}: {answer.body[-300:]!r}")
        if is_whole(answer) and not user.startswith("again-"):
            self.acknowledged.add(user)


def is_whole(answer: Answer) -> bool:
    """Its client knows that it has all of a good answer, in either dialect."""
    if answer.status != 200:
        return False
    if not answer.headers.get("content-type", "").startswith("text/event-stream"):
        return answer.whole
    return answer.acknowledged or b'"message_stop"' in answer.body
