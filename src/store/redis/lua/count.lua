-- How many rows of a partition's collection have one field's value.
local collection, entry = arg(), arg()
return redis.call('ZCARD', P .. 'i:' .. collection .. ':' .. entry)
