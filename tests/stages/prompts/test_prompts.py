"""A call names a prompt of the store: its words come first, the call's own follow, whatever dialect it speaks."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.house import House, Reply
from tidegate.core.body import spans, without
from tidegate.core.call import Call
from tidegate.core.chat import Conversation
from tidegate.core.errors import BadRequest, PromptInvalid
from tidegate.core.prompts import Preface, Spoken, Variable, Wording
from tidegate.providers.anthropic.count import Count
from tidegate.providers.anthropic.messages import Messages
from tidegate.providers.openai.chat import Chat
from tidegate.providers.openai.complete import Complete
from tidegate.providers.openai.embed import Embed
from tidegate.providers.raw import AnthropicRaw, OpenAIRaw
from tidegate.stages.prompts import asks

TOOL = {"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
GREET = Wording(
    messages=(Spoken("system", "You greet {{name}}."), Spoken("user", "Hello"), Spoken("assistant", "Hi {{name}}")),
    variables=(Variable("name", "text"),),
    parameters={"temperature": 0.3, "max_tokens": 50, "stop": ["END"]},
)


def heard(house: House) -> dict[str, Any]:
    """What the provider was asked last."""
    return json.loads(house.provider("main").requests[-1].body)


async def keep(house: House, name: str, wording: Wording, *labels: str) -> None:
    await house.app.gateway.prompts.desk.make(name, wording, by="k", labels=labels or ("production",))


@pytest.fixture
async def stocked(house: House) -> House:
    await keep(house, "greet", GREET)
    await keep(house, "say", Wording(template="Say {{word}}!"))
    return house


def sent(codec: Any, body: dict[str, Any], wording: Wording, *texts: str) -> dict[str, Any]:
    """What goes out when the prompt has become these texts."""
    asked = codec.parse_request(json.dumps(body).encode())
    said = texts or tuple(text for _, text in wording.texts)
    written = codec.prefaced(asked, Preface("greet@1", wording, asks(Chat(), wording), said))
    return json.loads(written.body)


PROMPT = {"id": "greet"}
BRIEF = {"type": "text", "text": "Be brief."}
ASKING = [{"role": "user", "content": "x"}]


def test_a_chat_begins_with_the_prompt() -> None:
    found = sent(
        Chat(),
        {"model": "m", "messages": [{"role": "user", "content": "x"}], "prompt": PROMPT, "top_p": 1},
        GREET,
    )
    assert found == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "You greet {{name}}."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi {{name}}"},
            {"role": "user", "content": "x"},
        ],
        "top_p": 1,
        "temperature": 0.3,
        "max_tokens": 50,
        "stop": ["END"],
    }


@pytest.mark.parametrize("said", ["max_tokens", "max_completion_tokens"])
def test_what_a_client_says_itself_stays(said: str) -> None:
    wording = msgspec.structs.replace(GREET, tools=(TOOL,), response_schema=SCHEMA)
    own = {"temperature": 1, said: 7, "tools": [], "response_format": {"type": "text"}, "stop": None}
    found = sent(Chat(), {"model": "m", "messages": [], "prompt": PROMPT, **own}, wording)
    assert {name: found[name] for name in own} == {**own, "stop": ["END"]}
    assert len({"max_tokens", "max_completion_tokens"} & found.keys()) == 1


def test_tools_and_schema_are_said_in_each_dialect() -> None:
    wording = msgspec.structs.replace(GREET, tools=(TOOL,), response_schema=SCHEMA)
    chat = sent(Chat(), {"model": "m", "prompt": PROMPT}, wording)
    assert chat["tools"] == [TOOL] and chat["response_format"]["json_schema"]["schema"] == SCHEMA
    messages = sent(Messages(), {"model": "m", "prompt": PROMPT, "max_tokens": 9}, wording)
    assert messages["tools"] == [{"name": "search", "input_schema": {"type": "object"}}]
    assert messages["output_config"]["format"]["schema"] == SCHEMA
    response = sent(OpenAIRaw(), {"model": "m", "prompt": PROMPT}, wording)
    assert response["tools"] == [{"type": "function", "name": "search", "parameters": {"type": "object"}}]
    assert response["text"]["format"] == {"type": "json_schema", "name": "greet", "schema": SCHEMA}
    assert response["max_output_tokens"] == 50 and "max_tokens" not in response


@pytest.mark.parametrize(
    ("own", "becomes"),
    [
        (None, "You greet Ann."),
        ("Be brief.", "You greet Ann.\n\nBe brief."),
        ([BRIEF], [{"type": "text", "text": "You greet Ann."}, BRIEF]),
    ],
)
def test_the_system_s_word_becomes_or_begins_anthropic_s_system(own: Any, becomes: Any) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "prompt": PROMPT}
    found = sent(Messages(), body if own is None else {**body, "system": own}, GREET, "You greet Ann.", "Hello", "Hi")
    assert found["system"] == becomes
    assert [one["role"] for one in found["messages"]] == ["user", "assistant", "user"]
    assert (found["temperature"], found["max_tokens"], found["stop_sequences"]) == (0.3, 9, ["END"])


def test_counting_is_asked_what_counts() -> None:
    wording = msgspec.structs.replace(GREET, tools=(TOOL,))
    found = sent(Count(), {"model": "m", "prompt": PROMPT}, wording)
    assert set(found) == {"model", "messages", "system", "tools"}


def test_a_text_is_the_user_s_word_alone_and_the_system_s_before_others() -> None:
    say = Wording(template="Say wow!")
    alone = sent(Chat(), {"model": "m", "prompt": PROMPT}, say)
    assert alone["messages"] == [{"role": "user", "content": "Say wow!"}]
    before = sent(Chat(), {"model": "m", "prompt": PROMPT, "messages": [{"role": "user", "content": "x"}]}, say)
    assert before["messages"][0] == {"role": "system", "content": "Say wow!"}


def test_a_completion_is_the_text() -> None:
    say = Wording(template="Say wow!", parameters={"max_tokens": 5, "reasoning_effort": "low"})
    assert sent(Complete(), {"model": "m", "prompt": PROMPT}, say) == {
        "model": "m", "prompt": "Say wow!", "max_tokens": 5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("own", "becomes"),
    [
        ({}, "query: "),
        ({"input": "cats"}, "query: cats"),
        ({"input": ["cats", "dogs"]}, ["query: cats", "query: dogs"]),
    ],
)
def test_an_embedding_s_text_stands_behind_it(own: dict[str, Any], becomes: Any) -> None:
    wording = Wording(template="query: ", parameters={"dimensions": 8, "temperature": 1})
    found = sent(Embed(), {"model": "m", "prompt": PROMPT, **own}, wording)
    assert found == {"model": "m", "input": becomes, "dimensions": 8}


@pytest.mark.parametrize(
    ("own", "then"),
    [
        ({}, []),
        ({"input": "x"}, [{"role": "user", "content": "x"}]),
        ({"input": [{"type": "item_reference", "id": "i"}]}, [{"type": "item_reference", "id": "i"}]),
    ],
)
def test_a_response_s_input_follows_it(own: dict[str, Any], then: list[Any]) -> None:
    found = sent(OpenAIRaw(), {"model": "m", "prompt": PROMPT, **own}, GREET)
    assert [one["role"] for one in found["input"][:3]] == ["system", "user", "assistant"]
    assert found["input"][3:] == then and "prompt" not in found


@pytest.mark.parametrize(
    ("codec", "body", "wording", "why"),
    [
        (Complete(), {"prompt": PROMPT}, GREET, "plain completions take one text"),
        (Embed(), {"prompt": PROMPT, "input": "x"}, GREET, "embeddings take one text"),
        (Embed(), {"prompt": PROMPT, "input": [1, 2]}, Wording(template="x"), "tokens cannot follow"),
        (Complete(), {"prompt": PROMPT}, Wording(template="x", tools=(TOOL,)), "tools or a schema"),
        (Messages(), {"prompt": PROMPT}, Wording(messages=(Spoken("system", "x"),)), "only the system's word"),
        (Messages(), {"prompt": PROMPT}, Wording(messages=(Spoken("assistant", "x"),)), "the user speaks first"),
        (AnthropicRaw(), {"prompt": PROMPT}, GREET, "cannot be said here"),
    ],
)
def test_what_cannot_be_said_in_a_dialect_is_refused(
    codec: Any, body: dict[str, Any], wording: Wording, why: str
) -> None:
    with pytest.raises((PromptInvalid, BadRequest), match=why):
        sent(codec, {"model": "m", **body}, wording)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
SPACES = st.sampled_from(["", " ", "\n  ", "\t"])


@given(st.lists(st.tuples(st.text(min_size=1, max_size=8), JSON), max_size=5, unique_by=lambda one: one[0]),
       st.integers(0, 5), SPACES, SPACES)  # fmt: skip
@settings(suppress_health_check=[HealthCheck.filter_too_much], max_examples=200)
def test_unknown_fields_are_kept_byte_for_byte(fields: list[tuple[str, Any]], at: int, a: str, b: str) -> None:
    known = {"messages", "prompt", "model", "stream", "temperature", "max_tokens", "max_completion_tokens", "stop", "n"}
    known |= set(Chat().parse_request.__annotations__) | {
        *("stream_options", "tools", "tool_choice", "parallel_tool_calls", "top_p", "top_k", "reasoning_effort"),
        *("response_format", "user", "safety_identifier", "metadata"),
    }
    fields = [one for one in fields if one[0] not in known]
    said = [f"{json.dumps(key)}{a}:{b}{json.dumps(value)}" for key, value in fields]
    own = '[ {"role" : "user","content":"x" , "mine": 1.50} ]'
    said[at:at] = ['"model":"m"', f'"messages": {own}', f'"prompt"{a}:{a}{{"id":"greet" }}']
    body = f"{a}{{{b}{f'{b},{a}'.join(said)}{b}}}{a}".encode()
    codec = Chat()
    new = codec.prefaced(
        codec.parse_request(body), Preface("greet@1", GREET, Conversation(items=()), ("a", "b", "c"))
    ).body
    before, after = spans(body), spans(new)
    assert {key: new[slice(*after[key])] for key, _ in fields} == {key: body[slice(*before[key])] for key, _ in fields}
    assert b'{"role" : "user","content":"x" , "mine": 1.50}' in new and "prompt" not in after


@pytest.mark.parametrize("body", ['{"a":1,"b":2,"c":3}', ' { "a" : 1 , "b" : [",}"] , "c" : {"a":1} } ', '{"b":"a"}'])
def test_a_key_is_taken_out_with_its_comma(body: str) -> None:
    for key in json.loads(body):
        found = json.loads(without(body.encode(), spans(body.encode()), key))
        assert found == {name: value for name, value in json.loads(body).items() if name != key}


# --- on its way ------------------------------------------------------------------------------------------------------


def asked(path: str, prompt: dict[str, Any], **more: Any) -> bytes:
    return json.dumps(
        {"model": "fast", "prompt": prompt, **({"max_tokens": 9} if "messages" in path else {}), **more}
    ).encode()


async def test_any_endpoint_answers_it_streamed_or_not(stocked: House) -> None:
    named = {"id": "say", "variables": {"word": "wow"}}
    for path in ("/v1/chat/completions", "/v1/messages", "/v1/completions"):
        for stream in (False, True):
            reply = await stocked.begin(path=path, body=asked(path, named, stream=stream)).reply()
            assert reply.status == 200 and b"Say" in reply.body and b"wow!" in reply.body
            assert reply.row is not None and (reply.row.prompt, reply.row.stream) == ("say@1", stream)


async def test_it_goes_to_a_provider_of_another_dialect(stocked: House) -> None:
    body = asked(
        "/v1/messages", {"id": "greet", "variables": {"name": "Ann"}}, messages=[{"role": "user", "content": "x"}]
    )
    reply = await stocked.begin(path="/v1/messages", body=body).reply()
    assert reply.status == 200
    assert [one["role"] for one in heard(stocked)["messages"]] == ["system", "user", "assistant", "user"]


async def test_a_row_says_what_was_rendered(stocked: House) -> None:
    one = await stocked.ask("x", prompt={"id": "greet", "variables": {"name": "Ann"}})
    two = await stocked.ask("x", prompt={"id": "greet", "variables": {"name": "Bob"}})
    assert one.row is not None and two.row is not None
    assert one.row.prompt == two.row.prompt == "greet@1"
    kept = (await stocked.get("/v1/prompts/greet")).events[0]
    assert (await stocked.get(f"/v1/requests/{one.id}")).events[0]["rendered"] == one.row.rendered
    again = await stocked.begin(
        path="/v1/prompts/greet/render", body=b'{"version": 1, "variables": {"name": "Ann"}}'
    ).reply()
    assert one.row.rendered == f"{kept['hash'][:8]}/{again.events[0]['variables']}" != two.row.rendered


async def test_what_is_not_ours_passes_by(stocked: House) -> None:
    for prompt in ("a text", ["a", "b"], {"id": "pmpt_123", "version": "2"}, {"id": "unknown", "label": "x"}, {"x": 1}):
        reply = await stocked.ask("hi", prompt=prompt, model="fast", metadata={"script": {"text": "ok"}})
        assert heard(stocked)["prompt"] == prompt
        assert reply.row is not None and reply.row.prompt is None


WRONG: list[tuple[dict[str, Any], int, str]] = [
    ({"id": "greet"}, 422, "prompt 'greet@1': missing: name"),
    (
        {"id": "greet", "variables": {"name": "x", "nmae": "y"}},
        422,
        "not among its variables: nmae; there are: name",
    ),
    ({"id": "greet", "variables": {"name": 7}}, 422, "variables.name: must be of the type text"),
    ({"id": "greet", "label": "staging"}, 404, "no label 'staging'; there are: production"),
    ({"id": "greet", "version": 4}, 404, "no version 4; its newest is 1"),
    ({"id": "greet", "version": 1, "label": "production"}, 422, "a label or a version, not both"),
    ({"id": "greet", "version": 0}, 422, "prompt.version: must be a number from 1"),
    ({"id": "greet", "version": "new"}, 422, "prompt.version"),
    ({"id": "greet", "label": 7}, 422, "prompt.label"),
    ({"id": "greet", "variables": ["x"]}, 422, "prompt.variables: must be an object"),
    ({"id": "greet", "vars": {}}, 422, "prompt.vars: no such field; did you mean 'variables'?"),
]


async def test_what_cannot_be_is_told(stocked: House) -> None:
    for prompt, status, words in WRONG:
        reply = await stocked.ask("hi", prompt=prompt)
        assert (reply.status, words in (reply.error.message or "")) == (status, True), reply.body
        assert reply.row is not None and reply.row.attempts == ()


NOTHING_ELSE: list[tuple[str, Any, int, str]] = [
    ("/v1/chat/completions", {"id": "gret"}, 404, "there is no prompt 'gret'; did you mean 'greet'?"),
    ("/v1/messages", {"id": "gret"}, 404, "did you mean 'greet'?"),
    ("/v1/completions", {"id": "sey"}, 404, "did you mean 'say'?"),
    ("/v1/chat/completions", {"name": "greet"}, 400, "name a prompt of the store"),
    ("/v1/chat/completions", "greet", 400, "messages: at least one message is needed"),
    ("/v1/completions", {"id": 7}, 400, "name a prompt of the store"),
]


async def test_what_says_nothing_itself_must_name_one_that_is_there(stocked: House) -> None:
    for path, prompt, status, words in NOTHING_ELSE:
        reply = await stocked.begin(path=path, body=asked(path, prompt)).reply()
        assert (reply.status, words in reply.body.decode()) == (status, True), reply.body


async def test_it_is_the_version_or_what_the_label_points_to(stocked: House) -> None:
    await keep(stocked, "say", Wording(template="Shout {{word}}!"), "staging")
    for said, becomes in (
        ({}, "Say"),
        ({"label": "staging"}, "Shout"),
        ({"label": "latest"}, "Shout"),
        ({"version": 2}, "Shout"),
        ({"version": "1"}, "Say"),
    ):
        await stocked.ask("x", prompt={"id": "say", **said, "variables": {"word": "wow"}})
        assert heard(stocked)["messages"][0]["content"] == f"{becomes} wow!"


async def test_an_arm_s_version_counts_where_the_call_says_none(stocked: House) -> None:
    await keep(stocked, "say", Wording(template="Shout {{word}}!"), "staging")
    prompts = stocked.app.gateway.prompts
    for said, becomes in (("", "say@2"), ('"label": "production", ', "say@2"), ('"version": 1, ', "say@1")):
        body = f'{{"model": "fast", "prompt": {{"id": "say", {said}"variables": {{"word": "wow"}}}}}}'.encode()
        call = Call(id="x", dialect="openai", operation="chat", at_ms=0, arrived_ns=0, intake=lambda: b"")
        stocked.app.gateway.understand(call, body)
        call.pinned = {"say": 2, "greet": 7}
        await prompts.render(call)
        assert call.prompt == becomes


async def test_two_versions_share_no_answer_and_each_can_be_purged(build_house: Any) -> None:
    house: House = await build_house(CACHED)
    await keep(house, "say", Wording(template="Say {{word}}!"))
    prompt = {"id": "say", "variables": {"word": "wow"}}
    first, again = await house.ask("x", prompt=prompt), await house.ask("x", prompt=prompt)
    assert (cached(first), cached(again)) == ("miss", "hit")
    await keep(house, "say", Wording(template="Say  {{word}}!"))
    assert cached(await house.ask("x", prompt=prompt)) == "miss"
    purged = await house.begin(path="/admin/cache?prompt=say@1", method="DELETE", body=b"").reply()
    assert purged.events[0]["purged"] == 1
    purged = await house.begin(path="/admin/cache?prompt=say", method="DELETE", body=b"").reply()
    assert purged.events[0]["purged"] == 1


CACHED = """
logs: {calls: false}
providers:
  main: {type: scripted, price: {input: 1, output: 2}}
routes:
  fast: {targets: [{provider: main, model: m}], cache: {exact: true}}
"""


def cached(reply: Reply) -> str | None:
    return reply.headers.get("x-tidegate-cache")


async def test_guards_look_at_what_was_rendered(build_house: Any) -> None:
    house: House = await build_house(GUARDED)
    await keep(house, "say", Wording(template="Write to {{who}}"))
    reply = await house.ask("x", prompt={"id": "say", "variables": {"who": "ann@example.com"}})
    assert reply.status == 400 and reply.error is not None and reply.error.code == "guardrail_blocked"


GUARDED = """
logs: {calls: false}
providers:
  main: {type: scripted}
routes:
  fast: {targets: [{provider: main, model: m}]}
guardrails: {input: [{type: pii, action: block}]}
"""
