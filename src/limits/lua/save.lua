--[[ Eleventh part of the exchange: the tree, the members and the times to live; store.lua follows. ]]
do
  local joins = false
  for i = 1, #poolList do
    local P = poolList[i]
    local log, q, name = P.log, P.at, P.name
    if P.isMoved or P.isDoomed or P.idle or #log > 0 then
      local t, n, f, idleKey = base .. 't:' .. name, base .. 'n:' .. name, base .. 'f:' .. name, base .. 'i:' .. name
      if P.isDoomed then call('DEL', t, n, f, idleKey) end
      -- What is taken out of each key comes after what is put in, so that none vanishes in between, with its time to live.
      local hsetF, hdelF, hsetN, hdelN, zadd, zrem = {}, {}, {}, {}, {}, {}
      for j = 1, #log do
        local T = log[j]
        local r, isAlive, tenant = T.r, P.tenants[T.name] == T, T.name
        local prefixOf = #tenant .. ':' .. tenant
        if T.moved then
          for p, by in pairs(T.moved) do
            if by ~= 0 then
              joins = joins or {}
              local id = sub(r[p], 1, r[p + 1])
              local moves = joins[id]
              if not moves then
                moves = {}
                joins[id] = moves
              end
              local its = pack(name, tenant, r[p])
              moves[its] = (moves[its] or 0) + by
              if by < 0 and not P.isDoomed then hdelF[#hdelF + 1] = prefixOf .. r[p] end
            end
          end
        end
        if isAlive then
          for p, flow in pairs(T.F) do
            if flow.isDirty and r[p + 3] > 0 then
              local at = #hsetF
              hsetF[at + 1], hsetF[at + 2] = prefixOf .. r[p], pack(flow.draws, flow.classWeight, flow.base, flow.perToken,
                flow.count, flow.since, flow.known, sub(flow.costs, flow.pos))
            end
          end
          if T.isDirty then
            -- A finish tag is kept until virtual time has passed it.
            local past = T.virtual
            for p = 5, #r, 6 do
              if r[p + 3] == 0 and r[p + 2] <= past then
                local kept, size = { 0, 0, 0, 0 }, 4
                for o = 5, #r, 6 do
                  if r[o + 3] > 0 or r[o + 2] > past then
                    for k = 0, 5 do kept[size + 1 + k] = r[o + k] end
                    size = size + 6
                  end
                end
                r = kept
                break
              end
            end
            r[1], r[2], r[3], r[4] = T.weight, T.tag, past, T.waiting
            local at = #hsetN
            hsetN[at + 1], hsetN[at + 2] = tenant, pack(r)
            if T.tag ~= T.storedTag then
              at = #zadd
              zadd[at + 1], zadd[at + 2] = format('%.0f', T.tag), tenant
            end
          end
        elseif T.isStored and not P.isDoomed then
          hdelN[#hdelN + 1], zrem[#zrem + 1] = tenant, tenant
        end
      end
      Q[q + 6], Q[q + 7], Q[q + 8], Q[q + 9], Q[q + 10] = P.tag, P.virtual, P.load, P.waiting, P.tenantCount
      if P.waiting == 0 then
        for k = 6, 11 do Q[q + k] = 0 end
        Q[q + 12], Q[q + 13], Q[q + 14], Q[q + 15] = '', '', 0, 0
      else
        if not P.isStored then
          local c = #created
          created[c + 1], created[c + 2], created[c + 3] = t, n, f
        end
        each('HSET', f, hsetF)
        each('HSET', n, hsetN)
        each('ZADD', t, zadd)
        if #hdelF + #hdelN > 0 then
          local function except(takes, sets, place)
            local isSet, rest = {}, {}
            for k = place, #sets, 2 do isSet[sets[k]] = true end
            for k = 1, #takes do
              if not isSet[takes[k]] then rest[#rest + 1] = takes[k] end
            end
            return rest
          end
          each('HDEL', f, except(hdelF, hsetF, 1))
          each('HDEL', n, except(hdelN, hsetN, 1))
          each('ZREM', t, except(zrem, zadd, 2))
        end
        if P.idle then
          local put, take = {}, {}
          for tenant, tag in pairs(P.idle) do
            if tag then
              put[#put + 1], put[#put + 2] = format('%.0f', tag), tenant
            elseif P.hasIdle then
              take[#take + 1] = tenant
            end
          end
          each('ZREM', idleKey, take)
          if P.hasIdle then call('ZREMRANGEBYSCORE', idleKey, '-inf', format('%.0f', P.virtual)) end
          each('ZADD', idleKey, put)
          if #put > 0 then
            P.hasIdle = true
            created[#created + 1] = idleKey
          end
        end
        Q[q + 11] = P.hasIdle and 1 or 0
      end
    end
  end
  if joins then
    for id, moves in pairs(joins) do
      local sadd, srem, key = {}, {}, base .. 'w:' .. id
      for its, by in pairs(moves) do
        if by > 0 then sadd[#sadd + 1] = its elseif by < 0 then srem[#srem + 1] = its end
      end
      each('SADD', key, sadd)
      each('SREM', key, srem)
      if #sadd > 0 then created[#created + 1] = key end
    end
  end
end

do
  local procs, args, n = base .. 'procs', {}, 0
  for i = 1, #memberList do
    local m = memberList[i]
    if m.isDirty and members[m.id] == m then
      args[n + 1], args[n + 2] = m.id, pack(m.expires, m.hold, m.isolated, m.seq, m.dead, m.aside, m.ghost, m.restate, m.share,
        m.mailAt, m.slots, m.floors, m.told, m.answered)
      n = n + 2
    end
  end
  each('HSET', procs, args)
  for i = 1, #gone do
    local id = gone[i]
    if members[id] == false then
      call('HDEL', procs, id)
      call('HDEL', base .. 'last', id)
      call('DEL', base .. 'mail:' .. id, base .. 'w:' .. id)
    end
  end
end

keep = max(keep, now + spec[5])
if learnUntil > 0 then
  keep = max(keep, learnUntil)
elseif learn ~= '' and not isRecent then
  learn = ''
end
if isTaught then learn = pack(heard, expected, back, learnUsed) end

-- Every key lives as long as the core at least: twice as long as what it promises, set anew when that has come near.
if keep <= safe then
  for i = 1, #created do call('PEXPIRE', created[i], format('%.0f', safe - now)) end
else
  safe = now + 2 * (keep - now)
  local keys, n = { base .. 'procs', base .. 'last' }, 2
  for p = 0, #C - 13, 13 do
    if C[p + 4] >= 0 then
      n = n + 1
      keys[n] = base .. 'b:' .. C[p + 1]
    end
  end
  for q = 0, #Q - 15, 15 do
    if Q[q + 9] > 0 then
      local name = Q[q + 1]
      keys[n + 1], keys[n + 2], keys[n + 3], keys[n + 4] = base .. 't:' .. name, base .. 'n:' .. name, base .. 'f:' .. name,
        base .. 'i:' .. name
      n = n + 4
    end
  end
  rare().scan()
  for id, m in pairs(members) do
    if m then
      keys[n + 1], keys[n + 2] = base .. 'mail:' .. id, base .. 'w:' .. id
      n = n + 2
    end
  end
  for i = 1, n do call('PEXPIRE', keys[i], format('%.0f', safe - now)) end
end
