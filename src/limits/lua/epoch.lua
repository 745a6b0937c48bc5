--[[ Fourth part of the exchange: epochs and leases, and a process that comes up. ]]
version = version + 1
-- A later incarnation of it has come: what is still on its way from this one says nothing any more.
local isOutlived = false
if epoch ~= '' and not memberOf(me) then
  local R = rare()
  local incarnation = R.incarnationOf(me)
  R.scan()
  for _, m in ipairs(memberList) do
    if R.nameOf(m.id) == R.nameOf(me) and R.incarnationOf(m.id) > incarnation then isOutlived = true end
  end
end
-- Who answers on a new connection may be another server than the one that counted: what that one counted last may not have
-- come here, though this process misses nothing.
local isAnother, its = false, x[22]
if its ~= 0 and not isOutlived then
  if its == 1 then its = string.match(call('INFO', 'server'), 'run_id:(%w+)') or server end
  isAnother = server ~= '' and its ~= server
  server = its
end
-- Opens an epoch where there is none, and a new one where the state was lost.
do
  local knownEpoch, hasOpened = x[6], false
  if epoch == '' then
    -- Who knew a former epoch listens there; the caller itself may too.
    local others = call('PUBLISH', all, me) - x[10] > 0
    if knownEpoch == '' and not others and not isInjected then
      others = tonumber(string.match(call('INFO', 'server'), 'uptime_in_seconds:(%d+)') or '9') < 2
    end
    if knownEpoch ~= '' or others then
      learnUntil, started, heard = now + (knownEpoch == '' and HEARSAY_MS or LEARN_MS), now, 0
      expected, back, learnUsed, isTaught = {}, {}, {}, true
    end
    hasOpened = true
  elseif (knownEpoch ~= '' or isAnother) and not isOutlived then
    local isLost = isAnother or x[9] == 1 or x[7] > version
    if isAnother then
      -- Whatever this process knows.
    elseif knownEpoch ~= epoch then
      -- An epoch opened after ours, or beside it: this is what was left of an older copy.
      isLost = tonumber(string.match(knownEpoch, '^%d+') or 0) >= tonumber(string.match(epoch, '^%d+') or 0)
    elseif not isLost then
      local m = seq > 1 and memberOf(me)
      if m and m.dead == 0 and seq > m.seq + 1 then isLost = true end
      if not m and seq > 0 then
        local R = rare()
        R.scan()
        for _, other in ipairs(memberList) do
          if R.nameOf(other.id) == R.nameOf(me) then m = other end
        end
      end
      if m then
        -- Whatever else happened since: it was given a reply that is not remembered.
        if x[7] > m.answered then isLost = true end
      elseif seq == 1 and type(x[13]) == 'table' then
        -- Members are remembered for as long as a short window counts what they spent, not for days.
        local charges = x[13][1]
        for i = 1, #charges, 3 do
          local s = charges[i] * 5
          local window, width = S[s + 4], max(1, floor(S[s + 4] / 600))
          if window < LONG_WINDOW_MS and (charges[i + 1] + 1) * width + window + S[s + 5] > now then isLost = true end
        end
      end
    end
    if isLost then
      local R = rare()
      R.scan()
      local names, keys = R.stillExpected(), { base .. 'procs', base .. 'last' }
      for _, other in ipairs(memberList) do
        if other.id ~= '?' then names[R.nameOf(other.id)] = 1 end
        keys[#keys + 1], keys[#keys + 2] = base .. 'mail:' .. other.id, base .. 'w:' .. other.id
      end
      for p = 0, #C - 13, 13 do
        if C[p + 4] >= 0 then keys[#keys + 1] = base .. 'b:' .. C[p + 1] end
        C[p + 2], C[p + 3], C[p + 4], C[p + 5], C[p + 6] = 0, 0, -1, 0, 0
      end
      for q = 0, #Q - 15, 15 do
        for _, kind in ipairs({ 't:', 'n:', 'f:', 'i:' }) do
          if Q[q + 9] > 0 then keys[#keys + 1] = base .. kind .. Q[q + 1] end
        end
        for i = 6, 11 do Q[q + i] = 0 end
        Q[q + 12], Q[q + 13], Q[q + 14], Q[q + 15] = '', '', 0, 0
      end
      for i = 1, #keys, 1000 do call('UNLINK', unpack(keys, i, min(#keys, i + 999))) end
      learnUntil, started, heard, expected, back, learnUsed = now + LEARN_MS, now, 0, names, {}, {}
      treeSize, virtual, members, memberList, isScanned = 0, 0, {}, {}, false
      rosterVersion, due, hasOpened, isTaught = rosterVersion + 1, NEVER, true, true
      call('PUBLISH', all, me)
    end
  end
  if hasOpened then
    epoch, version, safe = x[8], 1, 0
    base = prefix .. epoch .. ':'
    isRecent = learnUntil > 0
    if isRecent then rare().setMissing() end
  end
end

-- Ends leases that ran out, then what was held or set aside for the dead; takes back mail that was let lie.
if now >= due then
  local R = rare()
  R.scan()
  due = NEVER
  for _, m in ipairs(memberList) do
    if m.dead == 0 and m.expires <= now then
      R.takeBackMail(m)
      R.drop(m.id)
      m.dead, m.isDirty = 1, true
      if m.isolated > 0 then
        m.aside = m.expires + m.isolated
        R.setAside(m.floors, 1)
      end
      rosterVersion = rosterVersion + 1
    end
    if m.dead == 1 then
      if m.hold <= now and #m.slots > 0 then R.releaseSlots(m) end
      if m.aside > 0 and m.aside <= now then
        -- Nobody came to say what was spent of it: what may have been counts until its windows end.
        local floors = m.floors == '' and {} or unpackAll(m.floors)
        for i = 1, #floors, 2 do
          local index, amount = R.indexes()[floors[i]], floors[i + 1]
          local l = index and limitAt(index)
          if l and l.window > 0 and amount > 0 then
            local bucket = floor(m.aside / l.width)
            if (bucket + 1) * l.width + l.window + l.hold > now then add(l, bucket, amount) end
          end
        end
        R.releaseAside(m)
      end
      if #m.slots == 0 and m.aside == 0 and m.ghost <= now then
        R.remove(m)
        rosterVersion = rosterVersion + 1
      end
    end
  end
  for _, m in ipairs(memberList) do
    if m.mailAt > 0 and now >= m.mailAt + CLAIM_MS and m.id ~= me then
      R.takeBackMail(m)
      R.drop(m.id)
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

local mine = memberOf(me)
-- A repeated batch is answered from memory; one of a process that is not known, or dead, not at all.
local isRepeated = mine and mine.dead == 0 and seq <= mine.seq
local isFenced = not isRepeated and (isOutlived or (mine and mine.dead == 1) or (not mine and seq ~= 1))
local isLive = not isRepeated and not isFenced

-- A process comes up: with its config, the place of its former incarnations, and what it remembers.
if isLive and seq == 1 then
  local R = rare()
  for i = 0, #S / 5 - 1 do
    local p, limit = place(S[i * 5 + 1]), S[i * 5 + 3]
    if C[p + 7] ~= limit then
      if C[p + 7] ~= C[p + 8] then isWordy = true end
      -- A newly deployed value is news, the first is not.
      if C[p + 7] >= 0 then C[p + 13] = wordDate() end
      C[p + 7], C[p + 8] = limit, limit
    end
  end
  local journal = x[13]
  if type(journal) == 'table' and x[6] ~= epoch then
    isReplayed = true
    local charges, roster, used, ceilings, coolDowns, paused, over, poolWords, limitWords, storeMs = unpack(journal)
    local ahead = now - storeMs
    for i = 1, #charges, 3 do
      local l, bucket = limitAt(charges[i]), charges[i + 1]
      -- It was away while the clock jumped: by this one what it spent lies further on.
      if l.window > 0 and ahead > JUMP_MS then bucket = bucket + ceil(ahead / l.width) end
      if l.window > 0 and (bucket + 1) * l.width + l.window + l.hold > now then
        -- Nobody can have dated anything further ahead than that: the clock was set back.
        add(l, min(bucket, floor((now + HORIZON_MS) / l.width)), charges[i + 2])
      end
    end
    for i = 1, #ceilings, 2 do
      local p, value = limitAt(ceilings[i]).at, ceilings[i + 1]
      local known = C[p + 12] ~= '' and unpackAll(C[p + 12])
      if not (known and known <= value) then C[p + 12] = pack(value, value, now, now, PROBE_MS, 0) end
    end
    -- Of operators' words the newest counts, whoever comes last.
    local isPaused, moved, said = {}, {}, {}
    for i = 1, #paused do isPaused[paused[i]] = true end
    for i = 1, #over, 2 do moved[over[i]] = over[i + 1] end
    for i = 1, #poolWords, 2 do
      local q, at = placePool(poolNames[poolWords[i] + 1]), poolWords[i + 1]
      said[poolWords[i]] = at
      if at > math.abs(Q[q + 2]) then
        Q[q + 2] = isPaused[poolWords[i]] and at or -at
        if Q[q + 2] < 0 then Q[q + 3], Q[q + 4], Q[q + 5] = 0, 0, 0 end
      end
    end
    for i = 1, #limitWords, 2 do
      local l, at = limitAt(limitWords[i]), limitWords[i + 1]
      if at > C[l.at + 13] then C[l.at + 7], C[l.at + 8], C[l.at + 13] = l.limit, moved[limitWords[i]] or l.limit, at end
    end
    for i = 1, #coolDowns, 2 do
      local q, untilMs = placePool(poolNames[coolDowns[i] + 1]), coolDowns[i + 1]
      -- Who missed a word may remember a cool-down that it ended.
      if (said[coolDowns[i]] or 0) >= math.abs(Q[q + 2]) then
        if Q[q + 4] == 0 or untilMs > Q[q + 3] then Q[q + 3], Q[q + 4], Q[q + 5] = untilMs, Q[q + 4] + 1, 0 end
        keep = max(keep, untilMs)
      end
    end
    isWordy = isWordy or #poolWords + #limitWords + #ceilings > 0
    if isRecent then
      for i = 1, #roster do expected[roster[i]] = 1 end
      R.noteBack()
    end
    if learnUntil > 0 then
      heard, learnUntil = 1, started + LEARN_MS
      for i = 1, #used, 2 do
        local id = S[used[i] * 5 + 1]
        learnUsed[id] = max(learnUsed[id] or 0, used[i + 1])
      end
    end
  elseif learnUntil == 0 and expected[R.nameOf(me)] then
    R.noteBack()
  end
  R.scan()
  for _, m in ipairs(memberList) do
    if members[m.id] == m and R.nameOf(m.id) == R.nameOf(me) then
      R.takeBackMail(m)
      R.drop(m.id)
      R.releaseSlots(m)
      if m.dead == 1 then R.releaseAside(m) end
      R.remove(m)
    end
  end
  mine = R.newMember(me)
  local held, floors = x[12], {}
  for i = 1, #x[21] do floors[2 * i - 1], floors[2 * i] = S[i * 5 - 4], x[21][i] end
  if #floors > 0 then mine.floors = pack(floors) end
  if isRecent then R.setMissing() end
  for i = 1, #held, 2 do moveSlots(mine, S[held[i] * 5 + 1], held[i + 1]) end
  created[1], created[2] = base .. 'procs', base .. 'last'
end
if isLive then
  mine.expires, mine.hold, mine.isolated, mine.seq, mine.answered, mine.isDirty = now + x[3], x[4], x[5], seq, version,
    true
  mine.ghost = mine.expires + spec[4]
  -- It sends no further batch before it has the reply to the last.
  if seq > 1 and mine.told ~= '' then mine.floors, mine.told = mine.told, '' end
  due = min(due, mine.expires)
  keep = max(keep, mine.ghost, mine.hold, mine.expires + mine.isolated)
end
