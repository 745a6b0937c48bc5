--[[ Third part of the exchange: what one in many exchanges needs, made when it is first asked for. ]]
-- Of learning: whether anybody replayed; names of those who spent; name -> floors of those who are back; sums of long windows.
local heard, expected, back, learnUsed = 0, {}, {}, {}
if learn ~= '' then heard, expected, back, learnUsed = unpackAll(learn) end
local isTaught = false
-- Whether it still matters who comes back.
local isRecent = started > 0 and (learnUntil > 0 or now < started + max(spec[4], x[3] + x[5]))

local rareParts
local function rare()
  local R = rareParts
  if R then return R end
  R = {}
  rareParts = R

  function R.nameOf(id) return string.match(id, '^(.*)%.') or sub(id, 1, -2) end

  function R.incarnationOf(id) return tonumber(string.match(id, '%.(%d+)$')) or 0 end

  function R.scan()
    if isScanned or epoch == '' then return end
    local flat = call('HGETALL', base .. 'procs')
    for i = 1, #flat, 2 do memberOf(flat[i], flat[i + 1]) end
    isScanned = true
  end

  function R.indexes()
    if not R.ofSpec then
      R.ofSpec = {}
      for i = 0, #S / 5 - 1 do R.ofSpec[S[i * 5 + 1]] = i end
    end
    return R.ofSpec
  end

  function R.takeBackMail(m)
    if m.mailAt == 0 then return end
    local key = base .. 'mail:' .. m.id
    for _, chunk in ipairs(call('LRANGE', key, 0, -1)) do
      local mail = { unpackAll(chunk) }
      for i = 1, #mail, 4 do
        for id in string.gmatch(mail[i + 3], '[^\n]+') do
          local index = R.indexes()[id]
          local l = index and limitAt(index)
          local isSlot = l and l.window == 0
          -- Of a limit that this process does not keep: nobody else would give the slot back; what a window counts passes.
          for s = 1, l and 0 or #m.slots, 2 do isSlot = isSlot or m.slots[s] == id end
          if isSlot then
            moveSlots(m, id, -mail[i + 1])
          elseif l then
            for at, tokens in string.gmatch(mail[i + 2], '(%d+),(%d+)') do
              refund(l, floor(at / l.width), l.kind == 2 and tonumber(tokens) or 1)
            end
          end
        end
      end
    end
    call('DEL', key)
    m.mailAt, m.isDirty = 0, true
  end

  -- Forgets all that a process waits for.
  function R.drop(id)
    for _, its in ipairs(call('SMEMBERS', base .. 'w:' .. id)) do
      local pool, tenant, flow = unpackAll(its)
      local P = poolOf(pool)
      local T = P.waiting > 0 and tenantOf(P, tenant)
      local p = T and findFlow(T, flow)
      if p and T.r[p + 3] > 0 then emptyFlow(P, T, p) end
    end
  end

  function R.releaseSlots(m)
    local slots = m.slots
    for i = 1, #slots, 2 do
      local p = place(slots[i])
      C[p + 5] = C[p + 5] - slots[i + 1]
    end
    m.slots, m.isDirty = {}, true
  end

  function R.setAside(floors, sign)
    local its = floors == '' and {} or unpackAll(floors)
    for i = 1, #its, 2 do
      local p = place(its[i])
      C[p + 6] = C[p + 6] + sign * its[i + 1]
    end
  end

  function R.releaseAside(m)
    if m.aside > 0 then R.setAside(m.floors, -1) end
    m.aside, m.floors, m.told, m.isDirty = 0, '', '', true
  end

  function R.newMember(id)
    local m = { id = id, expires = 0, hold = 0, isolated = 0, seq = 0, dead = 0, aside = 0, ghost = 0, restate = 0, share = 0,
      mailAt = 0, slots = {}, floors = '', told = '', answered = 0, isDirty = true }
    members[id] = m
    memberList[#memberList + 1] = m
    rosterVersion = rosterVersion + 1
    return m
  end

  -- A process is back, off its floor.
  function R.noteBack()
    local floors = {}
    for i = 0, #S / 5 - 1 do floors[#floors + 1], floors[#floors + 2] = S[i * 5 + 1], x[21][i + 1] or 0 end
    back[R.nameOf(me)], isTaught = floors, true
  end

  function R.mostOf(id, limit)
    local p = cAt[id]
    return p and C[p + 7] >= 0 and max(limit, C[p + 8]) or limit
  end

  -- Sets aside what members from before, who have not come back, may live on: see `missing` in learning.ts.
  function R.setMissing()
    R.scan()
    local known, until_ = members['?'], started + x[3] + x[5]
    local isAny = learnUntil > 0
    for name in pairs(expected) do isAny = isAny or not back[name] end
    isAny = isAny and x[5] > 0 and until_ > now
    if known then
      R.releaseAside(known)
      R.remove(known)
      for i = #memberList, 1, -1 do
        if memberList[i] == known then table.remove(memberList, i) end
      end
      rosterVersion = rosterVersion + 1
    end
    if not isAny then return end
    local m, floors, taken = R.newMember('?'), {}, {}
    for _, its in pairs(back) do
      for i = 1, #its, 2 do taken[its[i]] = (taken[its[i]] or 0) + its[i + 1] end
    end
    for s = 1, #S, 5 do
      floors[#floors + 1], floors[#floors + 2] = S[s], max(0, R.mostOf(S[s], S[s + 2]) - (taken[S[s]] or 0))
    end
    m.dead, m.aside, m.floors = 1, until_, pack(floors)
    R.setAside(m.floors, 1)
    due, keep = min(due, until_), max(keep, until_)
  end

  function R.remove(m)
    members[m.id] = false
    gone[#gone + 1] = m.id
  end

  -- As long as what they spent may count, or any may live on its floor: should the state be lost again meanwhile.
  function R.stillExpected()
    R.scan()
    return (members['?'] or now < started + spec[4]) and expected or {}
  end

  return R
end
