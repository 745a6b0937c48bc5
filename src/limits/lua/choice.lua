--[[ Fourth part of the exchange: what is allowed, what was stated, and who is first in line. ]]

local function retry(at)
  at = max(now + 1, ceil(at))
  if retryAt == 0 or at < retryAt then retryAt = at end
end

-- What a limit allows is settled once everything else is applied.
local function ready(i)
  local l = limitAt(i)
  if l.isReady then return l end
  l.isReady = true
  local p = l.at
  l.conf = configured(l)
  l.allowed = said(l, effective(l)) - C[p + 6]
  if now < C[p + 11] then l.foreign = C[p + 10] end
  l.free = l.allowed - (l.window == 0 and C[p + 5] or l.sum) - l.foreign
  return l
end

-- The limits that a flow draws on; false with one that this process is not configured with.
local drawLists = {}
local function drawsOf(ids)
  local D = drawLists[ids]
  if D == nil then
    D = { n = 0, ahead = HORIZON_MS, isRated = false }
    for id in gmatch(ids, '[^\n]+') do
      local index = indexOf(id)
      if not index then
        D = false
        break
      end
      local l = ready(index)
      D.n = D.n + 1
      D[D.n] = l
      if l.window > 0 then D.isRated, D.ahead = true, min(D.ahead, floor(l.window / HORIZON_SHARE)) end
    end
    drawLists[ids] = D
  end
  return D
end

local function readFlow(T, p, its)
  local r = T.r
  local draws, classWeight, flowBase, perToken, count, since, known, costs = unpackAll(its)
  local id, n = r[p], r[p + 1]
  local flow = { id = id, key = sub(id, n + 2), processId = sub(id, 1, n), draws = draws, classWeight = classWeight,
    base = flowBase, perToken = perToken, count = count, since = since, known = known, costs = costs, pos = 1, next = 1,
    tokens = false, isDirty = false, dated = false, given = 0 }
  T.F[p] = flow
  return flow
end

local function fieldOf(T, p) return #T.name .. ':' .. T.name .. T.r[p] end

-- What a flow last stated; its neighbours, which will soon be asked for, are fetched with it.
local function flowOf(T, p)
  local flow = T.F[p]
  if flow then return flow end
  local r, fields, places = T.r, { fieldOf(T, p) }, { p }
  for q = 5, #r, 6 do
    if #places == 8 then break end
    if q ~= p and r[q + 3] == 2 and not T.F[q] then
      fields[#fields + 1], places[#places + 1] = fieldOf(T, q), q
    end
  end
  local got = call('HMGET', base .. 'f:' .. T.pool.name, unpack(fields))
  for i = 1, #got do readFlow(T, places[i], got[i]) end
  return T.F[p]
end

-- Earliest date of a pool's next grant: after its cool-down, and spaced for a while then.
local function earliest(P)
  local q = P.at
  if Q[q + 4] == 0 then return now end
  if now >= Q[q + 3] + RE_ENTRY_MS then
    Q[q + 3], Q[q + 4], Q[q + 5] = 0, 0, 0
    return now
  end
  return max(now, Q[q + 3], Q[q + 5] == 0 and 0 or Q[q + 5] + RE_ENTRY_SPACING_MS)
end

local function loadPage(P)
  local page = call('ZRANGE', base .. 't:' .. P.name, P.from, P.from + 7, 'WITHSCORES')
  local n, names = #page, {}
  for i = 1, n, 2 do
    if P.tenants[page[i]] == nil then names[#names + 1] = page[i] end
  end
  if #names > 0 then
    loadTenants(P, names)
    for i = 1, #names do P.candidates[#P.candidates + 1] = P.tenants[names[i]] end
  end
  P.from = P.from + n / 2
  if n < 16 then P.isAll = true else P.boundName, P.boundTag = page[n - 1], tonumber(page[n]) end
end

-- Tenants that come into question: those touched already, and the stored ones, page by page.
local function open(P)
  local candidates = {}
  for i = 1, #P.log do
    local T = P.log[i]
    if P.tenants[T.name] == T then candidates[#candidates + 1] = T end
  end
  P.candidates, P.isAll = candidates, #candidates == P.tenantCount
end

-- The tenant with the smallest tag, then name.
local function firstTenant(P)
  while true do
    local list = P.candidates
    local best = list[1]
    for i = 2, #list do
      local T = list[i]
      if T.tag < best.tag or (T.tag == best.tag and isBefore(T.name, best.name)) then best = T end
    end
    if P.isAll then return best end
    if best and (best.tag < P.boundTag or (best.tag == P.boundTag and not isBefore(P.boundName, best.name))) then
      return best
    end
    loadPage(P)
  end
end

local function without(list, item)
  local n = #list
  for i = 1, n do
    if list[i] == item then
      list[i] = list[n]
      list[n] = nil
      return
    end
  end
end

-- Place of a tenant's flow with the smallest tag, then id, that shows a cost and is not blocked.
local function firstFlow(T)
  local r, blocked, best = T.r, T.blocked, nil
  for p = 5, #r, 6 do
    if r[p + 3] == 2 and not (blocked and blocked[p]) then
      if not best or r[p + 2] < r[best + 2] or (r[p + 2] == r[best + 2] and isBefore(r[p], r[best])) then best = p end
    end
  end
  return best
end
