-- The records of one case: what trimming moved aside, each a chunk of one; then the numbers of those
-- still in the journal, and the chunks that hold them.
local case, packed = arg(), arg()
local moved = redis.call('LRANGE', P .. 'tl:' .. case, 0, -1)
local seqs = redis.call('HGET', P .. 't', packed) or ''
local chunks, seen = {}, {}
for seq in string.gmatch(seqs, '%d+') do
  local chunk = redis.call('XRANGE', P .. 'j', seq .. '-0', '+', 'COUNT', 1)[1]
  if chunk and not seen[chunk[1]] then
    seen[chunk[1]] = true
    chunks[#chunks + 1] = chunk[2][2]
  end
end
return { moved, seqs, chunks }
