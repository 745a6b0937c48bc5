--[[
One exchange of a process with its group: settlements in, grants out, all or nothing per request.
The same rules as memory-store.ts, statement by statement.

KEYS[1]  {namespace:group}:meta   hash: epoch, last, offset, learn (times in ms)
KEYS[2]  {namespace:group}:procs  hash: process id -> expires|hold|seq|dead
KEYS[3]  {namespace:group}:heads  hash: limit id|process id -> since|cost|fitAt
KEYS[4]  {namespace:group}:ctl    hash: pause:<pool>, cool:<pool>, limit:<id> -> base|limit
KEYS[5]  {namespace:group}:flight hash: limit id -> slots taken
KEYS[6]  {namespace:group}:ceil   hash: limit id -> value|cutAt|changedAt|spacing|probing
         Below the same tag, one each: p:<process> hash (r reply, g<grant> open, s<limit> slots),
         b:<limit> hash (bucket -> amount, s sum, l newest bucket), q:<limit> list of live buckets, oldest first,
         wake:<process> channel.
ARGV[1]  the exchange and the limits and pools it speaks of, as JSON (see store.ts)
ARGV[2]  now in ms; left out: Redis TIME
Returns  the reply as JSON
]]
local function readTime()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local raw = tonumber(ARGV[2]) or readTime()
local x = cjson.decode(ARGV[1])
local prefix = string.sub(KEYS[1], 1, -5)
local limits, pools, me = x.limits, x.pools, x.processId
local CLAIM, PROBE, MAX_PROBE = x.claimMs, x.probeMs, x.maxProbeMs
local INF = math.huge

local function split(text)
  local parts = {}
  for part in string.gmatch(text, '[^|]+') do parts[#parts + 1] = part end
  return parts
end
local function int(n) return string.format('%.0f', n) end

-- Time never goes back and never stands still: after a backward step it continues from where it was.
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'last', 'offset', 'learn')
local epoch, last = meta[1] or x.candidateEpoch, tonumber(meta[2] or 0)
local offset, learn = tonumber(meta[3] or 0), tonumber(meta[4] or 0)
local now = raw + offset
if now < last then
  offset = offset + last - now
  now = last
end

-- Limits are loaded when first touched and written back once, whatever the number of grants.
local touched, loaded = {}, {}
local flight, flightDirty = {}, false
do
  local flat = redis.call('HGETALL', KEYS[5])
  for i = 1, #flat, 2 do flight[flat[i]] = tonumber(flat[i + 1]) end
end
local ctl = {}
do
  local flat = redis.call('HGETALL', KEYS[4])
  for i = 1, #flat, 2 do ctl[flat[i]] = flat[i + 1] end
end
local ceilings = {}
do
  local flat = redis.call('HGETALL', KEYS[6])
  for i = 1, #flat, 2 do
    local c = split(flat[i + 1])
    ceilings[flat[i]] = { value = tonumber(c[1]), cutAt = tonumber(c[2]), changedAt = tonumber(c[3]),
      spacing = tonumber(c[4]), probing = c[5] == '1' }
  end
end
local function saveCeiling(id, c)
  ceilings[id] = c
  if c then
    redis.call('HSET', KEYS[6], id, int(c.value) .. '|' .. int(c.cutAt) .. '|' .. int(c.changedAt) .. '|'
      .. int(c.spacing) .. '|' .. (c.probing and '1' or '0'))
  else
    redis.call('HDEL', KEYS[6], id)
  end
end

local function expiryOf(l, bucket) return (bucket + 1) * l.width + l.windowMs + l.holdMs end

local function configuredOf(l)
  local override = ctl['limit:' .. l.id]
  if override then
    local o = split(override)
    if tonumber(o[1]) == l.limit then return tonumber(o[2]) end
  end
  return l.limit
end

local function touch(index)
  local l = loaded[index]
  if l then return l end
  l = limits[index + 1]
  loaded[index] = l
  touched[#touched + 1] = index
  l.configured = configuredOf(l)
  if l.windowMs > 0 then
    l.width = math.max(1, math.floor(l.windowMs / 600))
    l.bkey, l.qkey, l.added, l.dirty = prefix .. 'b:' .. l.id, prefix .. 'q:' .. l.id, 0, false
    local state = redis.call('HMGET', l.bkey, 's', 'l')
    l.sum, l.newest = tonumber(state[1] or 0), tonumber(state[2] or -1)
  end
  return l
end

local function effectiveOf(l)
  local c = ceilings[l.id]
  return c and math.min(l.configured, c.value) or l.configured
end

-- Drops the buckets that count no more, in runs of 64.
local function expire(l)
  if l.expired then return end
  l.expired = true
  while true do
    local run = redis.call('LRANGE', l.qkey, 0, 63)
    local gone = 0
    while gone < #run and expiryOf(l, tonumber(run[gone + 1])) <= now do gone = gone + 1 end
    if gone == 0 then return end
    local names = {}
    for i = 1, gone do names[i] = run[i] end
    for _, amount in ipairs(redis.call('HMGET', l.bkey, unpack(names))) do
      l.sum = l.sum - tonumber(amount or 0)
    end
    redis.call('HDEL', l.bkey, unpack(names))
    redis.call('LTRIM', l.qkey, gone, -1)
    l.dirty = true
    if gone < 64 then return end
  end
end

local function usedOf(l)
  if l.windowMs == 0 then return flight[l.id] or 0 end
  expire(l)
  return l.sum
end

local function add(l, amount)
  l.added, l.sum, l.dirty = l.added + amount, l.sum + amount, true
  return math.floor(now / l.width)
end

local function refund(l, bucket, amount)
  local name = int(bucket)
  local held = tonumber(redis.call('HGET', l.bkey, name) or 0)
  -- This very batch may have charged the bucket: what is still in l.added can be given back too.
  local given = math.min(held, amount)
  if given > 0 then
    redis.call('HINCRBY', l.bkey, name, -given)
    l.sum, l.dirty = l.sum - given, true
  end
  if bucket == math.floor(now / l.width) then
    local rest = math.min(l.added, amount - given)
    l.added, l.sum = l.added - rest, l.sum - rest
  end
end

-- First instant at which `missing` of what is spent will have left the window; nil when less is spent.
local function freeAt(l, missing)
  local from = 0
  while true do
    local run = redis.call('LRANGE', l.qkey, from, from + 63)
    if #run == 0 then break end
    for i, amount in ipairs(redis.call('HMGET', l.bkey, unpack(run))) do
      local bucket = tonumber(run[i])
      missing = missing - tonumber(amount or 0)
      if bucket == math.floor(now / l.width) then
        missing = missing - l.added
      end
      if missing <= 0 then return expiryOf(l, bucket) end
    end
    from = from + 64
  end
  if l.newest ~= math.floor(now / l.width) and l.added > 0 then
    missing = missing - l.added
    if missing <= 0 then return expiryOf(l, math.floor(now / l.width)) end
  end
  return nil
end
