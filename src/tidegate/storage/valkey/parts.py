"""Which replies do many processes share, in a cluster? All keys of a question are in one place, its part: one of many.

The part is the question's own, so load spreads. An index of tags is kept in each, so that what is put and where it is
listed is one step. Who is wanted by others hears it in a step of its own, for that list is elsewhere.
"""

from __future__ import annotations

import asyncio
from binascii import crc_hqx
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from tidegate.core.errors import StoreDown
from tidegate.storage.valkey.blobs import BATCH, ValkeyBlobs
from tidegate.storage.valkey.connection import Asks, Connection, Script
from tidegate.storage.valkey.relay import BLOB, LEASE, READ, READERS_MS, TOLD, WANTED, ValkeyRelay, _of

PARTS = 256  # as many places as a cluster has servers, many times over

# As the relay's own, without what others want.
TAKE = Script("""
local kept = redis.call('GET', KEYS[3])
if kept and ARGV[4] == '1' then return {'', kept} end
local has = redis.call('GET', KEYS[1])
if not has or has == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return {ARGV[1], kept}
end
if string.match(has, '^[^/]*') ~= string.match(ARGV[1], '^[^/]*') then
  redis.call('SET', KEYS[2] .. ':' .. has, 1, 'PX', ARGV[3])
end
return {has, kept}
""")
READ_ON = Script("""
redis.call('SET', KEYS[3], 1, 'PX', ARGV[3])
local holds = redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0
return {holds, redis.call('LRANGE', KEYS[2], ARGV[2], -1)}
""")
WANT = Script("""
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], 10000)
return 0
""")
SCRIPTS = (TAKE, READ_ON, WANT)


def placed(key: bytes) -> bytes:
    """The key behind the mark of its part, which a cluster goes by."""
    return b"{%02x}%b" % (crc_hqx(key, 0) % PARTS, key)


class PartedBlobs(ValkeyBlobs):
    scripts = (*ValkeyBlobs.scripts, *SCRIPTS)

    def __init__(self, connection: Asks) -> None:
        super().__init__(connection)
        self.relay = PartedRelay(connection)

    async def get(self, key: bytes) -> bytes | None:
        return await super().get(placed(key))

    def put(self, key: bytes, value: bytes, ttl_s: float, tags: Sequence[str] = ()) -> None:
        key = placed(key)
        super().put(key, value, ttl_s, [f"{key[:4].decode()}{tag}" for tag in tags])

    async def purge(self, tag: str | None = None) -> int:
        if tag is not None:
            return sum([await super(PartedBlobs, self).purge(f"{{{part:02x}}}{tag}") for part in range(PARTS)])
        return sum([await self._purge_of(server) for server in self._connection.servers])

    async def _purge_of(self, server: Connection) -> int:
        gone, cursor = 0, b"0"
        while True:
            cursor, found = await server.send(b"SCAN", cursor, b"MATCH", BLOB + b"*", b"COUNT", BATCH)
            for unlinked in await asyncio.gather(*[self._ask(b"UNLINK", key) for key in found]):
                gone += int(unlinked)
            if cursor == b"0":
                return gone


class PartedRelay(ValkeyRelay):
    async def take(
        self, key: bytes, me: str, ttl_s: float, *, look: bool = False
    ) -> tuple[str, bytes | None, Sequence[bytes]]:
        there, lasts_ms = placed(key), round(ttl_s * 1000)
        keys = [LEASE + there, READ + there, BLOB + there]
        found, kept = await self._connection.run(TAKE, keys, me, lasts_ms, READERS_MS, int(look))
        holder = found.decode()
        if holder and _process(holder) != _process(me):
            self._want(key, holder)
        return holder, kept, ()

    async def renew(self, key: bytes, me: str, ttl_s: float) -> None:
        await super().renew(placed(key), me, ttl_s)

    def give_back(self, key: bytes, me: str) -> None:
        super().give_back(placed(key), me)

    async def tell(self, key: bytes, me: str, parts: Sequence[bytes]) -> bool:
        return await super().tell(placed(key), me, parts)

    async def read(self, key: bytes, holder: str, after: int) -> tuple[bool, Sequence[bytes]]:
        there = placed(key)
        keys = [LEASE + there, _of(TOLD, there, holder), _of(READ, there, holder)]
        found: Any = await self._connection.run(READ_ON, keys, holder, after, READERS_MS)
        if found[0] and not found[1] and not after:
            self._want(key, holder)
        return bool(found[0]), found[1]

    def _want(self, key: bytes, holder: str) -> None:
        """Its holder hears of it the next time that it asks what is wanted."""
        with suppress(StoreDown):
            self._connection.send(b"EVALSHA", WANT.sha, 1, WANTED + _process(holder), key)


def _process(holder: str) -> str:
    return holder.partition("/")[0]
