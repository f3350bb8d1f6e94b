-- Forget the text of an answer that has ended; not what another worker makes of it, under a higher attempt.
-- KEYS: the channel, which names the room's keys too · ARGV: the message, the attempt
local run = KEYS[1] .. ':r'
local kept = redis.call('HGET', run, ARGV[1])
if kept and tonumber(string.match(kept, '%d+')) <= tonumber(ARGV[2]) then
  redis.call('HDEL', run, ARGV[1])
  redis.call('DEL', KEYS[1] .. ':' .. ARGV[1])
end
return 1
