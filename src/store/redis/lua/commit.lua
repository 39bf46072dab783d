-- One batch, whole or not at all. Redis does not roll a script back: so everything is read and
-- compared first, and the first write comes after that. What the batch leaves has been worked out by
-- the caller, as lists for a few calls; here it only has to be true that the store is as the caller
-- assumed. If it is not, the answer is what was found: versions, next numbers, marks by source.
-- Numbers that are compared are compared as the text they were stored as.
local epoch, head, now, look = arg(), arg(), tonumber(arg()), arg() == '1'
local lease = redis.call('HMGET', KEYS[1], 'epoch', 'head')
if lease[1] ~= epoch or (lease[2] or '0 ') ~= head then
  return 'fenced'
end

local versions = hmget_next(P .. 'ver', count())
for i = 1, #versions do
  if (versions[i] or '0') ~= arg() then
    look = true
  end
end
local nexts = hmget_next(P .. 'next', count())
for i = 1, #nexts do
  if (nexts[i] or '1') ~= arg() then
    look = true
  end
end
-- A damaged mark does not stand: rather ask twice than lose an alert.
local function stands(mark)
  return mark and #mark == MARK and struct.unpack('>i8', mark) > now
end
local marks, renewed = {}, {}
for source = 1, count() do
  local key, fresh, ids = P .. 'm:' .. arg(), count(), take(count())
  local found = hmget(key, ids)
  for i = 1, fresh do
    if stands(found[i]) then
      look = true
    end
  end
  for i = fresh + 1, #ids do
    local expires, body = arg(), arg()
    if stands(found[i]) then
      body = string.sub(found[i], 9)
    end
    push_pair(renewed, key, ids[i], expires .. body)
  end
  marks[source] = found
end
if look then
  return { versions, nexts, marks }
end

-- From here on nothing can be refused, and nothing may fail. The order is for a cut append-only file (see
-- mod.rs): the journal first and its head last, states before what they took leaves its queue, alerts before
-- the marks that say that they were accepted. What half a commit left of the journal has the number that the
-- next one's records begin with, and is overwritten by them.
if count() == 1 then
  local first, chunk = arg(), arg()
  redis.call('HSET', P .. 'j', first, chunk)
  redis.call('ZADD', P .. 'jf', first, first)
end
carry_out()
flush('HSET', renewed)
local cases = take(count())
if #cases > 0 then
  local seqs = {}
  for i, before in ipairs(hmget(P .. 't', cases)) do
    seqs[2 * i - 1] = cases[i]
    seqs[2 * i] = before and before .. ' ' .. arg() or arg()
  end
  call('HSET', P .. 't', seqs)
end
-- New rows: their times, what finds them, then they themselves.
carry_out()
for _ = 1, count() do
  add_small(arg())
end
carry_out()
local groups = {}
for _ = 1, count() do
  local collection = arg()
  for _, id in ipairs(take(count())) do
    local value = arg()
    change(groups, collection, id, value ~= '' and value)
  end
end
change_rows(groups)
redis.call('HSET', KEYS[1], 'head', arg())
return 'ok'
