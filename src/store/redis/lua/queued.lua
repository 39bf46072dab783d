-- Chunks that begin above `after`, in order, until they hold `limit` alerts: first number, last number, value.
local source, after, limit = arg(), arg(), tonumber(arg())
local queue, index = P .. 'q:' .. source, P .. 'qf:' .. source
local ends = '(' .. (redis.call('HGET', P .. 'next', source) or '1')
local answer, held, from = {}, 0, '(' .. after
while held < limit do
  local found = redis.call('ZRANGEBYSCORE', index, from, ends, 'WITHSCORES', 'LIMIT', 0, 100)
  if not found[1] then
    break
  end
  for i = 1, #found, 2 do
    local first, last = found[i], found[i + 1]
    from = '(' .. last
    -- The value may be gone where half a commit took the chunk.
    local value = tonumber(first) > tonumber(after) and held < limit and redis.call('HGET', queue, first)
    if value then
      answer[#answer + 1] = { first, last, value }
      held = held + last - first + 1
    end
  end
end
return answer
