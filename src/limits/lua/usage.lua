--[[ After core.lua: what is used and by whom, without a change. Returns JSON by place (see redis-codec.ts). ]]
local limitTexts, processes, paused = {}, {}, {}
for i = 0, #S / 5 - 1 do
  local l = limitAt(i)
  local used = l.window == 0 and C[l.at + 5] or l.sum
  limitTexts[i + 1] = format('%.0f,%.0f,%.0f', used, standing(l))
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
