-- Decides about all limits of one request as one: when one of them refuses, none has counted it.
--
-- KEYS: the count of each limit, all in one slot.
-- ARGV: the time in microseconds, or nothing for this server's own clock;
--       how many such requests are asked for at once: 1, or the size of a lease;
--       then six for each limit: algorithm, requests, period, capacity, patience, cost, where times are microseconds.
-- Returns: how many such requests have been counted for every limit; then five for each limit: how many it has room for
--       alone, what remains in units of cost, and in microseconds how long such a request waits for its turn, after what
--       time it would pass, and until everything that was counted is forgotten.
--
-- Algorithms, and what a count is:
--   b  bucket: 'level moment'. The level is what has passed and is not paid for, in requests times microseconds of the
--      period, so that one request is one period, each microsecond pays for `requests`, and nothing is rounded.
--   e  exact window: a sorted set with one member for each unit of cost, by its time.
--   a  approximate window: 'window current previous', the number of a period of the clock and two counters.

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local asked = tonumber(ARGV[2])

local function whole(number)
  return string.format('%.0f', number)
end

-- Milliseconds to keep a count for, and one more than needed: a count must not go before it is forgotten.
local function keep(microseconds)
  return whole(math.ceil(microseconds / 1000) + 1)
end

local bucket = {}

function bucket.read(limit)
  local level = 0
  local state = redis.call('GET', limit.key)
  if state then
    local before, moment = string.match(state, '^(%d+) (%d+)$')
    -- A clock that was set back pays for nothing, and goes on from where it is.
    level = math.max(0, before - math.max(0, now - moment) * limit.requests)
  end
  limit.level = level
  local room = limit.capacity * limit.period - level
  if level > limit.patience * limit.requests then
    limit.fits = 0
  else
    limit.fits = math.max(0, math.floor(room / (limit.cost * limit.period)))
  end
  limit.wait = math.ceil(level / limit.requests)
  local early = math.max(limit.cost * limit.period - room, level - limit.patience * limit.requests)
  limit.retry = math.max(0, math.ceil(early / limit.requests))
end

function bucket.count(limit, times)
  limit.level = limit.level + times * limit.cost * limit.period
  redis.call('SET', limit.key, whole(limit.level) .. ' ' .. whole(now), 'PX', keep(limit.level / limit.requests))
end

function bucket.tell(limit)
  local places = math.floor((limit.capacity * limit.period - limit.level) / limit.period)
  local turns = math.floor((limit.patience * limit.requests - limit.level) / limit.period) + 1
  return math.max(0, math.min(places, turns)), math.ceil(limit.level / limit.requests)
end

local exact = {}

function exact.read(limit)
  redis.call('ZREMRANGEBYSCORE', limit.key, '-inf', whole(now - limit.period))
  -- Only a clock that was set back by more than the period has these.
  redis.call('ZREMRANGEBYSCORE', limit.key, '(' .. whole(now + limit.period), '+inf')
  limit.used = redis.call('ZCARD', limit.key)
  limit.newest = now
  if limit.used > 0 then
    limit.newest = tonumber(redis.call('ZRANGE', limit.key, -1, -1, 'WITHSCORES')[2])
  end
  limit.fits = math.max(0, math.floor((limit.capacity - limit.used) / limit.cost))
  limit.wait = 0
  limit.retry = 0
  if limit.fits < 1 then
    local frees = limit.used + limit.cost - limit.capacity - 1
    local at = redis.call('ZRANGE', limit.key, frees, frees, 'WITHSCORES')[2]
    limit.retry = math.max(0, (at or now) + limit.period - now)
  end
end

function exact.count(limit, times)
  -- What came in the same microsecond has the numbers before. The clock of another server may be a little late.
  limit.newest = math.max(now, limit.newest)
  local moment = whole(limit.newest)
  local number = redis.call('ZCOUNT', limit.key, moment, moment)
  local units, members = times * limit.cost, {}
  limit.used = limit.used + units
  for unit = 1, units do
    members[#members + 1] = moment
    members[#members + 1] = moment .. string.format(':%07d', number + unit)
    -- More arguments than this are more than a call can have.
    if #members >= 2000 or unit == units then
      redis.call('ZADD', limit.key, unpack(members))
      members = {}
    end
  end
  redis.call('PEXPIRE', limit.key, keep(limit.newest + limit.period - now))
end

function exact.tell(limit)
  local reset = 0
  if limit.used > 0 then
    reset = math.max(0, limit.newest + limit.period - now)
  end
  return math.max(0, limit.capacity - limit.used), reset
end

local approximate = {}

function approximate.read(limit)
  local window = math.floor(now / limit.period)
  limit.window, limit.current, limit.previous = window, 0, 0
  local state = redis.call('GET', limit.key)
  if state then
    local number, current, previous = string.match(state, '^(%d+) (%d+) (%d+)$')
    number, current, previous = tonumber(number), tonumber(current), tonumber(previous)
    if number == window or number == window + 1 then
      limit.window, limit.current, limit.previous = number, current, previous
    elseif number == window - 1 then
      limit.previous = current
    end
  end
  -- A clock that came late is taken to stand at the begin of the period.
  local elapsed = math.max(0, now - limit.window * limit.period)
  limit.left = limit.period - elapsed
  local room = limit.capacity * limit.period - limit.previous * limit.left - limit.current * limit.period
  limit.fits = math.max(0, math.floor(room / (limit.cost * limit.period)))
  limit.wait = 0
  limit.retry = 0
  if limit.fits < 1 then
    -- The part of a window that must have gone by for what is counted in the one before to weigh no more than is free.
    local free = (limit.capacity - limit.current - limit.cost) * limit.period
    local counted = limit.previous
    local gone = elapsed
    if free < 0 then
      free, counted, gone = (limit.capacity - limit.cost) * limit.period, limit.current, -limit.left
    end
    local until_free = 0
    if counted > 0 then
      until_free = limit.period - math.floor(free / counted)
    end
    limit.retry = math.max(0, math.max(0, until_free) - gone)
  end
end

function approximate.count(limit, times)
  limit.current = limit.current + times * limit.cost
  local state = whole(limit.window) .. ' ' .. whole(limit.current) .. ' ' .. whole(limit.previous)
  redis.call('SET', limit.key, state, 'PX', keep((limit.window + 2) * limit.period - now))
end

function approximate.tell(limit)
  local room = limit.capacity * limit.period - limit.previous * limit.left - limit.current * limit.period
  local reset = 0
  if limit.current > 0 then
    reset = (limit.window + 2) * limit.period - now
  elseif limit.previous > 0 then
    reset = (limit.window + 1) * limit.period - now
  end
  return math.max(0, math.floor(room / limit.period)), reset
end

local algorithms = { b = bucket, e = exact, a = approximate }
local limits, counted = {}, asked
for index, key in ipairs(KEYS) do
  local base = 2 + (index - 1) * 6
  local limit = {
    key = key,
    algorithm = algorithms[ARGV[base + 1]],
    requests = tonumber(ARGV[base + 2]),
    period = tonumber(ARGV[base + 3]),
    capacity = tonumber(ARGV[base + 4]),
    -- Nothing stands for patience without end.
    patience = tonumber(ARGV[base + 5]) or math.huge,
    cost = tonumber(ARGV[base + 6]),
  }
  limit.algorithm.read(limit)
  limits[index] = limit
  counted = math.min(counted, limit.fits)
end

local answer = { counted }
for _, limit in ipairs(limits) do
  if counted > 0 then
    limit.algorithm.count(limit, counted)
  end
  local remaining, reset = limit.algorithm.tell(limit)
  for _, number in ipairs({ math.min(limit.fits, asked), remaining, limit.wait, limit.retry, reset }) do
    answer[#answer + 1] = number
  end
end
return answer
