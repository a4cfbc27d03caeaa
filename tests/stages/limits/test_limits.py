from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from tests.house import TWO_PROVIDERS
from tidegate.core.errors import LimitReached, Unauthenticated
from tidegate.core.limits import Limit
from tidegate.core.values import Duration

LIMITED = f"limits: {{loops: {{policy: 'off'}}, guesses: 3}}\n{TWO_PROVIDERS}"


@pytest.fixture
async def house(build_house):
    return await build_house(LIMITED)


async def key(house, *limits: Limit, name: str = "ci") -> str:
    text, _ = await house.app.gateway.auth.create(name, "test", admin=False, limits=limits)
    return text


async def test_a_key_may_make_as_many_calls_as_its_limit_says_and_hears_when_it_may_again(house):
    ci = await key(house, Limit("requests", 2, 60))
    assert [(await house.ask(key=ci)).status for _ in range(2)] == [200, 200]
    refused = await house.ask(key=ci)
    assert (refused.status, refused.error.code) == (429, "limit_reached")
    assert refused.error.message == "key 'ci' may make 2 requests per minute; try again in 60 s"
    await house.clock.sleep(int(refused.headers["retry-after"]))
    assert (await house.ask(key=ci)).status == 200


async def test_a_wait_of_more_than_a_minute_is_not_for_an_sdk(house):
    ci = await key(house, Limit("requests", 1, 3600))
    await house.ask(key=ci)
    assert (await house.ask(key=ci)).headers["x-should-retry"] == "false"


async def test_keys_do_not_share_what_is_a_keys_own(house):
    one, other = await key(house, Limit("requests", 1, 60)), await key(house, Limit("requests", 1, 60))
    assert (await house.ask(key=one)).status == 200
    assert (await house.ask(key=other)).status == 200


async def test_calls_at_once_are_counted_until_they_end(house):
    ci = await key(house, Limit("at_once", 1))
    house.provider("main").says("hello", before=Duration(5))
    house.clock.hold()
    first = house.begin(key=ci)
    await asyncio.sleep(0.02)
    assert (await house.ask(key=ci)).error.message == "key 'ci' may make 1 calls at once; wait for one to end"
    await house.clock.advance(5)
    assert (await first.reply()).status == 200
    assert (await house.ask(key=ci)).status == 200


async def test_a_client_that_leaves_gives_its_place_back(house):
    ci = await key(house, Limit("at_once", 1))
    house.provider("main").says("hello", then="stall", cut_off=0)
    leaving = house.begin(key=ci)
    await asyncio.sleep(0.02)
    leaving.leave()
    await asyncio.wait([leaving.task])
    assert (await house.ask(key=ci)).status == 200


async def test_a_call_that_was_refused_where_money_is_spent_is_not_counted(house):
    ci = await key(house, Limit("requests", 1, 60), Limit("output_tokens", 100, 60))
    assert (await house.ask(key=ci, max_tokens=101)).status == 429
    assert (await house.ask(key=ci, max_tokens=100)).status == 200


async def test_an_answer_tells_how_much_room_is_left_in_the_words_of_its_dialect(house):
    ci = await key(house, Limit("requests", 5, 60), Limit("tokens", 100_000, 86_400))
    told = (await house.ask(key=ci, max_tokens=10)).headers
    assert told["ratelimit-policy"] == '"requests-60s";q=5;w=60, "tokens-86400s";q=100000;w=86400'
    assert told["ratelimit"].startswith('"requests-60s";r=4;t=60, "tokens-86400s";r=')
    assert (told["x-ratelimit-limit-requests"], told["x-ratelimit-remaining-requests"]) == ("5", "4")
    told = (await house.ask(key=ci, max_tokens=10, path="/v1/messages", stream=False)).headers
    assert told["anthropic-ratelimit-requests-remaining"] == "3"
    assert told["anthropic-ratelimit-requests-reset"] == "2026-01-01T00:01:00Z"


async def test_without_limits_nothing_is_told_of_any(house):
    assert not [name for name in (await house.ask()).headers if "ratelimit" in name]


async def test_the_guides_chat_takes_ten_a_minute_from_an_address(house):
    async def chat() -> int:
        return (await house.begin(path="/api/chat", body=b'{"user_input": "hi"}').reply()).status

    assert [await chat() for _ in range(11)] == [200] * 10 + [429]


@pytest.mark.parametrize(
    ("limits", "asked"),
    [
        ("per_end_user: [{of: requests, most: 1}]", {"user": "ada"}),
        ("per_address: [{of: requests, most: 1}]", {}),
        ("default: [{of: requests, most: 1}]", {}),
    ],
)
async def test_an_end_user_an_address_and_keys_without_limits_may_be_limited(build_house, limits, asked):
    house = await build_house(f"limits: {{loops: {{policy: 'off'}}, {limits}}}\n{TWO_PROVIDERS}")
    assert [(await house.ask(**asked)).status for _ in range(2)] == [200, 429]


async def test_a_route_may_be_limited_for_all_who_ask_for_it(build_house):
    house = await build_house(LIMITED.replace("  fast:\n", "  fast:\n    limits: [{of: requests, most: 1, per: 1h}]\n"))
    await house.ask(key=await key(house))
    refused = await house.ask(key=await key(house))
    assert refused.error.message.startswith("route 'fast' may make 1 requests per hour")


# --- the gate


async def test_who_guesses_keys_is_not_looked_at_for_a_minute(house):
    assert [(await house.ask(key="tg_wrong")).status for _ in range(3)] == [401] * 3
    refused = await house.ask(key="tg_wrong")
    assert (refused.status, refused.error.message) == (
        429,
        "3 wrong keys came from this address within a minute; try again in 60 s",
    )
    assert (await house.get("/admin/keys", key="tg_wrong")).status == 429
    await house.clock.sleep(60)
    assert (await house.ask()).status == 200


async def test_a_guesser_does_not_lock_out_keys_that_were_good_at_the_same_address(house):
    assert (await house.ask()).status == 200
    assert [(await house.ask(key="tg_wrong")).status for _ in range(4)] == [401, 401, 401, 429]
    await house.clock.sleep(2)  # the key is looked up anew
    assert (await house.ask()).status == 200
    stranger = await key(house, name="stranger")
    assert (await house.ask(key=stranger)).status == 429


async def test_whoever_has_one_address_of_a_network_of_ipv6_has_all_and_guesses_from_one(house):
    gate = house.app.gateway.limits.gate
    for host in "123":
        with suppress(Unauthenticated):
            async with gate(f"2001:db8:1:2::{host}"):
                raise Unauthenticated("this API key is not valid")
    with pytest.raises(LimitReached, match="3 wrong keys"):
        async with gate("2001:db8:1:2:ffff::9"):
            pass
    async with gate("2001:db8:1:3::1"):
        pass


async def test_a_key_that_was_good_and_has_ended_is_a_guess_like_any_other(house):
    ci = await key(house)
    assert (await house.ask(key=ci)).status == 200
    await house.app.gateway.auth.desk.revoke(ci.split("_")[2])
    await house.clock.sleep(2)
    assert [(await house.ask(key=ci)).status for _ in range(4)] == [401, 401, 401, 429]
