-- What retention allows to drop, a bounded piece per call. Answers 1 while there is more.
local now, before, through, cases_before = arg(), tonumber(arg()), tonumber(arg()), arg()
local PIECE = 1000
local more = 0

local marks = redis.call('ZRANGEBYSCORE', P .. 'mx', '-inf', now, 'LIMIT', 0, PIECE)
local hdel = {}
for _, member in ipairs(marks) do
  local length, rest = string.match(member, '^(%d+) (.*)$')
  length = tonumber(length)
  push(hdel, P .. 'm:' .. string.sub(rest, 1, length), string.sub(rest, length + 1))
end
flush('HDEL', hdel)
call('ZREM', P .. 'mx', marks)
if #marks == PIECE then
  more = 1
end

local rows = redis.call('ZRANGEBYSCORE', P .. 'rx', '-inf', '(' .. now, 'LIMIT', 0, PIECE)
local changes = {}
for i, member in ipairs(rows) do
  local gap = string.find(member, '\0', 1, true)
  changes[i] = { collection = string.sub(member, 1, gap - 1), id = string.sub(member, gap + 1) }
end
change_rows(changes)
if #rows == PIECE then
  more = 1
end

-- Closed cases. Those that must stay are stepped over: 'cases_kept' is where the next call of the
-- same pass goes on.
local kept = tonumber(redis.call('HGET', KEYS[1], 'cases_kept') or '0')
local closed = redis.call('ZRANGEBYSCORE', P .. 'i:cases:state=closed', '-inf', '(' .. cases_before,
  'LIMIT', kept, PIECE)
local gone, names = {}, {}
for _, id in ipairs(closed) do
  local escalation = 'escalation/' .. id
  local resolved = redis.call('HEXISTS', P .. 'r:escalations', id) == 0
    or redis.call('ZSCORE', P .. 'i:escalations:state=resolved', id)
  if resolved and not redis.call('ZSCORE', P .. 'due', escalation) then
    gone[#gone + 1] = { collection = 'cases', id = id }
    gone[#gone + 1] = { collection = 'escalations', id = id }
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

-- The journal, oldest first, leaving the last dropped record's hash as the anchor. A record whose
-- case lives on moves to the case.
local ends = redis.call('HMGET', KEYS[1], 'head', 'anchor')
local head = tonumber(string.match(ends[1] or '0 ', '^%d+'))
local anchor = tonumber(string.match(ends[2] or '0 ', '^%d+'))
local seqs = {}
for seq = anchor + 1, math.min(head, through, anchor + PIECE) do
  seqs[#seqs + 1] = string.format('%.0f', seq)
end
local dropped, last = {}, nil
for i, value in ipairs(hmget(P .. 'j', seqs)) do
  local at, case, hash = string.match(value or '', '^(-?%d+) (%S+) (%S*)\n')
  if not at or tonumber(at) >= before then
    break
  end
  if case ~= '-' then
    if redis.call('HEXISTS', P .. 'r:cases', case) == 1 then
      redis.call('RPUSH', P .. 'tl:' .. case, seqs[i], value)
    end
    redis.call('LREM', P .. 't:' .. case, 1, seqs[i])
  end
  dropped[i] = seqs[i]
  last = seqs[i] .. ' ' .. hash
end
if last then
  call('HDEL', P .. 'j', dropped)
  redis.call('HSET', KEYS[1], 'anchor', last)
end
if #dropped == PIECE then
  more = 1
end
return more
