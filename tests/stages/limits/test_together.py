"""What several processes see together, on a real Valkey: here a process, and another one's counters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.clock import now_s
from tests.house import TWO_PROVIDERS, House, lived_in, until
from tidegate.core.limits import Budget, Limit
from tidegate.core.usage import UsageAsked, UsageLine
from tidegate.stages.budgets import PATIENCE_S
from tidegate.storage.valkey.claims import CLAIM

HOUSE = """
limits: {{loops: {{wait: 0s}}, chat: []}}
budgets: {{default_day: 0}}
storage: {{valkey: "{valkey}", valkey_timeout: 5s}}
"""


class Heard:
    """The socket to the server, and each write to it."""

    def __init__(self, transport: object) -> None:
        self._transport = transport
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self._transport.write(data)  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Callable[..., object]:
        return getattr(self._transport, name)  # type: ignore[no-any-return]


@pytest.fixture
async def house(build_house, valkey) -> House:
    return await build_house(HOUSE.format(valkey=valkey.url) + TWO_PROVIDERS)


async def key(house: House, **fields: object) -> str:
    text, _ = await house.app.gateway.auth.create("ci", "test", admin=False, **fields)
    return text


async def test_a_call_with_limits_loops_pace_and_a_budget_makes_two_round_trips(house):
    ci = await key(house, limits=(Limit("requests", 100, 60),), budgets=(Budget(10**10, "day"),))
    assert (await house.ask("one", key=ci, max_tokens=9)).status == 200
    wire = house.app.world.counters._together._connection._wire
    wire._transport = heard = Heard(wire._transport)
    assert (await house.ask("two", key=ci, max_tokens=9)).status == 200
    asking = [write for write in heard.writes if b"LRANGE" in write or CLAIM.sha in write]
    door, purchase = asking[0], asking[1]
    assert b"LRANGE" in door and door.count(CLAIM.sha) == 1, "what others have seen is asked with the door's claim"
    assert purchase.count(CLAIM.sha) == 1 and b":pace:300" in purchase
    assert all(b"LRANGE" not in write and b"pace" not in write for write in asking[2:]), "the rest is settled"


async def test_a_ledger_that_is_silent_holds_no_call_up_for_long(house, monkeypatch):
    """What it has is a repair: a Valkey that has lost nothing knows as much."""
    keys = [await key(house, budgets=(Budget(10**10, "day"),)) for _ in range(4)]
    asked = []

    async def never(_: object) -> None:
        asked.append(True)
        await asyncio.Event().wait()

    monkeypatch.setattr(house.app.world.ledger, "usage", never)
    house.clock.hold()
    began = now_s()
    replies = await asyncio.gather(*(house.ask(key=one, max_tokens=9) for one in keys))
    assert [reply.status for reply in replies] == [200] * 4
    assert len(asked) == 4 and now_s() - began < 2 * PATIENCE_S, "side by side, and none for long"
    again = await house.ask(key=keys[0], max_tokens=9)
    assert again.status == 200 and len(asked) == 4, "it is left alone for a while"


async def test_at_midnight_no_purchase_waits_for_a_ledger(house, monkeypatch):
    """Nobody has spent anything of a day before it began, and this process was there."""
    ci = await key(house, budgets=(Budget(10**10, "day"),))
    ledger, asked = house.app.world.ledger, []
    usage = ledger.usage

    async def listening(question: UsageAsked) -> list[UsageLine]:
        asked.append(question)
        return await usage(question)

    monkeypatch.setattr(ledger, "usage", listening)
    assert (await house.ask(key=ci, max_tokens=9)).status == 200 and len(asked) == 1
    for _ in range(2):
        await house.clock.sleep(86_400)
        assert (await house.ask(key=ci, max_tokens=9)).status == 200 and len(asked) == 1


async def test_a_client_that_is_only_limited_feeds_no_loop(house):
    ci = await key(house, limits=(Limit("requests", 1, 60),))
    replies = [await house.ask("again", key=ci) for _ in range(12)]
    assert [reply.error.code for reply in replies[1:]] == ["limit_reached"] * 11
    await house.clock.sleep(61)
    assert len(await house.app.world.counters.recall("default", next(iter(await places(house))))) == 1


async def places(house: House) -> list[str]:
    found = await house.app.world.counters._together._ask(b"KEYS", b"*turns:*")
    return [place.decode().removeprefix("tidegate:default:") for place in found]


async def test_what_another_version_left_is_passed_over(house):
    ci = await key(house)
    assert (await house.ask("again", key=ci)).status == 200
    (place,) = await places(house)
    house.app.world.counters.remember("default", place, b"nothing of ours", 20, 60)
    assert (await house.ask("again", key=ci)).status == 200


async def test_one_session_is_one_short_list_that_is_forgotten(house, valkey):
    ci = await key(house)
    for at in range(30):
        await house.ask(f"{'word ' * at}{chr(97 + at % 26) * 3}", key=ci)
    (place,) = await places(house)
    turns = await house.app.world.counters.recall("default", place)
    print(f"\n{len(turns)} turns of at most {max(map(len, turns))} bytes")
    assert len(turns) == 20 and max(map(len, turns)) < 400
    left_ms = await house.app.world.counters._together._ask(b"PTTL", f"tidegate:default:{place}")
    assert 0 < left_ms <= 300_000


async def test_who_comes_while_the_last_wrong_key_is_still_being_told_hears_what_was_counted(own_valkey, tmp_path):
    config = HOUSE.replace("chat: []", "chat: [], guesses: 2").format(valkey=own_valkey.url) + TWO_PROVIDERS
    async with (
        lived_in(config, tmp_path / "one") as one,
        lived_in(config, tmp_path / "other", clock=one.clock) as other,
    ):
        assert (await other.ask(key="tg_live_no_key_000000")).status == 401
        await until(lambda: not other.left())
        own_valkey.pause()
        try:
            assert (await one.ask(key="tg_live_no_key_000000")).status == 401
            second = asyncio.create_task(one.ask(key="tg_live_no_key_000000"))
            await asyncio.wait({second}, timeout=0.05)
        finally:
            own_valkey.go_on()
        assert (await second).status == 429, "two, of which the other has seen one"
        await until(lambda: not one.left() and not other.left())
