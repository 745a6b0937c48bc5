--[[ Seventh part of the exchange: what is allowed, what was stated, and who is first in line. ]]
local retryAt, refused, grantedFlows = 0, {}, {}

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
  local conf, most = standing(l)
  l.conf, l.allowed = conf, most - C[p + 6]
  if now < C[p + 11] then l.foreign = C[p + 10] end
  l.free = l.allowed - (l.window == 0 and C[p + 5] or l.sum) - l.foreign
  return l
end

-- The limits that a flow draws on; none is `isUnknown`, with one that this process is not configured with.
local drawLists = {}
local function drawsOf(ids)
  local D = drawLists[ids]
  if D then return D end
  D = { n = 0, ahead = HORIZON_MS, half = 0, isRated = false, slots = false, isUnknown = false }
  for id in string.gmatch(ids, '[^\n]+') do
    -- Most draw on what comes next in the configuration.
    local index = S[D.n * 5 + 1] == id and D.n or rare().indexes()[id]
    if not index then
      D = { n = 0, ahead = 0, half = 0, isRated = false, slots = false, isUnknown = true }
      break
    end
    local l = ready(index)
    D.n = D.n + 1
    D[D.n] = l
    if l.window > 0 then
      D.isRated, D.ahead = true, min(D.ahead, floor(l.window / HORIZON_SHARE))
    else
      D.slots = D.slots or {}
      D.slots[#D.slots + 1] = l
    end
  end
  if not D.isRated then D.ahead = 0 end
  D.half = floor(D.ahead / 2)
  drawLists[ids] = D
  return D
end

-- What a flow last stated; its neighbours, which may soon be asked for, are fetched with it, as they are packed.
local function flowOf(T, p)
  local flow = T.F[p]
  if flow then return flow end
  local r, unread = T.r, T.unread
  local its = unread and unread[p]
  if not its then
    if not unread then
      unread = {}
      T.unread = unread
    end
    local prefixOf = #T.name .. ':' .. T.name
    local fields, places, n = { prefixOf .. r[p] }, { p }, 1
    for q = 5, #r, 6 do
      if n == 8 then break end
      if q ~= p and r[q + 3] == 2 and not T.F[q] and not unread[q] then
        n = n + 1
        fields[n], places[n] = prefixOf .. r[q], q
      end
    end
    local got = call('HMGET', base .. 'f:' .. T.pool.name, unpack(fields))
    for i = 1, n do unread[places[i]] = got[i] end
    its = got[1]
  end
  local id, length = r[p], r[p + 1]
  -- Sixteen fields, like those that state.lua makes: one more would double the table.
  local draws, classWeight, flowBase, perToken, count, since, known, costs = unpackAll(its)
  flow = { key = sub(id, length + 2), processId = sub(id, 1, length), draws = draws, classWeight = classWeight,
    base = flowBase, perToken = perToken, count = count, since = since, known = known, costs = costs, pos = 1, next = 1,
    tokens = false, text = '', isDirty = false, dated = false }
  T.F[p] = flow
  return flow
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

-- Tenants that come into question: those touched already; the others are read page by page, by their tags.
local function open(P)
  local candidates, log, tenants = {}, P.log, P.tenants
  for i = 1, #log do
    local T = log[i]
    if tenants[T.name] == T then candidates[#candidates + 1] = T end
  end
  P.candidates, P.isAll = candidates, #candidates == P.tenantCount
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

-- Pools of ours in which anybody waits, in the order of the configuration.
local queued = {}
for i = 1, isLive and #poolNames or 0 do
  local q = qAt[poolNames[i]]
  if q then
    local P = pools[poolNames[i]] or (Q[q + 9] > 0 and poolOf(poolNames[i]))
    if P and P.waiting > 0 then
      P.index = i - 1
      queued[#queued + 1] = P
    end
  end
end
