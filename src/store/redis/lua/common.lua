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

-- Lua can hand at most some 8,000 values to a call; even, so that pairs stay together.
local CHUNK = 4000
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
local function hmget(key, fields)
  local values = {}
  for from = 1, #fields, CHUNK do
    local to = math.min(from + CHUNK - 1, #fields)
    local part = redis.call('HMGET', key, unpack(fields, from, to))
    for i = 1, to - from + 1 do
      values[from + i - 1] = part[i]
    end
  end
  return values
end

-- A row's value: a JSON array [at, expires, [[field, value] ...]] on one line, then the body.
local function row_index(value)
  local head = cjson.decode(string.sub(value, 1, string.find(value, '\n', 1, true) - 1))
  local entries = {}
  for i, pair in ipairs(head[3]) do
    entries[i] = pair[1] .. '=' .. pair[2]
  end
  return head[1], entries
end

-- Changes: {collection, id, value = nil to delete, at, expires, entries}. The last one of a row counts.
local function change_rows(changes)
  local last, ids = {}, {}
  for _, change in ipairs(changes) do
    local rows = last[change.collection]
    if not rows then
      rows = {}
      last[change.collection] = rows
      ids[change.collection] = {}
    end
    if not rows[change.id] then
      table.insert(ids[change.collection], change.id)
    end
    rows[change.id] = change
  end
  local hset, hdel, zadd, zrem = {}, {}, {}, {}
  for collection, list in pairs(ids) do
    local values, times = P .. 'r:' .. collection, P .. 'ra:' .. collection
    local index = P .. 'i:' .. collection .. ':'
    for i, value in ipairs(hmget(values, list)) do
      local id = list[i]
      local change = last[collection][id]
      local old, at = nil, nil
      if value then
        old = {}
        local entries
        at, entries = row_index(value)
        for _, entry in ipairs(entries) do
          old[entry] = true
        end
        local new = {}
        for _, entry in ipairs(change.entries or {}) do
          new[entry] = true
        end
        for entry in pairs(old) do
          if not new[entry] then
            push(zrem, index .. entry, id)
          end
        end
      end
      if change.value then
        push_pair(hset, values, id, change.value)
        local moved = at ~= change.at
        if moved then
          push_pair(zadd, times, change.at, id)
        end
        for _, entry in ipairs(change.entries) do
          if moved or not old[entry] then
            push_pair(zadd, index .. entry, change.at, id)
          end
        end
        if change.expires ~= '' then
          push_pair(zadd, P .. 'rx', change.expires, collection .. '\0' .. id)
        elseif value then
          push(zrem, P .. 'rx', collection .. '\0' .. id)
        end
      elseif value then
        push(hdel, values, id)
        push(zrem, times, id)
        push(zrem, P .. 'rx', collection .. '\0' .. id)
      end
    end
  end
  flush('HSET', hset)
  flush('HDEL', hdel)
  flush('ZADD', zadd)
  flush('ZREM', zrem)
end

local function read_rows(into)
  for _ = 1, count() do
    local change = { collection = arg(), id = arg() }
    if arg() == 'P' then
      change.at, change.expires, change.value, change.entries = arg(), arg(), arg(), {}
      for i = 1, count() do
        change.entries[i] = arg()
      end
    end
    into[#into + 1] = change
  end
end
