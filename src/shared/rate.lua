-- One request of an agent token: KEYS are its log of moments, its breaches, its failures and its log
-- of seconds. An entry of a log is "until:count", as in rate.rs. A limit above 600 is counted by
-- seconds; who was narrowed to less still has those of the last minute, and they count too. A limit is
-- never widened.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local limit, breaches_max = tonumber(ARGV[1]), tonumber(ARGV[2])
local cells = limit > 600
local own = KEYS[1]
if cells then own = KEYS[4] end
local function read(entry)
  local till, count = string.match(entry, '^(%d+):(%d+)$')
  return tonumber(till), tonumber(count)
end
local function entry(till, count) return string.format('%.0f:%.0f', till, count) end

-- Drops what is a minute old. A clock that went back must neither forget requests nor keep them for
-- longer.
local latest = now + 61000
local function forget(key)
  local last = redis.call('LINDEX', key, -1)
  if not last then return end
  if read(last) > latest then
    local all = redis.call('LRANGE', key, 0, -1)
    redis.call('DEL', key)
    for _, one in ipairs(all) do
      local till, count = read(one)
      redis.call('RPUSH', key, entry(math.min(till, latest), count))
    end
    redis.call('PEXPIRE', key, 62000)
  end
  local first = redis.call('LINDEX', key, 0)
  while first and read(first) <= now do
    redis.call('LPOP', key)
    first = redis.call('LINDEX', key, 0)
  end
end
forget(KEYS[4])
local total, first, last = 0, nil, nil
for _, one in ipairs(redis.call('LRANGE', KEYS[4], 0, -1)) do
  local till, count = read(one)
  total = total + count
  first = first or till
  last = till
end
if not cells then
  forget(KEYS[1])
  total = total + redis.call('LLEN', KEYS[1])
  local head, tail = redis.call('LINDEX', KEYS[1], 0), redis.call('LINDEX', KEYS[1], -1)
  if head then
    local till = read(head)
    first = math.min(first or till, till)
  end
  if tail then
    local till = read(tail)
    last = math.max(last or till, till)
  end
end

local allowed, breaches = 0, 0
if total < limit then
  allowed = 1
  total = total + 1
  local till = now + 60000
  if cells then till = (math.floor(now / 1000) + 1) * 1000 + 60000 end
  local newest = redis.call('LINDEX', own, -1)
  local same, count
  if newest then same, count = read(newest) end
  if cells and same == till then
    redis.call('LSET', own, -1, entry(till, count + 1))
  else
    redis.call('RPUSH', own, entry(till, 1))
  end
  redis.call('PEXPIRE', own, 62000)
  first = math.min(first or till, till)
  last = math.max(last or till, till)
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
if total >= limit then wait = (first or now + 60000) - now end
if last then full = last - now end
return {allowed, math.max(0, limit - total), wait, full, breaches, failures}
