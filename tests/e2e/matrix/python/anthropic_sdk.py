"""What Anthropic's own SDK asks."""

from __future__ import annotations

from typing import Any, Literal

import anthropic
from calls import ASKED, TIMEOUT_S, Target, run, tools_of
from pydantic import BaseModel

TOOL: Any = {
    "name": ASKED["tool"]["name"],
    "description": ASKED["tool"]["description"],
    "input_schema": ASKED["tool"]["parameters"],
}


def client(at: Target) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=at.url, api_key=at.key, max_retries=0, timeout=TIMEOUT_S)


def user(content: Any) -> Any:
    return {"role": "user", "content": content}


def asked(at: Target, *messages: Any, most: int = ASKED["few"], **fields: Any) -> Any:
    return {"model": at.model, "messages": list(messages) or [user(ASKED["hello"])], "max_tokens": most, **fields}


def ask(at: Target, *messages: Any, **fields: Any) -> Any:
    return client(at).messages.create(**asked(at, *messages, **fields))


def told(reply: Any) -> dict[str, Any]:
    return {
        "text": "".join(block.text for block in reply.content if block.type == "text"),
        "tools": tools_of((block.name, block.input) for block in reply.content if block.type == "tool_use"),
        "finish": reply.stop_reason,
        "usage": used(reply.usage),
    }


def used(usage: Any) -> list[int]:
    """What was heard, read again from a cache or not; and what was said."""
    kinds = (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens)
    return [sum(kind or 0 for kind in kinds), usage.output_tokens]


def whole(at: Target) -> Any:
    return told(ask(at))


def streamed(at: Target) -> Any:
    with client(at).messages.stream(**asked(at)) as stream:
        text = "".join(stream.text_stream)
        return told(stream.get_final_message()) | {"streamed": text}


def streamed_event_by_event(at: Target) -> Any:
    events = list(ask(at, stream=True))
    said = (event.delta.text for event in events if event.type == "content_block_delta")
    kinds = [event.type for event in events]
    return {"text": "".join(said), "events": sorted(set(kinds)), "first": kinds[0], "last": kinds[-1]}


async def asynchronously(at: Target) -> Any:
    async with anthropic.AsyncAnthropic(base_url=at.url, api_key=at.key, max_retries=0, timeout=TIMEOUT_S) as connected:
        async with connected.messages.stream(**asked(at)) as stream:
            return "".join([text async for text in stream.text_stream])


def system_prompt(at: Target) -> Any:
    return told(ask(at, system=ASKED["system"]))


def system_blocks(at: Target) -> Any:
    block = {"type": "text", "text": ASKED["system"], "cache_control": {"type": "ephemeral"}}
    return told(ask(at, system=[block]))


def several_turns(at: Target) -> Any:
    first, answer, second = ASKED["turns"]
    return told(ask(at, user(first), {"role": "assistant", "content": answer}, user(second)))


def content_in_parts(at: Target) -> Any:
    return told(ask(at, user([{"type": "text", "text": ASKED["hello"]}])))


def tool(at: Target) -> Any:
    return told(ask(at, user(ASKED["time"]), most=ASKED["enough"], tools=[TOOL], tool_choice={"type": "any"}))


def tool_streamed(at: Target) -> Any:
    fields = asked(at, user(ASKED["time"]), most=ASKED["enough"], tools=[TOOL], tool_choice={"type": "any"})
    with client(at).messages.stream(**fields) as stream:
        return told(stream.get_final_message())


def _called(*ids: str) -> Any:
    calls = [{"type": "tool_use", "id": id, "name": TOOL["name"], "input": {"zone": "UTC"}} for id in ids]
    results = [{"type": "tool_result", "tool_use_id": id, "content": ASKED["noon"]} for id in ids]
    return user(ASKED["time"]), {"role": "assistant", "content": calls}, user(results)


def tool_result(at: Target) -> Any:
    return told(ask(at, *_called("toolu_1"), tools=[TOOL], tool_choice={"type": "none"}))


def parallel_tool_results(at: Target) -> Any:
    return told(ask(at, *_called("toolu_1", "toolu_2"), tools=[TOOL], tool_choice={"type": "none"}))


class Colours(BaseModel):
    sea: Literal["blue"]


def json_schema(at: Target) -> Any:
    reply = client(at).messages.parse(**asked(at, most=ASKED["enough"]), output_format=Colours)
    return {"parsed": reply.parsed_output and reply.parsed_output.sea, "finish": reply.stop_reason}


def stop_sequence(at: Target) -> Any:
    return told(ask(at, stop_sequences=[ASKED["stop"]]))


def sampling(at: Target) -> Any:
    return told(ask(at, extra_body={"temperature": 0, "top_k": 1, "top_p": 0.5}))


def hints(at: Target) -> Any:
    body = {"metadata": {"user_id": "ann"}, "context_management": {"edits": []}}
    return told(ask(at, extra_body=body, extra_headers={"anthropic-beta": "a-beta-of-tomorrow"}))


def image(at: Target) -> Any:
    source = {"type": "base64", "media_type": "image/png", "data": ASKED["image"]}
    return told(ask(at, user([{"type": "text", "text": "What is this?"}, {"type": "image", "source": source}])))


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


def count_tokens(at: Target) -> Any:
    counted = client(at).messages.count_tokens(model=at.model, messages=[user(ASKED["hello"])])
    return counted.input_tokens


if __name__ == "__main__":
    run(
        "anthropic (Python)", "anthropic",
        whole, streamed, streamed_event_by_event, asynchronously, system_prompt, system_blocks, several_turns,
        content_in_parts, tool, tool_streamed, tool_result, parallel_tool_results, json_schema, stop_sequence, sampling,
        hints, image, too_long, unknown_model, bad_key, bad_body, models, count_tokens,
    )  # fmt: skip
