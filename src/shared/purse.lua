-- What an agent token may still spend, as in purse.rs: a hash with what is left (requests, money),
-- the limits that it was handed out under and the era, the money that the store has left, what is
-- pending and until when, and until when somebody asks the store. A Redis that was started again may remember a purse as it was
-- before some of it was spent, and so may one that was a replica for a while and is the primary again: a purse
-- counts only in the run of Redis, and in the time as primary, in which it was filled.
local function text(number) return string.format('%.0f', number) end

local function micros()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end

local function millis() return math.floor(micros() / 1000) end

-- The second half changes whenever a replica becomes the primary. Without both nothing is counted.
local known_run
local function this_run()
  local function told(section, name)
    return assert(string.match(redis.call('INFO', section), name .. ':(%x+)'), 'Redis does not tell its ' .. name)
  end
  known_run = known_run or told('server', 'run_id') .. told('replication', 'master_replid')
  return known_run
end

-- Its fields as numbers, and its limits; nothing where there is none.
local function open(key, run)
  local h = redis.call('HMGET', key, 'run', 'limits', 'requests', 'money', 'store', 'pending', 'until', 'era', 'asked')
  if h[1] ~= run then
    if h[1] then redis.call('DEL', key) end
    return nil
  end
  local purse = { limits = h[2] }
  for i, name in ipairs({ 'requests', 'money', 'store', 'pending', 'until', 'era', 'asked' }) do
    purse[name] = tonumber(h[i + 2] or 0)
  end
  if purse['until'] <= millis() then purse.pending = 0 end
  return purse
end

-- An era of its own for what comes now; later than any that a purse had that is forgotten.
local function begin(key, purse)
  local era = math.max(micros(), (purse and purse.era or 0) + 1)
  redis.call('HSET', key, 'requests', 0, 'money', 0, 'store', 0, 'asked', 0, 'era', text(era))
  return era
end

-- Args: requests, money, whether the price is final, limits, milliseconds to its end, how long asking
-- may take and how long prices may come.
local function buy(key, requests, money, final, limits, life, patience, pending_for)
  local run, now = this_run(), millis()
  requests, money = tonumber(requests), tonumber(money)
  local purse = open(key, run)
  if not purse or purse.limits ~= limits then
    local left = purse or { requests = 0, money = 0 }
    local era = begin(key, purse)
    redis.call('HSET', key, 'run', run, 'limits', limits)
    redis.call('PEXPIRE', key, life)
    if left.requests > 0 or left.money > 0 then return { 3, left.requests, left.money, 0, 0, era } end
    purse = { requests = 0, money = 0, store = 0, pending = left.pending or 0, asked = 0, era = era }
  end
  if purse.requests >= requests and purse.money >= money then
    redis.call('HINCRBY', key, 'requests', text(-requests))
    if money > 0 then redis.call('HINCRBY', key, 'money', text(-money)) end
    if final == '0' then
      redis.call('HSET', key, 'pending', text(purse.pending + money), 'until', text(now + pending_for))
    end
    return { 1, 0, purse.money - money + purse.store, 0, 0, purse.era }
  end
  if purse.asked > now then return { 0, 0, 0, 0, 0, 0 } end
  redis.call('HSET', key, 'asked', text(now + patience))
  local missing_requests, missing_money = math.max(0, requests - purse.requests), math.max(0, money - purse.money)
  return { 2, missing_requests, missing_money, purse.money, purse.pending, purse.era }
end

-- Args: requests and money that were handed out, what the store has left, the era when somebody
-- asked, milliseconds to its end.
local function fill(key, requests, money, store, era, life)
  local purse = open(key, this_run())
  if not purse or purse.era ~= tonumber(era) then return { 0 } end
  redis.call('HSET', key, 'store', store, 'asked', 0)
  redis.call('HINCRBY', key, 'requests', requests)
  redis.call('HINCRBY', key, 'money', money)
  redis.call('PEXPIRE', key, life)
  return { 1 }
end

local function fill_nothing(key)
  if open(key, this_run()) then redis.call('HSET', key, 'asked', 0) end
  return { 1 }
end

-- Args: requests and money, the era in which they were taken, and how much of what is pending has its
-- price now. In another era's purse it would be more than the store knows of.
local function put_back(key, requests, money, era, settled)
  local purse = open(key, this_run())
  if not purse then return { 0 } end
  redis.call('HSET', key, 'pending', text(math.max(0, purse.pending - tonumber(settled))))
  if purse.era ~= tonumber(era) then return { 0 } end
  redis.call('HINCRBY', key, 'requests', requests)
  redis.call('HINCRBY', key, 'money', money)
  return { 1 }
end

local function empty(key)
  local purse = open(key, this_run())
  if not purse then return { 0, 0, 0 } end
  begin(key, purse)
  return { purse.requests, purse.money, purse.pending }
end

local function peek(key)
  local purse = open(key, this_run())
  if not purse then return { 0, 0 } end
  return { purse.requests, purse.money }
end
