-- What several scripts share. ARGV[1] is the partition's prefix with its hash tag: every key a script
-- builds lies in the slot of KEYS[1].
local P = ARGV[1]
local cursor = 1
local function arg()
  cursor = cursor + 1
  return ARGV[cursor]
end
local function count()
  return tonumber(arg())
end

-- A mark: eight bytes when it expires, then sixteen of its body's hash.
local MARK = 24

-- Lua can hand at most some 8,000 values to a call; even, so that pairs stay together.
local CHUNK = 4000
-- The next `n` arguments.
local function take(n)
  local list = {}
  for i = 1, n do
    list[i] = ARGV[cursor + i]
  end
  cursor = cursor + n
  return list
end
local function push(lists, key, value)
  local list = lists[key]
  if list then
    list[#list + 1] = value
  else
    lists[key] = { value }
  end
end
local function push_pair(lists, key, first, second)
  local list = lists[key]
  if list then
    local n = #list
    list[n + 1], list[n + 2] = first, second
  else
    lists[key] = { first, second }
  end
end
local function call(command, key, list)
  local size = #list
  if size == 2 then
    redis.call(command, key, list[1], list[2])
    return
  end
  for from = 1, size, CHUNK do
    redis.call(command, key, unpack(list, from, math.min(from + CHUNK - 1, size)))
  end
end
local function flush(command, lists)
  for key, list in pairs(lists) do
    call(command, key, list)
  end
end
-- The first record of the chunk that holds this one.
local function chunk_of(seq)
  return redis.call('ZREVRANGEBYSCORE', P .. 'jf', seq, '-inf', 'LIMIT', 0, 1)[1]
end
local function hmget(key, fields)
  local size = #fields
  if size == 0 then
    return {}
  elseif size <= CHUNK then
    return redis.call('HMGET', key, unpack(fields))
  end
  local values = {}
  for from = 1, size, CHUNK do
    local to = math.min(from + CHUNK - 1, size)
    local part = redis.call('HMGET', key, unpack(fields, from, to))
    for i = 1, to - from + 1 do
      values[from + i - 1] = part[i]
    end
  end
  return values
end
-- The values of the next `n` arguments as fields.
local function hmget_next(key, n)
  if n == 0 or n > CHUNK then
    return hmget(key, take(n))
  end
  local from = cursor + 1
  cursor = cursor + n
  return redis.call('HMGET', key, unpack(ARGV, from, cursor))
end
-- Calls that were worked out by the caller: command, key, how many values, these.
local function carry_out()
  for _ = 1, count() do
    local command, key, size = arg(), P .. arg(), count()
    redis.call(command, key, unpack(ARGV, cursor + 1, cursor + size))
    cursor = cursor + size
  end
end
