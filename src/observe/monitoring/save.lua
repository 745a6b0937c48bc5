--[[
  Writes what one process counted: whole tallies in place of the former ones, so that a repeated or lost reply changes nothing.
  KEYS[1]  {namespace:monitor}:totals
  ARGV     generation of the process (<id>.<n>), its id, what it is like (JSON; '' for one that leaves),
           then three by three: minute since 1970 ('' for totals), pool, tally (JSON)
  Returns  { store time in ms, 'saved' | 'new' | 'folded', JSON by pool }
  `new`: nothing of this generation was known before. `folded`: it was silent for so long that its counts were added to the
  dead ones' for good; here they are, nothing was written, and it has to go on as a new generation without them.
  Keys  totals: <generation>|<pool> → tally, where `*` stands for all who are gone · seen: generation → what it is like ·
        at: generation → when · m:<minute>: <id>|<pool> → tally · minutes: those not folded yet · folded:<generation>
]]
local prefix = string.sub(KEYS[1], 1, -#'totals' - 1)
local generation, id, alike = ARGV[1], ARGV[2], ARGV[3]
local call = redis.call
local DAY, MONTH, HOUR = 86400000, 2592000000, 3600000
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local thisMinute = math.floor(now / 60000)

local folded = call('GET', prefix .. 'folded:' .. generation)
if folded then return { now, 'folded', folded } end

local function add(into, from)
  for name, value in pairs(from) do
    if type(value) == 'table' then
      if type(into[name]) ~= 'table' then into[name] = {} end
      add(into[name], value)
    else
      into[name] = (into[name] or 0) + value
    end
  end
end

-- Adds the fields of a hash that `takes` picks to those of `*`, and returns them by pool.
local function fold(key, takes)
  local all, sums, kept = call('HGETALL', key), {}, {}
  for i = 1, #all, 2 do
    local owner, pool = string.match(all[i], '^(.-)|(.*)$')
    if owner ~= '*' and takes(owner) then
      local tally = cjson.decode(all[i + 1])
      tally.recent429 = nil
      kept[pool] = tally
      if not sums[pool] then
        local sum = call('HGET', key, '*|' .. pool)
        sums[pool] = sum and cjson.decode(sum) or {}
      end
      add(sums[pool], tally)
      call('HDEL', key, all[i])
    end
  end
  for pool, sum in pairs(sums) do call('HSET', key, '*|' .. pool, cjson.encode(sum)) end
  return kept
end

local known = call('ZSCORE', prefix .. 'at', generation)
call('ZADD', prefix .. 'at', now, generation)
call('PEXPIRE', prefix .. 'at', MONTH)
if alike == '' then
  call('HDEL', prefix .. 'seen', generation)
else
  call('HSET', prefix .. 'seen', generation, alike)
  call('PEXPIRE', prefix .. 'seen', MONTH)
end
for i = 4, #ARGV, 3 do
  local minute, pool, tally = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if minute == '' then
    call('HSET', KEYS[1], generation .. '|' .. pool, tally)
  elseif tonumber(minute) > thisMinute - 60 then
    local key = prefix .. 'm:' .. minute
    call('HSET', key, id .. '|' .. pool, tally)
    call('PEXPIRE', key, DAY + HOUR)
    call('ZADD', prefix .. 'minutes', minute, minute)
    call('PEXPIRE', prefix .. 'minutes', DAY)
  end
end
call('PEXPIRE', KEYS[1], MONTH)

-- Upkeep, a little at a time: one field in place of many for what nobody writes to any more.
for _, silent in ipairs(call('ZRANGEBYSCORE', prefix .. 'at', '-inf', now - HOUR, 'LIMIT', 0, 2)) do
  local counts = fold(KEYS[1], function(owner) return owner == silent end)
  call('SET', prefix .. 'folded:' .. silent, cjson.encode(counts), 'PX', MONTH)
  call('ZREM', prefix .. 'at', silent)
  call('HDEL', prefix .. 'seen', silent)
end
for _, minute in ipairs(call('ZRANGEBYSCORE', prefix .. 'minutes', '-inf', thisMinute - 61, 'LIMIT', 0, 2)) do
  fold(prefix .. 'm:' .. minute, function() return true end)
  call('ZREM', prefix .. 'minutes', minute)
end
return { now, known and 'saved' or 'new', '' }
