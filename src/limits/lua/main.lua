--[[ The exchange itself: see exchange.lua for what it is asked, reply.lua for what it answers. ]]
-- The roster and floors, when they changed since this process was last told: whole shares by largest remainder.
local function tellShare(m)
  scan()
  local living, names, isKnown = {}, {}, {}
  for _, other in ipairs(memberList) do
    if members[other.id] == other then
      local name = nameOf(other.id)
      if not isKnown[name] then
        isKnown[name] = true
        names[#names + 1] = name
      end
      if other.dead == 0 or other.aside > 0 then living[#living + 1] = other end
    end
  end
  -- What these spent before the state was lost may still count somewhere.
  for name in pairs(stillExpected()) do
    if not isKnown[name] then names[#names + 1] = name end
  end
  table.sort(names, isBefore)
  local rank, others = 0, {}
  for _, other in ipairs(living) do
    if other ~= m then
      if isBefore(other.id, me) then rank = rank + 1 end
      local floors = other.floors == '' and {} or unpackAll(other.floors)
      for i = 1, #floors, 2 do others[floors[i]] = (others[floors[i]] or 0) + floors[i + 1] end
    end
  end
  local floors, texts, isShort = {}, {}, false
  for s = 1, #S, 5 do
    local p = cAt[S[s]]
    local allowed = p and C[p + 7] >= 0 and C[p + 8] or S[s + 2]
    local whole = floor(allowed / #living) + (rank < allowed % #living and 1 or 0)
    local its = max(0, min(whole, allowed - (others[S[s]] or 0)))
    if its < whole then isShort = true end
    floors[#floors + 1], floors[#floors + 2] = S[s], its
    texts[#texts + 1] = int(its)
  end
  -- Somebody's floor is still that of a smaller fleet: this one's grows once that one was told.
  m.share, m.floors = isShort and 0 or rosterVersion, pack(floors)
  for i = 1, #names do names[i] = quote(names[i]) end
  share = '[[' .. concat(names, ',') .. '],[' .. concat(texts, ',') .. ']]'
end

-- How many steps from `tag` stay within `lead` of a rival's tag.
local function stepsUntil(tag, step, rival, lead)
  if not rival then return MAX_COSTS end
  if tag > rival + lead then return 0 end
  if step <= 0 then return MAX_COSTS end
  return floor((rival + lead - tag) / step) + 1
end

-- How many freed slots each of this process's flows may take over by itself; only where nothing but slots is taken.
local function handOff(P)
  if Q[P.at + 2] == 1 or earliest(P) > now then return end
  for _, i in ipairs(spec[3][P.index + 1] or {}) do
    if S[i * 5 + 4] > 0 then return end
  end
  open(P)
  while not P.isAll do
    local n = 0
    for _, T in ipairs(P.candidates) do
      if T.tag < P.boundTag or (T.tag == P.boundTag and not isBefore(P.boundName, T.name)) then n = n + 1 end
    end
    if n >= 8 then break end
    loadPage(P)
  end
  local top = P.candidates
  table.sort(top, function(a, b) return a.tag < b.tag or (a.tag == b.tag and isBefore(a.name, b.name)) end)
  local function rivalIn(T)
    local r, best = T.r, nil
    for p = 5, #r, 6 do
      if r[p + 3] == 2 and sub(r[p], 1, r[p + 1]) ~= me and (not best or r[p + 2] < best) then best = r[p + 2] end
    end
    return best
  end
  local rival
  for i = 1, min(#top, 8) do
    if rivalIn(top[i]) then
      rival = top[i]
      break
    end
  end
  for i = 1, min(#top, 8) do
    local T, mine = top[i], {}
    local r = T.r
    for p = 5, #r, 6 do
      if r[p + 3] == 2 and sub(r[p], 1, r[p + 1]) == me then mine[#mine + 1] = p end
    end
    table.sort(mine, function(a, b) return r[a + 2] < r[b + 2] or (r[a + 2] == r[b + 2] and isBefore(r[a], r[b])) end)
    local rivalTag = #mine > 0 and rivalIn(T) or nil
    for _, p in ipairs(mine) do
      local flow = flowOf(T, p)
      local D, slots = drawsOf(flow.draws), MAX_COSTS
      if not D or D.isRated then slots = 0 else
        for j = 1, D.n do slots = C[D[j].at + 5] > D[j].allowed and 0 or min(slots, D[j].allowed) end
      end
      if slots >= 1 then
        local service = serviceOf(flow, 0)
        local lead = service * slots
        local ofTenant = stepsUntil(T.tag, ceil(service / T.weight), rival and rival ~= T and rival.tag, lead)
        local ofFlow = stepsUntil(r[p + 2], ceil(service / flow.classWeight), rivalTag, lead)
        local shown = flow.perToken == 0 and flow.count or min(flow.count, flow.known)
        local count = min(MAX_COSTS, shown, ofTenant, ofFlow)
        if count > 0 then handoffs[#handoffs + 1] = '[' .. quote(flow.key) .. ',' .. count .. ']' end
      end
    end
  end
end

local function run()
  local active = {}
  for i = 1, #poolNames do
    local q = qAt[poolNames[i]]
    if q then
      local P = pools[poolNames[i]] or (Q[q + 9] > 0 and poolOf(poolNames[i]))
      if P and P.waiting > 0 then
        P.index = i - 1
        active[#active + 1] = P
      end
    end
  end
  local queued = {}
  for i = 1, #active do queued[i] = active[i] end
  local left = learnUntil > 0 and 0 or MAX_GRANTS
  while left > 0 do
    local P = active[1]
    if not P then break end
    for i = 2, #active do
      local its = active[i]
      if its.tag < P.tag or (its.tag == P.tag and isBefore(its.name, P.name)) then P = its end
    end
    if isFull(P) then
      without(active, P)
    else
      if not P.candidates then open(P) end
      local isServed = serveOne(P)
      if isServed == nil or P.waiting == 0 then without(active, P) end
      if isServed then left = left - 1 end
    end
  end
  if left == 0 and learnUntil == 0 then retry(now + 1) end
  for i = 1, #queued do
    local P = queued[i]
    if P.waiting > 0 then
      queues[#queues + 1] = '[' .. P.index .. ',' .. int(P.frontAt) .. ',' .. int(P.load) .. ',' .. P.waiting .. ']'
      handOff(P)
    end
  end
end

local known = memberOf(me)
if known and known.dead == 0 and seq <= known.seq then
  local its = call('HGET', base .. 'last', me)
  saveLimits()
  save()
  return its
end
if seq ~= 1 and (not known or known.dead == 1) then
  saveLimits()
  local its = replyText(true)
  save()
  return its
end
if seq == 1 then
  known = join()
  isNew(base .. 'procs')
  isNew(base .. 'last')
end
local m = known
m.expires, m.hold, m.isolated, m.seq, m.isDirty = now + x[3], x[4], x[5], seq, true
m.ghost = m.expires + spec[4]
due = min(due, m.expires)
keep = max(keep, m.ghost, m.hold, m.expires + m.isolated)
if #x[19] > 0 then prefetch(x[19], 4, 1, 2) end
settle(m)
if isLeaving then
  takeBackMail(m)
  drop(me)
  releaseSlots(m)
  m.dead, m.floors, m.aside = 1, '', 0
  rosterVersion = rosterVersion + 1
  due = min(due, m.ghost)
else
  if #x[20] > 13 then prefetch(x[20], 13, 2, 3) end
  state(m)
end
if learnUntil > 0 then conclude() end
grow()
if learnUntil > 0 then retry(learnUntil) end
run()
post()
saveLimits()
if not isLeaving and m.share ~= rosterVersion then tellShare(m) end
local result = replyText(false)
call('HSET', base .. 'last', me, result)
save()
return result
