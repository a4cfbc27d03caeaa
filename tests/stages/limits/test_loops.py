from __future__ import annotations

import itertools
import random

import pytest

from tests.house import TWO_PROVIDERS

HOUSE = f"limits: {{chat: []}}\nbudgets: {{default_day: 0}}\n{TWO_PROVIDERS}"
WORDS = ["".join(one) for one in itertools.product("bdfklmnprst", "aeiou", "nrst", "aeiou")]


@pytest.fixture
async def house(build_house):
    return await build_house(HOUSE)


def says(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


async def stopped_at(house, turns, **options) -> int | None:
    """Which request, from 1, was the first that was refused as a loop."""
    for at, turn in enumerate(turns, 1):
        reply = await house.ask(turn, max_tokens=5, **options)
        if reply.status == 429 and reply.error.code == "loop_suspected":
            return at
    return None


PROMPT = "Improve the following plan, step by step, and answer with the improved plan and nothing else: we sell tea."
LOOPS = {
    "exact": [PROMPT] * 20,
    "timestamped": [f"[2026-11-26 12:{at:02}:07] {PROMPT} (try {at})" for at in range(20)],
    "growing": [f"{PROMPT} " * (at + 1) for at in range(20)],
    "nearly the same": [f"{PROMPT} {WORDS[at]}" for at in range(20)],
}


@pytest.mark.parametrize("loop", LOOPS)
async def test_a_loop_is_stopped_by_its_tenth_request(house, loop):
    at = await stopped_at(house, LOOPS[loop])
    print(f"\n{loop} loop: stopped at request {at}")
    assert at is not None and at <= 10


async def test_two_prompts_that_alternate_are_stopped_by_the_twentieth_request(house):
    at = await stopped_at(house, ["Ask the other agent what it thinks of tea.", "What do you think of tea?"] * 15)
    print(f"\nping-pong: stopped at request {at}")
    assert at is not None and at <= 20


async def test_who_is_stopped_hears_which_calls_look_alike_and_how_to_go_on(house):
    replies = [await house.ask(PROMPT) for _ in range(8)]
    refused = replies[-1]
    assert refused.status == 429
    assert replies[5].id in refused.error.message
    assert "tidegate keys resume" in refused.error.message and "batch" in refused.error.message
    assert refused.headers["x-should-retry"] == "false"
    assert "look alike" in replies[6].headers["x-tidegate-notice"]


async def test_a_loop_that_was_resumed_may_go_on(house):
    replies = [await house.ask(PROMPT) for _ in range(8)]
    key_id = replies[0].row.key_id
    await house.app.gateway.limits.loops.resume(key_id)
    assert (await house.ask(PROMPT)).status == 200


async def test_calls_that_are_far_apart_are_no_loop(house):
    for _ in range(12):
        assert (await house.ask(PROMPT)).status == 200
        await house.clock.sleep(60)


async def test_sessions_are_looked_at_one_by_one(house):
    for at in range(24):
        assert (await house.ask(PROMPT, headers={"x-tidegate-session": f"s{at % 4}"})).status == 200


async def test_a_call_that_went_round_too_often_is_stopped(house):
    assert (await house.ask("a", headers={"x-tidegate-hop": "8"})).status == 200
    assert (await house.ask("b", headers={"x-tidegate-hop": "9"})).error.code == "loop_suspected"


async def test_the_next_tidegate_hears_how_far_a_call_has_come(house):
    server = house.provider("main")
    await house.ask("a", headers={"x-tidegate-hop": "3"})
    assert (b"x-tidegate-hop", b"4") in server.requests[-1].headers


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_a_trace_says_how_far_a_call_has_come_where_agents_pass_nothing_else_on(house):
    server = house.provider("main")
    assert (await house.ask("a", headers={"traceparent": TRACE, "tracestate": "other=1, tidegate=7"})).status == 200
    sent = dict(server.requests[-1].headers)
    assert (sent[b"traceparent"], sent[b"tracestate"]) == (TRACE.encode(), b"tidegate=8,other=1")
    reply = await house.ask("b", headers={"traceparent": TRACE, "tracestate": "tidegate=9"})
    assert reply.error.code == "loop_suspected"


@pytest.mark.parametrize("trace", ["", "00-1-2-03", TRACE.upper(), TRACE + "-x"])
async def test_what_is_no_trace_goes_no_further(house, trace):
    server = house.provider("main")
    assert (await house.ask("a", headers={"traceparent": trace, "tracestate": "tidegate=99"})).status == 200
    assert b"traceparent" not in dict(server.requests[-1].headers)


async def test_one_trace_of_many_calls_is_no_loop(house):
    for at in range(30):
        assert (await house.ask(WORDS[at], headers={"traceparent": TRACE})).status == 200


@pytest.mark.parametrize(("policy", "statuses"), [("warn", {200}), ("throttle", {200}), ("off", {200})])
async def test_a_policy_may_do_less_than_stop(build_house, policy, statuses):
    house = await build_house(HOUSE.replace("chat: []", f"chat: [], loops: {{policy: '{policy}'}}"))
    assert {(await house.ask(PROMPT)).status for _ in range(12)} == statuses


# --- what is no loop


def chat(rng):
    history = []
    for turn in range(30):
        history += [{"role": "user", "content": says(rng, rng.randrange(2, 25)) if turn % 4 else "go on"}]
        yield list(history)
        history += [{"role": "assistant", "content": says(rng, 20)}]


def support(rng):
    greeting = "Hello, I am a customer of your shop."
    for _ in range(60):
        yield f"{greeting} {says(rng, rng.randrange(8, 30))}"


def flaky(rng):
    for _ in range(20):
        turn = says(rng, 12)
        yield from [turn] * 3


def templated(rng):
    for _ in range(40):
        yield f"Classify the following review as good or bad, answer with one word only: {says(rng, 5)}"


def batch(rng):
    yield from [PROMPT] * 40


BENIGN = {"chat": chat, "support": support, "long batch": batch, "flaky client": flaky, "templated batch": templated}


@pytest.mark.parametrize("workload", BENIGN)
async def test_work_is_no_loop(house, workload):
    scopes = ("batch",) if "batch" in workload else ()
    key, _ = await house.app.gateway.auth.create("work", "test", admin=False, scopes=scopes)
    assert await stopped_at(house, BENIGN[workload](random.Random(6)), key=key) is None


async def test_an_administrator_lets_a_stopped_key_go_on(house):
    replies = [await house.ask(PROMPT) for _ in range(8)]
    assert replies[-1].status == 429
    path = f"/admin/keys/{replies[0].row.key_id}"
    assert (await house.get(path)).events[0]["loop_ms"] == replies[-1].row.at_ms
    resumed = await house.begin(path=f"{path}/resume", body=b"").reply()
    assert resumed.status == 200
    assert (await house.get(path)).events[0]["loop_ms"] is None
    assert (await house.ask(PROMPT)).status == 200


async def test_who_was_only_told_is_not_shown_as_stopped_and_later_nobody_is(house):
    replies = [await house.ask(PROMPT) for _ in range(7)]
    path = f"/admin/keys/{replies[0].row.key_id}"
    assert (await house.get(path)).events[0]["loop_ms"] is None
    assert (await house.ask(PROMPT)).status == 429
    await house.clock.sleep(301)
    assert (await house.get(path)).events[0]["loop_ms"] is None
