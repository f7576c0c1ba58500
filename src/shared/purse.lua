-- What an agent token may still spend, as in purse.rs: a hash with what is left (requests, money),
-- the limits that it was handed out under, the money that the store has left, what is pending, and
-- until when somebody asks the store. A Redis that was started again may remember a purse as it was
-- before some of it was spent: a purse counts only in the run of Redis in which it was filled.
local function text(number) return string.format('%.0f', number) end

local function millis()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function this_run() return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') end

-- Its fields as numbers, and its limits; nothing where there is none.
local function open(key, run)
  local h = redis.call('HMGET', key, 'run', 'limits', 'requests', 'money', 'store', 'pending', 'asked')
  if h[1] ~= run then
    if h[1] then redis.call('DEL', key) end
    return nil
  end
  local purse = { limits = h[2] }
  for i, name in ipairs({ 'requests', 'money', 'store', 'pending', 'asked' }) do
    purse[name] = tonumber(h[i + 2] or 0)
  end
  return purse
end

-- Args: requests, money, whether the price is final, limits, milliseconds to its end, and how long
-- asking may take.
local function buy(key, requests, money, final, limits, life, patience)
  local run, now = this_run(), millis()
  requests, money = tonumber(requests), tonumber(money)
  local purse = open(key, run)
  if not purse or purse.limits ~= limits then
    local left = purse or { requests = 0, money = 0 }
    redis.call('HSET', key, 'run', run, 'limits', limits, 'requests', 0, 'money', 0, 'store', 0, 'asked', 0)
    redis.call('PEXPIRE', key, life)
    if left.requests > 0 or left.money > 0 then return { 3, left.requests, left.money, 0, 0 } end
    purse = { requests = 0, money = 0, store = 0, pending = left.pending or 0, asked = 0 }
  end
  if purse.requests >= requests and purse.money >= money then
    redis.call('HINCRBY', key, 'requests', text(-requests))
    if money > 0 then redis.call('HINCRBY', key, 'money', text(-money)) end
    if final == '0' then redis.call('HINCRBY', key, 'pending', text(money)) end
    return { 1, 0, purse.money - money + purse.store, 0, 0 }
  end
  if purse.asked > now then return { 0, 0, 0, 0, 0 } end
  redis.call('HSET', key, 'asked', text(now + patience))
  local missing_requests, missing_money = math.max(0, requests - purse.requests), math.max(0, money - purse.money)
  return { 2, missing_requests, missing_money, purse.money, purse.pending }
end

-- Args: requests and money that were handed out, what the store has left, the limits when somebody
-- asked, milliseconds to its end. Not where the token may spend less by now.
local function fill(key, requests, money, store, limits, life)
  local run = this_run()
  local purse = open(key, run)
  if purse and purse.limits and purse.limits ~= limits then return { 0 } end
  redis.call('HSET', key, 'run', run, 'limits', limits, 'store', store, 'asked', 0)
  redis.call('HINCRBY', key, 'requests', requests)
  redis.call('HINCRBY', key, 'money', money)
  redis.call('PEXPIRE', key, life)
  return { 1 }
end

local function fill_nothing(key)
  if open(key, this_run()) then redis.call('HSET', key, 'asked', 0) end
  return { 1 }
end

-- Args: requests and money, the limits under which they were taken, and how much of what is pending
-- has its price now. In a purse of other limits it would be more than the store knows of.
local function put_back(key, requests, money, limits, settled)
  local purse = open(key, this_run())
  if not purse then return { 0 } end
  redis.call('HSET', key, 'pending', text(math.max(0, purse.pending - tonumber(settled))))
  if purse.limits ~= limits then return { 0 } end
  redis.call('HINCRBY', key, 'requests', requests)
  redis.call('HINCRBY', key, 'money', money)
  return { 1 }
end

local function empty(key)
  local purse = open(key, this_run())
  if not purse then return { 0, 0, 0 } end
  redis.call('HSET', key, 'requests', 0, 'money', 0)
  return { purse.requests, purse.money, purse.pending }
end

local function peek(key)
  local purse = open(key, this_run())
  if not purse then return { 0, 0 } end
  return { purse.requests, purse.money }
end
