-- Aggregates whose time has come: name, time, version. A time alone, as half a commit can leave it, is
-- nobody's.
local found = redis.call('ZRANGEBYSCORE', P .. 'due', '-inf', arg(), 'WITHSCORES', 'LIMIT', 0, arg())
local names = {}
for i = 1, #found, 2 do
  names[#names + 1] = found[i]
end
local answer = {}
for i, version in ipairs(hmget(P .. 'ver', names)) do
  if version or redis.call('HEXISTS', P .. 'agg', names[i]) == 1 then
    answer[#answer + 1] = { names[i], found[2 * i], version or '0' }
  end
end
return answer
