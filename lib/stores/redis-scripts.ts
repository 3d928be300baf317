import { createHash } from 'node:crypto'

/** A script, and the digest by which a server that knows it runs it. */
export interface Script {
  readonly source: string
  readonly sha: string
}

function script (source: string): Script {
  return { source, sha: createHash('sha1').update(source).digest('hex') }
}

// A session is a JSON text: g its generation, at when it was rotated, st when it began, e its absolute end (all in
// milliseconds of this server's clock), x how it ended, l its label. Its key never outlives its absolute end.
const NOW = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
`

// Keeps the index as long as its longest session.
const KEEP_INDEX = `
local function index(key, id, ttl)
  redis.call('ZADD', key, now + ttl, id)
  redis.call('PEXPIRE', key, math.max(redis.call('PTTL', key), ttl))
end
`

/** KEYS: session, index. ARGV: id, lifetime, keepFor, label or ''. */
export const START = script(`${NOW}${KEEP_INDEX}
local lifetime = tonumber(ARGV[2])
local s = { g = 1, at = now, st = now, e = now + lifetime }
if ARGV[4] ~= '' then s.l = ARGV[4] end
local ttl = math.min(tonumber(ARGV[3]), lifetime)
redis.call('SET', KEYS[1], cjson.encode(s), 'PX', ttl)
index(KEYS[2], ARGV[1], ttl)
`)

/** KEYS: session, index. ARGV: id, generation, grace, keepFor. Gives the outcome, the generation, the milliseconds left. */
export const ROTATE = script(`${NOW}${KEEP_INDEX}
local raw = redis.call('GET', KEYS[1])
if not raw then return { 'refused' } end
local s = cjson.decode(raw)
local p = tonumber(ARGV[2])
if s.e <= now or s.x == 'ended' then return { 'refused' } end
if s.x == 'reuse' then return { p < s.g and 'reuse' or 'refused' } end
if p < s.g then
  if p == s.g - 1 and now - s.at < tonumber(ARGV[3]) then return { 'replayed', s.g, s.e - now } end
  s.x = 'reuse'
  redis.call('SET', KEYS[1], cjson.encode(s), 'KEEPTTL')
  redis.call('ZREM', KEYS[2], ARGV[1])
  return { 'reuse' }
end
local outcome = p == s.g and 'rotated' or 'adopted'
s.g = p + 1
s.at = now
local ttl = math.max(redis.call('PTTL', KEYS[1]), math.min(tonumber(ARGV[4]), s.e - now))
redis.call('SET', KEYS[1], cjson.encode(s), 'PX', ttl)
index(KEYS[2], ARGV[1], ttl)
return { outcome, s.g, s.e - now }
`)

/** KEYS: session, index. ARGV: id. Gives 1 where a session was ended. */
export const END = script(`
local raw = redis.call('GET', KEYS[1])
if not raw then return 0 end
local s = cjson.decode(raw)
if s.x then return 0 end
s.x = 'ended'
redis.call('SET', KEYS[1], cjson.encode(s), 'KEEPTTL')
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
`)

/**
 * KEYS: epoch, index. ARGV: what session keys begin with, the session to spare or '', keepFor of the epoch. The keys
 * of the sessions are of the same slot, by their hash tag. Gives the ids of the sessions that were ended.
 */
export const END_ALL = script(`${NOW}
local epoch = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0') + 1)
redis.call('SET', KEYS[1], string.format('%.0f', epoch), 'PX', ARGV[3])
local ended = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if id ~= ARGV[2] then
    local key = ARGV[1] .. id
    local raw = redis.call('GET', key)
    if raw then
      local s = cjson.decode(raw)
      s.x = 'ended'
      redis.call('SET', key, cjson.encode(s), 'KEEPTTL')
      ended[#ended + 1] = id
    end
    redis.call('ZREM', KEYS[2], id)
  end
end
return ended
`)

/** KEYS: index. ARGV: what session keys begin with. Gives ids and sessions in turn, and forgets those that are gone. */
export const LIST = script(`${NOW}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local found = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local raw = redis.call('GET', ARGV[1] .. id)
  if raw then
    found[#found + 1] = id
    found[#found + 1] = raw
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
return found
`)
