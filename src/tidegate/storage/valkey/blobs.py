"""Which replies do many processes share? In Valkey, which forgets them in time, and takes no more when it is full."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar

from tidegate.core.errors import StoreDown
from tidegate.storage.valkey import START_S
from tidegate.storage.valkey.cluster import connected
from tidegate.storage.valkey.connection import Asks, Notice, Refused, Script
from tidegate.storage.valkey.relay import BLOB, SCRIPTS, ValkeyRelay

TAGS = "tidegate:blobs of "
BATCH = 500

# KEYS: the blob, then a sorted set for each of its tags: keys by when they end. ARGV: value, milliseconds, its key.
PUT = Script("""
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if #KEYS > 1 then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local ends = now + ARGV[2]
  for place = 2, #KEYS do
    redis.call('ZREMRANGEBYSCORE', KEYS[place], '-inf', now)
    redis.call('ZADD', KEYS[place], ends, KEYS[1])
    if redis.call('PTTL', KEYS[place]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[place], ARGV[2]) end
  end
end
return 0
""")


class ValkeyBlobs:
    """On a connection of its own: a long reply does not hold up those who count. `relay` is on it too."""

    scripts: ClassVar[tuple[Script, ...]] = (PUT, *SCRIPTS)

    def __init__(self, connection: Asks) -> None:
        self._connection = connection
        self.relay = ValkeyRelay(connection)

    @classmethod
    async def open(cls, url: str, notice: Notice, *, timeout_s: float) -> ValkeyBlobs:
        """Connected, or looking for the server: it may come later. Raises ConfigError, as counters do."""
        connection = connected(url, notice, timeout_s=timeout_s, scripts=cls.scripts)
        await connection.ready(START_S)
        return cls(connection)

    async def get(self, key: bytes) -> bytes | None:
        found = await self._ask(b"GET", BLOB + key)
        return found if isinstance(found, bytes) else None

    def put(self, key: bytes, value: bytes, ttl_s: float, tags: Sequence[str] = ()) -> None:
        keys: list[bytes | str] = [BLOB + key, *(f"{TAGS}{tag}" for tag in tags)]
        with suppress(StoreDown):  # what is asked on this connection later comes after it
            self._connection.send(b"EVALSHA", PUT.sha, len(keys), *keys, value, max(1, round(ttl_s * 1000)))

    async def purge(self, tag: str | None = None) -> int:
        if tag is None:
            return await self._purge_all()
        found = await self._ask(b"ZRANGE", f"{TAGS}{tag}", 0, -1)
        gone = 0
        for at in range(0, len(found), BATCH):
            gone += await self._ask(b"UNLINK", *found[at : at + BATCH])
        await self._ask(b"UNLINK", f"{TAGS}{tag}")
        return gone

    async def _purge_all(self) -> int:
        gone, cursor = 0, b"0"
        while True:
            cursor, found = await self._ask(b"SCAN", cursor, b"MATCH", BLOB + b"*", b"COUNT", BATCH)
            if found:
                gone += await self._ask(b"UNLINK", *found)
            if cursor == b"0":
                return gone

    async def _ask(self, *words: bytes | str | int) -> Any:
        try:
            return await self._connection.send(*words)
        except Refused as refused:
            raise StoreDown(f"Valkey refused: {refused}") from None

    async def aclose(self) -> None:
        await self._connection.aclose()
