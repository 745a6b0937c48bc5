--[[ Tenth part of the exchange: grants go to their processes, limits are written, and the reply, as JSON by place. ]]
-- Grants of other processes go to their mailboxes; who had none is woken.
do
  local boxes, owners = false, {}
  for i = 1, #grantedFlows do
    local flow = grantedFlows[i]
    local its, given = concat(flow.dated, ','), #flow.dated / 2
    local isMine = flow.processId == me
    local m, D = isMine and mine or memberOf(flow.processId), drawsOf(flow.draws)
    for j = 1, D.n do
      local l = D[j]
      if l.window == 0 then
        -- The limit's own count has risen already, grant by grant.
        C[l.at + 5] = C[l.at + 5] - given
        moveSlots(m, l.id, given)
      end
    end
    if isMine then
      giveText(flow.key, its)
    else
      boxes = boxes or {}
      local box = boxes[m]
      if not box then
        box = {}
        boxes[m] = box
        owners[#owners + 1] = m
      end
      local n = #box
      box[n + 1], box[n + 2], box[n + 3], box[n + 4] = flow.key, given, its, flow.draws
    end
  end
  for i = 1, #owners do
    local m = owners[i]
    local key, box = base .. 'mail:' .. m.id, boxes[m]
    for j = 1, #box, 400 do call('RPUSH', key, pack(unpack(box, j, min(#box, j + 399)))) end
    if m.mailAt == 0 then
      m.mailAt, m.isDirty = now, true
      due = min(due, now + CLAIM_MS)
      created[#created + 1] = key
      call('PUBLISH', prefix .. 'wake:' .. m.id, '1')
    end
  end
end

for _, l in pairs(limits) do
  if l.pb >= 0 then
    if l.pend then
      for bucket, amount in pairs(l.pend) do add(l, bucket, amount) end
    end
    add(l, l.pb, l.pa)
  end
  if l.isDirty then
    local p, key = l.at, l.key
    C[p + 2], C[p + 3], C[p + 4] = l.sum, l.first, l.last
    if l.isDropped then
      call('DEL', key)
    elseif l.gone then
      each('HDEL', key, l.gone)
    end
    if l.touched then
      local args, n = {}, 0
      for b, cells in pairs(l.touched) do
        args[n + 1], args[n + 2] = b, pack(unpack(cells))
        n = n + 2
      end
      each('HSET', key, args)
      if not l.isStored then created[#created + 1] = key end
    end
  end
end

-- Of pools in which nobody waits, and whoever comes will have to: a window is full. What was spent by the last look is the
-- most that still counts, so that few have to be looked at.
for i = 1, isLive and #poolNames or 0 do
  local room, tokens = 0, 0
  for _, j in ipairs(pools[poolNames[i]] and pools[poolNames[i]].waiting > 0 and {} or spec[3][i]) do
    local s = j * 5
    local p = S[s + 4] > 0 and cAt[S[s + 1]]
    if p then
      local foreign = now < C[p + 11] and C[p + 10] or 0
      local _, most = standing({ at = p, limit = S[s + 3] })
      local missing = 1 + C[p + 2] + C[p + 6] + foreign - most
      if missing > 0 then
        local l = limitAt(j)
        l.walk = false
        missing = missing - C[p + 2] + l.sum
        local at = missing > 0 and (walk(l, missing) or NEVER) or 0
        if missing > 0 and foreign > 0 then at = min(at, max(C[p + 11], walk(l, missing - foreign) or NEVER)) end
        if at < NEVER and S[s + 2] == 2 then tokens = max(tokens, at) elseif at < NEVER then room = max(room, at) end
      end
    end
  end
  if room > 0 or tokens > 0 then
    local front = max(now, room)
    queues[#queues + 1] = format('[%d,%.0f,%.0f,0]', i - 1, front, max(0, tokens - front) * 1000)
  end
end

local result
if isRepeated then
  result = call('HGET', base .. 'last', me)
else
  local isNews, used = false, ''
  for i = 1, #poolNames do
    local q = qAt[poolNames[i]]
    if q and (Q[q + 2] ~= 0 or (Q[q + 4] > 0 and Q[q + 3] > now)) then isNews = true end
  end
  for s = 1, #S, 5 do
    local p = cAt[S[s]]
    if p and (C[p + 12] ~= '' or C[p + 13] > 0 or (C[p + 7] >= 0 and C[p + 8] ~= S[s + 2])) then isNews = true end
    if S[s + 3] >= LONG_WINDOW_MS then
      used = format('%s[%d,%.0f]', used == '' and used or used .. ',', (s - 1) / 5, limitAt((s - 1) / 5).sum)
    end
  end
  local pieces = { format('[%.0f.%03d,%s,%.0f,%d,%.0f,[', now, fraction, cjson.encode(epoch), version, isFenced and 1 or 0,
    learnUntil) }
  for i = 1, #grantKeys do
    local key = grantKeys[i]
    pieces[i + 1] = (i > 1 and ',[' or '[') .. cjson.encode(key) .. ',' .. concat(grantTexts[key], ',') .. ']'
  end
  pieces[#pieces + 1] = '],[' .. concat(refused, ',') .. format('],%.0f,%d,[', retryAt, restate) .. concat(handoffs, ',') .. '],['
    .. concat(queues, ',')
  if isNews then
    -- Most of these lists are empty in most replies: there is a table only for one that is not.
    local coolDowns, paused, ceilings, over, poolWords, limitWords
    local function put(list, its)
      list = list or {}
      list[#list + 1] = its
      return list
    end
    local function text(list) return list and concat(list, ',') or '' end
    for i = 1, #poolNames do
      local q = qAt[poolNames[i]]
      if q then
        if Q[q + 4] > 0 and Q[q + 3] > now then
          coolDowns = put(coolDowns, format('[%d,%.0f,%.0f]', i - 1, Q[q + 3], Q[q + 4]))
        end
        if Q[q + 2] > 0 then paused = put(paused, i - 1) end
        if Q[q + 2] ~= 0 then poolWords = put(poolWords, format('[%d,%.0f]', i - 1, math.abs(Q[q + 2]))) end
      end
    end
    for s = 1, #S, 5 do
      local p, i = cAt[S[s]], (s - 1) / 5
      if p then
        if C[p + 12] ~= '' then ceilings = put(ceilings, format('[%d,%.0f]', i, (unpackAll(C[p + 12])))) end
        if C[p + 7] >= 0 and C[p + 8] ~= S[s + 2] then over = put(over, format('[%d,%.0f]', i, C[p + 8])) end
        if C[p + 13] > 0 then limitWords = put(limitWords, format('[%d,%.0f]', i, C[p + 13])) end
      end
    end
    pieces[#pieces + 1] = '],[' .. text(coolDowns) .. '],[' .. text(paused) .. '],[' .. text(ceilings) .. '],[' .. text(over)
      .. '],[' .. used .. '],[' .. text(poolWords) .. '],[' .. text(limitWords) .. '],'
  else
    pieces[#pieces + 1] = '],[],[],[],[],[' .. used .. '],[],[],'
  end
  pieces[#pieces + 1] = share .. format(',%.0f]', offset)
  result = concat(pieces)
  if isLive then call('HSET', base .. 'last', me, result) end
end
