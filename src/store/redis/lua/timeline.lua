-- The records of one case: what trimming moved aside, then what is still in the journal.
local case, answer = arg(), {}
local moved = redis.call('LRANGE', P .. 'tl:' .. case, 0, -1)
for i = 1, #moved, 2 do
  answer[#answer + 1] = { moved[i], moved[i + 1] }
end
local seqs = redis.call('LRANGE', P .. 't:' .. case, 0, -1)
for i, value in ipairs(hmget(P .. 'j', seqs)) do
  if value then
    answer[#answer + 1] = { seqs[i], value }
  end
end
return answer
