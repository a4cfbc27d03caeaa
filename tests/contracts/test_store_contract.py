"""Any store keeps keys in the same way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from tidegate.core.ports import Key, Store
from tidegate.storage.memory import MemoryStore
from tidegate.storage.postgres import PostgresStore
from tidegate.storage.sqlite import SqliteStore


async def memory(request: pytest.FixtureRequest, folder: Path) -> Store:
    return MemoryStore()


async def sqlite(request: pytest.FixtureRequest, folder: Path) -> Store:
    return await SqliteStore.open(folder / "tidegate.db")


async def postgres(request: pytest.FixtureRequest, folder: Path) -> Store:
    return await PostgresStore.open(request.getfixturevalue("postgres"), lambda name, fields: None)


ADAPTERS: dict[str, Callable[[pytest.FixtureRequest, Path], Awaitable[Store]]] = {
    "memory": memory,
    "sqlite": sqlite,
    "postgres": postgres,
}


@pytest.fixture(params=ADAPTERS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = await ADAPTERS[request.param](request, tmp_path)
    yield store
    await store.aclose()


def key(id: str, **fields: object) -> Key:
    plain = Key(id=id, name="ci", env="live", digest=bytes(range(32)), pepper_version=1, admin=False, created_ms=1)
    return msgspec.structs.replace(plain, **fields)


async def test_a_key_comes_back_as_it_was(store):
    added = key("a", name="naïve 'key'; --", env="test", admin=True, created_ms=1_790_000_000_123, pepper_version=7)
    await store.add_key(added)
    assert await store.key("a") == added


async def test_an_unknown_key_is_none(store):
    await store.add_key(key("a"))
    assert await store.key("A") is None
    assert await store.key("") is None
    assert await store.key("a' OR '1'='1") is None


async def test_an_id_can_be_given_only_once(store):
    await store.add_key(key("a", name="first"))
    with pytest.raises(ValueError, match="'a'"):
        await store.add_key(key("a", name="second"))
    assert (await store.key("a")).name == "first"


async def test_keys_are_listed_oldest_first_and_revoked_ones_too(store):
    for id, created_ms in [("b", 20), ("c", 30), ("a", 10), ("d", 20)]:
        await store.add_key(key(id, created_ms=created_ms))
    await store.revoke_key("c", 99)
    assert [(found.id, found.revoked_ms) for found in await store.keys()] == [
        ("a", None),
        ("b", None),
        ("d", None),
        ("c", 99),
    ]


async def test_a_key_is_revoked_once(store):
    await store.add_key(key("a"))
    assert await store.revoke_key("a", 50) is True
    assert await store.revoke_key("a", 60) is False
    assert await store.revoke_key("b", 60) is False
    assert (await store.key("a")).revoked_ms == 50


async def test_of_many_who_revoke_at_once_one_did_it(store):
    await store.add_key(key("a"))
    answers = await asyncio.gather(*(store.revoke_key("a", at_ms) for at_ms in range(20)))
    assert sum(answers) == 1


async def test_of_many_who_add_one_id_one_succeeds(store):
    attempts = await asyncio.gather(*(store.add_key(key("a", name=str(n))) for n in range(20)), return_exceptions=True)
    assert [type(error) for error in attempts if error] == [ValueError] * 19
    assert len(await store.keys()) == 1


async def test_whoever_leaves_while_waiting_breaks_nothing(store):
    await store.add_key(key("a"))
    for _ in range(50):
        task = asyncio.create_task(store.key("a"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert (await store.key("a")).id == "a"
    assert await store.revoke_key("a", 1) is True


async def test_closing_twice_is_closing_once(store):
    await store.aclose()
    await store.aclose()
