-- The records of one case: what trimming moved aside, each a chunk of one; then the numbers of those
-- still in the journal, and the chunks that hold them.
local case, packed = arg(), arg()
local moved = redis.call('LRANGE', P .. 'tl:' .. case, 0, -1)
local seqs = redis.call('HGET', P .. 't', packed) or ''
local chunks, seen = {}, {}
for seq in string.gmatch(seqs, '%d+') do
  local first = chunk_of(seq)
  if first and not seen[first] then
    seen[first] = true
    chunks[#chunks + 1] = redis.call('HGET', P .. 'j', first) or ''
  end
end
return { moved, seqs, chunks }
