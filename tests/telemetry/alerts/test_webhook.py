from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator

import pytest

from tests.house import TWO_PROVIDERS, House, until
from tests.telemetry.receiver import Receiver, receiving
from tidegate import config
from tidegate.core.errors import ConfigError
from tidegate.core.limits import Budget
from tidegate.telemetry.alerts import WAITING, signature

CENT = 10_000_000
ENVIRONMENT = {"HOOK_SECRET": "a-secret-that-both-know"}


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    async with receiving("/hook?token=hidden") as found:
        yield found


def text(url: str, more: str = "") -> str:
    hook = f'{{url: "{url}", secret: "env:HOOK_SECRET"{more}}}'
    return f"alerts: {{webhooks: [{hook}]}}\nlimits: {{}}\nbudgets: {{default_day: 0}}\n{TWO_PROVIDERS}"


async def warned(house: House) -> None:
    """A call that passes the threshold of a budget."""
    key, _ = await house.app.gateway.auth.create(
        "ci", "test", admin=False, budgets=(Budget(CENT, "day", warn_at=(0.1,)),)
    )
    assert (await house.ask(key=key, max_tokens=900)).status == 200


async def metric(house: House, outcome: str) -> int:
    page = (await house.get("/metrics")).body.decode()
    found = re.search(rf'^tidegate_alerts_total{{outcome="{outcome}"}} (\d+)', page, re.M)
    assert found is not None
    return int(found[1])


async def test_a_threshold_is_told_to_a_webhook_signed(build_house, receiver):
    heard, url = receiver
    house = await build_house(text(url), ENVIRONMENT)
    await warned(house)
    await until(lambda: bool(heard.heard))
    headers, body = heard.heard[0]
    told = json.loads(body)
    assert (told["event"], headers["x-tidegate-event"], headers["x-tidegate-alert"]) == (
        "budget_warning",
        "budget_warning",
        told["id"],
    )
    assert told["fields"] == {"whose": "key 'ci'", "share": 0.1, "per": "day", "budget_usd": "0.010000000"}
    assert "key 'ci'" in told["text"]
    at_s = int(headers["x-tidegate-signature"].partition(",")[0].removeprefix("t="))
    assert headers["x-tidegate-signature"] == signature(ENVIRONMENT["HOOK_SECRET"], at_s, body)
    assert at_s == house.clock.wall_ns() // 1_000_000_000


async def test_what_is_not_taken_is_sent_again_as_the_same(build_house, receiver):
    heard, url = receiver
    heard.answers = [503, 429, 500]
    house = await build_house(text(url), ENVIRONMENT)
    await warned(house)
    for wait_s in (1, 2, 4):
        before = len(heard.heard)
        await until(lambda: len(heard.heard) > 0)
        await house.clock.sleep(wait_s)
        await until(lambda before=before: len(heard.heard) > before)
    await until(lambda: len(heard.heard) == 4)
    assert len({headers["x-tidegate-alert"] for headers, _ in heard.heard}) == 1


async def test_what_nobody_takes_in_time_is_dropped_and_counted(build_house, receiver):
    heard, url = receiver
    heard.answers = [503] * 100
    house = await build_house(text(url, ", deadline_s: 20"), ENVIRONMENT)
    await warned(house)
    while not await metric(house, "dropped"):
        await house.clock.sleep(5)
    assert 2 <= len(heard.heard) <= 8
    assert await metric(house, "sent") == 0


async def test_what_will_never_be_taken_is_not_sent_again(build_house, receiver):
    heard, url = receiver
    heard.answers = [404]
    house = await build_house(text(url), ENVIRONMENT)
    await warned(house)
    while not await metric(house, "dropped"):
        await asyncio.sleep(0)
    assert len(heard.heard) == 1


async def test_a_receiver_that_hangs_stops_no_call_and_the_queue_is_bounded(build_house, receiver):
    heard, url = receiver
    heard.silent = True
    house = await build_house(text(url, ", events: [loop_stopped]"), ENVIRONMENT)
    for at in range(WAITING + 10):
        house.app.world.events.notice("loop_stopped", {"key": f"k{at}", "calls": 9})
    assert await metric(house, "dropped") in (9, 10)
    assert (await house.ask("hi")).status == 200


async def test_only_what_was_asked_for_is_told(build_house, receiver):
    heard, url = receiver
    house = await build_house(text(url, ", events: [loop_stopped, spending_fast]"), ENVIRONMENT)
    await warned(house)
    for _ in range(8):
        await house.ask("improve the plan")
    await until(lambda: bool(heard.heard))
    assert [json.loads(body)["event"] for _, body in heard.heard] == ["loop_stopped"]


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        ('{url: "ftp://x/y", secret: s}', r"alerts.webhooks\[0\].url: must be like https://HOST/PATH"),
        ('{url: "https://", secret: s}', "must be like"),
        ('{url: "http://h:99999/", secret: s}', "must be like"),
        ('{url: "https://h/"}', "secret: is needed"),
        ('{url: "https://h/", secret: s, events: [loop_stoped]}', "did you mean 'loop_stopped'"),
        ('{url: "https://h/", secret: s, events: []}', "needs at least one"),
        ('{url: "https://h/", secret: s, deadline_s: 0}', "deadline_s"),
    ],
)
def test_what_cannot_be_is_told_by_its_field(hook, words):
    with pytest.raises(ConfigError, match=words):
        config.parse(f"alerts: {{webhooks: [{hook}]}}", {})
