"""A cascade, from outside: which answers are given, which are dropped before anybody has seen them, and who pays."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.house import Build, House, Reply, until
from tidegate.config import parse
from tidegate.core.errors import ConfigError
from tidegate.providers.anthropic.messages import Messages
from tidegate.providers.scripted.script import Tool
from tidegate.upstream.tiers.cascade import Config, answer_of, grade, sureness, wanting

TWO = """
logs: {calls: false}
upstream: {retry: {tries: 1}}
providers:
  main: {type: scripted, price: {input: 0.1, output: 0.2}}
  spare: {type: scripted, price: {input: 3, output: 6}}
routes:
  auto: {tiers: {simple: small, complex: spare/large}, router: {%s}%s}
  small: {targets: [{provider: main, model: small}]}
"""
SCHEMA = {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}
FORM = {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}}
CLIENTS = {
    "openai chat": ("/v1/chat/completions", {}),
    "openai completion": ("/v1/completions", {}),
    "anthropic": ("/v1/messages", {"max_tokens": 50}),
}
REFUSAL = "I'm sorry, but I cannot help with that."


def looks(*checks: str, more: str = "") -> str:
    return f"cascade: {{checks: [{', '.join(checks)}]{', ' if more else ''}{more}}}"


async def built(build_house: Build, *checks: str, more: str = "", besides: str = "") -> House:
    return await build_house(TWO % (looks(*checks, more=more), besides))


@pytest.fixture
async def house(build_house: Build) -> House:
    return await built(build_house, "schema", "refusal")


async def ask(house: House, said: Any = "What is the capital of France?", **options: Any) -> Reply:
    return await house.ask(said, route="auto", **options)


def went(reply: Reply) -> str:
    """As the header says; the row says the same, and its attempts why each was made."""
    assert reply.row is not None and reply.row.chosen is not None
    lines = "; ".join(one.line for one in reply.row.chosen.checks)
    assert reply.headers.get("x-tidegate-cascade", "") == lines
    return lines


# --- every client, streamed or not


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_refusal_is_never_seen_and_the_dearer_tier_answers(house: House, client: str, stream: bool) -> None:
    path, fields = CLIENTS[client]
    house.provider("main").says(REFUSAL)
    house.provider("spare").says("It is Paris.")
    reply = await ask(house, path=path, stream=stream, **fields)
    assert b"Paris" in reply.body and b"sorry" not in reply.body
    assert went(reply) == "simple escalated (refusal)"
    assert reply.headers["x-tidegate-target"] == "spare/large" and reply.attempts == ["main: ok", "spare: ok"]
    assert [one.why for one in reply.row.attempts] == ["first", "cascade"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("client", CLIENTS)
async def test_what_will_do_is_given_as_it_came(house: House, client: str, stream: bool) -> None:
    path, fields = CLIENTS[client]
    asked = {"path": path, "stream": stream, **fields}
    plain, reply = await house.ask("hi", route="small", **asked), await ask(house, "hi", **asked)
    assert (len(reply.events) == len(plain.events) and b"You said 1 words" in reply.body) or stream
    assert [_without_ids(one) for one in reply.events] == [_without_ids(one) for one in plain.events]
    assert went(reply) == "simple kept" and reply.attempts == ["main: ok"]
    assert reply.headers["content-type"] == plain.headers["content-type"]


def _without_ids(event: Any) -> Any:
    if not isinstance(event, dict):
        return event
    message = {"message": _without_ids(event["message"])} if "message" in event else {}
    return {name: value for name, value in event.items() if name not in ("id", "created")} | message


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/chat/completions", FORM),
        ("/v1/chat/completions", {"response_format": {"type": "json_object"}}),
        ("/v1/messages", {"max_tokens": 50, "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}),
    ],
)
@pytest.mark.parametrize(("said", "how"), [('{"city": "Paris"}', "kept"), ("It is Paris.", "escalated (schema)")])
async def test_an_answer_keeps_the_form_that_was_asked_for(
    house: House, path: str, fields: dict[str, Any], stream: bool, said: str, how: str
) -> None:
    house.provider("main").says(said)
    assert went(await ask(house, path=path, stream=stream, **fields)) == f"simple {how}"


async def test_of_several_answers_each_has_to_do(house: House) -> None:
    house.provider("main").says(REFUSAL)
    assert went(await ask(house, n=2)) == "simple escalated (refusal)"


async def test_who_calls_a_tool_owes_no_json(house: House) -> None:
    house.provider("main").says("", tools=(Tool("f"),))
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    assert went(await ask(house, tools=tools, **FORM)) == "simple kept"


@pytest.mark.parametrize("script", [{"refusal": "I will not."}, {"finish": "content_filter"}])
async def test_a_provider_may_say_itself_that_it_refuses(house: House, script: dict[str, Any]) -> None:
    house.provider("main").says(**script)
    assert went(await ask(house)) == "simple escalated (refusal)"


async def test_an_answer_that_breaks_off_is_dropped_as_nobody_has_seen_it(house: House) -> None:
    house.provider("main").says("It is Pa ris", cut_off=2)
    house.provider("spare").says("It is Paris.")
    reply = await ask(house)
    assert reply.text == "It is Paris." and went(reply) == "simple escalated (cut_off)"


async def test_where_nothing_is_wrong_the_router_begins_where_its_promise_says(build_house: Build) -> None:
    house = await build_house(TWO % ("quality: 1, " + looks("refusal"), ""))
    reply = await ask(house)
    assert went(reply) == "" and reply.headers["x-tidegate-tier"] == "complex"


async def test_a_session_that_went_up_stays_there(house: House) -> None:
    house.provider("main").says(REFUSAL)
    talk = {"headers": {"x-tidegate-session": "s1"}}
    await ask(house, **talk)
    later = await ask(house, **talk)
    assert later.headers["x-tidegate-tier"] == "complex" and later.attempts == ["spare: ok"]


async def test_the_row_says_what_was_found_and_when_the_client_saw_something(house: House) -> None:
    house.provider("main").says("nothing to see")
    reply = await ask(house, **FORM)
    (one,) = reply.row.chosen.checks
    assert one.said == "it is not JSON of the form that was asked for" and "nothing to see" not in repr(reply.row)
    assert reply.row.chosen.why == "cascade"
    assert reply.row.first_us >= reply.row.attempts[0].ended_us


async def test_a_route_without_a_cascade_says_nothing_of_one(build_house: Build) -> None:
    reply = await ask(await build_house(TWO % ("quality: 0.9", "")))
    assert "x-tidegate-cascade" not in reply.headers and reply.row.chosen.checks == ()


async def test_what_is_too_long_to_be_held_back_goes_on_as_it_is(build_house: Build) -> None:
    house = await built(build_house, "refusal", more="max_bytes: 2KiB")
    house.provider("main").says(REFUSAL + " no" * 500)
    reply = await ask(house)
    assert (
        went(reply) == "simple kept" and reply.text.endswith(" no no") and "longer" in reply.row.chosen.checks[0].said
    )


async def test_a_client_that_leaves_meanwhile_leaves_nothing_behind(house: House) -> None:
    house.provider("main").says("one two three", then="stall", cut_off=2)
    asking = house.begin("hi", route="auto")
    await until(lambda: house.provider("main").requests)
    asking.leave()
    assert (await asking.reply()).status in (0, 200, 499)
    await until(lambda: not house.app.world.flights)
    assert not house.provider("spare").requests


# --- the dearer tier fails


async def test_where_no_dearer_tier_answers_the_client_gets_what_there_is_and_a_notice(house: House) -> None:
    house.provider("main").says(REFUSAL)
    house.provider("spare").always(status=503)
    reply = await ask(house)
    assert reply.status == 200 and reply.text == REFUSAL and went(reply) == "simple given (refusal)"
    assert "found wanting (refusal)" in reply.headers["x-tidegate-notice"]
    assert reply.headers["x-tidegate-target"] == "main/small" == reply.row.target


async def test_or_the_error_where_the_route_wants_that(build_house: Build) -> None:
    house = await built(build_house, "refusal", more="failed: refuse")
    house.provider("main").says(REFUSAL)
    house.provider("spare").always(status=503)
    reply = await ask(house)
    assert reply.status == 502 and went(reply) == "simple escalated (refusal)"


async def test_an_answer_that_broke_off_is_no_answer_to_give(house: House) -> None:
    house.provider("main").says("It is Pa ris", cut_off=2)
    house.provider("spare").always(status=503)
    assert (await ask(house)).status == 502


async def test_the_next_of_three_tiers_is_asked_and_its_answer_looked_at_too(build_house: Build) -> None:
    text = TWO % (looks("refusal"), "")
    house = await build_house(text.replace("complex: spare/large", "middle: main/middle, complex: spare/large"))
    house.provider("main").always(REFUSAL)
    house.provider("spare").says("It is Paris.")
    reply = await ask(house)
    assert reply.text == "It is Paris."
    assert went(reply) == "simple escalated (refusal); middle escalated (refusal)"


# --- money, keys, caches


async def test_all_attempts_are_paid(house: House) -> None:
    house.provider("main").says(REFUSAL)
    reply = await ask(house)
    first, second = reply.row.attempts
    assert 0 < first.cost_nusd < second.cost_nusd and reply.row.cost_nusd == first.cost_nusd + second.cost_nusd
    assert reply.row.usage["output"] == first.usage["output"] + second.usage["output"]


BOUND = "\nbudgets: {default_day: 0.0033035}\n"


async def test_what_is_set_aside_covers_both(build_house: Build) -> None:
    """With money for the dear tier alone, the cheap one's answer is given; nothing is spent that was not set aside."""
    house = await build_house(TWO % (looks("refusal"), "") + BOUND)
    text, _ = await house.app.gateway.auth.create("poor", "live", admin=False)
    house.provider("main").always(REFUSAL)
    reply = await ask(house, "hi", key=text, max_tokens=1)
    assert reply.status == 200, reply.body
    assert went(reply) == "simple given (refusal)" and not house.provider("spare").requests
    assert reply.row.cost_nusd == reply.row.attempts[0].cost_nusd


async def test_a_tier_that_a_key_may_not_use_is_not_asked(house: House) -> None:
    only, _ = await house.app.gateway.auth.create("cheap", "live", admin=False, routes=("auto", "small"))
    house.provider("main").says(REFUSAL)
    reply = await ask(house, key=only)
    assert reply.text == REFUSAL and went(reply) == "" and reply.attempts == ["main: ok"]


async def test_a_cache_keeps_the_answer_that_was_given_and_none_that_would_not_do(build_house: Build) -> None:
    house = await built(build_house, "refusal", besides=", cache: {exact: true}")
    house.provider("main").says(REFUSAL)
    house.provider("spare").says("It is Paris.")
    first, again = await ask(house), await ask(house)
    assert first.text == again.text == "It is Paris." and again.attempts == [] and again.row.cost_nusd == 0
    house.provider("main").always(REFUSAL)
    house.provider("spare").always(status=503)
    given = await ask(house, "another")
    assert went(given) == "simple given (refusal)"
    house.provider("spare").always("Something else.")
    assert (await ask(house, "another")).text == "Something else."


async def test_escalations_are_counted_by_reason(house: House) -> None:
    house.provider("main").says(REFUSAL)
    await ask(house)
    await ask(house)
    text = (await house.get("/metrics")).body.decode()
    assert 'tidegate_tier_escalations_total{reason="refusal",route="auto"} 1.0' in text
    assert 'tidegate_tier_escalated_usd_total{route="auto"}' in text


# --- how sure it was


def chances(*logprobs: float, stream: bool) -> dict[str, Any]:
    """A script whose answer, It is Paris, has them."""
    said = {"content": [{"token": "x", "logprob": one, "bytes": None, "top_logprobs": []} for one in logprobs]}
    choice: dict[str, Any] = {"index": 0, "logprobs": said, "finish_reason": None if stream else "stop"}
    reply = {"id": "c1", "object": "chat.completion.chunk", "created": 0, "model": "small", "choices": [choice]}
    choice["delta" if stream else "message"] = {"role": "assistant", "content": "It is Paris."}
    text = json.dumps(reply).encode()
    return {"text": "It is Paris.", "instead": {0: b"data: " + text + b"\n\n" if stream else text}}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("logprobs", "how"), [((-0.1, -0.05), "kept"), ((-0.1, -2.0), "escalated (confidence)")])
@pytest.mark.parametrize("client", ["openai chat", "anthropic"])
async def test_a_model_that_was_not_sure_is_not_believed(
    build_house: Build, client: str, stream: bool, logprobs: tuple[float, ...], how: str
) -> None:
    house = await built(build_house, "confidence")
    path, fields = CLIENTS[client]
    house.provider("main").says(**_script(chances(*logprobs, stream=stream)))
    reply = await ask(house, path=path, stream=stream, **fields)
    assert went(reply) == f"simple {how}" and reply.status == 200
    assert b'"token"' not in reply.body, "nobody has asked for them but we"
    assert json.loads(house.provider("main").requests[0].body)["logprobs"] is True
    assert not any(b"logprobs" in one.body for one in house.provider("spare").requests)


def _script(fields: dict[str, Any]) -> dict[str, Any]:
    """The server of an answer that is one piece."""
    return {**fields, "text": [fields["text"]]}


@pytest.mark.parametrize("stream", [True, False])
async def test_who_asks_for_chances_gets_them(build_house: Build, stream: bool) -> None:
    house = await built(build_house, "confidence")
    house.provider("main").says(**_script(chances(-0.1, stream=stream)))
    reply = await ask(house, stream=stream, logprobs=True)
    assert went(reply) == "simple kept" and b'"token"' in reply.body


@pytest.mark.parametrize(("unsure", "how"), [("keep", "kept"), ("escalate", "escalated (confidence)")])
async def test_of_a_provider_that_does_not_say_the_route_does(build_house: Build, unsure: str, how: str) -> None:
    assert went(await ask(await built(build_house, "confidence", more=f"unsure: {unsure}"))) == f"simple {how}"


# --- a judge


async def judged(build_house: Build, more: str = "") -> House:
    house = await built(build_house, "judge", more=f"judge: spare/judge{more}")
    house.provider("spare").always("It is Paris.", model="large")
    return house


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(("grade", "how"), [(8, "kept"), (3, "escalated (judge)")])
async def test_a_judge_may_find_it_wanting(build_house: Build, client: str, stream: bool, grade: int, how: str) -> None:
    house = await judged(build_house)
    house.provider("spare").always(f'{{"grade": {grade}}}', model="judge")
    path, fields = CLIENTS[client]
    reply = await ask(house, path=path, stream=stream, **fields)
    assert went(reply) == f"simple {how}"
    asked = house.provider("spare").requests[0].body
    assert b"capital of France" in asked and b"You said" in asked


async def test_the_judge_has_a_row_of_its_own_and_the_owner_pays(build_house: Build) -> None:
    house = await judged(build_house)
    house.provider("spare").always('{"grade": 3}', model="judge")
    reply = await ask(house)
    (own,) = [row for row in await house.rows() if row.purpose]
    assert (own.purpose, own.parent, own.key_id, own.kind) == ("cascade", reply.id, "house", "guard")
    assert own.chosen is None and len(reply.row.attempts) == 2, "what it costs is not the caller's"


@pytest.mark.parametrize("script", [{"status": 503}, {"text": "Quite good!"}])
@pytest.mark.parametrize(("unsure", "how"), [("keep", "kept"), ("escalate", "escalated (judge)")])
async def test_a_judge_that_does_not_say_decides_nothing(
    build_house: Build, script: dict[str, Any], unsure: str, how: str
) -> None:
    house = await judged(build_house, f", unsure: {unsure}")
    house.provider("spare").always(model="judge", **script)
    assert went(await ask(house)) == f"simple {how}"


async def test_a_judge_with_a_cascade_of_its_own_is_not_judged(build_house: Build) -> None:
    text = TWO % (looks("judge", more="judge: other"), "")
    text += f"  other: {{tiers: {{a: main/judge, b: spare/b}}, router: {{{looks('judge', more='judge: auto')}}}}}\n"
    house = await build_house(text)
    house.provider("main").always('{"grade": 9}', model="judge")
    reply = await ask(house)
    rows = [(row.route, row.purpose) for row in await house.rows()]
    assert went(reply) == "simple kept" and sorted(rows, key=str) == [("auto", None), ("other", "cascade")]


# --- what is learned of it, and experiments


async def test_what_became_of_it_is_a_label_of_that_tier(build_house: Build) -> None:
    text = TWO % ("learn: true, explore: 0%, " + looks("refusal"), "")
    house = await build_house(text + '\ncache: {embedder: "tests.stages.cache.words:Words"}\n')
    house.provider("main").says(REFUSAL)
    dropped, kept = await ask(house), await ask(house)
    assert (went(dropped), went(kept)) == ("simple escalated (refusal)", "simple kept")
    (figures,) = house.app.gateway.upstream.tiers.figures
    assert figures.labels == 2 and figures.found.quality == {}


async def test_what_passes_unseen_is_no_label(build_house: Build) -> None:
    text = TWO % ("learn: true, explore: 0%, " + looks("schema", "confidence"), "")
    house = await build_house(text + '\ncache: {embedder: "tests.stages.cache.words:Words"}\n')
    assert went(await ask(house)) == "simple kept"
    (figures,) = house.app.gateway.upstream.tiers.figures
    assert figures.labels == 0


async def test_as_an_arm_of_an_experiment_it_keeps_its_cascade(build_house: Build) -> None:
    house = await build_house(TWO % (looks("refusal"), "") + "  plain: {targets: [{provider: spare, model: p}]}\n")
    arm = {"name": "cascading", "route": "auto"}
    spec = {"name": "x", "route": "plain", "unit": "request", "arms": [arm], "ramp": [1.0], "automatic": False}
    made = await house.ask(path="/v1/experiments", body=json.dumps(spec).encode())
    assert made.status == 201, made.body
    started = await house.ask(path="/v1/experiments/x/start", body=b"{}")
    assert started.status == 200, started.body
    house.provider("main").always(REFUSAL)
    reply = await house.ask("hi", route="plain")
    assert went(reply) == "simple escalated (refusal)" and reply.row.route == "plain" and reply.row.arms


# --- what the looks see


def test_sureness_is_between_the_words_and_no_single_one_ends_it() -> None:
    assert sureness([0.0, 0.0]) == 1 and sureness([-9999.0] + [0.0] * 99) == pytest.approx(0.905, abs=0.001)


@pytest.mark.parametrize(
    ("said", "value"),
    [('{"grade": 7}', 0.7), ('Sure: {"grade": 10}', 1.0), ("seven", None), ('{"grade": 11}', None), ("", None)],
)
def test_a_grade_is_read_or_there_is_none(said: str, value: float | None) -> None:
    assert grade(said) == value


@pytest.mark.parametrize("stream", [True, False])
def test_a_model_of_anthropics_says_by_its_reason_that_it_refuses(stream: bool) -> None:
    said: dict[str, Any] = {"type": "message", "id": "m", "role": "assistant", "model": "c", "content": []}
    usage = {"input_tokens": 3, "output_tokens": 1}
    ending = {"type": "message_delta", "delta": {"stop_reason": "refusal"}, "usage": usage}
    parts = [{"type": "message_start", "message": said | {"usage": usage}}, ending, {"type": "message_stop"}]
    text = b"".join(b"event: %b\ndata: %b\n\n" % (str(one["type"]).encode(), json.dumps(one).encode()) for one in parts)
    whole = json.dumps(said | {"stop_reason": "refusal", "usage": usage}).encode()
    decoder = Messages().decoder(stream=stream, withhold_usage=False)
    events = decoder.feed(text if stream else whole) + decoder.end()
    found = wanting(answer_of(events), None, Config(checks=("refusal",)))
    assert found is not None and found.reason == "refusal"


def test_nothing_said_is_nothing_wrong_where_no_form_was_asked_for() -> None:
    assert wanting(answer_of([]), None, Config(checks=("schema", "refusal", "confidence"))) is None


# --- how it is configured


@pytest.mark.parametrize(
    ("router", "wrong"),
    [
        (looks("refusal"), "router.cascade.checks: a cascade needs two tiers"),
        ("cascade: {checks: [taste]}", "router.cascade.checks[0]"),
        ("cascade: {least: 0.5}", "router.cascade.checks: nothing is looked at"),
        (looks("judge"), "router.cascade.judge: goes with `checks: [judge]`"),
        (looks("refusal", more="judge: small"), "router.cascade.judge: goes with"),
        (looks("judge", more="judge: smal"), "router.cascade.judge: no route 'smal'; did you mean 'small'?"),
        (looks("judge", more="judge: auto"), "router.cascade.judge: a route cannot judge its own answers"),
        (looks("confidence", more="confidence: 1.2"), "router.cascade.confidence"),
        (looks("refusal", more="max_bytes: 0"), "router.cascade.max_bytes"),
        (looks("refusal", more="failed: perhaps"), "router.cascade.failed"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_key(router: str, wrong: str) -> None:
    text = TWO % (router, "")
    if "two tiers" in wrong:
        text = text.replace(", complex: spare/large", "")
    with pytest.raises(ConfigError) as refused:
        parse(text, {})
    assert wrong in refused.value.message
