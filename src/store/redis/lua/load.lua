-- One aggregate: its version as commits compare it, and its value; a part that is not there is ''.
local name = arg()
return {
  redis.call('HGET', P .. 'ver', name) or '',
  redis.call('HGET', P .. 'agg', name) or '',
}
