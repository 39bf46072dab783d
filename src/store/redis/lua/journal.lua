-- The chunks that hold the records above a number: the first and the last number meant, the chunks.
local after, limit = tonumber(arg()), tonumber(arg())
local ends = redis.call('HMGET', KEYS[1], 'head', 'anchor')
local head = tonumber(string.match(ends[1] or '0 ', '^%d+'))
local anchor = tonumber(string.match(ends[2] or '0 ', '^%d+'))
local from = math.max(after, anchor) + 1
local last = math.min(head, from + limit - 1)
if from > last then
  return { '1', '0', {} }
end
local first, till = string.format('%.0f', from), string.format('%.0f', last)
local begins = chunk_of(first) or first
local chunks = {}
for _, chunk in ipairs(hmget(P .. 'j', redis.call('ZRANGEBYSCORE', P .. 'jf', begins, till))) do
  chunks[#chunks + 1] = chunk or ''
end
return { first, till, chunks }
