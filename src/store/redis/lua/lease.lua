-- Who owns a partition: claim, renew, release.

-- A queue's index follows its values. Those of an earlier securitybot have none; half a commit can have left an entry
-- without a value, or chunks under numbers that were not given: these would be found beside what gets them.
local function mend(source, next)
  local queue, index = P .. 'q:' .. source, P .. 'qf:' .. source
  local waits = {}
  for _, field in ipairs(redis.call('HKEYS', queue)) do
    local first = tonumber(field)
    if first and first >= next then
      redis.call('HDEL', queue, field)
    elseif first then
      waits[field] = true
      if not redis.call('ZSCORE', index, field) then
        local alerts = string.match(redis.call('HGET', queue, field), '^c(%d+)\n')
        local last = math.min(first + math.max(tonumber(alerts or '1'), 1), next) - 1
        redis.call('ZADD', index, string.format('%.0f', last), field)
      end
    end
  end
  for _, field in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    if not waits[field] then
      redis.call('ZREM', index, field)
    end
  end
end

local what, node, epoch, now, till = arg(), arg(), arg(), arg(), arg()
local lease = redis.call('HMGET', KEYS[1], 'node', 'until', 'epoch', 'head')
if what == 'claim' then
  local owner = lease[1] or ''
  if owner ~= '' and owner ~= node and tonumber(lease[2]) > tonumber(now) then
    return { 'held', owner, lease[2] }
  end
  redis.call('HSET', KEYS[1], 'node', node, 'until', till)
  -- Of schema 3: where a queue's lowest number could be.
  redis.call('DEL', P .. 'low')
  local nexts = redis.call('HGETALL', P .. 'next')
  for i = 1, #nexts, 2 do
    mend(nexts[i], tonumber(nexts[i + 1]))
  end
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
