"""How is a reply read along by other processes? It stands in a list, while somebody reads it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from tidegate.core.errors import StoreDown
from tidegate.storage.valkey.connection import Asks, Script

LEASE = b"tidegate:buying:"
TOLD = b"tidegate:told:"
READ = b"tidegate:read:"
BLOB = b"tidegate:blob:"
WANTED = "tidegate:wanted:"
MANY = 1_000  # keys that are heard of at once
READERS_MS = 3_000  # somebody who has not read for so long does not any more
KEPT_MS = 15_000  # after the end, for those who are behind

# KEYS: who buys, who reads, what was kept. ARGV: me, milliseconds, the key, how long a reader counts, whether to take
# it only where nothing is kept. What two of one process want is settled there.
TAKE = Script("""
local mine = 'tidegate:wanted:' .. string.match(ARGV[1], '^[^/]*')
local kept, asked = redis.call('GET', KEYS[3]), redis.call('LPOP', mine, 1000)
if kept and ARGV[5] == '1' then return {'', kept, asked} end
local has = redis.call('GET', KEYS[1])
if not has or has == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return {ARGV[1], kept, asked}
end
local wanted = 'tidegate:wanted:' .. string.match(has, '^[^/]*')
if wanted ~= mine then
  redis.call('RPUSH', wanted, ARGV[3])
  redis.call('PEXPIRE', wanted, 10000)
  redis.call('SET', KEYS[2] .. ':' .. has, 1, 'PX', ARGV[4])
end
return {has, kept, asked}
""")
RENEW = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
""")
GIVE_BACK = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 0
""")
# KEYS: what was told, who reads. ARGV: milliseconds, then the parts.
TELL = Script("""
for at = 2, #ARGV do redis.call('RPUSH', KEYS[1], ARGV[at]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.call('EXISTS', KEYS[2])
""")
# KEYS: who buys, what was told, who reads. ARGV: the holder, how much is known, how long a reader counts, the key. It
# is wanted again as long as nothing is told: whoever heard it first may have left before it could do anything.
READ_ON = Script("""
redis.call('SET', KEYS[3], 1, 'PX', ARGV[3])
local holds, told = redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0, redis.call('LRANGE', KEYS[2], ARGV[2], -1)
if holds == 1 and #told == 0 and ARGV[2] == '0' then
  local wanted = 'tidegate:wanted:' .. string.match(ARGV[1], '^[^/]*')
  redis.call('RPUSH', wanted, ARGV[4])
  redis.call('PEXPIRE', wanted, 10000)
end
return {holds, told}
""")
SCRIPTS = (TAKE, RENEW, GIVE_BACK, TELL, READ_ON)


class ValkeyRelay:
    """On the connection of the blobs, so that what is put there is there before a key is free."""

    def __init__(self, connection: Asks) -> None:
        self._connection = connection

    async def take(
        self, key: bytes, me: str, ttl_s: float, *, look: bool = False
    ) -> tuple[str, bytes | None, Sequence[bytes]]:
        keys = [LEASE + key, READ + key, BLOB + key]
        lasts_ms = round(ttl_s * 1000)
        holder, kept, wanted = await self._connection.run(TAKE, keys, me, lasts_ms, key, READERS_MS, int(look))
        return holder.decode(), kept, wanted or ()

    async def renew(self, key: bytes, me: str, ttl_s: float) -> None:
        await self._connection.run(RENEW, [LEASE + key], me, round(ttl_s * 1000))

    def give_back(self, key: bytes, me: str) -> None:
        with suppress(StoreDown):
            keys = [LEASE + key, _of(TOLD, key, me)]
            self._connection.send(b"EVALSHA", GIVE_BACK.sha, len(keys), *keys, me, KEPT_MS)

    async def wanted(self, process: str) -> Sequence[bytes]:
        found = await self._connection.post(b"LPOP", WANTED + process, MANY)
        return found or ()

    async def tell(self, key: bytes, me: str, parts: Sequence[bytes]) -> bool:
        keys = [_of(TOLD, key, me), _of(READ, key, me)]
        return bool(await self._connection.run(TELL, keys, 10 * KEPT_MS, *parts))

    async def read(self, key: bytes, holder: str, after: int) -> tuple[bool, Sequence[bytes]]:
        keys = [LEASE + key, _of(TOLD, key, holder), _of(READ, key, holder)]
        found: Any = await self._connection.run(READ_ON, keys, holder, after, READERS_MS, key)
        return bool(found[0]), found[1]


def _of(what: bytes, key: bytes, holder: str) -> bytes:
    return what + key + b":" + holder.encode()
