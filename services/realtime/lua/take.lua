-- One act in a sliding window: at most so many in any period. Time is Redis's own, so that all pods agree.
-- KEYS: the window (a sorted set of acts by time, ms) · ARGV: limit, period ms, a name for this act
-- Returns 0 when the act was counted, else the ms after which one more is allowed.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local limit, period = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - period)
local count = redis.call('ZCARD', KEYS[1])
if count >= limit then
  local first = redis.call('ZRANGE', KEYS[1], count - limit, count - limit, 'WITHSCORES')
  return tonumber(first[2]) + period - now + 1
end
redis.call('ZADD', KEYS[1], now, ARGV[3])
redis.call('PEXPIRE', KEYS[1], period + 1000)
return 0
