-- Rows and what they are found by. A row's value is one line of parts divided by \1 (time, expiry or
-- '-', entries), then its body. An entry that begins with '!' has few values with many rows each: a
-- sorted set of its own. One with '.' has many values with few rows each: its references stand in one
-- hash, where they cost a third; from SMALL bytes on they move to a sorted set, and 'Z' says so.
local SMALL = 1200
local DIRECT = 33
local function row_head(value)
  local parts, size = {}, 0
  for part in string.gmatch(string.match(value, '^[^\n]*'), '[^\1]+') do
    size = size + 1
    parts[size] = part
  end
  return parts
end
-- A reference: its length, ':', the row's time, ' ', the row's id.
local function reference(at, id)
  return (#at + 1 + #id) .. ':' .. at .. ' ' .. id
end
-- What is damaged ends the list.
local function references(value)
  local list, from, size = {}, 1, #value
  while from <= size do
    local length, at, id = string.match(value, '^(%d+):(-?%d+) ()', from)
    local last = length and from + #length + length
    if not last or last > size then
      break
    end
    list[#list + 1] = { at, string.sub(value, id, last) }
    from = last + 1
  end
  return list
end

-- `added`: times and ids in turn, `removed`: ids, by entry.
local function change_small(collection, added, removed)
  local small, names, hset, hdel = P .. 'x:' .. collection, {}, {}, {}
  for entry in pairs(added) do
    names[#names + 1] = entry
  end
  for entry in pairs(removed) do
    if not added[entry] then
      names[#names + 1] = entry
    end
  end
  for i, value in ipairs(hmget(small, names)) do
    local entry = names[i]
    local new, old = added[entry] or {}, removed[entry]
    local gone
    if old then
      gone = {}
      for k = 1, #old do
        gone[old[k]] = true
      end
    end
    if value == 'Z' then
      local set = P .. 'i:' .. collection .. ':' .. entry
      call('ZADD', set, new)
      if gone then
        for k = 2, #new, 2 do
          gone[new[k]] = nil
        end
        for id in pairs(gone) do
          redis.call('ZREM', set, id)
        end
        if redis.call('ZCARD', set) == 0 then
          hdel[#hdel + 1] = entry
        end
      end
    else
      local text = value or ''
      if value then
        for k = 2, #new, 2 do
          -- Half a commit may have left it there.
          if string.find(text, new[k], 1, true) then
            gone = gone or {}
            gone[new[k]] = true
          end
        end
      end
      if gone then
        local kept = {}
        for _, pair in ipairs(references(text)) do
          if not gone[pair[2]] then
            kept[#kept + 1] = reference(pair[1], pair[2])
          end
        end
        text = table.concat(kept)
      end
      for k = 1, #new, 2 do
        text = text .. reference(new[k], new[k + 1])
      end
      if #text > SMALL then
        local all = {}
        for _, pair in ipairs(references(text)) do
          all[#all + 1] = pair[1]
          all[#all + 1] = pair[2]
        end
        call('ZADD', P .. 'i:' .. collection .. ':' .. entry, all)
        text = 'Z'
      end
      if text ~= '' then
        hset[#hset + 1] = entry
        hset[#hset + 1] = text
      elseif value then
        hdel[#hdel + 1] = entry
      end
    end
  end
  call('HSET', small, hset)
  call('HDEL', small, hdel)
end

-- References to new rows: entries, then what each is given. Most begin a list or go on with a short one.
local function add_small(collection)
  local small, size, first = P .. 'x:' .. collection, count(), cursor + 1
  local stored, hset, added = hmget_next(small, size), {}, {}
  for i = 1, size do
    local entry, text, value = ARGV[first + i - 1], arg(), stored[i]
    local simple = value ~= 'Z'
    if simple and value then
      simple = #value + #text <= SMALL
      -- Half a commit may have left it there.
      for _, pair in ipairs(simple and references(text) or {}) do
        simple = simple and not string.find(value, pair[2], 1, true)
      end
      text = simple and value .. text or text
    end
    if simple and #text <= SMALL then
      hset[#hset + 1] = entry
      hset[#hset + 1] = text
    else
      added[entry] = {}
      for _, pair in ipairs(references(text)) do
        push_pair(added, entry, pair[1], pair[2])
      end
    end
  end
  call('HSET', small, hset)
  if next(added) then
    change_small(collection, added, {})
  end
end

-- Notes a row's next value, or false to delete it, for `change_rows`; the last one counts. By collection:
-- `ids` in order, `rows` by id.
local function change(groups, collection, id, value)
  local group = groups[collection]
  if not group then
    group = { ids = {}, rows = {} }
    groups[collection] = group
  end
  if group.rows[id] == nil then
    group.ids[#group.ids + 1] = id
  end
  group.rows[id] = value
end

local NOTHING = {}
local function change_rows(groups)
  for collection, group in pairs(groups) do
    local values, times = P .. 'r:' .. collection, P .. 'ra:' .. collection
    local index = P .. 'i:' .. collection .. ':'
    -- By key; `enter` and `leave` by entry, for sorted sets; `added` and `removed` for small ones.
    local zadd, zrem, enter, leave, added, removed = {}, {}, {}, {}, {}, {}
    local hset, hdel = {}, {}
    for i, old in ipairs(hmget(values, group.ids)) do
      local id = group.ids[i]
      local value = group.rows[id]
      local new_parts = value and row_head(value) or NOTHING
      local old_parts = old and row_head(old) or NOTHING
      local at, was = new_parts[1], old_parts[1]
      if value then
        hset[#hset + 1] = id
        hset[#hset + 1] = value
        if at ~= was then
          push_pair(zadd, times, at, id)
        end
      elseif old then
        hdel[#hdel + 1] = id
        push(zrem, times, id)
      end
      local expires, expired = new_parts[2] or '-', old_parts[2] or '-'
      if expires ~= '-' and expires ~= expired then
        push_pair(zadd, P .. 'rx', expires, collection .. '\0' .. id)
      elseif expires == '-' and expired ~= '-' then
        push(zrem, P .. 'rx', collection .. '\0' .. id)
      end
      local before, after = {}, {}
      for k = 3, #old_parts do
        before[old_parts[k]] = true
      end
      for k = 3, #new_parts do
        local entry = new_parts[k]
        if not after[entry] then
          after[entry] = true
          if at ~= was or not before[entry] then
            push_pair(string.byte(entry) == DIRECT and enter or added, entry, at, id)
          end
        end
      end
      for entry in pairs(before) do
        local direct = string.byte(entry) == DIRECT
        if direct and not after[entry] then
          push(leave, entry, id)
        elseif not direct and (at ~= was or not after[entry]) then
          push(removed, entry, id)
        end
      end
    end
    -- The values last: done again after half of it, it comes to the same.
    flush('ZADD', zadd)
    for entry, list in pairs(enter) do
      call('ZADD', index .. entry, list)
    end
    flush('ZREM', zrem)
    for entry, list in pairs(leave) do
      call('ZREM', index .. entry, list)
    end
    change_small(collection, added, removed)
    call('HSET', values, hset)
    call('HDEL', values, hdel)
  end
end
