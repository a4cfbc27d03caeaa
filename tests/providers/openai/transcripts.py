"""What providers of OpenAI's dialect send, and what each of it means."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tidegate.core.chat import Channel
from tidegate.core.money import Usage

FOLDER = Path(__file__).parents[2] / "transcripts"

TEXT = Channel()
REASONING = Channel(0, "reasoning")


class Meaning(NamedTuple):
    """Everything that a client of any dialect could learn from a reply."""

    texts: dict[Channel, str]
    usage: Usage | None
    id: str
    model: str
    finished: dict[int, str] = {0: "stop"}
    tools: dict[Channel, tuple[str, str]] = {}  # (id, name)


GPT = "gpt-4o-mini-2024-07-18"
TOOLS = {Channel(0, "tool", 0): ("call_a1", "weather"), Channel(0, "tool", 1): ("call_b2", "time")}
ARGUMENTS = {Channel(0, "tool", 0): '{"city":"Oslo"}', Channel(0, "tool", 1): '{"zone":"CET"}'}

STREAMS = {
    "openai-chat": Meaning(
        {TEXT: "Grüße, 世界 🌍!"}, Usage(input=93, cached_read=1024, output=46), "chatcmpl-BxQ3v", GPT
    ),
    "openai-two-answers": Meaning(
        {TEXT: "heads", Channel(1): "tails"},
        Usage(input=9, output=4),
        "chatcmpl-BxQ3v",
        GPT,
        finished={0: "length", 1: "stop"},
    ),
    "openai-tools": Meaning(
        ARGUMENTS, Usage(input=80, output=31), "chatcmpl-BxQ3v", GPT, finished={0: "tool_calls"}, tools=TOOLS
    ),
    "openai-refusal": Meaning(
        {Channel(0, "refusal"): "I can't help with that."}, Usage(input=20, output=8), "chatcmpl-BxQ3v", GPT
    ),
    "openai-logprobs": Meaning({TEXT: "Yes"}, None, "chatcmpl-BxQ3v", GPT, finished={0: "length"}),
    "openai-function-call": Meaning({}, None, "chatcmpl-BxQ3v", GPT, finished={0: "tool_calls"}),
    "azure": Meaning({TEXT: "Hello there"}, Usage(input=9, output=3), "chatcmpl-Az7", "gpt-4o-2024-11-20"),
    "llama-cpp": Meaning({TEXT: "Hi you"}, Usage(input=31, output=4), "chatcmpl-9kLq", "smollm2"),
    "vllm-reasoning": Meaning(
        {REASONING: "Two plus two.", TEXT: "4"}, Usage(input=17, output=12), "chatcmpl-7d1f", "Qwen/Qwen3-8B"
    ),
    "groq": Meaning(
        {REASONING: "The user says hi.", TEXT: "Hello!"},
        Usage(input=78, output=15, reasoning=25),
        "chatcmpl-f51b",
        "openai/gpt-oss-20b",
    ),
    "deepseek": Meaning(
        {REASONING: "Hmm", TEXT: "Yes."},
        Usage(input=32, cached_read=64, output=5, reasoning=15),
        "30f6413a-a827",
        "deepseek-reasoner",
    ),
    "mistral": Meaning({TEXT: "Bonjour"}, Usage(input=7, output=3), "cmpl-e5cc70bb", "mistral-small-latest"),
    "mistral-thinking": Meaning(
        {REASONING: "Let me see.", TEXT: "Bonjour"},
        Usage(input=7, output=12),
        "cmpl-e5cc70bb",
        "magistral-medium-latest",
    ),
    "openrouter": Meaning(
        {REASONING: "Short.", TEXT: "Ok"},
        Usage(input=14, output=8, reasoning=22),
        "gen-1763900070-abc",
        "qwen/qwen3-32b",
    ),
    "no-done": Meaning({TEXT: "Fin"}, Usage(input=5, output=1), "chatcmpl-9kLq", "smollm2"),
    "openai-complete": Meaning(
        {TEXT: "Once upon"},
        Usage(input=3, output=2),
        "cmpl-7Qv",
        "gpt-3.5-turbo-instruct",
        finished={0: "length"},
    ),
}

BODIES = {
    "openai-chat": Meaning(
        {TEXT: "Grüße, 世界 🌍!"}, Usage(input=93, cached_read=1024, output=46), "chatcmpl-BxQ4k", GPT
    ),
    "openai-tools": Meaning(
        ARGUMENTS, Usage(input=80, output=31), "chatcmpl-BxQ5m", GPT, finished={0: "tool_calls"}, tools=TOOLS
    ),
    "openai-reasoning": Meaning(
        {TEXT: "42"}, Usage(input=12, output=11, reasoning=192), "chatcmpl-BxQ6n", "o4-mini-2025-04-16"
    ),
    "openai-audio": Meaning(
        {},
        Usage(input=33, audio_input=100, output=13, audio_output=37),
        "chatcmpl-BxQ7p",
        "gpt-4o-audio-preview-2025-06-03",
    ),
    "llama-cpp": Meaning({TEXT: "Hi you"}, Usage(input=31, output=4), "chatcmpl-9kLr", "smollm2"),
    "deepseek": Meaning({TEXT: "Yes."}, Usage(input=32, cached_read=64, output=3), "30f6413a-a828", "deepseek-chat"),
    "mistral-tools": Meaning(
        {Channel(0, "tool", 0): '{"city": "Paris"}'},
        Usage(input=94, output=18),
        "cmpl-e5cc70bc",
        "mistral-small-latest",
        finished={0: "tool_calls"},
        tools={Channel(0, "tool", 0): ("D681PevKs", "weather")},
    ),
    "openai-complete": Meaning(
        {TEXT: "Once upon"},
        Usage(input=3, output=2),
        "cmpl-7Qw",
        "gpt-3.5-turbo-instruct",
        finished={0: "length"},
    ),
}


def stream(name: str) -> bytes:
    return (FOLDER / f"{name}.sse").read_bytes()


def body(name: str) -> bytes:
    return (FOLDER / f"{name}.json").read_bytes()
