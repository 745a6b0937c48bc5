--[[
Fifth part of the exchange: what the process settles, in the order of memory-group.ts.

ARGV[3]  the exchange as JSON, by place: [processId, seq, leaseMs, holdUntilMs, isolatedMs, knownEpoch, knownVersion,
         candidateEpoch, distrust, subscribed, leave, held, journal, adjustments, freed, cuts, coolDowns, observed, service,
         flows, floors, server]; pairs and triples flat; a flow is 13 values, its draws are ids, its costs text; server is
         0 on a connection that was used before, 1 to look who answers, or a name in its place.
]]
local isLeaving = x[11] == 1
if isLive then
  local cuts, isNews = x[16], false
  for i = 1, #cuts, 2 do
    local l, grantedAt = limitAt(cuts[i]), cuts[i + 1]
    local p = l.at
    local value, proven, cutAt, changedAt, spacing, isProbing
    if C[p + 12] ~= '' then value, proven, cutAt, changedAt, spacing, isProbing = unpackAll(C[p + 12]) end
    if not value or grantedAt > cutAt then
      local current = C[p + 7] >= 0 and C[p + 8] or l.limit
      if value and value < current then current = value end
      if isProbing == 1 and grantedAt >= changedAt then
        value, spacing = max(1, min(proven, current)), min(MAX_PROBE_MS, spacing * 2)
      elseif isProbing == 1 then
        -- The probe overtook it, or the proven level holds no more.
        local step = l.window == 0 and 1 or max(1, ceil(l.limit / 20))
        value, spacing = max(1, min(proven, current) - step), min(MAX_PROBE_MS, PROBE_MS * 2)
      else
        local reduced = l.window == 0 and min(current, C[p + 5]) / 2 or current * 3 / 4
        value, spacing = max(1, floor(reduced)), min(MAX_PROBE_MS, PROBE_MS * 2)
      end
      C[p + 12] = pack(value, value, now, now, spacing, 0)
      isWordy = true
      -- Nobody may go on handing slots over that are no more.
      isNews = true
    end
  end
  local freed = x[15]
  for i = 1, #freed, 2 do moveSlots(mine, limitAt(freed[i]).id, -freed[i + 1]) end
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
  -- Tenants that are touched below, in one read a pool.
  local service, flows = x[19], isLeaving and {} or x[20]
  if #service > 4 or #flows > 13 then
    local names, lists = {}, {}
    local function want(P, tenant)
      if not P.isStored or P.tenants[tenant] ~= nil then return end
      P.tenants[tenant] = false
      local list = names[P]
      if not list then
        list = {}
        names[P] = list
        lists[#lists + 1] = P
      end
      list[#list + 1] = tenant
    end
    for i = 1, #service, 4 do want(poolOf(poolNames[service[i] + 1]), service[i + 1]) end
    for i = 1, #flows, 13 do want(poolOf(poolNames[flows[i + 1] + 1]), flows[i + 2]) end
    for i = 1, #lists do loadTenants(lists[i], names[lists[i]]) end
  end
  for i = 1, #service, 4 do
    local P, tenant, delta = poolOf(poolNames[service[i] + 1]), service[i + 1], service[i + 3]
    if P.waiting > 0 then
      P.tag, P.isMoved = max(0, P.tag + delta), true
      local T = tenantOf(P, tenant)
      if T then
        T.tag, T.isDirty = max(0, T.tag + ceil(delta / T.weight)), true
        local p, r = findFlow(T, me .. '|' .. service[i + 2]), T.r
        if p and (r[p + 3] > 0 or r[p + 2] > T.virtual) then r[p + 2] = max(0, r[p + 2] + ceil(delta / r[p + 5])) end
      else
        idleTag(P, tenant, max(idleTag(P, tenant), P.virtual) + delta)
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

-- Who goes holds nothing, but its name is remembered as long as what it spent.
if isLive and isLeaving then
  local R = rare()
  R.takeBackMail(mine)
  R.drop(me)
  R.releaseSlots(mine)
  mine.dead, mine.floors, mine.told, mine.aside = 1, '', '', 0
  rosterVersion = rosterVersion + 1
  due = min(due, mine.ghost)
end
