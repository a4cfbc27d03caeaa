"""A cluster is one thing to who counts in it: load spreads, what moves is followed, and a replica that follows too."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.valkey import Valkey, ValkeyCluster
from tidegate.core.errors import ConfigError, StoreDown
from tidegate.core.limits import Charge, Claim, Meter, Taken
from tidegate.storage.valkey import ValkeyCounters
from tidegate.storage.valkey.cluster import slot_of
from tidegate.storage.valkey.connection import Address
from tidegate.storage.valkey.parts import PartedBlobs, placed

PATIENCE_S = 15.0
METER = Meter("calls", 1_000, forget_s=1_000)


class Told(list[str]):
    def __call__(self, name: str, fields: Mapping[str, Any]) -> None:
        self.append(name)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def counters(own_cluster: ValkeyCluster, told: Told) -> AsyncIterator[ValkeyCounters]:
    counters = await ValkeyCounters.open(own_cluster.url, told, timeout_s=1, start_s=PATIENCE_S)
    yield counters
    await counters.aclose()


async def used(counters: ValkeyCounters, house: str, id: str) -> int:
    answer = await counters.claim(Claim(id, house, [Charge(METER, 1, 1)]))
    assert isinstance(answer, Taken)
    return answer.used[0]


async def works(counters: ValkeyCounters, house: str, id: str) -> int:
    """As soon as it does."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await used(counters, house, id)
            except StoreDown:
                await asyncio.sleep(0.02)


def test_slots_are_those_of_the_specification():
    assert [slot_of(key) for key in (b"123456789", b"foo", b"{foo}bar", b"a{foo}{bar}", b"{}foo")] == [
        12739, 12182, 12182, 12182, slot_of(b"{}foo")
    ]  # fmt: skip
    assert slot_of(b"{}foo") != 12182


@pytest.mark.parametrize(
    ("url", "cluster"), [("valkey+cluster://h:1", True), ("rediss+cluster://h", True), ("valkey://h:1", False)]
)
def test_a_cluster_is_named_in_the_url(url, cluster):
    assert Address.parse(url).cluster is cluster


def test_a_cluster_has_one_database():
    with pytest.raises(ConfigError, match="no database but 0"):
        Address.parse("valkey+cluster://h:1/2")


async def test_one_of_a_cluster_is_refused_where_the_url_names_no_cluster(shared_cluster: ValkeyCluster, told: Told):
    url = shared_cluster.url.replace("+cluster", "")
    with pytest.raises(ConfigError, match=r"it is one of a cluster.*write valkey\+cluster:// in place of"):
        await ValkeyCounters.open(url, told, timeout_s=PATIENCE_S)


async def test_one_that_is_no_cluster_is_refused_where_the_url_names_one(valkey: Valkey, told: Told):
    with pytest.raises(ConfigError, match=r"it is no cluster: leave \+cluster out"):
        await ValkeyCounters.open(valkey.url.replace("://", "+cluster://"), told, timeout_s=PATIENCE_S)


async def test_questions_and_what_is_left_spread_over_all_servers(shared_cluster: ValkeyCluster, told: Told):
    await asyncio.to_thread(shared_cluster.ask, "FLUSHALL")
    blobs = await PartedBlobs.open(shared_cluster.url, told, timeout_s=PATIENCE_S)
    counters = await ValkeyCounters.open(shared_cluster.url, told, timeout_s=PATIENCE_S)
    for number in range(300):
        blobs.put(b"question %d" % number, b"answer", 60, ("route:a",))
        counters.remember("house", f"loop:{number}", b"item", 10, 60)
    assert await blobs.get(b"question 299") == b"answer"
    await counters.recall("house", "loop:299")
    for server in shared_cluster.primaries:
        stored = await asyncio.to_thread(server.ask, "KEYS", "tidegate:blob:*")
        left = await asyncio.to_thread(server.ask, "KEYS", "tidegate:house:loop:*")
        assert 50 < stored.count(b"question") < 150 and 50 < left.count(b"loop") < 150
    assert await blobs.purge("route:a") == 300
    await blobs.aclose()
    await counters.aclose()


async def carry_on(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """To the server that has no TLS of its own, and back."""
    inner, outer = await asyncio.open_connection("127.0.0.1", port)

    async def pipe(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await source.read(1 << 16):
                to.write(piece)
                await to.drain()
        to.close()

    await asyncio.gather(pipe(reader, outer), pipe(inner, writer))


async def test_with_tls_all_servers_that_it_names_are_spoken_to_with_it(
    own_cluster: ValkeyCluster, told: Told, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    ports = []
    async with AsyncExitStack() as doors:
        for server in own_cluster.servers:
            door = await asyncio.start_server(partial(carry_on, server.port), "127.0.0.1", 0, ssl=context)
            await doors.enter_async_context(door)
            ports.append(str(door.sockets[0].getsockname()[1]))
            await asyncio.to_thread(server.ask, "CONFIG", "SET", "cluster-announce-port", ports[-1])
        async with asyncio.timeout(PATIENCE_S):
            for server in own_cluster.servers:  # each has heard of the others
                while not await names(server, ports):
                    await asyncio.sleep(0.02)
        url = f"valkeys+cluster://127.0.0.1:{ports[0]}"
        with pytest.raises(ConfigError, match="name the file of who issued it in SSL_CERT_FILE"):
            await ValkeyCounters.open(url, told, timeout_s=PATIENCE_S)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        counters = await ValkeyCounters.open(url, told, timeout_s=PATIENCE_S, start_s=PATIENCE_S)
        assert [await used(counters, f"house-{number}", "one") for number in range(30)] == [1] * 30
        assert [await used(counters, f"house-{number}", "two") for number in range(30)] == [2] * 30
        await counters.aclose()
    for server in own_cluster.primaries:
        assert b"house-" in await asyncio.to_thread(server.ask, "KEYS", "*")


async def names(server: Valkey, ports: list[str]) -> bool:
    nodes = await asyncio.to_thread(server.ask, "CLUSTER", "NODES")
    return all(f":{port}@".encode() in nodes for port in ports)


class Move:
    """Of one slot, from the server that has it to another."""

    def __init__(self, cluster: ValkeyCluster, slot: int) -> None:
        self._cluster = cluster
        self._slot = str(slot)
        count = ("CLUSTER", "COUNTKEYSINSLOT", str(slot))
        self.at = next(one for one in cluster.primaries if one.ask(*count) == b":1\r\n")
        self.to = next(one for one in cluster.primaries if one is not self.at)

    def begin(self) -> None:
        self.to.ask("CLUSTER", "SETSLOT", self._slot, "IMPORTING", _id(self.at))
        self.at.ask("CLUSTER", "SETSLOT", self._slot, "MIGRATING", _id(self.to))

    def carry(self, key: str) -> None:
        assert self.at.ask("MIGRATE", "127.0.0.1", str(self.to.port), key, "0", "5000") == b"+OK\r\n"

    def end(self) -> None:
        for one in (self.to, *self._cluster.primaries):
            one.ask("CLUSTER", "SETSLOT", self._slot, "NODE", _id(self.to))


def _id(server: Valkey) -> str:
    return server.ask("CLUSTER", "MYID").split(b"\r\n")[1].decode()


async def test_what_moves_to_another_server_is_followed(
    own_cluster: ValkeyCluster, counters: ValkeyCounters, told: Told
):
    assert await counters.lease("probe", "a", 60)
    move = await asyncio.to_thread(Move, own_cluster, slot_of(b"tidegate:lease:probe"))
    await asyncio.to_thread(move.begin)
    assert not await counters.lease("probe", "b", 60)  # it is there still
    await asyncio.to_thread(move.carry, "tidegate:lease:probe")
    assert not await counters.lease("probe", "b", 60)  # asked where it goes
    await asyncio.to_thread(move.end)
    assert not await counters.lease("probe", "b", 60)  # and where it has moved
    assert await counters.lease("probe", "a", 60)
    assert told == []


async def test_a_house_whose_slot_is_half_moved_is_away_and_then_counted_on(
    own_cluster: ValkeyCluster, counters: ValkeyCounters, told: Told
):
    assert await used(counters, "house", "a") == 1
    move = await asyncio.to_thread(Move, own_cluster, slot_of(b"tidegate:{house}:calls"))
    await asyncio.to_thread(move.begin)
    with pytest.raises(StoreDown):
        await used(counters, "house", "b")
    await asyncio.to_thread(move.carry, "tidegate:{house}:calls")
    await asyncio.to_thread(move.end)
    assert await used(counters, "house", "c") == 2
    assert told == []


async def test_a_house_that_is_moved_in_one_step_is_never_away(
    own_cluster: ValkeyCluster, counters: ValkeyCounters, told: Told
):
    assert await used(counters, "house", "before") == 1
    slot = str(slot_of(b"tidegate:{house}:calls"))
    move = await asyncio.to_thread(Move, own_cluster, int(slot))
    words = ("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", _id(move.to))
    assert await asyncio.to_thread(move.at.ask, *words) == b"+OK\r\n"
    moved, count = False, 1
    async with asyncio.timeout(PATIENCE_S):
        while not moved:
            moved = await asyncio.to_thread(move.to.ask, "CLUSTER", "COUNTKEYSINSLOT", slot) == b":1\r\n"
            count += 1
            assert await used(counters, "house", str(count)) == count
    assert told == []


async def test_when_a_primary_dies_its_replica_is_followed_and_knows_what_was_counted(
    own_cluster: ValkeyCluster, counters: ValkeyCounters, told: Told
):
    first = own_cluster.primaries[0]
    house = next(name for name in map(str, range(100)) if slot_of(f"tidegate:{{{name}}}:calls".encode()) < 5461)
    assert [await used(counters, house, str(number)) for number in range(3)] == [1, 2, 3]
    await asyncio.to_thread(first.ask, "WAIT", "1", "5000")
    first.stop()
    with pytest.raises(StoreDown):
        while True:
            await used(counters, house, "lost")
    assert await works(counters, house, "again") == 4
    assert told == ["valkey_lost", "valkey_back"]


async def test_a_primary_that_hangs_is_left_for_its_replica(
    own_cluster: ValkeyCluster, counters: ValkeyCounters, told: Told
):
    first = own_cluster.primaries[0]
    house = next(name for name in map(str, range(100)) if slot_of(f"tidegate:{{{name}}}:calls".encode()) < 5461)
    await used(counters, house, "a")
    await asyncio.to_thread(first.ask, "WAIT", "1", "5000")
    first.pause()
    try:
        with pytest.raises(StoreDown):
            await used(counters, house, "lost")
        assert await works(counters, house, "b") == 2
    finally:
        first.go_on()


async def test_where_a_part_is_gone_for_good_nobody_counts(own_cluster: ValkeyCluster, counters: ValkeyCounters):
    own_cluster.primaries[2].stop()
    for house in map(str, range(20)):
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(StoreDown):
                while True:
                    await used(counters, house, "lost")


def test_all_keys_of_a_question_are_in_one_slot():
    for number in range(1_000):
        key = placed(bytes((number % 256, 0x7D, number // 4)))
        assert slot_of(b"tidegate:blob:" + key) == slot_of(b"tidegate:read:" + key + b":one/a") == slot_of(key)
