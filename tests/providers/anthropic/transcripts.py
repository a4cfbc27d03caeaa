"""What providers of Anthropic's dialect send, and what each of it means."""

from __future__ import annotations

from pathlib import Path

from tests.providers.openai.transcripts import Meaning
from tidegate.core.chat import Channel
from tidegate.core.money import Usage

FOLDER = Path(__file__).parents[2] / "transcripts"

TEXT = Channel()
REASONING = Channel(0, "reasoning")
CLAUDE = "claude-sonnet-5-20260630"


def tool(index: int) -> Channel:
    return Channel(0, "tool", index)


TOOLS = ("toolu_01A", "weather"), ("toolu_01B", "time"), ("toolu_01C", "now")
CACHED = Usage(input=7, cached_read=18_000, cached_write=300, cached_write_1h=1_200, output=180, reasoning=120)

STREAMS = {
    "anthropic-text": Meaning(
        {TEXT: "Grüße, 世界 🌍!"}, Usage(input=25, output=15), "msg_01XFDUDYJgAACzvnptvVoYEL", CLAUDE
    ),
    "anthropic-tool": Meaning(
        {TEXT: "Okay, let's look at Oslo:", tool(1): '{"city": "Oslo", "unit": "c"}'},
        Usage(input=472, output=89),
        "msg_014p7gG3wDgGV9EUtLvnow3U",
        CLAUDE,
        finished={0: "tool_calls"},
        tools={tool(1): ("toolu_01T1x1fJ34qAmk2tNTrN7Up6", "weather")},
    ),
    "anthropic-tools": Meaning(
        {tool(0): '{"city":"Oslo"}', tool(1): '{"zone":"CET"}'},
        Usage(input=510, output=61),
        "msg_01Aq9w938a90dw8q",
        CLAUDE,
        finished={0: "tool_calls"},
        tools={tool(index): TOOLS[index] for index in range(3)},
    ),
    "anthropic-thinking": Meaning(
        {REASONING: "27 × 453 = 12231", TEXT: "12231"},
        Usage(input=40, output=24, reasoning=96),
        "msg_01Th1nk",
        CLAUDE,
    ),
    "anthropic-signed-only": Meaning({TEXT: "Yes."}, Usage(input=31, output=4, reasoning=54), "msg_01Om1tted", CLAUDE),
    "anthropic-search": Meaning(
        {TEXT: "I'll check.It is Oslo."}, Usage(input=10_682, output=510), "msg_01Search", CLAUDE
    ),
    "anthropic-cache": Meaning({TEXT: "Cached"}, CACHED, "msg_01Cache", CLAUDE, finished={0: "length"}),
    "anthropic-refusal": Meaning(
        {TEXT: "I can't"}, Usage(input=50, output=3), "msg_01Refuse", CLAUDE, finished={0: "content_filter"}
    ),
    "anthropic-stop-sequence": Meaning({TEXT: "one, two, "}, Usage(input=9, output=6), "msg_01Stop", CLAUDE),
    "anthropic-no-stop": Meaning({TEXT: "Fin"}, Usage(input=9, output=2), "msg_01NoStop", CLAUDE),
    "llama-cpp-messages": Meaning({TEXT: "Hi you"}, Usage(input=31, output=4), "chatcmpl-Zb7x", "smollm2"),
}

BODIES = {
    "anthropic-text": STREAMS["anthropic-text"],
    "anthropic-tools": Meaning(
        {TEXT: "Okay.", tool(1): '{"city":"Oslo"}', tool(2): '{"zone":"CET"}'},
        Usage(input=510, output=61),
        "msg_01Aq9w938a90dw8q",
        CLAUDE,
        finished={0: "tool_calls"},
        tools={tool(index + 1): TOOLS[index] for index in range(3)},
    ),
    "anthropic-thinking": STREAMS["anthropic-thinking"],
    "anthropic-search": STREAMS["anthropic-search"]._replace(finished={0: "other"}),
    "anthropic-cache": STREAMS["anthropic-cache"],
    "anthropic-refusal": STREAMS["anthropic-refusal"]._replace(texts={}),
}


def stream(name: str) -> bytes:
    return (FOLDER / f"{name}.sse").read_bytes()


def body(name: str) -> bytes:
    return (FOLDER / f"{name}.json").read_bytes()
