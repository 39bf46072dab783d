-- Who owns a partition: claim, renew, release.
local what, node, epoch, now, till = arg(), arg(), arg(), arg(), arg()
local lease = redis.call('HMGET', KEYS[1], 'node', 'until', 'epoch', 'head')
if what == 'claim' then
  local owner = lease[1] or ''
  if owner ~= '' and owner ~= node and tonumber(lease[2]) > tonumber(now) then
    return { 'held', owner, lease[2] }
  end
  redis.call('HSET', KEYS[1], 'node', node, 'until', till)
  local raised = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
  return { 'ok', tostring(raised), lease[4] or '0 ' }
end
if lease[1] ~= node or lease[3] ~= epoch then
  return { 'lost' }
end
if what == 'renew' then
  redis.call('HSET', KEYS[1], 'until', till)
else
  -- The epoch rises as well: what is on its way is fenced.
  redis.call('HSET', KEYS[1], 'node', '', 'until', '0')
  redis.call('HINCRBY', KEYS[1], 'epoch', 1)
end
return { 'ok' }
