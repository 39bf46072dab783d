-- Rows outside any commit. Answers how many were written. Changes of one call see each other in order.
local if_absent, all, changes = arg() == '1', {}, {}
read_rows(all)
local there = {}
for _, change in ipairs(all) do
  local key = change.collection .. '\0' .. change.id
  local standing = false
  if if_absent and change.value then
    standing = there[key]
    if standing == nil then
      standing = redis.call('HEXISTS', P .. 'r:' .. change.collection, change.id) == 1
    end
  end
  there[key] = change.value ~= nil
  if not standing then
    changes[#changes + 1] = change
  end
end
change_rows(changes)
return #changes
