"""Every fault, before and after the first event, streamed and not, for each dialect of client and of provider.

The table of what becomes of each is docs/reference/broken-streams.json.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from tests import faults
from tests.house import Build, House, Reply
from tests.parts import ROOT
from tests.rawserver import Server, once, serving

TABLE = {row["fault"]: row for row in json.loads((ROOT / "docs/reference/broken-streams.json").read_bytes())}
DIALECTS = ("openai", "anthropic")
PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}


class Cell(NamedTuple):
    fault: str
    stream: bool
    after: bool
    client: str
    provider: str
    becomes: str  # nothing | again | next | ends

    def __str__(self) -> str:
        how = "streamed" if self.stream else "whole"
        return f"{self.fault}-{how}-{'after' if self.after else 'before'}-{self.client}-asks-{self.provider}"


def cells() -> list[Cell]:
    found = []
    for name, row in TABLE.items():
        moments = [(True, False, row["streamed_before"]), (True, True, row["streamed_after"])]
        moments += [(False, False, row["whole"])]
        moments += [(False, True, row["whole"])] if name in faults.BEGUN else []
        for (stream, after, becomes), client, provider in itertools.product(moments, DIALECTS, DIALECTS):
            if becomes:
                found.append(Cell(name, stream, after, client, provider, becomes))
    return found


CELLS = cells()
INVISIBLE = [cell for cell in CELLS if cell.becomes in ("again", "next")]

# Where one fails the other is asked; `alone` has no other.
CONFIG = """
logs: {{calls: false}}
transport: {{max_body: 1048576}}
upstream: {{first_token: {silence}, idle: {silence}, retry: {{tries: 2}}}}
providers:
  main: {{type: {dialect}, base_url: "{url}", price: {{input: 1, output: 2}}}}
  spare: {{type: scripted, price: {{input: 3, output: 6}}}}
routes:
  fast: {{targets: [{{provider: main, model: m, order: 1}}, {{provider: spare, model: m, order: 2}}]}}
  alone: {{targets: [{{provider: main, model: m}}]}}
"""


@pytest.fixture
async def main() -> AsyncIterator[Server]:
    async with serving() as server:
        yield server


class Heard(NamedTuple):
    """What a client of either dialect makes of a reply."""

    text: str
    error: dict[str, Any] | None  # of the last event, or of the body
    ended: bool  # as a good answer does


def heard(reply: Reply, dialect: str) -> Heard:
    text, error, ended = "", None, False
    for said in _documents(reply):
        error = said.get("error")
        if dialect == "openai":
            for choice in said.get("choices", ()):
                text += (choice.get("delta") or choice.get("message") or {}).get("content") or ""
                ended = bool(choice.get("finish_reason"))
        else:
            text += "".join(block.get("text", "") for block in said.get("content") or ())
            text += (said.get("delta") or {}).get("text", "")
            ended = said["type"] in ("message", "message_stop")
            assert (said["type"] == "error") == bool(error)
    return Heard(text, error, ended)


def _documents(reply: Reply) -> list[Any]:
    """Bodies or events, in order; each is JSON, or the client could not read it."""
    if not reply.headers["content-type"].startswith("text/event-stream"):
        return [json.loads(reply.body)]
    lines = [line for frame in reply.body.decode().split("\n\n") for line in frame.split("\n")]
    return [json.loads(line[5:]) for line in lines if line.startswith("data:") and line != "data: [DONE]"]


async def asked(build_house: Build, main: Server, cell: Cell, route: str = "fast") -> tuple[House, Reply]:
    """What a client of `cell` hears when it asks `route`, whose main provider has the fault of `cell`."""
    main.script = faults.script(cell.fault, cell.provider, stream=cell.stream, after=cell.after)
    url = main.url + ("/v1" if cell.provider == "openai" else "")
    # Nobody is waited for long who is silent, and nobody else is taken for silent on a busy machine.
    silence = 0.15 if cell.fault == "stall" else 10
    house = await build_house(CONFIG.format(dialect=cell.provider, url=url, silence=silence))
    house.provider("spare").always("from the spare")
    more = {"max_tokens": 100} if cell.client == "anthropic" else {}
    reply = await house.ask("sixteen letters.", route=route, path=PATHS[cell.client], stream=cell.stream, **more)
    return house, reply


def test_the_table_and_the_faults_are_the_same() -> None:
    assert set(TABLE) == set(faults.FAULTS)
    assert len(CELLS) > 150


@pytest.mark.parametrize("cell", INVISIBLE, ids=str)
async def test_before_the_first_event_another_answers_and_nobody_notices(
    build_house: Build, main: Server, cell: Cell
) -> None:
    house, reply = await asked(build_house, main, cell)
    said = heard(reply, cell.client)
    assert (reply.status, said.text, said.error, said.ended) == (200, "from the spare", None, True)
    tries = 2 if cell.becomes == "again" else 1
    assert [one.split(":")[0] for one in reply.attempts] == ["main"] * tries + ["spare"]
    assert reply.row.outcome == "ok" and all(one.said for one in reply.row.attempts[:-1])
    assert len(await house.rows()) == 1


@pytest.mark.parametrize("cell", INVISIBLE, ids=str)
async def test_and_where_nobody_is_left_the_client_gets_a_status_that_says_so(
    build_house: Build, main: Server, cell: Cell
) -> None:
    house, reply = await asked(build_house, main, cell, "alone")
    said = heard(reply, cell.client)
    expected = (504, "upstream_timeout") if cell.becomes == "next" else (502, "upstream_failed")
    assert said.error is not None and (reply.status, said.error["code"]) == expected
    assert said.text == "" and "main/m" in said.error["message"] and not said.ended
    (row,) = await house.rows()
    assert (row.outcome, row.error, row.status) == ("failed", said.error["code"], reply.status)


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.becomes == "ends"], ids=str)
async def test_after_it_what_came_stays_and_the_last_event_is_an_error(
    build_house: Build, main: Server, cell: Cell
) -> None:
    house, reply = await asked(build_house, main, cell)
    said = heard(reply, cell.client)
    assert (reply.status, said.text, said.ended) == (200, "hel", False)
    assert said.error is not None and said.error["code"] == "upstream_cut_off"
    assert said.error["message"].startswith("main/m ") and b"[DONE]" not in reply.body
    assert not house.provider("spare").requests, "never a second provider's words after a first's"
    (row,) = await house.rows()
    assert (row.outcome, row.error, reply.attempts) == ("cut_off", "upstream_cut_off", ["main: cut_off"])
    assert row.usage == {"input": 25 if cell.provider == "anthropic" else 4, "output": 1}
    assert row.cost_nusd == row.usage["input"] * 1000 + 2000


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.becomes == "nothing"], ids=str)
async def test_what_is_only_slow_is_whole_in_the_end(build_house: Build, main: Server, cell: Cell) -> None:
    _, reply = await asked(build_house, main, cell)
    said = heard(reply, cell.client)
    assert (reply.status, said.text, said.error, said.ended) == (200, "hello", None, True)
    assert reply.attempts == ["main: ok"] and reply.row.usage == {"input": 25, "output": 2}


async def test_what_a_provider_said_before_it_broke_off_is_billed_though_it_had_not_counted_it(
    build_house: Build, main: Server
) -> None:
    """Anthropic says at the beginning what it has read, and only at the end what it has said."""
    good = faults.GOOD["anthropic"]
    pieces = [b"%x\r\n%b\r\n" % (len(one), one) for one in (good.preamble, *[good.first] * 20)]
    main.script = once(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", *pieces)
    house = await build_house(CONFIG.format(dialect="anthropic", url=main.url, silence=10))
    reply = await house.ask(path=PATHS["anthropic"], max_tokens=100)
    assert heard(reply, "anthropic").text == "hel" * 20
    assert reply.row.usage == {"input": 25, "output": 15} and reply.row.usage_estimated
    assert reply.row.cost_nusd == 25 * 1000 + 15 * 2000
