--[[ Last part of the exchange: all that changed is written, each key once; then the exchange itself. ]]
local created = {}
local function isNew(key) created[#created + 1] = key end

local function saveLimits()
  for _, l in pairs(limits) do
    if l.pb >= 0 then
      charge(l, l.pb, l.pa)
      for bucket, amount in pairs(l.pend) do add(l, bucket, amount) end
    end
    if l.isDirty then
      local p = l.at
      C[p + 2], C[p + 3], C[p + 4] = l.sum, l.first, l.last
      if l.isDropped then call('DEL', l.key) elseif #l.gone > 0 then
        for i = 1, #l.gone, 1000 do call('HDEL', l.key, unpack(l.gone, i, min(#l.gone, i + 999))) end
      end
      if l.touched then
        local args, n = { l.key }, 1
        for b, cells in pairs(l.touched) do
          args[n + 1], args[n + 2] = b, pack(unpack(cells))
          n = n + 2
        end
        for i = 2, n, 1000 do call('HSET', l.key, unpack(args, i, min(n, i + 999))) end
        if not l.isStored then isNew(l.key) end
      end
    end
  end
end

-- Grants of other processes go to their mailboxes; who had none is woken.
local function post()
  local boxes = false
  for i = 1, #grantedFlows do
    local flow = grantedFlows[i]
    local m = memberOf(flow.processId)
    local its = concat(flow.dated, ',')
    local D = drawsOf(flow.draws)
    for j = 1, D.n do
      local l = D[j]
      if l.window == 0 then
        -- The limit's own count has risen already, grant by grant.
        C[l.at + 5] = C[l.at + 5] - flow.given
        moveSlots(m, l.id, flow.given)
      end
    end
    if flow.processId == me then
      giveText(flow.key, its)
    else
      boxes = boxes or {}
      local box = boxes[m]
      if not box then
        box = {}
        boxes[m] = box
        boxes[#boxes + 1] = m
      end
      local n = #box
      box[n + 1], box[n + 2], box[n + 3], box[n + 4] = flow.key, flow.given, its, flow.draws
    end
  end
  if not boxes then return end
  for i = 1, #boxes do
    local m = boxes[i]
    local key = base .. 'mail:' .. m.id
    call('RPUSH', key, pack(unpack(boxes[m])))
    if m.mailAt == 0 then
      m.mailAt, m.isDirty = now, true
      due = min(due, now + CLAIM_MS)
      isNew(key)
      call('PUBLISH', prefix .. 'wake:' .. m.id, '1')
    end
  end
end

-- Writes a key's fields at once, a bounded number of arguments a call.
local function each(command, key, args)
  for i = 1, #args, 2000 do call(command, key, unpack(args, i, min(#args, i + 1999))) end
end

-- What is set comes first, so that a key never vanishes in between, with its time to live.
local function exchangeFields(set, take, key, sets, takes, place)
  each(set, key, sets)
  if #takes == 0 then return end
  local isSet, left = {}, {}
  for i = place, #sets, 2 do isSet[sets[i]] = true end
  for i = 1, #takes do
    if not isSet[takes[i]] then left[#left + 1] = takes[i] end
  end
  each(take, key, left)
end

local joins, parts = {}, {}
local function move(flowId, processId, P, T, by)
  local moves = joins[processId]
  if not moves then
    moves = {}
    joins[processId] = moves
  end
  local its = pack(P.name, T.name, flowId)
  moves[its] = (moves[its] or 0) + by
end

local function saveTenant(P, T, out)
  local r, isAlive = T.r, P.tenants[T.name] == T
  if T.moved then
    for p, by in pairs(T.moved) do
      if by ~= 0 then
        move(r[p], sub(r[p], 1, r[p + 1]), P, T, by)
        if by < 0 and not (P.isDoomed and T.isStored) then out.hdelF[#out.hdelF + 1] = fieldOf(T, p) end
      end
    end
  end
  if not isAlive then
    if T.isStored and not P.isDoomed then
      out.hdelN[#out.hdelN + 1], out.zrem[#out.zrem + 1] = T.name, T.name
    end
    return
  end
  for p, flow in pairs(T.F) do
    if flow.isDirty and r[p + 3] > 0 then
      local n = #out.hsetF
      out.hsetF[n + 1], out.hsetF[n + 2] = fieldOf(T, p), pack(flow.draws, flow.classWeight, flow.base, flow.perToken,
        flow.count, flow.since, flow.known, sub(flow.costs, flow.pos))
    end
  end
  if not T.isDirty then return end
  -- A finish tag is kept until virtual time has passed it.
  local w = { T.weight, T.tag, T.virtual, T.waiting }
  local n = 4
  for p = 5, #r, 6 do
    if r[p + 3] > 0 or r[p + 2] > T.virtual then
      w[n + 1], w[n + 2], w[n + 3], w[n + 4], w[n + 5], w[n + 6] = r[p], r[p + 1], r[p + 2], r[p + 3], r[p + 4], r[p + 5]
      n = n + 6
    end
  end
  n = #out.hsetN
  out.hsetN[n + 1], out.hsetN[n + 2] = T.name, pack(w)
  if T.tag ~= T.storedTag then
    n = #out.zadd
    out.zadd[n + 1], out.zadd[n + 2] = int(T.tag), T.name
  end
end

local function savePool(P)
  local q, name = P.at, P.name
  local t, n, f, idleKey = base .. 't:' .. name, base .. 'n:' .. name, base .. 'f:' .. name, base .. 'i:' .. name
  if P.isDoomed then call('DEL', t, n, f, idleKey) end
  local out = { hdelF = {}, hdelN = {}, zrem = {}, hsetF = {}, hsetN = {}, zadd = {} }
  for i = 1, #P.log do saveTenant(P, P.log[i], out) end
  Q[q + 6], Q[q + 7], Q[q + 8], Q[q + 9] = P.tag, P.virtual, P.load, P.waiting
  if P.waiting == 0 then
    Q[q + 7], Q[q + 8], Q[q + 10], Q[q + 11] = 0, 0, 0, 0
    return
  end
  if not P.isStored then
    isNew(t)
    isNew(n)
    isNew(f)
  end
  exchangeFields('HSET', 'HDEL', f, out.hsetF, out.hdelF, 1)
  exchangeFields('HSET', 'HDEL', n, out.hsetN, out.hdelN, 1)
  exchangeFields('ZADD', 'ZREM', t, out.zadd, out.zrem, 2)
  if P.idle then
    local zadd, zrem = {}, {}
    for tenant, tag in pairs(P.idle) do
      if tag then zadd[#zadd + 1], zadd[#zadd + 2] = int(tag), tenant elseif P.hasIdle then zrem[#zrem + 1] = tenant end
    end
    each('ZREM', idleKey, zrem)
    if P.hasIdle then call('ZREMRANGEBYSCORE', idleKey, '-inf', int(P.virtual)) end
    each('ZADD', idleKey, zadd)
    if #zadd > 0 then
      P.hasIdle = true
      isNew(idleKey)
    end
  end
  Q[q + 10], Q[q + 11] = P.tenantCount, P.hasIdle and 1 or 0
end

local function saveTree()
  for _, P in pairs(pools) do
    if #P.log > 0 or P.isDoomed then savePool(P) elseif P.waiting > 0 then
      Q[P.at + 6] = P.tag
      if P.idle then savePool(P) end
    end
  end
  for id, moves in pairs(joins) do
    local sadd, srem, key = {}, {}, base .. 'w:' .. id
    for its, by in pairs(moves) do
      if by > 0 then sadd[#sadd + 1] = its elseif by < 0 then srem[#srem + 1] = its end
    end
    each('SADD', key, sadd)
    each('SREM', key, srem)
    if #sadd > 0 then isNew(key) end
  end
end

local function saveMembers()
  local procs = base .. 'procs'
  local args, n = {}, 0
  for i = 1, #memberList do
    local m = memberList[i]
    if m.isDirty and members[m.id] == m then
      args[n + 1], args[n + 2] = m.id, pack(m.expires, m.hold, m.isolated, m.seq, m.dead, m.aside, m.ghost, m.restate, m.share,
        m.mailAt, m.slots, m.floors)
      n = n + 2
    end
  end
  each('HSET', procs, args)
  local left = {}
  for i = 1, #gone do
    if members[gone[i]] == false then left[#left + 1] = gone[i] end
  end
  each('HDEL', procs, left)
  each('HDEL', base .. 'last', left)
  for i = 1, #left do call('DEL', base .. 'mail:' .. left[i], base .. 'w:' .. left[i]) end
end

-- Every key lives as long as the core at least: twice as long as what it promises, set anew when that has come near.
local function keepAlive()
  if keep <= safe then
    for i = 1, #created do call('PEXPIRE', created[i], int(safe - now)) end
    return
  end
  safe = now + 2 * (keep - now)
  local ttl = int(safe - now)
  scan()
  for _, name in ipairs({ 'procs', 'last' }) do call('PEXPIRE', base .. name, ttl) end
  for p = 0, #C - 12, 12 do
    if C[p + 4] >= 0 then call('PEXPIRE', base .. 'b:' .. C[p + 1], ttl) end
  end
  for q = 0, #Q - 11, 11 do
    if Q[q + 9] > 0 then
      for _, kind in ipairs({ 't:', 'n:', 'f:', 'i:' }) do call('PEXPIRE', base .. kind .. Q[q + 1], ttl) end
    end
  end
  for id, m in pairs(members) do
    if m then
      call('PEXPIRE', base .. 'mail:' .. id, ttl)
      call('PEXPIRE', base .. 'w:' .. id, ttl)
    end
  end
end

local function save()
  keep = max(keep, now + spec[5])
  saveTree()
  saveMembers()
  if learnUntil > 0 then
    keep = max(keep, learnUntil)
    learn = pack(heard, expected, replayed, learnUsed)
  elseif learn ~= '' and now >= started + spec[5] then
    learn = ''
  end
  if treeSize == 0 then virtual = 0 end
  keepAlive()
  saveCore()
  if isWordy then saveWords() end
end
