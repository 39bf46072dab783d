-- One batch, whole or not at all. Redis does not roll a script back: so everything is read and
-- checked first, with what the writes before would leave, and the first write comes after that.
-- Numbers that are compared are compared as the text they were stored as.
local epoch, head, now = arg(), arg(), tonumber(arg())
local lease = redis.call('HMGET', KEYS[1], 'epoch', 'head')
if lease[1] ~= epoch or (lease[2] or '0 ') ~= head then
  return 'fenced'
end

local writes, names, sources, identities = {}, {}, {}, {}
for i = 1, count() do
  local write = { kind = arg(), name = arg(), rows = {} }
  writes[i] = write
  if write.kind == 'C' then
    write.expected, write.version, write.value, write.due = arg(), arg(), arg(), arg()
    read_rows(write.rows)
    write.births = {}
    for b = 1, count() do
      write.births[b] = { name = arg(), value = arg(), due = arg() }
      read_rows(write.rows)
      names[#names + 1] = write.births[b].name
    end
    names[#names + 1] = write.name
  elseif write.kind == 'A' then
    write.first, write.after, write.cursor = arg(), arg(), nil
    if arg() == '1' then
      write.cursor = arg()
    end
    write.alerts = {}
    for a = 1, count() do
      write.alerts[2 * a - 1], write.alerts[2 * a] = arg(), arg()
    end
    write.marks = {}
    for m = 1, count() do
      local mark = { id = arg(), body = arg(), expires = arg(), renew = arg() == '1', alert = arg() }
      write.marks[m] = mark
      push(identities, write.name, mark.id)
    end
    read_rows(write.rows)
    sources[#sources + 1] = write.name
  else
    write.runs = {}
    for r = 1, count() do
      write.runs[r] = { arg(), arg() }
    end
  end
end

local version, next_number, marks = {}, {}, {}
for i, found in ipairs(hmget(P .. 'ver', names)) do
  version[names[i]] = found or '0'
end
for i, found in ipairs(hmget(P .. 'next', sources)) do
  next_number[sources[i]] = found or '1'
end
for source, list in pairs(identities) do
  marks[source] = {}
  for i, value in ipairs(hmget(P .. 'm:' .. source, list)) do
    if value then
      local expires, length, rest = string.match(value, '^(-?%d+) (%d+) (.*)$')
      if tonumber(expires) > now then
        length = tonumber(length)
        marks[source][list[i]] = {
          body = string.sub(rest, 1, length),
          alert = string.sub(rest, length + 1),
        }
      end
    end
  end
end

local function check_commit(write)
  if version[write.name] ~= write.expected then
    return { 'c', version[write.name] }
  end
  local created = { [write.name] = true }
  for _, birth in ipairs(write.births) do
    if created[birth.name] then
      return { 'c', birth.name == write.name and write.version or '1' }
    end
    created[birth.name] = true
    if version[birth.name] ~= '0' then
      return { 'c', version[birth.name] }
    end
  end
  version[write.name] = write.version
  for _, birth in ipairs(write.births) do
    version[birth.name] = '1'
  end
end

local function check_accept(write)
  if next_number[write.name] ~= write.first then
    return { 'c', next_number[write.name] }
  end
  local added, duplicates = {}, {}
  for i, mark in ipairs(write.marks) do
    local standing = added[mark.id] or marks[write.name][mark.id]
    if not standing then
      added[mark.id] = { body = mark.body, alert = mark.alert, expires = mark.expires }
    elseif mark.renew then
      added[mark.id] = { body = standing.body, alert = standing.alert, expires = mark.expires }
    else
      push_pair(duplicates, 1, i - 1, standing.body == mark.body and 1 or 0)
    end
  end
  if duplicates[1] then
    return { 'd', duplicates[1] }
  end
  for id, mark in pairs(added) do
    marks[write.name][id] = mark
  end
  next_number[write.name] = write.after
end

local refused = {}
for i, write in ipairs(writes) do
  local why
  if write.kind == 'C' then
    why = check_commit(write)
  elseif write.kind == 'A' then
    why = check_accept(write)
  end
  if why then
    refused[#refused + 1] = { i - 1, why[1], why[2] }
  end
end
if #refused > 0 then
  return cjson.encode(refused)
end

-- From here on nothing can be refused.
local hset, due, changes = {}, {}, {}
local function set_aggregate(name, value, at)
  push_pair(hset, P .. 'agg', name, value)
  push_pair(hset, P .. 'ver', name, version[name])
  due[name] = at
end
for _, write in ipairs(writes) do
  if write.kind == 'C' then
    set_aggregate(write.name, write.value, write.due)
    for _, birth in ipairs(write.births) do
      set_aggregate(birth.name, birth.value, birth.due)
    end
  elseif write.kind == 'A' then
    push_pair(hset, P .. 'next', write.name, write.after)
    if write.cursor then
      push_pair(hset, P .. 'cursor', write.name, write.cursor)
    end
    call('ZADD', P .. 'q:' .. write.name, write.alerts)
  else
    for _, run in ipairs(write.runs) do
      redis.call('ZREMRANGEBYSCORE', P .. 'q:' .. write.name, run[1], run[2])
    end
  end
  for _, change in ipairs(write.rows) do
    changes[#changes + 1] = change
  end
end
local zadd, zrem, rpush = {}, {}, {}
for name, at in pairs(due) do
  if at ~= '' then
    push_pair(zadd, P .. 'due', at, name)
  else
    push(zrem, P .. 'due', name)
  end
end
for source, list in pairs(marks) do
  for id, mark in pairs(list) do
    if mark.expires then
      local value = mark.expires .. ' ' .. #mark.body .. ' ' .. mark.body .. mark.alert
      push_pair(hset, P .. 'm:' .. source, id, value)
      push_pair(zadd, P .. 'mx', mark.expires, #source .. ' ' .. source .. id)
    end
  end
end
local last = arg()
for _ = 1, count() do
  local seq, case, value = arg(), arg(), arg()
  push_pair(hset, P .. 'j', seq, value)
  if case ~= '-' then
    push(rpush, P .. 't:' .. case, seq)
  end
end
push_pair(hset, KEYS[1], 'head', last)
flush('HSET', hset)
flush('ZADD', zadd)
flush('ZREM', zrem)
flush('RPUSH', rpush)
change_rows(changes)
return 'ok'
