-- A source's next number, backlog (what its chunks hold; half an accept has a number that comes next) and cursor.
local source = arg()
local next, backlog = redis.call('HGET', P .. 'next', source) or '1', 0
local chunks = redis.call('ZRANGEBYSCORE', P .. 'qf:' .. source, '-inf', '(' .. next, 'WITHSCORES')
for i = 1, #chunks, 2 do
  backlog = backlog + chunks[i + 1] - chunks[i] + 1
end
return { next, backlog, redis.call('HGET', P .. 'cursor', source) }
