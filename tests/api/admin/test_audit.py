"""The audit log over HTTP: who did what and when is found, and whether somebody has changed it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.house import TWO_PROVIDERS, Build, House
from tidegate.storage.audit import search


@pytest.fixture
async def kept(build_house: Build) -> House:
    house = await build_house(f"{TWO_PROVIDERS}audit: {{enabled: true, checkpoint: 1s}}\n")
    for name in ("ci", "app"):
        await house.ask(path="/admin/keys", body=json.dumps({"name": name}).encode())
    await house.ask(path="/v1/prompts", body=json.dumps({"id": "greet", "template": "Hi"}).encode())
    return house


async def found(house: House, query: str) -> list[str]:
    reply = await house.get(f"/admin/audit?{query}")
    assert reply.status == 200, reply.body
    return [one.get("did", one["kind"]) for one in reply.events[0]["entries"]]


async def verified(house: House, **asked: Any) -> Any:
    reply = await house.ask(path="/admin/audit/verify", body=json.dumps(asked).encode())
    assert reply.status == 200, reply.body
    return reply.events[0]


async def altered(house: House, sql: str) -> None:
    await house.app.gateway.archive.log._tables.home.alter(lambda db: db.execute(sql))


@pytest.mark.parametrize(
    ("query", "there"),
    [
        ("what=key_", ["key_created", "key_created"]),
        ("what=prompt_version", ["prompt_version_created"]),
        ("of=greet", ["prompt_version_created"]),
        ("who=a+test&what=act", ["prompt_version_created", "key_created", "key_created"]),
        ("who=nobody", []),
        ("what=call", []),
        ("since=1h&what=key_", ["key_created", "key_created"]),
        ("until=1h&what=key_", []),
    ],
)
async def test_it_is_searched_by_who_what_and_when(kept: House, query: str, there: list[str]) -> None:
    assert sorted(await found(kept, query)) == sorted(there)


async def test_pages_of_a_search_follow_each_other(kept: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PAGE", 1)
    monkeypatch.setattr(search, "MOST_LOOKED", 2)
    names, after = [], ""
    for _ in range(10):
        page = (await kept.get(f"/admin/audit?what=key_&limit=1{after}")).events[0]
        names += [one["after"]["name"] for one in page["entries"]]
        if page["next"] is None:
            break
        after = f"&before={page['next']}"
    assert sorted(names) == ["app", "ci"] and page["next"] is None


async def test_what_is_no_moment_is_told(kept: House) -> None:
    assert (await kept.get("/admin/audit?since=soon")).status == 400


async def test_a_whole_log_is_verified_and_that_it_was_stands_in_it(kept: House) -> None:
    await kept.app.gateway.archive.prove((await kept.get("/admin/audit?what=key_")).events[0]["entries"][0]["id"])
    told = await verified(kept)
    (one,) = told["writers"]
    assert told["whole"] and one["read"] == one["size"] >= one["signed"] > 0 and one["signed_ms"]
    assert await found(kept, "what=audit_verified") == ["audit_verified"]
    few = (await verified(kept, most=1))["writers"][0]
    assert (few["read"], few["wrong"]) == (1, "")


@pytest.mark.parametrize(
    ("sql", "most", "said"),
    [
        (
            "UPDATE audit SET entry = CAST(replace(CAST(entry AS TEXT), 'ci', 'cx') AS BLOB) WHERE seq = 0",
            100,
            "is not what its hash was made from",
        ),
        ("UPDATE audit SET hash = zeroblob(32) WHERE seq = 0", 100, "is not what its hash was made from"),
        ("UPDATE audit SET hash = zeroblob(32) WHERE seq = 0", 1, "are not those that were signed"),
        ("DELETE FROM audit WHERE seq = 1", 100, "says that it is entry 2, where 1 is expected"),
        ("DELETE FROM audit", 100, "cut short"),
    ],
)
async def test_what_was_changed_is_found_and_where(kept: House, sql: str, most: int, said: str) -> None:
    await kept.app.gateway.archive.prove((await kept.get("/admin/audit?what=prompt_")).events[0]["entries"][0]["id"])
    await altered(kept, sql)
    told = await verified(kept, most=most)
    assert not told["whole"] and said in told["writers"][0]["wrong"]


async def test_a_key_that_is_none_is_told(kept: House) -> None:
    reply = await kept.ask(path="/admin/audit/verify", body=b'{"verifiers": ["x"]}')
    assert reply.status == 400
