"""What do many processes count together? In Valkey, each question one step of Lua that nobody can come between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tidegate.core.errors import StoreDown
from tidegate.storage.valkey.connection import Address, Connection, Notice, Refused, Script

START_S = 1.0  # a server that is there answers within this; else Tidegate starts without it
SERVERS_OWN = -1  # in place of a time: the server's clock, so that all processes have the same

_NOW = """
local now = tonumber(ARGV[1])
if now < 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
"""

LEASE = Script(
    _NOW
    + """
local has = redis.call('HMGET', KEYS[1], 'holder', 'until')
if has[1] and has[1] ~= ARGV[2] and now < tonumber(has[2]) then return 0 end
redis.call('HSET', KEYS[1], 'holder', ARGV[2], 'until', string.format('%.0f', now + ARGV[3]))
redis.call('PEXPIRE', KEYS[1], math.ceil(ARGV[3] / 1000) + 1000)
return 1
"""
)

GIVE_BACK = Script("""
if redis.call('HGET', KEYS[1], 'holder') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0
""")

# A note is until:value in a hash of its board; those that ran out go when the board is read.
NOTE = Script(
    _NOW
    + """
redis.call('HSET', KEYS[1], ARGV[2], string.format('%.0f', now + ARGV[4]) .. ':' .. ARGV[3])
local left = redis.call('PTTL', KEYS[1])
local needed = math.ceil(ARGV[4] / 1000) + 1000
if left < needed then redis.call('PEXPIRE', KEYS[1], needed) end
return 0
"""
)

NOTES = Script(
    _NOW
    + """
local live, found = {}, redis.call('HGETALL', KEYS[1])
for at = 1, #found, 2 do
  local colon = string.find(found[at + 1], ':', 1, true)
  if now < tonumber(string.sub(found[at + 1], 1, colon - 1)) then
    live[#live + 1] = found[at]
    live[#live + 1] = string.sub(found[at + 1], colon + 1)
  else
    redis.call('HDEL', KEYS[1], found[at])
  end
end
return live
"""
)


class ValkeyCounters:
    """`now_us`: another clock than the server's, for tests."""

    def __init__(self, connection: Connection, now_us: Callable[[], int] | None = None) -> None:
        self._connection = connection
        self._now_us = now_us or (lambda: SERVERS_OWN)

    @classmethod
    async def open(
        cls, url: str, notice: Notice, *, timeout_s: float, now_us: Callable[[], int] | None = None
    ) -> ValkeyCounters:
        """Connected, or looking for the server: it may come later. Raises ConfigError for a URL that is none."""
        scripts = (LEASE, GIVE_BACK, NOTE, NOTES)
        connection = Connection(Address.parse(url), notice, timeout_s=timeout_s, scripts=scripts)
        await connection.ready(START_S)
        return cls(connection, now_us)

    async def lease(self, name: str, holder: str, ttl_s: float) -> bool:
        return bool(await self._run(LEASE, [f"tidegate:lease:{name}"], self._now_us(), holder, round(ttl_s * 1e6)))

    async def give_back(self, name: str, holder: str) -> None:
        await self._run(GIVE_BACK, [f"tidegate:lease:{name}"], holder)

    async def note(self, board: str, name: str, value: bytes | None, ttl_s: float) -> None:
        key = f"tidegate:board:{board}"
        if value is None:
            await self._ask(b"HDEL", key, name)
        else:
            await self._run(NOTE, [key], self._now_us(), name, value, round(ttl_s * 1e6))

    async def notes(self, board: str) -> Mapping[str, bytes]:
        found = iter(await self._run(NOTES, [f"tidegate:board:{board}"], self._now_us()))
        return {name.decode(): value for name, value in zip(found, found, strict=True)}

    async def aclose(self) -> None:
        await self._connection.aclose()

    async def _run(self, script: Script, keys: Sequence[str], *args: bytes | str | int) -> Any:
        return await self._connection.run(script, keys, *args)

    async def _ask(self, *words: bytes | str) -> Any:
        try:
            return await self._connection.send(*words)
        except Refused as refused:
            raise StoreDown(f"Valkey refused: {refused}") from None
