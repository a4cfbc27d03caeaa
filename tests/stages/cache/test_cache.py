"""What was asked before costs nothing, whoever of the same scope asks, in whatever form; and nobody else hears it."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from tests.house import Build, House, Reply, until
from tidegate import config
from tidegate.core.limits import Budget, Limit
from tidegate.core.ports import Organisation, StoreDown, Team
from tidegate.providers.scripted.script import Tool

CACHED = """
logs: {calls: false}
providers:
  main: {type: scripted, price: {input: 100, output: 200}}
  spare: {type: scripted, price: {input: 3, output: 6}}
routes:
  fast:
    targets: [{provider: main, model: m, order: 1}]
    cache: {exact: true, single_flight: true}
  alike:
    targets: [{provider: main, model: m, order: 1}]
    cache: {exact: true}
  plain:
    targets: [{provider: main, model: m, order: 1}]
"""


@pytest.fixture
async def house(build_house: Build) -> House:
    return await build_house(CACHED)


def bought(house: House) -> int:
    return len(house.provider("main").requests)


def cache_of(reply: Reply) -> tuple[str | None, str | None]:
    return reply.headers.get("x-tidegate-cache"), reply.headers.get("x-tidegate-cache-layer")


async def messages(house: House, said: str = "hi", *, stream: bool = False, **fields: Any) -> Reply:
    """Ask as Anthropic's clients do."""
    content = [{"role": "user", "content": said}]
    body = json.dumps({"model": "fast", "messages": content, "max_tokens": 50, "stream": stream} | fields).encode()
    headers = {"anthropic-version": "2023-06-01", "x-api-key": house.key}
    return await house.begin(path="/v1/messages", body=body, headers=headers).reply()


def said(reply: Reply) -> str:
    """What it says, in either dialect, streamed or whole."""
    if reply.text:
        return reply.text
    frames = [frame.partition(b"data: ")[2] for frame in reply.body.split(b"\n\n") if b"data: " in frame]
    events = [json.loads(frame) for frame in frames] or reply.events
    deltas = [event.get("delta", {}) for event in events]
    blocks = [block for event in events for block in event.get("content", ())]
    return "".join(one.get("text", "") for one in deltas + blocks)


# --- the same question -----------------------------------------------------------------------------------------------


async def test_the_second_time_it_costs_nothing(house: House):
    house.provider("main").says("hello world")
    first, second = await house.ask(stream=False), await house.ask(stream=False)
    assert (first.text, second.text) == ("hello world", "hello world") and first.body == second.body
    assert bought(house) == 1
    assert (cache_of(first), cache_of(second)) == (("miss", None), ("hit", "exact"))
    assert float(second.headers["x-tidegate-cost-usd"]) == 0 and second.headers["x-tidegate-cache-age"] == "0"
    assert second.headers["x-tidegate-saved-usd"] == first.headers["x-tidegate-cost-usd"] != "0.000000000"
    row = second.row
    assert (row.outcome, row.status, row.cost_nusd, row.usage, row.attempts) == ("ok", 200, 0, {}, ())
    assert (row.cache, row.cache_layer, row.saved_nusd) == ("hit", "exact", first.row.cost_nusd)
    assert (first.row.cache, first.row.cache_layer, first.row.saved_nusd) == ("miss", "exact", 0)
    page = (await house.get("/metrics")).body
    assert b'tidegate_cache_total{layer="exact",result="hit"} 1.0' in page
    assert b'tidegate_cache_saved_usd_total{route="fast"}' in page


async def test_a_route_that_says_nothing_asks_nobody(house: House):
    for _ in range(2):
        reply = await house.ask(route="plain")
        assert cache_of(reply) == (None, None) and reply.row.cache is None
    assert bought(house) == 2


FORMS = [("openai", True), ("openai", False), ("anthropic", True), ("anthropic", False)]


async def in_form(house: House, form: tuple[str, bool], text: str = "hi") -> Reply:
    dialect, stream = form
    if dialect == "anthropic":
        return await messages(house, text, stream=stream)
    return await house.ask(text, stream=stream, max_tokens=50)


@pytest.mark.parametrize("filled_by", FORMS, ids=str)
async def test_whoever_filled_it_every_client_gets_its_own_form(house: House, filled_by: tuple[str, bool]):
    house.provider("main").says("hello world")
    assert said(await in_form(house, filled_by)) == "hello world"
    for form in FORMS:
        reply = await in_form(house, form)
        assert (reply.status, said(reply), cache_of(reply)) == (200, "hello world", ("hit", "exact")), form
        kind = "text/event-stream" if form[1] else "application/json"
        assert reply.headers["content-type"].startswith(kind)
        if form == ("openai", True):
            assert reply.events[-1] == "[DONE]" and not any(one.get("usage") for one in reply.events[:-1])
        if form == ("openai", False):
            assert reply.events[0]["usage"]["completion_tokens"] > 0
    assert bought(house) == 1


async def test_a_client_that_wants_usage_gets_it_though_who_paid_did_not(house: House):
    house.provider("main").says("hello world")
    await house.ask()
    reply = await house.ask(stream_options={"include_usage": True})
    assert reply.events[-2]["usage"]["completion_tokens"] > 0 and reply.events[-1] == "[DONE]"
    assert bought(house) == 1


async def test_tool_calls_are_told_again_in_every_form(house: House):
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    house.provider("main").says("", tools=[Tool("look", '{"at": 1}')])
    first = await house.ask(tools=tools)
    whole = await house.ask(tools=tools, stream=False)
    assert bought(house) == 1 and first.status == whole.status == 200
    call = whole.events[0]["choices"][0]["message"]["tool_calls"][0]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("look", {"at": 1})
    assert whole.events[0]["choices"][0]["finish_reason"] == "tool_calls"


SAME = {
    "another order of keys": {"temperature": 0.5, "max_tokens": 7},
    "who the end user is": {"user": "ann"},
}
OTHER: dict[str, dict[str, Any]] = {
    "system prompt": {"said": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}]},
    "message": {"said": "hi!"},
    "role": {"said": [{"role": "assistant", "content": "hi"}, {"role": "user", "content": "hi"}]},
    "tools": {"tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]},
    "tool choice": {
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
        "tool_choice": "none",
    },
    "temperature": {"temperature": 0.1},
    "top_p": {"top_p": 0.1},
    "max_tokens": {"max_tokens": 3},
    "stop": {"stop": ["x"]},
    "seed": {"seed": 7},
    "response format": {"response_format": {"type": "json_object"}},
    "logit bias": {"logit_bias": {"1": 2}},
    "penalty": {"frequency_penalty": 1.5},
    "effort": {"reasoning_effort": "low"},
    "route": {"route": "alike"},
}


@pytest.mark.parametrize("what", OTHER)
async def test_another_question_is_another_answer(house: House, what: str):
    """The miss, and then the hit of each."""
    house.provider("main").says("one")
    house.provider("main").says("two")
    options = OTHER[what]
    assert (await house.ask()).text == "one"
    other = await house.ask(**{"said": "hi"} | options)
    assert (other.text, cache_of(other)[0]) == ("two", "miss"), what
    again = await house.ask(**{"said": "hi"} | options)
    assert (again.text, cache_of(again)) == ("two", ("hit", "exact"))
    assert (await house.ask()).text == "one" and bought(house) == 2


async def test_the_order_of_keys_and_the_end_user_are_not_the_question(house: House):
    house.provider("main").says("one")
    await house.ask(temperature=0.5, max_tokens=7)
    for fields in ({"max_tokens": 7, "temperature": 0.5}, {"max_tokens": 7, "temperature": 0.5, "user": "ann"}):
        assert cache_of(await house.ask(**fields)) == ("hit", "exact")


async def test_several_answers_are_never_shared(house: House):
    for _ in range(2):
        assert cache_of(await house.ask(n=2, stream=False)) == ("bypass", None)
    assert bought(house) == 2


# --- whose it is -----------------------------------------------------------------------------------------------------


async def keys(house: House) -> dict[str, str]:
    """Keys of two teams of one organisation, two of one team, and two without a team."""
    desk = house.app.gateway.auth.desk
    await desk.add(Organisation, "acme", "acme")
    await desk.add(Team, "red", "red", organisation_id="acme")
    await desk.add(Team, "blue", "blue", organisation_id="acme")
    await desk.add(Team, "far", "far")
    made = {}
    for name, team in {"ann": "red", "bob": "red", "cid": "blue", "dee": "far", "eve": None, "fay": None}.items():
        made[name], _ = await house.app.gateway.auth.create(name, "test", admin=False, team_id=team)
    return made


SHARED = {  # with ann's answer
    "key": set(),
    "team": {"bob"},
    "organisation": {"bob", "cid"},
    "global": {"bob", "cid", "dee", "eve", "fay"},
}


@pytest.mark.parametrize("scope", SHARED)
async def test_answers_are_shared_within_their_scope_and_nowhere_else(build_house: Build, scope: str):
    house = await build_house(CACHED.replace("exact: true, single", f"exact: true, scope: {scope}, single"))
    known = await keys(house)
    hits = set()
    for name, key in known.items():
        await house.ask(f"for {name}", key=known["ann"])
        if cache_of(await house.ask(f"for {name}", key=key))[0] == "hit":
            hits.add(name)
    assert hits == SHARED[scope] | {"ann"}


async def test_keys_without_a_team_share_nothing_by_default(house: House):
    known = await keys(house)
    await house.ask(key=known["eve"])
    assert cache_of(await house.ask(key=known["fay"]))[0] == "miss"
    assert cache_of(await house.ask(key=known["eve"]))[0] == "hit"


async def test_another_configuration_of_the_route_does_not_answer_with_the_old_ones(house: House):
    await house.ask()
    text = CACHED.replace("{provider: main, model: m, order: 1}", "{provider: main, model: m2, order: 1}", 1)
    data = str(house.app.config.storage.data_dir)
    given = {"TIDEGATE_API_PORT": "0", "TIDEGATE_STORAGE_DATA_DIR": data}
    await house.app.reload(config.parse(text, given))
    assert cache_of(await house.ask())[0] == "miss"
    await house.app.reload(config.parse(CACHED, given))
    assert cache_of(await house.ask())[0] == "hit"


GUARDS = """
guardrails:
  input: [{type: pii, kinds: [email], action: placeholder}]
"""


async def test_with_other_guards_the_old_answers_are_not_given(house: House):
    given = {"TIDEGATE_API_PORT": "0", "TIDEGATE_STORAGE_DATA_DIR": str(house.app.config.storage.data_dir)}
    await house.ask()
    await house.app.reload(await asyncio.to_thread(config.parse, CACHED + GUARDS, given))
    assert cache_of(await house.ask())[0] == "miss"


async def test_masked_values_share_an_answer_and_each_caller_gets_its_own_back(build_house: Build):
    house = await build_house(CACHED + GUARDS)
    house.provider("main").says("mail to [[EMAIL_1]]")
    replies = [await house.ask(f"write to {name}@example.org") for name in ("ann", "bob")]
    assert [reply.text for reply in replies] == ["mail to ann@example.org", "mail to bob@example.org"]
    whole = await house.ask("write to cid@example.org", stream=False)
    assert (whole.text, cache_of(whole)) == ("mail to cid@example.org", ("hit", "exact"))
    assert cache_of(replies[1]) == ("hit", "exact") and bought(house) == 1
    (blob,) = house.app.gateway.cache.shelf.blobs._kept.values()
    assert b"example.org" not in blob.value, "nothing unmasked is at rest"
    other = await house.ask("write to ann@example.org and bob@example.org")
    assert cache_of(other)[0] == "miss"


async def test_masked_values_are_shared_in_flight_too_and_each_caller_gets_its_own_back(build_house: Build):
    house = await build_house(CACHED + GUARDS)
    house.clock.hold()
    house.provider("main").says(["mail ", "to ", "[[EMAIL_1]]"], between=1)
    calls = [house.begin(f"write to {name}@example.org") for name in ("ann", "bob", "cid")]
    table = house.app.gateway.cache.shelf.table
    await until(lambda: table and all(len(flight._readers) == 3 for flight in table.values()))
    advancing = asyncio.create_task(house.clock.advance(20))
    said = [(await call.reply()).text for call in calls]
    await advancing
    assert said == [f"mail to {name}@example.org" for name in ("ann", "bob", "cid")] and bought(house) == 1


# --- what the client says --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("control", "result", "kept"),
    [("no-store", "bypass", False), ("no-cache", "bypass", True), ("max-age=0", "bypass", True)],
)
async def test_a_client_may_want_a_fresh_answer(house: House, control: str, result: str, kept: bool):
    fresh = await house.ask(headers={"cache-control": control})
    assert cache_of(fresh) == (result, None)
    assert cache_of(await house.ask())[0] == ("hit" if kept else "miss")
    assert cache_of(await house.ask(headers={"cache-control": control})) == (result, None)


async def test_an_answer_may_be_only_so_old(house: House):
    await house.ask()
    await house.clock.sleep(100)
    assert cache_of(await house.ask(headers={"cache-control": "max-age=99"}))[0] == "miss"
    assert cache_of(await house.ask(headers={"cache-control": "max-age=10"}))[0] == "hit"
    assert cache_of(await house.ask(headers={"cache-control": "max-age=nonsense"}))[0] == "hit"


async def test_after_its_time_an_answer_is_bought_anew(house: House):
    await house.ask()
    await house.clock.sleep(3599)
    assert cache_of(await house.ask())[0] == "hit"
    await house.clock.sleep(2)
    assert cache_of(await house.ask())[0] == "miss"


async def test_the_guides_chat_remembers_unless_it_is_told_not_to(house: House):
    async def chat(**fields: Any) -> dict[str, Any]:
        body = json.dumps({"user_input": "hi", "model": "plain"} | fields).encode()
        reply = await house.begin(path="/api/chat", body=body).reply()
        return dict(reply.events[0])

    house.provider("main").says("hello")
    house.provider("main").says("other")
    first, second = await chat(), await chat()
    assert (first["response"], first["cached"]) == ("hello", False)
    assert (second["response"], second["cached"], second["cost_usd"]) == ("hello", True, 0)
    third = await chat(use_cache=False)
    assert (third["response"], third["cached"]) == ("other", False)
    stats = (await house.get("/api/stats")).events[0]
    assert (stats["total_requests"], stats["cache_hits"]) == (3, 1)


# --- what is not kept ------------------------------------------------------------------------------------------------


async def test_only_complete_answers_are_kept(house: House):
    house.provider("main").says("hel", cut_off=True)
    house.provider("main").says("hello")
    assert (await house.ask()).error is not None
    assert (await house.ask()).text == "hello"
    assert bought(house) == 2


async def test_what_a_filter_refused_is_not_kept(house: House):
    house.provider("main").says("no", finish="content_filter")
    await house.ask()
    assert cache_of(await house.ask())[0] == "miss"


async def test_an_answer_over_the_bound_is_not_kept_and_is_whole(build_house: Build):
    house = await build_house(CACHED.replace("single_flight: true", "single_flight: true, max_bytes: 20000"))
    house.provider("main").always(["x" * 1000] * 50)
    for _ in range(2):
        reply = await house.ask()
        assert len(reply.text) == 50_000 and cache_of(reply)[0] == "miss"
    assert bought(house) == 2


async def test_a_corrupt_entry_is_a_miss_and_somebody_is_told(house: House):
    await house.ask()
    kept = house.app.gateway.cache.shelf.blobs._kept
    ((key, blob),) = kept.items()
    for broken in (blob.value[:-1] + b"?", b"", b"\x07" + blob.value[1:], blob.value[:5]):
        kept[key] = blob._replace(value=broken)
        assert cache_of(await house.ask())[0] == "miss"
    assert b'tidegate_notices_total{name="cache_entry_corrupt"} 4.0' in (await house.get("/metrics")).body


async def test_an_entry_under_another_key_is_not_served(house: House):
    await house.ask("one")
    await house.ask("two")
    kept = house.app.gateway.cache.shelf.blobs._kept
    one, two = kept
    kept[one], kept[two] = kept[two], kept[one]
    assert cache_of(await house.ask("one"))[0] == "miss"


async def test_without_the_store_of_replies_everything_is_a_miss(house: House, monkeypatch: pytest.MonkeyPatch):
    async def down(key: bytes) -> bytes | None:
        raise StoreDown("nobody is there")

    await house.ask()
    monkeypatch.setattr(house.app.gateway.cache.shelf.blobs, "get", down)
    reply = await house.ask()
    assert (reply.status, cache_of(reply)[0]) == (200, "miss")


# --- purging ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "gone"), [("route=fast", 2), ("tag=blue", 1), ("team=none", 0), ("all=true", 3), ("route=other", 0)]
)
async def test_answers_can_be_purged(house: House, asked: str, gone: int):
    await house.ask("one", headers={"x-tidegate-tags": "blue,old"})
    await house.ask("two")
    await house.ask("one", route="alike")
    reply = await house.begin(path=f"/admin/cache?{asked}", method="DELETE", body=b"").reply()
    assert (reply.status, reply.events[0]) == (200, {"purged": gone, "questions": 0})
    results = [cache_of(await house.ask("one"))[0], cache_of(await house.ask("two"))[0]]
    assert results.count("miss") == min(gone, 2)


async def test_with_a_vault_no_tag_is_kept_as_a_caller_says_it_and_it_can_be_purged_by_it(build_house: Build):
    house = await build_house(f"{CACHED}vault: {{keys: ['{'00' * 32}']}}\n")
    await house.ask("hi", headers={"x-tidegate-tags": "merger"})
    (kept,) = house.app.gateway.cache.shelf.blobs._kept.values()  # type: ignore[attr-defined]
    assert len(kept.tags) == 2 and not any("merger" in tag for tag in kept.tags)
    purged = await house.begin(path="/admin/cache?tag=merger", method="DELETE", body=b"").reply()
    assert purged.events[0]["purged"] == 1


@pytest.mark.parametrize("asked", ["", "route=fast&tag=x", "route="])
async def test_a_purge_says_what(house: House, asked: str):
    reply = await house.begin(path=f"/admin/cache?{asked}", method="DELETE", body=b"").reply()
    assert reply.status == 400


# --- load ------------------------------------------------------------------------------------------------------------


async def test_under_load_everybody_gets_its_own_answer(house: House):
    """The provider says what it hears: 10,000 calls of two dialects, streamed and whole, hits, misses and shared."""
    dice = random.Random(7)

    async def one(number: int) -> None:
        question = f"q{dice.randrange(900)}"
        reply = await in_form(house, FORMS[number % 4], question)
        assert said(reply) == f"You said 1 words: {question}"

    for start in range(0, 10_000, 100):
        await asyncio.gather(*(one(number) for number in range(start, start + 100)))
    assert house.provider("main").responses <= 900


# --- what it counts as -----------------------------------------------------------------------------------------------


async def test_a_hit_is_one_request_and_reserves_nothing(build_house: Build):
    """A key that has spent its budget, and has one request left."""
    house = await build_house(CACHED)
    key, _ = await house.app.gateway.auth.create(
        "poor", "test", admin=False, limits=(Limit("requests", 2, 3600),), budgets=(Budget(200_000_000),)
    )
    first = await house.ask("hi", key=key, max_tokens=5)
    assert first.status == 200 and first.row.cost_nusd > 0, first.body
    other = await house.ask("something else", key=key, max_tokens=5_000)
    hit = await house.ask("hi", key=key, max_tokens=5)
    assert (other.status, hit.status, cache_of(hit)) == (402, 200, ("hit", "exact")), (other.body, hit.body)
    assert (await house.ask("hi", key=key, max_tokens=5)).status == 429


async def test_what_only_the_payer_may_not_buy_a_follower_does(build_house: Build):
    house = await build_house(CACHED.replace("exact: true, single", "scope: global, single"))
    poor, _ = await house.app.gateway.auth.create("poor", "test", admin=False, budgets=(Budget(1),))
    calls = [house.begin(key=poor), *(house.begin() for _ in range(5)), house.begin(key=poor)]
    statuses = [(await call.reply()).status for call in calls]
    assert statuses[0] == 402 and statuses[1:6] == [200] * 5 and bought(house) == 1
