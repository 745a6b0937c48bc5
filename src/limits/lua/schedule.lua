--[[ Fifth part of the exchange: who may go, in fair order, all or nothing. Statement by statement as in schedule.ts. ]]
local refused = {}

local function block(T, p)
  T.blocked = T.blocked or {}
  T.blocked[p] = true
end

local function note(l, cost)
  if cost < l.tooMuch then l.tooMuch = cost end
end

-- Whether no request of the pool could be granted, whatever its cost.
local function isFull(P)
  if Q[P.at + 2] == 1 then return true end
  local units = P.units
  if not units then
    units = {}
    for _, i in ipairs(spec[3][P.index + 1] or {}) do
      local l = ready(i)
      if l.kind ~= 2 then units[#units + 1] = l end
    end
    P.units = units
  end
  for i = 1, #units do
    local l = units[i]
    if l.tooMuch <= 1 or (l.window == 0 and l.free < 1) then return true end
  end
  return P.refusedHeads >= MAX_REFUSED_HEADS
end

-- When all dimensions fit, which limit decides that, and how far ahead it may be dated; nil when only a wake-up can help.
local function dateOf(P, D, tokens)
  local at, binding, isScarce = earliest(P), nil, false
  for i = 1, D.n do
    local l = D[i]
    if l.window == 0 then
      if l.free < 1 then
        note(l, 1)
        return nil
      end
      -- A slot that waits for its date is idle: only while there are plenty.
      if (C[l.at + 5] + 1) * 2 > l.allowed then isScarce = true end
    else
      local missing = (l.kind == 2 and tokens or 1) - l.free
      if missing > 0 then
        local fits = freeAt(l, missing) or now + l.window + l.hold
        if l.foreign > 0 then
          local rest = freeAt(l, missing - l.foreign)
          if rest then fits = min(fits, max(C[l.at + 11], rest)) end
        end
        if fits > at then at, binding = fits, l end
      end
    end
  end
  return at, binding, D.isRated and not isScarce and D.ahead or 0
end

local function reserve(P, D, flow, at, binding, ahead)
  local tokens = flow.tokens
  if binding then note(binding, binding.kind == 2 and tokens or 1) end
  for i = 1, D.n do
    local l = D[i]
    if l.window > 0 and not l.resAt then
      l.resAt, l.extra = at, max(0, l.free + freedBy(l, at) - (l.kind == 2 and tokens or 1))
    end
  end
  P.refusedHeads = P.refusedHeads + 1
  if P.frontAt == 0 then P.frontAt = at end
  local askAt = at - floor(ahead / 2)
  retry(flow.processId == me and askAt or askAt + BACKUP_MS)
end

-- The date of a flow's first request; nil when it can't be given one now.
local function fit(P, D, flow)
  local tokens, n = flow.tokens, D.n
  local isEasy = Q[P.at + 4] == 0
  for i = 1, n do
    local l = D[i]
    local cost = l.kind == 2 and tokens or 1
    if cost >= l.tooMuch then return nil end
    if cost > l.free or l.resAt then isEasy = false end
  end
  if isEasy then return now end
  local at, binding, ahead = dateOf(P, D, tokens)
  if not at then return nil end
  if at > now + (P.filling and ahead or floor(ahead / 2)) then
    reserve(P, D, flow, at, binding, ahead)
    return nil
  end
  for i = 1, n do
    local l = D[i]
    local cost = l.kind == 2 and tokens or 1
    if l.resAt and at < l.resAt and cost > l.extra then
      note(l, cost)
      return nil
    end
  end
  return at
end

local function charge(l, bucket, amount)
  local pend = l.pend
  if not pend then
    pend = {}
    l.pend = pend
  end
  pend[bucket] = (pend[bucket] or 0) + amount
end

-- Takes the first request of a flow out.
local function shift(P, T, p, flow)
  local r = T.r
  flow.count, flow.known = flow.count - 1, max(0, flow.known - 1)
  flow.pos, flow.tokens, flow.isDirty, T.isDirty = flow.next, false, true, true
  if flow.count == 0 then
    emptyFlow(P, T, p)
    if T.waiting == 0 and P.candidates then without(P.candidates, T) end
  elseif flow.known == 0 and flow.perToken > 0 then
    r[p + 3] = 1
  end
end

local function lower(P, r, p, service)
  local load = min(r[p + 4], service)
  r[p + 4], P.load = r[p + 4] - load, P.load - load
end

local grantedFlows = {}
local function give(P, T, p, flow, D, at)
  local tokens = flow.tokens
  for i = 1, D.n do
    local l = D[i]
    local cost = l.kind == 2 and tokens or 1
    l.free = l.free - cost
    if l.window == 0 then
      C[l.at + 5] = C[l.at + 5] + 1
    else
      local bucket = floor(at / l.width)
      if bucket == l.pb then
        l.pa = l.pa + cost
      else
        if l.pb >= 0 then charge(l, l.pb, l.pa) end
        l.pb, l.pa = bucket, cost
      end
    end
    if l.resAt and at < l.resAt then l.extra = l.extra - cost end
  end
  local q = P.at
  if Q[q + 4] > 0 and at > Q[q + 5] then Q[q + 5] = at end
  if at > now then P.filling = true end
  -- What is served moves the tags above it by service/weight; who was kept back may be behind by MAX_LAG_US.
  local r, service = T.r, serviceOf(flow, tokens)
  if P.tag > virtual then virtual = P.tag end
  P.tag = max(P.tag, virtual - MAX_LAG_US) + service
  if T.tag > P.virtual then P.virtual = T.tag end
  T.tag = max(T.tag, P.virtual - MAX_LAG_US) + ceil(service / T.weight)
  if r[p + 2] > T.virtual then T.virtual = r[p + 2] end
  local weight = flow.classWeight
  local waited = now - flow.since
  if waited >= AGEING_MS then weight = weight * 2 ^ min(4, floor(waited / AGEING_MS)) end
  r[p + 2] = max(r[p + 2], T.virtual - MAX_LAG_US) + ceil(service / min(MAX_CLASS_WEIGHT, weight))
  lower(P, r, p, service)
  local dated = flow.dated
  if not dated then
    dated = {}
    flow.dated = dated
    grantedFlows[#grantedFlows + 1] = flow
  end
  local n = flow.given
  dated[2 * n + 1], dated[2 * n + 2] = at, tokens < 1e14 and tokens or int(tokens)
  flow.given = n + 1
  shift(P, T, p, flow)
end

local function headOf(flow)
  local tokens = flow.tokens
  if not tokens and flow.known == 0 then
    -- Where no limit counts tokens all cost the same, and none is named.
    tokens, flow.tokens = 0, 0
  elseif not tokens then
    local costs, pos = flow.costs, flow.pos
    local comma = find(costs, ',', pos, true)
    tokens = tonumber(sub(costs, pos, comma and comma - 1))
    flow.tokens, flow.next = tokens, comma and comma + 1 or #costs + 1
  end
  return tokens
end

-- One step: the first in line goes, or is blocked. True when it was given something.
local function serveOne(P)
  local T = firstTenant(P)
  if not T then return nil end
  local p = firstFlow(T)
  if not p then
    without(P.candidates, T)
    return false
  end
  local flow = flowOf(T, p)
  local D, tokens = drawsOf(flow.draws), headOf(flow)
  if not D then
    block(T, p)
    return false
  end
  for i = 1, D.n do
    local l = D[i]
    if (l.kind == 2 and tokens or 1) > l.conf then
      -- Above a limit as it now stands: it can never be granted. Its own process hears of it.
      if flow.processId == me then
        refused[#refused + 1] = { flow.key, l.index, l.conf }
        lower(P, T.r, p, serviceOf(flow, tokens))
        shift(P, T, p, flow)
      else
        block(T, p)
      end
      return false
    end
  end
  local at = fit(P, D, flow)
  if not at then
    block(T, p)
    return false
  end
  give(P, T, p, flow, D, at)
  return true
end
