-- One aggregate: its version as commits compare it, its value, and the pieces that the value names in its first
-- line. What is not there is ''; a piece that is not there is false.
local name = arg()
local value = redis.call('HGET', P .. 'agg', name) or ''
local fields = {}
for number in string.gmatch(string.match(value, '^%d+([ %d]*)\n') or '', '%d+') do
  fields[#fields + 1] = name .. '\0' .. number
end
return {
  redis.call('HGET', P .. 'ver', name) or '',
  value,
  hmget(P .. 'pc', fields),
}
