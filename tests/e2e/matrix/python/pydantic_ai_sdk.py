"""What pydantic-ai asks, through its model class of either dialect: python pydantic_ai_sdk.py openai | anthropic."""

from __future__ import annotations

import base64
import sys
from typing import Any, Literal

from calls import ASKED, TIMEOUT_S, Target, run
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, NativeOutput, ToolOutput
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

DIALECT = sys.argv[1]
SETTINGS: Any = {"max_tokens": ASKED["few"], "temperature": 0, "timeout": TIMEOUT_S}


class Colours(BaseModel):
    """The colours of things."""

    sea: Literal["blue"]


def model(at: Target) -> Model:
    if DIALECT == "openai":
        return OpenAIChatModel(at.model, provider=OpenAIProvider(base_url=f"{at.url}/v1", api_key=at.key))
    return AnthropicModel(at.model, provider=AnthropicProvider(base_url=at.url, api_key=at.key))


def agent(at: Target, **options: Any) -> Agent[None, Any]:
    return Agent(model(at), retries=0, **options)


def told(result: Any) -> dict[str, Any]:
    usage = result.usage
    return {
        "output": result.output if isinstance(result.output, str) else result.output.model_dump(),
        "finish": result.response.finish_reason,
        "usage": [usage.input_tokens, usage.output_tokens],
    }


async def whole(at: Target) -> Any:
    return told(await agent(at).run(ASKED["hello"], model_settings=SETTINGS))


async def streamed(at: Target) -> Any:
    async with agent(at).run_stream(ASKED["hello"], model_settings=SETTINGS) as stream:
        pieces = [piece async for piece in stream.stream_text(delta=True, debounce_by=None)]
        return {"text": "".join(pieces), "usage": [stream.usage.input_tokens, stream.usage.output_tokens]}


async def system_prompt(at: Target) -> Any:
    return told(await agent(at, system_prompt=ASKED["system"]).run(ASKED["hello"], model_settings=SETTINGS))


async def several_turns(at: Target) -> Any:
    first = await agent(at).run(ASKED["turns"][0], model_settings=SETTINGS)
    return told(await agent(at).run(ASKED["turns"][2], message_history=first.all_messages(), model_settings=SETTINGS))


async def tool_loop(at: Target) -> Any:
    """The model calls the tool, gets its result, and says something of it."""
    asking, called = agent(at), []

    @asking.tool_plain(name=ASKED["tool"]["name"])
    def clock(zone: Literal["UTC"]) -> str:
        """What time it is."""
        called.append(zone)
        return str(ASKED["noon"])

    many: Any = {**SETTINGS, "max_tokens": ASKED["enough"]}
    async with asking.iter(ASKED["time"], model_settings=many) as steps:
        async for _ in steps:
            if called and len(steps.all_messages()) >= 3:
                break  # what it says then is its own affair
        kinds = [[part.part_kind for part in message.parts] for message in steps.all_messages()]
    return {"called": called, "kinds": kinds[:3]}


async def structured_by_tool(at: Target) -> Any:
    many: Any = {**SETTINGS, "max_tokens": ASKED["enough"]}
    return told(await agent(at, output_type=ToolOutput(Colours)).run(ASKED["call"], model_settings=many))


async def structured_by_schema(at: Target) -> Any:
    many: Any = {**SETTINGS, "max_tokens": ASKED["enough"]}
    return told(await agent(at, output_type=NativeOutput(Colours)).run(ASKED["hello"], model_settings=many))


async def image(at: Target) -> Any:
    picture = BinaryContent(base64.b64decode(ASKED["image"]), media_type="image/png")
    return told(await agent(at).run(["What is this?", picture], model_settings=SETTINGS))


async def unknown_model(at: Target) -> Any:
    return await whole(at._replace(model="no-such-model"))


async def bad_key(at: Target) -> Any:
    return await whole(at._replace(key="no-such-key"))


if __name__ == "__main__":
    run(
        f"pydantic-ai ({DIALECT})", "pydantic-ai-slim",
        whole, streamed, system_prompt, several_turns, tool_loop, structured_by_tool,
        # Of a model that it does not know by name it believes that Anthropic's dialect takes no schema.
        *([structured_by_schema] if DIALECT == "openai" else []),
        image, unknown_model, bad_key,
    )  # fmt: skip
