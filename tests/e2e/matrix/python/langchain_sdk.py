"""What LangChain asks, through its chat model of either dialect: python langchain_sdk.py openai | anthropic."""

from __future__ import annotations

import sys
from typing import Any, Literal

from calls import ASKED, TIMEOUT_S, Target, run
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool as as_tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

DIALECT = sys.argv[1]


class Colours(BaseModel):
    """The colours of things."""

    sea: Literal["blue"]


@as_tool(ASKED["tool"]["name"])
def clock(zone: Literal["UTC"]) -> str:
    """What time it is."""
    return str(ASKED["noon"])


def model(at: Target, most: int = ASKED["few"]) -> BaseChatModel:
    options: Any = {"model": at.model, "api_key": at.key, "max_tokens": most, "timeout": TIMEOUT_S, "max_retries": 0}
    if DIALECT == "openai":
        return ChatOpenAI(base_url=f"{at.url}/v1", temperature=0, stream_usage=True, **options)
    return ChatAnthropic(base_url=at.url, **options)


def told(message: Any) -> dict[str, Any]:
    usage, head = message.usage_metadata, message.response_metadata
    return {
        "text": message.text if isinstance(message.text, str) else message.text(),
        "tools": [[call["name"], call["args"]] for call in message.tool_calls],
        "finish": head.get("finish_reason") or head.get("stop_reason"),
        "usage": [usage["input_tokens"], usage["output_tokens"]],
    }


def whole(at: Target) -> Any:
    return told(model(at).invoke(ASKED["hello"]))


def streamed(at: Target) -> Any:
    total: Any = None
    for chunk in model(at).stream(ASKED["hello"]):
        total = chunk if total is None else total + chunk
    return told(total)


async def asynchronously(at: Target) -> Any:
    return told(await model(at).ainvoke(ASKED["hello"]))


def system_prompt(at: Target) -> Any:
    return told(model(at).invoke([SystemMessage(ASKED["system"]), HumanMessage(ASKED["hello"])]))


def several_turns(at: Target) -> Any:
    first, answer, second = ASKED["turns"]
    return told(model(at).invoke([HumanMessage(first), AIMessage(answer), HumanMessage(second)]))


def tool(at: Target) -> Any:
    return told(model(at, ASKED["enough"]).bind_tools([clock], tool_choice="any").invoke(ASKED["time"]))


def tool_result(at: Target) -> Any:
    call: Any = {"name": clock.name, "args": {"zone": "UTC"}, "id": "call_1", "type": "tool_call"}
    said = [
        HumanMessage(ASKED["time"]),
        AIMessage("", tool_calls=[call]),
        ToolMessage(ASKED["noon"], tool_call_id="call_1"),
    ]
    return told(model(at).bind_tools([clock]).invoke(said))


def structured_by_schema(at: Target) -> Any:
    found: Any = model(at, ASKED["enough"]).with_structured_output(Colours, method="json_schema").invoke(ASKED["hello"])
    return found.model_dump()


def structured_by_tool(at: Target) -> Any:
    how = model(at, ASKED["enough"]).with_structured_output(Colours, method="function_calling")
    found: Any = how.invoke(ASKED["call"])
    return found.model_dump()


def stop_sequence(at: Target) -> Any:
    return told(model(at).invoke(ASKED["hello"], stop=[ASKED["stop"]]))


def image(at: Target) -> Any:
    picture = {"type": "image", "base64": ASKED["image"], "mime_type": "image/png"}
    return told(model(at).invoke([HumanMessage([{"type": "text", "text": "What is this?"}, picture])]))


def unknown_model(at: Target) -> Any:
    return whole(at._replace(model="no-such-model"))


def bad_key(at: Target) -> Any:
    return whole(at._replace(key="no-such-key"))


if __name__ == "__main__":
    run(
        f"langchain ({DIALECT})", f"langchain-{DIALECT}",
        whole, streamed, asynchronously, system_prompt, several_turns, tool, tool_result, structured_by_schema,
        structured_by_tool, stop_sequence, image, unknown_model, bad_key,
    )  # fmt: skip
