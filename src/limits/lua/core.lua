--[[
First part of every script: what the group knows, as one packed string, and its limits with what is spent of each.
The same rules as the memory group (ledger.ts, window.ts, control.ts). Names in capitals are constants of store.ts.

KEYS[1]  {namespace:group}:core  string: all below, packed with cmsgpack
ARGV[1]  what the process is configured with, as JSON: [limits, pools, draws, memoryMs, keepMs]; a limit is 5 values, flat: id,
         kind, limit, windowMs, holdMs
ARGV[2]  now in ms; '' for Redis TIME
ARGV[3]  what the script is asked

Other keys, all under the same tag; an epoch's never meet another's:
  ctl                 string: pauses, overrides and ceilings, for 30 days, whoever is still there
  <epoch>:procs       hash: process id -> lease, slots, floors (members.lua)
  <epoch>:last        hash: process id -> its last reply
  <epoch>:mail:<id>   list: grants that wait for a process
  <epoch>:w:<id>      set: flows in which it waits
  <epoch>:b:<limit>   hash: block of 16 buckets -> amounts; cells below the oldest live bucket mean nothing
  <epoch>:t:<pool>    sorted set: tenants with waiters by tag
  <epoch>:n:<pool>    hash: tenant -> weight, tag, virtual, waiting, and its flows' tags
  <epoch>:f:<pool>    hash: tenant and flow -> what was last stated
  <epoch>:i:<pool>    sorted set: tags of tenants without waiters, while ahead
Channels: wake:<process id>, and all (the message names whom it does not concern)
]]
local call, pack, unpackAll = redis.call, cmsgpack.pack, cmsgpack.unpack
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local sub, concat = string.sub, table.concat
local NEVER = 9007199254740991

local prefix = sub(KEYS[1], 1, -5)
local spec = cjson.decode(ARGV[1])
local S, poolNames = spec[1], spec[2]
local now = tonumber(ARGV[2])
local isInjected, fraction = now ~= nil, 0
if not isInjected then
  local t = call('TIME')
  now, fraction = t[1] * 1000 + floor(t[2] / 1000), t[2] % 1000
else
  fraction = floor((now - floor(now)) * 1000 + 0.5)
  now = floor(now)
end

-- Numbers beyond 14 digits lose some as plain text.
local format = string.format

-- C: 13 values a limit. id, sum, oldest and newest bucket, slots, set aside, base and limit as configured (base -1: not),
-- limit and foreign spending said by the provider and until when, ceiling (packed; '' for none), when an operator moved it.
-- Q: 15 values a pool. name, when an operator paused it (negative: resumed it; 0: never), cool-down until, its generation, last date after it, tag, virtual, load, flows with
-- waiters, tenants with waiters, whether any tag of an idle tenant is kept, and its front: tenant, flow ('' for none), since,
-- and when somebody was last told to ask for it.
local C, Q
local epoch, version, last, offset, rosterVersion, due, keep, safe = '', 0, 0, 0, 1, NEVER, 0, 0
local learnUntil, started, learn, virtual = 0, 0, '', 0
-- The run id of the server that counted; '' if that is not known.
local server = ''
local text = call('GET', KEYS[1])
local words = false
if text then
  epoch, version, last, offset, rosterVersion, due, keep, safe, learnUntil, started, learn, virtual, C, Q, server =
    unpackAll(text)
  -- An older release did not tell.
  server = server or ''
else
  C, Q = {}, {}
  words = call('GET', prefix .. 'ctl')
end
local cAt, qAt = {}, {}
for p = 0, #C - 13, 13 do cAt[C[p + 1]] = p end
for q = 0, #Q - 15, 15 do qAt[Q[q + 1]] = q end
local lastBefore, offsetBefore = last, offset
-- Time never goes back and never stands still: after a backward step it continues from where it was.
now = now + offset
if now < last then
  offset = offset + last - now
  now = last
end
last = now

local function place(id)
  local p = cAt[id]
  if p then return p end
  p = #C
  cAt[id] = p
  C[p + 1], C[p + 2], C[p + 3], C[p + 4], C[p + 5], C[p + 6] = id, 0, 0, -1, 0, 0
  C[p + 7], C[p + 8], C[p + 9], C[p + 10], C[p + 11], C[p + 12], C[p + 13] = -1, 0, 0, 0, 0, '', 0
  return p
end

local function placePool(name)
  local q = qAt[name]
  if q then return q end
  q = #Q
  qAt[name] = q
  Q[q + 1], Q[q + 2], Q[q + 3], Q[q + 4], Q[q + 5], Q[q + 6] = name, 0, 0, 0, 0, 0
  Q[q + 7], Q[q + 8], Q[q + 9], Q[q + 10], Q[q + 11], Q[q + 12], Q[q + 13], Q[q + 14], Q[q + 15] =
    0, 0, 0, 0, 0, '', '', 0, 0
  return q
end

if words then
  local paused, over, learned = unpackAll(words)
  for i = 1, #learned, 2 do C[place(learned[i]) + 12] = learned[i + 1] end
  for i = 1, #paused, 2 do Q[placePool(paused[i]) + 2] = paused[i + 1] end
  for i = 1, #over, 4 do
    local p = place(over[i])
    C[p + 7], C[p + 8], C[p + 13] = over[i + 1], over[i + 2], over[i + 3]
  end
end
words = false

-- The date of an operator's word that is said now: later than all before, whatever the clock does.
local function wordDate()
  local newest = 0
  for p = 0, #C - 13, 13 do newest = max(newest, C[p + 13]) end
  for q = 0, #Q - 15, 15 do newest = max(newest, math.abs(Q[q + 2])) end
  return max(now, newest + 1)
end

local base = prefix .. epoch .. ':'

-- A limit's blocks from `b0` to `b1`, read once.
local function loadBlocks(l, b0, b1)
  local blocks, args, n = l.blocks, {}, 0
  local newest = l.isStored and floor(l.last / 16) or -1
  for b = b0, b1 do
    if not blocks[b] then
      if b <= newest then
        n = n + 1
        args[n] = b
      else
        blocks[b] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
      end
    end
  end
  for i = 1, n, 128 do
    local got = call('HMGET', l.key, unpack(args, i, min(n, i + 127)))
    for j = 1, #got do
      blocks[args[i + j - 1]] = got[j] and { unpackAll(got[j]) } or { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
    end
  end
end

-- The limit of index `i` (from 0), with its sum as of now: what counts no more is dropped.
local limits = {}
local function limitAt(i)
  local l = limits[i]
  if l then return l end
  local s = i * 5
  local id, window = S[s + 1], S[s + 4]
  if not id then error('limit index must be below ' .. #S / 5 .. ', got ' .. i) end
  local p = place(id)
  l = { index = i, id = id, at = p, kind = S[s + 2], limit = S[s + 3], window = window, hold = S[s + 5], sum = C[p + 2],
    first = C[p + 3], last = C[p + 4], isStored = C[p + 4] >= 0, isDirty = false, free = 0, allowed = 0, conf = 0,
    blocks = false, gone = false, key = false, width = 1, touched = false, pend = false, pb = -1, pd = -1, pa = 0, pmax = -1,
    tooMuch = NEVER, resAt = false, extra = 0, isReady = false, foreign = 0, walk = false }
  limits[i] = l
  if window == 0 then return l end
  local width = max(1, floor(window / 600))
  l.key, l.blocks, l.width = base .. 'b:' .. id, {}, width
  local cutoff = floor((now - window - l.hold) / width) - 1
  if l.last < 0 or l.first > cutoff then return l end
  l.isDirty = true
  if l.last <= cutoff then
    l.sum, l.first, l.last, l.isDropped, l.isStored = 0, 0, -1, true, false
    return l
  end
  local b0, b1, gone = floor(l.first / 16), floor(cutoff / 16), {}
  -- And the block that comes after it, which will soon be asked for.
  loadBlocks(l, b0, min(b1 + 1, floor(l.last / 16)))
  for b = b0, b1 do
    local block = l.blocks[b]
    for cell = max(l.first - b * 16, 0), min(cutoff - b * 16, 15) do l.sum = l.sum - block[cell + 1] end
    if b < b1 then
      gone[#gone + 1] = b
      l.blocks[b] = nil
    end
  end
  local first, block = cutoff + 1, l.blocks[b1]
  while first < (b1 + 1) * 16 and block[first - b1 * 16 + 1] == 0 do first = first + 1 end
  -- The newest bucket's block stays, so that the hash does, and its time to live.
  if first == (b1 + 1) * 16 and floor(l.last / 16) > b1 then
    gone[#gone + 1] = b1
    l.blocks[b1] = nil
  end
  l.first, l.gone = min(first, l.last), gone
  return l
end

-- What a limit is configured to be, and what it is as providers last proved and said it.
local function standing(l)
  local p = l.at
  local conf = C[p + 7] >= 0 and C[p + 8] or l.limit
  local most, said = conf, C[p + 9]
  if C[p + 12] ~= '' then most = min(conf, (unpackAll(C[p + 12]))) end
  if said > 0 and said < most then most = said end
  return conf, most
end
