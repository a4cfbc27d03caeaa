"""Wherever bodies are kept, they come back as they were, for as long as they may, and only with their key."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from tests.contracts.conftest import deaf
from tidegate.core.ports import Body, Erased, Subject
from tidegate.storage.bodies import BodyStore
from tidegate.storage.books import Home
from tidegate.storage.vault.envelope import EnvelopeVault
from tidegate.storage.vault.kek import Keks
from tidegate.storage.vault.keyring import MemoryKeyring


@pytest.fixture
def vault() -> EnvelopeVault:
    return EnvelopeVault(MemoryKeyring(), Keks([bytes(32)]))


@pytest.fixture
async def bodies(home: Home, vault: EnvelopeVault) -> AsyncIterator[BodyStore]:
    bodies = BodyStore(home.tables, vault, deaf)
    yield bodies
    await bodies.aclose()


def body(id: str, **fields: object) -> Body:
    asked, answered = '{"q": "🌊"}'.encode(), b"\x00\xffreply"
    plain = Body(id, 1_000, 2_000, "acme", "ann", "search", "k", "openai", asked, "openai", answered)
    return msgspec.structs.replace(plain, **fields)


async def test_a_body_comes_back_as_it_was(bodies):
    for one in (body("a"), body("b", user=None, team=None, request=None, reply=None, reply_dialect=None, whole=False)):
        bodies.put(one)
        assert await bodies.find(one.id) == one
    assert await bodies.find("c") is None


async def test_those_of_one_end_user_are_found_and_forgotten(bodies, vault):
    for n in range(250):
        bodies.put(body(f"{n:03}", user="ann" if n % 2 else "bob"))
    ann = vault.subject("acme", "ann")
    assert [one.id for one in await bodies.of(ann)] == [f"{n:03}" for n in range(1, 250, 2)]
    assert await bodies.forget_of(ann) == 125
    assert await bodies.of(ann) == [] and await bodies.find("000") is not None


async def test_they_leave_in_steps_when_their_time_is_over(bodies):
    for n in range(5):
        bodies.put(body(f"{n}", until_ms=1_000 + n))
    await bodies.flush()
    assert [await bodies.forget(1_004, 3) for _ in range(3)] == [3, 1, 0]
    assert await bodies.find("4") is not None


async def test_without_the_key_nobody_reads_them(bodies, vault, home):
    bodies.put(body("a"))
    await bodies.flush()
    ((stored,),) = await home.tables.rows("SELECT body FROM BODIES")
    assert b"reply" not in bytes(stored)
    vault.erase(Subject("acme", vault.subject("acme", "ann")))
    with pytest.raises(Erased):
        await bodies.find("a")
