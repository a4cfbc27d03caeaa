"""What the client, the provider, the row and the metric see of each verdict: every dialect, streamed or not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.house import Build, House, Reply
from tidegate.core.errors import ConfigError
from tidegate.core.values import Duration

SECRET = "bob@example.com"
PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "messages": "/v1/messages",
    "embeddings": "/v1/embeddings",
}


def text(direction: str, action: str, more: str = "") -> str:
    return f"""
logs: {{calls: false}}
providers:
  main: {{type: scripted, price: {{input: 1, output: 2}}}}
routes:
  fast:
    targets: [{{provider: main, model: m}}]
    guardrails: {{{direction}: [{{type: pii, action: {action}{more}}}]}}
"""


def body(kind: str, said: str, *, stream: bool) -> bytes:
    asked: dict[str, Any] = {"model": "fast"}
    if kind == "embeddings":
        asked["input"] = said
    elif kind == "completions":
        asked |= {"prompt": said, "stream": stream}
    else:
        asked |= {"messages": [{"role": "user", "content": said}], "stream": stream, "max_tokens": 20}
    return json.dumps(asked).encode()


async def ask(house: House, kind: str, said: str, *, stream: bool = False) -> Reply:
    return await house.begin(path=PATHS[kind], body=body(kind, said, stream=stream)).reply()


def heard(house: House) -> str:
    """What the provider was sent last."""
    requests = house.provider("main").requests
    return requests[-1].body.decode() if requests else ""


def words(reply: Reply) -> str:
    """All that a reply says, whatever the dialect."""
    said = []
    lines = [line[6:] for line in reply.body.splitlines() if line.startswith(b"data: {")] or [reply.body]
    for event in map(json.loads, lines):
        for choice in event.get("choices", ()):
            part = choice.get("delta") or choice.get("message") or {"content": choice.get("text")}
            said.append(part.get("content") or "")
        said.append((event.get("delta") or {}).get("text") or "")
        said += [block.get("text", "") for block in event.get("content", ()) if isinstance(block, dict)]
    return "".join(said)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("verdict", ["pass", "flag", "mask", "block"])
async def test_a_verdict_on_what_is_asked(build_house: Build, kind: str, verdict: str, stream: bool):
    house = await build_house(text("input", "flag" if verdict == "pass" else verdict))
    said = "nothing of note" if verdict == "pass" else f"write to {SECRET} please"
    reply = await ask(house, kind, said, stream=stream)
    assert reply.headers["x-tidegate-guards"] == f"pii={verdict}"
    assert [(one.guard, one.direction, one.verdict) for one in reply.row.guards] == [("pii", "input", verdict)]
    counted = f'tidegate_guard_verdicts_total{{direction="input",guard="pii",verdict="{verdict}"}} 1.0'
    assert counted in house.app.metrics.page().decode()
    if verdict == "block":
        assert reply.status == 400
        assert b"guardrail_blocked" in reply.body and SECRET.encode() not in reply.body
        assert not house.provider("main").requests
    else:
        assert reply.status == 200
        assert (SECRET in heard(house)) == (verdict == "flag")
        assert ("[EMAIL]" in heard(house)) == (verdict == "mask")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", ["chat", "completions", "messages"])
@pytest.mark.parametrize("verdict", ["pass", "flag", "mask", "block"])
async def test_a_verdict_on_what_is_answered(build_house: Build, kind: str, verdict: str, stream: bool):
    house = await build_house(text("output", "flag" if verdict == "pass" else verdict))
    pieces = ["nothing ", "of note"] if verdict == "pass" else ["wri", "te to bob@exa", "mple.com, ple", "ase"]
    house.provider("main").says(pieces)
    reply = await ask(house, kind, "hi", stream=stream)
    assert [(one.guard, one.direction, one.verdict) for one in reply.row.guards] == [("pii", "output", verdict)]
    assert f'direction="output",guard="pii",verdict="{verdict}"}} 1.0' in house.app.metrics.page().decode()
    if verdict == "block":
        assert b"guardrail_blocked" in reply.body and SECRET.encode() not in reply.body
        assert (reply.row.error, reply.row.outcome, reply.status) == ("guardrail_blocked", "refused", 400)
    else:
        assert words(reply) == "".join(pieces).replace(SECRET, "[EMAIL]" if verdict == "mask" else SECRET)
        assert reply.row.outcome == "ok"


async def test_vectors_are_no_text_so_nobody_says_that_they_were_looked_at(build_house: Build):
    house = await build_house(text("output", "mask"))
    reply = await ask(house, "embeddings", "hi")
    assert (reply.status, reply.row.guards) == (200, ())


async def test_of_an_answer_that_is_refused_at_its_first_word_nothing_has_been_seen(build_house: Build):
    house = await build_house(text("output", "block"))
    house.provider("main").says(["bob@example.com wrote"])
    reply = await ask(house, "chat", "hi", stream=True)
    assert (reply.status, reply.error.code, reply.row.outcome) == (400, "guardrail_blocked", "refused")


async def test_an_answer_that_has_begun_is_ended_by_an_error(build_house: Build):
    house = await build_house(text("output", "block"))
    house.provider("main").says(["fine so far ", "bob@example.com wrote"], between=Duration(1))
    reply = await ask(house, "chat", "hi", stream=True)
    assert (reply.status, reply.error.code, words(reply)) == (200, "guardrail_blocked", "fine so far ")
    assert (reply.row.outcome, reply.row.error) == ("cut_off", "guardrail_blocked")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", ["chat", "completions", "messages"])
async def test_the_model_sees_a_placeholder_and_the_caller_its_own_value(build_house: Build, kind: str, stream: bool):
    house = await build_house(text("input", "placeholder"))
    house.provider("main").says(["I wrote to [[EM", "AIL_1]] and to [[EMAIL_2]", "]."])
    reply = await ask(house, kind, f"write to {SECRET} and [[EMAIL_1]]", stream=stream)
    assert "write to [[EMAIL_1]] and [[=EMAIL_1]]" in heard(house)
    assert words(reply) == f"I wrote to {SECRET} and to [[EMAIL_2]]."


async def test_all_that_is_text_is_looked_at(build_house: Build):
    house = await build_house(text("input", "mask"))
    function = {
        "name": "f",
        "description": "mail a@b.com",
        "parameters": {"properties": {"x": {"description": "c@d.com"}}},
    }
    asked = {
        "model": "fast",
        "messages": [
            {"role": "system", "content": "s@b.com"},
            {"role": "user", "content": [{"type": "text", "text": "u@b.com"}]},
            {"role": "assistant", "content": None, "reasoning_content": "r@b.com", "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"to":"t@b.com"}'}}]},
            {"role": "tool", "tool_call_id": "1", "content": "o@b.com"},
        ],
        "tools": [{"type": "function", "function": function}],
        "seed":   7,
    }  # fmt: skip
    reply = await house.begin(body=json.dumps(asked).encode()).reply()
    assert "@" not in heard(house) and heard(house).count("[EMAIL]") == 7
    assert reply.row.guards[0].channels == ("system", "user", "assistant", "tool")
    assert '"seed": 7' in heard(house)  # what was not changed is as it came


async def test_tokens_cannot_be_looked_at_so_they_do_not_pass(build_house: Build):
    house = await build_house(text("input", "mask"))
    asked = {"model": "fast", "prompt": [1, 2, 3]}
    reply = await house.begin(path="/v1/completions", body=json.dumps(asked).encode()).reply()
    assert (reply.status, reply.row.guards) == (400, ())
    assert "prompt holds tokens" in reply.error.message


async def test_tokens_pass_unseen_where_the_route_says_so_and_nobody_says_they_were_seen(build_house: Build):
    house = await build_house(text("input", "mask", ", on_failure: open"))
    asked = {"model": "fast", "prompt": [1, 2, 3]}
    reply = await house.begin(path="/v1/completions", body=json.dumps(asked).encode()).reply()
    assert (reply.status, reply.row.guards) == (200, ())


@pytest.mark.parametrize(("on_failure", "status"), [("closed", 503), ("open", 200)])
async def test_a_guard_that_fails_has_no_verdict(build_house: Build, on_failure: str, status: int, monkeypatch):
    house = await build_house(text("input", "mask", f", on_failure: {on_failure}"))
    guard = house.app.gateway.guardrails.of("fast").input[0]
    monkeypatch.setattr(type(guard.looks), "_all", lambda *_: 1 / 0)
    reply = await ask(house, "chat", f"to {SECRET}")
    assert (reply.status, reply.row.guards) == (status, ())


@pytest.mark.parametrize(("on_failure", "said"), [("closed", ""), ("open", f"to {SECRET} now")])
async def test_a_guard_that_fails_within_a_stream_holds_nothing_back_or_lets_nothing_pass(
    build_house: Build, on_failure: str, said: str, monkeypatch
):
    house = await build_house(text("output", "mask", f", on_failure: {on_failure}"))
    guard = house.app.gateway.guardrails.of("fast").output[0]
    monkeypatch.setattr(type(guard.looks), "scan", lambda *_: 1 / 0)
    house.provider("main").says(["to bob@exam", "ple.com", " now"])
    reply = await ask(house, "chat", "hi", stream=True)
    assert (words(reply), reply.row.guards) == (said, ())


async def test_a_model_that_is_asked_for_by_its_provider_has_the_guards_of_all(build_house: Build):
    house = await build_house(
        text("input", "flag").replace("routes:", "guardrails: {input: [{type: pii, action: block}]}\nroutes:")
    )
    reply = await house.ask(f"to {SECRET}", route="main/m")
    assert reply.error.code == "guardrail_blocked"


async def test_where_nobody_looks_nothing_is_in_the_way(house: House):
    guardrails = house.app.gateway.guardrails
    assert guardrails.of("fast") is None
    reply = await house.ask(f"to {SECRET}")
    assert (reply.row.guards, reply.headers.get("x-tidegate-guards")) == ((), None)


@pytest.mark.parametrize(
    ("guards", "message"),
    [
        ("[{type: pi}]", "no guardrail 'pi'; did you mean 'pii'?"),
        ("[{type: pii, action: hide}]", "action: cannot be 'hide'"),
        ("[{type: pii, kind: [email]}]", "kind: no such key; did you mean 'kinds'?"),
        ("[{type: pii, kinds: [mail]}]", "kinds: no kind 'mail'"),
        ("[{type: secrets, canaries: [short]}]", "canaries[0]: at least 8 letters"),
        ("[{action: mask}]", "needs a type; there are: "),
    ],
)
async def test_a_guard_that_makes_no_sense_stops_the_start(build_house: Build, guards: str, message: str):
    with pytest.raises(ConfigError) as wrong:
        await build_house(f"providers: {{main: {{type: scripted}}}}\nguardrails: {{input: {guards}}}\n")
    assert message in wrong.value.message


async def test_placeholders_are_not_for_answers(build_house: Build):
    with pytest.raises(ConfigError, match="placeholders are for what goes out"):
        await build_house(text("output", "placeholder"))
