--[[ After core.lua: an operator's word. ARGV[3]: [pause | resume | limit, pool or limit, base, limit] as JSON. ]]
local type, name, configuredAs, limit = unpack(cjson.decode(ARGV[3]))
last, offset = lastBefore, offsetBefore
if type == 'limit' then
  local p = place(name)
  C[p + 7], C[p + 8] = configuredAs, limit
else
  local q = placePool(name)
  Q[q + 2] = type == 'pause' and 1 or 0
  if type == 'resume' then Q[q + 3], Q[q + 4], Q[q + 5] = 0, 0, 0 end
end
if epoch ~= '' then saveCore() end
saveWords()
call('PUBLISH', prefix .. 'all', '')
