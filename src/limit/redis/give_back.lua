-- Takes back one request that was counted a moment ago and has not passed after all.
--
-- KEYS and ARGV as for deciding, without the number of requests: the time, then six for each limit. What has been
-- forgotten in the meantime stays so.

for index, key in ipairs(KEYS) do
  local base = 1 + (index - 1) * 6
  local algorithm, period, cost = ARGV[base + 1], tonumber(ARGV[base + 3]), tonumber(ARGV[base + 6])
  if algorithm == 'e' then
    -- The newest stand for it: they are as old, or nearly.
    redis.call('ZPOPMAX', key, cost)
  else
    local state = redis.call('GET', key)
    if state and algorithm == 'b' then
      local level, moment = string.match(state, '^(%d+) (%d+)$')
      level = math.max(0, level - cost * period)
      redis.call('SET', key, string.format('%.0f %s', level, moment), 'KEEPTTL')
    elseif state then
      local window, current, previous = string.match(state, '^(%d+) (%d+) (%d+)$')
      current = math.max(0, current - cost)
      redis.call('SET', key, string.format('%s %.0f %s', window, current, previous), 'KEEPTTL')
    end
  end
end
return 0
