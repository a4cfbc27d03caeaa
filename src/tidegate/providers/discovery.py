"""Who could answer, when nobody was configured? What this machine's environment and its usual ports tell.

Keys in the environment are taken at their word; nothing outside this machine is asked. Servers of models are looked for
on the loopback address alone, all at once and for a third of a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

PATIENCE_S = 0.35
MAX_ANSWER = 256 * 1024
OURS = "tidegate"  # who owns the models that a Tidegate lists


class Found(NamedTuple):
    """A provider that could be configured so, and why we think that it is there."""

    name: str
    settings: dict[str, object]  # as in the configuration file, `type` included
    why: str


class Vendor(NamedTuple):
    name: str
    keys: tuple[str, ...]  # environment variables, the first that is set counts
    base_url: str | None
    type: str = "openai"
    vendor: str | None = None  # as the price list names it, where it is not `name`


VENDORS = (
    Vendor("openai", ("OPENAI_API_KEY",), None),
    Vendor("anthropic", ("ANTHROPIC_API_KEY",), None, "anthropic"),
    Vendor(
        "gemini",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        "https://generativelanguage.googleapis.com/v1beta/openai",
        vendor="google",
    ),
    Vendor("mistral", ("MISTRAL_API_KEY",), "https://api.mistral.ai/v1"),
    Vendor("groq", ("GROQ_API_KEY",), "https://api.groq.com/openai/v1"),
    Vendor("deepseek", ("DEEPSEEK_API_KEY",), "https://api.deepseek.com/v1"),
    Vendor("xai", ("XAI_API_KEY",), "https://api.x.ai/v1", vendor="x-ai"),
    Vendor("openrouter", ("OPENROUTER_API_KEY",), "https://openrouter.ai/api/v1"),
    Vendor("together", ("TOGETHER_API_KEY",), "https://api.together.xyz/v1"),
    Vendor("fireworks", ("FIREWORKS_API_KEY",), "https://api.fireworks.ai/inference/v1"),
    Vendor("cerebras", ("CEREBRAS_API_KEY",), "https://api.cerebras.ai/v1"),
)


class Server(NamedTuple):
    name: str
    port: int


SERVERS = (Server("ollama", 11434), Server("vllm", 8000), Server("lmstudio", 1234), Server("llamacpp", 8080))


def vendors(environment: Mapping[str, str]) -> list[Found]:
    """Those whose key is in the environment."""
    found = []
    for one in VENDORS:
        variable = next((name for name in one.keys if environment.get(name, "").strip()), None)
        if variable is None:
            continue
        settings: dict[str, object] = {"type": one.type, "keys": [f"env:{variable}"]}
        if one.base_url:
            settings |= {"base_url": one.base_url, "vendor": one.vendor or one.name}
        found.append(Found(one.name, settings, f"{variable} is set"))
    return found


async def servers(candidates: Iterable[Server] = SERVERS) -> list[Found]:
    """Servers of models that answer on this machine, with the models that they list."""
    return [found for found in await asyncio.gather(*(_ask(one) for one in candidates)) if found is not None]


class _Model(msgspec.Struct):
    id: str
    owned_by: str | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


async def _ask(server: Server) -> Found | None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            body = await _get("127.0.0.1", server.port, "/v1/models")
        models = msgspec.json.decode(body, type=_Models).data
    except (OSError, TimeoutError, ValueError):  # nobody there, or somebody else
        return None
    if not models or any(model.owned_by == OURS for model in models):
        return None  # another Tidegate is no provider: two could ask each other for ever
    url = f"http://127.0.0.1:{server.port}/v1"
    names = [model.id for model in models]
    settings: dict[str, object] = {"type": "openai", "base_url": url, "models": names, "price": "own_hardware"}
    return Found(server.name, settings, f"it answers on port {server.port}")


async def _get(host: str, port: int, path: str) -> bytes:
    """The body of a small GET, over one connection that is closed after it. Raises OSError or ValueError."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nhost: {host}:{port}\r\naccept: application/json\r\n\r\n".encode())
        answer = await reader.read(MAX_ANSWER)
        while more := await reader.read(MAX_ANSWER):
            answer += more
            if len(answer) > MAX_ANSWER:
                raise ValueError("too much")
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.split(b" ", 2)[1:2] != [b"200"]:
        raise ValueError("not 200")
    return body
