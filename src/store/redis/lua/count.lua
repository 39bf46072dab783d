-- How many rows of a partition's collection have one field's value.
local collection, entry = arg(), arg()
if string.byte(entry) ~= DIRECT then
  local value = redis.call('HGET', P .. 'x:' .. collection, entry)
  if value ~= 'Z' then
    return #references(value or '')
  end
end
return redis.call('ZCARD', P .. 'i:' .. collection .. ':' .. entry)
