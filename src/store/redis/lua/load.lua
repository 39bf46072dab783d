-- Aggregates: their versions as commits compare them, their values, how many pieces each value names in its first
-- line, and all these pieces. What is not there is false.
local names = take(#ARGV - 1)
local values = hmget(P .. 'agg', names)
local counts, fields = {}, {}
for i, name in ipairs(names) do
  local before = #fields
  for number in string.gmatch(string.match(values[i] or '', '^%d+([ %d]*)\n') or '', '%d+') do
    fields[#fields + 1] = name .. '\0' .. number
  end
  counts[i] = #fields - before
end
return { hmget(P .. 'ver', names), values, counts, hmget(P .. 'pc', fields) }
