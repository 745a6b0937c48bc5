--[[
Last part: one exchange of a process with its group, in the order of memory-group.ts.

ARGV[3]  the exchange as JSON, by place: [processId, seq, leaseMs, holdUntilMs, isolatedMs, knownEpoch, knownVersion,
         candidateEpoch, distrust, subscribed, leave, held, journal, adjustments, freed, cuts, coolDowns, observed, service,
         flows]; pairs and triples flat; a flow is 13 values, its draws are ids, its costs text.
Returns  the reply as JSON, by place (see redis-store.ts)
]]
-- What the process settles: cuts, slots and corrections, what it heard and felt.
local function settle(m)
  local cuts, isNews = x[16], false
  for i = 1, #cuts, 2 do
    local l, grantedAt = limitAt(cuts[i]), cuts[i + 1]
    local p = l.at
    local value, proven, cutAt, _, spacing, isProbing
    if C[p + 12] ~= '' then value, proven, cutAt, _, spacing, isProbing = unpackAll(C[p + 12]) end
    if not value or grantedAt > cutAt then
      local current = effective(l)
      local reduced = l.window == 0 and min(current, C[p + 5]) / 2 or current * 3 / 4
      if isProbing == 1 then
        value, spacing = max(1, min(proven, current)), min(MAX_PROBE_MS, spacing * 2)
      else
        value, spacing = max(1, floor(reduced)), min(MAX_PROBE_MS, PROBE_MS * 2)
      end
      C[p + 12] = pack(value, value, now, now, spacing, 0)
      -- Nobody may go on handing slots over that are no more.
      isNews = true
    end
  end
  local freed = x[15]
  for i = 1, #freed, 2 do moveSlots(m, limitAt(freed[i]).id, -freed[i + 1]) end
  -- A journal just replayed holds every correction already.
  local adjustments = isReplayed and {} or x[14]
  for i = 1, #adjustments, 3 do
    local l, delta = limitAt(adjustments[i]), adjustments[i + 2]
    if l.window > 0 then
      if delta < 0 then
        refund(l, adjustments[i + 1], -delta)
      elseif delta > 0 then
        add(l, floor(now / l.width), delta)
      end
    end
  end
  local observed = x[18]
  for i = 1, #observed, 4 do
    local l = limitAt(observed[i])
    local p = l.at
    -- `remaining` only ever tightens: what the provider counts beyond our own is somebody else's.
    local foreign = max(0, observed[i + 2] - (l.window == 0 and C[p + 5] or l.sum))
    C[p + 9], C[p + 10], C[p + 11] = observed[i + 1], foreign, observed[i + 3]
    keep = max(keep, observed[i + 3])
  end
  local service = x[19]
  for i = 1, #service, 4 do
    local P, tenant, delta = poolOf(poolNames[service[i] + 1]), service[i + 1], service[i + 3]
    if P.waiting > 0 then
      P.tag = max(0, P.tag + delta)
      local T = tenantOf(P, tenant)
      if T then
        T.tag, T.isDirty = max(0, T.tag + ceil(delta / T.weight)), true
        local p, r = findFlow(T, me .. '|' .. service[i + 2]), T.r
        if p and (r[p + 3] > 0 or r[p + 2] > T.virtual) then
          r[p + 2] = max(0, r[p + 2] + ceil(delta / r[p + 5]))
        end
      else
        keepIdle(P, tenant, max(idleTag(P, tenant), P.virtual) + delta)
      end
    end
  end
  local coolDowns = x[17]
  for i = 1, #coolDowns, 2 do
    local untilMs = coolDowns[i + 1]
    local q = placePool(poolNames[coolDowns[i] + 1])
    if untilMs > now and (Q[q + 4] == 0 or untilMs > Q[q + 3]) then
      Q[q + 3], Q[q + 4], Q[q + 5] = untilMs, Q[q + 4] + 1, 0
      keep, isNews = max(keep, untilMs), true
    end
  end
  if isNews then call('PUBLISH', all, me) end
end

-- What waits in the mailbox goes into the reply; how many grants each flow had there.
local function collect(m)
  local counts = {}
  if m.mailAt == 0 then return counts end
  local key = base .. 'mail:' .. me
  for _, chunk in ipairs(call('LRANGE', key, 0, -1)) do
    local mail = { unpackAll(chunk) }
    for i = 1, #mail, 4 do
      giveText(mail[i], mail[i + 2])
      counts[mail[i]] = (counts[mail[i]] or 0) + mail[i + 1]
    end
  end
  call('DEL', key)
  m.mailAt = 0
  return counts
end

local function skipCosts(flow, n)
  local load = 0
  for _ = 1, min(n, flow.known) do
    load = load + serviceOf(flow, headOf(flow))
    flow.pos, flow.tokens, flow.known = flow.next, false, flow.known - 1
  end
  return load
end

-- Tenants that this exchange will touch, in one read a pool.
local function prefetch(list, width, poolPlace, tenantPlace)
  local names
  for i = 0, #list - 1, width do
    local P = poolOf(poolNames[list[i + poolPlace] + 1])
    local tenant = list[i + tenantPlace]
    if P.isStored and P.tenants[tenant] == nil then
      P.tenants[tenant] = false
      names = names or {}
      names[P] = names[P] or {}
      names[P][#names[P] + 1] = tenant
    end
  end
  for P, its in pairs(names or {}) do loadTenants(P, its) end
end

local function state(m)
  local counts = collect(m)
  restate, m.restate = m.restate, 0
  local flows = x[20]
  for i = 0, #flows - 1, 13 do
    local key, P, tenant = flows[i + 1], poolOf(poolNames[flows[i + 2] + 1]), flows[i + 3]
    local gone = counts[key] or 0
    local count, id = flows[i + 9] - gone, me .. '|' .. key
    local T = P.waiting > 0 and tenantOf(P, tenant)
    local p = T and findFlow(T, id)
    if count <= 0 then
      if p and T.r[p + 3] > 0 then emptyFlow(P, T, p) end
    else
      if P.waiting == 0 then
        P.tag, P.virtual, P.load, P.tenantCount = virtual + 1, 0, 0, 0
        treeSize = treeSize + 1
      end
      if not T then
        T = { name = tenant, pool = P, r = { 0, 0, 0, 0 }, weight = 1, tag = max(idleTag(P, tenant), P.virtual + 1), virtual = 0,
          waiting = 0, storedTag = -1, isStored = false, isDirty = true, F = {}, moved = false, blocked = false }
        if P.hasIdle or P.idle then keepIdle(P, tenant, 0) end
        P.tenants[tenant], P.log[#P.log + 1], P.tenantCount = T, T, P.tenantCount + 1
      end
      T.weight, T.isDirty = flows[i + 4], true
      local r = T.r
      if not p then
        p = #r + 1
        r[p], r[p + 1], r[p + 2], r[p + 3], r[p + 4], r[p + 5] = id, #me, 0, 0, 0, 0
      end
      if r[p + 3] == 0 then
        r[p + 2] = max(r[p + 2], T.virtual + 1)
        T.waiting, P.waiting = T.waiting + 1, P.waiting + 1
        T.moved = T.moved or {}
        T.moved[p] = (T.moved[p] or 0) + 1
      end
      local flow = { id = id, key = key, processId = me, draws = flows[i + 6], classWeight = flows[i + 5], base = flows[i + 7],
        perToken = flows[i + 8], count = count, since = flows[i + 11], known = flows[i + 13], costs = flows[i + 12], pos = 1,
        next = 1, tokens = false, isDirty = true, dated = false, given = 0 }
      local load = flows[i + 10]
      if gone > 0 then load = max(0, load - skipCosts(flow, gone)) end
      P.load = P.load + load - r[p + 4]
      r[p + 3], r[p + 4], r[p + 5] = (flow.known > 0 or flow.perToken == 0) and 2 or 1, load, flow.classWeight
      T.F[p] = flow
    end
  end
end

-- Ends learning when all have replayed, or when those who have not can't be waited for any longer.
local function conclude()
  local isComplete = heard == 1
  for name in pairs(expected) do isComplete = isComplete and replayed[name] ~= nil end
  if not isComplete and now < learnUntil then return end
  local n = #S / 5
  for i = 0, n - 1 do
    local l = limitAt(i)
    if l.window > 0 then
      local free = said(l, effective(l)) - C[l.at + 6] - l.sum
      local lost = (isComplete or heard == 0) and 0 or free
      local remembered, unknown = 0, lost
      if l.window >= LONG_WINDOW_MS then
        remembered = (learnUsed[l.id] or 0) - l.sum
        -- What the same owner allows in a short window of the same dimension, twice; without one, everything.
        local owner, short = string.match(l.id, '^(.*:)') or '', math.huge
        for s = 1, n * 5, 5 do
          if S[s + 3] > 0 and S[s + 3] < LONG_WINDOW_MS and sub(S[s], 1, #owner) == owner then
            short = min(short, 2 * S[s + 2])
          end
        end
        unknown = min(lost, remembered + short)
      end
      local amount = max(0, min(free, max(unknown, remembered)))
      if amount > 0 then add(l, floor((started + HORIZON_MS) / l.width), amount) end
    end
  end
  learnUntil, learn = 0, pack(0, expected, {}, {})
end

-- Ceilings climb by a step when a probe is due and at least half is used.
local function grow()
  for s = 1, #S, 5 do
    local p = cAt[S[s]]
    if p and C[p + 12] ~= '' then
      local value, proven, cutAt, changedAt, spacing, isProbing = unpackAll(C[p + 12])
      local l = limitAt((s - 1) / 5)
      local used, conf = l.window == 0 and C[p + 5] or l.sum, configured(l)
      if now - changedAt >= spacing and used * 2 >= value then
        if value >= conf then
          C[p + 12] = ''
        else
          local step = l.window == 0 and 1 or max(1, ceil(l.limit / 20))
          C[p + 12] = pack(min(conf, value + step), value, cutAt, now, isProbing == 1 and PROBE_MS or spacing, 1)
        end
      end
    end
  end
end
