"""What does the server do with a claim? Lua, each script one step: look at all meters, charge all or none; settle.

A meter is a hash: `n` is what was charged, all of it or within the window; of a window, `sN` is what was charged in its
slice N, `low` the oldest slice that may be there, `top` the newest that was now, `far` the newest that was charged in
advance. Numbers stay below 2^53, which Lua counts exactly.

The server's clock may jump. Forward, time has passed. Back, time stands for no window: `off` is added from then on, so
that slices go on from `top` at the normal pace, until the clock has caught up.
"""

from __future__ import annotations

from tidegate.storage.valkey.connection import Script

SHARE = 64  # of what is left of a meter, one of so many parts is the most that a process charges in advance
SHARE_KEPT = 1024  # the same of a budget, of which nothing comes back when that process is killed
AHEAD = 2  # slices: what is charged in advance is so much later in time, and good until then
FLOOR = 8  # when less than one of so many parts of a meter is left, nothing is
RAISE = 2  # in place of whether it is charged unasked: only what is missing of the amount
SERVERS_OWN = -1  # in place of a time: the server's clock, so that all processes have the same

NOW = """
local now = tonumber(ARGV[1])
if now < 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
"""

# Settling: the record of a claim is what it charged, so that nobody else need remember.
_APPLY = """
local function apply(record, truth_of)
  for place, one in ipairs(record) do
    local key, slice, delta = one[1], one[2], truth_of(place, one) - one[3]
    if delta ~= 0 then
      if slice < 0 then
        if redis.call('HEXISTS', key, 'n') == 1 then redis.call('HINCRBY', key, 'n', delta) end
      elseif redis.call('HEXISTS', key, 's' .. slice) == 1 then
        redis.call('HINCRBY', key, 's' .. slice, delta)
        redis.call('HINCRBY', key, 'n', delta)
      end
    end
  end
end
"""

# A holder that no longer renews its claims has died: each of its charges goes back to what is kept of it. The claim is
# remembered for a day, so that a holder that was only slow can still tell the truth.
_SWEEP = """
local function sweep()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 50)) do
    local packed = redis.call('HGET', KEYS[1], id)
    redis.call('ZREM', KEYS[2], id)
    if packed then
      local record = cmsgpack.unpack(packed)
      apply(record, function(_, one) return one[4] end)
      for _, one in ipairs(record) do one[3] = one[4] end
      redis.call('HDEL', KEYS[1], id)
      redis.call('HSET', KEYS[3], id, cmsgpack.pack(record))
      redis.call('PEXPIRE', KEYS[3], 86400000)
    end
  end
end
"""

# What a meter has now, what has left its window taken off.
_LOOK = """
local function look(key, per)
  local said = redis.call('HMGET', key, 'n', 'low', 'top', 'off', 'far')
  local one = {n = tonumber(said[1] or 0), slice = -1}
  if per == 0 then return one end
  local width = per * 15625
  local at = math.floor(2 * now / width)
  local top, off = tonumber(said[3] or at), tonumber(said[4] or 0)
  if at >= top then
    off = 0
  elseif at + off < top then
    off = top - at
  end
  if off ~= tonumber(said[4] or 0) then redis.call('HSET', key, 'off', off) end
  one.slice, one.low, one.width, one.off = at + off, tonumber(said[2] or at), width, off
  one.far = math.max(tonumber(said[5] or 0), one.slice)
  local first = one.slice - 128
  if one.low < first and said[3] then
    local gone = {}
    local last = math.max(top, tonumber(said[5] or 0))
    for slice = one.low, math.min(first - 1, last) do gone[#gone + 1] = 's' .. slice end
    if #gone > 0 then  -- it may have been looked at since it was last charged, and then all are gone already
      for _, amount in ipairs(redis.call('HMGET', key, unpack(gone))) do one.n = one.n - (amount or 0) end
      redis.call('HDEL', key, unpack(gone))
    end
    redis.call('HSET', key, 'n', one.n, 'low', first)
    one.low = first
  end
  return one
end
"""

# KEYS: holds, leases, lost, then one for each meter.
# ARGV: now, id, lease, whether it is held, whether it is charged unasked (2: what is missing of it); then amount,
# most, seconds of the window, seconds after which a count without one is forgotten, kept.
CLAIM = Script(
    NOW
    + _APPLY
    + _SWEEP
    + _LOOK
    + """
sweep()
local id, lease, held, unasked = ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1', ARGV[5] ~= '0'
local found, refused, longest = {}, nil, nil

local function wait_us(key, one, needed)
  local names = {}
  for slice = one.low, one.far do names[#names + 1] = 's' .. slice end
  for place, amount in ipairs(redis.call('HMGET', key, unpack(names))) do
    needed = needed - (amount or 0)
    if needed <= 0 then return math.ceil((one.low + place + 128 - one.off) * one.width / 2 - now) end
  end
  return -1
end

for place = 4, #KEYS do
  local at = 6 + (place - 4) * 5
  local amount, most, per = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local one = look(KEYS[place], per)
  if ARGV[5] == '2' then amount = math.max(amount - one.n, 0) end
  one.amount, one.per, one.forget, one.kept = amount, per, tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  found[#found + 1] = one
  if not unasked and one.n + amount > most then
    local wait = -1
    if per > 0 and amount <= most then wait = wait_us(KEYS[place], one, one.n + amount - most) end
    if not refused or (longest >= 0 and (wait < 0 or wait > longest)) then refused, longest = #found, wait end
  end
end

local answer = refused and {0, refused - 1, longest} or {1}
if refused then
  for _, one in ipairs(found) do answer[#answer + 1] = one.n end
  return answer
end
local record = {}
for place, one in ipairs(found) do
  local key = KEYS[place + 3]
  if one.per == 0 then
    redis.call('HINCRBY', key, 'n', one.amount)
    if one.forget > 0 then redis.call('EXPIRE', key, one.forget) end
  else
    redis.call('HSET', key, 'n', one.n + one.amount, 'low', one.low, 'top', one.slice)
    redis.call('HINCRBY', key, 's' .. one.slice, one.amount)
    redis.call('EXPIRE', key, one.per + math.ceil(one.per / 32) + 1)
  end
  answer[#answer + 1] = one.slice
  answer[#answer + 1] = one.n + one.amount
  record[place] = {key, one.slice, one.amount, one.kept}
end
if held then
  redis.call('HSET', KEYS[1], id, cmsgpack.pack(record))
  redis.call('ZADD', KEYS[2], now + lease, id)
end
return answer
"""
)

# KEYS: holds, leases, lost. ARGV: id, then the truth for each charge. What is in neither hash was settled before, or
# never claimed.
SETTLE = Script(
    _APPLY
    + """
local packed, of = redis.call('HGET', KEYS[1], ARGV[1]), KEYS[1]
if not packed then packed, of = redis.call('HGET', KEYS[3], ARGV[1]), KEYS[3] end
if not packed then return 0 end
redis.call('HDEL', of, ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
apply(cmsgpack.unpack(packed), function(place) return tonumber(ARGV[place + 1]) end)
return 1
"""
)

# What was charged and not held, changed after all. ARGV: slice and difference for each of KEYS.
CORRECT = Script(
    _APPLY
    + """
for place, key in ipairs(KEYS) do
  apply({{key, tonumber(ARGV[2 * place - 1]), 0}}, function() return tonumber(ARGV[2 * place]) end)
end
return 0
"""
)

# KEYS: holds, leases, lost. ARGV: now, lease, ids that are still held. Those of the dead are swept on the way.
RENEW = Script(
    NOW
    + _APPLY
    + _SWEEP
    + """
for place = 3, #ARGV do redis.call('ZADD', KEYS[2], 'XX', now + ARGV[2], ARGV[place]) end
sweep()
return redis.call('HLEN', KEYS[1])
"""
)

# What a process charges in advance, renews, or gives back. KEYS: holds, leases, lost, then one for each meter.
# ARGV: now, lease; then for each meter: id, most, seconds of the window, seconds after which it is forgotten, whether
# all of it comes back when its holder dies, used and left, left of it, how much more is wanted (-1: none, ever again),
# how much is worth it, and how many corrections of its slices follow: slice, difference.
# A count is told as a whole, so that an answer that is lost, or a server that has forgotten, changes nothing.
LEND = Script(
    NOW
    + _APPLY
    + _SWEEP
    + _LOOK
    + f"""
local SHARE, SHARE_KEPT, FLOOR, AHEAD = {SHARE}, {SHARE_KEPT}, {FLOOR}, {AHEAD}
"""
    + """
sweep()
local lease, at, answer = tonumber(ARGV[2]), 3, {}
local function number()
  at = at + 1
  return tonumber(ARGV[at - 1])
end
for place = 4, #KEYS do
  local key, id = KEYS[place], ARGV[at]
  at = at + 1
  local most, per, forget, comes_back, has = number(), number(), number(), number() == 1, number()
  local left, wanted, least = number(), number(), number()
  for _ = 1, number() do
    local slice, difference = number(), number()
    apply({{key, slice, 0}}, function() return difference end)
  end
  local one = look(key, per)
  local packed, had = false, 0
  if per == 0 then
    packed = redis.call('HGET', KEYS[1], id) or redis.call('HGET', KEYS[3], id)
    if packed and redis.call('HEXISTS', key, 'n') == 1 then had = cmsgpack.unpack(packed)[1][3] end
    if wanted < 0 and not packed then has = had end  -- it was told before
    one.n = one.n + has - had
  end
  local room, granted = most - one.n, 0
  local share = math.floor(room / ((per > 0 or comes_back) and SHARE or SHARE_KEPT))
  local tight = room * FLOOR < most or share < least
  if wanted > 0 and not tight then granted = math.max(math.min(wanted, share - left), 0) end
  local rest = -1
  if per > 0 then
    local slice = one.slice + AHEAD
    redis.call('HSET', key, 'n', one.n + granted, 'low', one.low, 'top', one.slice, 'far', math.max(one.far, slice))
    redis.call('HINCRBY', key, 's' .. slice, granted)
    redis.call('EXPIRE', key, per + math.ceil(per / 32) + 1)
    rest = math.floor((slice - one.off + 1) * one.width / 2 - now)
    one.slice = slice
  else
    has = has + granted
    if has ~= had then redis.call('HINCRBY', key, 'n', has - had) end
    if forget > 0 then redis.call('EXPIRE', key, forget) end
    redis.call('HDEL', KEYS[3], id)
    if wanted < 0 or has == 0 then
      redis.call('HDEL', KEYS[1], id)
      redis.call('ZREM', KEYS[2], id)
    else
      redis.call('HSET', KEYS[1], id, cmsgpack.pack({{key, -1, has, comes_back and 0 or has}}))
      redis.call('ZADD', KEYS[2], now + lease, id)
    end
  end
  for _, said in ipairs({one.n + granted, one.slice, granted, rest, tight and 1 or 0}) do answer[#answer + 1] = said end
end
return answer
"""
)
