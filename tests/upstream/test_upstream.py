"""The way through the targets of a route: who is asked, when, how often, and what is said when nobody answers."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.house import Build, House, until
from tidegate.core.values import Secret

MS = 1_000  # microseconds
S = 1_000_000


def waits(reply) -> list[int]:
    """Microseconds between the end of each attempt and the beginning of the next."""
    attempts = reply.row.attempts
    return [after.sent_us - before.ended_us for before, after in itertools.pairwise(attempts)]


# --- who is asked ----------------------------------------------------------------------------------------------------


async def test_never_falls_back_after_the_first_event(house: House):
    house.provider("main").says("hel", cut_off=1)
    house.provider("spare").says("hello")
    reply = await house.ask("hi", route="fast")
    assert reply.text == "hel" and reply.error.code == "upstream_cut_off"
    assert reply.attempts == ["main: cut_off"]
    assert not house.provider("spare").requests


async def test_targets_are_asked_by_their_order_and_not_as_they_are_listed(build_house: Build):
    house = await build_house("""
upstream: {retry: {tries: 1}}
providers: {a: {type: scripted}, b: {type: scripted}, c: {type: scripted}, d: {type: scripted}}
routes:
  fast:
    targets:
      - {provider: c, model: m, order: 3}
      - {provider: a, model: m, order: 1}
      - {provider: d, model: m, order: 3}
      - {provider: b, model: m, order: 2}
""")
    for name in "abcd":
        house.provider(name).always(status=503)
    reply = await house.ask()
    assert reply.attempts == ["a: failed", "b: failed", "c: failed", "d: failed"]
    assert (reply.status, reply.error.code) == (502, "upstream_failed")
    said = reply.error.message
    assert [said.index(f"{name}/m: HTTP 503") for name in "abcd"] == sorted(said.index(f"{name}/m") for name in "abcd")


async def test_each_target_gets_the_model_that_it_calls_so(build_house: Build):
    house = await build_house("""
upstream: {retry: {tries: 1}}
providers: {main: {type: scripted}, spare: {type: scripted}}
routes: {fast: {targets: [{provider: main, model: big-1}, {provider: spare, model: Other/Big, order: 2}]}}
""")
    house.provider("main").always(status=500)
    reply = await house.ask()
    asked = [house.provider(name).requests[0].body for name in ("main", "spare")]
    assert b'"model": "big-1"' in asked[0].replace(b'":"', b'": "')
    assert b'"model": "Other/Big"' in asked[1].replace(b'":"', b'": "')
    assert reply.row.model == "fast" and reply.row.target == "spare/Other/Big"


async def test_a_provider_that_cannot_be_reached_is_passed_over(build_house: Build):
    house = await build_house("""
providers: {gone: {type: openai, base_url: "http://127.0.0.1:1/v1"}, spare: {type: scripted}}
routes: {fast: {targets: [{provider: gone, model: m}, {provider: spare, model: m, order: 2}]}}
""")
    reply = await house.ask()
    assert reply.status == 200 and reply.row.target == "spare/m"
    assert reply.attempts == ["gone: failed"] * 3 + ["spare: ok"]
    assert all(attempt.usage == {} and attempt.cost_nusd == 0 for attempt in reply.row.attempts[:3]), "nothing was sent"


async def test_what_is_wrong_anywhere_is_given_back_at_once_in_the_providers_words(house: House):
    body = '{"error": {"message": "no such tool", "type": "invalid_request_error", "code": "bad_tool"}, "more": 1}'
    house.provider("main").says(status=422, body=body)
    reply = await house.ask()
    assert (reply.status, reply.body.decode(), reply.attempts) == (422, body, ["main: refused"])
    assert reply.row.outcome == "refused" and not house.provider("spare").requests


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_of_ours_that_is_refused_is_not_tried_again_and_not_shown(house: House, status: int):
    house.app.gateway.providers["main"].keys = (Secret("sk-very-secret"),)
    house.provider("main").always(status=status, body='{"error": {"message": "sk-very-secret is wrong"}}')
    house.provider("spare").always(status=500, body='{"error": {"message": "down"}}')
    reply = await house.ask()
    assert reply.attempts == ["main: failed"] + ["spare: failed"] * 3
    assert "main/m: HTTP" in reply.error.message and "does not accept Tidegate's key" in reply.error.message
    assert "sk-very" not in str(reply.body) + str(reply.row)


# --- when, and how often ---------------------------------------------------------------------------------------------


async def test_a_target_is_asked_three_times_with_growing_waits_and_then_the_next(house: House):
    house.provider("main").always(status=503)
    reply = await house.ask()
    assert reply.attempts == ["main: failed"] * 3 + ["spare: ok"]
    first, second, to_the_next = waits(reply)
    assert 0 <= first <= 100 * MS and 0 <= second <= 200 * MS and to_the_next == 0


@pytest.mark.parametrize(
    ("rand", "first", "second"), [(0.0, 0, 0), (0.5, 50 * MS, 100 * MS), (1.0, 100 * MS, 200 * MS)]
)
async def test_waits_are_spread_so_that_clients_do_not_come_back_together(
    house: House, monkeypatch: pytest.MonkeyPatch, rand: float, first: int, second: int
):
    monkeypatch.setattr(random, "random", lambda: rand)
    house.provider("main").always(status=503)
    assert waits(await house.ask())[:2] == [first, second]


async def test_a_provider_that_says_when_to_come_back_is_asked_then(house: House):
    for header, value in (("retry-after", "4"), ("retry-after-ms", "4000")):
        house.provider("main").says(status=429, headers={header: value})
        house.provider("main").says("hello")
        reply = await house.ask()
        assert reply.text == "hello" and reply.attempts == ["main: limited", "main: ok"]
        assert 4 * S <= waits(reply)[0] <= 4 * S + 100 * MS


async def test_one_that_asks_for_more_patience_than_we_have_is_passed_over(house: House):
    house.provider("main").says(status=429, headers={"retry-after": "6"})
    reply = await house.ask()
    assert reply.attempts == ["main: limited", "spare: ok"] and waits(reply) == [0]


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "Wed, 21 Oct 2026 07:28:00 GMT", "1e9"])
async def test_a_wait_that_makes_no_sense_is_ours_to_choose(house: House, value: str):
    house.provider("main").says(status=429, headers={"retry-after": value})
    reply = await house.ask()
    assert reply.attempts == ["main: limited", "main: ok"] and 0 <= waits(reply)[0] <= 100 * MS


async def test_where_all_are_limited_the_client_hears_when_to_come_back(house: House):
    house.provider("main").always(status=429)
    house.provider("spare").always(status=429, headers={"retry-after": "30"})
    reply = await house.ask()
    assert (reply.status, reply.error.code, reply.headers["retry-after"]) == (429, "upstream_rate_limited", "30")
    assert reply.attempts == ["main: limited"] * 3 + ["spare: limited"] and reply.row.outcome == "failed"


async def test_a_silent_provider_is_not_waited_for_twice(build_house: Build):
    house = await build_house("""
upstream: {first_token: 0.05}
providers: {main: {type: scripted, price: {input: 1}}, spare: {type: scripted, price: {input: 1}}}
routes: {fast: {targets: [{provider: main, model: m}, {provider: spare, model: m, order: 2}]}}
""")
    house.clock.hold()
    house.provider("main").always(before=3600)
    house.provider("spare").always("hello", usage={"prompt_tokens": 5, "completion_tokens": 0})
    reply = await house.ask("four letter words, four")
    assert reply.attempts == ["main: timeout", "spare: ok"]
    first, second = reply.row.attempts
    assert first.usage_estimated and first.usage == {"input": 6}, "it may have worked all the time, on 23 bytes"
    assert second.usage == {"input": 5} and not second.usage_estimated
    assert reply.row.cost_nusd == 11_000 == first.cost_nusd + second.cost_nusd and reply.row.usage_estimated


# --- until when ------------------------------------------------------------------------------------------------------


def hasty(timeout: str) -> str:
    return f"""
providers: {{main: {{type: scripted}}, spare: {{type: scripted}}}}
routes:
  fast:
    targets: [{{provider: main, model: m}}, {{provider: spare, model: m, order: 2}}]
    timeout: {timeout}
"""


async def test_all_attempts_and_waits_together_have_the_routes_time(build_house: Build):
    house = await build_house(hasty("3s"))
    house.provider("main").always(status=503, before=3)
    reply = await house.ask()
    assert (reply.status, reply.error.code) == (504, "upstream_timeout")
    assert reply.error.message == "route 'fast': 3 s are over (main/m: HTTP 503 (the script says so))"
    assert reply.attempts == ["main: failed"] and reply.row.duration_us == 3 * S and reply.row.status == 504


async def test_a_wait_that_the_calls_time_has_no_room_for_is_not_begun(build_house: Build):
    house = await build_house(hasty("3s"))
    house.provider("main").always(status=503, headers={"retry-after": "2"})
    reply = await house.ask()
    assert reply.attempts == ["main: failed"] * 2 + ["spare: ok"]
    first, to_the_next = waits(reply)
    assert 2 * S <= first <= 2 * S + 100 * MS and to_the_next == 0


async def test_a_stream_that_takes_longer_than_its_route_allows_is_cut_off(build_house: Build):
    house = await build_house(hasty("300ms"))
    house.clock.hold()
    house.provider("main").says("one two", between=3600)
    reply = await house.ask()
    assert reply.text == "one" and reply.error.code == "upstream_cut_off" and "total" in reply.error.message


# --- what it has cost ------------------------------------------------------------------------------------------------


async def test_times_of_attempts_and_waits_add_up_to_the_calls(house: House):
    house.provider("main").says(status=503, before=1)
    house.provider("main").says(status=429, before=2, headers={"retry-after": "3"})
    house.provider("main").says("one two three", before=4, between=5)
    reply = await house.ask()
    assert reply.text == "one two three"
    row = reply.row
    lasted = [attempt.ended_us - attempt.sent_us for attempt in row.attempts]
    assert lasted == [1 * S, 2 * S, 29 * S], "four seconds, and five before each of the other five events"
    assert row.attempts[-1].first_us == row.first_us == row.attempts[-1].sent_us + 4 * S
    assert sum(lasted) + sum(waits(reply)) == row.duration_us and row.overhead_us == 0


async def test_an_attempt_whose_client_left_is_billed_by_what_was_heard(house: House):
    house.clock.hold()
    house.provider("main").says("four letters", between=1)
    asking = house.begin("sixteen letters.")
    await asking.heard("four")
    asking.leave()
    await asking.task
    (row,) = await house.rows()
    (attempt,) = row.attempts
    assert (row.outcome, row.status, attempt.outcome) == ("client_left", 200, "abandoned")
    assert attempt.usage == {"input": 4, "output": 1} and attempt.usage_estimated and row.usage_estimated
    assert row.cost_nusd == 4 * 1000 + 1 * 2000
    assert row.target is None


async def test_one_that_was_left_before_it_answered_is_billed_for_what_it_heard(house: House):
    """And nothing of it stays: no connection, no task."""
    house.clock.hold()
    house.provider("main").says("hello", before=3600)
    asking = house.begin("sixteen letters.")
    await until(lambda: house.provider("main").requests)
    asking.leave()
    await asking.task
    await until(lambda: not house.left())
    (row,) = await house.rows()
    assert (row.outcome, row.status, row.attempts[0].outcome) == ("client_left", 499, "abandoned")
    assert row.usage == {"input": 4} and row.usage_estimated and row.cost_nusd == 4000


async def test_one_that_was_left_in_a_wait_is_billed_for_nothing(house: House):
    house.clock.hold()
    house.provider("main").always(status=503)
    asking = house.begin()
    await until(lambda: house.clock.sleepers)
    asking.leave()
    await asking.task
    await until(lambda: not house.left())
    (row,) = await house.rows()
    assert (row.outcome, row.cost_nusd, row.usage_estimated) == ("client_left", 0, False)
    assert [attempt.outcome for attempt in row.attempts] == ["failed"]


async def test_a_connection_is_used_again_after_a_stream(house: House):
    """The end of the chunks comes after the last event; it is waited for, but not by the client."""
    house.provider("main").always("one two", between=1)
    for _ in range(3):
        assert (await house.ask()).events[-1] == "[DONE]"
        await until(lambda: not house.left())
    assert len(house.provider("main").connections) == 1


async def test_a_response_that_never_ends_after_its_last_event_is_not_waited_for_long(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tidegate.upstream.attempt.LINGER_S", 0.05)
    house.provider("main").says("hello", instead={2: b"data: [DONE]\n\n"}, cut_off=3, then="stall")
    reply = await house.ask()
    assert reply.error is None and reply.row.outcome == "ok"
    await until(lambda: not house.provider("main").connections)
