-- Rows outside any commit. Answers how many were written.
local if_absent, all, changes = arg() == '1', {}, {}
read_rows(all)
local new = {}
for _, change in ipairs(all) do
  local key = change.collection .. '\0' .. change.id
  local standing = false
  if if_absent and change.value then
    standing = new[key] or redis.call('HEXISTS', P .. 'r:' .. change.collection, change.id) == 1
    new[key] = true
  end
  if not standing then
    changes[#changes + 1] = change
  end
end
change_rows(changes)
return #changes
