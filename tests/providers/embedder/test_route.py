"""A route of ours makes vectors: on whose account, and what is done about answers that are none."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.clock import JumpClock
from tests.house import Build, House, until
from tests.stages.cache.test_cache import cache_of
from tests.stages.cache.test_meaning import ALIKE, LONG
from tidegate import config
from tidegate.core.call import Call, Event, Principal
from tidegate.core.errors import ConfigError, StoreDown, UpstreamFailed
from tidegate.core.ports import Organisation, Team
from tidegate.core.world import Chance
from tidegate.providers.embedder.route import RouteEmbedder, vector_of
from tidegate.providers.scripted import server
from tidegate.storage.memory import MemoryStore

EMBEDDED = ALIKE.replace('"tests.stages.cache.words:Words"', '"route:vectors"') + (
    "  vectors: {targets: [{provider: main, model: e}], owner: search, timeout: 5s}\n"
)


def said(*embeddings: Any) -> bytes:
    return json.dumps({"data": [{"embedding": one} for one in embeddings], "model": "m"}).encode()


def floats(vector: bytes) -> list[float]:
    return np.frombuffer(vector, "<f4").tolist()


def test_numbers_and_base64_are_the_same_vector_of_length_one():
    assert floats(vector_of(said([3, 4]))) == pytest.approx([0.6, 0.8])
    packed = base64.b64encode(np.array([3, 4], "<f4").tobytes()).decode()
    assert floats(vector_of(said(packed))) == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", said(), said([1], [2]), said([]), said([0, 0]), said("?"), said("AAA="), said(["x"]),
     b'{"data": [{"embedding": [NaN]}]}'],
)  # fmt: skip
def test_what_is_no_vector_is_refused(body: bytes):
    with pytest.raises(ValueError, match="the embedding route answered"):
        vector_of(body)


class Door:
    """The front door from inside, for one embedder."""

    def __init__(self) -> None:
        self.clock = JumpClock()
        self.calls: list[Call] = []
        self.body = said([1, 0])
        world: Any = SimpleNamespace(clock=self.clock, store=MemoryStore(), chance=Chance())
        self.store = world.store
        route = SimpleNamespace(owner="search", targets=(SimpleNamespace(model="e"),))
        self.embedder = RouteEmbedder(world, "vectors", 1, self.hear, lambda name: route)  # type: ignore[arg-type]

    async def hear(self, call: Call) -> list[Event]:
        self.calls.append(call)
        if self.body == b"":
            raise UpstreamFailed("gone")
        return [Event(self.body, last=True)]


async def test_a_route_that_fails_is_left_alone_for_longer_each_time():
    door = Door()
    door.body = b""
    asked = []
    for _ in range(100):
        with pytest.raises((UpstreamFailed, StoreDown)):
            await door.embedder.embed("hi")
        asked.append(len(door.calls))
        await door.clock.advance(0.5)
    assert len(door.calls) == 6, "after 1, 2, 4, 8, 16 s"
    door.body = said([1, 0])
    await door.clock.advance(60)
    assert floats(await door.embedder.embed("hi")) == [1, 0]


async def test_whoever_owns_the_route_is_charged_and_not_the_caller():
    door = Door()
    await door.store.add(Team("search", "Search", 1, organisation_id="acme"))
    await door.store.add(Organisation("acme", "Acme", 1))
    for_whom = Call(id="req_1", dialect="openai", operation="chat", at_ms=0, arrived_ns=0, intake=bytes)
    for_whom.principal = Principal("k", "a client", "member", organisation_id="acme")
    await door.embedder.embed("x" * 10_000, for_whom)
    (call,) = door.calls
    payer: Any = call.credential
    assert [(level.kind, level.id) for level in payer.levels] == [("organisation", "acme"), ("team", "search")]
    assert (call.own.purpose, call.own.parent) == ("cache_embedding", "req_1")
    assert len(json.loads(await call.intake())["input"]) == 8_000
    assert call.named == {b"x-tidegate-timeout-ms": b"1000"}


@pytest.fixture
async def house(build_house: Build) -> House:
    return await build_house(EMBEDDED)


async def test_a_question_is_compared_by_the_vectors_of_a_route_with_a_row_for_each(house: House):
    await house.app.world.store.add(Team("search", "Search", 1))
    first = await house.ask(LONG)
    await until(lambda: not house.left())
    hit = await house.ask("what has the same vector")
    assert cache_of(hit) == ("hit", "semantic")
    rows = [row for row in await house.rows() if row.operation == "embed"]
    assert [(row.parent, row.purpose, row.key_id, row.team_id, row.outcome) for row in rows] == [
        (first.id, "cache_embedding", "house", "search", "ok"),
        (first.id, "cache_embedding", "house", "search", "ok"),
        (hit.id, "cache_embedding", "house", "search", "ok"),
    ]


async def test_a_route_that_answers_another_dimension_than_before_is_a_miss_that_says_why(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    told: list[str] = []
    events: Any = house.app.world.events
    monkeypatch.setattr(events, "notice", lambda name, fields: told.append(f"{name}: {fields.get('error')}"))
    await house.ask(LONG)
    await until(lambda: not house.left())
    monkeypatch.setattr(server, "VECTOR", server.VECTOR | {"data": [{"embedding": [0, 0, 1]}]})
    reply = await house.ask(LONG.lower())
    assert (reply.status, cache_of(reply)[0]) == (200, "miss")
    assert "semantic_lookup_failed: a vector of 3 numbers among entries of 2: another embedding" in told[0]


@pytest.mark.parametrize(
    ("embedder", "wrong"),
    [
        ("route:vector", "no route 'vector'; did you mean 'vectors'"),
        ("route:", "no route ''"),
        ("route:mixed", "must all have one model"),
    ],
)
def test_a_route_that_cannot_make_vectors_is_refused_at_the_start(embedder: str, wrong: str):
    mixed = "  mixed: {targets: [{provider: main, model: a}, {provider: main, model: b}]}\n"
    with pytest.raises(ConfigError, match=f"cache.embedder: .*{wrong}"):
        config.parse(EMBEDDED.replace("route:vectors", embedder) + mixed, {})


@pytest.mark.parametrize("key", ["timeout", "embedder_timeout"])
def test_a_time_of_nothing_is_refused(key: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=rf"cache.{key}: must be longer"):
        config.parse(f"cache: {{{key}: 0s}}", {})
