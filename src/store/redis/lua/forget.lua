-- The journal up to a new anchor goes. A record whose case lives on moves to the case. Answers 0 when
-- the anchor is not the one the caller has read from.
local expected, anchor = arg(), arg()
if (redis.call('HGET', KEYS[1], 'anchor') or '0 ') ~= expected then
  return 0
end
for _ = 1, count() do
  local case, packed, seq, value = arg(), arg(), arg(), arg()
  if redis.call('HEXISTS', P .. 'r:cases', case) == 1 then
    redis.call('RPUSH', P .. 'tl:' .. case, value)
  end
  local kept = {}
  for other in string.gmatch(redis.call('HGET', P .. 't', packed) or '', '%d+') do
    if other ~= seq then
      kept[#kept + 1] = other
    end
  end
  if kept[1] then
    redis.call('HSET', P .. 't', packed, table.concat(kept, ' '))
  else
    redis.call('HDEL', P .. 't', packed)
  end
end
redis.call('HSET', KEYS[1], 'anchor', anchor)
-- The chunk that holds the next record stays whole.
local kept = chunk_of(string.format('%.0f', tonumber(string.match(anchor, '^%d+')) + 1))
if kept then
  local gone = redis.call('ZRANGEBYSCORE', P .. 'jf', '-inf', '(' .. kept)
  if gone[1] then
    call('HDEL', P .. 'j', gone)
    redis.call('ZREMRANGEBYSCORE', P .. 'jf', '-inf', '(' .. kept)
  end
end
return 1
