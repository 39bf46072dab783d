-- One partition's part of a list, newest first: the filter with the fewest entries leads, the others
-- are looked up. Looks at a bounded number of entries and says where it stopped.
local EXAMINED = 2000
local collection, limit, since, before = arg(), tonumber(arg()), arg(), arg()
local at, id = arg(), arg()
local lead, entries = P .. 'ra:' .. collection, {}
local least
for i = 1, count() do
  entries[i] = P .. 'i:' .. collection .. ':' .. arg()
  local size = redis.call('ZCARD', entries[i])
  if not least or size < least then
    lead, least = entries[i], size
  end
end

-- Bytes decide, as in the sorted set; Lua's own comparison follows the server's locale.
local function below(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x < y
    end
  end
  return #a < #b
end

local max = before
if at ~= '' then
  max = at
end
local rows, offset, examined = {}, 0, 0
while true do
  local found = redis.call('ZREVRANGEBYSCORE', lead, max, since, 'WITHSCORES', 'LIMIT', offset, 200)
  offset = offset + #found / 2
  local ids = {}
  for i = 1, #found, 2 do
    local member, score = found[i], found[i + 1]
    if at == '' or tonumber(score) ~= tonumber(at) or below(member, id) then
      examined = examined + 1
      local matches = true
      for _, entry in ipairs(entries) do
        if entry ~= lead and not redis.call('ZSCORE', entry, member) then
          matches = false
          break
        end
      end
      if matches then
        ids[#ids + 1] = member
      end
    end
  end
  for i, value in ipairs(hmget(P .. 'r:' .. collection, ids)) do
    if value and #rows < limit then
      rows[#rows + 1] = { ids[i], value }
    end
  end
  if #rows >= limit or #found < 400 then
    return { rows, '', '' }
  end
  if examined >= EXAMINED then
    return { rows, found[#found], found[#found - 1] }
  end
end
