--[[ Sixth part of the exchange: mail, what the process waits for, the end of learning, ceilings that climb. ]]
local grantTexts, grantKeys, restate, learnAskAt = {}, {}, 0, 0

local function giveText(key, its)
  local texts = grantTexts[key]
  if not texts then
    texts = {}
    grantTexts[key] = texts
    grantKeys[#grantKeys + 1] = key
  end
  texts[#texts + 1] = its
end

-- The first cost that a flow shows.
local find = string.find
local function headOf(flow)
  local tokens = flow.tokens
  if tokens then return tokens end
  if flow.known == 0 then
    -- Where no limit counts tokens all cost the same, and none is named.
    tokens, flow.text = 0, '0'
  else
    local _, at, its = find(flow.costs, '^([^,]+)', flow.pos)
    tokens, flow.text, flow.next = its + 0, its, at + 2
  end
  flow.tokens = tokens
  return tokens
end

-- Service that a request of `tokens` costs its flow.
local function serviceOf(flow, tokens)
  local service, perToken = flow.base, flow.perToken
  if perToken == 0 then return service end
  return max(service, ceil(tokens * perToken / 1000))
end

if isLive and not isLeaving then
  -- What waits in the mailbox goes into the reply; how many grants each flow had there.
  local counts = false
  if mine.mailAt > 0 then
    counts = {}
    local key = base .. 'mail:' .. me
    for _, chunk in ipairs(call('LRANGE', key, 0, -1)) do
      local mail = { unpackAll(chunk) }
      for i = 1, #mail, 4 do
        giveText(mail[i], mail[i + 2])
        counts[mail[i]] = (counts[mail[i]] or 0) + mail[i + 1]
      end
    end
    call('DEL', key)
    mine.mailAt = 0
  end
  restate, mine.restate = mine.restate, 0
  local flows = x[20]
  for i = 0, #flows - 1, 13 do
    local key, P, tenant = flows[i + 1], poolOf(poolNames[flows[i + 2] + 1]), flows[i + 3]
    local granted = counts and counts[key] or 0
    local count, id = flows[i + 9] - granted, me .. '|' .. key
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
          waiting = 0, storedTag = -1, isStored = false, isDirty = true, F = {}, unread = false,
          moved = false, blocked = false }
        if P.hasIdle or P.idle then idleTag(P, tenant, 0) end
        P.tenants[tenant], P.log[#P.log + 1], P.tenantCount = T, T, P.tenantCount + 1
      end
      T.weight, T.isDirty = flows[i + 4], true
      local r = T.r
      if not p then
        -- Flows stay in the order of their ids, so that the first of equal tags is the one to be found.
        local size = #r
        p = size + 1
        while p > 5 and isBefore(id, r[p - 6]) do p = p - 6 end
        for k = size, p, -1 do r[k + 6] = r[k] end
        if p <= size then
          for _, field in ipairs({ 'F', 'moved' }) do
            local byPlace = {}
            for at, its in pairs(T[field] or byPlace) do byPlace[at < p and at or at + 6] = its end
            T[field] = byPlace
          end
        end
        r[p], r[p + 1], r[p + 2], r[p + 3], r[p + 4], r[p + 5] = id, #me, 0, 0, 0, 0
      end
      if r[p + 3] == 0 then
        r[p + 2] = max(r[p + 2], T.virtual + 1)
        T.waiting, P.waiting = T.waiting + 1, P.waiting + 1
        T.moved = T.moved or {}
        T.moved[p] = (T.moved[p] or 0) + 1
      end
      local flow = { key = key, processId = me, draws = flows[i + 6], classWeight = flows[i + 5], base = flows[i + 7],
        perToken = flows[i + 8], count = count, since = flows[i + 11], known = flows[i + 13], costs = flows[i + 12], pos = 1,
        next = 1, tokens = false, text = '', isDirty = true, dated = false }
      local load = flows[i + 10]
      if granted > 0 then
        for _ = 1, min(granted, flow.known) do
          load = load - serviceOf(flow, headOf(flow))
          flow.pos, flow.tokens, flow.known = flow.next, false, flow.known - 1
        end
        load = max(0, load)
      end
      P.load = P.load + load - r[p + 4]
      r[p + 3], r[p + 4], r[p + 5] = (flow.known > 0 or flow.perToken == 0) and 2 or 1, load, flow.classWeight
      T.F[p] = flow
    end
  end
end

-- Ends learning when all have replayed, or when those who have not can't be waited for any longer.
if isLive and learnUntil > 0 then
  local isComplete = heard == 1
  for name in pairs(expected) do isComplete = isComplete and back[name] ~= nil end
  -- Those that nobody knew of have had time to come.
  learnAskAt = isComplete and started + HEARSAY_MS or learnUntil
  if now >= learnAskAt then
    local n = #S / 5
    for i = 0, n - 1 do
      local l = limitAt(i)
      if l.window > 0 then
        -- A limit that was lowered since they spent may be raised again.
        local rest = rare().mostOf(l.id, l.limit) - l.sum
        local lost = (isComplete or not (heard == 1 or next(expected))) and 0 or rest
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
        local amount = max(0, min(rest, max(unknown, remembered)))
        local bucket = floor((started + HORIZON_MS) / l.width)
        -- Who comes back late may find that it counts no more.
        if amount > 0 and (bucket + 1) * l.width + l.window + l.hold > now then add(l, bucket, amount) end
      end
    end
    learnUntil, learnUsed, isTaught = 0, {}, true
    rare().setMissing()
    call('PUBLISH', all, me)
  end
end

-- Ceilings climb by a step when a probe is due and at least half is used.
for s = 1, isLive and #S or 0, 5 do
  local p = cAt[S[s]]
  if p and C[p + 12] ~= '' then
    local value, _, cutAt, changedAt, spacing, isProbing = unpackAll(C[p + 12])
    local l = limitAt((s - 1) / 5)
    local used, conf = l.window == 0 and C[p + 5] or l.sum, standing(l)
    if now - changedAt >= spacing and used * 2 >= value then
      isWordy = true
      if value >= conf then
        C[p + 12] = ''
      else
        local step = l.window == 0 and 1 or max(1, ceil(l.limit / 20))
        C[p + 12] = pack(min(conf, value + step), value, cutAt, now, isProbing == 1 and PROBE_MS or spacing, 1)
      end
    end
  end
end
