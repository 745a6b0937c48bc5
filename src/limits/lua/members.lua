--[[ Third part of the exchange: epochs, leases, mailboxes, journals; what rarely happens is declared where it happens. ]]
local all = prefix .. 'all'
local isWordy, isReplayed = false, false

local function indexOf(id)
  ofSpec = ofSpec or specIndexes()
  return ofSpec[id]
end

local function nameOf(id) return string.match(id, '^(.*)%.') or sub(id, 1, -2) end

-- Byte order; Lua's own `<` on strings asks the locale.
local function isBefore(a, b)
  for i = 1, min(#a, #b) do
    local l, r = string.byte(a, i), string.byte(b, i)
    if l ~= r then return l < r end
  end
  return #a < #b
end

local function scan()
  if isScanned or epoch == '' then return end
  local flat = call('HGETALL', base .. 'procs')
  for i = 1, #flat, 2 do
    if members[flat[i]] == nil then readMember(flat[i], flat[i + 1]) end
  end
  isScanned = true
end

local function takeBackMail(m)
  if m.mailAt == 0 then return end
  for _, chunk in ipairs(call('LRANGE', base .. 'mail:' .. m.id, 0, -1)) do
    local mail = { unpackAll(chunk) }
    for i = 1, #mail, 4 do
      for id in gmatch(mail[i + 3], '[^\n]+') do
        local index = indexOf(id)
        local l = index and limitAt(index)
        if l and l.window == 0 then
          moveSlots(m, id, -mail[i + 1])
        elseif l then
          for at, tokens in gmatch(mail[i + 2], '(%d+),(%d+)') do
            refund(l, floor(at / l.width), l.kind == 2 and tonumber(tokens) or 1)
          end
        end
      end
    end
  end
  call('DEL', base .. 'mail:' .. m.id)
  m.mailAt, m.isDirty = 0, true
end

-- Forgets all that a process waits for.
local function drop(id)
  for _, its in ipairs(call('SMEMBERS', base .. 'w:' .. id)) do
    local pool, tenant, flow = unpackAll(its)
    local P = poolOf(pool)
    local T = P.waiting > 0 and tenantOf(P, tenant)
    local p = T and findFlow(T, flow)
    if p and T.r[p + 3] > 0 then emptyFlow(P, T, p) end
  end
end

local function releaseSlots(m)
  local slots = m.slots
  for i = 1, #slots, 2 do
    local p = place(slots[i])
    C[p + 5] = C[p + 5] - slots[i + 1]
  end
  m.slots, m.isDirty = {}, true
end

local function setAside(floors, sign)
  local its = floors == '' and {} or unpackAll(floors)
  for i = 1, #its, 2 do
    local p = place(its[i])
    C[p + 6] = C[p + 6] + sign * its[i + 1]
  end
end

local function releaseAside(m)
  if m.aside > 0 then setAside(m.floors, -1) end
  m.aside, m.floors, m.isDirty = 0, '', true
end

local function remove(m)
  members[m.id] = false
  gone[#gone + 1] = m.id
end

-- Opens an epoch where there is none, and a new one where the state was lost.
local heard, expected, replayed, learnUsed = 0, {}, {}, {}
if learnUntil > 0 then heard, expected, replayed, learnUsed = unpackAll(learn) end
version = version + 1

-- Names that count as long as what they spent may, should the state be lost again meanwhile.
local function stillExpected()
  if now >= started + spec[4] or learn == '' and learnUntil == 0 then return {} end
  if learnUntil > 0 then return expected end
  local _, names = unpackAll(learn)
  return names
end

do
  local function begin(isHearsay, names)
    learnUntil, started, heard = now + (isHearsay and HEARSAY_MS or LEARN_MS), now, 0
    expected, replayed, learnUsed = names, {}, {}
  end
  local function enter()
    epoch, version, safe = x[8], 1, 0
    base = prefix .. epoch .. ':'
  end
  local known = x[6]
  if epoch == '' then
    -- Who knew a former epoch listens there; the caller itself may too.
    local others = call('PUBLISH', all, me) - x[10] > 0
    if known == '' and not others and not isInjected then
      local uptime = tonumber(string.match(call('INFO', 'server'), 'uptime_in_seconds:(%d+)') or '9')
      others = uptime < 2
    end
    if known ~= '' or others then begin(known == '', {}) end
    enter()
  elseif known ~= '' then
    local isLost, seq = x[9] == 1 or x[7] > version, x[2]
    if known ~= epoch then
      -- An epoch opened after ours, or beside it: this is what was left of an older copy.
      local function ageOf(its) return tonumber(string.match(its, '^%d+') or 0) end
      isLost = ageOf(known) >= ageOf(epoch)
    elseif not isLost then
      local m = seq > 1 and memberOf(me)
      if m and m.dead == 0 and seq > m.seq + 1 then isLost = true end
      if seq == 1 and type(x[13]) == 'table' and #x[13][1] > 0 then
        scan()
        isLost = true
        for _, other in ipairs(memberList) do
          if nameOf(other.id) == nameOf(me) then isLost = false end
        end
      end
    end
    if isLost then
      scan()
      local names = stillExpected()
      begin(false, names)
      local keys = { base .. 'procs', base .. 'last' }
      for _, other in ipairs(memberList) do
        names[nameOf(other.id)] = 1
        keys[#keys + 1], keys[#keys + 2] = base .. 'mail:' .. other.id, base .. 'w:' .. other.id
      end
      for p = 0, #C - 12, 12 do
        if C[p + 4] >= 0 then keys[#keys + 1] = base .. 'b:' .. C[p + 1] end
        C[p + 2], C[p + 3], C[p + 4], C[p + 5], C[p + 6] = 0, 0, -1, 0, 0
      end
      for q = 0, #Q - 11, 11 do
        for _, kind in ipairs({ 't:', 'n:', 'f:', 'i:' }) do
          if Q[q + 9] > 0 then keys[#keys + 1] = base .. kind .. Q[q + 1] end
        end
        for i = 6, 11 do Q[q + i] = 0 end
      end
      for i = 1, #keys, 1000 do call('UNLINK', unpack(keys, i, min(#keys, i + 999))) end
      pools, treeSize, virtual, members, memberList, isScanned = {}, 0, 0, {}, {}, false
      rosterVersion, due = rosterVersion + 1, NEVER
      enter()
      call('PUBLISH', all, me)
    end
  end
end

-- Ends leases that ran out, then what was held or set aside for the dead; takes back mail that was let lie.
if now >= due then
  scan()
  due = NEVER
  for _, m in ipairs(memberList) do
    if m.dead == 0 and m.expires <= now then
      takeBackMail(m)
      drop(m.id)
      m.dead, m.isDirty = 1, true
      if m.isolated > 0 then
        m.aside = m.expires + m.isolated
        setAside(m.floors, 1)
      end
      rosterVersion = rosterVersion + 1
    end
    if m.dead == 1 then
      if m.hold <= now and #m.slots > 0 then releaseSlots(m) end
      if m.aside > 0 and m.aside <= now then releaseAside(m) end
      if #m.slots == 0 and m.aside == 0 and m.ghost <= now then
        remove(m)
        rosterVersion = rosterVersion + 1
      end
    end
  end
  for _, m in ipairs(memberList) do
    if m.mailAt > 0 and now >= m.mailAt + CLAIM_MS and m.id ~= me then
      takeBackMail(m)
      drop(m.id)
      m.restate, m.isDirty = 1, true
    end
    if members[m.id] then
      if m.dead == 0 then
        due = min(due, m.expires)
        if m.mailAt > 0 then due = min(due, m.mailAt + CLAIM_MS) end
      else
        if #m.slots > 0 then due = min(due, m.hold) end
        if m.aside > 0 then due = min(due, m.aside) end
        if #m.slots == 0 and m.aside == 0 then due = min(due, m.ghost) end
      end
    end
  end
end

-- A process comes up: with its config, the place of its former incarnations, and what it remembers.
local function join()
  for i = 0, #S / 5 - 1 do
    local p, limit = place(S[i * 5 + 1]), S[i * 5 + 3]
    if C[p + 7] ~= limit then
      if C[p + 7] ~= C[p + 8] then isWordy = true end
      C[p + 7], C[p + 8] = limit, limit
    end
  end
  local journal = x[13]
  if type(journal) == 'table' and x[6] ~= epoch then
    isReplayed = true
    local charges, roster, used, ceilings, coolDowns, paused, over = unpack(journal)
    for i = 1, #charges, 3 do
      local l, bucket = limitAt(charges[i]), charges[i + 1]
      if l.window > 0 and (bucket + 1) * l.width + l.window + l.hold > now then add(l, bucket, charges[i + 2]) end
    end
    for i = 1, #ceilings, 2 do
      local p, value = limitAt(ceilings[i]).at, ceilings[i + 1]
      local known = C[p + 12] ~= '' and unpackAll(C[p + 12])
      if not (known and known <= value) then C[p + 12] = pack(value, value, now, now, PROBE_MS, 0) end
    end
    for i = 1, #coolDowns, 2 do
      local q, untilMs = placePool(poolNames[coolDowns[i] + 1]), coolDowns[i + 1]
      if Q[q + 4] == 0 or untilMs > Q[q + 3] then Q[q + 3], Q[q + 4], Q[q + 5] = untilMs, Q[q + 4] + 1, 0 end
    end
    for i = 1, #paused do Q[placePool(poolNames[paused[i] + 1]) + 2] = 1 end
    for i = 1, #over, 2 do
      local l = limitAt(over[i])
      C[l.at + 7], C[l.at + 8] = l.limit, over[i + 1]
    end
    isWordy = isWordy or #paused + #over > 0
    if learnUntil > 0 then
      heard, learnUntil = 1, started + LEARN_MS
      replayed[nameOf(me)] = 1
      for i = 1, #roster do expected[roster[i]] = 1 end
      for i = 1, #used, 2 do
        local id = S[used[i] * 5 + 1]
        learnUsed[id] = max(learnUsed[id] or 0, used[i + 1])
      end
    end
  end
  scan()
  for _, m in ipairs(memberList) do
    if members[m.id] == m and nameOf(m.id) == nameOf(me) then
      takeBackMail(m)
      drop(m.id)
      releaseSlots(m)
      if m.dead == 1 then releaseAside(m) end
      remove(m)
    end
  end
  local m = { id = me, expires = 0, hold = 0, isolated = 0, seq = 0, dead = 0, aside = 0, ghost = 0, restate = 0, share = 0,
    mailAt = 0, slots = {}, floors = '', isDirty = true }
  members[me] = m
  memberList[#memberList + 1] = m
  rosterVersion = rosterVersion + 1
  local held = x[12]
  for i = 1, #held, 2 do moveSlots(m, S[held[i] * 5 + 1], held[i + 1]) end
  return m
end
