--[[
Eighth part of the exchange: who may go, in fair order, all dimensions or none, step by step as in schedule.ts. One look at
the first in line is one turn of the loop: it is granted, or it, its tenant or its pool is out of question from then on.
]]
if isLive and learnUntil > 0 then retry(learnAskAt) end
local left = isLive and learnUntil == 0 and #queued > 0 and MAX_GRANTS or 0
do
  local wasOpen, active, fronts, front, frontCount = left > 0, {}, false, 0, 0
  local textOf, dateText
  -- How often it was found that something is out of question, and whether any limit is reserved for somebody.
  local closings, isReserved = 0, false
  for i = 1, #queued do
    active[i] = queued[i]
    if Q[queued[i].at + 13] ~= '' then
      fronts = fronts or {}
      frontCount = frontCount + 1
      fronts[frontCount] = queued[i]
    end
  end
  if frontCount > 1 then
    table.sort(fronts, function(a, b)
      local s, t = Q[a.at + 14], Q[b.at + 14]
      return s < t or (s == t and isBefore(a.name, b.name))
    end)
  end
  local activeCount = #active
  while left > 0 and activeCount > 0 do
    local P, at = active[1], 1
    -- What was promised a date keeps it, whoever came since: first those, in the order of the promises.
    local isFront = front < frontCount
    if isFront then
      front = front + 1
      P = fronts[front]
    else
      -- The pool with the smallest tag, then name.
      for i = 2, activeCount do
        local its = active[i]
        if its.tag < P.tag or (its.tag == P.tag and isBefore(its.name, P.name)) then P, at = its, i end
      end
    end
    -- Whether no request of it could be granted, whatever its cost.
    local units = P.units
    if not units then
      units = {}
      for _, i in ipairs(spec[3][P.index + 1] or {}) do
        local l = ready(i)
        if l.kind ~= 2 then units[#units + 1] = l end
      end
      P.units = units
    end
    local q = P.at
    if P.closings ~= closings then
      P.closings, P.isClosed = closings, Q[q + 2] > 0 or P.refusedHeads >= MAX_REFUSED_HEADS
      for i = 1, #units do
        local l = units[i]
        if l.tooMuch <= 1 or (l.window == 0 and l.free < 1) then P.isClosed = true end
      end
    end
    local isOut = P.isClosed or P.waiting == 0
    -- Its tenant with the smallest tag, then name.
    local T, p
    if isFront then
      T = not isOut and tenantOf(P, Q[q + 12])
      p = T and findFlow(T, Q[q + 13])
      if p and T.r[p + 3] ~= 2 then p = nil end
    elseif not isOut then
      if not P.candidates then open(P) end
      repeat
        local list = P.candidates
        T = list[1]
        for i = 2, #list do
          local its = list[i]
          if its.tag < T.tag or (its.tag == T.tag and isBefore(its.name, T.name)) then T = its end
        end
        local isFirst = P.isAll
          or (T and (T.tag < P.boundTag or (T.tag == P.boundTag and not isBefore(P.boundName, T.name))))
        if not isFirst then loadPage(P) end
      until isFirst
      isOut = not T
    end
    -- The tenant's flow with the smallest tag, then id, that shows a cost and is not blocked; they come in the order of ids.
    if T and not isFront then
      local r, blocked, best = T.r, T.blocked, NEVER
      for its = 5, #r, 6 do
        local tag = r[its + 2]
        if tag < best and r[its + 3] == 2 and not (blocked and blocked[its]) then p, best = its, tag end
      end
      if not p then
        local list = P.candidates
        for i = 1, #list do
          if list[i] == T then
            list[i] = list[#list]
            list[#list] = nil
            break
          end
        end
      end
    end
    if p then
      local flow = T.F[p] or flowOf(T, p)
      local D, tokens = drawLists[flow.draws] or drawsOf(flow.draws), flow.tokens or headOf(flow)
      local r, n, isBlocked, isRefused, isTaken = T.r, D.n, D.isUnknown, false, false
      -- When all dimensions fit, and which limit decides that.
      local date, binding, full = now, nil, false
      for i = 1, n do
        local l = D[i]
        local cost = l.kind == 2 and tokens or 1
        if cost > l.conf then
          isRefused = l
          break
        end
        if cost >= l.tooMuch then isBlocked = true end
        local missing = cost - l.free
        if missing > 0 and not isBlocked and not full then
          if l.window == 0 then
            full = l
          else
            local w, fits = l.walk, nil
            if w and missing > w.over and missing <= w.upTo then
              fits = w.date
            else
              fits = walk(l, missing) or (max(floor(now / l.width), l.pmax) + 1) * l.width + l.window + l.hold
            end
            if l.foreign > 0 then
              -- What is not ours ends at an instant of its own: then the rest may fit.
              local rest = walk(l, missing - l.foreign)
              if rest then fits = min(fits, max(C[l.at + 11], rest)) end
            end
            if fits > date then date, binding = fits, l end
          end
        end
      end
      if isRefused then
        -- Above a limit as it now stands it can never be granted. Its own process hears of it.
        isBlocked = flow.processId ~= me
        if not isBlocked then
          refused[#refused + 1] = '[' .. cjson.encode(flow.key) .. format(',%d,%.0f]', isRefused.index, isRefused.conf)
          local load = min(r[p + 4], serviceOf(flow, tokens))
          r[p + 4], P.load = r[p + 4] - load, P.load - load
          flow.isDirty, T.isDirty, isTaken = true, true, true
        end
      elseif not isBlocked then
        if Q[q + 4] ~= 0 then
          local its = earliest(P)
          if its >= date then date, binding = its, nil end
        end
        if full then
          if full.tooMuch > 1 then full.tooMuch = 1 end
          isBlocked, closings = true, closings + 1
        elseif date > now then
          -- How far ahead it may be dated.
          local ahead, half, slots = D.ahead, D.half, D.slots
          if slots then
            -- A slot that waits for its date is idle: only while there are plenty.
            for i = 1, #slots do
              local l = slots[i]
              if (C[l.at + 5] + 1) * 2 > l.allowed then ahead, half = 0, 0 end
            end
          end
          if date > now + (P.filling and ahead or half) then
            -- It waits, and whoever comes after it goes first only without delaying it.
            isBlocked, isReserved, closings = true, true, closings + 1
            if binding then
              local cost = binding.kind == 2 and tokens or 1
              if cost < binding.tooMuch then binding.tooMuch = cost end
            end
            for i = 1, n do
              local l = D[i]
              if l.window > 0 and not l.resAt then
                l.extra = max(0, l.free + walk(l, nil, date) - (l.kind == 2 and tokens or 1))
                l.resAt = date
              end
            end
            local askAt, isOwn = date - half, flow.processId == me
            if Q[q + 13] == '' then Q[q + 12], Q[q + 13], Q[q + 14], Q[q + 15] = T.name, r[p], now, askAt end
            if Q[q + 13] == r[p] then
              -- Whose turn comes sooner than was said has to hear of it.
              local isSooner = askAt < Q[q + 15] - BACKUP_MS
              if isSooner and not isOwn then call('PUBLISH', prefix .. 'wake:' .. flow.processId, '1') end
              if isSooner or isOwn then Q[q + 15] = askAt end
            end
            P.refusedHeads = P.refusedHeads + 1
            if P.frontAt == 0 then P.frontAt = date end
            retry(isOwn and askAt or askAt + BACKUP_MS)
          end
        end
        if isReserved and not isBlocked then
          for i = 1, n do
            local l = D[i]
            local cost = l.kind == 2 and tokens or 1
            if l.resAt and cost > l.extra then
              if cost < l.tooMuch then l.tooMuch = cost end
              isBlocked, closings = true, closings + 1
              break
            end
          end
        end
      end
      if isBlocked then
        local blocked = T.blocked
        if not blocked then
          blocked = {}
          T.blocked = blocked
        end
        blocked[p] = true
      elseif not isRefused then
        left, isTaken = left - 1, true
        for i = 1, n do
          local l = D[i]
          local cost = l.kind == 2 and tokens or 1
          local free = l.free - cost
          l.free = free
          if l.window == 0 then
            C[l.at + 5] = C[l.at + 5] + 1
            if free < 1 then closings = closings + 1 end
          elseif date == l.pd then
            l.pa = l.pa + cost
          else
            local bucket = floor(date / l.width)
            if bucket > l.pmax then l.pmax = bucket end
            if bucket == l.pb then
              l.pa = l.pa + cost
            else
              if l.pb >= 0 then
                l.pend = l.pend or {}
                l.pend[l.pb] = (l.pend[l.pb] or 0) + l.pa
              end
              l.pb, l.pa = bucket, cost
            end
            l.pd = date
          end
          if isReserved and l.resAt then l.extra = l.extra - cost end
        end
        if Q[q + 4] > 0 and date > Q[q + 5] then Q[q + 5] = date end
        if date > now then P.filling = true end
        -- What is served moves the tags above it by service/weight; who was kept back may be behind by MAX_LAG_US.
        local service, perToken = flow.base, flow.perToken
        if perToken > 0 then
          local its = tokens * perToken / 1000
          its = its + -its % 1
          if its > service then service = its end
        end
        local tag = P.tag
        if tag > virtual then virtual = tag elseif tag < virtual - MAX_LAG_US then tag = virtual - MAX_LAG_US end
        P.tag = tag + service
        tag = T.tag
        local behind = P.virtual
        if tag > behind then P.virtual = tag elseif tag < behind - MAX_LAG_US then tag = behind - MAX_LAG_US end
        -- Rounded up, without the call that `ceil` is.
        local step = service / T.weight
        T.tag = tag + step + -step % 1
        tag, behind = r[p + 2], T.virtual
        if tag > behind then T.virtual = tag elseif tag < behind - MAX_LAG_US then tag = behind - MAX_LAG_US end
        local weight, waited = flow.classWeight, now - flow.since
        if waited >= AGEING_MS then
          -- Up to the highest class that anybody waits in: among equals a longer queue gets no more than a shorter one.
          local highest = weight
          for its = 5, #r, 6 do
            if r[its + 3] > 0 then highest = max(highest, r[its + 5]) end
          end
          weight = min(highest, weight * 2 ^ min(4, floor(waited / AGEING_MS)))
        end
        if weight > MAX_CLASS_WEIGHT then weight = MAX_CLASS_WEIGHT end
        step = service / weight
        r[p + 2] = tag + step + -step % 1
        local load = r[p + 4]
        if load > service then load = service end
        r[p + 4], P.load = r[p + 4] - load, P.load - load
        local dated = flow.dated
        if not dated then
          dated = {}
          flow.dated, flow.isDirty, T.isDirty, P.isMoved = dated, true, true, true
          grantedFlows[#grantedFlows + 1] = flow
        end
        -- As texts, each date made but once: most of a batch have the same.
        if date ~= textOf then textOf, dateText = date, date .. '' end
        local given = #dated
        dated[given + 1], dated[given + 2] = dateText, flow.text
      end
      -- It is the flow's first request no more.
      if isTaken then
        if Q[q + 13] == r[p] then Q[q + 13] = '' end
        local known, count = flow.known, flow.count - 1
        flow.count = count
        if known > 0 then
          known = known - 1
          flow.known, flow.pos, flow.tokens = known, flow.next, false
        end
        if count == 0 then
          emptyFlow(P, T, p)
        elseif known == 0 and flow.perToken > 0 then
          r[p + 3] = 1
        end
      end
    end
    if not isFront and (isOut or P.waiting == 0) then
      active[at] = active[activeCount]
      active[activeCount] = nil
      activeCount = activeCount - 1
    end
  end
  if wasOpen and left == 0 then retry(now + 1) end
end
