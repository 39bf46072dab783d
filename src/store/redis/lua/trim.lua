-- What retention allows to drop, a bounded piece per call. Answers 1 while there is more.
local now, cases_before = arg(), arg()
local PIECE = 1000
local more = 0

-- Marks lie in lists by the span of time in which they expire; one that was renewed is in a later
-- list too, and only the mark itself says when it ends.
local SPAN = 1048576
local current = math.floor(tonumber(now) / SPAN)
for _, span in ipairs(redis.call('ZRANGEBYSCORE', P .. 'mx', '-inf', current, 'LIMIT', 0, 2)) do
  local list, gone, kept = P .. 'mx:' .. span, {}, {}
  local members = redis.call('LRANGE', list, 0, PIECE - 1)
  for _, member in ipairs(members) do
    local key, id = P .. 'm:' .. string.sub(member, 17), string.sub(member, 1, 16)
    local mark = redis.call('HGET', key, id)
    -- A damaged one does not stand.
    local expires = mark and #mark == MARK and struct.unpack('>i8', mark) or 0
    if mark and expires <= tonumber(now) then
      push(gone, key, id)
    elseif mark and math.floor(expires / SPAN) == tonumber(span) then
      kept[#kept + 1] = member
    end
  end
  flush('HDEL', gone)
  redis.call('LTRIM', list, #members, -1)
  call('RPUSH', list, kept)
  if redis.call('EXISTS', list) == 0 then
    redis.call('ZREM', P .. 'mx', span)
  end
  if tonumber(span) < current then
    more = 1
  end
end

local rows = redis.call('ZRANGEBYSCORE', P .. 'rx', '-inf', '(' .. now, 'LIMIT', 0, PIECE)
local expired = {}
for _, member in ipairs(rows) do
  local gap = string.find(member, '\0', 1, true)
  change(expired, string.sub(member, 1, gap - 1), string.sub(member, gap + 1), false)
end
change_rows(expired)
if #rows == PIECE then
  more = 1
end

-- Closed cases. Those that must stay are stepped over: 'cases_kept' is where the next call of the
-- same pass goes on.
local kept = tonumber(redis.call('HGET', KEYS[1], 'cases_kept') or '0')
local closed = redis.call('ZRANGEBYSCORE', P .. 'i:cases:!state=closed', '-inf', '(' .. cases_before,
  'LIMIT', kept, PIECE)
local gone, names = {}, {}
for _, id in ipairs(closed) do
  local escalation = 'escalation/' .. id
  local resolved = redis.call('HEXISTS', P .. 'r:escalations', id) == 0
    or redis.call('ZSCORE', P .. 'i:escalations:!state=resolved', id)
  if resolved and not redis.call('ZSCORE', P .. 'due', escalation) then
    change(gone, 'cases', id, false)
    change(gone, 'escalations', id, false)
    names[#names + 1] = escalation
    redis.call('DEL', P .. 'tl:' .. id)
  else
    kept = kept + 1
  end
end
change_rows(gone)
call('HDEL', P .. 'agg', names)
call('HDEL', P .. 'ver', names)
if #closed == PIECE then
  more = 1
  redis.call('HSET', KEYS[1], 'cases_kept', kept)
else
  redis.call('HDEL', KEYS[1], 'cases_kept')
end
return more
