--[[ Third part of the exchange: what one in many exchanges needs, made when it is first asked for. ]]
local heard, expected, replayed, learnUsed = 0, {}, {}, {}
if learnUntil > 0 then heard, expected, replayed, learnUsed = unpackAll(learn) end

local rareParts
local function rare()
  local R = rareParts
  if R then return R end
  R = {}
  rareParts = R

  function R.nameOf(id) return string.match(id, '^(.*)%.') or sub(id, 1, -2) end

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
          if l and l.window == 0 then
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
    m.aside, m.floors, m.isDirty = 0, '', true
  end

  function R.remove(m)
    members[m.id] = false
    gone[#gone + 1] = m.id
  end

  -- Names that count as long as what they spent may, should the state be lost again meanwhile.
  function R.stillExpected()
    if now >= started + spec[4] or (learn == '' and learnUntil == 0) then return {} end
    if learnUntil > 0 then return expected end
    local _, names = unpackAll(learn)
    return names
  end

  return R
end
