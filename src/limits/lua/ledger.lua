--[[
Second part of the exchange: spending and its walks, members' slots, the tree of who waits. See core.lua.
Redis makes each function anew for each exchange, so what is used once is written where it is used, and what is seldom used
is in rare.lua.
]]
local x = cjson.decode(ARGV[3])
local me, seq = x[1], x[2]
local isWordy, isReplayed = false, false
local all = prefix .. 'all'
-- Keys that came to be: they want a time to live.
local created = {}

local function add(l, bucket, amount)
  local cell = bucket % 16
  local b = (bucket - cell) / 16
  local block = l.blocks[b]
  if not block then
    loadBlocks(l, b, b)
    block = l.blocks[b]
  end
  block[cell + 1] = block[cell + 1] + amount
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
  local cell = bucket % 16
  local b = (bucket - cell) / 16
  if not l.blocks[b] then loadBlocks(l, b, b) end
  local given = min(l.blocks[b][cell + 1], amount)
  if given ~= 0 then add(l, bucket, -given) end
end

--[[
Walks over live buckets, oldest first, as far as need be. With `amount`: the first instant at which at least that much of
what is spent now will have left the window; nil when less is spent. With `at`: how much will have left it by then.
]]
local function walk(l, amount, at)
  local upTo
  if amount then
    if amount <= 0 then return now end
  else
    upTo = floor((at - l.window - l.hold) / l.width) - 1
  end
  local w = l.walk
  if not w then
    w = { n = 0, next = l.first, total = 0, hint = 1, over = 0, upTo = 0, date = 0 }
    l.walk = w
  end
  while (amount and w.total < amount) or (upTo and w.next <= upTo) do
    local from = w.next
    if l.last < 0 or from > l.last then
      if amount then return nil end
      break
    end
    local b = floor(from / 16)
    if not l.blocks[b] then loadBlocks(l, b, b + 1) end
    local block, n, total = l.blocks[b], w.n, w.total
    for cell = from - b * 16 + 1, 16 do
      local its = block[cell]
      if its > 0 then
        n, total = n + 1, total + its
        -- Pairs: bucket, and all up to it.
        w[2 * n - 1], w[2 * n] = b * 16 + cell - 1, total
      end
    end
    w.n, w.total, w.next = n, total, (b + 1) * 16
  end
  if amount then
    local i = w.hint
    while i > 1 and w[2 * i - 2] >= amount do i = i - 1 end
    while w[2 * i] < amount do i = i + 1 end
    -- Whoever asks for a little more or less gets the same instant: schedule.lua looks that up by itself.
    w.hint, w.over, w.upTo, w.date = i, w[2 * i - 2] or 0, w[2 * i], (w[2 * i - 1] + 1) * l.width + l.window + l.hold
    return w.date
  end
  local freed = 0
  for i = 1, w.n do
    if w[2 * i - 1] > upTo then break end
    freed = w[2 * i]
  end
  return freed
end

-- Members. A record is read once, and written once if it changed.
local members, memberList, gone = {}, {}, {}
local isScanned = false

local function memberOf(id, its)
  local m = members[id]
  if m ~= nil then return m end
  its = its or (not isScanned and call('HGET', base .. 'procs', id))
  if not its then
    members[id] = false
    return false
  end
  local expires, hold, isolated, itsSeq, dead, aside, ghost, restate, share, mailAt, slots, floors, told, answered = unpackAll(its)
  m = { id = id, expires = expires, hold = hold, isolated = isolated, seq = itsSeq, dead = dead, aside = aside, ghost = ghost,
    restate = restate, share = share, mailAt = mailAt, slots = slots, floors = floors, told = told, answered = answered,
    isDirty = false }
  members[id] = m
  memberList[#memberList + 1] = m
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
local pools, poolList, treeSize = {}, {}, 0
for q = 0, #Q - 15, 15 do
  if Q[q + 9] > 0 then treeSize = treeSize + 1 end
end

local function poolOf(name)
  local P = pools[name]
  if P then return P end
  local q = placePool(name)
  P = { name = name, at = q, tag = Q[q + 6], virtual = Q[q + 7], load = Q[q + 8], waiting = Q[q + 9], tenantCount = Q[q + 10],
    hasIdle = Q[q + 11] == 1, isStored = Q[q + 9] > 0, isDoomed = false, tenants = {}, log = {}, idle = false,
    candidates = false, from = 0, isAll = false, boundTag = -1, boundName = '', index = -1, units = false, filling = false,
    frontAt = 0, refusedHeads = 0, closings = -1, isClosed = false }
  pools[name] = P
  poolList[#poolList + 1] = P
  return P
end

-- r: weight, tag, virtual, waiting, then 6 values a flow, in the byte order of ids: id, length of the process id in it, tag, state (0: only its tag
-- is kept, 1: nothing shown, 2: waits with a known cost), load, weight of its class.
local function loadTenants(P, names)
  for i = 1, #names, 64 do
    local got = call('HMGET', base .. 'n:' .. P.name, unpack(names, i, min(#names, i + 63)))
    for j = 1, #got do
      local name = names[i + j - 1]
      if got[j] then
        local r = unpackAll(got[j])
        local T = { name = name, pool = P, r = r, weight = r[1], tag = r[2], virtual = r[3], waiting = r[4], storedTag = r[2],
          isStored = true, isDirty = false, F = {}, unread = false, moved = false, blocked = false }
        P.tenants[name] = T
        P.log[#P.log + 1] = T
      else
        P.tenants[name] = false
      end
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

-- Tag of a tenant without waiters, 0 when virtual time has passed it. With `tag` it is kept from now on.
local function idleTag(P, name, tag)
  local idle = P.idle
  if tag then
    if not idle then
      idle = {}
      P.idle = idle
    end
    idle[name] = tag > P.virtual and tag
    return tag
  end
  local its = idle and idle[name]
  if not idle or its == nil then its = P.hasIdle and tonumber(call('ZSCORE', base .. 'i:' .. P.name, name) or 0) end
  return its or 0
end

-- A flow that has no waiters any more.
local function emptyFlow(P, T, p)
  local r, q = T.r, P.at
  P.load = P.load - r[p + 4]
  r[p + 3], r[p + 4] = 0, 0
  if Q[q + 13] == r[p] then Q[q + 13] = '' end
  T.isDirty = true
  T.waiting, P.waiting = T.waiting - 1, P.waiting - 1
  local moved = T.moved
  if not moved then
    moved = {}
    T.moved = moved
  end
  moved[p] = (moved[p] or 0) - 1
  if T.waiting > 0 then return end
  P.tenants[T.name] = false
  P.tenantCount = P.tenantCount - 1
  local list = P.candidates
  if list then
    local n = #list
    for i = 1, n do
      if list[i] == T then
        list[i] = list[n]
        list[n] = nil
        break
      end
    end
  end
  if P.waiting > 0 then
    idleTag(P, T.name, T.tag)
    return
  end
  -- Nobody waits in the pool: it forgets those below it.
  P.isDoomed = P.isDoomed or P.isStored
  P.isStored, P.hasIdle, P.idle, P.tag, P.virtual, P.load, P.tenants = false, false, false, 0, 0, 0, {}
  treeSize = treeSize - 1
  if treeSize == 0 then virtual = 0 end
end

-- Byte order, eight at a time: each call costs more than eight comparisons. Lua's own `<` on strings asks the locale.
local byte = string.byte
local function isBefore(a, b)
  for i = 1, min(#a, #b), 8 do
    local a1, a2, a3, a4, a5, a6, a7, a8 = byte(a, i, i + 7)
    local b1, b2, b3, b4, b5, b6, b7, b8 = byte(b, i, i + 7)
    if a1 ~= b1 then return a1 < b1 end
    if a2 ~= b2 then return (a2 or -1) < (b2 or -1) end
    if a3 ~= b3 then return (a3 or -1) < (b3 or -1) end
    if a4 ~= b4 then return (a4 or -1) < (b4 or -1) end
    if a5 ~= b5 then return (a5 or -1) < (b5 or -1) end
    if a6 ~= b6 then return (a6 or -1) < (b6 or -1) end
    if a7 ~= b7 then return (a7 or -1) < (b7 or -1) end
    if a8 ~= b8 then return (a8 or -1) < (b8 or -1) end
  end
  return #a < #b
end

-- Writes a key's fields at once, a bounded number of arguments a call.
local function each(command, key, args)
  local n = #args
  if n == 0 then return end
  if n <= 2000 then
    call(command, key, unpack(args))
    return
  end
  for i = 1, n, 2000 do call(command, key, unpack(args, i, min(n, i + 1999))) end
end
