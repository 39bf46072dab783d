-- Rows outside any commit, each only if it is absent ('A'), in any case ('P') or away ('D'). Answers
-- how many were written. They see each other in order.
local groups, written = {}, 0
for _ = 1, count() do
  local what, collection, id, value = arg(), arg(), arg(), arg()
  local standing = false
  if what == 'A' then
    standing = groups[collection] and groups[collection].rows[id]
    if standing == nil then
      standing = redis.call('HEXISTS', P .. 'r:' .. collection, id) == 1
    end
  end
  if not standing then
    written = written + 1
    change(groups, collection, id, what ~= 'D' and value)
  end
end
change_rows(groups)
return written
