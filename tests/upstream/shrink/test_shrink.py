"""How is the same said in fewer tokens? As a call goes out, and what its row and its client are told."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.house import Build, House
from tidegate.config import parse
from tidegate.core.errors import ConfigError
from tidegate.providers.openai.chat import Chat
from tidegate.upstream.shrink import shrunk

ROWS = [{"id": at, "name": "Ann Moor", "town": "Moorgate", "boats": at * at} for at in range(40)]
PRETTY = json.dumps(ROWS, indent=2)
GATE = "The gate opens at six. Its keeper is Ann Moor, who lives beside it with a dog and two grey horses."
OTHERS = "\n\n".join(
    f"The town of {name} lies on a wide river. It has a church and a mill. " * 4 for name in "ABCDEFGH"
)
ASKS = f"{OTHERS}\n\n{GATE}\n\nQuestion: When does the gate open?"


def of(level: str, more: str = "") -> str:
    return f"""
providers: {{main: {{type: scripted, price: {{input: 1, output: 2}}}}, claude: {{type: anthropic, base_url: "http://x"}}}}
routes:
  fast: {{targets: [{{provider: main, model: m}}], shrink: {{level: {level}{more}}}}}
"""


def sent(house: House, at: int = -1) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(house.provider("main").requests[at].body)
    return body


@pytest.mark.parametrize("stream", [True, False])
async def test_json_goes_out_as_a_table_and_the_row_says_so(build_house: Build, stream: bool) -> None:
    house = await build_house(of("lossless"))
    house.provider("main").says("done")
    reply = await house.ask(PRETTY, stream=stream)
    assert sent(house)["messages"][0]["content"].startswith(
        "40 rows, split by tab:\nid\tname=Ann Moor\ttown=Moorgate\tboats\n"
    )
    assert reply.row and reply.row.shrunk and reply.row.shrunk.level == "lossless"
    before, after = reply.row.shrunk.before, reply.row.shrunk.after
    assert before == (len(PRETTY) + 3) // 4 and after < before / 4
    assert reply.headers["x-tidegate-shrunk"] == f"lossless; before={before}; after={after}"
    page = house.app.metrics.page()
    assert f'tidegate_shrunk_tokens_total{{route="fast",when="before"}} {before}'.encode() in page


async def test_a_plain_completion_goes_out_shorter_too(build_house: Build) -> None:
    house = await build_house(of("lossless"))
    await house.ask(PRETTY, path="/v1/completions")
    assert sent(house)["prompt"].startswith("40 rows")


async def test_a_call_in_anthropics_dialect_goes_out_shorter_to_a_provider_of_the_other(build_house: Build) -> None:
    house = await build_house(of("lossless"))
    reply = await house.ask(PRETTY, path="/v1/messages", max_tokens=9)
    assert reply.status == 200
    assert "40 rows" in json.dumps(sent(house)["messages"])


async def test_what_a_question_does_not_ask_for_is_left_out(build_house: Build) -> None:
    house = await build_house(of("relevant", ", target: 50%"))
    await house.ask(ASKS)
    said = sent(house)["messages"][0]["content"]
    assert GATE in said and said.endswith("Question: When does the gate open?")
    assert len(said) < 0.6 * len(ASKS)


async def test_a_long_prompt_is_shortened_beside_the_loop(build_house: Build) -> None:
    house = await build_house(of("relevant"))
    await house.ask(f"{OTHERS * 5}\n\n{ASKS}")
    assert len(sent(house)["messages"][0]["content"]) < 0.7 * len(OTHERS * 6)


async def test_the_system_prompt_goes_out_as_it_is(build_house: Build) -> None:
    house = await build_house(of("relevant"))
    await house.ask([{"role": "system", "content": PRETTY}, {"role": "user", "content": ASKS}])
    assert sent(house)["messages"][0]["content"] == PRETTY


async def test_a_conversation_begins_with_the_same_bytes_in_every_turn(build_house: Build) -> None:
    house = await build_house(of("relevant"))
    turns: list[Any] = [{"role": "user", "content": PRETTY}]
    await house.ask(turns)
    turns += [{"role": "assistant", "content": "hm"}, {"role": "user", "content": f"{PRETTY}\n\nand now?"}]
    await house.ask(turns)
    first, second = sent(house, 0)["messages"], sent(house, 1)["messages"]
    assert second[0] == first[0]
    assert "[as said before, " in second[2]["content"]


async def test_a_later_turn_keeps_its_context_where_the_provider_keeps_the_turns_before(build_house: Build) -> None:
    turns: list[Any] = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    turns += [{"role": "user", "content": ASKS}]
    text = of("relevant").replace("input: 1,", "input: 1, cached_read: 0.1,")
    house = await build_house(text)
    await house.ask(turns)
    assert sent(house)["messages"][2]["content"] == ASKS


async def test_a_later_turn_is_shortened_where_nothing_is_kept(build_house: Build) -> None:
    house = await build_house(of("relevant"))
    turns: list[Any] = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    await house.ask([*turns, {"role": "user", "content": ASKS}])
    assert len(sent(house)["messages"][2]["content"]) < 0.7 * len(ASKS)


async def test_a_repeated_call_is_a_hit_though_what_went_out_was_shorter(build_house: Build) -> None:
    house = await build_house(of("lossless").replace("shrink:", "cache: {exact: true, ttl: 60s}, shrink:"))
    await house.ask(PRETTY, stream=False)
    again = await house.ask(PRETTY, stream=False)
    assert again.headers["x-tidegate-cache"] == "hit" and "x-tidegate-shrunk" not in again.headers
    assert len(house.provider("main").requests) == 1


async def test_a_guard_is_shown_everything(build_house: Build) -> None:
    house = await build_house("""
providers: {main: {type: scripted}, judge: {type: scripted}}
routes:
  fast: {targets: [{provider: main, model: m}], guardrails: {input: [{type: model, route: guard, forbidden: gulls}]}}
  guard: {targets: [{provider: judge, model: j}], shrink: {level: relevant}}
""")
    house.provider("judge").always('{"findings": []}')
    await house.ask(PRETTY)
    [request] = house.provider("judge").requests
    assert json.loads(json.loads(request.body)["messages"][1]["content"]) == [PRETTY]


async def test_what_is_kept_of_a_call_is_what_came(build_house: Build) -> None:
    house = await build_house(of("lossless").replace("shrink:", "store: {prompts: true}, shrink:"))
    reply = await house.ask(PRETTY)
    assert reply.id
    body = await house.app.gateway.archive.body(reply.id)
    assert body and body.request and json.loads(body.request)["messages"][0]["content"] == PRETTY


async def test_a_body_with_a_key_that_stands_twice_goes_out_as_it_came(build_house: Build) -> None:
    house = await build_house(of("lossless"))
    text = json.dumps(PRETTY)
    body = f'{{"model": "fast", "messages": [{{"role": "user", "content": "x", "content": {text}}}]}}'.encode()
    reply = await house.ask(body=body)
    assert reply.status == 200
    assert house.provider("main").requests[-1].body.count(b"content") == 2


async def test_where_it_is_off_nothing_is_told(house: House) -> None:
    reply = await house.ask(PRETTY)
    assert reply.row and reply.row.shrunk is None and "x-tidegate-shrunk" not in reply.headers
    assert not house.app.gateway.upstream.shrinks


@pytest.mark.parametrize(
    ("shrink", "said"),
    [
        ("{level: losless}", "did you mean 'lossless'?"),
        ("{level: relevant, target: 95%}", "must be from 10 % to 90 %"),
        ("{target: lots}", "target"),
        ("{lvl: lossless}", "no such key"),
    ],
)
def test_a_wrong_setting_is_named(shrink: str, said: str) -> None:
    route = f"{{targets: [{{provider: a, model: m}}], shrink: {shrink}}}"
    text = f"providers: {{a: {{type: scripted}}}}\nroutes: {{r: {route}}}"
    with pytest.raises(ConfigError, match=r"routes\.r\.shrink") as wrong:
        parse(text, {})
    assert said in wrong.value.message


@pytest.mark.parametrize(
    "piece",
    [
        "[\n",
        '{"a":\n',
        "A. ",
        "?\n\n",
        "```\n",
        '"',
        "\n",
        " ",
        "…",
        "[[],\n",
        "a\n\n",
        "Q: x\n\n",
        "word ",
        "1. x\n",
        "~~~ ",
        "(",
    ],
)
def test_no_text_takes_long(piece: str) -> None:
    texts = [piece * (60_000 // len(piece)), "The gate opens at six. " * 100]
    messages = [{"role": "user", "content": "\n\n".join((*texts, "When does the gate open?"))}]
    asked = Chat().parse_request(json.dumps({"model": "m", "messages": messages}).encode())
    began = time.thread_time()
    shrunk(asked, "relevant", 0.5, keeps=False)
    assert time.thread_time() - began < 5.0
