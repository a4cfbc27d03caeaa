"""Whatever keeps replies, they are found again, in time and by what they are tagged with, and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from tests.clock import JumpClock
from tests.valkey import emptied
from tidegate.core.ports import Blobs
from tidegate.storage.blobs import MemoryBlobs
from tidegate.storage.valkey.blobs import ValkeyBlobs
from tidegate.storage.valkey.parts import PartedBlobs

PATIENCE_S = 30.0  # a machine that is busy with other tests is no failure
MOST = 100_000


def ignored(name: str, fields: Mapping[str, Any]) -> None:
    """A notice."""


KINDS = {"valkey": ValkeyBlobs, "cluster": PartedBlobs}


@pytest.fixture(params=["memory", *KINDS])
async def blobs(request: pytest.FixtureRequest) -> AsyncIterator[Blobs]:
    if request.param == "memory":
        found: Blobs = MemoryBlobs(JumpClock(), MOST)
    else:
        url = await emptied(request.param, request)
        found = await KINDS[request.param].open(url, ignored, timeout_s=PATIENCE_S)
    yield found
    await found.purge()
    await found.aclose()


async def test_what_was_put_is_there_at_once(blobs: Blobs):
    value = bytes(range(256)) * 40
    blobs.put(b"\x00\xffkey", value, 60)
    assert await blobs.get(b"\x00\xffkey") == value
    assert await blobs.get(b"\x00\xff") is None


async def test_what_is_put_again_is_replaced(blobs: Blobs):
    blobs.put(b"key", b"one", 60)
    blobs.put(b"key", b"", 60)
    assert await blobs.get(b"key") == b""


async def test_after_its_time_it_is_gone(blobs: Blobs):
    blobs.put(b"key", b"value", 0.05)
    blobs.put(b"other", b"value", 60)
    if isinstance(blobs, MemoryBlobs):
        await blobs._clock.sleep(0.06)
    else:
        await asyncio.sleep(0.06)
    assert await blobs.get(b"key") is None and await blobs.get(b"other") == b"value"


@pytest.mark.parametrize(("tag", "gone"), [("route:a", {b"1", b"2"}), ("team:x", {b"2", b"3"}), ("none", set())])
async def test_it_is_purged_by_any_of_its_tags(blobs: Blobs, tag: str, gone: set[bytes]):
    tags = {b"1": ["route:a"], b"2": ["route:a", "team:x"], b"3": ["team:x"], b"4": []}
    for key, some in tags.items():
        blobs.put(key, b"value", 60, some)
    assert await blobs.purge(tag) == len(gone)
    left = {key for key in tags if await blobs.get(key) is not None}
    assert left == tags.keys() - gone
    assert await blobs.purge(tag) == 0


async def test_everything_can_be_purged(blobs: Blobs):
    for number in range(700):
        blobs.put(b"%d" % number, b"value", 60, ["all"])
    assert await blobs.get(b"699") == b"value"
    assert await blobs.purge() > 100
    assert await blobs.get(b"699") is None


async def test_many_at_once_each_get_their_own(blobs: Blobs):
    for number in range(50):
        blobs.put(b"%d" % number, b"value %d" % number, 60)
    found = await asyncio.gather(*(blobs.get(b"%d" % number) for number in range(60)))
    assert found == [b"value %d" % number for number in range(50)] + [None] * 10
