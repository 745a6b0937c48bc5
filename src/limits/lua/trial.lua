--[[
Every command that the other scripts use, on a key of its own: whether this user may, and this Redis does.
KEYS[1] {namespace:doctor}:trial; ARGV[1] its time to live, ms
]]
local call, key, ttl = redis.call, KEYS[1], ARGV[1]
call('TIME')
call('INFO', 'server')
call('SET', key, cmsgpack.pack(cjson.decode('[1]')), 'PX', ttl)
call('GET', key)
call('DEL', key)
call('HSET', key, 'a', 1, 'b', 2)
call('PEXPIRE', key, ttl)
call('HGET', key, 'a')
call('HMGET', key, 'a', 'b')
call('HGETALL', key)
call('HDEL', key, 'a')
call('UNLINK', key)
call('RPUSH', key, 1)
call('LRANGE', key, 0, -1)
call('DEL', key)
call('SADD', key, 1)
call('SMEMBERS', key)
call('SREM', key, 1)
call('ZADD', key, 1, 'a')
call('ZSCORE', key, 'a')
call('ZRANGE', key, 0, -1)
call('ZREMRANGEBYSCORE', key, 0, 2)
call('PUBLISH', key, '')
return 'ok'
