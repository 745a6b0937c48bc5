--[[ Between core.lua and store.lua: an operator's word. ARGV[3]: [pause | resume | limit, pool or limit, base, limit] as JSON. ]]
local isWordy = true
last, offset = lastBefore, offsetBefore
do
  local kind, name, configuredAs, limit = unpack(cjson.decode(ARGV[3]))
  if kind == 'limit' then
    local p = place(name)
    C[p + 7], C[p + 8], C[p + 13] = configuredAs, limit, wordDate()
    -- Everybody is to hear of its new floor.
    rosterVersion = rosterVersion + 1
  else
    local q = placePool(name)
    Q[q + 2] = kind == 'pause' and wordDate() or -wordDate()
    if kind == 'resume' then Q[q + 3], Q[q + 4], Q[q + 5] = 0, 0, 0 end
  end
end
call('PUBLISH', prefix .. 'all', '')
