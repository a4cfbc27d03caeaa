"""Any failure, still an answer: targets that are set aside, keys, other routes, hedges, queues, clients that leave."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.house import Build, House, Reply, until
from tidegate.core.values import Secret
from tidegate.upstream.latency import MIN_SAMPLES

MS = 1_000  # microseconds

ONE_TRY = """
logs: {calls: false}
upstream: {retry: {tries: 1}, breaker: {failures: 2, open_for: 60s}}
providers:
  main: {type: scripted, price: {input: 1, output: 2}}
  spare: {type: scripted, price: {input: 3, output: 6}}
"""
FAST = "routes: {fast: {targets: [{provider: main, model: m}, {provider: spare, model: m, order: 2}]%s}}"


@pytest.fixture
async def house(build_house: Build) -> House:
    """Each target is asked once, and set aside after two failures."""
    return await build_house(ONE_TRY + FAST % "")


async def break_main(house: House) -> None:
    house.provider("main").always(status=503)
    for _ in range(2):
        await house.ask()


def retry_after(reply: Reply) -> int:
    return int(reply.headers["retry-after"])


# --- set aside -------------------------------------------------------------------------------------------------------


async def test_a_target_that_fails_is_set_aside_and_not_asked_any_more(house: House):
    await break_main(house)
    asked = len(house.provider("main").requests)
    reply = await house.ask()
    assert reply.text and reply.attempts == ["spare: ok"] and len(house.provider("main").requests) == asked
    assert reply.row.passed_over == ("main/m: set aside after 2 failures in a row; asked again in 60 s",)
    assert reply.headers["x-tidegate-tried"] == reply.row.passed_over[0] and reply.headers["x-tidegate-attempts"] == "1"


async def test_when_its_time_is_over_one_call_tries_it_and_then_all_come_back(house: House):
    await break_main(house)
    await house.clock.sleep(61)
    house.clock.hold()
    house.provider("main").always("hello", before=1)
    asking = [house.begin() for _ in range(5)]
    await until(lambda: sum(one.task.done() for one in asking) == 4)
    await house.clock.advance(1)
    replies = [await one.reply() for one in asking]
    assert sorted(reply.attempts[-1] for reply in replies) == ["main: ok"] + ["spare: ok"] * 4
    house.provider("main").always("hello")
    assert (await house.ask()).attempts == ["main: ok"]


async def test_a_probe_that_fails_is_answered_elsewhere_and_not_repeated(house: House):
    await break_main(house)
    await house.clock.sleep(61)
    assert (await house.ask()).attempts == ["main: failed", "spare: ok"]
    assert (await house.ask()).attempts == ["spare: ok"]


async def test_a_probe_whose_client_leaves_says_nothing_and_the_next_call_tries(house: House):
    await break_main(house)
    await house.clock.sleep(61)
    house.clock.hold()
    house.provider("main").always("hello", before=3600)
    asking = house.begin()
    asked = len(house.provider("main").requests)
    await until(lambda: len(house.provider("main").requests) > asked)
    asking.leave()
    await asking.task
    house.provider("main").always("hello")
    assert (await house.ask()).attempts == ["main: ok"]


@pytest.mark.parametrize("status", [400, 404, 413, 422, 401, 429])
async def test_what_clients_and_keys_do_wrong_sets_nobody_aside(house: House, status: int):
    house.provider("main").always(status=status)
    for _ in range(5):
        await house.ask()
    assert [one.state for one in house.app.gateway.upstream.targets.seen()] == ["closed", "closed"]


async def test_clients_that_leave_set_nobody_aside(house: House):
    house.clock.hold()
    house.provider("main").always("hello", before=3600)
    for count in range(1, 6):
        asking = house.begin()
        await until(lambda count=count: len(house.provider("main").requests) == count)
        asking.leave()
        await asking.task
    house.provider("main").always("hello")
    assert (await house.ask()).attempts == ["main: ok"]


async def test_a_client_with_little_patience_sets_nobody_aside(house: House):
    house.clock.hold()
    house.provider("main").always("hello", before=3600)
    for _ in range(3):
        reply = await house.ask(headers={"x-tidegate-timeout-ms": "30"})
        assert reply.attempts[0] == "main: timeout"
    house.provider("main").always("hello")
    assert (await house.ask()).attempts == ["main: ok"]


async def test_streams_that_break_set_a_target_aside(house: House):
    house.provider("main").always(("hel", "lo"), cut_off=1)
    for _ in range(2):
        assert (await house.ask()).error.code == "upstream_cut_off"
    assert (await house.ask()).attempts == ["spare: ok"]


async def test_one_that_is_set_aside_is_tried_before_its_time_when_nobody_else_is_left(house: House):
    await break_main(house)
    house.provider("main").always("well again")
    house.provider("spare").says(status=503)
    await house.clock.sleep(1)  # one try in a second: who has just failed is left alone
    reply = await house.ask()
    assert reply.text == "well again" and reply.attempts == ["spare: failed", "main: ok"]
    assert (await house.ask()).attempts == ["main: ok"], "and so it is in use again"


async def test_when_all_are_set_aside_the_client_hears_until_when_at_once(house: House):
    await break_main(house)
    house.provider("spare").always(status=503)
    for _ in range(2):
        await house.ask()
    await house.clock.sleep(10)
    before_ns = house.clock.now_ns()
    for _ in range(5):
        reply = await house.ask()
        assert (reply.status, reply.error.code) == (503, "upstream_unavailable") and not reply.attempts
        assert 40 <= retry_after(reply) <= 50 and "main/m: set aside" in reply.error.message
        assert len(reply.row.passed_over) == 2
    assert house.clock.now_ns() == before_ns, "nothing was waited for"


async def test_a_call_that_falls_back_past_an_open_breaker_loses_no_time(house: House):
    await break_main(house)
    before_ns = house.clock.now_ns()
    for _ in range(20):
        assert (await house.ask()).attempts == ["spare: ok"]
    assert house.clock.now_ns() == before_ns, "nothing was waited for"


# --- seen and said by admins -----------------------------------------------------------------------------------------


async def seen(house: House, name: str) -> dict[str, Any]:
    reply = await house.get("/admin/targets")
    return next(one for one in json.loads(reply.body) if one["target"] == name)


async def test_an_admin_sees_what_is_set_aside_why_and_until_when(house: House):
    await break_main(house)
    main, spare = await seen(house, "main/m"), await seen(house, "spare/m")
    now_ms = house.clock.wall_ns() // 1_000_000
    assert (main["state"], main["why"]) == ("open", "2 failures in a row")
    assert main["since_ms"] <= now_ms < main["next_probe_ms"] <= now_ms + 60_000
    assert (spare["state"], spare["next_probe_ms"], spare["busy"]) == ("closed", None, 0)
    assert spare["first_token_ms"] is not None


async def test_an_admin_sets_aside_keeps_in_and_resets(house: House):
    async def say(wanted: str) -> dict[str, Any]:
        body = json.dumps({"breaker": wanted}).encode()
        reply = await house.begin(path="/admin/targets/main/m", method="POST", body=body).reply()
        assert reply.status == 200
        return json.loads(reply.body)

    told = await say("open")
    assert (told["state"], told["forced"], told["next_probe_ms"]) == ("open", True, None)
    await house.clock.sleep(3600)
    assert (await house.ask()).row.passed_over == ("main/m: set aside by an admin",)
    assert (await say("closed"))["state"] == "closed"
    house.provider("main").always(status=503)
    for _ in range(4):
        assert (await house.ask()).attempts == ["main: failed", "spare: ok"]
    assert not (await say("reset"))["forced"]
    for _ in range(2):
        await house.ask()
    assert (await house.ask()).attempts == ["spare: ok"]


async def test_what_an_admin_says_of_nobody_is_refused(house: House):
    for path, wanted, status in (("main/m", "ajar", 400), ("nobody/m", "open", 404)):
        body = json.dumps({"breaker": wanted}).encode()
        reply = await house.begin(path=f"/admin/targets/{path}", method="POST", body=body).reply()
        assert reply.status == status
    key, _ = await house.app.gateway.auth.create("a client", "test", admin=False)
    assert (await house.get("/admin/targets", key=key)).status == 403


async def test_metrics_show_state_and_why_attempts_were_made_again(house: House):
    await break_main(house)
    text = (await house.get("/metrics")).body.decode()
    assert 'tidegate_target_state{target="main/m"} 2.0' in text
    assert 'tidegate_target_state{target="spare/m"} 0.0' in text
    assert 'tidegate_attempts_again_total{provider="spare",why="next"} 2.0' in text
    assert 'tidegate_notices_total{name="breaker_open"} 1.0' in text


async def test_a_reload_forgets_nothing_of_a_target(house: House):
    await break_main(house)
    await house.app.reload(house.app.config)
    assert (await house.ask()).attempts == ["spare: ok"]


# --- keys ------------------------------------------------------------------------------------------------------------


def use_keys(house: House, provider: str, *keys: str) -> None:
    house.app.gateway.providers[provider].keys = tuple(Secret(key, f"env:{key.upper()}") for key in keys)


def sent_keys(house: House, provider: str) -> Iterator[str]:
    for request in house.provider(provider).requests:
        yield dict(request.headers)[b"authorization"].decode().removeprefix("Bearer ")


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_key_that_is_refused_is_set_aside_and_the_next_is_used_at_once(house: House, status: int):
    use_keys(house, "main", "one", "two")
    house.provider("main").says(status=status)
    reply = await house.ask()
    assert reply.attempts == ["main: failed", "main: ok"] and reply.row.attempts[1].why == "key"
    for _ in range(3):
        assert (await house.ask()).attempts == ["main: ok"]
    assert list(sent_keys(house, "main")) == ["one", "two", "two", "two", "two"]


async def test_when_all_keys_are_set_aside_the_next_target_is_asked_and_later_they_are_used_again(house: House):
    use_keys(house, "main", "one", "two")
    house.provider("main").says(status=401)
    house.provider("main").says(status=401)
    assert (await house.ask()).attempts == ["main: failed", "main: failed", "spare: ok"]
    reply = await house.ask()
    assert reply.attempts == ["spare: ok"]
    assert reply.row.passed_over == ("main/m: all its keys were refused and are set aside",)
    await house.clock.sleep(61)
    assert (await house.ask()).attempts == ["main: ok"]


async def test_a_key_that_is_limited_rests_and_the_next_is_used(build_house: Build):
    house = await build_house()
    use_keys(house, "main", "one", "two")
    house.provider("main").says(status=429, headers={"retry-after": "30"})
    reply = await house.ask()
    assert reply.attempts == ["main: limited", "main: ok"]
    assert reply.row.attempts[1].sent_us - reply.row.attempts[0].ended_us <= 100 * MS
    await house.ask()
    assert list(sent_keys(house, "main")) == ["one", "two", "two"]


async def test_an_account_without_money_is_a_matter_of_the_key(house: House):
    use_keys(house, "main", "one", "two")
    house.provider("main").says(status=429, body='{"error": {"message": "nothing left", "code": "insufficient_quota"}}')
    assert (await house.ask()).attempts == ["main: failed", "main: ok"]


# --- other routes ----------------------------------------------------------------------------------------------------

TYPED = (
    ONE_TRY
    + """
routes:
  fast:
    targets: [{provider: main, model: m}]
    longer: long
    content_policy: spare/strict
    fallback: spare/last
  long: {targets: [{provider: spare, model: long}]}
"""
)


@pytest.mark.parametrize(
    ("status", "code", "target", "why"),
    [
        (400, "context_length_exceeded", "spare/long", "longer"),
        (400, "content_policy_violation", "spare/strict", "content_policy"),
        (503, "server_error", "spare/last", "fallback"),
        (404, "model_not_found", "spare/last", "fallback"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_each_kind_of_failure_has_a_route_of_its_own(
    build_house: Build, status: int, code: str, target: str, why: str, stream: bool
):
    house = await build_house(TYPED)
    house.provider("main").says(status=status, body=json.dumps({"error": {"message": "no", "code": code}}))
    reply = await house.ask(stream=stream)
    assert reply.status == 200 and reply.row.target == target and reply.headers["x-tidegate-target"] == target
    assert [one.why for one in reply.row.attempts] == ["first", why] and reply.row.route == "fast"


async def test_an_error_in_place_of_an_answer_goes_where_its_kind_goes(build_house: Build):
    house = await build_house(TYPED)
    house.provider("main").says(body='{"error": {"message": "too long", "code": "context_length_exceeded"}}')
    assert (await house.ask(stream=False)).row.target == "spare/long"


async def test_what_no_route_is_there_for_is_given_back(house: House):
    body = '{"error": {"message": "too long", "code": "context_length_exceeded"}}'
    house.provider("main").says(status=400, body=body)
    reply = await house.ask()
    assert (reply.status, reply.body.decode()) == (400, body) and not house.provider("spare").requests


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("path", "said"), [("/v1/chat/completions", "choices"), ("/v1/messages", "content")])
async def test_at_the_end_there_is_an_answer_that_nobody_had_to_give(
    build_house: Build, path: str, said: str, stream: bool
):
    house = await build_house(ONE_TRY + FAST % ", static_answer: We will be back soon.")
    for name in ("main", "spare"):
        house.provider(name).always(status=503)
    reply = await house.ask(path=path, stream=stream, max_tokens=10)
    assert reply.status == 200 and b"We will be back soon." in reply.body and reply.error is None
    assert stream or said in json.loads(reply.body)
    assert reply.headers["x-tidegate-target"] == reply.row.target == "static_answer"
    assert (reply.row.outcome, reply.row.cost_nusd, reply.row.usage) == ("ok", 0, {})
    assert reply.attempts == ["main: failed", "spare: failed"]


async def test_a_request_that_is_wrong_gets_no_static_answer(build_house: Build):
    house = await build_house(ONE_TRY + FAST % ", static_answer: We will be back soon.")
    house.provider("main").says(status=400)
    assert (await house.ask()).status == 400


# --- until when ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["soon", "0", "-5", "nan", ""])
async def test_a_time_that_is_none_is_refused(house: House, said: str):
    reply = await house.ask(headers={"x-tidegate-timeout-ms": said})
    assert reply.status == 400 and "x-tidegate-timeout-ms" in reply.error.message


async def test_pings_do_not_hold_a_call_for_longer_than_its_first_token_may_take(build_house: Build):
    house = await build_house(ONE_TRY + FAST % ", timeouts: {first_token: 100ms}")
    house.provider("main").says("hello", instead={0: b": ping\n\n"}, between=3600)
    house.clock.hold()
    asking = house.begin()
    reply = await asking.reply()
    assert reply.attempts == ["main: timeout", "spare: ok"]
    assert "did not begin its answer within 0.1 s" in reply.row.attempts[0].said


# --- hedges ----------------------------------------------------------------------------------------------------------


async def test_when_the_first_is_slow_the_next_is_asked_too_and_who_answers_first_wins(build_house: Build):
    house = await build_house(ONE_TRY + FAST % ", hedge: {after: 1s, max_extra: 100%}")
    house.provider("main").says("slow", before=30)
    house.provider("spare").says("quick", before=1)
    reply = await house.ask("sixteen letters.")
    assert reply.text == "quick" and reply.row.target == "spare/m" and reply.row.duration_us < 5_000 * MS
    first, second = reply.row.attempts
    assert (first.outcome, first.said, first.why) == ("abandoned", "another one answered first", "first")
    assert (second.outcome, second.why) == ("ok", "hedge")
    assert first.usage_estimated and first.usage == {"input": 4} and reply.row.cost_nusd > first.cost_nusd > 0


async def test_when_the_first_answers_after_all_the_second_is_closed(build_house: Build):
    house = await build_house(ONE_TRY + FAST % ", hedge: {after: 1s, max_extra: 100%}")
    house.provider("main").says("slow", before=2)
    house.provider("spare").says("late", before=30)
    reply = await house.ask()
    assert reply.text == "slow" and reply.row.target == "main/m" == reply.headers["x-tidegate-target"]
    assert reply.attempts == ["main: ok", "spare: abandoned"]


async def test_when_the_first_fails_the_second_is_waited_for(build_house: Build):
    house = await build_house(ONE_TRY + FAST % ", hedge: {after: 1s, max_extra: 100%}")
    house.provider("main").says(status=503, before=2)
    house.provider("spare").says("hello", before=5)
    reply = await house.ask()
    assert reply.text == "hello" and reply.attempts == ["main: failed", "spare: ok"]


async def test_a_client_that_leaves_takes_both_with_it(build_house: Build):
    house = await build_house(ONE_TRY + FAST % ", hedge: {after: 1s, max_extra: 100%}")
    for name in ("main", "spare"):
        house.provider(name).says("hello", before=3600)
    house.clock.hold()
    asking = house.begin()
    await until(lambda: house.provider("main").requests)
    await house.clock.advance(2)
    await until(lambda: house.provider("spare").requests)
    asking.leave()
    await asking.task
    await until(lambda: not house.left())
    (row,) = await house.rows()
    assert [one.outcome for one in row.attempts] == ["abandoned", "abandoned"]


async def test_hedges_are_bounded(build_house: Build):
    house = await build_house(ONE_TRY + FAST % ", hedge: {after: 1s, max_extra: 10%}")
    house.provider("main").always("slow", before=2)
    for _ in range(30):
        await house.ask()
    assert len(house.provider("spare").requests) == 3


async def test_a_quantile_waits_until_there_is_enough_to_tell(build_house: Build):
    house = await build_house(ONE_TRY + FAST % ", hedge: {after: p95, max_extra: 100%}")
    house.provider("main").always("hello", before=1)
    for _ in range(MIN_SAMPLES):
        await house.ask()
    assert not house.provider("spare").requests
    house.provider("main").says("slow", before=30)
    house.provider("spare").says("quick")
    reply = await house.ask()
    assert reply.text == "quick" and reply.row.duration_us < 2_000 * MS


async def test_a_quiet_route_saves_its_hedges_up(build_house: Build):
    house = await build_house(ONE_TRY + FAST % ", hedge: {after: 1s, max_extra: 10%}")
    for _ in range(30):
        await house.ask()
        await house.clock.sleep(600)
    house.provider("main").always("slow", before=2)
    for _ in range(3):
        await house.ask()
    assert len(house.provider("spare").requests) == 3


async def test_a_hedge_tries_a_target_that_was_set_aside_for_nobody_else_would(build_house: Build):
    house = await build_house(ONE_TRY + FAST % ", hedge: {after: 1s, max_extra: 100%}")
    house.provider("main").always("slow", before=5)
    house.provider("spare").always(status=503)
    for _ in range(2):
        await house.ask()
    assert (await house.ask()).attempts == ["main: ok"], "it is set aside"
    await house.clock.sleep(61)
    house.provider("spare").always("quick")
    assert (await house.ask()).text == "quick" and (await house.ask()).text == "quick"


# --- room ------------------------------------------------------------------------------------------------------------

ONE_AT_ONCE = """
logs: {calls: false}
providers: {main: {type: scripted}}
routes: {fast: {targets: [{provider: main, model: m, max_concurrent: 1, max_queue: %d, queue_timeout: 5s}]}}
"""


async def test_beyond_what_a_target_may_have_calls_are_refused_at_once(build_house: Build):
    house = await build_house(ONE_AT_ONCE % 0)
    house.clock.hold()
    house.provider("main").always("hello", before=3)
    first = house.begin()
    await until(lambda: house.provider("main").requests)
    reply = await house.ask()
    assert (reply.status, reply.error.code, retry_after(reply)) == (503, "upstream_unavailable", 1)
    assert reply.row.passed_over == ("main/m: busy with 1 calls, as many as it may have",)
    await house.clock.advance(3)
    assert (await first.reply()).status == 200 and not next(iter(house.app.gateway.upstream.targets)).slots.taken
    assert 'tidegate_shed_total{target="main/m"} 1.0' in (await house.get("/metrics")).body.decode()


async def test_those_that_wait_are_answered_in_turn_and_interactive_calls_before_batches(build_house: Build):
    house = await build_house(ONE_AT_ONCE % 3)
    house.clock.hold()
    house.provider("main").always("hello", before=1)
    first = house.begin("first")
    await until(lambda: house.provider("main").requests)
    slots = next(iter(house.app.gateway.upstream.targets)).slots
    batch = house.begin("batch", headers={"x-tidegate-priority": "batch"})
    await until(lambda: slots.waiting == 1)
    person = house.begin("person")
    await until(lambda: slots.waiting == 2)
    for asking in (first, person, batch):
        await house.clock.advance(1)
        assert (await asking.reply()).status == 200
    said = [json.loads(one.body)["messages"][0]["content"] for one in house.provider("main").requests]
    assert said == ["first", "person", "batch"]


async def test_nobody_waits_for_longer_than_is_configured(build_house: Build):
    house = await build_house(ONE_AT_ONCE % 1)
    house.clock.hold()
    house.provider("main").always("hello", before=30)
    first = house.begin()
    await until(lambda: house.provider("main").requests)
    asking = house.begin()
    await until(lambda: next(iter(house.app.gateway.upstream.targets)).slots.waiting)
    await house.clock.advance(6)
    reply = await asking.reply()
    await house.clock.advance(30)
    assert reply.status == 503 and 5_000 * MS <= reply.row.duration_us < 6_000 * MS
    assert (await first.reply()).status == 200


async def test_one_that_leaves_while_it_waits_keeps_nobody_elses_place(build_house: Build):
    house = await build_house(ONE_AT_ONCE % 3)
    house.clock.hold()
    house.provider("main").says("hello", before=1)
    first = house.begin()
    await until(lambda: house.provider("main").requests)
    slots = next(iter(house.app.gateway.upstream.targets)).slots
    leaving, staying = house.begin(), house.begin()
    await until(lambda: slots.waiting == 2)
    leaving.leave()
    await leaving.task
    await until(lambda: slots.waiting == 1)
    await house.clock.advance(1)
    assert (await first.reply()).status == (await staying.reply()).status == 200
    assert (slots.taken, slots.waiting) == (0, 0)


# --- who has left ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["drain", "cancel"])
async def test_a_reply_whose_client_has_left_is_heard_out_or_ended(build_house: Build, how: str):
    house = await build_house(ONE_TRY + FAST % f", on_disconnect: {how}")
    house.clock.hold()
    house.provider("main").says("four letters", between=1)
    asking = house.begin("sixteen letters.")
    await asking.heard("four")
    asking.leave()
    await asking.task
    while house.left():
        await house.clock.advance(1)
    (row,) = await house.rows()
    (attempt,) = row.attempts
    assert (row.outcome, row.status) == ("client_left", 200)
    if how == "drain":
        assert attempt.outcome == "ok" and not attempt.usage_estimated and attempt.usage["output"] == 2
    else:
        assert attempt.outcome == "abandoned" and attempt.usage_estimated


# --- a target that a call names --------------------------------------------------------------------------------------


async def test_an_admin_may_name_the_target_of_one_call(house: House):
    reply = await house.ask(headers={"x-tidegate-target": "spare/other"})
    assert reply.row.target == "spare/other" and reply.row.model == "fast"
    key, _ = await house.app.gateway.auth.create("a client", "test", admin=False)
    assert (await house.ask(headers={"x-tidegate-target": "spare/other"}, key=key)).status == 403
    assert (await house.ask(headers={"x-tidegate-target": "nobody/m"})).status == 404
