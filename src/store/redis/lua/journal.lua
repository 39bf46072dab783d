-- Records above a number, in order: number, value.
local after, limit = tonumber(arg()), tonumber(arg())
local ends = redis.call('HMGET', KEYS[1], 'head', 'anchor')
local head = tonumber(string.match(ends[1] or '0 ', '^%d+'))
local anchor = tonumber(string.match(ends[2] or '0 ', '^%d+'))
local seqs, answer = {}, {}
local from = math.max(after, anchor) + 1
for seq = from, math.min(head, from + limit - 1) do
  seqs[#seqs + 1] = string.format('%.0f', seq)
end
for i, value in ipairs(hmget(P .. 'j', seqs)) do
  answer[i] = { seqs[i], value }
end
return answer
