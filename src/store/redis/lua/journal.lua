-- The chunks that hold the records above a number: the first and the last number meant, the chunks.
-- A chunk's id in the stream is its last record's number.
local after, limit = tonumber(arg()), tonumber(arg())
local ends = redis.call('HMGET', KEYS[1], 'head', 'anchor')
local head = tonumber(string.match(ends[1] or '0 ', '^%d+'))
local anchor = tonumber(string.match(ends[2] or '0 ', '^%d+'))
local from = math.max(after, anchor) + 1
local last = math.min(head, from + limit - 1)
if from > last then
  return { '1', '0', {} }
end
local chunks, whole = {}, false
local first, till = string.format('%.0f', from), string.format('%.0f', last)
for _, chunk in ipairs(redis.call('XRANGE', P .. 'j', first .. '-0', till .. '-0')) do
  chunks[#chunks + 1] = chunk[2][2]
  whole = chunk[1] == till .. '-0'
end
if not whole then
  for _, chunk in ipairs(redis.call('XRANGE', P .. 'j', till .. '-1', '+', 'COUNT', 1)) do
    chunks[#chunks + 1] = chunk[2][2]
  end
end
return { first, till, chunks }
