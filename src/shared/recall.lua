-- Since when this Redis remembers what it counted of agents, and whether there was more before: a hash
-- with the run in which it was written, when that was (its name), and when something was forgotten.
-- `seen` is the name that whoever asks read last, 0 if none within a day; nothing that is counted here
-- is worth anything for longer than that. Answers the name, and the loss: its moment, 0 if there was none,
-- and since when its time is counted. The two differ only where the clock was set back since, which must not
-- make a minute longer.
local MINUTE, HOUR, DAY = 60000, 3600000, 86400000
-- How far the clock of a gateway, which says since when a token is there, may be from this one.
local LEEWAY = 5000

local function recall(key, seen)
  local run = this_run()
  local h = redis.call('HMGET', key, 'run', 'began', 'lost', 'counted')
  local began, lost = tonumber(h[2] or 0), tonumber(h[3] or 0)
  seen = tonumber(seen)
  if h[1] ~= run then
    -- Flushed, started again, another Redis than before; or one that nobody has ever counted in.
    if h[1] or seen > 0 then lost = millis() else lost = 0 end
    began = math.max(micros(), began + 1, seen + 1)
    redis.call('HSET', key, 'run', run, 'began', text(began), 'lost', text(lost))
    redis.call('HDEL', key, 'counted')
    h[4] = nil
  elseif seen > 0 and seen ~= began and lost == 0 then
    -- It was begun by somebody who did not know that there was more.
    lost = math.floor(began / 1000)
    redis.call('HSET', key, 'lost', text(lost))
  end
  local counted = tonumber(h[4] or lost)
  if counted > millis() then
    counted = millis()
    redis.call('HSET', key, 'counted', text(counted))
  end
  if redis.call('PTTL', key) < 2 * DAY - HOUR then redis.call('PEXPIRE', key, 2 * DAY) end
  return began, { at = lost, counted = counted }
end

-- Whether there can have been something of a token that is there since then.
local function concerns(loss, since)
  return tonumber(since) <= loss.at + LEEWAY
end

-- For how long a token that is there since then can have counted requests that are forgotten.
local function closed_for(loss, since)
  if not concerns(loss, since) then return 0 end
  return math.max(0, loss.counted + MINUTE - millis())
end

-- Whether what was held against it within `span` may be forgotten.
local function is_unsure(loss, since, span)
  return concerns(loss, since) and millis() < loss.counted + span
end
