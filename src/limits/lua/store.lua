--[[ Last part of what changes anything: the core as it is now, and operators' words and ceilings, which outlive the fleet. ]]
if epoch ~= '' then
  call('SET', KEYS[1], pack(epoch, version, last, offset, rosterVersion, due, keep, safe, learnUntil, started, learn, virtual,
    C, Q, server), 'PX', format('%.0f', max(1, keep - now)))
end
if isWordy then
  local paused, over, learned = {}, {}, {}
  for q = 0, #Q - 15, 15 do
    local at = Q[q + 2]
    -- That a pool was resumed matters as long as anybody may remember the pause.
    if at > 0 or (at < 0 and epoch == '') then paused[#paused + 1], paused[#paused + 2] = Q[q + 1], at end
  end
  for p = 0, #C - 13, 13 do
    if C[p + 7] >= 0 and (epoch == '' or C[p + 7] ~= C[p + 8]) then
      over[#over + 1], over[#over + 2], over[#over + 3], over[#over + 4] = C[p + 1], C[p + 7], C[p + 8], C[p + 13]
    end
    if C[p + 12] ~= '' then learned[#learned + 1], learned[#learned + 2] = C[p + 1], C[p + 12] end
  end
  if #paused + #over + #learned == 0 then
    call('DEL', prefix .. 'ctl')
  else
    call('SET', prefix .. 'ctl', pack(paused, over, learned), 'PX', 2592000000)
  end
end
