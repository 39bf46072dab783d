-- Alerts that wait with a number above `after`, in order: number, value.
local source, after, limit = arg(), tonumber(arg()), tonumber(arg())
local low = tonumber(redis.call('HGET', P .. 'low', source) or '1')
local last = tonumber(redis.call('HGET', P .. 'next', source) or '1') - 1
local answer, from = {}, math.max(after + 1, low)
while from <= last and #answer < limit do
  local numbers = {}
  for number = from, math.min(last, from + 999) do
    numbers[#numbers + 1] = string.format('%.0f', number)
  end
  for i, value in ipairs(hmget(P .. 'q:' .. source, numbers)) do
    if value and #answer < limit then
      answer[#answer + 1] = { numbers[i], value }
    end
  end
  from = from + #numbers
end
return answer
