"""What instructor asks, through the SDK of either dialect: python instructor_sdk.py openai | anthropic.

Its Anthropic extra holds that SDK at an old version, which sends its key as x-api-key.
"""

from __future__ import annotations

import sys
from typing import Any, Literal

import anthropic
import instructor
import openai
from calls import ASKED, TIMEOUT_S, Target, run
from pydantic import BaseModel

DIALECT = sys.argv[1]
ASK: Any = {
    "messages": [{"role": "user", "content": ASKED["call"]}],
    "max_tokens": ASKED["enough"],
    "temperature": 0,
    "max_retries": 0,
}


class Colours(BaseModel):
    """The colours of things."""

    sea: Literal["blue"]


def client(at: Target, how: str) -> Any:
    options: Any = {"api_key": at.key, "max_retries": 0, "timeout": TIMEOUT_S}
    if DIALECT == "openai":
        return instructor.from_openai(openai.OpenAI(base_url=f"{at.url}/v1", **options), mode=instructor.Mode[how])
    return instructor.from_anthropic(anthropic.Anthropic(base_url=at.url, **options), mode=instructor.Mode[how])


def create(at: Target, how: str = "TOOLS", **fields: Any) -> Any:
    return client(at, how).create(model=at.model, response_model=Colours, **{**ASK, **fields})


def structured_by_tool(at: Target) -> Any:
    found, reply = client(at, "TOOLS").create_with_completion(model=at.model, response_model=Colours, **ASK)
    usage = reply.usage
    heard = usage.prompt_tokens if DIALECT == "openai" else usage.input_tokens + (usage.cache_read_input_tokens or 0)
    return {"found": found.model_dump(), "heard": heard}


def structured_by_schema(at: Target) -> Any:
    return create(at, "JSON_SCHEMA").model_dump()


def partial(at: Target) -> Any:
    """The object as it grows, from a stream."""
    pieces = client(at, "TOOLS").create_partial(model=at.model, response_model=Colours, **ASK)
    return [piece.model_dump() for piece in pieces][-1]


def unknown_model(at: Target) -> Any:
    return create(at._replace(model="no-such-model")).model_dump()


def bad_key(at: Target) -> Any:
    return create(at._replace(key="no-such-key")).model_dump()


if __name__ == "__main__":
    run(
        f"instructor ({DIALECT})", "instructor",
        structured_by_tool, structured_by_schema, partial, unknown_model, bad_key,
    )  # fmt: skip
