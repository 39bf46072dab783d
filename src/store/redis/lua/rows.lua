-- One partition's part of a list, newest first: the filter with the fewest entries leads, the others
-- are looked up. Looks at a bounded number of entries and says where it stopped.
local EXAMINED = 2000
local collection, limit, since, before = arg(), tonumber(arg()), arg(), arg()
local at, id = arg(), arg()
-- What has one of the values: a sorted set, or a short list of references with its ids as a set.
local lead, least, others, short = P .. 'ra:' .. collection, nil, {}, nil
for _ = 1, count() do
  local entry = arg()
  local filter = { set = P .. 'i:' .. collection .. ':' .. entry }
  local size
  if string.byte(entry) ~= DIRECT then
    local value = redis.call('HGET', P .. 'x:' .. collection, entry)
    if value ~= 'Z' then
      filter.list, filter.ids = references(value or ''), {}
      for _, pair in ipairs(filter.list) do
        filter.ids[pair[2]] = true
      end
      size = #filter.list
    end
  end
  size = size or redis.call('ZCARD', filter.set)
  others[#others + 1] = filter
  if not least or size < least then
    lead, least, short = filter.set, size, filter.list
  end
end
local function has(filter, member)
  if filter.ids then
    return filter.ids[member]
  end
  return filter.set == lead or redis.call('ZSCORE', filter.set, member)
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
-- With one filter or none each entry is a row of the page.
local step = #others > 1 and 200 or math.min(limit, 200)
-- Of a short list what the sorted set would give.
local function of_short()
  local fits, found = {}, {}
  for _, pair in ipairs(short) do
    local time = tonumber(pair[1])
    local after = since == '-inf' or time >= tonumber(since)
    if after and (max == '+inf' or time <= tonumber((string.gsub(max, '%(', ''))))
      and max ~= '(' .. pair[1] then
      fits[#fits + 1] = pair
    end
  end
  table.sort(fits, function(a, b)
    if a[1] ~= b[1] then
      return tonumber(a[1]) > tonumber(b[1])
    end
    return below(b[2], a[2])
  end)
  for _, pair in ipairs(fits) do
    found[#found + 1] = pair[2]
    found[#found + 1] = pair[1]
  end
  return found
end

while true do
  local found = short and of_short() or redis.call('ZREVRANGEBYSCORE', lead, max, since, 'WITHSCORES', 'LIMIT', offset, step)
  local ids, last = {}, 0
  for i = 1, #found, 2 do
    if #ids >= limit - #rows and not short then
      break
    end
    local member, score = found[i], found[i + 1]
    last = i + 1
    if at == '' or tonumber(score) ~= tonumber(at) or below(member, id) then
      examined = examined + 1
      local matches = true
      for _, filter in ipairs(others) do
        if not has(filter, member) then
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
  offset = offset + last / 2
  if #rows >= limit or short or (last == #found and #found < 2 * step) then
    return { rows, '', '' }
  end
  if examined >= EXAMINED then
    return { rows, found[last], found[last - 1] }
  end
end
