"""What OpenAI's own SDK asks."""

from __future__ import annotations

from typing import Any, Literal

import openai
from calls import ASKED, TIMEOUT_S, Target, run, tools_of
from pydantic import BaseModel

TOOL: Any = {"type": "function", "function": ASKED["tool"]}


def client(at: Target) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{at.url}/v1", api_key=at.key, max_retries=0, timeout=TIMEOUT_S)


def user(content: Any) -> Any:
    return {"role": "user", "content": content}


def ask(at: Target, *messages: Any, most: int = ASKED["few"], **fields: Any) -> Any:
    messages = messages or (user(ASKED["hello"]),)
    return client(at).chat.completions.create(
        model=at.model, messages=list(messages), max_completion_tokens=most, temperature=0, **fields
    )


def told(reply: Any) -> dict[str, Any]:
    (choice,) = reply.choices
    calls = ((call.function.name, call.function.arguments) for call in choice.message.tool_calls or ())
    return {
        "text": choice.message.content or "",
        "tools": tools_of(calls),
        "finish": choice.finish_reason,
        "usage": used(reply.usage),
    }


def used(usage: Any) -> list[int]:
    return [usage.prompt_tokens, usage.completion_tokens]


def whole(at: Target) -> Any:
    return told(ask(at))


def streamed(at: Target) -> Any:
    chunks = list(ask(at, stream=True, stream_options={"include_usage": True}))
    choices = [choice for chunk in chunks for choice in chunk.choices]
    return {
        "text": "".join(choice.delta.content or "" for choice in choices),
        "role": next(choice.delta.role for choice in choices if choice.delta.role),
        "finish": [choice.finish_reason for choice in choices if choice.finish_reason],
        "usage": [used(chunk.usage) for chunk in chunks if chunk.usage],
    }


def streamed_without_usage(at: Target) -> Any:
    chunks = list(ask(at, stream=True))
    return {
        "text": "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices),
        "usage": [used(chunk.usage) for chunk in chunks if chunk.usage],
        "without_choices": sum(not chunk.choices for chunk in chunks),
    }


async def asynchronously(at: Target) -> Any:
    async with openai.AsyncOpenAI(
        base_url=f"{at.url}/v1", api_key=at.key, max_retries=0, timeout=TIMEOUT_S
    ) as connected:
        stream = await connected.chat.completions.create(
            model=at.model, messages=[user(ASKED["hello"])], max_tokens=ASKED["few"], temperature=0, stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


def system_prompt(at: Target) -> Any:
    return told(ask(at, {"role": "system", "content": ASKED["system"]}, user(ASKED["hello"])))


def several_turns(at: Target) -> Any:
    first, answer, second = ASKED["turns"]
    return told(ask(at, user(first), {"role": "assistant", "content": answer}, user(second)))


def content_in_parts(at: Target) -> Any:
    return told(ask(at, user([{"type": "text", "text": ASKED["hello"]}])))


def tool(at: Target) -> Any:
    return told(ask(at, user(ASKED["time"]), most=ASKED["enough"], tools=[TOOL], tool_choice="required"))


def tool_streamed(at: Target) -> Any:
    asked: Any = {"messages": [user(ASKED["time"])], "tools": [TOOL], "tool_choice": "required"}
    with client(at).chat.completions.stream(
        model=at.model, max_completion_tokens=ASKED["enough"], temperature=0, **asked
    ) as stream:
        final = stream.get_final_completion()
    (choice,) = final.choices
    calls = ((call.function.name, call.function.arguments) for call in choice.message.tool_calls or ())
    return {"tools": tools_of(calls), "finish": choice.finish_reason}


def _called(*ids: str) -> Any:
    given = {"name": ASKED["tool"]["name"], "arguments": '{"zone": "UTC"}'}
    calls = [{"type": "function", "id": id, "function": given} for id in ids]
    results = [{"role": "tool", "tool_call_id": id, "content": ASKED["noon"]} for id in ids]
    return user(ASKED["time"]), {"role": "assistant", "tool_calls": calls}, *results


def tool_result(at: Target) -> Any:
    return told(ask(at, *_called("call_1"), tools=[TOOL], tool_choice="none"))


def parallel_tool_results(at: Target) -> Any:
    return told(ask(at, *_called("call_1", "call_2"), tools=[TOOL], tool_choice="none"))


class Colours(BaseModel):
    sea: Literal["blue"]


def json_schema(at: Target) -> Any:
    asked: Any = {"messages": [user(ASKED["hello"])], "response_format": Colours}
    reply = client(at).chat.completions.parse(
        model=at.model, max_completion_tokens=ASKED["enough"], temperature=0, **asked
    )
    (choice,) = reply.choices
    return {"parsed": choice.message.parsed and choice.message.parsed.sea, "finish": choice.finish_reason}


def stop_sequence(at: Target) -> Any:
    return told(ask(at, stop=[ASKED["stop"]]))


def logprobs(at: Target) -> Any:
    reply = ask(at, logprobs=True, top_logprobs=2)
    return [[token.token, len(token.top_logprobs)] for token in reply.choices[0].logprobs.content]


def several_answers(at: Target) -> Any:
    reply = ask(at, n=2)
    return sorted(choice.message.content for choice in reply.choices)


def unknown_fields(at: Target) -> Any:
    return told(ask(at, extra_body={"min_p": 0.1, "a_field_of_tomorrow": {"deep": [1]}}))


def image(at: Target) -> Any:
    url = f"data:image/png;base64,{ASKED['image']}"
    return told(
        ask(at, user([{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]))
    )


def too_long(at: Target) -> Any:
    return told(ask(at, user("word " * ASKED["too_long"])))


def unknown_model(at: Target) -> Any:
    return told(ask(at._replace(model="no-such-model")))


def bad_key(at: Target) -> Any:
    return told(ask(at._replace(key="no-such-key")))


def bad_body(at: Target) -> Any:
    return told(ask(at, {"role": "user", "content": 7}))


def models(at: Target) -> Any:
    return at.model in [model.id for model in client(at).models.list()]


def responses(at: Target) -> Any:
    reply = client(at).responses.create(
        model=at.model, input=ASKED["hello"], max_output_tokens=ASKED["few"], temperature=0
    )
    assert reply.usage
    return {
        "text": reply.output_text,
        "status": reply.status,
        "usage": [reply.usage.input_tokens, reply.usage.output_tokens],
    }


def responses_streamed(at: Target) -> Any:
    stream = client(at).responses.create(
        model=at.model, input=ASKED["hello"], max_output_tokens=ASKED["few"], temperature=0, stream=True
    )
    events = list(stream)
    said = (event.delta for event in events if event.type == "response.output_text.delta")
    return {"events": [event.type for event in events], "text": "".join(said)}


def completions(at: Target) -> Any:
    reply = client(at).completions.create(model=at.model, prompt="The sea is", max_tokens=ASKED["few"], temperature=0)
    assert reply.usage
    return {"text": reply.choices[0].text, "finish": reply.choices[0].finish_reason, "usage": used(reply.usage)}


def embeddings(at: Target) -> Any:
    return len(client(at).embeddings.create(model=at.model, input="hello").data[0].embedding)


if __name__ == "__main__":
    run(
        "openai (Python)", "openai",
        whole, streamed, streamed_without_usage, asynchronously, system_prompt, several_turns, content_in_parts,
        tool, tool_streamed, tool_result, parallel_tool_results, json_schema, stop_sequence, logprobs,
        several_answers, unknown_fields, image, too_long, unknown_model, bad_key, bad_body, models, responses,
        responses_streamed, completions, embeddings,
    )  # fmt: skip
