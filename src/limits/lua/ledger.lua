--[[ Second part of the exchange: spending and its walks, members' slots, the tree of who waits. See core.lua. ]]
local x = cjson.decode(ARGV[3])
local me = x[1]
local retryAt = 0
local ofSpec

local function add(l, bucket, amount)
  local b = floor(bucket / 16)
  if not l.blocks[b] then loadBlocks(l, b, b) end
  local block, cell = l.blocks[b], bucket - b * 16 + 1
  block[cell] = block[cell] + amount
  l.sum = l.sum + amount
  if l.last < 0 then
    l.first, l.last = bucket, bucket
  elseif bucket < l.first then
    l.first = bucket
  elseif bucket > l.last then
    l.last = bucket
  end
  l.isDirty = true
  local touched = l.touched
  if not touched then
    touched = {}
    l.touched = touched
  end
  touched[b] = block
end

-- Gives back up to `amount` to the bucket it was charged to; nothing when that bucket is gone.
local function refund(l, bucket, amount)
  if bucket < l.first or bucket > l.last then return end
  local b = floor(bucket / 16)
  if not l.blocks[b] then loadBlocks(l, b, b) end
  local block, cell = l.blocks[b], bucket - b * 16 + 1
  local given = min(block[cell], amount)
  if given ~= 0 then add(l, bucket, -given) end
end

-- Extends the walk over live buckets, oldest first, until it holds `enough` or has come to `bucket`; false at its end.
local function walkOn(l, enough, bucket)
  local w = l.walk
  if not w then
    w = { n = 0, next = l.first, total = 0 }
    l.walk = w
  end
  while (enough and w.total < enough) or (bucket and w.next <= bucket) do
    local from = w.next
    if l.last < 0 or from > l.last then return false end
    local b = floor(from / 16)
    if not l.blocks[b] then loadBlocks(l, b, b + 3) end
    local block, n, total = l.blocks[b], w.n, w.total
    for cell = from - b * 16 + 1, 16 do
      local amount = block[cell]
      if amount > 0 then
        n, total = n + 1, total + amount
        -- Pairs: bucket, and all up to it.
        w[2 * n - 1], w[2 * n] = (b * 16 + cell - 1), total
      end
    end
    w.n, w.total, w.next = n, total, (b + 1) * 16
  end
  return true
end

-- First instant at which at least `amount` of what is spent now will have left the window; nil when less is spent.
local function freeAt(l, amount)
  if amount <= 0 then return now end
  if not walkOn(l, amount) then return nil end
  local w = l.walk
  local i = w.hint or 1
  if i > w.n then i = w.n end
  while i > 1 and w[2 * i - 2] >= amount do i = i - 1 end
  while w[2 * i] < amount do i = i + 1 end
  w.hint = i
  return (w[2 * i - 1] + 1) * l.width + l.window + l.hold
end

-- How much of what is spent now will have left the window by `at`.
local function freedBy(l, at)
  local bucket = floor((at - l.window - l.hold) / l.width) - 1
  walkOn(l, nil, bucket)
  local w, freed = l.walk, 0
  for i = 1, w.n do
    if w[2 * i - 1] > bucket then break end
    freed = w[2 * i]
  end
  return freed
end

-- Members. A record is read once, and written once if it changed.
local members, memberList, gone = {}, {}, {}
local isScanned = false

local function readMember(id, its)
  local expires, hold, isolated, seq, dead, aside, ghost, restate, share, mailAt, slots, floors = unpackAll(its)
  local m = { id = id, expires = expires, hold = hold, isolated = isolated, seq = seq, dead = dead, aside = aside,
    ghost = ghost, restate = restate, share = share, mailAt = mailAt, slots = slots, floors = floors, isDirty = false }
  members[id] = m
  memberList[#memberList + 1] = m
  return m
end

local function memberOf(id)
  local m = members[id]
  if m == nil then
    local its = not isScanned and call('HGET', base .. 'procs', id)
    if its then return readMember(id, its) end
    members[id], m = false, false
  end
  return m
end

local function moveSlots(m, id, by)
  local p = place(id)
  C[p + 5] = C[p + 5] + by
  local slots = m.slots
  m.isDirty = true
  local n = #slots
  for i = 1, n, 2 do
    if slots[i] == id then
      slots[i + 1] = slots[i + 1] + by
      if slots[i + 1] == 0 then
        slots[i], slots[i + 1] = slots[n - 1], slots[n]
        slots[n], slots[n - 1] = nil, nil
      end
      return
    end
  end
  if by ~= 0 then slots[n + 1], slots[n + 2] = id, by end
end

-- The tree. A pool or tenant without waiters is not in it.
local pools, treeSize = {}, 0
for q = 0, #Q - 11, 11 do
  if Q[q + 9] > 0 then treeSize = treeSize + 1 end
end

local function poolOf(name)
  local P = pools[name]
  if P then return P end
  local q = placePool(name)
  P = { name = name, at = q, tag = Q[q + 6], virtual = Q[q + 7], load = Q[q + 8], waiting = Q[q + 9], tenantCount = Q[q + 10],
    hasIdle = Q[q + 11] == 1, isStored = Q[q + 9] > 0, isDoomed = false, tenants = {}, log = {}, idle = false,
    candidates = false, from = 0, isAll = false, boundTag = -1, boundName = '', index = -1, units = false, filling = false,
    frontAt = 0, refusedHeads = 0 }
  pools[name] = P
  return P
end

-- r: weight, tag, virtual, waiting, then 6 values a flow: id, length of the process id in it, tag, state (0: only its tag
-- is kept, 1: nothing shown, 2: waits with a known cost), load, weight of its class.
local function readTenant(P, name, its)
  local r = unpackAll(its)
  local T = { name = name, pool = P, r = r, weight = r[1], tag = r[2], virtual = r[3], waiting = r[4], storedTag = r[2],
    isStored = true, isDirty = false, F = {}, moved = false, blocked = false }
  P.tenants[name] = T
  P.log[#P.log + 1] = T
  return T
end

local function loadTenants(P, names)
  for i = 1, #names, 64 do
    local got = call('HMGET', base .. 'n:' .. P.name, unpack(names, i, min(#names, i + 63)))
    for j = 1, #got do
      local name = names[i + j - 1]
      if got[j] then readTenant(P, name, got[j]) else P.tenants[name] = false end
    end
  end
end

local function tenantOf(P, name)
  local T = P.tenants[name]
  if T == nil then
    if P.isStored then loadTenants(P, { name }) else P.tenants[name] = false end
    T = P.tenants[name]
  end
  return T
end

local function findFlow(T, id)
  local r = T.r
  for p = 5, #r, 6 do
    if r[p] == id then return p end
  end
end

-- Tag of a tenant without waiters, 0 when virtual time has passed it.
local function idleTag(P, name)
  local tag = P.idle and P.idle[name]
  if tag == nil or not P.idle then tag = P.hasIdle and tonumber(call('ZSCORE', base .. 'i:' .. P.name, name) or 0) end
  return tag or 0
end

local function keepIdle(P, name, tag)
  P.idle = P.idle or {}
  P.idle[name] = tag > P.virtual and tag
end

-- A flow that has no waiters any more.
local function emptyFlow(P, T, p)
  local r = T.r
  P.load = P.load - r[p + 4]
  r[p + 3], r[p + 4] = 0, 0
  T.isDirty = true
  T.waiting, P.waiting = T.waiting - 1, P.waiting - 1
  T.moved = T.moved or {}
  T.moved[p] = (T.moved[p] or 0) - 1
  if T.waiting > 0 then return end
  P.tenants[T.name] = false
  P.tenantCount = P.tenantCount - 1
  keepIdle(P, T.name, T.tag)
  if P.waiting > 0 then return end
  -- Nobody waits in the pool: it forgets those below it.
  P.isDoomed = P.isDoomed or P.isStored
  P.isStored, P.hasIdle, P.idle, P.tag, P.virtual, P.load, P.tenants = false, false, false, 0, 0, 0, {}
  treeSize = treeSize - 1
  if treeSize == 0 then virtual = 0 end
end

-- Service that a request of `tokens` costs its flow.
local function serviceOf(flow, tokens)
  local service = flow.base
  if flow.perToken > 0 then
    local its = ceil(tokens * flow.perToken / 1000)
    if its > service then service = its end
  end
  return service
end
