"""A call from end to end: what the provider is asked, what the client is told, and what is kept of it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.clock import now_s
from tests.house import TWO_PROVIDERS, House, until
from tests.providers.openai import transcripts
from tidegate.core.ports import Team
from tidegate.providers import scripted

KEY = "sk-a-providers-own-key"
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def sse(events: bytes) -> bytes:
    """A whole response that is this stream."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + events


async def another_key(house: House) -> str:
    text, _ = await house.app.gateway.auth.create("another", "test", admin=False)
    return text


@pytest.fixture
async def elsewhere() -> AsyncIterator[scripted.Server]:
    """A provider that runs elsewhere, and that wants a key."""
    server = scripted.Server()
    await server.start()
    yield server
    await server.aclose()


@pytest.fixture
async def keyed(build_house: Any, elsewhere: scripted.Server) -> House:
    """A house whose only provider is `elsewhere`."""
    return await build_house(
        f"providers: {{main: {{type: openai, base_url: '{elsewhere.address}', keys: [{KEY}]}}}}\n"
        "routes: {fast: {targets: [{provider: main, model: m}]}}\n"
        "upstream: {first_token: 0.1, retry: {tries: 1}}\n"
        "logs: {calls: false}\n"
    )


# --- what passes


@pytest.mark.parametrize("name", ["openai-chat", "openai-tools", "openai-reasoning", "openai-audio", "llama-cpp"])
async def test_a_whole_reply_is_the_very_bytes_that_the_provider_sent(house, name):
    house.provider("main").says(body=transcripts.body(name).decode())
    reply = await house.ask(stream=False)
    assert reply.status == 200 and reply.body == transcripts.body(name)


@pytest.mark.parametrize("name", [name for name in transcripts.STREAMS if name not in ("no-done", "openai-complete")])
async def test_so_is_a_streamed_one(house, name):
    house.provider("main").says(raw=sse(transcripts.stream(name)))
    reply = await house.ask(stream_options={"include_usage": True})
    assert reply.status == 200 and reply.body == transcripts.stream(name)
    assert reply.row.outcome == "ok"


async def test_the_provider_gets_the_very_bytes_that_came_but_for_the_models_name(house):
    body = (
        b'\n{ "n" : 2,\t"messages" :[{"content":"na\\u00efve \xf0\x9f\x8c\x8a","role":"user","x":1e2}],'
        b'"logprobs":true, "model" : "fast" ,"response_format":{"type":"json_schema","json_schema":'
        b'{"name":"a","schema":{"type":"object"}}},"nobody_knows":[1.0,1E400,null],'
        b'"tools":[{"type":"function","function":{"name":"f","parameters":{}}}]}\n '
    )
    reply = await house.ask(body=body)
    assert reply.status == 200
    assert house.provider("main").requests[-1].body == body.replace(b'"fast"', b'"m"')


async def test_n_answers_come_as_n_choices(house):
    house.provider("main").always("yes")
    whole = await house.ask(stream=False, n=3)
    assert [choice["message"]["content"] for choice in whole.events[0]["choices"]] == ["yes"] * 3
    streamed = await house.ask(n=2)
    said = [choice["index"] for event in streamed.events[:-1] for choice in event["choices"]]
    assert set(said) == {0, 1}


@BOTH
async def test_usage_is_kept_whether_the_client_wanted_it_or_not(house, stream):
    house.provider("main").always("one two three")
    reply = await house.ask(stream=stream)
    assert ("usage" in reply.body.decode()) is not stream
    assert reply.row.usage == {"input": 4, "output": 3}
    if stream:
        asked = json.loads(house.provider("main").requests[-1].body)
        assert asked["stream_options"] == {"include_usage": True}
        reply = await house.ask(stream_options={"include_usage": True})
        assert reply.events[-2]["usage"]["completion_tokens"] == 3


async def test_what_else_a_client_says_of_the_stream_goes_on(house):
    await house.ask(stream_options={"include_usage": False, "include_obfuscation": False})
    asked = json.loads(house.provider("main").requests[-1].body)
    assert asked["stream_options"] == {"include_usage": True, "include_obfuscation": False}


@BOTH
async def test_completions_take_the_same_way(house, stream):
    house.provider("main").says("upon a time")
    reply = await house.ask("Once", path="/v1/completions", stream=stream)
    assert reply.text == "upon a time" and reply.row.operation == "complete"
    assert house.provider("main").requests[-1].path == b"/v1/completions"


async def test_a_reply_without_a_kind_gets_one(house):
    """SDKs look at it before they read."""
    body = transcripts.body("openai-chat")
    house.provider("main").says(raw=b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    reply = await house.ask(stream=False)
    assert reply.headers["content-type"] == "application/json" and reply.body == body


async def test_only_some_of_a_providers_headers_pass(house):
    passing = {"x-ratelimit-remaining-requests": "9", "openai-processing-ms": "12", "request-id": "r1"}
    ours = {"set-cookie": "a=b", "server": "x", "x-request-id": "2", "content-encoding": "identity", "alt-svc": "h3"}
    house.provider("main").says("hi", headers=passing | ours)
    reply = await house.ask()
    assert passing.items() <= reply.headers.items() and not ours.keys() & reply.headers.keys()


# --- what a client is told, and may tell


async def test_the_head_tells_of_the_call(house):
    house.provider("main").always("one two three")
    reply = await house.ask(stream=False)
    assert re.fullmatch(r"req_[0-9a-f]{31}", reply.id) and reply.id == reply.row.id
    assert reply.headers["x-tidegate-route"] == "fast"
    assert reply.headers["x-tidegate-target"] == reply.row.target == "main/m"
    assert reply.headers["x-tidegate-attempts"] == "1"
    assert reply.headers["x-tidegate-cost-usd"] == "0.000010000"  # 4 in at $1, 3 out at $2, per million
    assert 0 <= float(reply.headers["x-tidegate-overhead-ms"]) < 1_000


async def test_the_head_of_a_stream_tells_what_is_known_when_it_leaves(house):
    house.clock.hold()
    house.provider("main").says("hello world", between=1)
    asking = house.begin()
    await asking.heard("hello")
    await house.clock.advance(10)
    reply = await asking.reply()
    assert reply.headers["x-tidegate-target"] == "main/m" and reply.headers["x-tidegate-attempts"] == "1"
    assert "x-tidegate-cost-usd" not in reply.headers


async def test_a_cost_that_is_not_known_is_said_to_be_unknown(keyed):
    reply = await keyed.ask(stream=False)
    assert reply.headers["x-tidegate-cost-usd"] == "unknown" and reply.row.cost_nusd is None


async def test_the_time_of_the_provider_is_not_ours(house):
    house.provider("main").says("hello", before=20)
    reply = await house.ask(stream=False)
    assert reply.headers["x-tidegate-overhead-ms"] == "0.000" and reply.row.duration_us == 20_000_000


@pytest.mark.parametrize(
    ("headers", "fields", "user", "session"),
    [
        ({}, {}, None, None),
        ({}, {"metadata": {"user_id": "m"}}, "m", None),
        ({}, {"metadata": {"user_id": 7}}, None, None),
        ({}, {"metadata": {"user_id": "m"}, "safety_identifier": "s"}, "s", None),
        ({}, {"metadata": {"user_id": "m"}, "safety_identifier": "s", "user": "u"}, "u", None),
        ({"x-tidegate-user": " h "}, {"user": "u"}, "h", None),
        ({"x-tidegate-user": "größer"}, {}, "größer", None),
        ({"x-tidegate-user": ""}, {"user": "u"}, "u", None),
        ({"x-tidegate-user": "x" * 5_000}, {}, "x" * 256, None),
        ({}, {"user": "x" * 5_000}, "x" * 256, None),
        ({"x-claude-code-session-id": "c"}, {}, None, "c"),
        ({"x-claude-code-session-id": "c", "x-tidegate-session": "s"}, {}, None, "s"),
    ],
)
async def test_whose_call_it_is_is_taken_from_where_it_is_said_first(house, headers, fields, user, session):
    reply = await house.ask(headers=headers, **fields)
    assert (reply.row.user, reply.row.session) == (user, session)


@pytest.mark.parametrize(
    ("fields", "user"),
    [
        ({"user": "u", "safety_identifier": "s"}, "u"),
        ({"safety_identifier": "s", "metadata": {"user_id": "m"}}, "s"),
        ({"metadata": {"user_id": "m"}}, "m"),
        ({"metadata": [1], "user": {}}, None),
    ],
)
async def test_on_paths_that_are_passed_on_too(house, fields, user):
    body = json.dumps({"model": "main/m", "input": "hi", **fields}).encode()
    reply = await house.ask(path="/v1/responses", body=body)
    assert (reply.row.operation, reply.row.user) == ("raw", user)


@pytest.mark.parametrize(
    ("header", "tags"),
    [
        ("a", ("a",)),
        (" a ,, b,", ("a", "b")),
        (",".join("abcdefghijklmnopqrstuvwxyz"), tuple("abcdefghijklmnop")),
        ("x" * 300, ("x" * 256,)),
    ],
)
async def test_tags_are_kept_and_bounded(house, header, tags):
    reply = await house.ask(headers={"x-tidegate-tags": header})
    assert reply.row.tags == tags


# --- what became of it


async def test_the_key_that_asked_is_told_what_became_of_it(house):
    key = await another_key(house)
    house.provider("main").says("one two three")
    reply = await house.ask(key=key, stream=False, headers={"x-tidegate-tags": "a,b"})
    seen = await house.get(f"/v1/requests/{reply.id}", key=key)
    row = seen.events[0]
    assert seen.status == 200 and row["id"] == reply.id
    assert (row["outcome"], row["status"], row["target"], row["cost_nusd"]) == ("ok", 200, "main/m", 10_000)
    assert row["attempts"][0]["outcome"] == "ok" and row["tags"] == ["a", "b"]
    assert "digest" not in row and key not in seen.body.decode()


async def test_a_manager_sees_what_the_keys_of_its_team_did_and_a_member_does_not(house):
    desk = house.app.gateway.auth.desk
    keys = {}
    for team in ("search", "ads"):
        await desk.add(Team, team, team)
        for role in ("member", "manager", "viewer"):
            keys[role, team], _ = await desk.make_key(role, role=role, team_id=team)
    asking, _ = await desk.make_key("asking", team_id="search")
    path = f"/v1/requests/{(await house.ask(key=asking)).id}"
    seen = {who: (await house.get(path, key=key)).status for who, key in keys.items()}
    assert {who for who, status in seen.items() if status == 200} == {("manager", "search"), ("viewer", "search")}
    assert set(seen.values()) == {200, 404}


async def test_another_key_is_told_nothing_and_an_admin_all(house):
    one, other = await another_key(house), await another_key(house)
    reply = await house.ask(key=one)
    seen = await house.get(f"/v1/requests/{reply.id}", key=other)
    assert (seen.status, seen.error.code) == (404, "not_found")
    unknown = await house.get("/v1/requests/req_0", key=other)
    assert unknown.error.message.replace("req_0", "") == seen.error.message.replace(reply.id, "")
    assert (await house.get(f"/v1/requests/{reply.id}")).status == 200
    assert (await house.get(f"/v1/requests/{reply.id}", key="wrong")).status == 401


# --- when a provider fails


@BOTH
@pytest.mark.parametrize(
    "failure",
    [
        {"status": 500},
        {"status": 401},
        {"status": 429, "headers": {"retry-after": "100"}},
        {"body": "<html>busy</html>", "headers": {"content-type": "text/html"}},
        {"body": "{}"},
        {"cut_off": 0},
        {"raw": b""},
        {"raw": b"garbage\r\n\r\n"},
    ],
    ids=lambda failure: next(iter(failure.items()))[0] + str(failure.get("status", "")),
)
async def test_before_the_first_event_the_next_one_is_asked(house, failure, stream):
    house.provider("main").always(**failure)
    house.provider("spare").says("hello")
    reply = await house.ask(stream=stream)
    assert reply.status == 200 and reply.text == "hello" and reply.error is None
    assert reply.attempts[-1] == "spare: ok" and reply.headers["x-tidegate-target"] == "spare/m"


@pytest.mark.parametrize(
    "failure",
    [
        {"cut_off": 1},
        {"cut_off": 1, "then": "reset"},
        {"cut_off": 1, "framing": "close"},
        {"instead": {1: b"data: {broken\n\n"}},
        {"instead": {1: b'data: {"error": {"message": "overloaded"}}\n\n'}},
    ],
)
async def test_after_it_the_error_is_the_last_event(house, failure):
    house.clock.hold()
    house.provider("main").says("hel lo", between=1, **failure)
    asking = house.begin()
    await asking.heard("hel")
    await house.clock.advance(10)
    reply = await asking.reply()
    assert reply.status == 200 and reply.text == "hel" and reply.events[-1]["error"]["code"] == "upstream_cut_off"
    assert "main/m" in reply.error.message and b"[DONE]" not in reply.body
    assert (reply.row.outcome, reply.row.error, reply.attempts) == ("cut_off", "upstream_cut_off", ["main: cut_off"])
    assert not house.provider("spare").requests


@pytest.mark.parametrize("status", [400, 404, 413, 422])
@BOTH
async def test_a_request_that_the_provider_finds_wrong_is_told_in_its_words(house, status, stream):
    words = '{"error": {"message": "max_tokens is too large", "type": "x", "param": "max_tokens", "code": "y"}, "z": 1}'
    house.provider("main").says(status=status, body=words)
    reply = await house.ask(stream=stream)
    assert reply.status == status and reply.body.decode() == words
    assert reply.headers["content-type"] == "application/json" and reply.headers["x-tidegate-attempts"] == "1"
    assert (reply.row.outcome, reply.row.status, reply.attempts) == ("refused", status, ["main: refused"])


@pytest.mark.parametrize("words", ["", "<html>no</html>", '{"error": ', "{", "[]", '{"error": {}}', "null"])
async def test_where_it_has_no_words_it_is_told_in_ours(house, words):
    house.provider("main").says(status=400, body=words)
    reply = await house.ask()
    assert reply.status == 400 and reply.error.code == "upstream_refused"
    assert "main/m refused the request with HTTP 400" in reply.error.message


async def test_a_providers_key_is_in_nothing_that_a_client_sees(keyed, elsewhere):
    words = json.dumps({"error": {"message": f"the project of {KEY} has no such model", "type": "x"}})
    elsewhere.says(status=404, body=words)
    reply = await keyed.ask()
    assert reply.status == 404 and reply.error.message == "the project of [key] has no such model"
    elsewhere.says(status=503, body=words)
    reply = await keyed.ask()
    assert reply.status == 502 and KEY not in reply.body.decode() and "[key]" in reply.error.message
    row = await keyed.get(f"/v1/requests/{reply.id}")
    assert row.status == 200 and KEY not in row.body.decode()
    assert dict(elsewhere.requests[-1].headers)[b"authorization"] == f"Bearer {KEY}".encode()


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_our_own_key_that_is_not_accepted_is_not_the_clients_fault(keyed, elsewhere, status):
    elsewhere.says(status=status, body='{"error": {"message": "Incorrect API key provided: sk-a-pr***key"}}')
    reply = await keyed.ask()
    assert (reply.status, reply.error.code) == (502, "upstream_failed")
    assert f"HTTP {status}: it does not accept Tidegate's key" in reply.error.message
    assert "sk-a" not in reply.body.decode() and "www-authenticate" not in reply.headers


async def test_the_clients_key_goes_to_nobody(keyed, elsewhere):
    await keyed.ask(headers={"x-api-key": keyed.key, "cookie": "a=b"})
    asked = elsewhere.requests[-1]
    assert keyed.key.encode() not in asked.body + b"".join(value for _, value in asked.headers)
    assert "cookie" not in {name.decode() for name, _ in asked.headers}


async def test_when_nobody_is_left_everybody_is_named(house):
    house.provider("main").always(status=500)
    house.provider("spare").always(status=401)
    reply = await house.ask()
    assert (reply.status, reply.error.code, reply.error.type) == (502, "upstream_failed", "server_error")
    assert "main/m: HTTP 500" in reply.error.message and "spare/m: HTTP 401" in reply.error.message
    assert reply.headers["x-tidegate-attempts"] == "4" and reply.row.outcome == "failed"


async def test_a_limit_is_told_with_when_to_come_back(keyed, elsewhere):
    elsewhere.says(status=429, headers={"retry-after": "7.2"})
    reply = await keyed.ask()
    assert (reply.status, reply.error.code) == (429, "upstream_rate_limited")
    assert reply.headers["retry-after"] == "8"
    assert (reply.row.outcome, reply.row.status) == ("failed", 429)


async def test_a_silence_is_a_timeout(keyed, elsewhere):
    elsewhere.says(before=1)
    reply = await keyed.ask()
    assert (reply.status, reply.error.code, reply.attempts) == (504, "upstream_timeout", ["main: timeout"])


# --- when the client does not wait


@BOTH
async def test_who_leaves_before_the_answer_frees_all(house, stream):
    house.clock.hold()
    house.provider("main").says("hello", before=5)
    asking = house.begin(stream=stream)
    await until(lambda: house.provider("main").requests)
    asking.leave()
    await asking.task
    (row,) = await house.rows()
    assert (row.outcome, row.status, [one.outcome for one in row.attempts]) == ("client_left", 499, ["abandoned"])
    assert not asking.sent and not house.app.world.flights and not house.app.world.transport.busy


async def test_what_was_said_until_then_is_charged(house):
    house.clock.hold()
    house.provider("main").says("hello world again", between=1)
    asking = house.begin("some words")
    await asking.heard("hello")
    asking.leave()
    await asking.task
    (row,) = await house.rows()
    assert (row.outcome, row.status) == ("client_left", 200)
    assert row.usage_estimated and row.cost_nusd > 0


# --- when we cannot


async def test_who_asks_a_house_that_is_closing_is_told_to_come_back(house):
    house.app.world.closing.set()
    reply = await house.ask()
    assert (reply.status, reply.error.code, reply.headers["retry-after"]) == (503, "shutting_down", "1")
    assert reply.row.status == 503 and not house.provider("main").requests


async def test_a_mistake_of_ours_says_where_to_look(house, monkeypatch):
    def break_down(model: str) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(house.app.gateway.routes, "find", break_down)
    reply = await house.ask()
    assert (reply.status, reply.error.code) == (500, "internal_error")
    assert reply.id in reply.error.message and "secret" not in reply.body.decode()
    assert (reply.row.outcome, reply.row.status) == ("failed", 500)


async def test_a_mistake_in_the_middle_of_a_reply_ends_it(house, monkeypatch):
    house.clock.hold()
    house.provider("main").says("hello world", between=1, cut_off=1)
    monkeypatch.setattr(type(house.app.gateway.codec("openai", "chat")), "render_error_event", None)
    asking = house.begin()
    await asking.heard("hello")
    await house.clock.advance(10)
    with pytest.raises(TypeError):
        await asking.reply()
    assert asking.sent[-1]["more_body"]  # the server closes the connection: nobody takes it for complete


async def test_a_million_keys_are_refused_at_the_top_and_passed_on_below_it(house):
    good = json.dumps({"model": "fast", "messages": [{"role": "user", "content": "hi"}]}).encode()
    keys = b",".join(b'"%d":0' % number for number in range(1_000_000))
    began = now_s()
    reply = await house.ask(body=good[:-1] + b"," + keys + b"}")
    assert reply.status == 400 and "1000002 top-level keys; 1000 are allowed" in reply.error.message
    assert (await house.ask(body=good[:-1] + b',"metadata":{' + keys + b"}}")).status == 200
    assert now_s() - began < 10


LOGGING = TWO_PROVIDERS.replace("logs: {calls: false}", "logs: {calls: true, format: json}")


async def test_the_log_has_a_line_for_each_call_and_no_word_of_it(build_house, capsys):
    house = await build_house(LOGGING)
    reply = await house.ask("a prompt", key=house.key)
    await house.ask("a prompt", key="tg_wrong")
    async with asyncio.timeout(30):
        log = ""
        while log.count("\n") < 2:
            log += capsys.readouterr().err
            await asyncio.sleep(0.005)
    good, bad = map(json.loads, log.splitlines())
    assert (good["event"], good["request_id"], good["outcome"], good["target"]) == ("call", reply.id, "ok", "main/m")
    assert (bad["status"], bad["error"], bad["address"]) == (401, "invalid_api_key", "127.0.0.1")
    assert "prompt" not in log and house.key not in log and "tg_wrong" not in log


async def test_a_call_says_of_which_kind_it_is_where_its_key_may(house):
    assert (await house.ask(headers={"x-tidegate-kind": "eval"})).row.kind == "eval"
    assert (await house.ask(headers={"x-tidegate-kind": "live"})).row.kind == "live"
    refused = await house.ask(headers={"x-tidegate-kind": "batch"})
    assert (refused.status, refused.error.message) == (400, "x-tidegate-kind: live or eval, not 'batch'")
    plain, _ = await house.app.gateway.auth.create("plain", "test", admin=False)
    assert (await house.ask(headers={"x-tidegate-kind": "eval"}, key=plain)).status == 403
    may, _ = await house.app.gateway.auth.create("may", "test", admin=False, scopes=("eval",))
    assert (await house.ask(headers={"x-tidegate-kind": "eval"}, key=may)).row.kind == "eval"
