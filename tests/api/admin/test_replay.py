"""What was asked is asked of another route, and both answers stand side by side."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.house import Build, House, Reply
from tidegate.providers.scripted.script import Tool

KEPT = """
logs: {calls: false}
audit: {enabled: true}
providers:
  main: {type: scripted, price: {input: 1, output: 2}}
  spare: {type: scripted, price: {input: 3, output: 6}}
routes:
  fast:
    targets: [{provider: main, model: m}]
    store: {prompts: true, replies: true}
    cache: {exact: true}
    guardrails: {input: [{type: pii, action: placeholder}]}
  other: {targets: [{provider: spare, model: n}], cache: {exact: true}}
  asked_only: {targets: [{provider: main, model: m}], store: {prompts: true}}
  silent: {targets: [{provider: main, model: m}]}
"""


@pytest.fixture
async def kept(build_house: Build) -> House:
    house = await build_house(KEPT)
    for name, words in (("main", "from main"), ("spare", "from spare")):
        house.provider(name).always(words, usage={"prompt_tokens": 7, "completion_tokens": 3})
    return house


async def replayed(house: House, id: str | None, route: str = "other", **options: Any) -> Reply:
    body = json.dumps({"route": route}).encode()
    return await house.begin(path=f"/admin/requests/{id}/replay", body=body, **options).reply()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("route", ["other", "spare/n"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_both_answers_stand_side_by_side(kept: House, path: str, route: str, stream: bool) -> None:
    first = await kept.ask(path=path, stream=stream, max_tokens=50, user="ann" if "chat" in path else None)
    assert first.status == 200, first.body
    reply = await replayed(kept, first.id, route)
    assert reply.status == 200, reply.body
    before, now = reply.events[0]["before"], reply.events[0]["now"]
    assert (before["id"], before["text"], before["target"], before["cost_nusd"]) == (
        *(first.id, "from main", "main/m", 13_000),
    )
    assert (now["text"], now["target"], now["cost_nusd"], now["input_tokens"], now["output_tokens"]) == (
        *("from spare", "spare/n", 39_000, 7, 3),
    )
    assert now["duration_ms"] >= 0 and now["first_ms"] is not None


async def test_plain_completions_and_vectors_are_asked_again_too(kept: House) -> None:
    text = await kept.ask(path="/v1/completions", stream=False)
    assert (await replayed(kept, text.id)).events[0]["now"]["text"] == "from spare"
    body = json.dumps({"model": "fast", "input": "hello"}).encode()
    vectors = await kept.begin(path="/v1/embeddings", body=body).reply()
    reply = await replayed(kept, vectors.id)
    assert (reply.status, vectors.status) == (200, 200), reply.body
    assert (reply.events[0]["now"]["outcome"], reply.events[0]["now"]["target"]) == ("ok", "spare/n")


async def test_who_asks_pays_and_its_row_says_what_it_was_for(kept: House) -> None:
    text, key = await kept.app.gateway.auth.desk.make_key("mine", role="admin")
    first = await kept.ask(user="ann")
    reply = await replayed(kept, first.id, key=text)
    row = (await kept.rows())[-1]
    assert (row.id, row.key_id, row.user) == (reply.events[0]["now"]["id"], key.id, "ann")
    assert (row.purpose, row.parent, row.kind, row.cost_nusd) == ("replay", first.id, "replay", 39_000)


async def test_what_was_masked_stays_masked_and_no_cache_answers(kept: House) -> None:
    first = await kept.ask("I am ann@example.com")
    for _ in range(2):
        assert (await replayed(kept, first.id)).status == 200
    asked = [request.body for request in kept.provider("spare").requests]
    assert len(asked) == 2 and all(b"[[EMAIL_1]]" in one and b"ann@" not in one for one in asked)


async def test_that_it_was_done_stands_in_the_audit_log(kept: House) -> None:
    first = await kept.ask()
    reply = await replayed(kept, first.id)
    await kept.app.world.ledger.flush()
    entries = (await kept.get("/admin/audit?limit=50")).body.decode()
    assert "call_replayed" in entries and reply.events[0]["now"]["id"] in entries


async def test_a_tool_that_is_called_is_shown(kept: House) -> None:
    kept.provider("main").says(tools=(Tool("look", '{"at": 1}'),))
    first = await kept.ask(tools=[{"type": "function", "function": {"name": "look"}}])
    before = (await replayed(kept, first.id)).events[0]["before"]
    assert before["tools"] == [{"name": "look", "arguments": '{"at": 1}'}]


async def test_a_route_that_fails_is_shown_as_it_failed(kept: House) -> None:
    first = await kept.ask()
    kept.provider("spare").always(status=400, body='{"error": {"message": "no such thing"}}')
    reply = await replayed(kept, first.id)
    now = reply.events[0]["now"]
    assert (reply.status, now["outcome"], now["text"]) == (200, "refused", None) and "no such thing" in now["why"]


async def test_an_answer_that_is_not_kept_is_none_and_its_facts_are_there(kept: House) -> None:
    first = await kept.ask(route="asked_only")
    before = (await replayed(kept, first.id)).events[0]["before"]
    assert (before["text"], before["cost_nusd"]) == (None, 13_000)


async def test_without_its_question_it_says_how_to_keep_them(kept: House) -> None:
    first = await kept.ask(route="silent")
    reply = await replayed(kept, first.id)
    assert reply.status == 404 and "routes.NAME.store: {prompts: true" in (reply.error.message or "")
    assert len(await kept.rows()) == 1


@pytest.mark.parametrize(
    ("route", "status", "words"),
    [("otter", 404, "did you mean 'other'"), ("", 400, "route"), ("x" * 300, 400, "route")],
)
async def test_a_route_that_cannot_be_is_told(kept: House, route: str, status: int, words: str) -> None:
    first = await kept.ask()
    reply = await replayed(kept, first.id, route)
    assert reply.status == status and words in (reply.error.message or "")


async def test_a_call_that_is_not_there_or_was_only_passed_on_is_told(kept: House) -> None:
    assert "no request 'req_0'" in ((await replayed(kept, "req_0")).error.message or "")
    raw = await kept.begin(path="/v1/rerank", body=b'{"model": "fast", "query": "x"}').reply()
    reply = await replayed(kept, raw.id)
    assert reply.status == 400 and "only its client" in (reply.error.message or "")
