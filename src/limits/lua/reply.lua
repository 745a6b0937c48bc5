--[[
Sixth part of the exchange: its reply.

Returns  the reply as JSON, by place (see redis-store.ts)
]]
local grantTexts, grantKeys, handoffs, restate, share, queues = {}, {}, {}, 0, 'null', {}
local seq, isLeaving = x[2], x[11] == 1
local quote = cjson.encode

local function replyText(isFenced)
  local coolDowns, paused, ceilings, over, used, grants = {}, {}, {}, {}, {}, {}
  for i = 1, #poolNames do
    local q = qAt[poolNames[i]]
    if q then
      if Q[q + 4] > 0 and Q[q + 3] > now then
        coolDowns[#coolDowns + 1] = '[' .. i - 1 .. ',' .. int(Q[q + 3]) .. ',' .. int(Q[q + 4]) .. ']'
      end
      if Q[q + 2] == 1 then paused[#paused + 1] = i - 1 end
    end
  end
  for s = 1, #S, 5 do
    local p, i = cAt[S[s]], (s - 1) / 5
    if p then
      if C[p + 12] ~= '' then
        local value = unpackAll(C[p + 12])
        ceilings[#ceilings + 1] = '[' .. i .. ',' .. int(value) .. ']'
      end
      if C[p + 7] >= 0 and C[p + 8] ~= S[s + 2] then over[#over + 1] = '[' .. i .. ',' .. int(C[p + 8]) .. ']' end
    end
    if S[s + 3] >= LONG_WINDOW_MS then used[#used + 1] = '[' .. i .. ',' .. int(limitAt(i).sum) .. ']' end
  end
  for i = 1, #grantKeys do
    grants[i] = '[' .. quote(grantKeys[i]) .. ',' .. concat(grantTexts[grantKeys[i]], ',') .. ']'
  end
  for i = 1, #refused do
    refused[i] = '[' .. quote(refused[i][1]) .. ',' .. refused[i][2] .. ',' .. int(refused[i][3]) .. ']'
  end
  return '[' .. int(now) .. ',' .. quote(epoch) .. ',' .. int(version) .. ',' .. (isFenced and 1 or 0) .. ',' .. int(learnUntil)
    .. ',[' .. concat(grants, ',') .. '],[' .. concat(refused, ',') .. '],' .. int(retryAt) .. ',' .. restate .. ',['
    .. concat(handoffs, ',') .. '],[' .. concat(queues, ',') .. '],[' .. concat(coolDowns, ',') .. '],['
    .. concat(paused, ',') .. '],[' .. concat(ceilings, ',') .. '],[' .. concat(over, ',') .. '],[' .. concat(used, ',')
    .. '],' .. share .. ']'
end

local function giveText(key, its)
  local texts = grantTexts[key]
  if not texts then
    texts = {}
    grantTexts[key] = texts
    grantKeys[#grantKeys + 1] = key
  end
  texts[#texts + 1] = its
end
