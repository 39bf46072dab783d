-- Rows outside any commit, each only if it is absent ('A'), in any case ('P') or away ('D'). Answers
-- how many were written. They see each other in order.
local groups, written = {}, 0
for _ = 1, count() do
  local what, collection, id, value = arg(), arg(), arg(), arg()
  local group = groups[collection]
  if not group then
    group = { ids = {}, rows = {} }
    groups[collection] = group
  end
  local change = group.rows[id]
  local standing = false
  if what == 'A' then
    if change ~= nil then
      standing = change ~= false
    else
      standing = redis.call('HEXISTS', P .. 'r:' .. collection, id) == 1
    end
  end
  if not standing then
    written = written + 1
    if change == nil then
      group.ids[#group.ids + 1] = id
    end
    group.rows[id] = what ~= 'D' and value
  end
end
change_rows(groups)
return written
