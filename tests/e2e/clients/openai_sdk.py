"""What the openai SDK does with Tidegate, each case a function of its name. Run by its own Python: see test_openai.py.

URL=http://127.0.0.1:8080 KEY=tg_… python openai_sdk.py     prints {case: "ok" or what went wrong}
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import openai
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

URL, KEY = os.environ["URL"] + "/v1", os.environ["KEY"]
client = OpenAI(base_url=URL, api_key=KEY, max_retries=0, timeout=60)
HI: Any = [{"role": "user", "content": "Say hello."}]


def scripted(**script: Any) -> dict[str, Any]:
    """A call that is answered so."""
    return {"model": "fast", "messages": HI, "metadata": {"script": json.dumps(script)}}


def fails_as(kind: type[Exception], ask: Callable[[], Any]) -> Any:
    try:
        ask()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def row(request_id: str) -> Any:
    return client.get(f"/requests/{request_id}", cast_to=object)


# --- the real model ---------------------------------------------------------------------------------------------------


def small_chat() -> None:
    reply = client.chat.completions.create(model="small", messages=HI, max_tokens=8)
    assert reply.choices[0].message.content and reply.choices[0].message.role == "assistant"
    assert reply.choices[0].finish_reason in ("stop", "length")
    assert reply.usage and 0 < reply.usage.completion_tokens <= 8


def small_chat_streamed() -> None:
    stream = client.chat.completions.create(
        model="small", messages=HI, max_tokens=8, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].usage and 0 < chunks[-1].usage.completion_tokens <= 8


def small_chat_streamed_without_usage() -> None:
    chunks = list(client.chat.completions.create(model="small", messages=HI, max_tokens=8, stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


def small_logprobs() -> None:
    reply = client.chat.completions.create(model="small", messages=HI, max_tokens=4, logprobs=True, top_logprobs=2)
    tokens = reply.choices[0].logprobs and reply.choices[0].logprobs.content
    assert tokens and all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in tokens)


def small_json_schema() -> None:
    schema: Any = {"type": "object", "properties": {"sea": {"enum": ["blue"]}}, "required": ["sea"]}
    asked: Any = {"type": "json_schema", "json_schema": {"name": "colours", "schema": schema, "strict": True}}
    reply = client.chat.completions.create(model="small", messages=HI, max_tokens=16, response_format=asked)
    said = "".join((reply.choices[0].message.content or "").split())
    assert '{"sea":"blue"}'.startswith(said) and said  # it has room for blanks, and may run out of tokens


def small_completion() -> None:
    reply = client.completions.create(model="small", prompt="The sea is", max_tokens=8)
    assert reply.choices[0].text and reply.usage and reply.usage.completion_tokens <= 8


def small_completion_streamed() -> None:
    chunks = list(client.completions.create(model="small", prompt="The sea is", max_tokens=8, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks)


def small_prompt_that_is_too_long() -> None:
    long: Any = [{"role": "user", "content": "word " * 5000}]
    error = fails_as(openai.BadRequestError, lambda: client.chat.completions.create(model="small", messages=long))
    assert "context" in error.message


# --- what a provider may say ------------------------------------------------------------------------------------------


def words_of_all_alphabets() -> None:
    said = "Grüße, 世界 \U0001f30a \u2028 \x00 end"
    asked: Any = [{"role": "user", "content": said}]
    reply = client.chat.completions.create(model="fast", messages=asked)
    echoed = reply.choices[0].message.content
    assert echoed is not None and echoed.split()[-1] == "end" and "世界 \U0001f30a" in echoed and "\x00" in echoed


class Verdict(BaseModel):
    good: bool


def parsed_reply() -> None:
    reply = client.chat.completions.parse(**scripted(text='{"good": true}'), response_format=Verdict)
    assert reply.choices[0].message.parsed == Verdict(good=True)


def several_choices() -> None:
    reply = client.chat.completions.create(**scripted(text="one two"), n=3)
    assert [(choice.index, choice.message.content) for choice in reply.choices] == [(at, "one two") for at in range(3)]
    said = ["", "", ""]
    for chunk in client.chat.completions.create(**scripted(text="one two"), n=3, stream=True):
        for choice in chunk.choices:
            said[choice.index] += choice.delta.content or ""
    assert said == ["one two"] * 3


TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]


def tools() -> None:
    script = scripted(tools=[{"name": "weather", "arguments": '{"city": "Oslo"}'}])
    reply = client.chat.completions.create(**script, tools=TOOLS)
    (called,) = reply.choices[0].message.tool_calls or ()
    assert called.type == "function" and called.function.name == "weather"
    assert json.loads(called.function.arguments) == {"city": "Oslo"}
    assert reply.choices[0].finish_reason == "tool_calls"
    followed: Any = [
        *HI,
        reply.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": called.id, "content": "sunny"},
    ]
    assert client.chat.completions.create(model="fast", messages=followed, tools=TOOLS).choices


def tools_streamed() -> None:
    script = scripted(tools=[{"name": "weather", "arguments": '{"city": "Oslo"}'}, {"name": "time"}])
    with client.chat.completions.stream(**script, tools=TOOLS) as stream:
        message = stream.get_final_completion().choices[0].message
    assert [call.function.name for call in message.tool_calls or ()] == ["weather", "time"]


def refusal() -> None:
    reply = client.chat.completions.create(**scripted(refusal="I will not."))
    assert reply.choices[0].message.refusal == "I will not."


def unknown_fields() -> None:
    reply = client.chat.completions.create(
        **scripted(text="hi", extra={"timings": {"ms": 3}}), extra_body={"top_k": 3, "x_new": [1, {"deep": None}]}
    )
    assert reply.model_extra == {"timings": {"ms": 3}}


def models() -> None:
    assert [model.id for model in client.models.list()] == ["fast", "small"]
    assert client.models.retrieve("small").id == "small"


def headers() -> None:
    raw = client.chat.completions.with_raw_response.create(
        **scripted(text="one two three"), extra_headers={"x-tidegate-session": "s-1", "x-tidegate-tags": "a, b"}
    )
    assert raw.headers["x-tidegate-route"] == "fast" and raw.headers["x-tidegate-target"] == "scripted/m"
    assert raw.headers["x-tidegate-attempts"] == "1" and float(raw.headers["x-tidegate-overhead-ms"]) >= 0
    kept = row(raw.headers["x-tidegate-request-id"])
    assert kept["outcome"] == "ok" and kept["session"] == "s-1" and kept["tags"] == ["a", "b"]
    assert raw.headers["x-tidegate-cost-usd"] == f"{kept['cost_nusd'] / 1e9:.9f}"


def many_at_once() -> None:
    async def ask(asynchronous: AsyncOpenAI, number: int) -> None:
        script = scripted(text=f"{number} and more", between=0.01)
        said = ""
        async for chunk in await asynchronous.chat.completions.create(**script, stream=True):
            said += chunk.choices[0].delta.content or ""
        assert said == f"{number} and more"

    async def all_of_them() -> None:
        async with AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0) as asynchronous:
            await asyncio.gather(*(ask(asynchronous, number) for number in range(20)))

    asyncio.run(all_of_them())


# --- what goes wrong --------------------------------------------------------------------------------------------------


def wrong_key() -> None:
    stranger = client.with_options(api_key="tg_live_wrong")
    error = fails_as(openai.AuthenticationError, lambda: stranger.models.list())
    assert error.code == "invalid_api_key"


def unknown_model() -> None:
    error = fails_as(openai.NotFoundError, lambda: client.chat.completions.create(model="smal", messages=HI))
    assert (error.code, error.param) == ("model_not_found", "model") and "did you mean 'small'?" in error.message
    fails_as(openai.NotFoundError, lambda: client.models.retrieve("smal"))


def wrong_request() -> None:
    bad: Any = "hi"
    error = fails_as(openai.BadRequestError, lambda: client.chat.completions.create(model="fast", messages=bad))
    assert error.param == "messages" and error.code == "invalid_request"


def statuses_of_a_provider() -> None:
    for status, kind in (
        (400, openai.BadRequestError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ):
        asked = scripted(status=status, headers={"retry-after": "7"})
        error = fails_as(kind, lambda asked=asked: client.chat.completions.create(**asked))
        assert error.status_code == (status if status < 500 else 502)
        if status == 429:
            assert (error.code, error.response.headers["retry-after"]) == ("upstream_rate_limited", "7")
        asked["stream"] = True
        fails_as(kind, lambda asked=asked: client.chat.completions.create(**asked))


def provider_key_that_is_refused() -> None:
    """Ours, and no fault of the client's: an AuthenticationError would send its author after the wrong key."""
    error = fails_as(openai.InternalServerError, lambda: client.chat.completions.create(**scripted(status=401)))
    assert "does not accept Tidegate's key" in error.message


def cut_off() -> None:
    said = ""

    def listen() -> None:
        nonlocal said
        for chunk in client.chat.completions.create(**scripted(text="one two three", cut_off=2), stream=True):
            said += chunk.choices[0].delta.content or ""

    error = fails_as(openai.APIError, listen)
    assert said == "one two" and error.code == "upstream_cut_off"


def patience_that_ends() -> None:
    hasty = client.with_options(timeout=0.3)
    began = time.monotonic()
    fails_as(openai.APITimeoutError, lambda: hasty.chat.completions.create(**scripted(before=60)))
    assert time.monotonic() - began < 30


def leaving_in_the_middle() -> None:
    stream = client.chat.completions.create(**scripted(text="one two three four", between=0.2), stream=True)
    next(iter(stream))
    stream.close()
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            kept = row(stream.response.headers["x-tidegate-request-id"])
        except openai.NotFoundError:
            time.sleep(0.02)
        else:
            break
    assert kept["outcome"] == "client_left" and kept["usage_estimated"] and kept["cost_nusd"] > 0


# --- all of them ------------------------------------------------------------------------------------------------------


def main(names: list[str]) -> None:
    results = {}
    for name in names:
        try:
            globals()[name]()
            results[name] = "ok"
        except Exception:  # noqa: BLE001 whatever it is, it is told
            results[name] = traceback.format_exc()
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
