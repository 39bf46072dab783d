-- A source's next number, backlog and cursor.
local source = arg()
return {
  redis.call('HGET', P .. 'next', source) or '1',
  redis.call('HLEN', P .. 'q:' .. source),
  redis.call('HGET', P .. 'cursor', source),
}
