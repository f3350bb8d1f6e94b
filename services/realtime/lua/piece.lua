-- Keep a running answer's piece and publish it, in one step. What is not text is packed, so that a piece of a few
-- letters does not travel with hundreds of bytes.
-- KEYS: the channel, which names the room's keys too · ARGV: head (redis_bus.PIECE_HEAD) and token, "S" on a cluster
local payload = ARGV[1]
local message = string.sub(payload, 11, 26)
local attempt, n, following, is_text = struct.unpack('>I2I4I4B', string.sub(payload, 27, 37))
local run, text = KEYS[1] .. ':r', KEYS[1] .. ':' .. message
local kept = redis.call('HGET', run, message)
local kept_attempt, kept_next = 0, 0
if kept then
  kept_attempt, kept_next = string.match(kept, '(%d+):(-?%d+)')
  kept_attempt, kept_next = tonumber(kept_attempt), tonumber(kept_next)
end
if kept_attempt > attempt then return 0 end  -- the fence: a worker that was paused past its lease
if kept_attempt < attempt then
  redis.call('DEL', text)
  kept_next = 0
end
if kept_next ~= n then
  following = -1  -- pieces before this one are missing here: the text is no longer whole, rows have it
elseif is_text == 1 then
  redis.call('APPEND', text, string.sub(payload, 38))
end
redis.call('HSET', run, message, attempt .. ':' .. following)
redis.call('EXPIRE', run, 900)
redis.call('EXPIRE', text, 900)
redis.call(ARGV[2] .. 'PUBLISH', KEYS[1], payload)
return 1
