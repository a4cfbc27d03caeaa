"""Do coding agents work? Their requests reach a provider of their dialect as they are, and any other said anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.e2e import bodies
from tests.e2e.test_bytes import SPLICED, TRANSCRIPTS, asked, between
from tests.rawserver import Asked


def forwarded(request: Asked, sent: dict[str, str], *names: str) -> None:
    for name in names:
        assert request.headers[name.encode()].decode() == sent[name], name


async def test_claude_code_reaches_anthropic_as_it_is(tmp_path: Path) -> None:
    body = bodies.claude_code("by-anthropic")
    assert 45_000 < len(body) < 55_000
    async with between(tmp_path) as (tidegate, recorder):
        recorder.kind = b"text/event-stream"
        recorder.reply = (TRANSCRIPTS / "anthropic-thinking.sse").read_bytes()
        answer = await asked(tidegate, "anthropic", body, "/v1/messages?beta=true", **bodies.CLAUDE_CODE)
        assert (answer.status, answer.body) == (200, recorder.reply)
        (request,) = recorder.asked
        assert request.line.split()[1] == b"/v1/messages?beta=true"
        assert request.body == body.replace(b'"by-anthropic"', SPLICED, 1)
        forwarded(request, bodies.CLAUDE_CODE, "anthropic-version", "anthropic-beta")
        row = (await tidegate.get(f"/v1/requests/{answer.headers['x-tidegate-request-id']}")).json
        assert (row["outcome"], row["session"]) == ("ok", bodies.CLAUDE_CODE["x-claude-code-session-id"])


async def test_claude_code_counts_its_tokens(tmp_path: Path) -> None:
    fields = json.loads(bodies.claude_code("by-anthropic"))
    kept = ("model", "messages", "system", "tools", "thinking")
    body = json.dumps({key: fields[key] for key in kept}).encode()
    async with between(tmp_path) as (tidegate, recorder):
        recorder.kind, recorder.reply = b"application/json", b'{"input_tokens": 14000, "a_field_of_tomorrow": 1}'
        path = "/v1/messages/count_tokens?beta=true"
        answer = await asked(tidegate, "anthropic", body, path, **bodies.CLAUDE_CODE)
        assert (answer.status, answer.body) == (200, recorder.reply)
        (request,) = recorder.asked
        assert request.line.split()[1].decode() == path
        assert request.body == body.replace(b'"by-anthropic"', SPLICED, 1)


async def test_claude_code_is_answered_by_a_provider_of_the_other_dialect(tmp_path: Path) -> None:
    body = bodies.claude_code("by-openai")
    async with between(tmp_path) as (tidegate, recorder):
        recorder.kind = b"text/event-stream"
        recorder.reply = (TRANSCRIPTS / "openai-tools.sse").read_bytes()
        answer = await asked(tidegate, "anthropic", body, "/v1/messages?beta=true", **bodies.CLAUDE_CODE)
        assert answer.status == 200, answer.body
        events = [json.loads(frame.partition(b"data: ")[2]) for frame in answer.body.strip().split(b"\n\n")]
        assert events[0]["type"] == "message_start" and events[-1] == {"type": "message_stop"}
        blocks = [event["content_block"] for event in events if event["type"] == "content_block_start"]
        assert {block["type"] for block in blocks} >= {"tool_use"}
        (request,) = recorder.asked
        assert request.line.split()[1] == b"/v1/chat/completions"
        assert b"anthropic-beta" not in request.headers
        said: Any = json.loads(request.body)
        fields = json.loads(body)
        assert [tool["function"]["name"] for tool in said["tools"]] == list(bodies.TOOLS)
        assert [tool["function"]["parameters"] for tool in said["tools"]] == [
            tool["input_schema"] for tool in fields["tools"]
        ]
        assert [message["role"] for message in said["messages"]] == ["system", "user", "assistant", "tool"]
        heard = json.dumps(said, ensure_ascii=False)
        for text in (bodies.prose(2, 14_000), bodies.prose(5, 2_000), bodies.prose(4, 1_500), "mend the test"):
            assert json.dumps(text, ensure_ascii=False)[1:-1] in heard
        assert said["reasoning_effort"] == "medium"
        warning = answer.headers["x-tidegate-warning"]
        assert warning.startswith("left out: ")
        for left_out in ("context_management", "cache_control", "thinking"):
            assert left_out in warning, warning


async def test_codex_reaches_openai_as_it_is(tmp_path: Path) -> None:
    body = bodies.codex("by-openai")
    assert 36_000 < len(body) < 44_000
    async with between(tmp_path) as (tidegate, recorder):
        recorder.kind, recorder.reply = b"text/event-stream", bodies.responses_stream()
        answer = await asked(tidegate, "openai", body, "/v1/responses", **bodies.CODEX)
        assert (answer.status, answer.body) == (200, recorder.reply)
        (request,) = recorder.asked
        assert request.line.split()[1] == b"/v1/responses"
        assert request.body == body.replace(b'"by-openai"', SPLICED, 1)
        forwarded(request, bodies.CODEX, "openai-beta")
        row = (await tidegate.get(f"/v1/requests/{answer.headers['x-tidegate-request-id']}")).json
        assert row["outcome"] == "ok"
        usage = {"input": 1_000, "cached_read": 8_000, "output": 30, "reasoning": 20}
        assert {kind: tokens for kind, tokens in row["usage"].items() if tokens} == usage


async def test_codex_is_told_that_a_provider_of_the_other_dialect_cannot_answer_it(tmp_path: Path) -> None:
    async with between(tmp_path) as (tidegate, recorder):
        answer = await asked(tidegate, "openai", bodies.codex("by-anthropic"), "/v1/responses", **bodies.CODEX)
        assert answer.status == 400 and "speaks the client's dialect" in answer.error["message"]
        assert not recorder.asked
