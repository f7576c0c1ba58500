-- One request of an agent token: KEYS are its log, its breaches and its failures.
-- An entry of the log is "until:count", as in rate.rs.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local limit, breaches_max = tonumber(ARGV[1]), tonumber(ARGV[2])
local cells = limit > 600
local function read(entry)
  local till, count = string.match(entry, '^(%d+):(%d+)$')
  return tonumber(till), tonumber(count)
end
local function entry(till, count) return string.format('%.0f:%.0f', till, count) end

-- A clock that went back must neither forget requests nor keep them for longer.
local latest = now + 61000
local last = redis.call('LINDEX', KEYS[1], -1)
if last and read(last) > latest then
  local all = redis.call('LRANGE', KEYS[1], 0, -1)
  redis.call('DEL', KEYS[1])
  for _, one in ipairs(all) do
    local till, count = read(one)
    redis.call('RPUSH', KEYS[1], entry(math.min(till, latest), count))
  end
end
local first = redis.call('LINDEX', KEYS[1], 0)
while first and read(first) <= now do
  redis.call('LPOP', KEYS[1])
  first = redis.call('LINDEX', KEYS[1], 0)
end
local total = 0
if cells then
  for _, one in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
    local _, count = read(one)
    total = total + count
  end
else
  total = redis.call('LLEN', KEYS[1])
end

local allowed, breaches = 0, 0
if total < limit then
  allowed = 1
  total = total + 1
  local till = now + 60000
  if cells then till = (math.floor(now / 1000) + 1) * 1000 + 60000 end
  last = redis.call('LINDEX', KEYS[1], -1)
  local same, count
  if last then same, count = read(last) end
  if cells and same == till then
    redis.call('LSET', KEYS[1], -1, entry(till, count + 1))
  else
    redis.call('RPUSH', KEYS[1], entry(till, 1))
  end
  redis.call('PEXPIRE', KEYS[1], 62000)
else
  local oldest = redis.call('LINDEX', KEYS[2], 0)
  while oldest and tonumber(oldest) <= now - 3600000 do
    redis.call('LPOP', KEYS[2])
    oldest = redis.call('LINDEX', KEYS[2], 0)
  end
  if breaches_max > 0 then
    redis.call('RPUSH', KEYS[2], string.format('%.0f', now))
    redis.call('PEXPIRE', KEYS[2], 3600000)
  end
  while redis.call('LLEN', KEYS[2]) > breaches_max do redis.call('LPOP', KEYS[2]) end
  breaches = redis.call('LLEN', KEYS[2])
end
local failures = tonumber(redis.call('GET', KEYS[3]) or 0)
local wait, full = 0, 0
first = redis.call('LINDEX', KEYS[1], 0)
last = redis.call('LINDEX', KEYS[1], -1)
if total >= limit then wait = (first and read(first) or now + 60000) - now end
if last then full = read(last) - now end
return {allowed, math.max(0, limit - total), wait, full, breaches, failures}
