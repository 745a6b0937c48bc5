--[[ Ninth part of the exchange: of every queue, and what a process may do in it without asking; the roster and floors. ]]
local queues, handoffs, share = {}, {}, 'null'
for i = 1, #queued do
  local P = queued[i]
  local isWaiting = P.waiting > 0
  if isWaiting then queues[#queues + 1] = format('[%d,%.0f,%.0f,%d]', P.index, P.frontAt, P.load, P.waiting) end
  -- How many freed slots each flow may take over by itself: a round of the pool ahead of everybody else, no further.
  local offers = isWaiting and Q[P.at + 2] <= 0 and earliest(P) <= now
  for _, j in ipairs(offers and spec[3][P.index + 1] or {}) do
    if S[j * 5 + 4] > 0 then offers = false end
  end
  if offers then
    local function byTag(a, b) return a.tag < b.tag or (a.tag == b.tag and isBefore(a.name, b.name)) end
    local function rivalIn(T)
      local r, best = T.r, nil
      for p = 5, #r, 6 do
        if r[p + 3] == 2 and sub(r[p], 1, r[p + 1]) ~= me and (not best or r[p + 2] < best) then best = r[p + 2] end
      end
      return best
    end
    -- How many steps from `tag` stay within `lead` of a rival's tag.
    local function stepsUntil(tag, step, rival, lead)
      if not rival then return MAX_COSTS end
      if tag > rival + lead then return 0 end
      if step <= 0 then return MAX_COSTS end
      return floor((rival + lead - tag) / step) + 1
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
    local top, rival = P.candidates, nil
    table.sort(top, byTag)
    for j = 1, min(#top, 8) do
      if rivalIn(top[j]) then
        rival = top[j]
        break
      end
    end
    for j = 1, min(#top, 8) do
      local T, own = top[j], {}
      local r = T.r
      for p = 5, #r, 6 do
        if r[p + 3] == 2 and sub(r[p], 1, r[p + 1]) == me then own[#own + 1] = { tag = r[p + 2], name = r[p], p = p } end
      end
      table.sort(own, byTag)
      local rivalTag = #own > 0 and rivalIn(T)
      for _, its in ipairs(own) do
        local flow = flowOf(T, its.p)
        local D, slots = drawsOf(flow.draws), MAX_COSTS
        if D.isUnknown or D.isRated then slots = 0 end
        for k = 1, slots > 0 and D.n or 0 do
          slots = C[D[k].at + 5] > D[k].allowed and 0 or min(slots, D[k].allowed)
        end
        if slots >= 1 then
          local service = serviceOf(flow, 0)
          local lead = service * slots
          local ofTenant = stepsUntil(T.tag, ceil(service / T.weight), rival and rival ~= T and rival.tag, lead)
          local ofFlow = stepsUntil(its.tag, ceil(service / flow.classWeight), rivalTag, lead)
          local shown = flow.perToken == 0 and flow.count or min(flow.count, flow.known)
          local count = min(MAX_COSTS, shown, ofTenant, ofFlow)
          if count > 0 then handoffs[#handoffs + 1] = '[' .. cjson.encode(flow.key) .. ',' .. count .. ']' end
        end
      end
    end
  end
end

-- When they changed since this process was last told. Floors are whole shares by largest remainder.
if isLive and not isLeaving and mine.share ~= rosterVersion then
  local R = rare()
  R.scan()
  local living, rank, names, isKnown, others = 0, 0, {}, {}, {}
  local function name(its)
    if isKnown[its] then return end
    isKnown[its] = true
    names[#names + 1] = its
  end
  for _, m in ipairs(memberList) do
    if members[m.id] == m then
      if m.id ~= '?' then name(R.nameOf(m.id)) end
      if m.dead == 0 or m.aside > 0 then
        living = living + 1
        local floors = (m == mine or m.floors == '') and {} or unpackAll(m.floors)
        for i = 1, #floors, 2 do others[floors[i]] = (others[floors[i]] or 0) + floors[i + 1] end
        if m ~= mine and isBefore(m.id, me) then rank = rank + 1 end
      end
    end
  end
  -- What these spent before the state was lost may still count somewhere.
  for its in pairs(R.stillExpected()) do name(its) end
  table.sort(names, isBefore)
  local floors, texts, isShort = {}, {}, false
  for s = 1, #S, 5 do
    local p = cAt[S[s]]
    local allowed = p and C[p + 7] >= 0 and C[p + 8] or S[s + 2]
    local whole = floor(allowed / living) + (rank < allowed % living and 1 or 0)
    local its = max(0, min(whole, allowed - (others[S[s]] or 0)))
    if its < whole then isShort = true end
    floors[#floors + 1], floors[#floors + 2] = S[s], its
    texts[#texts + 1] = format('%.0f', its)
  end
  -- Somebody's floor is still that of a smaller fleet: this one's grows once that one was told.
  mine.share, mine.told = isShort and 0 or rosterVersion, pack(floors)
  local former, was = mine.floors == '' and {} or unpackAll(mine.floors), {}
  for i = 1, #former, 2 do was[former[i]] = former[i + 1] end
  for i = 1, #floors, 2 do floors[i + 1] = max(floors[i + 1], was[floors[i]] or 0) end
  mine.floors = pack(floors)
  for i = 1, #names do names[i] = cjson.encode(names[i]) end
  share = '[[' .. concat(names, ',') .. '],[' .. concat(texts, ',') .. ']]'
end
