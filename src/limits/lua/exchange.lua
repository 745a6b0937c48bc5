--[[ The second part of one script: see limits.lua, which stands before it and declares what it uses. ]]
local function moveSlotOf(mine, index, by)
  local l = touch(index)
  mine[l.id] = (mine[l.id] or 0) + by
  flight[l.id] = (flight[l.id] or 0) + by
  flightDirty = true
end

-- Leases: the dead hold nothing past their lease (or their calls' deadline).
local heads = {}
do
  local flat = redis.call('HGETALL', KEYS[3])
  for i = 1, #flat, 2 do
    local id, proc = string.match(flat[i], '^(.*)|([^|]*)$')
    local h = split(flat[i + 1])
    heads[id] = heads[id] or {}
    heads[id][proc] = { since = tonumber(h[1]), cost = tonumber(h[2]), fitAt = tonumber(h[3]) }
  end
end
local function dropHeads(proc)
  for id, byProc in pairs(heads) do
    if byProc[proc] then
      byProc[proc] = nil
      redis.call('HDEL', KEYS[3], id .. '|' .. proc)
    end
  end
end
local known
do
  local flat = redis.call('HGETALL', KEYS[2])
  for i = 1, #flat, 2 do
    local proc, v = flat[i], split(flat[i + 1])
    local m = { expires = tonumber(v[1]), hold = tonumber(v[2]), seq = tonumber(v[3]), dead = v[4] == '1' }
    if not m.dead and m.expires <= now then
      m.dead = true
      dropHeads(proc)
      redis.call('HSET', KEYS[2], proc, v[1] .. '|' .. v[2] .. '|' .. v[3] .. '|1')
    end
    if m.dead and m.hold <= now then
      local pkey = prefix .. 'p:' .. proc
      local fields = redis.call('HGETALL', pkey)
      for f = 1, #fields, 2 do
        if string.sub(fields[f], 1, 1) == 's' then
          local id = string.sub(fields[f], 2)
          flight[id] = (flight[id] or 0) - tonumber(fields[f + 1])
          flightDirty = true
          for index, l in ipairs(limits) do
            if l.id == id then touch(index - 1) end
          end
        end
      end
      redis.call('DEL', pkey)
      redis.call('HDEL', KEYS[2], proc)
    elseif proc == me then
      known = m
    end
  end
end

local function saveMeta()
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'last', int(now), 'offset', int(offset), 'learn', int(learn))
end
local function saveFlight()
  if not flightDirty then return end
  for id, count in pairs(flight) do
    if count == 0 then redis.call('HDEL', KEYS[5], id) else redis.call('HSET', KEYS[5], id, count) end
  end
end

local grants, refused, retryAt = {}, {}, 0
local function reply(fenced)
  return cjson.encode({ nowMs = now, epoch = epoch, fenced = fenced, learnUntilMs = learn > now and learn or 0,
    grants = grants, refused = refused, retryAtMs = retryAt })
end
local function retry(at)
  if retryAt == 0 or at < retryAt then retryAt = at end
end

if (x.knownEpoch ~= '' and x.knownEpoch ~= epoch) or x.distrust then
  local longest = 0
  for _, l in ipairs(limits) do longest = math.max(longest, l.windowMs + l.holdMs) end
  learn = math.max(learn, now + longest)
end
local pkey = prefix .. 'p:' .. me
if known and not known.dead and x.seq <= known.seq then
  saveMeta()
  saveFlight()
  return redis.call('HGET', pkey, 'r')
end
if x.seq > 1 and (not known or known.dead) then
  saveMeta()
  saveFlight()
  return reply(true)
end

-- Adoptions and settlements.
local mine, opened, closed = {}, {}, {}
local isOpen = {}
if #x.settlements > 0 then
  local names = {}
  for i, s in ipairs(x.settlements) do names[i] = 'g' .. s.grant end
  for i, v in ipairs(redis.call('HMGET', pkey, unpack(names))) do isOpen[x.settlements[i].grant] = v and true or false end
end
for _, a in ipairs(x.adoptions) do
  opened[a.grant] = true
  isOpen[a.grant] = true
  for _, index in ipairs(a.slots) do moveSlotOf(mine, index, 1) end
end

local function cut(index, grantedAt)
  local l = touch(index)
  local c = ceilings[l.id]
  if c and grantedAt <= c.cutAt then return end
  local current = effectiveOf(l)
  local probing = c ~= nil and c.probing
  local value = math.max(1, probing and current - 1 or math.floor(math.min(current, flight[l.id] or 0) / 2))
  local spacing = probing and math.min(MAX_PROBE, c.spacing * 2) or PROBE
  saveCeiling(l.id, { value = value, cutAt = now, changedAt = now, spacing = spacing, probing = false })
end

for _, s in ipairs(x.settlements) do
  if isOpen[s.grant] then
    isOpen[s.grant] = false
    opened[s.grant] = nil
    closed[#closed + 1] = 'g' .. s.grant
    for _, index in ipairs(s.cuts) do cut(index, s.grantedAtMs) end
    for _, index in ipairs(s.slots) do moveSlotOf(mine, index, -1) end
    for _, a in ipairs(s.adjustments) do
      local l = touch(a[1])
      if a[3] < 0 then refund(l, a[2], -a[3]) elseif a[3] > 0 then add(l, a[3]) end
    end
    local pool = pools[s.pool + 1]
    if pool and s.coolDownMs > tonumber(ctl['cool:' .. pool] or 0) then
      ctl['cool:' .. pool] = s.coolDownMs
      redis.call('HSET', KEYS[4], 'cool:' .. pool, int(s.coolDownMs))
    end
  end
end
dropHeads(me)

-- Adaptive ceilings climb by one when a probe is due and at least half is used.
for _, w in ipairs(x.waiters) do
  for _, charge in ipairs(w.charges) do touch(charge[1]) end
end
for _, index in ipairs(touched) do
  local l = loaded[index]
  local c = ceilings[l.id]
  if c and now - c.changedAt >= c.spacing and (flight[l.id] or 0) * 2 >= c.value then
    if c.value + 1 >= l.configured then
      saveCeiling(l.id, nil)
    else
      if c.probing then c.spacing = PROBE end
      c.value, c.changedAt, c.probing = c.value + 1, now, true
      saveCeiling(l.id, c)
    end
  end
end

-- What other processes' heads that came earlier need of a limit, unless they let their turn lapse.
local function olderHeads(l, since)
  local cost = 0
  for proc, h in pairs(heads[l.id] or {}) do
    local lapsed = h.fitAt > 0 and now >= h.fitAt + CLAIM
    if proc ~= me and h.since < since and not lapsed then cost = cost + h.cost end
  end
  return cost
end

local reserved, myHeads, blockedFlows = {}, {}, {}

local function becomeHead(w, index, cost, at)
  local l = loaded[index]
  reserved[index] = (reserved[index] or 0) + cost
  local fitAt = at == INF and 0 or at
  if not myHeads[l.id] then
    myHeads[l.id] = true
    redis.call('HSET', KEYS[3], l.id .. '|' .. me, int(w.sinceMs) .. '|' .. int(cost) .. '|' .. int(fitAt))
  end
  if fitAt > 0 then retry(fitAt) end
end

local function serve(w)
  for _, charge in ipairs(w.charges) do
    local l = loaded[charge[1]]
    if charge[2] > l.configured then
      refused[#refused + 1] = { grant = w.grant, limit = charge[1], max = l.configured }
      return
    end
  end
  local pool = pools[w.pool + 1] or ''
  local gate = math.max(learn, ctl['pause:' .. pool] and INF or tonumber(ctl['cool:' .. pool] or 0))
  if gate > now then
    if gate ~= INF then retry(gate) end
    blockedFlows[w.flow] = true
    return
  end
  local binding, bindingAt, bindingCost
  for _, charge in ipairs(w.charges) do
    local l = loaded[charge[1]]
    local need = charge[2] + (reserved[charge[1]] or 0) + olderHeads(l, w.sinceMs)
    local missing = need - (effectiveOf(l) - usedOf(l))
    if missing > 0 then
      local at = l.windowMs == 0 and INF or freeAt(l, missing) or now + CLAIM
      if not binding or at > bindingAt then binding, bindingAt, bindingCost = charge[1], at, charge[2] end
    end
  end
  if binding then
    becomeHead(w, binding, bindingCost, bindingAt)
    blockedFlows[w.flow] = true
    return
  end
  local buckets = {}
  for i, charge in ipairs(w.charges) do
    local l = loaded[charge[1]]
    if l.windowMs > 0 then
      buckets[i] = add(l, charge[2])
    else
      moveSlotOf(mine, charge[1], 1)
      buckets[i] = 0
    end
  end
  opened[w.grant] = true
  grants[#grants + 1] = { grant = w.grant, buckets = buckets }
end

for _, w in ipairs(x.waiters) do
  if not blockedFlows[w.flow] then serve(w) end
end

-- Wakes the heads of other processes that fit now and don't know it yet, oldest first.
for _, index in ipairs(touched) do
  local l = loaded[index]
  local queue = {}
  for proc, h in pairs(heads[l.id] or {}) do
    if proc ~= me then queue[#queue + 1] = { proc = proc, head = h } end
  end
  table.sort(queue, function(a, b)
    if a.head.since ~= b.head.since then return a.head.since < b.head.since end
    return a.proc < b.proc
  end)
  local free = #queue > 0 and effectiveOf(l) - usedOf(l) or 0
  for _, q in ipairs(queue) do
    local h = q.head
    if h.cost > free then break end
    free = free - h.cost
    if h.fitAt == 0 or h.fitAt > now then
      redis.call('HSET', KEYS[3], l.id .. '|' .. q.proc, int(h.since) .. '|' .. int(h.cost) .. '|' .. int(now))
      redis.call('PUBLISH', prefix .. 'wake:' .. q.proc, '1')
    end
  end
end

-- Write back: once per limit, once per process.
for _, index in ipairs(touched) do
  local l = loaded[index]
  if l.dirty then
    local bucket = math.floor(now / l.width)
    if l.added ~= 0 then
      redis.call('HINCRBY', l.bkey, int(bucket), l.added)
      if l.newest ~= bucket then redis.call('RPUSH', l.qkey, int(bucket)) end
      redis.call('HSET', l.bkey, 's', int(l.sum), 'l', int(bucket))
    elseif l.sum == 0 and redis.call('LLEN', l.qkey) == 0 then
      redis.call('DEL', l.bkey, l.qkey)
    else
      redis.call('HSET', l.bkey, 's', int(l.sum))
    end
    local ttl = l.windowMs + l.holdMs + l.width + 60000
    redis.call('PEXPIRE', l.bkey, ttl)
    redis.call('PEXPIRE', l.qkey, ttl)
  end
end
saveFlight()
if #closed > 0 then redis.call('HDEL', pkey, unpack(closed)) end
local result = reply(false)
local fields = { 'r', result }
for grant in pairs(opened) do
  fields[#fields + 1] = 'g' .. grant
  fields[#fields + 1] = '1'
end
redis.call('HSET', pkey, unpack(fields))
for id, by in pairs(mine) do
  if by ~= 0 and redis.call('HINCRBY', pkey, 's' .. id, by) == 0 then redis.call('HDEL', pkey, 's' .. id) end
end
redis.call('HSET', KEYS[2], me, int(now + x.leaseMs) .. '|' .. int(x.holdUntilMs) .. '|' .. int(x.seq) .. '|0')
saveMeta()
return result
