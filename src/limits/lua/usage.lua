--[[ After core.lua: what is used and by whom, without a change. Returns JSON by place (see redis-codec.ts). ]]
local limitTexts, processes, paused, promises = {}, {}, {}, {}
-- Who is first in a pool's line was promised a date.
for q = 0, #Q - 15, 15 do
  local tenant, id = Q[q + 12], Q[q + 13]
  local flow = id ~= '' and call('HGET', base .. 'f:' .. Q[q + 1], #tenant .. ':' .. tenant .. id)
  if flow then
    local draws, _, _, _, _, _, known, costs = unpackAll(flow)
    promises[#promises + 1] = { '\n' .. draws .. '\n', known > 0 and tonumber(string.match(costs, '^[^,]+')) or 0 }
  end
end
for i = 0, #S / 5 - 1 do
  local l = limitAt(i)
  local p = l.at
  local used, reserved = l.window == 0 and C[p + 5] or l.sum, C[p + 6]
  for _, its in ipairs(l.window > 0 and promises or {}) do
    if string.find(its[1], '\n' .. l.id .. '\n', 1, true) then reserved = reserved + (l.kind == 2 and its[2] or 1) end
  end
  local conf, most = standing(l)
  local proven = most
  if C[p + 12] ~= '' then
    local _, level, _, _, _, isProbing = unpackAll(C[p + 12])
    if isProbing == 1 then proven = min(most, level) end
  end
  limitTexts[i + 1] = format('%.0f,%.0f,%.0f,%.0f,%.0f', used, reserved, conf, most, proven)
end
local procs = epoch == '' and {} or call('HGETALL', base .. 'procs')
for i = 1, #procs, 2 do
  local _, _, _, _, dead, _, _, _, _, _, slots = unpackAll(procs[i + 1])
  if dead == 0 or #slots > 0 then
    local its = {}
    for j = 1, #slots, 2 do its[#its + 1] = cjson.encode(slots[j]) .. format(',%.0f', slots[j + 1]) end
    processes[#processes + 1] = '[' .. cjson.encode(procs[i]) .. ',[' .. concat(its, ',') .. ']]'
  end
end
for i = 1, #poolNames do
  local q = qAt[poolNames[i]]
  if q and Q[q + 2] > 0 then
    paused[#paused + 1] = '[' .. i - 1 .. ',null]'
  elseif q and Q[q + 4] > 0 and Q[q + 3] > now then
    paused[#paused + 1] = format('[%d,%.0f]', i - 1, Q[q + 3])
  end
end
return format('[%.0f,[', now) .. concat(limitTexts, ',') .. '],[' .. concat(processes, ',') .. '],[' .. concat(paused, ',')
  .. ']]'
